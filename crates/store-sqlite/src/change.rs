//! One transaction on one account: where messages come in.
//!
//! The counters of each mailbox that a batch touches are read once, kept here while the batch runs, and
//! written back once before the commit, so that a delivery itself is three inserts.

mod mailboxes;
mod messages;

use content::Content;
use mail::ItemId;
use mailbox::{FlagList, Flags, KEYWORD_LENGTH_MAX, KEYWORDS_MAX, MailboxId, Totals};
use rusqlite::{Connection, OptionalExtension, params};
use store::{Append, Delivery, MAILBOXES_MAX, MESSAGE_OCTETS_MAX, Receipt, StoreError, name};

use crate::body;
use crate::column::{column, flags_column, totals_at, unsigned};
use crate::fault::Fault;
use crate::large::LargeBodies;

/// The counters of a mailbox while a batch runs.
#[derive(Debug, Clone)]
pub(crate) struct Counters {
    pub(crate) id: MailboxId,
    name: String,
    pub(crate) uidvalidity: u32,
    uidnext: u32,
    modseq: u64,
    totals: Totals,
    dirty: bool,
}

impl Counters {
    /// The mod-sequence of whatever is changed next.
    pub(crate) fn next_modseq(&mut self) -> u64 {
        self.modseq += 1;
        self.dirty = true;
        self.modseq
    }

    /// A message that is here now.
    fn came(&mut self, flags: Flags, octets: u64) {
        self.totals.add(flags, octets);
        self.dirty = true;
    }

    /// A message that was here.
    pub(crate) fn went(&mut self, flags: Flags, octets: u64) {
        self.totals.remove(flags, octets);
        self.dirty = true;
    }

    /// A message that has other flags now.
    pub(crate) fn reflagged(&mut self, old: Flags, new: Flags) {
        self.went(old, 0);
        self.came(new, 0);
    }

    fn next_uid(&mut self) -> Result<u32, Fault> {
        let uid = self.uidnext;
        self.uidnext = uid.checked_add(1).ok_or(StoreError::Limit("uids of the mailbox"))?;
        self.dirty = true;
        Ok(uid)
    }
}

/// What a message is, but for its place.
pub(crate) struct Entry {
    pub(crate) body: u64,
    pub(crate) octets: u64,
    pub(crate) internal_date: i64,
    pub(crate) flags: Flags,
}

/// What a committed transaction leaves to do.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Octets of bodies that went through the log.
    pub(crate) body_octets: u64,
    /// Large bodies whose files are of no more use.
    pub(crate) released: Vec<u64>,
    /// Mailboxes that are not as they were, those that were deleted included.
    pub(crate) changed: Vec<MailboxId>,
}

/// An open transaction.
pub(crate) struct Change<'c> {
    pub(crate) connection: &'c Connection,
    large: &'c LargeBodies,
    effects: Effects,
    mailboxes: Vec<Counters>,
    body_next: Option<u64>,
    /// Bodies that got a file.
    made: Vec<u64>,
}

