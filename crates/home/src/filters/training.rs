//! What users teach: a message moved into Junk is spam, one moved out of it is not.
//!
//! Nobody waits for it: lessons queue up to a limit and are taught one after another. A lesson that fails is taught
//! again twice; one that fails then is lost, as is one too many; the user can move the message again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use net::smtp_client::{BodyLost, BodySource};
use store::{Copied, MailboxId, Mailboxes, Reader, StoreError};
use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};
use tokio_util::sync::CancellationToken;

use super::rspamd::Rspamd;

/// Most lessons that wait.
const LESSONS_MAX: usize = 1000;
/// The time that a lesson may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// After how long a lesson that failed is taught again. A pupil may be busy with what it has just learned.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(15)];
/// Octets of a message that are read at one time.
const PIECE_OCTETS: usize = 256 * 1024;

/// What a message is to be learned as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Spam,
    Ham,
}

impl Class {
    /// What a move between mailboxes of these special uses says. Throwing spam away says nothing.
    fn of(from: Option<&str>, to: Option<&str>) -> Option<Self> {
        match (from, to) {
            (Some("\\Junk"), Some("\\Junk" | "\\Trash")) => None,
            (_, Some("\\Junk")) => Some(Self::Spam),
            (Some("\\Junk"), _) => Some(Self::Ham),
            _ => None,
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Spam => "/learnspam",
            Self::Ham => "/learnham",
        }
    }
}

#[derive(Debug)]
struct Lesson {
    account: String,
    mailbox: MailboxId,
    uid: u32,
    class: Class,
}

/// Takes lessons. Cloning shares the queue.
#[derive(Clone)]
pub(crate) struct Trainer(Sender<Lesson>);

impl Trainer {
    /// Starts the teacher; `None` when nobody learns. It ends with `stop`.
    pub(crate) fn start(
        pupils: Vec<Rspamd>,
        store: &Arc<dyn Mailboxes>,
        stop: &CancellationToken,
    ) -> Option<Self> {
        if pupils.is_empty() {
            return None;
        }
        let (sender, lessons) = mpsc::channel(LESSONS_MAX);
        let teacher = Teacher { pupils, store: Arc::clone(store), failing: false };
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = teacher.run(lessons) => {}
            }
        });
        Some(Self(sender))
    }

    /// A user moved or copied messages from one mailbox to another. Never blocks on the filter.
    pub(crate) fn moved(
        &self,
        reader: &dyn Reader,
        account: &str,
        from: MailboxId,
        to: &str,
        copied: &Copied,
    ) {
        let Ok(mailboxes) = reader.mailboxes() else { return };
        let source = mailboxes.iter().find(|mailbox| mailbox.id == from);
        let Ok(Some(target)) = reader.mailbox(to) else { return };
        let special = |mailbox: &store::Mailbox| mailbox.special_use.clone();
        let (source, use_of_target) = (source.and_then(special), special(&target));
        let Some(class) = Class::of(source.as_deref(), use_of_target.as_deref()) else { return };
        for (_, uid) in &copied.uids {
            let lesson = Lesson { account: account.to_owned(), mailbox: target.id, uid: *uid, class };
            if let Err(TrySendError::Full(_)) = self.0.try_send(lesson) {
                return tracing::warn!(account, "too many messages wait to be learned; these are not");
            }
        }
    }
}

struct Teacher {
    pupils: Vec<Rspamd>,
    store: Arc<dyn Mailboxes>,
    /// A failure was told and nothing has succeeded since.
    failing: bool,
}

impl Teacher {
    async fn run(mut self, mut lessons: Receiver<Lesson>) {
        while let Some(lesson) = lessons.recv().await {
            // Where nothing succeeds, everything waits behind one that is tried again.
            let pauses: &[Duration] = if self.failing { &[] } else { &AGAIN_AFTER };
            match tried(pauses, || self.teach(&lesson)).await {
                Ok(()) => self.failing = false,
                Err(_) if self.failing => {}
                Err(error) => {
                    self.failing = true;
                    tracing::warn!(%error, account = %lesson.account, "a message was not learned; more failures are not told until one is");
                }
            }
        }
    }

    async fn teach(&self, lesson: &Lesson) -> Result<(), String> {
        for pupil in &self.pupils {
            let Some((octets, mut message)) = Stored::open(&self.store, lesson).await? else { return Ok(()) };
            let taught = pupil.learn(lesson.class.path(), octets, &mut message).await;
            taught.map_err(|error| format!("{}: {error}", pupil.name()))?;
        }
        Ok(())
    }
}

/// Does it until it succeeds, with these pauses between the tries.
async fn tried<F: Future<Output = Result<(), String>>>(
    pauses: &[Duration],
    once: impl Fn() -> F,
) -> Result<(), String> {
    let mut pauses = pauses.iter();
    loop {
        let result = tokio::time::timeout(PATIENCE, once()).await;
        let result = result.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())));
        match (result, pauses.next()) {
            (Err(_), Some(pause)) => tokio::time::sleep(*pause).await,
            (result, _) => return result,
        }
    }
}

