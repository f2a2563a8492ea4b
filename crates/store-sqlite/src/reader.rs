//! Reading an account, beside its writer and without waiting for it.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mail::UnixTime;
use mailbox::{Changes, Mailbox, MailboxId, Message, Totals};
use rusqlite::{Connection, OptionalExtension, Row, params};
use store::{GONE_ENTRIES_MAX, Reader, StoreError, name};

use crate::body;
use crate::column::{column, flags_of, totals_at, unsigned};
use crate::fault::Fault;
use crate::files::account_file;
use crate::large::LargeBodies;
use crate::schema;

/// Connections kept open for the next reader, over all accounts.
const IDLE_MAX: usize = 16;

/// Idle connections, the most recently used last.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<IdleReaders>,
}

#[derive(Default)]
struct IdleReaders {
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
    pub(crate) fn reader(
        self: &Arc<Self>,
        directory: &Path,
        account: &str,
    ) -> Result<SqliteReader, StoreError> {
        let file = account_file(directory, name::account(account)?);
        let mut idle = self.lock();
        let forgotten = idle.forgotten;
        let kept = idle.connections.iter().rposition(|kept| kept.file == file);
        let kept = kept.map(|place| idle.connections.remove(place).connection);
        drop(idle);
        let connection = match kept {
            Some(connection) => connection,
            None if !file.exists() => return Err(StoreError::NoAccount(account.to_owned())),
            None => schema::open_reader(&file).map_err(|fault| fault.in_file(&file))?,
        };
        Ok(SqliteReader { file, connection: Some(connection), forgotten, pool: Arc::clone(self) })
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

    fn lock(&self) -> MutexGuard<'_, IdleReaders> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that reads one account. Each question sees all commits before it. Dropping it keeps the
/// connection for the next one.
pub(crate) struct SqliteReader {
    file: PathBuf,
    connection: Option<Connection>,
    /// See [`IdleReaders::forgotten`].
    forgotten: u64,
    pool: Arc<Pool>,
}

impl SqliteReader {
    fn connection(&self) -> Result<&Connection, StoreError> {
        self.connection.as_ref().ok_or(StoreError::Closed)
    }

    fn ask<T>(&self, question: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, StoreError> {
        question(self.connection()?).map_err(|fault| fault.in_file(&self.file))
    }

    /// Some of the items with an id above `after` that arrived before `before`, in order of their ids: up to `most`.
    pub(crate) fn arrived_before(
        &self,
        before: UnixTime,
        after: &[u8],
        most: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        self.ask(|connection| {
            let sql = "SELECT item FROM arrived WHERE item > ?1 AND at < ?2 ORDER BY item LIMIT ?3";
            let mut select = connection.prepare_cached(sql)?;
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let rows = select.query_map(params![after, column(before.0), most], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Whether a mailbox may have more remembered of messages that are gone than it should.
    pub(crate) fn has_much_gone(&self) -> Result<bool, StoreError> {
        self.ask(|connection| {
            let sql = "SELECT 1 FROM vanished GROUP BY mailbox HAVING count(*) > ?1";
            Ok(connection.prepare_cached(sql)?.exists([column(GONE_ENTRIES_MAX)])?)
        })
    }

    /// SQLite's own check of the whole file, that what the mailboxes hold is what they say, and that the files of large
    /// bodies are there.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.ask(|connection| {
            let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
            let sql = "SELECT 1 FROM mailbox WHERE (messages, unseen, deleted, octets) <> (
                           SELECT count(*), coalesce(sum(flags & 1 = 0), 0), coalesce(sum(flags & 8 = 8), 0), coalesce(sum(octets), 0)
                           FROM message WHERE mailbox = mailbox.id)";
            if verdict != "ok" || connection.prepare(sql)?.exists([])? {
                return Err(StoreError::Damaged(self.file.display().to_string()).into());
            }
            LargeBodies::of(&self.file).check(connection)
        })
    }
}

impl Reader for SqliteReader {
    fn mailboxes(&self) -> Result<Vec<Mailbox>, StoreError> {
        self.ask(|connection| {
            let sql = "SELECT id, name, uidvalidity, uidnext, modseq, special_use FROM mailbox ORDER BY name";
            let mut select = connection.prepare_cached(sql)?;
            let rows = select.query_map([], mailbox)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    fn mailbox(&self, mailbox_name: &str) -> Result<Option<Mailbox>, StoreError> {
        let Ok(checked) = name::mailbox(mailbox_name) else { return Ok(None) };
        self.ask(|connection| {
            let sql =
                "SELECT id, name, uidvalidity, uidnext, modseq, special_use FROM mailbox WHERE name = ?1";
            Ok(connection.prepare_cached(sql)?.query_row([checked], mailbox).optional()?)
        })
    }

    fn subscriptions(&self) -> Result<Vec<String>, StoreError> {
        self.ask(|connection| names(connection, "SELECT name FROM subscription ORDER BY name"))
    }

    fn keywords(&self) -> Result<Vec<String>, StoreError> {
        self.ask(|connection| names(connection, "SELECT name FROM keyword ORDER BY position"))
    }

    fn totals(&self, mailbox: MailboxId) -> Result<Totals, StoreError> {
        self.ask(|connection| {
            let sql = "SELECT messages, unseen, deleted, octets FROM mailbox WHERE id = ?1";
            let mut select = connection.prepare_cached(sql)?;
            let totals = select.query_row([mailbox.0], |row| totals_at(row, 0)).optional()?;
            Ok(totals.unwrap_or_default())
        })
    }

    fn each_message(
        &self,
        mailbox: MailboxId,
        uids: RangeInclusive<u32>,
        each: &mut dyn FnMut(Message),
    ) -> Result<(), StoreError> {
        self.ask(|connection| each_message(connection, mailbox, uids, each))
    }

    fn changes(&self, mailbox: MailboxId, since: u64, uidnext: u32) -> Result<Changes, StoreError> {
        self.ask(|connection| changes(connection, mailbox, since, uidnext))
    }

    fn read_body(
        &self,
        mailbox: MailboxId,
        uid: u32,
        offset: u64,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, StoreError> {
        self.ask(|connection| {
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
                Some(_) => Err(large.missing(body.0).into()),
            }
        })
    }
}

fn names(connection: &Connection, sql: &str) -> Result<Vec<String>, Fault> {
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn each_message(
    connection: &Connection,
    mailbox: MailboxId,
    uids: RangeInclusive<u32>,
    each: &mut dyn FnMut(Message),
) -> Result<(), Fault> {
    let sql = "SELECT uid, flags, coalesce(changed, modseq), octets, internal_date FROM message
               WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid";
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query(params![mailbox.0, uids.start(), uids.end()])?;
    while let Some(row) = rows.next()? {
        each(message(row)?);
    }
    Ok(())
}

fn changes(connection: &Connection, mailbox: MailboxId, since: u64, uidnext: u32) -> Result<Changes, Fault> {
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
    each_message(&transaction, mailbox, uidnext..=u32::MAX, &mut |message| changes.messages.push(message))?;
    let sql = "SELECT first, last FROM vanished WHERE mailbox = ?1 AND modseq > ?2";
    let mut select = transaction.prepare_cached(sql)?;
    let rows = select.query_map(params![mailbox.0, column(since)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    changes.vanished = rows.collect::<Result<_, _>>()?;
    Ok(changes)
}

impl Drop for SqliteReader {
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

impl std::fmt::Debug for SqliteReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteReader").field("file", &self.file).finish_non_exhaustive()
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
