//! Lanes: the attempts to one domain, and the connections that carry them.
//!
//! A lane has a few connections at most. Each takes one attempt after the other as long as there are any, and
//! waits a moment for more before it says goodbye. A slow domain fills its own lane only.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::Attempt;
use mail::{Domain, Outcome, Why};
use smtp::client::{Quorum, Transaction, TransactionResult};
use tlspolicy::report::Results;
use tokio::sync::Notify;

use super::feed::Feed;
use super::route::{Need, Nowhere, Open, Router, Wanted, Whom};

/// How long a connection waits for the next attempt.
const LINGER: Duration = Duration::from_secs(2);

/// The result of an attempt.
pub(crate) struct Ended {
    /// Outcomes, one for each recipient of the attempt.
    pub outcomes: Vec<Outcome>,
    /// The course of the attempt in words, for the trace.
    pub about: String,
    /// The TLS sessions that were begun for it.
    pub tls: Results,
}

/// Takes the result of an attempt.
pub(crate) type Done = Box<dyn FnOnce(Ended) + Send>;

/// An attempt to be carried out.
pub(crate) struct Job {
    /// The attempt as the home ordered it.
    pub attempt: Attempt,
    /// The body of its message.
    pub feed: Feed,
    /// The call that takes the result.
    pub done: Done,
}

/// All lanes of an Edge, and what they need to reach other MTAs.
pub(crate) struct Lanes {
    router: Router,
    connections_max: usize,
    lanes: Mutex<HashMap<Domain, Lane>>,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Job>,
    workers: usize,
    idle: usize,
    more: Arc<Notify>,
}

impl Lanes {
    /// Lanes with so many connections each, which `router` opens.
    pub(crate) fn new(router: Router, connections_max: usize) -> Arc<Self> {
        Arc::new(Self { router, connections_max, lanes: Mutex::default() })
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Domain, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an attempt to its domain's lane.
    pub(crate) fn add(self: &Arc<Self>, job: Job) {
        let domain = job.attempt.domain.clone();
        let mut lanes = self.lanes();
        let lane = lanes.entry(domain.clone()).or_default();
        lane.waiting.push_back(job);
        if lane.idle > 0 {
            lane.more.notify_one();
        } else if lane.workers < self.connections_max {
            lane.workers += 1;
            let more = Arc::clone(&lane.more);
            tokio::spawn(Worker { lanes: Arc::clone(self), domain, more, connection: None }.run());
        }
    }
}

/// One connection's life in a lane.
struct Worker {
    lanes: Arc<Lanes>,
    domain: Domain,
    more: Arc<Notify>,
    connection: Option<Open>,
}

impl Worker {
    async fn run(mut self) {
        loop {
            match self.next_job() {
                Some(job) => self.carry_out(job).await,
                None if self.may_linger() && self.wait_for_more().await => {}
                None => {
                    if self.retire() {
                        break;
                    }
                }
            }
        }
        if let Some(open) = self.connection {
            open.connection.quit().await;
        }
    }

    fn next_job(&self) -> Option<Job> {
        self.lanes.lanes().get_mut(&self.domain)?.waiting.pop_front()
    }

    fn may_linger(&self) -> bool {
        self.connection.as_ref().is_some_and(|open| !open.is_wanted())
    }

    async fn wait_for_more(&mut self) -> bool {
        self.set_idle(true);
        let more = tokio::time::timeout(LINGER, self.more.notified()).await.is_ok();
        self.set_idle(false);
        more
    }

    fn set_idle(&self, idle: bool) {
        if let Some(lane) = self.lanes.lanes().get_mut(&self.domain) {
            lane.idle = if idle { lane.idle + 1 } else { lane.idle.saturating_sub(1) };
        }
    }

    /// Leaves the lane, unless an attempt came in meanwhile.
    fn retire(&self) -> bool {
        let mut lanes = self.lanes.lanes();
        let Some(lane) = lanes.get_mut(&self.domain) else { return true };
        if !lane.waiting.is_empty() {
            return false;
        }
        lane.workers = lane.workers.saturating_sub(1);
        if lane.workers == 0 {
            lanes.remove(&self.domain);
        }
        true
    }

    async fn carry_out(&mut self, job: Job) {
        let Job { attempt, mut feed, done } = job;
        let transaction = transaction_of(&attempt);
        let need = Need::of(&attempt);
        let reused = self.connection.take().filter(|open| open.meets(need) && open.fits(&transaction));
        if let Some(mut open) = reused {
            let result = open.connection.send(transaction.clone(), &mut feed).await;
            if feed.begun || !result.is_as_if_never_begun() {
                let about = format!("via {} again", open.host);
                self.put_back(open, &result);
                // A session is counted with the attempt that it was begun for.
                return done(Ended { outcomes: result.outcomes, about, tls: Results::default() });
            }
            // The host had closed the idle connection: nothing was said of this message yet.
        }
        let mut tls = Results::default();
        let wanted = Wanted { need, transaction: &transaction, whom: Whom::All };
        let (outcomes, about) = match self.lanes.router.open(&self.domain, wanted, &mut tls).await {
            Ok((open, about)) => (self.send(open, &transaction, &mut feed).await, about),
            Err(nowhere) if nowhere.some => self.send_to_some(nowhere, &transaction, (&mut feed, need)).await,
            Err(nowhere) => to_nobody(nowhere, &transaction),
        };
        done(Ended { outcomes, about, tls });
    }

    async fn send(&mut self, mut open: Open, transaction: &Transaction, feed: &mut Feed) -> Vec<Outcome> {
        let result = open.connection.send(transaction.clone(), feed).await;
        self.put_back(open, &result);
        result.outcomes
    }

    /// Keeps a connection for the next attempt, or says goodbye on it.
    fn put_back(&mut self, open: Open, result: &TransactionResult) {
        if result.is_worth_keeping() {
            self.connection = Some(open);
        } else if result.reusable {
            tokio::spawn(open.connection.quit());
        }
    }

    /// No host takes all recipients: whoever takes some gets the message for these.
    async fn send_to_some(
        &mut self,
        nowhere: Nowhere,
        transaction: &Transaction,
        (feed, need): (&mut Feed, Need),
    ) -> (Vec<Outcome>, String) {
        let wanted = Wanted { need, transaction, whom: Whom::Some };
        // The same hosts: their sessions were counted before.
        let mut counted = Results::default();
        match self.lanes.router.open(&self.domain, wanted, &mut counted).await {
            Ok((open, about)) => {
                let mut outcomes = self.send(open, transaction, feed).await;
                outcomes.iter_mut().for_each(|outcome| unless_sent(outcome, &nowhere.outcome));
                (outcomes, about)
            }
            Err(nowhere) => to_nobody(nowhere, transaction),
        }
    }
}

fn to_nobody(nowhere: Nowhere, transaction: &Transaction) -> (Vec<Outcome>, String) {
    (vec![nowhere.outcome; transaction.recipients.len()], "without a connection".to_owned())
}

/// A recipient that the host could not be asked for has the outcome of all hosts together.
fn unless_sent(outcome: &mut Outcome, of_all: &Outcome) {
    if matches!(outcome, Outcome::Failed(Why { reply: None, .. })) {
        outcome.clone_from(of_all);
    }
}

fn transaction_of(attempt: &Attempt) -> Transaction {
    Transaction {
        envelope: Arc::new(attempt.envelope.clone()),
        recipients: attempt.envelope.recipients.clone(),
        octets: attempt.octets,
        has_8bit: attempt.eight_bit,
        needs_smtputf8: attempt.needs_smtputf8(),
        quorum: Quorum::One,
    }
}