/// A message in a mailbox, read piece by piece.
struct Stored {
    store: Arc<dyn Mailboxes>,
    account: String,
    mailbox: MailboxId,
    uid: u32,
    at: u64,
}

impl Stored {
    /// `None` when the user has moved it on.
    async fn open(store: &Arc<dyn Mailboxes>, lesson: &Lesson) -> Result<Option<(u64, Self)>, String> {
        let (account, mailbox, uid) = (lesson.account.clone(), lesson.mailbox, lesson.uid);
        let stored = Self { store: Arc::clone(store), account, mailbox, uid, at: 0 };
        let asking = {
            let (store, account) = (Arc::clone(store), lesson.account.clone());
            move || store.reader(&account)?.message(mailbox, uid)
        };
        let message = tokio::task::spawn_blocking(asking).await.map_err(|error| error.to_string())?;
        let message = message.map_err(|error: StoreError| error.to_string())?;
        Ok(message.map(|message| (message.octets, stored)))
    }
}

impl BodySource for Stored {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyLost> {
        let (store, account) = (Arc::clone(&self.store), self.account.clone());
        let (mailbox, uid, at) = (self.mailbox, self.uid, self.at);
        let reading = tokio::task::spawn_blocking(move || {
            let mut piece = Vec::new();
            let there = store.reader(&account)?.read_body(mailbox, uid, at, PIECE_OCTETS, &mut piece)?;
            Ok::<_, StoreError>(there.then_some(piece))
        });
        let piece = reading.await.map_err(|_| BodyLost)?.map_err(|_| BodyLost)?.ok_or(BodyLost)?;
        self.at += piece.len() as u64;
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

#[cfg(test)]
mod tests {
    use store_memory::MemoryMailboxes;

    use super::*;

    /// Symptom: a lesson was lost now and then. Cause: rspamd's own database was locked by what it had just written, and it
    /// said 500. Analysis: nobody moves a message a second time because a filter was busy.
    #[tokio::test(start_paused = true)]
    async fn a_lesson_that_fails_is_taught_twice_more_and_then_given_up() {
        let begun = tokio::time::Instant::now();
        let times = std::cell::Cell::new(0);
        let fails_until = |good: u32| {
            let times = &times;
            times.set(0);
            move || {
                times.set(times.get() + 1);
                std::future::ready(if times.get() >= good { Ok(()) } else { Err("locked".to_owned()) })
            }
        };
        assert_eq!(tried(&AGAIN_AFTER, fails_until(3)).await, Ok(()));
        assert_eq!((times.get(), begun.elapsed()), (3, AGAIN_AFTER.iter().sum()));
        assert!(tried(&AGAIN_AFTER, fails_until(4)).await.is_err());
        assert_eq!(times.get(), 3);
        assert!(tried(&[], fails_until(2)).await.is_err(), "one of many that fail");
        assert_eq!(times.get(), 1);
    }

    #[test]
    fn lessons_wait_up_to_their_number_and_those_past_it_are_lost() {
        let store = MemoryMailboxes::default();
        store.create_account("bob", mail::UnixTime(1)).unwrap();
        let reader = store.reader("bob").unwrap();
        let inbox = reader.mailbox("INBOX").unwrap().unwrap().id;
        let (sender, mut lessons) = mpsc::channel(LESSONS_MAX);
        let copied = Copied { uidvalidity: 1, uids: (1..=1001).map(|uid| (uid, uid + 5)).collect() };
        Trainer(sender).moved(&*reader, "bob", inbox, "Junk", &copied);
        let first = lessons.try_recv().unwrap();
        assert_eq!((first.uid, first.class), (6, Class::Spam));
        assert_eq!(std::iter::from_fn(|| lessons.try_recv().ok()).count(), LESSONS_MAX - 1);
    }

    #[test]
    fn only_moves_into_and_out_of_junk_teach_something() {
        for (from, to, class) in [
            (None, Some("\\Junk"), Some(Class::Spam)),
            (Some("\\Archive"), Some("\\Junk"), Some(Class::Spam)),
            (Some("\\Trash"), Some("\\Junk"), Some(Class::Spam)),
            (Some("\\Junk"), None, Some(Class::Ham)),
            (Some("\\Junk"), Some("\\Archive"), Some(Class::Ham)),
            (Some("\\Junk"), Some("\\Trash"), None),
            (Some("\\Junk"), Some("\\Junk"), None),
            (None, Some("\\Trash"), None),
            (None, None, None),
        ] {
            assert_eq!(Class::of(from, to), class, "{from:?} {to:?}");
        }
    }
}