impl<'c> Change<'c> {
    pub(crate) fn begin(connection: &'c Connection, large: &'c LargeBodies) -> Result<Self, Fault> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let effects = Effects::default();
        Ok(Self { connection, large, effects, mailboxes: Vec::new(), body_next: None, made: Vec::new() })
    }

    pub(crate) fn commit(mut self) -> Result<Effects, Fault> {
        self.save()?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(self.effects)
    }

    /// Takes all of it back, and removes the files that it made.
    pub(crate) fn undo(self) {
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        if self.connection.is_autocommit() {
            self.made.iter().for_each(|id| self.large.remove(*id));
        }
    }

    fn save(&mut self) -> Result<(), Fault> {
        for mailbox in self.mailboxes.iter().filter(|mailbox| mailbox.dirty) {
            let sql = "UPDATE mailbox SET uidnext = ?2, modseq = ?3, messages = ?4, unseen = ?5, deleted = ?6, octets = ?7
                       WHERE id = ?1";
            let Totals { messages, unseen, deleted, octets } = mailbox.totals;
            let values = params![
                mailbox.id.0,
                mailbox.uidnext,
                column(mailbox.modseq),
                column(messages),
                column(unseen),
                column(deleted),
                column(octets),
            ];
            self.connection.prepare_cached(sql)?.execute(values)?;
            self.effects.changed.push(mailbox.id);
        }
        if let Some(body_next) = self.body_next {
            let sql = "UPDATE account SET body_next = ?1";
            self.connection.prepare_cached(sql)?.execute([column(body_next)])?;
        }
        Ok(())
    }

    /// Stores a delivery, unless its item has arrived before.
    pub(crate) fn deliver(&mut self, delivery: &Delivery) -> Result<Receipt, Fault> {
        let head = delivery.head.written();
        let octets = head.len() as u64 + delivery.body.octets();
        check_octets(octets)?;
        let name = name::mailbox(&delivery.mailbox)?;
        if let Some(item) = delivery.item
            && let Some(receipt) = self.arrived(item)?
        {
            return Ok(receipt);
        }
        let place = match self.find(&name)? {
            Some(place) => place,
            None => self.create(&name)?,
        };
        let flags = self.flags(&delivery.flags)?;
        let body = self.write_body(&head, &delivery.body, octets)?;
        let at = column(delivery.internal_date.0);
        let uid = self.insert(place, &Entry { body, octets, internal_date: at, flags })?;
        let mailbox = &self.mailboxes[place];
        if let Some(item) = delivery.item {
            let sql = "INSERT INTO arrived (item, at, mailbox, uid) VALUES (?1, ?2, ?3, ?4)";
            self.connection.prepare_cached(sql)?.execute(params![item.as_bytes(), at, mailbox.id.0, uid])?;
        }
        Ok(Receipt { uid, uidvalidity: mailbox.uidvalidity, duplicate: false })
    }

    /// Stores what a client appends to a mailbox that exists.
    pub(crate) fn append(&mut self, append: &Append) -> Result<Receipt, Fault> {
        let octets = append.body.octets();
        check_octets(octets)?;
        let place = self.find(&name::mailbox(&append.mailbox)?)?.ok_or(StoreError::NoMailbox)?;
        let flags = self.flags(&append.flags)?;
        let body = self.write_body(&[], &append.body, octets)?;
        let internal_date = column(append.internal_date.0);
        let uid = self.insert(place, &Entry { body, octets, internal_date, flags })?;
        Ok(Receipt { uid, uidvalidity: self.mailboxes[place].uidvalidity, duplicate: false })
    }

    /// Puts a message whose body is stored already into the mailbox at `place`.
    pub(crate) fn insert(&mut self, place: usize, entry: &Entry) -> Result<u32, Fault> {
        let mailbox = &mut self.mailboxes[place];
        let uid = mailbox.next_uid()?;
        let modseq = mailbox.next_modseq();
        let sql = "INSERT INTO message (mailbox, uid, body, octets, internal_date, flags, modseq)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.connection.prepare_cached(sql)?.execute(params![
            mailbox.id.0,
            uid,
            column(entry.body),
            column(entry.octets),
            entry.internal_date,
            flags_column(entry.flags),
            column(modseq),
        ])?;
        mailbox.came(entry.flags, entry.octets);
        Ok(uid)
    }

    /// The receipt of an item that has arrived before.
    fn arrived(&self, item: ItemId) -> Result<Option<Receipt>, Fault> {
        let sql = "SELECT uid, coalesce((SELECT uidvalidity FROM mailbox WHERE id = arrived.mailbox), 0)
                   FROM arrived WHERE item = ?1";
        let mut select = self.connection.prepare_cached(sql)?;
        let known = select
            .query_row([item.as_bytes()], |row| {
                Ok(Receipt { uid: row.get(0)?, uidvalidity: row.get(1)?, duplicate: true })
            })
            .optional()?;
        Ok(known)
    }

    fn write_body(&mut self, head: &[u8], source: &Content, octets: u64) -> Result<u64, Fault> {
        let id = match self.body_next {
            Some(next) => next,
            None => unsigned(
                self.connection
                    .prepare_cached("SELECT body_next FROM account")?
                    .query_row([], |row| row.get::<_, i64>(0))?,
            ),
        };
        let id = id.max(self.large.unused());
        if body::keeps_file(source) {
            self.made.push(id);
        }
        body::write(self.connection, self.large, id, head, source)?;
        self.effects.body_octets += octets;
        // An empty message has no row, and an id of its own all the same.
        self.body_next = Some(id + body::rows(octets).max(1));
        Ok(id)
    }

    /// Removes one message's hold on a body.
    pub(crate) fn release_body(&mut self, id: u64, octets: u64) -> Result<(), Fault> {
        if body::release(self.connection, id, octets)? {
            self.effects.released.push(id);
        }
        Ok(())
    }

    /// A mailbox is changed, or gone, by other means than its counters.
    pub(crate) fn changed(&mut self, mailbox: MailboxId) {
        self.effects.changed.push(mailbox);
    }

    /// Where the mailbox of this checked name is among the batch's counters.
    pub(crate) fn find(&mut self, name: &str) -> Result<Option<usize>, Fault> {
        if let Some(place) = self.mailboxes.iter().position(|mailbox| mailbox.name == name) {
            return Ok(Some(place));
        }
        let sql = "SELECT id, name, uidvalidity, uidnext, modseq, messages, unseen, deleted, octets
                   FROM mailbox WHERE name = ?1";
        self.load(sql, name)
    }

    /// Where the mailbox of this id is among the batch's counters.
    pub(crate) fn find_id(&mut self, id: MailboxId) -> Result<usize, Fault> {
        if let Some(place) = self.mailboxes.iter().position(|mailbox| mailbox.id == id) {
            return Ok(place);
        }
        let sql = "SELECT id, name, uidvalidity, uidnext, modseq, messages, unseen, deleted, octets
                   FROM mailbox WHERE id = ?1";
        self.load(sql, id.0)?.ok_or(StoreError::NoMailbox.into())
    }

    fn load(&mut self, sql: &str, key: impl rusqlite::ToSql) -> Result<Option<usize>, Fault> {
        let mut select = self.connection.prepare_cached(sql)?;
        let found = select
            .query_row([key], |row| {
                Ok(Counters {
                    id: MailboxId(row.get(0)?),
                    name: row.get(1)?,
                    uidvalidity: row.get(2)?,
                    uidnext: row.get(3)?,
                    modseq: unsigned(row.get(4)?),
                    totals: totals_at(row, 5)?,
                    dirty: false,
                })
            })
            .optional()?;
        Ok(found.map(|mailbox| {
            self.mailboxes.push(mailbox);
            self.mailboxes.len() - 1
        }))
    }

    /// Makes a mailbox of this checked name, which must not exist.
    pub(crate) fn create(&mut self, name: &str) -> Result<usize, Fault> {
        let count: i64 = self.connection.query_row("SELECT count(*) FROM mailbox", [], |row| row.get(0))?;
        if unsigned(count) >= MAILBOXES_MAX {
            return Err(StoreError::Limit("mailboxes of the account").into());
        }
        let sql = "UPDATE account SET uidvalidity_last = uidvalidity_last + 1 RETURNING uidvalidity_last";
        let uidvalidity: u32 = self.connection.query_row(sql, [], |row| row.get(0))?;
        let sql = "INSERT INTO mailbox (name, uidvalidity) VALUES (?1, ?2)";
        self.connection.execute(sql, (name, uidvalidity))?;
        self.find(name)?.ok_or(StoreError::NoMailbox.into())
    }

    /// The counters at `place`, as [`Change::find`] told it.
    pub(crate) fn counters(&mut self, place: usize) -> &mut Counters {
        &mut self.mailboxes[place]
    }

    /// Writes the counters back and forgets them, before a statement that changes mailboxes themselves.
    pub(crate) fn settle(&mut self) -> Result<(), Fault> {
        self.save()?;
        self.mailboxes.clear();
        Ok(())
    }

    /// The bits of named flags; keywords that are new to the account are added to its list.
    pub(crate) fn flags(&self, list: &FlagList) -> Result<Flags, Fault> {
        let mut flags = list.system.system();
        for keyword in &list.keywords {
            flags = flags.with(Flags::keyword(self.keyword(keyword)?));
        }
        Ok(flags)
    }

    fn keyword(&self, keyword: &str) -> Result<usize, Fault> {
        if keyword.is_empty() || keyword.len() > KEYWORD_LENGTH_MAX {
            return Err(StoreError::Limit("length of a keyword").into());
        }
        let mut select = self.connection.prepare_cached("SELECT position FROM keyword WHERE name = ?1")?;
        let known: Option<u32> = select.query_row([keyword], |row| row.get(0)).optional()?;
        if let Some(position) = known {
            return Ok(position as usize);
        }
        let position: u32 =
            self.connection
                .query_row("SELECT coalesce(max(position) + 1, 0) FROM keyword", [], |row| row.get(0))?;
        if position as usize >= KEYWORDS_MAX {
            return Err(StoreError::Limit("keywords of the account").into());
        }
        self.connection
            .execute("INSERT INTO keyword (position, name) VALUES (?1, ?2)", (position, keyword))?;
        Ok(position as usize)
    }
}

