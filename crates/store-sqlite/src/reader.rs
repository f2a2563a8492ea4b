//! Reading an account, beside its writer and without waiting for it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mail::UnixTime;
use mailbox::{Changes, Mailbox, MailboxId, Message, Totals};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::body;
use crate::column::{column, flags_of, unsigned};
use crate::files::account_file;
use crate::large::LargeBodies;
use crate::{StoreError, name, schema};

/// Connections kept open for the next reader, over all accounts.
const IDLE_MAX: usize = 16;

/// Idle connections, the most recently used last.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    connections: Vec<Idle>,
    /// How often an account was forgotten. What was opened before may be another's than that of the name now.
    forgotten: u64,
}

struct Idle {
    file: PathBuf,
    connection: Connection,
    /// It was here when the pool aged last.
    old: bool,
}

impl Pool {
    pub(crate) fn reader(self: &Arc<Self>, directory: &Path, account: &str) -> Result<Reader, StoreError> {
        let file = account_file(directory, name::account(account)?);
        let mut idle = self.lock();
        let forgotten = idle.forgotten;
        let kept = idle.connections.iter().rposition(|kept| kept.file == file);
        let kept = kept.map(|place| idle.connections.remove(place).connection);
        drop(idle);
        let connection = match kept {
            Some(connection) => connection,
            None if !file.exists() => return Err(StoreError::NoAccount(account.to_owned())),
            None => schema::open_reader(&file)?,
        };
        Ok(Reader { file, connection: Some(connection), forgotten, pool: Arc::clone(self) })
    }

    /// Closes idle connections of an account, and keeps none that is in use.
    pub(crate) fn forget(&self, file: &Path) {
        let mut idle = self.lock();
        idle.connections.retain(|kept| kept.file != file);
        idle.forgotten += 1;
    }

    /// Closes the connections that nobody used since this was called last.
    pub(crate) fn age(&self) {
        let idle = &mut self.lock().connections;
        idle.retain(|kept| !kept.old);
        idle.iter_mut().for_each(|kept| kept.old = true);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that reads one account. Each question sees all commits before it. Made by
/// [`crate::Store::reader`]; dropping it keeps the connection for the next one.
pub struct Reader {
    file: PathBuf,
    connection: Option<Connection>,
    /// See [`Kept::forgotten`].
    forgotten: u64,
    pool: Arc<Pool>,
}

impl Reader {
    /// All mailboxes by name.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn mailboxes(&self) -> Result<Vec<Mailbox>, StoreError> {
        let sql = "SELECT id, name, uidvalidity, uidnext, modseq, special_use FROM mailbox ORDER BY name";
        let mut select = self.connection()?.prepare_cached(sql)?;
        let rows = select.query_map([], mailbox)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The mailbox of a name.
    ///
    /// # Errors
    /// Those of the disk; a name that no mailbox can have is no error but found nowhere.
    pub fn mailbox(&self, mailbox_name: &str) -> Result<Option<Mailbox>, StoreError> {
        let Ok(checked) = name::mailbox(mailbox_name) else { return Ok(None) };
        let sql = "SELECT id, name, uidvalidity, uidnext, modseq, special_use FROM mailbox WHERE name = ?1";
        Ok(self.connection()?.prepare_cached(sql)?.query_row([checked], mailbox).optional()?)
    }

    /// Names subscribed to, in order; mailboxes of those names need not exist.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn subscriptions(&self) -> Result<Vec<String>, StoreError> {
        let mut select = self.connection()?.prepare_cached("SELECT name FROM subscription ORDER BY name")?;
        let rows = select.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The account's keywords; the one at index `i` is [`mailbox::Flags::keyword`]`(i)`.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn keywords(&self) -> Result<Vec<String>, StoreError> {
        let mut select = self.connection()?.prepare_cached("SELECT name FROM keyword ORDER BY position")?;
        let rows = select.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Counts what is in a mailbox.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn totals(&self, mailbox: MailboxId) -> Result<Totals, StoreError> {
        let sql = "SELECT count(*), coalesce(sum(flags & 1), 0), coalesce(sum(flags & 8), 0), coalesce(sum(octets), 0)
                   FROM message WHERE mailbox = ?1";
        let mut select = self.connection()?.prepare_cached(sql)?;
        let totals = select.query_row([mailbox.0], |row| {
            let messages = unsigned(row.get(0)?);
            let unseen = messages.saturating_sub(unsigned(row.get(1)?));
            Ok(Totals { messages, unseen, deleted: unsigned(row.get(2)?) / 8, octets: unsigned(row.get(3)?) })
        })?;
        Ok(totals)
    }

    /// Hands every message with a uid of `first..=last` to `each`, in order of uid.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn each_message(
        &self,
        mailbox: MailboxId,
        uids: std::ops::RangeInclusive<u32>,
        mut each: impl FnMut(Message),
    ) -> Result<(), StoreError> {
        let sql = "SELECT uid, flags, coalesce(changed, modseq), octets, internal_date FROM message
                   WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid";
        let mut select = self.connection()?.prepare_cached(sql)?;
        let mut rows = select.query(params![mailbox.0, uids.start(), uids.end()])?;
        while let Some(row) = rows.next()? {
            each(message(row)?);
        }
        Ok(())
    }

    /// The entry of one message.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn message(&self, mailbox: MailboxId, uid: u32) -> Result<Option<Message>, StoreError> {
        let mut found = None;
        self.each_message(mailbox, uid..=uid, |message| found = Some(message))?;
        Ok(found)
    }

