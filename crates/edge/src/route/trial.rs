//! A mail host that is tried, and what its TLS sessions come to in the words of reports (RFC 8460 section 4.3).
//!
//! A session counts once it is known whether there is TLS that meets the policy. A host that is not reached, or
//! does not want to talk, says nothing of TLS.

use std::net::IpAddr;

use mail::Domain;
use net::smtp_client::OpenError;
use smtp::client::Closed;
use tlspolicy::mta_sts::{Mode, Policy};
use tlspolicy::report::{AppliedPolicy, FailureDetails, PolicyType, ResultType, Results};
use tlspolicy::{Dane, Refusal};

use super::policies::{Heard, PolicyFailure};

/// What was wrong, and the reason where the word does not say it.
pub(super) type Failure = (ResultType, String);

/// A host that is tried.
#[derive(Clone, Copy)]
pub(super) struct Trial<'a> {
    /// The recipients' domain.
    pub(super) domain: &'a Domain,
    /// The host's name.
    pub(super) host: &'a str,
    /// Its TLSA records.
    pub(super) dane: &'a Dane,
    /// The name whose records these are: the host's own, or the one that it is an alias of.
    pub(super) tlsa_base: &'a str,
    /// The domain's MTA-STS policy.
    pub(super) policy: Option<&'a Policy>,
}

/// The two addresses of a connection.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) ours: Option<IpAddr>,
    pub(super) theirs: IpAddr,
}

impl Trial<'_> {
    fn applied(&self) -> AppliedPolicy {
        AppliedPolicy::of(self.domain.as_str(), self.tlsa_base, self.dane, self.policy)
    }

    /// Whether sessions are held to a policy that is only being tested: failures are told and nothing else comes
    /// of them (RFC 8461 section 5).
    pub(super) fn is_test(&self) -> bool {
        let testing = self.policy.is_some_and(|policy| policy.mode == Mode::Testing);
        testing && self.applied().policy_type == PolicyType::Sts
    }

    /// What a policy under test has against the host itself.
    pub(super) fn objection(&self) -> Option<Failure> {
        let named = self.policy.is_none_or(|policy| policy.allows(self.host));
        (self.is_test() && !named).then(not_in_policy)
    }

    /// A session ended well, or like this.
    pub(super) fn count(&self, ends: Ends, failure: Option<Failure>, tls: &mut Results) {
        let details = |(result_type, reason): Failure| FailureDetails {
            sending_mta_ip: ends.ours,
            receiving_ip: Some(ends.theirs),
            ..FailureDetails::one(result_type, self.host, &reason)
        };
        let policy = self.applied();
        if self.has_unusable_records() {
            let unusable = details((ResultType::TlsaInvalid, "no TLSA record is usable".to_owned()));
            tls.failure(AppliedPolicy::tlsa(self.tlsa_base, self.dane), unusable);
            if policy.policy_type == PolicyType::Tlsa {
                return;
            }
        }
        match failure {
            None => tls.success(policy),
            Some(failure) => tls.failure(policy, details(failure)),
        }
    }

    /// The host is ruled out, so there is no session.
    pub(super) fn count_refusal(&self, refusal: &Refusal, tls: &mut Results) {
        let (result_type, reason) = match refusal {
            Refusal::NotInPolicy => not_in_policy(),
            // The resolver's own words name servers and times: no two would be alike.
            Refusal::DnsUnknown(_) => (ResultType::DnssecInvalid, String::new()),
        };
        tls.failure(self.applied(), FailureDetails::one(result_type, self.host, &reason));
    }

    fn has_unusable_records(&self) -> bool {
        match self.dane {
            Dane::Secure(records) => {
                !records.is_empty() && records.iter().all(|record| record.usable().is_none())
            }
            Dane::Absent | Dane::Unknown(_) => false,
        }
    }
}

fn not_in_policy() -> Failure {
    (ResultType::ValidationFailure, "the MTA-STS policy does not name the host".to_owned())
}

/// The domain announces a policy, and none of its policies is known.
pub(super) fn count_unknown_policy(domain: &Domain, heard: &Heard, tls: &mut Results) {
    if let Heard { policy: None, failure: Some(PolicyFailure { result_type: Some(result_type), .. }) } = heard
    {
        let policy = AppliedPolicy::without_content(PolicyType::Sts, domain.as_str());
        tls.failure(policy, FailureDetails::one(*result_type, "", ""));
    }
}

/// What an attempt at a session says of TLS, if anything.
pub(super) fn failure_of(error: &OpenError) -> Option<Failure> {
    match error {
        OpenError::Tls(error) | OpenError::Unanswered(error) => {
            Some(net::mta_tls::result_type_of_handshake(error))
        }
        OpenError::Closed(Closed::TlsNotOffered | Closed::TlsRefused(_)) => Some(not_offered()),
        OpenError::Closed(Closed::TlsFailed) => Some((ResultType::ValidationFailure, String::new())),
        OpenError::Closed(_) | OpenError::Connect(_) => None,
    }
}

