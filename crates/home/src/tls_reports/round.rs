//! One round of sending: every report that is due, to everybody who wants it.
//!
//! How far a report is becomes durable after each step, so that a restart repeats one step at the most. A report
//! repeated so has the same id, by which its receiver knows it; in the queue it is the same item.

use content::Content;
use link::{Errand, ErrandResult, TraceStep};
use mail::{Address, BodyType, Envelope, ItemId, Recipient, ReversePath, UnixTime};
use outbound::queue::QueueState;
use sha2::{Digest as _, Sha256};
use tlspolicy::reporting::{ReportUri, report_uris};
use tokio::task::JoinSet;

use super::ledger::{Entry, State};
use super::letter::{self, Letter, Submitter};
use super::{Names, TlsReports};
use crate::edges::NoEdge;

/// Waits before what failed is tried again, in seconds; after the last one the report is dropped.
const RETRY_SECS: [u64; 4] = [600, 3600, 3 * 3600, 8 * 3600];

/// Reports that are sent at one time.
const AT_ONE_TIME: u32 = 8;

/// The reasons why a step was not made.
enum Stuck {
    /// No edge is up: it is nobody's fault and is tried when one is.
    NoEdge,
    /// To be tried again, a few times.
    Failed(String),
}

impl From<NoEdge> for Stuck {
    fn from(_: NoEdge) -> Self {
        Self::NoEdge
    }
}

impl TlsReports {
    /// Sends what is due and tells how far each report is now.
    ///
    /// # Errors
    /// The ledger can't be read or written, in words.
    pub(super) async fn send_due(&self, now: UnixTime) -> Result<Vec<Entry>, String> {
        if !self.is_on() {
            return Ok(Vec::new());
        }
        let _one = self.0.round.lock().await;
        let mut done = Vec::new();
        loop {
            let ledger = self.0.ledger.clone();
            let due = tokio::task::spawn_blocking(move || ledger.due(now, AT_ONE_TIME)).await;
            let due = due.map_err(|error| error.to_string())?;
            let due = due.map_err(|error| format!("tls_reports.db: {error}"))?;
            if due.is_empty() {
                return Ok(done);
            }
            let mut sending = JoinSet::new();
            for entry in due {
                sending.spawn(self.clone().send_one(entry));
            }
            let mut failed = None;
            // All of them are waited for: what one has done is to be noted, whatever became of another.
            while let Some(sent) = sending.join_next().await {
                match sent.map_err(|error| error.to_string()).and_then(|sent| sent) {
                    Ok(entry) => done.push(entry),
                    Err(cause) => failed = Some(cause),
                }
            }
            if let Some(cause) = failed {
                return Err(cause);
            }
        }
    }

    /// Sends one report, or puts it off.
    async fn send_one(self, mut entry: Entry) -> Result<Entry, String> {
        let policy = self.0.parts.directory.policy();
        let names = Names::of(&policy).ok_or("there is no domain to report for")?;
        match self.send(&mut entry, &names.submitter()).await {
            Ok(()) => Ok(entry),
            Err(Stuck::NoEdge) => Err("no edge that can find out where reports are wanted is up".to_owned()),
            Err(Stuck::Failed(cause)) => self.put_off(&mut entry, &cause).await.map(|()| entry),
        }
    }

    /// Takes a report to everybody who is left.
    async fn send(&self, entry: &mut Entry, submitter: &Submitter<'_>) -> Result<(), Stuck> {
        if entry.targets.is_none() {
            let targets = self.find_targets(entry).await?;
            if targets.is_empty() {
                entry.state = State::Unwanted;
            }
            entry.targets = Some(targets);
            self.keep(entry, self.0.parts.clock.now()).await?;
        }
        let report = letter::compressed(&letter::report(entry, submitter)).map_err(Stuck::Failed)?;
        let mut failure = None;
        for target in entry.targets.clone().unwrap_or_default() {
            match self.deliver(entry, &target, submitter, &report).await {
                Ok(()) => {
                    let left = entry.targets.get_or_insert_default();
                    left.retain(|left| *left != target);
                    if left.is_empty() {
                        entry.state = State::Sent;
                    }
                    self.keep(entry, self.0.parts.clock.now()).await?;
                    self.trace(entry, &format!("to {target}"));
                }
                Err(Stuck::NoEdge) => return Err(Stuck::NoEdge),
                Err(Stuck::Failed(cause)) => failure = Some(format!("{target}: {cause}")),
            }
        }
        failure.map_or(Ok(()), |cause| Err(Stuck::Failed(cause)))
    }

    /// The places where a domain wants its reports: URIs of its TLSRPT record.
    async fn find_targets(&self, entry: &Entry) -> Result<Vec<String>, Stuck> {
        match (self.0.parts.run_errand)(Errand::FindReporting(entry.domain.clone())).await? {
            ErrandResult::Reporting(records) => {
                Ok(report_uris(&records).iter().map(ToString::to_string).collect())
            }
            ErrandResult::Failed(cause) => Err(Stuck::Failed(cause)),
            ErrandResult::Posted | ErrandResult::Status(_) => {
                Err(Stuck::Failed("Edge did something else".to_owned()))
            }
        }
    }

