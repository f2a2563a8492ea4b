//! Outbound at Edge: single attempts that a home orders, and their outcomes until the home has settled them.
//!
//! Edge decides nothing about retries. It carries out each attempt once, makes the outcome durable (what others wrote
//! is sealed to the home's key), tells the home, and forgets it when the home says so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use daemon::clock::Clock;
use daemon::mail_line::{MailLine, Way};
use daemon::trace::Trace;
use link::{Attempt, AttemptState, Frame, Outcomes, ReceiveWindow, TraceStep};
use mail::{EnhancedCode, ItemId, Outcome, Reply, Why};
use net::link_session::{FrameSender, LinkFault};
use spool::SpoolError;
use tlspolicy::report::Results;
use tokio::sync::{mpsc, oneshot};

use super::echo::Echo;
use super::examine::Noticed;
use super::feed::Feed;
use super::greylist::Greylist;
use super::homes::{Home, Homes};
use super::lane::{Ended, Job, Lanes};

/// Attempts of one home under way at one time; more are put off. Home keeps far below it.
const ATTEMPTS_MAX: usize = 2000;

/// All attempts that this Edge carries out.
pub(crate) struct Deliveries {
    homes: Arc<Homes>,
    lanes: Arc<Lanes>,
    echo: Arc<Echo>,
    trace: Trace,
    greylist: Arc<Greylist>,
    noticed: Arc<Noticed>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: HashMap<ItemId, Running>,
    /// Outcomes that were not settled yet, of this run of the program.
    unsettled: HashMap<ItemId, Outcomes>,
}

struct Running {
    home: Arc<Home>,
    /// Gone when the body is whole or the link was lost.
    feed: Option<mpsc::UnboundedSender<Bytes>>,
    window: Arc<Mutex<ReceiveWindow>>,
    left: u64,
}