/// There was no TLS and nobody minded.
pub(super) const fn not_offered() -> Failure {
    (ResultType::StarttlsNotSupported, String::new())
}

#[cfg(test)]
mod tests {
    use tlspolicy::tlsa::Tlsa;

    use super::*;

    const ENDS: Ends = Ends { ours: None, theirs: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST) };

    fn policy(mode: Mode) -> Policy {
        Policy { mode, mx: vec!["mx.a.test".to_owned()], max_age: 1 }
    }

    /// Policies and results that came of it, `success` or the result's word.
    fn said(results: &Results) -> Vec<(PolicyType, String)> {
        let words = |result_type: ResultType| serde_json::to_value(result_type).unwrap();
        let of = |results: &tlspolicy::report::PolicyResults| {
            let failure = results.failure_details.first().map(|failure| words(failure.result_type));
            let word = failure.map_or("success".to_owned(), |word| word.as_str().unwrap().to_owned());
            (results.policy.policy_type, word)
        };
        results.policies().iter().map(of).collect()
    }

    fn counted(dane: &Dane, mode: Option<Mode>, failure: Option<Failure>) -> Vec<(PolicyType, String)> {
        let (domain, policy) = (Domain::parse("a.test").unwrap(), mode.map(policy));
        let trial = Trial {
            domain: &domain,
            host: "mx.b.test",
            tlsa_base: "mx.b.test",
            dane,
            policy: policy.as_ref(),
        };
        let mut results = Results::default();
        trial.count(ENDS, failure.or_else(|| trial.objection()), &mut results);
        said(&results)
    }

    #[test]
    fn a_session_counts_under_the_policy_that_it_was_held_to() {
        let records = |usage| Dane::Secure(vec![Tlsa { usage, selector: 1, matching: 1, data: vec![1; 32] }]);
        let (tlsa, sts, none) = (PolicyType::Tlsa, PolicyType::Sts, PolicyType::NoPolicyFound);
        let is = |policy, word: &str| (policy, word.to_owned());
        let expired = || Some((ResultType::CertificateExpired, String::new()));
        assert_eq!(counted(&Dane::Absent, None, None), [is(none, "success")]);
        assert_eq!(counted(&Dane::Absent, None, Some(not_offered())), [is(none, "starttls-not-supported")]);
        assert_eq!(counted(&Dane::Absent, Some(Mode::Enforce), expired()), [is(sts, "certificate-expired")]);
        assert_eq!(counted(&records(3), Some(Mode::Enforce), None), [is(tlsa, "success")]);
        assert_eq!(counted(&records(1), None, None), [is(tlsa, "tlsa-invalid")]);
        assert_eq!(
            counted(&records(1), Some(Mode::Enforce), None),
            [is(tlsa, "tlsa-invalid"), is(sts, "success")]
        );
        assert_eq!(counted(&Dane::Absent, Some(Mode::Testing), None), [is(sts, "validation-failure")]);
        assert_eq!(counted(&records(3), Some(Mode::Testing), None), [is(tlsa, "success")]);
    }

    #[test]
    fn a_host_that_is_ruled_out_counts_without_a_session() {
        let (domain, policy) = (Domain::parse("a.test").unwrap(), policy(Mode::Enforce));
        let unknown = Dane::Unknown("timed out".to_owned());
        let mut results = Results::default();
        let trial = |dane| Trial {
            domain: &domain,
            host: "mx.b.test",
            tlsa_base: "mx.b.test",
            dane,
            policy: Some(&policy),
        };
        trial(&Dane::Absent).count_refusal(&Refusal::NotInPolicy, &mut results);
        trial(&unknown).count_refusal(&Refusal::DnsUnknown(String::new()), &mut results);
        let failure =
            Some(PolicyFailure { result_type: Some(ResultType::StsWebpkiInvalid), cause: String::new() });
        count_unknown_policy(&domain, &Heard { policy: None, failure: failure.clone() }, &mut results);
        count_unknown_policy(&domain, &Heard { policy: Some(policy.clone()), failure }, &mut results);
        let is = |policy, word: &str| (policy, word.to_owned());
        assert_eq!(
            said(&results),
            [
                is(PolicyType::Sts, "validation-failure"),
                is(PolicyType::Tlsa, "dnssec-invalid"),
                is(PolicyType::Sts, "sts-webpki-invalid")
            ]
        );
    }

    #[test]
    fn what_says_nothing_of_tls_is_not_counted() {
        assert_eq!(failure_of(&OpenError::Closed(Closed::Dropped)), None);
        assert_eq!(failure_of(&OpenError::Connect(std::io::ErrorKind::TimedOut.into())), None);
        assert_eq!(failure_of(&OpenError::Closed(Closed::TlsNotOffered)), Some(not_offered()));
    }
}