    /// What changed in a mailbox after `since`, a mod-sequence told earlier, by a mailbox whose next uid was
    /// `uidnext` then. Costs as much as there are changes.
    ///
    /// # Errors
    /// [`StoreError::NoMailbox`] when it was deleted meanwhile; else those of the disk.
    pub fn changes(&self, mailbox: MailboxId, since: u64, uidnext: u32) -> Result<Changes, StoreError> {
        let connection = self.connection()?;
        let transaction = connection.unchecked_transaction()?;
        let now: Option<(i64, u32)> = transaction
            .prepare_cached("SELECT modseq, uidnext FROM mailbox WHERE id = ?1")?
            .query_row([mailbox.0], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (modseq, next) = now.ok_or(StoreError::NoMailbox)?;
        let mut changes = Changes { modseq: unsigned(modseq), uidnext: next, ..Changes::default() };
        if changes.modseq == since {
            return Ok(changes);
        }
        let sql = "SELECT uid, flags, changed, octets, internal_date FROM message
                   WHERE mailbox = ?1 AND changed > ?2 AND uid < ?3";
        let mut select = transaction.prepare_cached(sql)?;
        let rows = select.query_map(params![mailbox.0, column(since), uidnext], message)?;
        changes.messages = rows.collect::<Result<_, _>>()?;
        changes.messages.sort_unstable_by_key(|message| message.uid);
        self.each_message(mailbox, uidnext..=u32::MAX, |message| changes.messages.push(message))?;
        let sql = "SELECT first, last FROM vanished WHERE mailbox = ?1 AND modseq > ?2";
        let mut select = transaction.prepare_cached(sql)?;
        let rows =
            select.query_map(params![mailbox.0, column(since)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        changes.vanished = rows.collect::<Result<_, _>>()?;
        Ok(changes)
    }

    /// Appends to `out` up to `length` octets of a message from `offset` on; false when there is no such message.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn read_body(
        &self,
        mailbox: MailboxId,
        uid: u32,
        offset: u64,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, StoreError> {
        let connection = self.connection()?;
        // One snapshot, so that an expunge can't take the body away between the two questions.
        let transaction = connection.unchecked_transaction()?;
        let found: Option<(i64, i64)> = transaction
            .prepare_cached("SELECT body, octets FROM message WHERE mailbox = ?1 AND uid = ?2")?
            .query_row(params![mailbox.0, uid], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((id, octets)) = found else { return Ok(false) };
        let large = LargeBodies::of(&self.file);
        let body = (unsigned(id), unsigned(octets));
        if body::read(connection, &large, body, offset, length, out)?.is_some() {
            return Ok(true);
        }
        // The file goes after the commit that expunged the message, which this snapshot does not see yet.
        drop(transaction);
        match self.message(mailbox, uid)? {
            None => Ok(false),
            Some(_) => Err(large.missing(body.0)),
        }
    }

    /// SQLite's own check of the whole file, and that the files of large bodies are there.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let verdict: String =
            self.connection()?.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Err(StoreError::Damaged(self.file.display().to_string()));
        }
        LargeBodies::of(&self.file).check(self.connection()?)
    }

    fn connection(&self) -> Result<&Connection, StoreError> {
        self.connection.as_ref().ok_or(StoreError::Closed)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let mut idle = self.pool.lock();
        // The account may have been removed while it was read, and another of its name made.
        if idle.forgotten == self.forgotten {
            if idle.connections.len() >= IDLE_MAX {
                idle.connections.remove(0);
            }
            idle.connections.push(Idle { file: std::mem::take(&mut self.file), connection, old: false });
        }
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("file", &self.file).finish_non_exhaustive()
    }
}

fn mailbox(row: &Row<'_>) -> rusqlite::Result<Mailbox> {
    Ok(Mailbox {
        id: MailboxId(row.get(0)?),
        name: row.get(1)?,
        uidvalidity: row.get(2)?,
        uidnext: row.get(3)?,
        modseq: unsigned(row.get(4)?),
        special_use: row.get(5)?,
    })
}

fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        uid: row.get(0)?,
        flags: flags_of(row.get(1)?),
        modseq: unsigned(row.get(2)?),
        octets: unsigned(row.get(3)?),
        internal_date: UnixTime(unsigned(row.get(4)?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_nobody_used_between_two_ageings_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        schema::create(&directory.path().join("bob.db"), 1).unwrap();
        let pool = Arc::new(Pool::default());
        let read = || drop(pool.reader(directory.path(), "bob").unwrap());
        let kept = || pool.lock().connections.len();
        read();
        pool.age();
        read();
        pool.age();
        assert_eq!(kept(), 1, "it was used since");
        pool.age();
        assert_eq!(kept(), 0);
    }

    #[test]
    fn sixteen_connections_are_kept_and_not_one_more() {
        let directory = tempfile::tempdir().unwrap();
        schema::create(&directory.path().join("bob.db"), 1).unwrap();
        let pool = Arc::new(Pool::default());
        for many in [IDLE_MAX, IDLE_MAX + 1] {
            let readers: Vec<_> = (0..many).map(|_| pool.reader(directory.path(), "bob").unwrap()).collect();
            drop(readers);
            assert_eq!(pool.lock().connections.len(), IDLE_MAX);
        }
    }
}
