//! Single answers of a name server: what they say, and what they prove.

use hickory_resolver::proto::dnssec::{Algorithm, Nsec3HashAlgorithm};
use hickory_resolver::proto::rr::rdata::{A, CNAME};

use super::*;

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).unwrap()
}

fn record(owner: &str, data: RData, proof: Proof) -> Record {
    let mut record = Record::from_rdata(name(owner), 60, data);
    record.proof = proof;
    record
}

fn alias(owner: &str, proof: Proof) -> Record {
    record(owner, RData::CNAME(CNAME(name("mx.far.example"))), proof)
}

/// Of the zone `a.test`.
fn signature(owner: &str, type_covered: RecordType, num_labels: u8) -> Record {
    let input = SigInput {
        type_covered,
        algorithm: Algorithm::ECDSAP256SHA256,
        num_labels,
        original_ttl: 60,
        sig_expiration: 0.into(),
        sig_inception: 0.into(),
        key_tag: 1,
        signer_name: name("a.test"),
    };
    let data = RData::DNSSEC(DNSSECRData::RRSIG(RRSIG::from_sig(input, Vec::new())));
    record(owner, data, Proof::Secure)
}

/// A proof that there is nothing between two names, with its signature.
fn nsec(owner: &str, next: &str, kinds: &[RecordType]) -> Vec<Record> {
    let data = DNSSECRData::NSEC(NSEC::new(name(next), kinds.iter().copied()));
    let labels = name(owner).num_labels();
    vec![record(owner, RData::DNSSEC(data), Proof::Secure), signature(owner, RecordType::NSEC, labels)]
}

/// What is said of `w.a.test`, made from `*.a.test` unless it has labels of its own.
fn said(labels: u8, proof: Proof, authorities: &[Record]) -> Option<Step> {
    let answers = [alias("W.a.test", proof), signature("w.a.test", RecordType::CNAME, labels)];
    Sections { answers: &answers, authorities }.first_step(&name("w.a.test"), RecordType::A)
}

fn leads(secure: bool) -> Option<Step> {
    Some(Step::Alias(name("mx.far.example"), secure))
}

/// Symptom: mail for a host that is a signed alias into a zone without signatures waited for ever, with 'DNSSEC validation
/// failed'; Unbound says NOERROR without AD. Cause: the library wants one proof for the whole question.
#[test]
fn a_signed_alias_is_believed_by_itself_and_what_is_wrong_never() {
    let beside = nsec("far.example", "g.example", &[RecordType::NS]);
    assert_eq!(said(3, Proof::Secure, &beside), leads(true), "whatever is proven beside it");
    assert_eq!(said(3, Proof::Insecure, &[]), leads(false));
    for wrong in [Proof::Bogus, Proof::Indeterminate] {
        assert_eq!(said(3, wrong, &beside), None, "{wrong}");
    }
    let two = [alias("w.a.test", Proof::Secure), alias("w.a.test", Proof::Secure)];
    let answers = [&two[..], &[signature("w.a.test", RecordType::CNAME, 3)]].concat();
    let sections = Sections { answers: &answers, authorities: &[] };
    assert_eq!(sections.first_step(&name("w.a.test"), RecordType::A), None, "two aliases");
    assert_eq!(sections.first_step(&name("x.a.test"), RecordType::A), None, "another name's");
}

