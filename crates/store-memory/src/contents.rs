//! A mailbox with its messages.

use std::collections::BTreeMap;

use bytes::Bytes;
use mail::UnixTime;
use mailbox::{Changes, FlagMode, FlagUpdate, Flags, FlagsChanged, Mailbox, Message, Totals, Uids};
use store::{GONE_ENTRIES_MAX, StoreError};

/// A mailbox with its messages.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) listed: Mailbox,
    messages: BTreeMap<u32, Stored>,
    /// Under which mod-sequence which uids went: first and last.
    vanished: Vec<(u64, u32, u32)>,
}

/// A message, but for its uid.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) flags: Flags,
    pub(crate) body: Bytes,
    pub(crate) internal_date: UnixTime,
    /// The mod-sequence of its arrival.
    modseq: u64,
    /// The mod-sequence of the last change of its flags.
    changed: Option<u64>,
}

impl Stored {
    pub(crate) fn new(flags: Flags, body: Bytes, internal_date: UnixTime) -> Self {
        Self { flags, body, internal_date, modseq: 0, changed: None }
    }

    fn latest(&self) -> u64 {
        self.changed.unwrap_or(self.modseq)
    }

    fn entry(&self, uid: u32) -> Message {
        Message {
            uid,
            flags: self.flags,
            modseq: self.latest(),
            octets: self.body.len() as u64,
            internal_date: self.internal_date,
        }
    }
}

impl Contents {
    pub(crate) fn new(listed: Mailbox) -> Self {
        Self { listed, messages: BTreeMap::new(), vanished: Vec::new() }
    }

    fn next_modseq(&mut self) -> u64 {
        self.listed.modseq += 1;
        self.listed.modseq
    }

    pub(crate) fn insert(&mut self, message: Stored) -> Result<u32, StoreError> {
        let uid = self.listed.uidnext;
        self.listed.uidnext = uid.checked_add(1).ok_or(StoreError::Limit("uids of the mailbox"))?;
        let modseq = self.next_modseq();
        self.messages.insert(uid, Stored { modseq, changed: None, ..message });
        Ok(uid)
    }

    /// Whether so many messages more get a uid.
    pub(crate) fn has_room_for(&self, messages: usize) -> Result<(), StoreError> {
        let uid_last = u32::try_from(messages).ok().and_then(|more| self.listed.uidnext.checked_add(more));
        uid_last.map(drop).ok_or(StoreError::Limit("uids of the mailbox"))
    }

    /// The uids of messages in these ranges, in order.
    pub(crate) fn uids(&self, uids: &Uids) -> Vec<u32> {
        let mut found: Vec<u32> = Vec::new();
        for range in uids.iter().filter(|range| !range.is_empty()) {
            found.extend(self.messages.range(range.clone()).map(|(uid, _)| *uid));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    pub(crate) fn messages(&self, uids: &Uids) -> Vec<Message> {
        let entry = |uid: u32| self.messages.get(&uid).map(|stored| stored.entry(uid));
        self.uids(uids).into_iter().filter_map(entry).collect()
    }

    pub(crate) fn stored(&self, uids: &Uids) -> Vec<(u32, Stored)> {
        let stored = |uid: u32| self.messages.get(&uid).map(|stored| (uid, stored.clone()));
        self.uids(uids).into_iter().filter_map(stored).collect()
    }

    pub(crate) fn body(&self, uid: u32) -> Option<Bytes> {
        self.messages.get(&uid).map(|stored| stored.body.clone())
    }

    pub(crate) fn totals(&self) -> Totals {
        let with = |flag| self.messages.values().filter(|stored| stored.flags.contains(flag)).count() as u64;
        let messages = self.messages.len() as u64;
        Totals {
            messages,
            unseen: messages - with(Flags::SEEN),
            deleted: with(Flags::DELETED),
            octets: self.messages.values().map(|stored| stored.body.len() as u64).sum(),
        }
    }

    pub(crate) fn update_flags(&mut self, uids: &Uids, update: &FlagUpdate, flags: Flags) -> FlagsChanged {
        let modseq = self.next_modseq();
        let mut outcome = FlagsChanged::default();
        for uid in self.uids(uids) {
            let Some(stored) = self.messages.get_mut(&uid) else { continue };
            if update.unchanged_since.is_some_and(|since| stored.latest() > since) {
                outcome.conflicts.push(uid);
                continue;
            }
            let new = match update.mode {
                FlagMode::Add => stored.flags.with(flags),
                FlagMode::Remove => Flags(stored.flags.0 & !flags.0),
                FlagMode::Replace => flags,
            };
            if new != stored.flags {
                stored.flags = new;
                stored.changed = Some(modseq);
                outcome.changed.push((uid, new));
                outcome.modseq = modseq;
            }
        }
        outcome
    }

    /// Removes messages, and remembers them as gone in ranges.
    pub(crate) fn remove(&mut self, gone: &[u32]) {
        if gone.is_empty() {
            return;
        }
        let modseq = self.next_modseq();
        gone.iter().for_each(|uid| drop(self.messages.remove(uid)));
        for run in gone.chunk_by(|one, next| one.checked_add(1) == Some(*next)) {
            if let (Some(first), Some(last)) = (run.first(), run.last()) {
                self.vanished.push((modseq, *first, *last));
            }
        }
    }

    /// Puts together what is remembered of messages that are gone, where it is too much.
    pub(crate) fn tidy(&mut self) -> u64 {
        let before = self.vanished.len() as u64;
        if before <= 2 * self.messages.len() as u64 + GONE_ENTRIES_MAX {
            return 0;
        }
        self.vanished.clear();
        let mut next = 1;
        for uid in self.messages.keys().copied().chain([self.listed.uidnext]) {
            if next < uid {
                self.vanished.push((self.listed.modseq, next, uid - 1));
            }
            next = uid.saturating_add(1);
        }
        before.saturating_sub(self.vanished.len() as u64)
    }

    pub(crate) fn changes(&self, since: u64, uidnext: u32) -> Changes {
        let is_news =
            |uid: u32, stored: &Stored| uid >= uidnext || stored.changed.is_some_and(|modseq| modseq > since);
        let news = self.messages.iter().filter(|(uid, stored)| is_news(**uid, stored));
        let gone = self.vanished.iter().filter(|(modseq, ..)| *modseq > since);
        Changes {
            modseq: self.listed.modseq,
            uidnext: self.listed.uidnext,
            messages: news.map(|(uid, stored)| stored.entry(*uid)).collect(),
            vanished: gone.map(|(_, first, last)| (*first, *last)).collect(),
        }
    }
}
