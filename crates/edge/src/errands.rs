//! Errands for reports on TLS (RFC 8460): Edge asks DNS and posts what Home has written, because nobody may see
//! where Home is. Nothing of it rests here, and nothing is tried twice.
//!
//! Where a report goes says the DNS of a stranger. What keeps him from having Edge talk to its own neighbours is
//! that the server needs a certificate of the name he gave, from a public root.

use std::sync::Arc;
use std::time::Duration;

use doctor::told::from_names;
use link::{Errand, ErrandResult, Frame};
use mail::{Domain, ItemId};
use mailauth::dns::{LookupError, texts};
use net::dns::{Dns, Questions};
use net::http_client::{Submission, submit};
use net::link_session::FrameSender;
use net::tls::TlsConnector;
use tlspolicy::reporting::{HttpsUri, RECORD_OCTETS_MAX, ReportUri, is_record};
use tokio::sync::Semaphore;

use super::examine::Examiner;
use super::homes::Home;

/// Errands under way at one time; a home that has more run is told to try later.
const ERRANDS_MAX: usize = 16;
/// The time that an errand has.
const PATIENCE: Duration = Duration::from_secs(60);
/// Records that are passed on: with two, a domain has none (RFC 8460 section 3).
const RECORDS_MAX: usize = 2;
/// Octets of a server's answer that are read; nobody looks at them.
const ANSWER_OCTETS_MAX: usize = 64 * 1024;

/// The means to run errands: DNS and HTTPS.
pub(crate) struct Errands {
    dns: Dns,
    questions: Questions,
    public_roots: TlsConnector,
    ipv6: bool,
    examiner: Arc<Examiner>,
    slots: Arc<Semaphore>,
}

impl Errands {
    /// Errands with this resolver; servers need a certificate that `public_roots` believes.
    pub(crate) fn new(
        dns: Dns,
        public_roots: TlsConnector,
        ipv6: bool,
        examiner: Arc<Examiner>,
    ) -> Arc<Self> {
        let (questions, slots) = (dns.questions(), Arc::new(Semaphore::new(ERRANDS_MAX)));
        Arc::new(Self { dns, questions, public_roots, ipv6, examiner, slots })
    }