#[test]
fn what_is_made_from_a_wildcard_needs_a_proof_that_there_is_nothing_nearer() {
    let star = [RecordType::CNAME];
    for (owner, next) in [("*.a.test", "x.a.test"), ("v.a.test", "a.test"), ("b.v.a.test", "x.a.test")] {
        assert_eq!(said(2, Proof::Secure, &nsec(owner, next, &star)), leads(true), "{owner} {next}");
    }
    for (owner, next, why) in [
        ("x.a.test", "z.a.test", "it is not between"),
        ("w.a.test", "x.a.test", "it is there"),
        ("*.a.test", "b.w.a.test", "it is there, with names below it"),
        ("z.a.test", "a.test", "it is before the last one"),
        ("v.a.test", "b.test", "it leads out of the zone"),
    ] {
        assert_eq!(said(2, Proof::Secure, &nsec(owner, next, &star)), None, "{why}");
    }
    assert_eq!(said(2, Proof::Secure, &[]), None, "no proof");
    assert_eq!(said(1, Proof::Secure, &nsec("*.a.test", "x.a.test", &star)), None, "a wildcard further up");
    for given_away in [RecordType::NS, RecordType::DNAME] {
        let mut denial = nsec("a.test", "b.test", &[given_away]);
        denial[1] = signature("a.test", RecordType::NSEC, 2);
        assert_eq!(said(2, Proof::Secure, &denial), None, "{given_away}");
    }
    let mut unproven = nsec("*.a.test", "x.a.test", &star);
    unproven[0].proof = Proof::Bogus;
    assert_eq!(said(2, Proof::Secure, &unproven), None, "the proof's signature is wrong");
    let unsigned = &nsec("*.a.test", "x.a.test", &star)[..1];
    assert_eq!(said(2, Proof::Secure, unsigned), None, "nobody knows whose it is");
}

#[test]
fn hashed_names_prove_the_same_and_with_opt_out_no_security() {
    let hash = |of: &str| Nsec3HashAlgorithm::SHA1.hash(b"", &name(of), 0).unwrap().as_ref().to_vec();
    let text = |hash: &[u8]| {
        let bits: String = hash.iter().map(|octet| format!("{octet:08b}")).collect();
        let digits = bits.as_bytes().chunks(5).map(|digit| std::str::from_utf8(digit).unwrap().to_owned());
        digits
            .map(|digit| char::from_digit(u32::from_str_radix(&digit, 2).unwrap(), 32).unwrap())
            .collect::<String>()
    };
    let beside = |mut hash: Vec<u8>, by: i8| {
        hash[19] = hash[19].wrapping_add_signed(by);
        hash
    };
    let proof = |from: Vec<u8>, to: Vec<u8>, opt_out: bool, iterations: u16| {
        let data = NSEC3::new(Nsec3HashAlgorithm::SHA1, opt_out, iterations, Vec::new(), to, []);
        let owner = format!("{}.a.test", text(&from));
        vec![
            record(&owner, RData::DNSSEC(DNSSECRData::NSEC3(data)), Proof::Secure),
            signature(&owner, RecordType::NSEC3, 3),
        ]
    };
    assert_eq!(from_base32(text(&hash("w.a.test")).as_bytes()), Some(hash("w.a.test")));
    let around = |of: &str| (beside(hash(of), -1), beside(hash(of), 1));
    let (before, after) = around("w.a.test");
    assert_eq!(said(2, Proof::Secure, &proof(before.clone(), after.clone(), false, 0)), leads(true));
    assert_eq!(said(2, Proof::Secure, &proof(after.clone(), before.clone(), false, 0)), None, "all but it");
    assert_eq!(
        said(2, Proof::Secure, &proof(before.clone(), after.clone(), true, 0)),
        leads(false),
        "opt-out"
    );
    assert_eq!(said(2, Proof::Secure, &proof(before, after, false, ITERATIONS_MAX + 1)), leads(false));
    let (before, after) = around("x.a.test");
    assert_eq!(said(2, Proof::Secure, &proof(before, after, false, 0)), None, "another name");
}

#[test]
fn records_of_the_name_itself_are_looked_at_in_the_same_way() {
    let address = |proof| record("w.a.test", RData::A(A::new(192, 0, 2, 1)), proof);
    let of = |answers: &[Record], authorities: &[Record]| {
        Sections { answers, authorities }.first_step(&name("w.a.test"), RecordType::A)
    };
    let found = |secure| Some(Step::Records(vec![RData::A(A::new(192, 0, 2, 1))], secure));
    let wildcard = [address(Proof::Secure), signature("w.a.test", RecordType::A, 2)];
    let denial = nsec("*.a.test", "x.a.test", &[RecordType::A]);
    assert_eq!((of(&wildcard, &denial), of(&wildcard, &[])), (found(true), None));
    assert_eq!(of(&[address(Proof::Insecure)], &[]), found(false));
    assert_eq!(of(&[address(Proof::Insecure), address(Proof::Bogus)], &[]), None, "the worst counts");
    assert_eq!(of(&[], &denial), None);
}
