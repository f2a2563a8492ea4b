//! Mailboxes themselves: made, renamed, deleted, subscribed to.

use mailbox::{MailboxId, Subscription};
use store::{MAILBOXES_MAX, StoreError, name};

use super::Change;
use crate::column::unsigned;
use crate::fault::Fault;

impl Change<'_> {
    /// Makes a mailbox.
    pub(crate) fn create_mailbox(
        &mut self,
        mailbox: &str,
        special_use: Option<&str>,
    ) -> Result<MailboxId, Fault> {
        let mailbox = name::mailbox(mailbox)?;
        if self.find(&mailbox)?.is_some() {
            return Err(StoreError::MailboxExists.into());
        }
        let place = self.create(&mailbox)?;
        let id = self.counters(place).id;
        if let Some(special_use) = special_use {
            let sql = "UPDATE mailbox SET special_use = ?2 WHERE id = ?1";
            self.connection.execute(sql, (id.0, special_use))?;
        }
        Ok(id)
    }

    /// Deletes a mailbox and its messages. Mailboxes below it stay.
    pub(crate) fn delete_mailbox(&mut self, mailbox: &str) -> Result<(), Fault> {
        let mailbox = name::mailbox(mailbox)?;
        if mailbox == "INBOX" {
            return Err(StoreError::Inbox.into());
        }
        let place = self.find(&mailbox)?.ok_or(StoreError::NoMailbox)?;
        let id = self.counters(place).id;
        self.settle()?;
        let mut bodies = self.connection.prepare("SELECT body, octets FROM message WHERE mailbox = ?1")?;
        let mut rows = bodies.query([id.0])?;
        while let Some(row) = rows.next()? {
            self.release_body(unsigned(row.get(0)?), unsigned(row.get(1)?))?;
        }
        self.connection.execute("DELETE FROM message WHERE mailbox = ?1", [id.0])?;
        self.connection.execute("DELETE FROM vanished WHERE mailbox = ?1", [id.0])?;
        self.connection.execute("DELETE FROM mailbox WHERE id = ?1", [id.0])?;
        self.changed(id);
        Ok(())
    }

    /// Renames a mailbox and those below it. Renaming INBOX moves its messages to a new mailbox and leaves
    /// INBOX, and what is below it, as it was (RFC 9051 section 6.3.6).
    pub(crate) fn rename_mailbox(&mut self, from: &str, to: &str) -> Result<(), Fault> {
        let from = name::mailbox(from)?;
        let to = name::mailbox(to)?;
        let source = self.find(&from)?.ok_or(StoreError::NoMailbox)?;
        if self.find(&to)?.is_some() {
            return Err(StoreError::MailboxExists.into());
        }
        let id = self.counters(source).id;
        if from == "INBOX" {
            let target = self.create(&to)?;
            let target = self.counters(target).id;
            return self.relocate(id, target, &[1..=u32::MAX]).map(|_| ());
        }
        self.settle()?;
        let below = format!("{from}/");
        if to.starts_with(&below) {
            return Err(StoreError::MailboxName.into());
        }
        self.connection.execute("UPDATE mailbox SET name = ?2 WHERE id = ?1", (id.0, &to))?;
        for (id, name) in self.below(&below)? {
            let renamed = name::mailbox(&format!("{to}/{}", name.get(below.len()..).unwrap_or_default()))?;
            if self.find(&renamed)?.is_some() {
                return Err(StoreError::MailboxExists.into());
            }
            self.connection.execute("UPDATE mailbox SET name = ?2 WHERE id = ?1", (id, renamed))?;
        }
        self.settle()
    }

    /// Mailboxes whose names start with `prefix`.
    fn below(&self, prefix: &str) -> Result<Vec<(i64, String)>, Fault> {
        let sql = "SELECT id, name FROM mailbox WHERE substr(name, 1, length(?1)) = ?1";
        let mut select = self.connection.prepare(sql)?;
        let rows = select.query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Adds a name to the subscriptions or takes it off; the mailbox need not exist.
    pub(crate) fn subscribe(&mut self, mailbox: &str, wanted: Subscription) -> Result<(), Fault> {
        let mailbox = name::mailbox(mailbox)?;
        let sql = match wanted {
            Subscription::On => "INSERT INTO subscription VALUES (?1) ON CONFLICT DO NOTHING",
            Subscription::Off => "DELETE FROM subscription WHERE name = ?1",
        };
        if wanted == Subscription::On {
            let count: i64 =
                self.connection.query_row("SELECT count(*) FROM subscription", [], |row| row.get(0))?;
            if unsigned(count) >= MAILBOXES_MAX {
                return Err(StoreError::Limit("subscriptions of the account").into());
            }
        }
        self.connection.execute(sql, [mailbox])?;
        Ok(())
    }
}
