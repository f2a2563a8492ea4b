//! The outbound queue: messages that users handed in, durable in the spool until nothing is owed for them.
//!
//! A handle to share. It stores and reads; when anything is tried is the dispatcher's alone, which is
//! told of new items and of the operator's wishes over a channel.

mod state;

use std::sync::Arc;

use content::Content;
use mail::ItemId;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::items::{Items, ItemsError, Receipt};

pub use state::{
    Forwarded, QueueState, QueuedRecipient, RecipientState, RunningAttempt, Submitted, Turn, derived_id,
    readdressed,
};

/// Most entries that [`Queue::list`] gives, oldest first.
pub const LISTED_MAX: usize = 10_000;

/// Why the queue did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The word of what it lies in: full, a disk that fails, no such item.
    #[error(transparent)]
    Items(#[from] ItemsError),
    /// A record that was written can't be understood: the operator looks, nothing is removed.
    #[error("the record of item {item} can't be read or written: {cause}")]
    Record {
        /// The item.
        item: ItemId,
        /// The fault of the record, in words.
        cause: String,
    },
    /// Something else happened to the message just then.
    #[error("the message {0} was being moved at that moment; say it again")]
    Busy(ItemId),
    /// The program ends.
    #[error("the queue is closed")]
    Closed,
}

/// A command from the queue to the dispatcher.
#[derive(Debug)]
pub enum Command {
    /// An item is in the spool. With what its record says when it is one that is tried at once, most likely.
    Added(ItemId, Turn, Option<Box<QueueState>>),
    /// The operator wants one item, or all that wait, tried now. The answer is how many that were.
    Retry(Option<ItemId>, oneshot::Sender<usize>),
    /// The operator wants an item kept back, or let go again. The answer comes when that is durable.
    Hold(ItemId, bool, oneshot::Sender<Result<(), QueueError>>),
    /// The operator wants an item gone.
    Remove(ItemId, oneshot::Sender<Result<(), QueueError>>),
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
    /// The length of the message, in octets.
    pub octets: u64,
    /// The time when it was taken.
    pub submitted: mail::UnixTime,
    /// The time when it is tried next.
    pub next_due: mail::UnixTime,
    /// Attempts whose outcome is not known.
    pub running: usize,
    /// Who makes them.
    pub by: Vec<String>,
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
            by: state.running.iter().map(|running| running.carrier.to_string()).collect(),
            held: state.held,
            last: last.map(|outcome| outcome.why().to_string()).unwrap_or_default(),
        }
    }
}

/// A handle to the queue. Cloning shares it.
#[derive(Clone)]
pub struct Queue {
    items: Arc<dyn Items>,
    commands: mpsc::UnboundedSender<Command>,
}

impl Queue {
    /// The queue that lies in these items, and what the dispatcher listens to.
    #[must_use]
    pub fn new(items: impl Items) -> (Self, mpsc::UnboundedReceiver<Command>) {
        // Bounded by what asks: a command an item that is just now made durable, and one an operator's request that waits for
        // its answer. The dispatcher takes them without waiting for anything else.
        let (commands, receiver) = mpsc::unbounded_channel();
        (Self { items: Arc::new(items), commands }, receiver)
    }

    /// Whether a message of this size would be taken now.
    pub fn has_room_for(&self, octets: u64) -> bool {
        self.items.has_room_for(octets)
    }

    /// Whether the queue has this item.
    pub fn has(&self, item: ItemId) -> bool {
        self.items.has(item)
    }

    /// How many messages are in the queue.
    pub fn count(&self) -> usize {
        self.items.count()
    }

