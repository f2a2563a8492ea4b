//! One question to DNS, and what its answer or the lack of one means.

use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError as Said, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::{Dns, DnsError, name};

/// The answer to one question, aliases followed.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Records of the type asked for; none when there is none.
    pub(super) records: Vec<RData>,
    /// Whether the name has any records at all.
    pub(super) name_exists: bool,
    /// Whether DNSSEC vouches for the answer, or for that there is none.
    pub(super) secure: bool,
    /// Whether it is known that it does or does not: there is a proof of one or the other.
    pub(super) judged: bool,
    /// Where the name led, when it is an alias.
    pub(super) alias: Option<Alias>,
}

/// What a name that is an alias stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The name at the end of the chain, without the last dot.
    pub target: String,
    /// Whether DNSSEC vouches for the first step of it, whatever comes after.
    pub secure: bool,
}

/// Most steps of a chain of aliases that are followed.
const ALIASES_MAX: usize = 16;

/// Whether the name servers give what validation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validation {
    /// The root's own records came, and their signatures hold.
    Works,
    /// They came without signatures that hold, or the servers do not give them.
    Stripped,
    /// The servers gave no answer that could be used.
    Unknown,
}

impl Dns {
    /// Whether the name servers give what validation takes.
    pub async fn validation(&self) -> Validation {
        validation_of(&self.resolver.lookup(".", RecordType::SOA).await)
    }

    /// Asks. Names are asked as they are; aliases are followed.
    pub(super) async fn look_up(&self, name: &str, kind: RecordType) -> Result<Found, DnsError> {
        // What can't be asked for is not there.
        let Some(asked) = name::to_wire(name) else { return Ok(Found::default()) };
        let found = self.ask(&asked, kind, ALIASES_MAX).await;
        found.map_err(|cause| DnsError { name: format!("{name} ({kind})"), cause })
    }

    /// Asks for a name by itself, with so many more aliases at most where its answer has to be taken to pieces.
    pub(super) async fn ask(
        &self,
        asked: &Name,
        kind: RecordType,
        aliases_left: usize,
    ) -> Result<Found, String> {
        let in_parts = |cause| self.in_parts(asked, kind, aliases_left, cause);
        match self.resolver.lookup(asked.clone(), kind).await {
            Ok(answer) => {
                let found = read(asked, kind, answer.answers());
                let wrong = matches!(found.proof, Proof::Bogus | Proof::Indeterminate);
                if wrong && self.resolver.options().validate {
                    return in_parts(format!("the answer can't be validated ({})", found.proof)).await;
                }
                Ok(found.found)
            }
            Err(NetError::Dns(Said::NoRecordsFound(nothing))) => {
                let name_exists = nothing.response_code != ResponseCode::NXDomain;
                let denial = nothing.authorities.iter().flat_map(|records| records.iter());
                let proofs: Vec<Proof> = denial.map(|record| record.proof).collect();
                let secure = proofs.contains(&Proof::Secure);
                let judged = secure || proofs.contains(&Proof::Insecure);
                Ok(Found { name_exists, secure, judged, ..Found::default() })
            }
            Err(NetError::Dns(Said::Nsec { response, proof: Proof::Insecure, .. }))
                if response.answers.is_empty() =>
            {
                let name_exists = response.metadata.response_code != ResponseCode::NXDomain;
                Ok(Found { name_exists, judged: true, ..Found::default() })
            }
            Err(error @ NetError::Dns(Said::DnssecBogus | Said::Nsec { .. })) => {
                in_parts(super::words::of(&error)).await
            }
            Err(error) => Err(super::words::of(&error)),
        }
    }
}

/// An answer and the weakest proof of it.
struct Read {
    found: Found,
    proof: Proof,
}

fn read(asked: &Name, kind: RecordType, answers: &[Record]) -> Read {
    let relevant = |of: RecordType| of == kind || of == RecordType::CNAME || of == RecordType::DNAME;
    let answers: Vec<&Record> = answers.iter().filter(|record| relevant(record.record_type())).collect();
    // All but the worst would do for those before it on a chain of aliases.
    let proof = answers.iter().map(|record| record.proof).min().unwrap_or_default();
    let alias = alias_of(asked, &answers);
    let records = answers.iter().filter(|record| record.record_type() == kind);
    let records = records.map(|record| record.data.clone()).collect();
    let secure = proof == Proof::Secure;
    Read { found: Found { records, name_exists: true, secure, judged: true, alias }, proof }
}

/// Follows a name through the aliases of its answer.
fn alias_of(name: &Name, answers: &[&Record]) -> Option<Alias> {
    let step = |from: &Name| {
        let mut answers = answers.iter().filter(|record| record.name == *from);
        answers.find_map(|record| match &record.data {
            RData::CNAME(to) => Some((to.0.clone(), record.proof)),
            _ => None,
        })
    };
    let (mut target, proof) = step(name)?;
    for _ in 1..ALIASES_MAX {
        let Some((next, _)) = step(&target) else { break };
        target = next;
    }
    let target = name::to_text(&target).to_ascii_lowercase();
    Some(Alias { target, secure: proof == Proof::Secure })
}

fn validation_of(answer: &Result<Lookup, NetError>) -> Validation {
    match answer {
        Ok(answer) => {
            let soa = answer.answers().iter().find(|record| record.record_type() == RecordType::SOA);
            match soa.map(|record| record.proof) {
                Some(Proof::Secure) => Validation::Works,
                _ => Validation::Stripped,
            }
        }
        Err(NetError::Dns(_)) => Validation::Stripped,
        Err(_) => Validation::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::op::Query;
    use hickory_resolver::proto::rr::rdata::{CNAME, SOA};

    use super::*;

    #[test]
    fn an_alias_is_followed_to_its_end_and_a_circle_for_a_while() {
        let name = |text: &str| Name::from_ascii(format!("{text}.")).unwrap();
        let cname = |from: &str, to: &str, proof| {
            let mut record = Record::from_rdata(name(from), 60, RData::CNAME(CNAME(name(to))));
            record.proof = proof;
            record
        };
        let chain = [
            cname("b.test", "C.test", Proof::Insecure),
            cname("a.test", "b.test", Proof::Secure),
            cname("x.test", "x.test", Proof::Insecure),
        ];
        let of = |text: &str| alias_of(&name(text), &chain.iter().collect::<Vec<_>>());
        let is = |target: &str, secure| Some(Alias { target: target.to_owned(), secure });
        assert_eq!((of("A.test"), of("b.test")), (is("c.test", true), is("c.test", false)));
        assert_eq!((of("x.test"), of("c.test")), (is("x.test", false), None));
    }

    #[test]
    fn name_servers_that_are_silent_are_not_taken_for_ones_that_strip_signatures() {
        let soa = |proof| {
            let data = RData::SOA(SOA::new(Name::root(), Name::root(), 1, 1, 1, 1, 1));
            let mut record = Record::from_rdata(Name::root(), 60, data);
            record.proof = proof;
            Ok(Lookup::new_with_max_ttl(Query::query(Name::root(), RecordType::SOA), [record]))
        };
        assert_eq!(validation_of(&Err(NetError::Timeout)), Validation::Unknown);
        assert_eq!(validation_of(&Err(NetError::Dns(Said::DnssecBogus))), Validation::Stripped);
        let refused = Said::ResponseCode(ResponseCode::Refused);
        assert_eq!(validation_of(&Err(NetError::Dns(refused))), Validation::Stripped);
        assert_eq!(validation_of(&soa(Proof::Secure)), Validation::Works);
        assert_eq!(validation_of(&soa(Proof::Insecure)), Validation::Stripped);
    }
}
