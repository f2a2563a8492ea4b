//! The outbound queue: messages that users handed in, durable in the spool until nothing is owed for them.
//!
//! A handle to share. It stores and reads; when anything is tried is [`super::dispatch`]'s alone, which is
//! told of new items and of the operator's wishes over a channel.

mod state;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use mail::ItemId;
use serde::Serialize;
use spool::{Done, Receipt, Spool, SpoolError};
use tokio::sync::{mpsc, oneshot};

pub use state::{
    Forwarded, QueueState, QueuedRecipient, RecipientState, RunningAttempt, Submitted, Turn, derived_id,
    readdressed,
};

/// Most entries that [`Queue::list`] gives, oldest first.
pub const LISTED_MAX: usize = 10_000;
/// Octets copied at one time from a file into a draft.
const COPY_OCTETS: usize = 256 * 1024;

/// Why the queue did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The spool's word: full, a disk that fails, no such item.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A record that was written can't be understood: the operator looks, nothing is removed.
    #[error("the record of item {item} can't be read or written: {cause}")]
    Record {
        /// The item.
        item: ItemId,
        /// What is wrong.
        cause: String,
    },
    /// The file a body was kept in could not be read.
    #[error("a message could not be copied into the queue: {0}")]
    Source(String),
    /// Something else happened to the message just then.
    #[error("the message {0} was being moved at that moment; say it again")]
    Busy(ItemId),
    /// The program ends.
    #[error("the queue is closed")]
    Closed,
}

/// The octets after the header section.
#[derive(Debug)]
pub enum Content {
    /// In memory.
    Memory(Vec<Bytes>),
    /// A file, from this octet to its end.
    File(File, u64),
}

/// What the dispatcher is told.
#[derive(Debug)]
pub enum Command {
    /// An item is in the spool. With what its record says when it is one that is tried at once, most likely.
    Added(ItemId, Turn, Option<Box<QueueState>>),
    /// The operator wants one item, or all that wait, tried now. The answer is how many that were.
    Retry(Option<ItemId>, oneshot::Sender<usize>),
    /// The operator wants an item kept back, or let go again. The answer comes when that is durable.
    Hold(ItemId, bool, oneshot::Sender<Result<(), QueueError>>),
    /// The operator wants an item gone.
    Remove(ItemId, oneshot::Sender<Result<(), SpoolError>>),
}

/// One line of `postern queue list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueEntry {
    /// The item.
    pub item: ItemId,
    /// Who sent it, as its reverse-path; empty for the null path.
    pub from: String,
    /// The recipients that still wait.
    pub waiting: Vec<String>,
    /// Octets of the message.
    pub octets: u64,
    /// When it was taken.
    pub submitted: mail::UnixTime,
    /// When it is tried next.
    pub next_due: mail::UnixTime,
    /// Attempts whose outcome is not known.
    pub running: usize,
    /// Whether the operator keeps it back.
    pub held: bool,
    /// The last outcome that was no delivery.
    pub last: String,
}

impl QueueEntry {
    fn of(state: &QueueState) -> Self {
        let waits = |queued: &&QueuedRecipient| queued.state == RecipientState::Pending;
        let waiting: Vec<&QueuedRecipient> = state.recipients.iter().filter(waits).collect();
        let last = waiting.iter().rev().find_map(|queued| queued.last.as_ref());
        Self {
            item: state.item,
            from: state.envelope.reverse_path.to_string(),
            waiting: waiting.iter().map(|queued| queued.recipient.address.to_string()).collect(),
            octets: state.octets,
            submitted: state.submitted,
            next_due: state.next_due,
            running: state.running.len(),
            held: state.held,
            last: last.map(|outcome| outcome.why().to_string()).unwrap_or_default(),
        }
    }
}

/// A handle to the queue. Cloning shares it.
#[derive(Clone)]
pub struct Queue {
    spool: Spool,
    commands: mpsc::UnboundedSender<Command>,
}

impl Queue {
    /// The queue in this spool, and what the dispatcher listens to.
    pub fn new(spool: Spool) -> (Self, mpsc::UnboundedReceiver<Command>) {
        let (commands, receiver) = mpsc::unbounded_channel();
        (Self { spool, commands }, receiver)
    }

