//! MTA-STS policies of other domains (RFC 8461): asked for, fetched, and kept on disk for as long as they hold.
//!
//! A policy that was heard of holds until it ends, whatever DNS or the web server say meanwhile (RFC 8461
//! section 3.3): who wants to send mail in the clear would have to be in between for all that time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::clock::Clock;
use daemon::files;
use daemon::json_file;
use daemon::problem::Problem;
use mail::Domain;
use mailauth::dns::{LookupError, texts};
use net::dns::{Dns, Questions};
use net::http_client::{Get, HttpError, get};
use net::tls::TlsConnector;
use serde::{Deserialize, Serialize};
use tlspolicy::mta_sts::{Mode, POLICY_OCTETS_MAX, Policy, record_id};
use tlspolicy::report::ResultType;

/// How long fetching a policy may take (RFC 8461 section 3.3 suggests a minute).
const FETCH_PATIENCE: Duration = Duration::from_secs(60);
/// A policy is fetched anew when it is older than this in seconds, so that it does not end unnoticed.
const REFRESHED_AFTER_SECONDS: u64 = 86_400;
/// So long a policy that could not be fetched is not fetched again, in seconds (RFC 8461 section 3.3).
const FAILURE_SECONDS: u64 = 300;
/// Most domains whose policies, or whose failures, are kept.
const DOMAINS_MAX: usize = 10_000;

/// The policies that Edge knows.
pub(super) struct Policies {
    /// The file that they are kept in, if any.
    path: Option<PathBuf>,
    questions: Questions,
    connector: TlsConnector,
    port: u16,
    kept: Arc<Mutex<KeptPolicies>>,
    /// Held by who writes the file.
    writing: Arc<Mutex<()>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct KeptPolicies {
    policies: HashMap<String, Known>,
    #[serde(skip)]
    failures: HashMap<String, Failure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// The id in the TXT record (RFC 8461 section 3.1).
    id: String,
    /// The time of the fetch, in seconds since 1970.
    fetched: u64,
    policy: Policy,
}

#[derive(Debug, Clone)]
struct Failure {
    at: u64,
    what: PolicyFailure,
}

/// The reason why a domain's policy is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFailure {
    /// In the words of reports; `None` when it is not known whether there is a policy.
    pub result_type: Option<ResultType>,
    /// The cause in words, for the operator.
    pub cause: String,
}

impl PolicyFailure {
    fn of(result_type: ResultType, cause: String) -> Self {
        Self { result_type: Some(result_type), cause }
    }

    /// The web server could not be asked, or said nothing that is a policy.
    fn fetch(cause: String) -> Self {
        Self::of(ResultType::StsPolicyFetchError, cause)
    }
}

/// What is known of a domain's policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// The policy that holds now.
    pub policy: Option<Policy>,
    /// Why there is none, or none that is newer, although the domain announces one.
    pub failure: Option<PolicyFailure>,
}

impl Known {
    fn holds(&self, now: u64) -> bool {
        now < self.fetched.saturating_add(self.policy.max_age)
    }
}

impl KeptPolicies {
    fn policy(&self, domain: &str, now: u64) -> Option<&Known> {
        self.policies.get(domain).filter(|known| known.holds(now))
    }

    /// Versions before this one kept what breaks the grammar; such a policy can refuse every host there is.
    fn drop_malformed(&mut self) {
        self.policies.retain(|_, known| known.policy.is_well_formed());
    }

    /// Domains whose policies hold and are to be fetched anew, those that were fetched first in front. One that was
    /// withdrawn may end.
    fn old(&self, now: u64) -> Vec<&str> {
        let is_old = |known: &Known| now.saturating_sub(known.fetched) >= REFRESHED_AFTER_SECONDS;
        let old = |known: &Known| known.holds(now) && is_old(known) && known.policy.mode != Mode::None;
        let mut old: Vec<_> = self.policies.iter().filter(|(_, known)| old(known)).collect();
        old.sort_by_key(|(_, known)| known.fetched);
        old.into_iter().map(|(domain, _)| domain.as_str()).collect()
    }

    /// The failure for which it is not fetched again yet; `None` when it may be. `now` is in seconds since 1970.
    fn failure(&self, domain: &str, now: u64) -> Option<PolicyFailure> {
        let failure = self.failures.get(domain)?;
        (now < failure.at.saturating_add(FAILURE_SECONDS)).then(|| failure.what.clone())
    }

    fn learn(&mut self, domain: &str, known: Known, now: u64) {
        self.failures.remove(domain);
        if self.policies.len() >= DOMAINS_MAX && !self.policies.contains_key(domain) {
            self.policies.retain(|_, known| known.holds(now));
        }
        if self.policies.len() >= DOMAINS_MAX && !self.policies.contains_key(domain) {
            let oldest = self.policies.iter().min_by_key(|(_, known)| known.fetched);
            let oldest = oldest.map(|(domain, _)| domain.clone()).unwrap_or_default();
            self.policies.remove(&oldest);
        }
        self.policies.insert(domain.to_owned(), known);
    }