fn check_octets(octets: u64) -> Result<(), Fault> {
    if octets > MESSAGE_OCTETS_MAX { Err(StoreError::Limit("octets of a message").into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use mail::UnixTime;

    use super::*;
    use crate::large::LARGE_OCTETS;
    use crate::schema;

    fn deliver(change: &mut Change<'_>, directory: &std::path::Path, octet: u8) {
        let mut file = tempfile::tempfile_in(directory).unwrap();
        file.write_all(&[octet; 1024 * 1024]).unwrap();
        let delivery = Delivery {
            item: None,
            mailbox: "INBOX".into(),
            head: store::Head::default(),
            body: Content::file(file, 0, LARGE_OCTETS),
            flags: FlagList::default(),
            internal_date: UnixTime(0),
        };
        change.deliver(&delivery).unwrap();
    }

    /// A commit that the disk said no to may be there after a crash, with the file that it names.
    #[test]
    fn the_file_of_a_failed_commit_stays_and_its_name_is_not_used_again() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("bob.db");
        schema::create(&database, 1).unwrap();
        let connection = schema::open_writer(&database).unwrap();
        let large = LargeBodies::of(&database);
        let files = || {
            let names = std::fs::read_dir(directory.path().join("bob.large")).unwrap();
            let mut files: Vec<_> = names.map(|name| name.unwrap().path()).collect();
            files.sort();
            files.iter().map(|file| std::fs::read(file).unwrap()[0]).collect::<Vec<_>>()
        };

        let mut failed = Change::begin(&connection, &large).unwrap();
        deliver(&mut failed, directory.path(), b'a');
        drop(failed);
        connection.execute_batch("ROLLBACK").unwrap();
        let mut again = Change::begin(&connection, &large).unwrap();
        deliver(&mut again, directory.path(), b'b');
        again.commit().unwrap();
        assert_eq!(files(), [b'a', b'b']);

        let mut undone = Change::begin(&connection, &large).unwrap();
        deliver(&mut undone, directory.path(), b'c');
        undone.undo();
        assert_eq!(files(), [b'a', b'b'], "what never came to a commit leaves nothing");
        large.sweep(&connection).unwrap();
        assert_eq!(files(), [b'b']);
    }
}
