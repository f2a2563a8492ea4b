//! Whether a home takes mail for an address: by a file, or by asking the home ahead, whose answer is remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::clock::Clock;
use daemon::problem::Problem;
use link::notification::is_role;
use mail::{Address, Outcome, Reply, ReversePath};
use smtp::client::{Transaction, TransactionResult};
use tokio::time::Instant;

use super::answer::{self, Asked, Blame};
use super::line::Line;
use super::list::List;
use crate::config::ForeignHomeConfig;

/// How long the home may take to answer; the sender waits.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Recipients that are remembered of one home.
const REMEMBERED_MAX: usize = 20_000;

/// What is known of a home's recipients.
pub(super) struct Known {
    /// `None`: the home is asked.
    list: Option<List>,
    memory: Mutex<Memory>,
    known_for: Duration,
    unknown_for: Duration,
}

/// What the home said of recipients, until when it is believed.
#[derive(Debug, Default)]
struct Memory(HashMap<String, (Said, Instant)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Known,
    Unknown(Reply),
}

impl Known {
    /// Knows recipients in the way that the configuration says.
    ///
    /// # Errors
    /// When the recipients file can't be read.
    pub(super) fn open(home: &ForeignHomeConfig, clock: &Arc<dyn Clock>) -> Result<Self, Problem> {
        let separators = home.subaddress_separators.as_deref().unwrap_or("+");
        let list = home
            .recipients_file
            .clone()
            .map(|path| List::open(path, separators.to_owned(), Arc::clone(clock)));
        Ok(Self {
            list: list.transpose()?,
            memory: Mutex::default(),
            known_for: Duration::from_secs(home.known_for.0),
            unknown_for: Duration::from_secs(home.unknown_for.0),
        })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For `status`: the lines of the file, or the recipients that are remembered.
    pub(super) fn count(&self) -> usize {
        self.list.as_ref().map_or_else(|| self.memory().0.len(), List::count)
    }

    /// Reads the file again and forgets what the home said.
    pub(super) async fn reload(&self) {
        self.memory().0.clear();
        if let Some(list) = &self.list {
            list.reload().await;
        }
    }

    /// The reply to RCPT for this address.
    pub(super) async fn check(&self, address: &Address, from: &ReversePath, line: &Arc<Line>) -> Reply {
        let remembered = {
            let (memory, now) = (self.memory(), Instant::now());
            memory.find(&key_of_both(address, from), now).or_else(|| memory.find(&address.canonical(), now))
        };
        match remembered {
            Some(Said::Known) => return ok(),
            Some(Said::Unknown(reply)) => return reply,
            None => {}
        }
        match &self.list {
            // These have to be reachable (RFC 5321 section 4.5.1, RFC 2142), listed or not.
            Some(list) if is_role(address.local()) || list.has(address).await => ok(),
            Some(_) => answer::unknown_recipient(),
            None => self.ask(address, line).await,
        }
    }

    /// The home refused this recipient, which was thought good, in a message of that sender. Whether it was for the
    /// recipient alone is not known, so others may still try.
    pub(super) fn refused(&self, address: &Address, from: &ReversePath, reply: Reply) {
        // With a file nobody asks again before the message comes: long enough for the sender to come again.
        let time = if self.list.is_some() { self.known_for } else { self.unknown_for };
        self.memory().keep(key_of_both(address, from), Said::Unknown(reply), Instant::now(), time);
    }

    /// Asks the home in a transaction that ends before DATA. The null reverse-path asks about the recipient alone:
    /// the answer is good for every sender.
    async fn ask(&self, address: &Address, line: &Arc<Line>) -> Reply {
        if line.was_down_just_now() {
            return answer::away();
        }
        let Some(result) = put(Transaction::question(address.clone().into()), line).await else {
            return answer::away();
        };
        let blame = blame(&result, address, line).await;
        let Some(outcome) = result.outcomes.first() else { return answer::away() };
        let (said, time, reply) = match answer::of_recipient(outcome, blame, line) {
            Asked::Known => (Said::Known, self.known_for, ok()),
            Asked::Unknown(reply) => (Said::Unknown(reply.clone()), self.unknown_for, reply),
            Asked::NotNow(reply) => return reply,
        };
        self.memory().keep(address.canonical(), said, Instant::now(), time);
        reply
    }
}

async fn put(question: Transaction, line: &Arc<Line>) -> Option<TransactionResult> {
    tokio::time::timeout(PATIENCE, line.send(question, &[])).await.ok()?.ok()
}

/// Whom a refusal is about: where it may be this Edge, the home is asked about its postmaster, whom it has to take from
/// everybody that may talk to it (RFC 5321 section 4.5.1).
pub(super) async fn blame(result: &TransactionResult, address: &Address, line: &Arc<Line>) -> Blame {
    if !result.may_be_about_client() {
        return Blame::Envelope;
    }
    let Ok(postmaster) = Address::at("postmaster", address.domain()) else { return Blame::Edge };
    let asked = put(Transaction::question(postmaster.into()), line).await;
    let taken = asked.is_some_and(|asked| matches!(asked.outcomes.first(), Some(Outcome::Delivered(_))));
    if taken { Blame::Envelope } else { Blame::Edge }
}

/// No address has a blank outside of quotes, and no reverse-path before its end.
fn key_of_both(address: &Address, from: &ReversePath) -> String {
    format!("{} <{from}>", address.canonical())
}

fn ok() -> Reply {
    Reply::new(250, (2, 1, 5), "Recipient ok")
}

impl Memory {
    fn find(&self, key: &str, now: Instant) -> Option<Said> {
        self.0.get(key).filter(|(_, until)| *until > now).map(|(said, _)| said.clone())
    }

