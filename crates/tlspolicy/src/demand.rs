//! What is demanded of a connection to one mail host: the strongest of what its domain has published.

use crate::mta_sts::{Mode, Policy};
use crate::tlsa::Tlsa;

/// What DNSSEC says of a host (RFC 7672 section 2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dane {
    /// The mail host's name, its address or its TLSA records are not signed, or it has none.
    Absent,
    /// The host's TLSA records, which DNSSEC vouches for.
    Secure(Vec<Tlsa>),
    /// DNS gave no answer that can be believed.
    Unknown(String),
}

/// What a connection has to be like before mail is sent over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// TLS where it is offered, with any certificate; else without (RFC 7435).
    Opportunistic,
    /// TLS with any certificate: there are TLSA records and none is usable (RFC 7672 section 2.2).
    Encrypted,
    /// TLS with a certificate that one of these records vouches for. All are usable, and there is one.
    Dane(Vec<Tlsa>),
    /// TLS with a certificate of the host's name that leads to a public root (RFC 8461 section 4).
    PublicRoots,
}

/// The host is not to be used, now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The domain's MTA-STS policy does not name it (RFC 8461 section 4.1).
    NotInPolicy,
    /// Whether it has TLSA records is not known (RFC 7672 section 2.1.3).
    DnsUnknown(String),
}

impl Demand {
    /// The strongest: usable DANE records, then an MTA-STS policy in force, then whatever the host offers
    /// (RFC 8461 section 2). A policy that is only being tested demands nothing.
    ///
    /// # Errors
    /// [`Refusal`]: another host is to be tried.
    pub fn strongest(host: &str, dane: Dane, policy: Option<&Policy>) -> Result<Self, Refusal> {
        let published = match dane {
            Dane::Unknown(cause) => return Err(Refusal::DnsUnknown(cause)),
            Dane::Secure(records) => records,
            Dane::Absent => Vec::new(),
        };
        let weakest = if published.is_empty() { Self::Opportunistic } else { Self::Encrypted };
        let usable: Vec<Tlsa> = published.into_iter().filter(|tlsa| tlsa.usable().is_some()).collect();
        if !usable.is_empty() {
            return Ok(Self::Dane(usable));
        }
        match policy.filter(|policy| policy.mode == Mode::Enforce) {
            None => Ok(weakest),
            Some(policy) if policy.allows(host) => Ok(Self::PublicRoots),
            Some(_) => Err(Refusal::NotInPolicy),
        }
    }

    /// The demand as one word, for the trace.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Opportunistic => "opportunistic",
            Self::Encrypted => "encrypted",
            Self::Dane(_) => "DANE",
            Self::PublicRoots => "MTA-STS",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlsa(usage: u8) -> Tlsa {
        Tlsa { usage, selector: 1, matching: 1, data: vec![1; 32] }
    }

    fn policy(mode: Mode) -> Policy {
        Policy { mode, mx: vec!["mx.example.com".to_owned()], max_age: 1 }
    }

    fn strongest(host: &str, dane: Dane, mode: Option<Mode>) -> Result<Demand, Refusal> {
        Demand::strongest(host, dane, mode.map(policy).as_ref())
    }

    #[test]
    fn dane_is_stronger_than_mta_sts_also_for_a_host_outside_the_policy() {
        let records = vec![tlsa(3), tlsa(0)];
        for mode in [None, Some(Mode::Enforce), Some(Mode::Testing)] {
            for host in ["mx.example.com", "other.example.com"] {
                let demand = strongest(host, Dane::Secure(records.clone()), mode);
                assert_eq!(demand, Ok(Demand::Dane(vec![tlsa(3)])), "{host} {mode:?}");
            }
        }
    }

    #[test]
    fn without_usable_records_a_policy_in_force_decides() {
        for dane in [Dane::Absent, Dane::Secure(vec![tlsa(1)])] {
            let named = strongest("mx.example.com", dane.clone(), Some(Mode::Enforce));
            assert_eq!(named, Ok(Demand::PublicRoots));
            assert_eq!(strongest("mx.example.org", dane, Some(Mode::Enforce)), Err(Refusal::NotInPolicy));
        }
    }

    #[test]
    fn records_that_are_all_unusable_still_demand_encryption() {
        for mode in [None, Some(Mode::Testing), Some(Mode::None)] {
            let demand = strongest("a.test", Dane::Secure(vec![tlsa(0), tlsa(1)]), mode);
            assert_eq!(demand, Ok(Demand::Encrypted), "{mode:?}");
        }
    }

    #[test]
    fn a_policy_that_is_tested_or_withdrawn_demands_nothing() {
        for mode in [None, Some(Mode::Testing), Some(Mode::None)] {
            assert_eq!(strongest("a.test", Dane::Absent, mode), Ok(Demand::Opportunistic), "{mode:?}");
            let empty = strongest("a.test", Dane::Secure(Vec::new()), mode);
            assert_eq!(empty, Ok(Demand::Opportunistic), "{mode:?}");
        }
    }

    #[test]
    fn an_answer_that_can_not_be_believed_rules_the_host_out_whatever_the_policy_says() {
        let unknown = || Dane::Unknown("bogus".to_owned());
        for mode in [None, Some(Mode::Enforce), Some(Mode::Testing)] {
            let demand = strongest("mx.example.com", unknown(), mode);
            assert_eq!(demand, Err(Refusal::DnsUnknown("bogus".to_owned())));
        }
    }
}
