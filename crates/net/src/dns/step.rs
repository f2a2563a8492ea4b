//! The first step of an answer, looked at by itself: what it says of the name that was asked for, and whether that is
//! proven.
//!
//! The library validates the records of an answer set by set, and then wants one proof from NSEC records for the question
//! as a whole. Where a name is a signed alias of one that is not, or was made from a wildcard, it does not find such a
//! proof in an answer that is right, and calls it bogus. What is proven is put together here from what it says of the
//! sets. No signature is looked at here, and nothing is believed that it found wrong.

use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::dnssec::rdata::{DNSSECRData, NSEC, NSEC3, RRSIG, SigInput};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// Hash rounds of NSEC3 above which a proof proves nothing (RFC 9276 section 3.2).
const ITERATIONS_MAX: u16 = 100;

/// The content of an answer for one name: records, or the alias that the name is.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// It has these records, and whether DNSSEC vouches for them.
    Records(Vec<RData>, bool),
    /// It is an alias of another name, which is to be asked for by itself.
    Alias(Name, bool),
}

/// The two sections of an answer that say something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sections<'a> {
    pub(super) answers: &'a [Record],
    pub(super) authorities: &'a [Record],
}

impl Sections<'_> {
    /// What is said of `name`. `None` when nothing is, or when that can't be validated.
    pub(super) fn first_step(self, name: &Name, kind: RecordType) -> Option<Step> {
        let of = |kind: RecordType| -> Vec<&Record> {
            let answers = self.answers.iter();
            answers.filter(|record| record.name == *name && record.record_type() == kind).collect()
        };
        let aliases = of(RecordType::CNAME);
        if aliases.is_empty() || kind == RecordType::CNAME {
            let records = of(kind);
            let secure = self.is_secure(&records)?;
            return Some(Step::Records(records.iter().map(|record| record.data.clone()).collect(), secure));
        }
        let secure = self.is_secure(&aliases)?;
        match aliases[..] {
            [Record { data: RData::CNAME(target), .. }] => Some(Step::Alias(target.0.clone(), secure)),
            // A name has one alias at most (RFC 2181 section 10.1).
            _ => None,
        }
    }

    /// Whether DNSSEC vouches for a set of records. `None` for no records, and where it says that they are wrong.
    fn is_secure(self, records: &[&Record]) -> Option<bool> {
        let first = records.first()?;
        match records.iter().map(|record| record.proof).min()? {
            Proof::Secure => self.is_really_there(&first.name, first.record_type()),
            Proof::Insecure => Some(false),
            Proof::Bogus | Proof::Indeterminate => None,
        }
    }

    /// Signed records are those of the name itself, or they were made from a wildcard: then there has to be a proof that
    /// the name does not exist, else they may be shown in place of others (RFC 4035 section 5.3.4). `Some(false)` for a
    /// proof that is none, yet no sign of fraud.
    fn is_really_there(self, name: &Name, kind: RecordType) -> Option<bool> {
        let signature = signature(self.answers, name, kind)?;
        let (signed, own) = (usize::from(signature.num_labels), usize::from(name.num_labels()));
        if signed >= own {
            return Some(true);
        }
        let expansion = Expansion { name, zone: &signature.signer_name, labels: signed };
        let denials = self.authorities.iter().filter(|record| record.proof == Proof::Secure);
        let denials = denials.filter_map(|record| match &record.data {
            RData::DNSSEC(DNSSECRData::NSEC(nsec)) => {
                let signed = signature_of(self.authorities, record)?;
                (signed == *expansion.zone).then(|| expansion.denied_by(&record.name, nsec))
            }
            RData::DNSSEC(DNSSECRData::NSEC3(nsec3)) => {
                let signed = signature_of(self.authorities, record)?;
                (signed == *expansion.zone).then(|| expansion.denied_by_hash(&record.name, nsec3))
            }
            _ => None,
        });
        denials.flatten().max()
    }
}

/// The signature by which a set of records was found secure.
fn signature<'a>(records: &'a [Record], name: &Name, kind: RecordType) -> Option<&'a SigInput> {
    let of_set = |signature: &&RRSIG| signature.input().type_covered == kind;
    let valid = records.iter().filter(|record| record.name == *name && record.proof == Proof::Secure);
    let signatures = valid.filter_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => Some(signature),
        _ => None,
    });
    signatures.filter(of_set).map(|signature| signature.input()).next()
}

/// The zone that signed a record.
fn signature_of(records: &[Record], record: &Record) -> Option<Name> {
    signature(records, &record.name, record.record_type()).map(|signature| signature.signer_name.clone())
}

/// A name whose records were made from a wildcard.
struct Expansion<'a> {
    name: &'a Name,
    zone: &'a Name,
    /// Labels of what the wildcard stands below.
    labels: usize,
}

impl Expansion<'_> {
    /// Whether the NSEC record proves that there is no such name, nor one nearer to it than the wildcard.
    fn denied_by(&self, owner: &Name, nsec: &NSEC) -> Option<bool> {
        let next = nsec.next_domain_name();
        // What a zone says of names below one that it gave away, or of an alias of a whole tree, proves nothing (RFC
        // 6840 section 4.1).
        let given_away = nsec.is_ancestor_delegation() || nsec.type_set().contains(RecordType::DNAME);
        let between = owner < self.name && (self.name < next || (next <= owner && next == self.zone));
        let within = self.zone.zone_of(owner) && self.zone.zone_of(next);
        if !between || !within || (given_away && owner.zone_of(self.name)) {
            return None;
        }
        let nearest = common_labels(self.name, owner).max(common_labels(self.name, next));
        (nearest == self.labels).then_some(true)
    }

    /// The same of an NSEC3 record: it has to cover the name that is one label longer than what the wildcard stands below
    /// (RFC 5155 section 8.8).
    fn denied_by_hash(&self, owner: &Name, nsec3: &NSEC3) -> Option<bool> {
        if nsec3.iterations() > ITERATIONS_MAX {
            return Some(false);
        }
        let next_closer = self.name.trim_to(self.labels + 1);
        let hashed = nsec3.hash_algorithm().hash(nsec3.salt(), &next_closer, nsec3.iterations()).ok()?;
        let (hashed, next) = (hashed.as_ref(), nsec3.next_hashed_owner_name());
        let owner = from_base32(owner.iter().next()?)?;
        let owner = owner.as_slice();
        let covered =
            if owner < next { owner < hashed && hashed < next } else { owner < hashed || hashed < next };
        // With opt-out there may be a delegation that is not signed.
        covered.then(|| !nsec3.opt_out())
    }
}

fn common_labels(one: &Name, other: &Name) -> usize {
    let labels = |name: &Name| name.iter().rev().map(<[u8]>::to_ascii_lowercase).collect::<Vec<_>>();
    labels(one).iter().zip(labels(other)).take_while(|(one, other)| *one == other).count()
}

/// Base 32 with the extended hex alphabet, without padding (RFC 4648 section 7, RFC 5155 section 3.3).
fn from_base32(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut held) = (Vec::with_capacity(20), 0_u32, 0_u32);
    for digit in text {
        held = held << 5 | char::from(*digit).to_digit(32)?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(held >> bits & 0xff).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests;
