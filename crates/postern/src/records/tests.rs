//! Which records a home needs, and how they are written.

use super::*;

fn config(more: &str) -> HomeConfig {
    let key = "0".repeat(64);
    toml::from_str(&format!(
        "domains = [\"example.org\"]\n{more}\
         [[edge]]\nname = \"mx2.example.net\"\naddress = \"a:1\"\nkey = \"{key}\"\n\
         [[edge]]\nname = \"mx.example.org\"\naddress = \"b:1\"\nkey = \"{key}\"\n"
    ))
    .unwrap()
}

fn keys() -> Vec<DomainRecords> {
    let until = Some(UnixTime::from_secs(1_795_500_000));
    let key = |selector: &str, stage, until, record: &str| Published {
        selector: selector.to_owned(),
        stage,
        until,
        record: record.to_owned(),
    };
    let keys = vec![
        key("a", Stage::Signing, None, &"x".repeat(256)),
        key("b", Stage::Next, None, "v=DKIM1; p=B"),
        key("c", Stage::Kept, until, "v=DKIM1; p=C"),
        key("d", Stage::Remove, None, "v=DKIM1; p=D"),
    ];
    vec![DomainRecords { domain: "example.org".to_owned(), keys }]
}

#[test]
fn a_zone_has_every_record_and_comments_on_what_is_to_go_or_to_wait() {
    let all = wanted(&config(""), &keys(), &Told::default());
    let zone: Vec<String> = all.iter().map(Wanted::zone).collect();
    let long = format!("a._domainkey.example.org. 3600 IN TXT \"{}\" \"x\"", "x".repeat(255));
    let sts = Purpose::MtaSts.why();
    let unnamed = Purpose::ProgramsUnnamed.why();
    assert_eq!(
        zone,
        [
            "; mx.example.org. needs an A or AAAA record with the edge's address",
            "; the provider of each address of mx.example.org. sets its PTR record to mx.example.org.",
            "mx.example.org. 3600 IN TXT \"v=spf1 a -all\"",
            "; mx2.example.net. needs an A or AAAA record with the edge's address",
            "; the provider of each address of mx2.example.net. sets its PTR record to mx2.example.net.",
            "mx2.example.net. 3600 IN TXT \"v=spf1 a -all\"",
            "example.org. 3600 IN MX 10 mx.example.org.",
            "example.org. 3600 IN MX 10 mx2.example.net.",
            "example.org. 3600 IN TXT \"v=spf1 a:mx.example.org a:mx2.example.net -all\"",
            long.as_str(),
            "b._domainkey.example.org. 3600 IN TXT \"v=DKIM1; p=B\"",
            "c._domainkey.example.org. 3600 IN TXT \"v=DKIM1; p=C\"",
            "; remove: d._domainkey.example.org. TXT",
            "_dmarc.example.org. 3600 IN TXT \"v=DMARC1; p=quarantine\"",
            "_smtp._tls.example.org. 3600 IN TXT \"v=TLSRPTv1; rua=mailto:postmaster@example.org\"",
            &format!("; later: _mta-sts.example.org. TXT: {sts}"),
            &format!("; later: mta-sts.example.org. A: {sts}"),
            &format!("; later: _imaps._tcp.example.org. SRV: {unnamed}"),
            &format!("; later: _submissions._tcp.example.org. SRV: {unnamed}"),
            "_imap._tcp.example.org. 3600 IN SRV 0 0 0 .",
            "_submission._tcp.example.org. 3600 IN SRV 0 0 0 .",
            "_pop3._tcp.example.org. 3600 IN SRV 0 0 0 .",
            "_pop3s._tcp.example.org. 3600 IN SRV 0 0 0 .",
        ]
    );
}

