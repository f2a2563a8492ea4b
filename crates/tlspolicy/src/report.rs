//! The report on TLS with the mail hosts of one domain (RFC 8460 section 4), and its parts as they add up.
//!
//! Names and shape are those of the RFC's JSON. The same parts carry the results of one attempt to whoever counts
//! them, so what is read may come from another program: [`Results::add`] bounds everything that it takes in.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::demand::Dane;
use crate::mta_sts::{Mode, Policy};

/// Most policies of one domain that are told apart in a report. Sessions under any more are not counted.
pub const POLICIES_MAX: usize = 16;
/// Most kinds of failures that are told apart under one policy; any more count in the summary only.
pub const FAILURE_DETAILS_MAX: usize = 64;
/// Most lines of a policy, and most mail hosts of it, that a report shows.
pub const POLICY_STRINGS_MAX: usize = 32;
/// Most octets of a text that a report shows.
pub const TEXT_OCTETS_MAX: usize = 512;

/// A whole report (RFC 8460 section 4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The name of the organization that reports.
    pub organization_name: String,
    /// The time it is about.
    pub date_range: DateRange,
    /// Where questions go: an address or a URI.
    pub contact_info: String,
    /// Names this report among all of the reporter's.
    pub report_id: String,
    /// Results, by policy.
    pub policies: Vec<PolicyResults>,
}

/// A time span, both ends in the form of RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DateRange {
    /// The first second that the report is about.
    pub start_datetime: String,
    /// The last second that the report is about.
    pub end_datetime: String,
}

/// The sessions under one policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyResults {
    /// The policy.
    pub policy: AppliedPolicy,
    /// The number of sessions.
    pub summary: Summary,
    /// The kinds of failures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure_details: Vec<FailureDetails>,
}

/// The kind of policy that a session was held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyType {
    /// DANE: TLSA records (RFC 7672).
    Tlsa,
    /// MTA-STS (RFC 8461).
    Sts,
    /// No policy was found.
    #[serde(other)]
    NoPolicyFound,
}

/// The policy that a session was held to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AppliedPolicy {
    /// The kind of the policy.
    pub policy_type: PolicyType,
    /// The TLSA records, or the lines of the MTA-STS policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_string: Vec<String>,
    /// The domain that it holds for: that of the recipients, with DANE the mail host's (RFC 8460 section 1.1).
    pub policy_domain: String,
    /// The mail hosts that an MTA-STS policy names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mx_host: Vec<String>,
}

/// How many sessions went well, and how many did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// Sessions that met the policy, with TLS.
    pub total_successful_session_count: u64,
    /// All other sessions.
    pub total_failure_session_count: u64,
}

/// Sessions that failed in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FailureDetails {
    /// The kind of failure (RFC 8460 section 4.3).
    pub result_type: ResultType,
    /// The sending MTA's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending_mta_ip: Option<IpAddr>,
    /// The name of the mail host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub receiving_mx_hostname: String,
    /// The mail host's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving_ip: Option<IpAddr>,
    /// The number of sessions that failed so.
    pub failed_session_count: u64,
    /// The reason in words; empty when the kind says all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub failure_reason_code: String,
}

/// How a session failed (RFC 8460 section 4.3). One that is not known is read as [`Self::ValidationFailure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResultType {
    /// The host does not offer STARTTLS, or refuses it.
    StarttlsNotSupported,
    /// The certificate is not for a name that the policy allows.
    CertificateHostMismatch,
    /// The certificate has expired.
    CertificateExpired,
    /// The certificate leads to nobody who is trusted.
    CertificateNotTrusted,
    /// None of the TLSA records is usable.
    TlsaInvalid,
    /// DNSSEC does not vouch for what should be signed.
    DnssecInvalid,
    /// DANE was demanded by us and the host has no records.
    DaneRequired,
    /// The MTA-STS policy could not be fetched.
    StsPolicyFetchError,
    /// The MTA-STS policy could not be understood.
    StsPolicyInvalid,
    /// The certificate of the MTA-STS policy's web server is not valid.
    StsWebpkiInvalid,
    /// Anything else.
    #[serde(other)]
    ValidationFailure,
}