    /// Whether a message of this size would be taken now.
    pub fn has_room_for(&self, octets: u64) -> bool {
        self.spool.has_room_for(octets)
    }

    /// Whether it has this item.
    pub fn has(&self, item: ItemId) -> bool {
        self.spool.has(item)
    }

    /// How many messages are in the queue.
    pub fn count(&self) -> usize {
        self.spool.count()
    }

    /// Makes a message durable and tells the dispatcher. `state.octets` is set here.
    ///
    /// # Errors
    /// [`QueueError`]; the message then counts as not taken.
    pub async fn append(
        &self,
        mut state: QueueState,
        header: Vec<u8>,
        content: Content,
    ) -> Result<Receipt, QueueError> {
        let (item, turn) = (state.item, state.turn());
        let (receipt, state) = match content {
            Content::Memory(mut pieces) => {
                pieces.insert(0, header.into());
                state.octets = pieces.iter().map(|piece| piece.len() as u64).sum();
                let record = record_of(&state)?;
                let receipt = self.when_durable(|done| self.spool.append(item, record, pieces, done)).await?;
                // What is forwarded may have been there before, and its record then says more.
                let fresh = turn == Turn::Prompt && state.forwarded.is_none();
                (receipt, fresh.then(|| Box::new(state)))
            }
            Content::File(file, from) => (self.append_file(state, header, (file, from)).await?, None),
        };
        self.tell(Command::Added(item, turn, state));
        Ok(receipt)
    }

    async fn append_file(
        &self,
        mut state: QueueState,
        header: Vec<u8>,
        (file, from): (File, u64),
    ) -> Result<Receipt, QueueError> {
        let spool = self.spool.clone();
        let (done, receipt) = durable();
        let written = tokio::task::spawn_blocking(move || -> Result<(), QueueError> {
            let mut draft = spool.draft(state.item)?;
            let copied = draft.write_all(&header).and_then(|()| copy(&file, from, &mut draft));
            copied.map_err(|error| copy_error(&error, &spool))?;
            state.octets = draft.octets();
            spool.append_draft(draft, record_of(&state)?, done);
            Ok(())
        });
        written.await.map_err(|error| QueueError::Source(error.to_string()))??;
        Ok(receipt.await.map_err(|_| QueueError::Closed)??)
    }

    /// Makes a changed state durable.
    ///
    /// # Errors
    /// [`QueueError::Spool`].
    pub async fn update(&self, state: &QueueState) -> Result<Receipt, QueueError> {
        let record = record_of(state)?;
        self.when_durable(|done| self.spool.update(state.item, record, done)).await
    }

    /// Removes an item for which nothing is owed any more.
    ///
    /// # Errors
    /// [`QueueError::Spool`].
    pub async fn erase(&self, item: ItemId) -> Result<Receipt, QueueError> {
        self.when_durable(|done| self.spool.remove(item, done)).await
    }

    /// [`Queue::erase`] for the operator; the answer goes to whoever asked.
    pub fn erase_for(&self, item: ItemId, answer: oneshot::Sender<Result<(), SpoolError>>) {
        let done: Done = Box::new(move |result| {
            // Whoever asked may have gone.
            let _ = answer.send(result.map(drop));
        });
        self.spool.remove(item, done);
    }

    /// An item's state. Reads the disk.
    ///
    /// # Errors
    /// [`QueueError::Spool`] or [`QueueError::Record`].
    pub fn read(&self, item: ItemId) -> Result<QueueState, QueueError> {
        let meta = self.spool.meta(item)?;
        QueueState::from_json(&meta).map_err(|error| QueueError::Record { item, cause: error.to_string() })
    }

    /// An item's octets. Opens a file when they are many.
    ///
    /// # Errors
    /// [`QueueError::Spool`].
    pub fn body(&self, item: ItemId) -> Result<spool::Body, QueueError> {
        Ok(self.spool.body(item)?)
    }

    /// Ids in order of age, after `after`, at most `most`.
    pub fn ids(&self, after: Option<ItemId>, most: usize) -> Vec<ItemId> {
        self.spool.list(after, most).into_iter().map(|listed| listed.id).collect()
    }