    /// Keeps it. When there is no room, what is too old goes, then anything: it can be asked again.
    fn keep(&mut self, key: String, said: Said, now: Instant, time: Duration) {
        if self.0.len() >= REMEMBERED_MAX && !self.0.contains_key(&key) {
            self.0.retain(|_, (_, until)| *until > now);
        }
        if self.0.len() >= REMEMBERED_MAX && !self.0.contains_key(&key) {
            // One in a hundred, so that this is not done for each of those who guess names.
            let mut place = 0_usize;
            self.0.retain(|_, _| {
                place += 1;
                !place.is_multiple_of(100)
            });
        }
        self.0.insert(key, (said, now + time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_believed_until_its_time_is_over() {
        let mut memory = Memory::default();
        let now = Instant::now();
        memory.keep("bob@example.org".to_owned(), Said::Known, now, Duration::from_secs(10));
        let at = |seconds| memory.find("bob@example.org", now + Duration::from_secs(seconds));
        assert_eq!((at(9), at(10)), (Some(Said::Known), None));
    }

    #[test]
    fn no_number_of_guesses_makes_the_memory_larger_than_its_limit() {
        let mut memory = Memory::default();
        let now = Instant::now();
        let unknown = Said::Unknown(answer::unknown_recipient());
        let key = |number: usize| format!("{number}@example.org");
        for number in 0..REMEMBERED_MAX {
            memory.keep(key(number), unknown.clone(), now, Duration::from_secs(10));
        }
        assert_eq!(memory.0.len(), REMEMBERED_MAX);
        memory.keep(key(REMEMBERED_MAX), Said::Known, now, Duration::from_secs(10));
        assert!(memory.0.len() <= REMEMBERED_MAX);
        assert_eq!(memory.find(&key(REMEMBERED_MAX), now), Some(Said::Known));
        let later = now + Duration::from_secs(10);
        for number in 0..REMEMBERED_MAX {
            memory.keep(format!("later-{number}"), Said::Known, later, Duration::from_secs(1));
        }
        assert!(memory.0.len() <= REMEMBERED_MAX && memory.find(&key(0), later).is_none());
    }
}
