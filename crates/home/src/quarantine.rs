//! The quarantine: messages that wait for the operator's decision, and what is known of them.
//!
//! The messages are in the mailbox [`QUARANTINE`] of the postmaster's account, where any mail program shows
//! them. Beside it a small table remembers for whom each was and why it is here, so that it can still be
//! delivered. A message that the postmaster moved or deleted is in the quarantine no more.

mod kept;
mod release;
#[cfg(test)]
mod tests;

use daemon::control::Refusal;
use daemon::request::QuarantineRequest;
use link::TraceStep;
use mail::ItemId;
use serde_json::{Value, json};
use store::Mailboxes;

use self::kept::failed;
pub(crate) use self::kept::{Parts, Quarantine};
pub(crate) use store::tables::QuarantineEntry as Entry;

/// Octets of a header that `show` prints.
const SHOWN_OCTETS_MAX: usize = 16 * 1024;

impl Quarantine {
    /// Carries out a command of `postern quarantine`.
    ///
    /// # Errors
    /// What can't be done, and what to do about it.
    pub(crate) async fn carry_out(
        &self,
        parts: &Parts<'_>,
        request: &QuarantineRequest,
    ) -> Result<Value, Refusal> {
        let store = parts.keeper.store();
        match request {
            QuarantineRequest::List => self.beside(store, |kept, store| kept.list(store)).await,
            QuarantineRequest::Show(item) => {
                let item = *item;
                self.beside(store, move |kept, store| kept.show(store, item)).await
            }
            QuarantineRequest::Release { item, to } => {
                release::release(self, parts, *item, to.as_deref()).await
            }
            QuarantineRequest::Delete(item) => {
                let item = *item;
                self.beside(store, move |kept, store| kept.delete(store, item)).await?;
                parts.trace.event(Some(item), TraceStep::Removed, "from the quarantine, by the operator");
                Ok(json!({}))
            }
        }
    }

    /// Those whose message is still there.
    fn list(&self, store: &dyn Mailboxes) -> Result<Value, Refusal> {
        Ok(self.still_there(store)?.iter().map(described).collect())
    }

    fn show(&self, store: &dyn Mailboxes, item: ItemId) -> Result<Value, Refusal> {
        let entry = self.entry(item)?;
        let found = self.located(store, &entry)?;
        let mut start = Vec::new();
        let read = found.reader.read_body(found.mailbox, entry.uid, 0, SHOWN_OCTETS_MAX, &mut start);
        read.map_err(|error| failed(&error))?;
        let end = mail::header::body_offset(&start);
        let header = String::from_utf8_lossy(start.get(..end).unwrap_or_default());
        // Printed on a terminal: what a stranger wrote must not steer it.
        let lines = header
            .lines()
            .map(|line| line.chars().filter(|c| !c.is_control() || *c == '\t').collect::<String>());
        let lines: Vec<String> = lines.filter(|line: &String| !line.is_empty()).collect();
        let mut shown = described(&entry);
        shown["octets"] = found.octets.into();
        shown["header"] = lines.join("\n").into();
        Ok(shown)
    }

    fn delete(&self, store: &dyn Mailboxes, item: ItemId) -> Result<(), Refusal> {
        let entry = self.entry(item)?;
        let found = self.located(store, &entry)?;
        self.take_out(store, &entry, found.mailbox)
    }
}

fn described(entry: &Entry) -> Value {
    json!({
        "id": entry.item.to_string(),
        "at": entry.at.to_string(),
        "from": format!("<{}>", entry.reverse_path),
        "to": entry.recipients,
        "reason": entry.reason,
        "score": entry.score,
    })
}