    async fn deliver(
        &self,
        entry: &Entry,
        target: &str,
        submitter: &Submitter<'_>,
        report: &[u8],
    ) -> Result<(), Stuck> {
        match ReportUri::parse(target) {
            Some(ReportUri::Mailto(to)) => {
                self.mail(entry, &to, submitter, report).await.map_err(Stuck::Failed)
            }
            Some(ReportUri::Https(uri)) => {
                let (uri, report) = (uri.to_string(), report.to_vec());
                match (self.0.parts.run_errand)(Errand::PostReport { uri, report }).await? {
                    ErrandResult::Posted => Ok(()),
                    ErrandResult::Failed(cause) => Err(Stuck::Failed(cause)),
                    ErrandResult::Reporting(_) | ErrandResult::Status(_) => {
                        Err(Stuck::Failed("Edge did something else".to_owned()))
                    }
                }
            }
            // Can't be: each target was parsed before it was kept.
            None => Ok(()),
        }
    }

    /// Puts a report into the outbound queue, signed, under the null reverse-path: whatever becomes of it, nobody
    /// wants to hear of that.
    async fn mail(
        &self,
        entry: &Entry,
        to: &str,
        submitter: &Submitter<'_>,
        report: &[u8],
    ) -> Result<(), String> {
        let Ok(address) = Address::parse(to) else {
            tracing::info!(domain = %entry.domain, to, "a report on TLS is wanted at what is no address");
            return Ok(());
        };
        let now = self.0.parts.clock.now();
        let Letter { header, body } = letter::letter(entry, submitter, to, report, now);
        let header = self.signed(submitter, &header, &body, now)?;
        let envelope = Envelope {
            reverse_path: ReversePath::Null,
            recipients: vec![Recipient::from(address)],
            body: BodyType::SevenBit,
            smtputf8: false,
            require_tls: false,
            ret: None,
            envid: None,
            client: None,
        };
        let mut state = QueueState::new(item_of(entry.id, to), String::new(), envelope, now);
        (state.bulk, state.tls_optional) = (true, true);
        let content = Content::memory(vec![body.into()]);
        self.0.parts.queue.append(state, header, content).await.map_err(|error| error.to_string())?;
        Ok(())
    }

    fn signed(
        &self,
        submitter: &Submitter<'_>,
        header: &[u8],
        body: &[u8],
        now: UnixTime,
    ) -> Result<Vec<u8>, String> {
        let signed = self.0.parts.keys.signed(submitter.domain, header, body, now);
        signed.map_err(|error| error.to_string())?.ok_or_else(|| "the domain has no DKIM keys".to_owned())
    }

    /// Notes a failure: the report is tried again later, or was so often enough.
    async fn put_off(&self, entry: &mut Entry, cause: &str) -> Result<(), String> {
        let wait = usize::try_from(entry.tries).ok().and_then(|tries| RETRY_SECS.get(tries));
        entry.tries = entry.tries.saturating_add(1);
        if wait.is_none() {
            entry.state = State::Dropped;
        }
        let due = self.0.parts.clock.now().plus_secs(wait.copied().unwrap_or_default());
        let kept = self.keep(entry, due).await;
        let outlook = if wait.is_some() { "tried again" } else { "given up" };
        self.trace(entry, &format!("{outlook}: {cause}"));
        match kept {
            Err(Stuck::Failed(cause)) => Err(cause),
            Ok(()) | Err(Stuck::NoEdge) => Ok(()),
        }
    }

    async fn keep(&self, entry: &Entry, due: UnixTime) -> Result<(), Stuck> {
        let (ledger, entry) = (self.0.ledger.clone(), entry.clone());
        let kept = tokio::task::spawn_blocking(move || ledger.update(&entry, due)).await;
        let kept = kept.map_err(|error| Stuck::Failed(error.to_string()))?;
        kept.map_err(|error| Stuck::Failed(format!("tls_reports.db: {error}")))
    }

    fn trace(&self, entry: &Entry, what: &str) {
        let date = UnixTime::from_secs(entry.begun).rfc3339();
        let date = date.get(..10).unwrap_or_default();
        self.0.parts.trace.event(
            None,
            TraceStep::TlsReport,
            format!("on {} for {date} {what}", entry.domain),
        );
    }
}

/// The queue's id for a report to one address: its time, and octets that follow from both.
fn item_of(report: ItemId, to: &str) -> ItemId {
    let digest = Sha256::new().chain_update(report.as_bytes()).chain_update(to).finalize();
    let mut octets = *report.as_bytes();
    for (octet, hashed) in octets.iter_mut().skip(6).zip(digest) {
        *octet = hashed;
    }
    ItemId::from_bytes(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_item_of_a_report_follows_from_the_report_and_the_address() {
        let (one, two) = (ItemId::from_bytes([1; 16]), ItemId::from_bytes([2; 16]));
        assert_eq!(item_of(one, "a@b.example"), item_of(one, "a@b.example"));
        assert_ne!(item_of(one, "a@b.example"), item_of(one, "c@b.example"));
        assert_ne!(item_of(one, "a@b.example"), item_of(two, "a@b.example"));
    }
}
