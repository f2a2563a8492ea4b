//! The port to those who are told what became of a message.

use content::Content;
use mail::UnixTime;
use mail::dsn::Action;

use crate::queue::QueueState;

/// A report that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The worst action that was reported.
    pub action: Action,
    /// Who was told, in words for the trace.
    pub whom: String,
}

/// Writes reports. Each has an id that follows from the message's, so that one written again after a crash is the same.
pub trait Reporter: Send + Sync + 'static {
    /// Whether something has to be done before a message whose recipients are all settled may leave the queue.
    fn owes(&self, state: &QueueState) -> bool;

    /// Does it, durably. Only after this may the message go.
    ///
    /// # Errors
    /// Why it is not done; the message has to stay.
    fn report(
        &self,
        state: &QueueState,
        original: Content,
    ) -> impl Future<Output = Result<Option<Told>, String>> + Send;

    /// Tells the sender, if he wants to know, that a message is late and is tried until `retry_until`. Gives whom.
    ///
    /// # Errors
    /// The reason why nobody was told.
    fn report_delay(
        &self,
        state: &QueueState,
        original: Content,
        retry_until: UnixTime,
    ) -> impl Future<Output = Result<Option<String>, String>> + Send;
}