    /// A home wants something done. The result goes to `frames`.
    pub(crate) fn run(self: &Arc<Self>, home: &Arc<Home>, id: ItemId, errand: Errand, frames: &FrameSender) {
        let failed = |cause: &str| {
            frames.send(Frame::ErrandDone(id, ErrandResult::Failed(cause.to_owned())));
        };
        let into_the_world = matches!(errand, Errand::FindReporting(_) | Errand::PostReport { .. });
        if into_the_world && !home.kept().is_some_and(|kept| kept.snapshot.outbound) {
            return failed("sending is off for this home");
        }
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            return failed("too many errands at one time");
        };
        let (errands, home, frames) = (Arc::clone(self), Arc::clone(home), frames.clone());
        tokio::spawn(async move {
            let _slot = slot;
            let done = tokio::time::timeout(PATIENCE, errands.carry_out(&home, errand)).await;
            let done = done.unwrap_or_else(|_| Err("it took too long".to_owned()));
            frames.send(Frame::ErrandDone(id, done.unwrap_or_else(ErrandResult::Failed)));
        });
    }

    async fn carry_out(&self, home: &Home, errand: Errand) -> Result<ErrandResult, String> {
        match errand {
            Errand::Examine { probe } => {
                self.examiner.for_home(home, probe).await.map(ErrandResult::Examined)
            }
            Errand::Hear(found) => {
                home.hear(self.examiner.now(), from_names(&found));
                Ok(ErrandResult::Heard)
            }
            errand => self.in_the_world(errand).await,
        }
    }

    async fn in_the_world(&self, errand: Errand) -> Result<ErrandResult, String> {
        match errand {
            Errand::Status => Err("how Edge is doing is said without an errand".to_owned()),
            Errand::FindReporting(domain) => self.find_reporting(&domain).await.map(ErrandResult::Reporting),
            Errand::PostReport { uri, report } => match ReportUri::parse(&uri) {
                Some(ReportUri::Https(uri)) => self.post(&uri, &report).await.map(|()| ErrandResult::Posted),
                _ => Err(format!("{uri} is no https URI that a report can go to")),
            },
            Errand::Examine { .. } | Errand::Hear(_) => {
                Err("that is nothing to be done in the world".to_owned())
            }
        }
    }

    async fn find_reporting(&self, domain: &Domain) -> Result<Vec<String>, String> {
        if domain.is_literal() {
            return Ok(Vec::new());
        }
        let records = match texts(&self.questions, &format!("_smtp._tls.{domain}")).await {
            Ok(records) => records,
            Err(LookupError::NoSuchName | LookupError::NoRecords) => return Ok(Vec::new()),
            Err(error) => return Err(error.to_string()),
        };
        let ours = records.into_iter().filter(|text| is_record(text) && text.len() <= RECORD_OCTETS_MAX);
        Ok(ours.filter_map(|text| String::from_utf8(text).ok()).take(RECORDS_MAX).collect())
    }

    async fn post(&self, uri: &HttpsUri, report: &[u8]) -> Result<(), String> {
        let host = &uri.host;
        let addresses = self.dns.addresses(host).await.map_err(|error| error.to_string())?.value;
        let addresses = addresses.into_iter().filter(|ip| self.ipv6 || ip.is_ipv4());
        let addresses: Vec<_> = addresses.map(|ip| (ip, uri.port).into()).collect();
        if addresses.is_empty() {
            return Err(format!("{host} has no address to post to"));
        }
        let submission = Submission {
            host,
            port: uri.port,
            addresses: &addresses,
            path: &uri.path,
            content_type: "application/tlsrpt+gzip",
            content: report,
            answer_octets_max: ANSWER_OCTETS_MAX,
        };
        let answer = submit(&self.public_roots, &submission).await;
        match answer.map_err(|error| format!("{host}: {error}"))?.status {
            200..=299 => Ok(()),
            status => Err(format!("{host} answered {status}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use daemon::clock::SystemClock;

    use super::super::config::EdgeConfig;
    use super::super::homes::Homes;
    use super::*;

    /// Errands whose name server does not answer.
    fn errands() -> Arc<Errands> {
        let (dir, clock) = (tempfile::tempdir().unwrap(), SystemClock::shared());
        let homes = Homes::open(&dir.path().join("homes"), 1 << 20, clock.now());
        let homes = Arc::new(homes.unwrap_or_else(|problem| panic!("{problem}")));
        let examiner = Examiner::new(EdgeConfig::of_nobody(), homes, Arc::default(), clock);
        let dns = Dns::new(&["127.0.0.1:9".parse().unwrap()]).unwrap();
        let roots = net::mta_tls::public_roots(None).unwrap();
        Errands::new(dns, net::mta_tls::verifying_connector(roots).unwrap(), false, examiner)
    }

    #[tokio::test]
    async fn a_stranger_can_not_have_edge_talk_to_an_address_or_without_tls() {
        let errands = errands();
        for uri in ["https://127.0.0.1/", "https://[::1]/", "http://a.example/", "mailto:a@b.example", ""] {
            let errand = Errand::PostReport { uri: uri.to_owned(), report: Vec::new() };
            let cause = errands.in_the_world(errand).await.unwrap_err();
            assert!(cause.ends_with("is no https URI that a report can go to"), "{uri}: {cause}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_literal_wants_no_report_and_dns_that_is_silent_is_a_failure() {
        let errands = errands();
        let find = |domain: &str| errands.in_the_world(Errand::FindReporting(Domain::parse(domain).unwrap()));
        assert_eq!(find("[192.0.2.1]").await, Ok(ErrandResult::Reporting(Vec::new())));
        assert!(find("a.example").await.is_err());
    }
}