impl AppliedPolicy {
    /// What holds for sessions with a mail host of `domain` whose TLSA records are at the name `host`: usable TLSA records, else an MTA-STS policy
    /// in force or under test, else TLSA records that are of no use, else nothing. Records that nobody can
    /// believe are a policy as well: they rule the host out.
    #[must_use]
    pub fn of(domain: &str, host: &str, dane: &Dane, policy: Option<&Policy>) -> Self {
        let policy = policy.filter(|policy| policy.mode != Mode::None);
        match (dane, policy) {
            (Dane::Unknown(_), _) => Self::tlsa(host, dane),
            (Dane::Secure(records), _) if records.iter().any(|record| record.usable().is_some()) => {
                Self::tlsa(host, dane)
            }
            (Dane::Secure(records), None) if !records.is_empty() => Self::tlsa(host, dane),
            (_, Some(policy)) => Self {
                policy_type: PolicyType::Sts,
                policy_string: policy.lines().take(POLICY_STRINGS_MAX).collect(),
                policy_domain: domain.to_owned(),
                mx_host: policy.mx.iter().take(POLICY_STRINGS_MAX).cloned().collect(),
            },
            (_, None) => Self::without_content(PolicyType::NoPolicyFound, domain),
        }
    }

    /// The TLSA records of a host, usable or not.
    #[must_use]
    pub fn tlsa(host: &str, dane: &Dane) -> Self {
        let records = match dane {
            Dane::Secure(records) => records.as_slice(),
            Dane::Absent | Dane::Unknown(_) => &[],
        };
        let policy_string = records.iter().take(POLICY_STRINGS_MAX).map(ToString::to_string).collect();
        Self { policy_string, ..Self::without_content(PolicyType::Tlsa, host) }
    }

    /// A policy of which no more than this is known.
    #[must_use]
    pub fn without_content(policy_type: PolicyType, domain: &str) -> Self {
        let policy_domain = domain.to_owned();
        Self { policy_type, policy_string: Vec::new(), policy_domain, mx_host: Vec::new() }
    }

    fn bound(&mut self) {
        cut(&mut self.policy_domain);
        for texts in [&mut self.policy_string, &mut self.mx_host] {
            texts.truncate(POLICY_STRINGS_MAX);
            texts.iter_mut().for_each(cut);
        }
    }
}

impl FailureDetails {
    /// The failure of one session.
    #[must_use]
    pub fn one(result_type: ResultType, mx: &str, reason: &str) -> Self {
        Self {
            result_type,
            sending_mta_ip: None,
            receiving_mx_hostname: mx.to_owned(),
            receiving_ip: None,
            failed_session_count: 1,
            failure_reason_code: reason.to_owned(),
        }
    }

    fn is_of_kind(&self, other: &Self) -> bool {
        Self { failed_session_count: other.failed_session_count, ..self.clone() } == *other
    }

    fn bound(&mut self) {
        cut(&mut self.receiving_mx_hostname);
        cut(&mut self.failure_reason_code);
    }
}

/// The results of sessions with the mail hosts of one domain, by policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Results(Vec<PolicyResults>);

impl Results {
    /// A session under this policy went well.
    pub fn success(&mut self, policy: AppliedPolicy) {
        let summary = Summary { total_successful_session_count: 1, total_failure_session_count: 0 };
        self.add_policy(PolicyResults { policy, summary, failure_details: Vec::new() });
    }

    /// A session under this policy failed.
    pub fn failure(&mut self, policy: AppliedPolicy, details: FailureDetails) {
        let summary = Summary { total_successful_session_count: 0, total_failure_session_count: 1 };
        self.add_policy(PolicyResults { policy, summary, failure_details: vec![details] });
    }

    /// Adds what another one holds, within all bounds.
    pub fn add(&mut self, other: Self) {
        other.0.into_iter().take(POLICIES_MAX).for_each(|results| self.add_policy(results));
    }

    /// Whether nothing was counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Results, by policy.
    #[must_use]
    pub fn policies(&self) -> &[PolicyResults] {
        &self.0
    }

    /// Sets the domain of all policies that hold for the recipients' domain, whatever was said before: who
    /// reports may not say anything of another one.
    pub fn belong_to(&mut self, domain: &str) {
        for results in self.0.iter_mut().filter(|results| results.policy.policy_type != PolicyType::Tlsa) {
            domain.clone_into(&mut results.policy.policy_domain);
        }
    }

    fn add_policy(&mut self, mut more: PolicyResults) {
        more.policy.bound();
        if !self.0.iter().any(|results| results.policy == more.policy) {
            if self.0.len() == POLICIES_MAX {
                return;
            }
            let (policy, summary, failure_details) = (more.policy.clone(), Summary::default(), Vec::new());
            self.0.push(PolicyResults { policy, summary, failure_details });
        }
        let Some(results) = self.0.iter_mut().find(|results| results.policy == more.policy) else { return };
        let (ours, theirs) = (&mut results.summary, more.summary);
        ours.total_successful_session_count =
            ours.total_successful_session_count.saturating_add(theirs.total_successful_session_count);
        ours.total_failure_session_count =
            ours.total_failure_session_count.saturating_add(theirs.total_failure_session_count);
        more.failure_details.into_iter().take(FAILURE_DETAILS_MAX).for_each(|more| results.add_details(more));
    }
}