    /// The oldest [`LISTED_MAX`] messages. One that leaves meanwhile, or whose record is bad, is not in it.
    pub async fn list(&self) -> Vec<QueueEntry> {
        let queue = self.clone();
        let listed = tokio::task::spawn_blocking(move || {
            let ids = queue.ids(None, LISTED_MAX).into_iter();
            ids.filter_map(|id| queue.read(id).ok()).map(|state| QueueEntry::of(&state)).collect()
        });
        listed.await.unwrap_or_default()
    }

    /// Everything that is known of an item.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn show(&self, item: ItemId) -> Result<QueueState, QueueError> {
        let queue = self.clone();
        tokio::task::spawn_blocking(move || queue.read(item)).await.map_err(|_| QueueError::Closed)?
    }

    /// Has one item, or all that wait, tried now; tells how many that are. An item under way is none.
    ///
    /// # Errors
    /// [`QueueError::Closed`].
    pub async fn retry(&self, which: Option<ItemId>) -> Result<usize, QueueError> {
        let (answer, answered) = oneshot::channel();
        self.tell(Command::Retry(which, answer));
        answered.await.map_err(|_| QueueError::Closed)
    }

    /// Keeps an item back until it is let go: it is neither tried nor given up. Attempts under way go on. To
    /// let go also ends the wait for edges that are away and may have delivered it: it is then tried by
    /// another one, and may arrive twice.
    ///
    /// # Errors
    /// [`QueueError::Spool`] with [`SpoolError::NoItem`] when there is none, [`QueueError::Busy`], or the disk's
    /// word.
    pub async fn hold(&self, item: ItemId, held: bool) -> Result<(), QueueError> {
        if !self.spool.has(item) {
            return Err(SpoolError::NoItem(item).into());
        }
        let (answer, answered) = oneshot::channel();
        self.tell(Command::Hold(item, held, answer));
        answered.await.map_err(|_| QueueError::Busy(item))?
    }

    /// Removes an item at the operator's word. Nobody is told: no report is written, and an edge that is
    /// carrying out an attempt goes on with it.
    ///
    /// # Errors
    /// [`QueueError::Spool`] with [`SpoolError::NoItem`] when there is none, or the disk's word.
    pub async fn remove(&self, item: ItemId) -> Result<(), QueueError> {
        if !self.spool.has(item) {
            return Err(SpoolError::NoItem(item).into());
        }
        let (answer, answered) = oneshot::channel();
        self.tell(Command::Remove(item, answer));
        Ok(answered.await.map_err(|_| QueueError::Closed)??)
    }

    fn tell(&self, command: Command) {
        // Only fails when the dispatcher has ended; the next start finds the item in the spool.
        let _ = self.commands.send(command);
    }

    async fn when_durable(&self, order: impl FnOnce(Done)) -> Result<Receipt, QueueError> {
        let (done, receipt) = durable();
        order(done);
        Ok(receipt.await.map_err(|_| QueueError::Closed)??)
    }
}

fn record_of(state: &QueueState) -> Result<Vec<u8>, QueueError> {
    let item = state.item;
    state.to_json().map_err(|error| QueueError::Record { item, cause: error.to_string() })
}

type Durable = oneshot::Receiver<Result<Receipt, SpoolError>>;

fn durable() -> (Done, Durable) {
    let (tx, rx) = oneshot::channel();
    let done: Done = Box::new(move |result| {
        // Whoever waited may have gone.
        let _ = tx.send(result);
    });
    (done, rx)
}

/// From the start, whatever others read of the same file meanwhile.
fn copy(from: &File, mut at: u64, to: &mut spool::Draft) -> io::Result<()> {
    let mut piece = vec![0; COPY_OCTETS];
    loop {
        let octets = from.read_at(&mut piece, at)?;
        match piece.get(..octets) {
            None | Some([]) => return Ok(()),
            Some(read) => to.write_all(read)?,
        }
        at += octets as u64;
    }
}

/// A draft says that the spool is full in the words of the system.
fn copy_error(error: &io::Error, spool: &Spool) -> QueueError {
    if error.kind() == io::ErrorKind::StorageFull {
        let octets = spool.octets();
        QueueError::Spool(SpoolError::Full { octets, octets_max: octets })
    } else {
        QueueError::Source(error.to_string())
    }
}