    fn fail(&mut self, domain: &str, what: PolicyFailure, now: u64) {
        if self.failures.len() >= DOMAINS_MAX {
            self.failures.retain(|_, failure| now < failure.at.saturating_add(FAILURE_SECONDS));
        }
        if self.failures.len() < DOMAINS_MAX {
            self.failures.insert(domain.to_owned(), Failure { at: now, what });
        }
    }
}

impl Policies {
    /// Reads what was kept in the directory. `connector` checks the certificates of web servers.
    ///
    /// # Errors
    /// When the file can't be read.
    pub(super) fn open(
        dir: Option<&Path>,
        questions: Questions,
        connector: TlsConnector,
        port: u16,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Problem> {
        let path = dir.map(|dir| dir.join("mta-sts.json"));
        let mut kept: KeptPolicies = match &path {
            Some(path) => json_file::read(path)?.unwrap_or_default(),
            None => KeptPolicies::default(),
        };
        kept.drop_malformed();
        let (kept, writing) = (Arc::new(Mutex::new(kept)), Arc::default());
        Ok(Self { path, questions, connector, port, kept, writing, clock })
    }

    fn kept(&self) -> MutexGuard<'_, KeptPolicies> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Domains whose policies are to be fetched anew, the most urgent first.
    pub(super) fn old(&self, now: u64) -> Vec<Domain> {
        self.kept().old(now).into_iter().filter_map(|domain| Domain::parse(domain).ok()).collect()
    }

    /// The policy of a domain, fetched when it is new or old. `dns` finds the web server.
    pub(super) async fn of(&self, domain: &Domain, dns: &Dns, ipv6: bool) -> Heard {
        let (name, now) = (domain.as_str(), self.clock.now().as_secs());
        let (known, failure) = {
            let kept = self.kept();
            (kept.policy(name, now).cloned(), kept.failure(name, now))
        };
        let heard = |failure| Heard { policy: known.as_ref().map(|known| known.policy.clone()), failure };
        let id = match texts(&self.questions, &format!("_mta-sts.{name}")).await {
            Ok(records) => record_id(&records),
            Err(LookupError::NoSuchName | LookupError::NoRecords) => None,
            Err(error) => {
                let cause = format!("whether it has a policy is not known: {error}");
                return heard(Some(PolicyFailure { result_type: None, cause }));
            }
        };
        let Some(id) = id else { return heard(None) };
        let fresh =
            |known: &Known| known.id == id && now.saturating_sub(known.fetched) < REFRESHED_AFTER_SECONDS;
        if known.as_ref().is_some_and(fresh) {
            return heard(None);
        }
        if failure.is_some() {
            return heard(failure);
        }
        match self.fetch(name, dns, ipv6).await {
            Ok(policy) => {
                self.kept().learn(name, Known { id, fetched: now, policy: policy.clone() }, now);
                self.save().await;
                Heard { policy: Some(policy), failure: None }
            }
            Err(failure) => {
                let cause = &failure.cause;
                match &known {
                    Some(known) => {
                        let days = now.saturating_sub(known.fetched) / 86_400;
                        tracing::warn!(domain = name, %cause, days, "an MTA-STS policy could not be fetched anew; the old one holds");
                    }
                    None => tracing::info!(domain = name, %cause, "an MTA-STS policy could not be fetched"),
                }
                self.kept().fail(name, failure.clone(), now);
                heard(Some(failure))
            }
        }
    }

    async fn fetch(&self, domain: &str, dns: &Dns, ipv6: bool) -> Result<Policy, PolicyFailure> {
        let host = format!("mta-sts.{domain}");
        let addresses = dns.addresses(&host).await;
        let addresses = addresses.map_err(|error| PolicyFailure::fetch(error.to_string()))?.value;
        let addresses = addresses.into_iter().filter(|ip| ipv6 || ip.is_ipv4());
        let addresses: Vec<_> = addresses.map(|ip| (ip, self.port).into()).collect();
        if addresses.is_empty() {
            let cause = format!("{host} has no address to fetch the policy from");
            return Err(PolicyFailure::fetch(cause));
        }
        let request = Get {
            host: &host,
            addresses: &addresses,
            path: "/.well-known/mta-sts.txt",
            answer_octets_max: POLICY_OCTETS_MAX,
        };
        let answer = tokio::time::timeout(FETCH_PATIENCE, get(&self.connector, &request)).await;
        let answer = answer.map_err(|_| PolicyFailure::fetch(format!("{host} took too long")))?;
        let answer = answer.map_err(|error| not_fetched(&host, &error))?;
        if answer.status != 200 {
            return Err(PolicyFailure::fetch(format!("{host} answered {}", answer.status)));
        }
        let kind = answer.content_type.as_deref().unwrap_or_default().split(';').next().unwrap_or_default();
        if !kind.trim().eq_ignore_ascii_case("text/plain") {
            return Err(PolicyFailure::fetch(format!("{host} did not send text/plain")));
        }
        Policy::parse(&answer.body)
            .map_err(|error| PolicyFailure::of(ResultType::StsPolicyInvalid, format!("{host}: {error}")))
    }

    /// Writes what is known. What is lost in a crash is fetched again.
    async fn save(&self) {
        let Some(path) = self.path.clone() else { return };
        let (kept, writing) = (Arc::clone(&self.kept), Arc::clone(&self.writing));
        let written = tokio::task::spawn_blocking(move || {
            let _one = writing.lock().unwrap_or_else(PoisonError::into_inner);
            let text = json_file::numbered(&*kept.lock().unwrap_or_else(PoisonError::into_inner))?;
            files::replace(&path, &text)
        });
        if let Ok(Err(error)) = written.await {
            tracing::warn!(%error, "MTA-STS policies could not be written; they will be fetched again");
        }
    }
}

/// A certificate that is not valid has a word of its own (RFC 8460 section 4.3).
fn not_fetched(host: &str, error: &HttpError) -> PolicyFailure {
    let handshake = match error {
        HttpError::Connect(error) => Some(net::mta_tls::result_type_of_handshake(error).0),
        _ => None,
    };
    let bad_certificate = handshake.is_some_and(|result| result != ResultType::ValidationFailure);
    let result = if bad_certificate { ResultType::StsWebpkiInvalid } else { ResultType::StsPolicyFetchError };
    PolicyFailure::of(result, format!("{host}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(fetched: u64, max_age: u64) -> Known {
        let policy = Policy { mode: Mode::Enforce, mx: vec!["mx.a.test".to_owned()], max_age };
        Known { id: "1".to_owned(), fetched, policy }
    }

    #[test]
    fn a_policy_holds_to_its_last_second_and_survives_a_restart() {
        let mut kept = KeptPolicies::default();
        kept.learn("a.test", known(1000, 60), 1000);
        assert!(kept.policy("a.test", 1059).is_some() && kept.policy("a.test", 1060).is_none());
        assert!(kept.policy("b.test", 1000).is_none());
        let again: KeptPolicies = serde_json::from_slice(&serde_json::to_vec(&kept).unwrap()).unwrap();
        assert_eq!(again.policies, kept.policies);
    }

    #[test]
    fn a_kept_policy_that_breaks_the_grammar_is_dropped() {
        let mut kept = KeptPolicies::default();
        kept.learn("good.test", known(1, 60), 1);
        let policy = Policy { mx: vec!["mx.bad.test-".to_owned()], ..known(1, 60).policy };
        kept.learn("bad.test", Known { policy, ..known(1, 60) }, 1);
        kept.drop_malformed();
        assert!(kept.policy("good.test", 2).is_some() && kept.policy("bad.test", 2).is_none());
    }

    #[test]
    fn policies_are_old_after_a_day_as_long_as_they_hold() {
        let mut kept = KeptPolicies::default();
        let withdrawn = Policy { mode: Mode::None, ..known(0, 1_000_000).policy };
        kept.learn("later.test", known(200, 1_000_000), 200);
        kept.learn("first.test", known(100, 1_000_000), 200);
        kept.learn("short.test", known(100, 86_400), 200);
        kept.learn("withdrawn.test", Known { policy: withdrawn, ..known(100, 1) }, 200);
        assert!(kept.old(100 + REFRESHED_AFTER_SECONDS - 1).is_empty());
        assert_eq!(kept.old(100 + REFRESHED_AFTER_SECONDS), ["first.test"]);
        assert_eq!(kept.old(200 + REFRESHED_AFTER_SECONDS), ["first.test", "later.test"]);
    }

    #[test]
    fn a_failure_is_remembered_for_five_minutes_or_until_it_works() {
        let mut kept = KeptPolicies::default();
        let down = PolicyFailure::fetch("down".to_owned());
        kept.fail("a.test", down.clone(), 1000);
        assert_eq!(kept.failure("a.test", 1299), Some(down));
        assert_eq!(kept.failure("a.test", 1300), None);
        kept.learn("a.test", known(1001, 60), 1001);
        assert_eq!(kept.failure("a.test", 1002), None);
    }

    #[test]
    fn the_number_of_domains_is_bounded_and_the_oldest_makes_room() {
        let mut kept = KeptPolicies::default();
        for number in 0..DOMAINS_MAX as u64 {
            kept.learn(&format!("{number}.test"), known(number, 1_000_000), number);
            kept.fail(&format!("{number}.bad"), PolicyFailure::fetch(String::new()), 0);
        }
        kept.learn("5.test", known(20_000, 1_000_000), 20_000);
        kept.learn("new.test", known(20_000, 1_000_000), 20_000);
        kept.fail("new.bad", PolicyFailure::fetch(String::new()), 0);
        assert_eq!((kept.policies.len(), kept.failures.len()), (DOMAINS_MAX, DOMAINS_MAX));
        assert!(kept.policy("0.test", 20_000).is_none());
        assert!(kept.policy("5.test", 20_000).is_some() && kept.policy("new.test", 20_000).is_some());
    }
}