    /// Makes a message durable and tells the dispatcher: its header section, and what comes after it. `state.octets` is
    /// set here.
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
        state.octets = header.len() as u64 + content.octets();
        let record = record_of(&state)?;
        let (receipt, state) = match content.in_memory() {
            Some(rest) => {
                let pieces = std::iter::once(header.into()).chain(rest.iter().cloned()).collect();
                let receipt = self.items.append(item, record, pieces).await?;
                // What is forwarded may have been there before, and its record then says more.
                let fresh = turn == Turn::Prompt && state.forwarded.is_none();
                (receipt, fresh.then(|| Box::new(state)))
            }
            None => (self.append_long(item, record, header, content).await?, None),
        };
        self.tell(Command::Added(item, turn, state));
        Ok(receipt)
    }

    async fn append_long(
        &self,
        item: ItemId,
        record: Vec<u8>,
        header: Vec<u8>,
        content: Content,
    ) -> Result<Receipt, QueueError> {
        let items = Arc::clone(&self.items);
        let written = tokio::task::spawn_blocking(move || items.append_long(item, record, &header, &content));
        Ok(written.await.map_err(|_| QueueError::Closed)??.await?)
    }

    /// Makes a changed state durable.
    ///
    /// # Errors
    /// [`QueueError::Items`].
    pub async fn update(&self, state: &QueueState) -> Result<Receipt, QueueError> {
        let record = record_of(state)?;
        Ok(self.items.update(state.item, record).await?)
    }

    /// Removes an item for which nothing is owed any more.
    ///
    /// # Errors
    /// [`QueueError::Items`].
    pub async fn erase(&self, item: ItemId) -> Result<Receipt, QueueError> {
        Ok(self.items.remove(item).await?)
    }

    /// [`Queue::erase`] for the operator; the answer goes to whoever asked.
    pub(crate) fn erase_for(&self, item: ItemId, answer: oneshot::Sender<Result<(), QueueError>>) {
        let removed = self.items.remove(item);
        tokio::spawn(async move {
            // Who asked may have gone.
            let _ = answer.send(removed.await.map(drop).map_err(QueueError::from));
        });
    }

    /// An item's state. Reads the disk.
    ///
    /// # Errors
    /// [`QueueError::Items`] or [`QueueError::Record`].
    pub fn read(&self, item: ItemId) -> Result<QueueState, QueueError> {
        let record = self.items.record(item)?;
        QueueState::from_json(&record).map_err(|error| QueueError::Record { item, cause: error.to_string() })
    }

    /// An item's octets. Opens a file when they are many.
    ///
    /// # Errors
    /// [`QueueError::Items`].
    pub fn content(&self, item: ItemId) -> Result<Content, QueueError> {
        Ok(self.items.content(item)?)
    }

    /// Ids in order of age, after `after`, at most `most`.
    pub fn ids(&self, after: Option<ItemId>, most: usize) -> Vec<ItemId> {
        self.items.ids(after, most)
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
    /// [`QueueError::Items`] with [`ItemsError::NoItem`] when there is none, [`QueueError::Busy`], or the disk's
    /// word.
    pub async fn hold(&self, item: ItemId, held: bool) -> Result<(), QueueError> {
        if !self.items.has(item) {
            return Err(ItemsError::NoItem(item).into());
        }
        let (answer, answered) = oneshot::channel();
        self.tell(Command::Hold(item, held, answer));
        answered.await.map_err(|_| QueueError::Busy(item))?
    }

    /// Removes an item at the operator's word. Nobody is told: no report is written, and an edge that is
    /// carrying out an attempt goes on with it.
    ///
    /// # Errors
    /// [`QueueError::Items`] with [`ItemsError::NoItem`] when there is none, or the disk's word.
    pub async fn remove(&self, item: ItemId) -> Result<(), QueueError> {
        if !self.items.has(item) {
            return Err(ItemsError::NoItem(item).into());
        }
        let (answer, answered) = oneshot::channel();
        self.tell(Command::Remove(item, answer));
        answered.await.map_err(|_| QueueError::Closed)?
    }

    fn tell(&self, command: Command) {
        // Only fails when the dispatcher has ended; the next start finds the item in the spool.
        let _ = self.commands.send(command);
    }
}

fn record_of(state: &QueueState) -> Result<Vec<u8>, QueueError> {
    let item = state.item;
    state.to_json().map_err(|error| QueueError::Record { item, cause: error.to_string() })
}