#[test]
fn what_only_the_operator_knows_is_made_of_what_he_tells() {
    let told = Told {
        mail_host: Some(Domain::parse("mail.example.org").unwrap()),
        authorities: vec![Domain::parse("ca.example").unwrap()],
        certificates: vec![("mx.example.org".to_owned(), "3 1 1 00ff".to_owned())],
    };
    let all = wanted(&config(""), &[], &told);
    let of = |purpose| -> Vec<String> {
        all.iter().filter(|record| record.purpose == purpose).map(Wanted::zone).collect()
    };
    assert_eq!(of(Purpose::Tlsa), ["_25._tcp.mx.example.org. 3600 IN TLSA 3 1 1 00ff"]);
    assert_eq!(
        of(Purpose::Caa),
        [
            "mx.example.org. 3600 IN CAA 0 issue \"ca.example\"",
            "mx2.example.net. 3600 IN CAA 0 issue \"ca.example\""
        ]
    );
    assert_eq!(
        of(Purpose::Programs),
        [
            "_imaps._tcp.example.org. 3600 IN SRV 0 1 993 mail.example.org.",
            "_submissions._tcp.example.org. 3600 IN SRV 0 1 465 mail.example.org."
        ]
    );
    assert!(of(Purpose::ProgramsUnnamed).is_empty());
}

/// Promise 4: where Home is stands in DNS only when its operator says so.
#[test]
fn no_record_names_the_house_by_itself() {
    let all = wanted(&config("hostname = \"attic.example.org\"\n"), &keys(), &Told::default());
    assert!(!serde_json::to_string(&all).unwrap().contains("attic"));
}

#[test]
fn the_name_of_an_address_is_required_of_who_sends() {
    for (config, need) in [(config(""), Need::Optional), (config("outbound = \"on\"\n"), Need::Required)] {
        let all = wanted(&config, &[], &Told::default());
        let names = all.iter().filter(|record| record.purpose == Purpose::Ptr);
        assert_eq!(names.map(|record| record.need).collect::<Vec<_>>(), [need; 2]);
    }
}

#[test]
fn who_sends_is_only_said_when_it_is_known() {
    let smarthost = "address = \"relay.example.net:465\"\nuser = \"u\"\npassword_file = \"p\"\n";
    let alone: HomeConfig = toml::from_str("domains = [\"example.org\"]\n").unwrap();
    let behind = HomeConfig { smarthost: Some(toml::from_str(smarthost).unwrap()), ..config("") };
    for (config, mx) in [(alone, 0), (behind, 2)] {
        let all = wanted(&config, &keys(), &Told::default());
        let count = |purpose| all.iter().filter(|record| record.purpose == purpose).count();
        assert_eq!((count(Purpose::Spf), count(Purpose::Mx), count(Purpose::Dmarc)), (0, mx, 1));
    }
}

#[test]
fn each_stage_of_a_key_says_what_to_do() {
    let actions: Vec<String> = wanted(&config(""), &keys(), &Told::default())
        .iter()
        .filter(|record| record.purpose == Purpose::Dkim)
        .map(Wanted::action)
        .collect();
    assert_eq!(
        actions,
        ["publish", "publish, then 'postern dkim rotate'", "keep until 2026-11-24T06:00:00.000Z", "remove"]
    );
}

/// Symptom: the zone of a domain whose edge has the domain's own name had two SPF records, and nobody passed. Cause: the
/// edge's and the domain's were made without a look at each other.
#[test]
fn an_edge_that_is_called_as_its_domain_has_one_policy() {
    let key = "0".repeat(64);
    let config = format!(
        "domains = [\"example.org\"]\n[[edge]]\nname = \"example.org\"\naddress = \"a:1\"\nkey = \"{key}\"\n"
    );
    let all = wanted(&toml::from_str(&config).unwrap(), &[], &Told::default());
    let policies = all.iter().filter(|record| record.value.starts_with("v=spf1"));
    assert_eq!(
        policies.map(|record| record.value.as_str()).collect::<Vec<_>>(),
        ["v=spf1 a:example.org -all"]
    );
}