impl PolicyResults {
    fn add_details(&mut self, mut more: FailureDetails) {
        more.bound();
        if let Some(known) = self.failure_details.iter_mut().find(|known| known.is_of_kind(&more)) {
            let count = more.failed_session_count;
            known.failed_session_count = known.failed_session_count.saturating_add(count);
        } else if self.failure_details.len() < FAILURE_DETAILS_MAX {
            self.failure_details.push(more);
        }
    }
}

fn cut(text: &mut String) {
    text.truncate(text.floor_char_boundary(TEXT_OCTETS_MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlsa::Tlsa;

    fn sts(mode: Mode) -> Policy {
        Policy { mode, mx: vec!["*.mail.company-y.example".to_owned()], max_age: 86_400 }
    }

    fn failure(result_type: ResultType, reason: &str) -> FailureDetails {
        FailureDetails::one(result_type, "mx1.mail.company-y.example", reason)
    }

    /// RFC 8460 appendix B, as far as it has what we write.
    const EXAMPLE: &str = r#"{"organization-name":"Company-X","date-range":{"start-datetime":"2016-04-01T00:00:00Z",
        "end-datetime":"2016-04-01T23:59:59Z"},"contact-info":"sts-reporting@company-x.example",
        "report-id":"5065427c-23d3-47ca-b6e0-946ea0e8c4be","policies":[{"policy":{"policy-type":"sts",
        "policy-string":["version: STSv1","mode: testing","mx: *.mail.company-y.example","max_age: 86400"],
        "policy-domain":"company-y.example","mx-host":["*.mail.company-y.example"]},
        "summary":{"total-successful-session-count":5326,"total-failure-session-count":303},
        "failure-details":[{"result-type":"certificate-expired","sending-mta-ip":"2001:db8:abcd:0012::1",
        "receiving-mx-hostname":"mx1.mail.company-y.example","failed-session-count":100},
        {"result-type":"starttls-not-supported","sending-mta-ip":"2001:db8:abcd:0013::1",
        "receiving-mx-hostname":"mx2.mail.company-y.example","receiving-ip":"203.0.113.56",
        "failed-session-count":200,"additional-information":"https://reports.company-x.example/report_info"},
        {"result-type":"validation-failure","sending-mta-ip":"198.51.100.62","receiving-ip":"203.0.113.58",
        "receiving-mx-hostname":"mx-backup.mail.company-y.example","failed-session-count":3,
        "failure-reason-code":"X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"}]}]}"#;

    #[test]
    fn the_example_of_the_rfc_is_read_and_written_with_its_names() {
        let report: Report = serde_json::from_str(EXAMPLE).unwrap();
        let results = &report.policies[0];
        assert_eq!(results.summary.total_failure_session_count, 303);
        assert_eq!(results.failure_details[1].result_type, ResultType::StarttlsNotSupported);
        let of = AppliedPolicy::of("company-y.example", "mx1", &Dane::Absent, Some(&sts(Mode::Testing)));
        assert_eq!(results.policy, of);
        let written = serde_json::to_string(&report).unwrap();
        for name in ["organization-name", "start-datetime", "contact-info", "report-id", "policy-string"] {
            assert!(written.contains(name), "{name} is not in {written}");
        }
        assert_eq!(serde_json::from_str::<Report>(&written).unwrap(), report);
    }

    #[test]
    fn the_policy_is_the_strongest_and_one_that_is_withdrawn_is_none() {
        let tlsa = |usage| Tlsa { usage, selector: 1, matching: 1, data: vec![1; 32] };
        let of = |dane: &Dane, mode: Option<Mode>| {
            let policy = AppliedPolicy::of("y.example", "mx.y.example", dane, mode.map(sts).as_ref());
            (policy.policy_type, policy.policy_domain, policy.policy_string.len())
        };
        let dane = Dane::Secure(vec![tlsa(3)]);
        let (host, domain) = (|| "mx.y.example".to_owned(), || "y.example".to_owned());
        assert_eq!(of(&dane, Some(Mode::Enforce)), (PolicyType::Tlsa, host(), 1));
        assert_eq!(of(&Dane::Unknown(String::new()), None), (PolicyType::Tlsa, host(), 0));
        let unusable = Dane::Secure(vec![tlsa(0)]);
        assert_eq!(of(&unusable, Some(Mode::Testing)), (PolicyType::Sts, domain(), 4));
        assert_eq!(of(&unusable, None), (PolicyType::Tlsa, host(), 1));
        for mode in [None, Some(Mode::None)] {
            assert_eq!(of(&Dane::Absent, mode), (PolicyType::NoPolicyFound, domain(), 0));
        }
    }

    #[test]
    fn results_add_up_by_policy_and_by_kind_of_failure() {
        let policy = || AppliedPolicy::of("y.example", "mx", &Dane::Absent, Some(&sts(Mode::Enforce)));
        let mut one = Results::default();
        one.success(policy());
        one.failure(policy(), failure(ResultType::CertificateExpired, "x"));
        let mut two = one.clone();
        two.add(one);
        two.failure(policy(), failure(ResultType::CertificateExpired, "y"));
        two.success(AppliedPolicy::without_content(PolicyType::NoPolicyFound, "y.example"));
        let [sts, none] = two.policies() else { panic!("{two:?}") };
        assert_eq!(
            (sts.summary.total_successful_session_count, sts.summary.total_failure_session_count),
            (2, 3)
        );
        let counts: Vec<u64> = sts.failure_details.iter().map(|kind| kind.failed_session_count).collect();
        assert_eq!((counts, none.summary.total_successful_session_count), (vec![2, 1], 1));
    }

    #[test]
    fn a_word_that_is_not_known_is_read_as_the_general_one() {
        let read = |text: &str| serde_json::from_str::<ResultType>(text).unwrap();
        assert_eq!(read(r#""quantum-failure""#), ResultType::ValidationFailure);
        assert_eq!(read(r#""validation-failure""#), ResultType::ValidationFailure);
        assert_eq!(serde_json::from_str::<PolicyType>(r#""x""#).unwrap(), PolicyType::NoPolicyFound);
        assert_eq!(serde_json::to_string(&ResultType::ValidationFailure).unwrap(), r#""validation-failure""#);
        assert_eq!(serde_json::to_string(&ResultType::TlsaInvalid).unwrap(), r#""tlsa-invalid""#);
    }

    #[test]
    fn policies_kinds_of_failures_and_texts_are_bounded() {
        let none = |number: usize| {
            AppliedPolicy::without_content(PolicyType::NoPolicyFound, &format!("{number}.example"))
        };
        let mut results = Results::default();
        (0..=POLICIES_MAX).for_each(|number| results.success(none(number)));
        assert_eq!(results.policies().len(), POLICIES_MAX);
        for number in 0..=FAILURE_DETAILS_MAX {
            results.failure(none(0), failure(ResultType::ValidationFailure, &number.to_string()));
        }
        let first = &results.policies()[0];
        assert_eq!(first.failure_details.len(), FAILURE_DETAILS_MAX);
        assert_eq!(first.summary.total_failure_session_count, FAILURE_DETAILS_MAX as u64 + 1);
        let long = |octets: usize| {
            let mut results = Results::default();
            let text = "x".repeat(octets);
            let policy =
                AppliedPolicy { policy_string: vec![text.clone(); POLICY_STRINGS_MAX + 1], ..none(0) };
            results.failure(policy, failure(ResultType::ValidationFailure, &text));
            let results = &results.policies()[0];
            let policy = &results.policy.policy_string;
            (policy.len(), policy[0].len(), results.failure_details[0].failure_reason_code.len())
        };
        assert_eq!(long(TEXT_OCTETS_MAX), (POLICY_STRINGS_MAX, TEXT_OCTETS_MAX, TEXT_OCTETS_MAX));
        assert_eq!(long(TEXT_OCTETS_MAX + 1), (POLICY_STRINGS_MAX, TEXT_OCTETS_MAX, TEXT_OCTETS_MAX));
        let mut most = Results::default();
        let count = |count| Summary { total_successful_session_count: count, total_failure_session_count: 0 };
        let all = |count_| {
            Results(vec![PolicyResults {
                policy: none(0),
                summary: count(count_),
                failure_details: Vec::new(),
            }])
        };
        most.add(all(u64::MAX));
        most.add(all(1));
        assert_eq!(most.policies()[0].summary, count(u64::MAX));
    }

    #[test]
    fn who_reports_says_nothing_of_another_domain() {
        let mut results = Results::default();
        results.success(AppliedPolicy::without_content(PolicyType::Sts, "other.example"));
        results.success(AppliedPolicy::tlsa("mx.y.example", &Dane::Absent));
        results.belong_to("y.example");
        let domains: Vec<&str> = results.0.iter().map(|of| of.policy.policy_domain.as_str()).collect();
        assert_eq!(domains, ["y.example", "mx.y.example"]);
    }
}