impl Deliveries {
    /// Deliveries through `lanes`, and to the test address.
    pub(crate) fn new(
        homes: Arc<Homes>,
        (lanes, echo): (Arc<Lanes>, Arc<Echo>),
        trace: Trace,
        (greylist, noticed): (Arc<Greylist>, Arc<Noticed>),
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self { homes, lanes, echo, trace, greylist, noticed, clock, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out an attempt that a home orders.
    pub(crate) fn attempt(self: &Arc<Self>, home: &Arc<Home>, attempt: Attempt, frames: &FrameSender) {
        let id = attempt.attempt;
        if home.outcomes.has(id) || self.state().unsettled.contains_key(&id) {
            return self.ask(home, id, frames);
        }
        if let Err(outcome) = self.may_send(home, &attempt) {
            let outcomes = vec![outcome; attempt.envelope.recipients.len()];
            return frames.send(Frame::Outcomes(Outcomes { attempt: id, outcomes, tls: Results::default() }));
        }
        let Some(feed) = self.enter(home, &attempt) else { return };
        self.remember_correspondents(&attempt);
        let (deliveries, home, order) = (Arc::clone(self), Arc::clone(home), attempt.clone());
        let done = Box::new(move |ended| {
            tokio::spawn(async move { deliveries.conclude(&home, &order, ended).await });
        });
        let to_us = self.echo.is_asked(&attempt);
        let job = Job { attempt, feed, done };
        if to_us {
            tokio::spawn(Arc::clone(&self.echo).answer(job));
        } else {
            self.lanes.add(job);
        }
    }

    /// Whoever a user writes to may answer. Notifications make nobody known.
    fn remember_correspondents(&self, attempt: &Attempt) {
        if attempt.envelope.reverse_path.address().is_some() {
            let now = self.clock.now().as_secs();
            attempt.envelope.recipients.iter().for_each(|to| self.greylist.wrote_to(&to.address, now));
        }
    }

    /// Only for its own domains, and only when sending is on, or to the test address: what a home is, its key says; what it may
    /// say, its snapshot.
    fn may_send(&self, home: &Arc<Home>, attempt: &Attempt) -> Result<(), Outcome> {
        let denied = |cause: &str| Err(Outcome::failed(EnhancedCode(5, 7, 1), cause));
        let is_on = home.kept().is_some_and(|kept| kept.snapshot.outbound);
        if !is_on && !self.echo.is_asked(attempt) {
            return denied("sending is off for this home");
        }
        let sender = attempt.envelope.reverse_path.address();
        let owns = |domain| self.homes.route(domain).is_some_and(|(owner, _)| Arc::ptr_eq(&owner, home));
        if !sender.is_none_or(|address| owns(address.domain())) {
            return denied("this home may not send for that domain");
        }
        let running = self.state().running.values().filter(|run| Arc::ptr_eq(&run.home, home)).count();
        if running >= ATTEMPTS_MAX {
            return Err(Outcome::deferred(EnhancedCode(4, 3, 2), "too many attempts at one time"));
        }
        Ok(())
    }

    /// Notes the attempt as running. `None` when it is already.
    fn enter(&self, home: &Arc<Home>, attempt: &Attempt) -> Option<Feed> {
        // Bounded by the window: each piece has an octet at least.
        let (sender, pieces) = mpsc::unbounded_channel();
        let window = Arc::new(Mutex::new(ReceiveWindow::default()));
        let running = Running {
            home: Arc::clone(home),
            feed: Some(sender).filter(|_| attempt.octets > 0),
            window: Arc::clone(&window),
            left: attempt.octets,
        };
        let mut state = self.state();
        if state.running.contains_key(&attempt.attempt) {
            return None;
        }
        state.running.insert(attempt.attempt, running);
        let (home, attempt, left) = (Arc::clone(home), attempt.attempt, attempt.octets);
        Some(Feed { attempt, home, pieces, window, left, begun: false })
    }

    /// A piece of an attempt's body. One for an attempt that is over already is dropped.
    pub(crate) fn body(&self, home: &Arc<Home>, attempt: ItemId, octets: Bytes) -> Result<(), LinkFault> {
        let mut state = self.state();
        let Some(running) = state.running.get_mut(&attempt).filter(|run| Arc::ptr_eq(&run.home, home)) else {
            return Ok(());
        };
        // What has no octet is bounded by no window.
        if octets.is_empty() {
            return Ok(());
        }
        let fault = LinkFault::Protocol("an attempt's body ran past its window or its size");
        let arrived = running.window.lock().unwrap_or_else(PoisonError::into_inner).arrived(octets.len());
        let left = running.left.checked_sub(octets.len() as u64).filter(|_| arrived.is_ok());
        running.left = left.ok_or(fault)?;
        if let Some(feed) = &running.feed {
            // Fails when the attempt has ended meanwhile.
            let _ = feed.send(octets);
        }
        if running.left == 0 {
            running.feed = None;
        }
        Ok(())
    }

    /// The home will not complete an attempt's body.
    pub(crate) fn abort(&self, home: &Arc<Home>, attempt: ItemId) {
        if let Some(running) =
            self.state().running.get_mut(&attempt).filter(|run| Arc::ptr_eq(&run.home, home))
        {
            running.feed = None;
        }
    }

    /// The link is gone: bodies that were on their way will not come.
    pub(crate) fn link_lost(&self, home: &Arc<Home>) {
        for running in self.state().running.values_mut().filter(|run| Arc::ptr_eq(&run.home, home)) {
            running.feed = None;
        }
    }

    /// The home asks what is known of an attempt.
    pub(crate) fn ask(&self, home: &Arc<Home>, attempt: ItemId, frames: &FrameSender) {
        let state = self.state();
        if state.running.contains_key(&attempt) {
            frames.send(Frame::Known(attempt, AttemptState::Running));
        } else if let Some(outcomes) = state.unsettled.get(&attempt) {
            frames.send(Frame::Outcomes(outcomes.clone()));
        } else if home.outcomes.has(attempt) {
            let (home, frames) = (Arc::clone(home), frames.clone());
            // The journal may have to be read from the disk, for which the link does not wait.
            tokio::task::spawn_blocking(move || {
                match journalled(&home, attempt) {
                    Ok(kept) => frames.send(kept),
                    Err(SpoolError::NoItem(_)) => frames.send(Frame::Known(attempt, AttemptState::Unknown)),
                    // "Unknown" would be a second copy. It is asked again when the link comes up.
                    Err(error) => {
                        tracing::error!(%attempt, %error, "a kept outcome can't be read; Home is not answered");
                    }
                }
            });
        } else {
            frames.send(Frame::Known(attempt, AttemptState::Unknown));
        }
    }

    /// The home has settled an attempt.
    pub(crate) fn settled(&self, home: &Arc<Home>, attempt: ItemId) {
        self.state().unsettled.remove(&attempt);
        home.outcomes.remove(
            attempt,
            Box::new(move |removed| {
                if let Err(error) = removed {
                    tracing::warn!(%attempt, %error, "a settled outcome could not be removed; it will be told again");
                }
            }),
        );
    }

    /// After a reconnect: tells all outcomes that were not settled. Blocks while the journal is read.
    pub(crate) fn repeat_outcomes(&self, home: &Home, frames: &FrameSender) {
        let mut after = None;
        loop {
            let page = home.outcomes.list(after, 256);
            let Some(last) = page.last() else { return };
            after = Some(last.id);
            for listed in page {
                let fresh = self.state().unsettled.get(&listed.id).cloned();
                // What is not there any more was settled meanwhile.
                if let Some(told) = fresh.map(Frame::Outcomes).or_else(|| journalled(home, listed.id).ok()) {
                    frames.send(told);
                }
            }
        }
    }

    /// An attempt is over: outcome durable, then told, then traced.
    async fn conclude(&self, home: &Arc<Home>, attempt: &Attempt, ended: Ended) {
        let Ended { outcomes, about, tls } = ended;
        let id = attempt.attempt;
        // A message that can do without TLS says nothing of what its domain demands.
        let tls = if attempt.tls_optional { Results::default() } else { fitting(tls) };
        let told = Outcomes { attempt: id, outcomes: shortened(outcomes), tls };
        if let Err(error) = journal(home, &told).await {
            tracing::error!(attempt = %id, %error, "an outcome could not be made durable; it is told all the same");
        }
        let left = told.outcomes.iter().any(|outcome| matches!(outcome, Outcome::Delivered(_)));
        if left && !self.echo.is_asked(attempt) {
            self.noticed.delivered(self.clock.now());
        }
        let codes = codes_of(&told.outcomes);
        self.passed(attempt, &told.outcomes);
        {
            let mut state = self.state();
            state.unsettled.insert(id, told.clone());
            state.running.remove(&id);
        }
        if let Some(live) = home.live() {
            live.frames.send(Frame::Outcomes(told));
        }
        let detail = format!("to {} {about}: {codes}", attempt.domain);
        home.tell(self.trace.event(Some(attempt.item), TraceStep::Attempted, detail));
    }
}

impl Deliveries {
    /// Writes the log's line: the worst of what became of the recipients.
    fn passed(&self, attempt: &Attempt, outcomes: &[Outcome]) {
        let rank = |outcome: &&Outcome| match outcome {
            Outcome::Delivered(_) => 0,
            Outcome::Deferred(_) => 1,
            Outcome::Failed(_) => 2,
        };
        let worst = outcomes.iter().max_by_key(rank);
        let (step, without_reply) = match worst {
            Some(Outcome::Delivered(_)) => (TraceStep::Delivered, 250),
            Some(Outcome::Failed(_)) => (TraceStep::Failed, 0),
            _ => (TraceStep::Deferred, 0),
        };
        let reply = worst.and_then(|outcome| outcome.why().reply.as_ref());
        self.trace.passed(&MailLine {
            item: Some(attempt.item),
            to: attempt.domain.as_str(),
            octets: attempt.octets,
            verdict: step.word(),
            code: reply.map_or(without_reply, |reply| reply.code),
            ..MailLine::of(Way::Out, &attempt.envelope)
        });
    }
}

/// Octets of text that all outcomes of an attempt may have: with every octet escaped they fit a frame.
const TEXT_OCTETS_MAX: usize = 384 * 1024;
/// Octets that the results of TLS sessions may take beside them.
const TLS_OCTETS_MAX: usize = 64 * 1024;
/// Codes that one line of the trace names.
const CODES_MAX: usize = 10;

/// Outcomes that fit a frame, whatever other servers wrote into their replies: texts are cut evenly.
fn shortened(mut outcomes: Vec<Outcome>) -> Vec<Outcome> {
    let each = TEXT_OCTETS_MAX / outcomes.len().max(1) / 2;
    for outcome in &mut outcomes {
        let (Outcome::Delivered(why) | Outcome::Deferred(why) | Outcome::Failed(why)) = outcome;
        cut(&mut why.cause, each);
        if let Some(reply) = &mut why.reply {
            cut(&mut reply.text, each);
        }
    }
    outcomes
}

/// Results that fit beside the outcomes; a policy that is larger than any known one is not worth a lost outcome.
fn fitting(tls: Results) -> Results {
    let octets = serde_json::to_vec(&tls).map_or(usize::MAX, |written| written.len());
    if octets > TLS_OCTETS_MAX { Results::default() } else { tls }
}

fn cut(text: &mut String, octets: usize) {
    text.truncate(text.floor_char_boundary(octets));
}

fn codes_of(outcomes: &[Outcome]) -> String {
    let codes: Vec<String> = outcomes.iter().take(CODES_MAX).map(code_of).collect();
    match outcomes.len().saturating_sub(CODES_MAX) {
        0 => codes.join(", "),
        more => format!("{} and {more} more", codes.join(", ")),
    }
}

/// The codes of an outcome, without its text: that may name a mailbox, which Edge's files must not.
fn code_of(outcome: &Outcome) -> String {
    let why = outcome.why();
    match &why.reply {
        Some(reply) => format!("{} {}", reply.code, reply.status()),
        None => why.status.to_string(),
    }
}

/// What the journal has of an attempt, as it is told. Blocks.
fn journalled(home: &Home, attempt: ItemId) -> Result<Frame, SpoolError> {
    let record = home.outcomes.body(attempt)?.read(0, link::CONTROL_FRAME_MAX)?;
    // A sealed record begins with the name of its format, which is no JSON.
    Ok(match serde_json::from_slice::<Outcomes>(&record) {
        Ok(outcomes) if outcomes.attempt == attempt => Frame::Outcomes(outcomes),
        _ => Frame::OutcomesSealed(attempt, record),
    })
}

/// The outcomes without anything that other servers wrote, if all are deliveries: then nothing is left that Edge's
/// files must not hold, and no text is missed.
fn wordless(told: &Outcomes) -> Option<Outcomes> {
    let delivered = told.outcomes.iter().map(|outcome| match outcome {
        Outcome::Delivered(why) => {
            let reply = why.reply.as_ref().map(|reply| Reply { text: String::new(), ..reply.clone() });
            Some(Outcome::Delivered(Why {
                mta: None,
                status: why.status,
                reply,
                cause: String::new(),
                reports: why.reports,
            }))
        }
        Outcome::Deferred(_) | Outcome::Failed(_) => None,
    });
    let outcomes = delivered.collect::<Option<Vec<Outcome>>>().filter(|_| told.tls.is_empty())?;
    Some(Outcomes { attempt: told.attempt, outcomes, tls: Results::default() })
}

/// Makes outcomes durable. What other servers wrote may name mailboxes, so that is sealed.
async fn journal(home: &Home, outcomes: &Outcomes) -> Result<(), String> {
    let json = |outcomes: &Outcomes| serde_json::to_vec(outcomes).map_err(|error| error.to_string());
    let record = match wordless(outcomes) {
        Some(wordless) => json(&wordless)?,
        None => {
            let kept = home.kept().ok_or("the home has no sealing key")?;
            kept.seal_to.seal(&json(outcomes)?).map_err(|error| error.to_string())?
        }
    };
    let (sender, receipt) = oneshot::channel();
    let done = Box::new(move |result| drop(sender.send(result)));
    home.outcomes.append(outcomes.attempt, Vec::new(), vec![record.into()], done);
    match receipt.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the journal is closed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use tlspolicy::report::{AppliedPolicy, PolicyType};

    use super::*;

    #[test]
    fn outcomes_fit_a_frame_whatever_a_server_replies_to_a_thousand_recipients() {
        let reply = Reply::new(550, (5, 1, 1), "\"\\".repeat(2048));
        let outcomes = vec![Outcome::from_reply(Some("m".repeat(255)), &reply); 1000];
        assert_eq!(codes_of(&outcomes), format!("{} and 990 more", ["550 5.1.1"; 10].join(", ")));
        let mut tls = Results::default();
        let policy = |text: &str| AppliedPolicy {
            policy_string: vec![text.repeat(200); 32],
            ..AppliedPolicy::without_content(PolicyType::Sts, text)
        };
        (0..8).for_each(|number| tls.success(policy(&number.to_string())));
        let attempt = ItemId::from_bytes([1; 16]);
        let told = Outcomes { attempt, outcomes: shortened(outcomes), tls: fitting(tls.clone()) };
        assert!(!told.tls.is_empty());
        ["a", "b", "c", "d"].iter().for_each(|text| tls.success(policy(text)));
        assert!(fitting(tls).is_empty(), "and what would not fit is left out");
        let mut wire = bytes::BytesMut::new();
        Frame::Outcomes(told).encode(&mut wire).unwrap();
        let one = shortened(vec![Outcome::from_reply(None, &reply)]);
        assert_eq!(one[0].why().reply, Some(reply));
    }

    #[test]
    fn only_deliveries_are_written_in_clear_and_nothing_that_another_server_said() {
        let reply = Reply::new(250, (2, 1, 5), "queued for bob@example.net");
        let delivered = Outcome::from_reply(Some("mx.example.net".to_owned()), &reply);
        let attempt = ItemId::from_bytes([1; 16]);
        let told = |outcomes: Vec<Outcome>| Outcomes { attempt, outcomes, tls: Results::default() };
        let kept = wordless(&told(vec![delivered.clone(), delivered.clone()])).unwrap();
        let text = serde_json::to_string(&kept).unwrap();
        assert!(!text.contains("bob") && !text.contains("example"), "{text}");
        assert_eq!(codes_of(&kept.outcomes), "250 2.1.5, 250 2.1.5");
        for other in
            [Outcome::failed(EnhancedCode(5, 1, 1), "x"), Outcome::deferred(EnhancedCode(4, 2, 2), "x")]
        {
            assert_eq!(wordless(&told(vec![delivered.clone(), other])), None);
        }
        let mut with_tls = told(vec![delivered]);
        with_tls.tls.success(AppliedPolicy::without_content(PolicyType::Sts, "example.net"));
        assert_eq!(wordless(&with_tls), None);
    }
}
