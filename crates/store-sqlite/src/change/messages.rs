//! Messages that are there: their flags changed, copied, moved, removed.

use std::ops::RangeInclusive;

use mailbox::{Copied, Expunge, FlagMode, FlagUpdate, Flags, FlagsChanged, MailboxId, Uids};
use rusqlite::params;
use store::{GONE_ENTRIES_MAX, StoreError, name};

use super::{Change, Entry};
use crate::body;
use crate::column::{column, flags_column, flags_of, unsigned};
use crate::fault::Fault;

impl Change<'_> {
    /// Changes flags of messages.
    pub(crate) fn update_flags(
        &mut self,
        mailbox: MailboxId,
        uids: &Uids,
        update: &FlagUpdate,
    ) -> Result<FlagsChanged, Fault> {
        let place = self.find_id(mailbox)?;
        let flags = flags_column(self.flags(&update.flags)?);
        let (remove, add) = match update.mode {
            FlagMode::Add => (0, flags),
            FlagMode::Remove => (flags, 0),
            FlagMode::Replace => (-1, flags),
        };
        let unchanged_since = update.unchanged_since.map_or(i64::MAX, column);
        let modseq = self.counters(place).next_modseq();
        let mut outcome = FlagsChanged::default();
        let select = "SELECT uid, flags FROM message
                      WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 AND flags <> (flags & ~?4) | ?5
                        AND coalesce(changed, modseq) <= ?6 ORDER BY uid";
        let mut select = self.connection.prepare_cached(select)?;
        let update_one = "UPDATE message SET flags = ?3, changed = ?4 WHERE mailbox = ?1 AND uid = ?2";
        let mut update_one = self.connection.prepare_cached(update_one)?;
        for range in uids {
            if update.unchanged_since.is_some() {
                outcome.conflicts.extend(self.changed_after(mailbox, range, unchanged_since, modseq)?);
            }
            let values = params![mailbox.0, range.start(), range.end(), remove, add, unchanged_since];
            let rows = select.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
            // All are read before one is changed: a row that moves in an index could be met twice.
            let rows: Vec<(u32, i64)> = rows.collect::<Result<_, _>>()?;
            for (uid, old) in rows {
                let new = (old & !remove) | add;
                update_one.execute(params![mailbox.0, uid, new, column(modseq)])?;
                self.mailboxes[place].reflagged(flags_of(old), flags_of(new));
                outcome.changed.push((uid, flags_of(new)));
            }
        }
        if !outcome.changed.is_empty() {
            outcome.modseq = modseq;
        }
        outcome.changed.sort_unstable_by_key(|(uid, _)| *uid);
        Ok(outcome)
    }

    /// Uids in `range` that changed after `since`, though not by the change `but`.
    fn changed_after(
        &self,
        mailbox: MailboxId,
        range: &RangeInclusive<u32>,
        since: i64,
        but: u64,
    ) -> Result<Vec<u32>, Fault> {
        let sql = "SELECT uid FROM message WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3
                   AND coalesce(changed, modseq) > ?4 AND coalesce(changed, modseq) <> ?5";
        let mut select = self.connection.prepare_cached(sql)?;
        let values = params![mailbox.0, range.start(), range.end(), since, column(but)];
        let rows = select.query_map(values, |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Copies messages; the bodies are shared.
    pub(crate) fn copy(&mut self, from: MailboxId, to: &str, uids: &Uids) -> Result<Copied, Fault> {
        let target = self.find(&name::mailbox(to)?)?.ok_or(StoreError::NoMailbox)?;
        let mut copied = Copied { uidvalidity: self.counters(target).uidvalidity, uids: Vec::new() };
        for (uid, entry) in self.entries(from, uids)? {
            body::share(self.connection, entry.body)?;
            copied.uids.push((uid, self.insert(target, &entry)?));
        }
        Ok(copied)
    }

    /// Moves messages (RFC 6851): in the account they are at each moment in one of the two mailboxes.
    pub(crate) fn relocate(&mut self, from: MailboxId, to: MailboxId, uids: &Uids) -> Result<Copied, Fault> {
        let source = self.find_id(from)?;
        let target = self.find_id(to)?;
        let mut moved = Copied { uidvalidity: self.counters(target).uidvalidity, uids: Vec::new() };
        for (uid, entry) in self.entries(from, uids)? {
            let sql = "DELETE FROM message WHERE mailbox = ?1 AND uid = ?2";
            self.connection.prepare_cached(sql)?.execute(params![from.0, uid])?;
            self.counters(source).went(entry.flags, entry.octets);
            moved.uids.push((uid, self.insert(target, &entry)?));
        }
        let gone: Vec<u32> = moved.uids.iter().map(|(old, _)| *old).collect();
        self.record_vanished(source, from, &gone)?;
        Ok(moved)
    }

    /// Moves messages to the mailbox of a name.
    pub(crate) fn relocate_to(&mut self, from: MailboxId, to: &str, uids: &Uids) -> Result<Copied, Fault> {
        let target = self.find(&name::mailbox(to)?)?.ok_or(StoreError::NoMailbox)?;
        let target = self.counters(target).id;
        self.relocate(from, target, uids)
    }

    /// Removes messages and tells their uids, in order.
    pub(crate) fn expunge(
        &mut self,
        mailbox: MailboxId,
        uids: &Uids,
        which: Expunge,
    ) -> Result<Vec<u32>, Fault> {
        let place = self.find_id(mailbox)?;
        let needed = match which {
            Expunge::Deleted => Flags::DELETED,
            Expunge::All => Flags::NONE,
        };
        let mut gone = Vec::new();
        let sql = "DELETE FROM message WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 AND flags & ?4 = ?4
                   RETURNING uid, body, octets, flags";
        let mut statement = self.connection.prepare_cached(sql)?;
        for range in uids {
            let values = params![mailbox.0, range.start(), range.end(), flags_column(needed)];
            let rows = statement.query_map(values, |row| {
                Ok((row.get(0)?, unsigned(row.get(1)?), unsigned(row.get(2)?), flags_of(row.get(3)?)))
            })?;
            let removed: Vec<(u32, u64, u64, Flags)> = rows.collect::<Result<_, _>>()?;
            for (uid, id, octets, flags) in removed {
                self.counters(place).went(flags, octets);
                self.release_body(id, octets)?;
                gone.push(uid);
            }
        }
        gone.sort_unstable();
        self.record_vanished(place, mailbox, &gone)?;
        Ok(gone)
    }

    /// Puts together what is remembered of messages that are gone, where it is too much. Tells how many rows fewer there are.
    pub(crate) fn tidy(&mut self) -> Result<u64, Fault> {
        self.settle()?;
        let sql = "SELECT mailbox, count(*) FROM vanished GROUP BY mailbox HAVING count(*) > ?1";
        let mut select = self.connection.prepare(sql)?;
        let rows = select.query_map([column(GONE_ENTRIES_MAX)], |row| {
            Ok((MailboxId(row.get(0)?), unsigned(row.get(1)?)))
        })?;
        let mut fewer = 0;
        for (mailbox, entries) in rows.collect::<Result<Vec<_>, _>>()? {
            let sql = "SELECT messages FROM mailbox WHERE id = ?1";
            let messages = unsigned(self.connection.query_row(sql, [mailbox.0], |row| row.get(0))?);
            if entries > 2 * messages + GONE_ENTRIES_MAX {
                fewer += entries.saturating_sub(self.write_gone(mailbox)?);
            }
        }
        Ok(fewer)
    }

    /// Remembers all uids as gone that were given out and are not there, under the mailbox's latest mod-sequence, in place of
    /// what was remembered. Tells in how many rows.
    fn write_gone(&self, mailbox: MailboxId) -> Result<u64, Fault> {
        let sql = "SELECT uidnext, modseq FROM mailbox WHERE id = ?1";
        let (uidnext, modseq): (u32, i64) =
            self.connection.query_row(sql, [mailbox.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.connection.execute("DELETE FROM vanished WHERE mailbox = ?1", [mailbox.0])?;
        let sql = "INSERT INTO vanished (mailbox, modseq, first, last) VALUES (?1, ?2, ?3, ?4)";
        let mut insert = self.connection.prepare(sql)?;
        let mut select =
            self.connection.prepare("SELECT uid FROM message WHERE mailbox = ?1 ORDER BY uid")?;
        let there = select.query_map([mailbox.0], |row| row.get::<_, u32>(0))?;
        let (mut next, mut written) = (1, 0);
        for uid in there.chain([Ok(uidnext)]) {
            let uid = uid?;
            if next < uid {
                insert.execute(params![mailbox.0, modseq, next, uid - 1])?;
                written += 1;
            }
            next = uid.saturating_add(1);
        }
        Ok(written)
    }

    /// The messages, each once however many of the ranges have it, in order.
    fn entries(&self, mailbox: MailboxId, uids: &Uids) -> Result<Vec<(u32, Entry)>, Fault> {
        let sql = "SELECT uid, body, octets, internal_date, flags FROM message
                   WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid";
        let mut select = self.connection.prepare_cached(sql)?;
        let mut entries = Vec::new();
        for range in uids {
            let rows = select.query_map(params![mailbox.0, range.start(), range.end()], |row| {
                let entry = Entry {
                    body: unsigned(row.get(1)?),
                    octets: unsigned(row.get(2)?),
                    internal_date: row.get(3)?,
                    flags: flags_of(row.get(4)?),
                };
                Ok((row.get(0)?, entry))
            })?;
            for row in rows {
                entries.push(row?);
            }
        }
        entries.sort_unstable_by_key(|(uid, _)| *uid);
        entries.dedup_by_key(|(uid, _)| *uid);
        Ok(entries)
    }

    /// Remembers sorted uids as gone, in ranges, under one new mod-sequence.
    fn record_vanished(&mut self, place: usize, mailbox: MailboxId, gone: &[u32]) -> Result<(), Fault> {
        if gone.is_empty() {
            return Ok(());
        }
        let modseq = self.counters(place).next_modseq();
        let sql = "INSERT INTO vanished (mailbox, modseq, first, last) VALUES (?1, ?2, ?3, ?4)";
        let mut insert = self.connection.prepare_cached(sql)?;
        for run in gone.chunk_by(|one, next| one.checked_add(1) == Some(*next)) {
            if let (Some(first), Some(last)) = (run.first(), run.last()) {
                insert.execute(params![mailbox.0, column(modseq), first, last])?;
            }
        }
        Ok(())
    }
}
