//! One account, and what changes it. Each change looks at all that may be wrong first, so that what fails changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use bytes::Bytes;
use content::Content;
use mail::{ItemId, UnixTime};
use mailbox::{
    Copied, Expunge, FlagList, FlagUpdate, Flags, FlagsChanged, KEYWORD_LENGTH_MAX, KEYWORDS_MAX, Mailbox,
    MailboxId, Subscription, Uids,
};
use store::{
    Append, Delivery, MAILBOXES_MAX, MESSAGE_OCTETS_MAX, Receipt, SPECIAL_MAILBOXES, StoreError, name,
};

use crate::contents::{Contents, Stored};

/// Mailboxes, messages and subscriptions of one account.
#[derive(Debug)]
pub(crate) struct OneAccount {
    mailboxes: BTreeMap<MailboxId, Contents>,
    names: BTreeMap<String, MailboxId>,
    subscriptions: BTreeSet<String>,
    keywords: Vec<String>,
    arrived: BTreeMap<ItemId, Arrived>,
    id_last: i64,
    uidvalidity_last: u32,
    /// What the change that runs has changed.
    changed: Changed,
}

/// The parts of an account that a change has touched.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// Whether anything was changed.
    pub(crate) something: bool,
    /// These mailboxes, those that were deleted included.
    pub(crate) mailboxes: Vec<MailboxId>,
}

#[derive(Debug)]
struct Arrived {
    at: UnixTime,
    mailbox: MailboxId,
    uid: u32,
}

impl OneAccount {
    pub(crate) fn new(now: UnixTime) -> Self {
        let mut account = Self {
            mailboxes: BTreeMap::new(),
            names: BTreeMap::new(),
            subscriptions: BTreeSet::new(),
            keywords: Vec::new(),
            arrived: BTreeMap::new(),
            id_last: 0,
            uidvalidity_last: u32::try_from(now.as_secs()).unwrap_or(u32::MAX / 2).max(1),
            changed: Changed::default(),
        };
        for (name, special_use) in SPECIAL_MAILBOXES {
            account.add(name, special_use, account.uidvalidity_last);
            account.subscriptions.insert(name.to_owned());
        }
        account
    }

    pub(crate) fn take_changed(&mut self) -> Changed {
        std::mem::take(&mut self.changed)
    }

    pub(crate) fn listed(&self) -> Vec<Mailbox> {
        self.names.values().filter_map(|id| Some(self.contents(*id)?.listed.clone())).collect()
    }

    pub(crate) fn subscriptions(&self) -> Vec<String> {
        self.subscriptions.iter().cloned().collect()
    }

    pub(crate) fn keywords(&self) -> Vec<String> {
        self.keywords.clone()
    }

    pub(crate) fn contents(&self, id: MailboxId) -> Option<&Contents> {
        self.mailboxes.get(&id)
    }

    fn add(&mut self, name: &str, special_use: Option<&str>, uidvalidity: u32) -> MailboxId {
        self.id_last += 1;
        let id = MailboxId(self.id_last);
        let special_use = special_use.map(str::to_owned);
        let listed = Mailbox { id, name: name.to_owned(), uidvalidity, uidnext: 1, modseq: 1, special_use };
        self.names.insert(listed.name.clone(), id);
        self.mailboxes.insert(id, Contents::new(listed));
        self.changed.something = true;
        id
    }

    fn find(&self, name: &str) -> Option<MailboxId> {
        self.names.get(name).copied()
    }

    fn find_named(&self, name: &str) -> Result<MailboxId, StoreError> {
        self.find(&name::mailbox(name)?).ok_or(StoreError::NoMailbox)
    }

    /// For a change: who waits for the mailbox is told.
    fn open(&mut self, id: MailboxId) -> Result<&mut Contents, StoreError> {
        let contents = self.mailboxes.get_mut(&id).ok_or(StoreError::NoMailbox)?;
        self.changed.something = true;
        self.changed.mailboxes.push(id);
        Ok(contents)
    }

    fn create(&mut self, name: &str, special_use: Option<&str>) -> Result<MailboxId, StoreError> {
        if self.mailboxes.len() as u64 >= MAILBOXES_MAX {
            return Err(StoreError::Limit("mailboxes of the account"));
        }
        self.uidvalidity_last += 1;
        Ok(self.add(name, special_use, self.uidvalidity_last))
    }

    pub(crate) fn deliver(&mut self, delivery: &Delivery) -> Result<Receipt, StoreError> {
        let head = delivery.head.written();
        check_octets(head.len() as u64 + delivery.body.octets())?;
        let name = name::mailbox(&delivery.mailbox)?;
        if let Some(known) = delivery.item.and_then(|item| self.arrived.get(&item)) {
            let mailbox = self.mailboxes.get(&known.mailbox);
            let uidvalidity = mailbox.map_or(0, |contents| contents.listed.uidvalidity);
            return Ok(Receipt { uid: known.uid, uidvalidity, duplicate: true });
        }
        let (flags, keywords) = self.flags(&delivery.flags)?;
        let body = octets_of(&head, &delivery.body)?;
        let at = delivery.internal_date;
        let mailbox = match self.find(&name) {
            Some(id) => id,
            None => self.create(&name, None)?,
        };
        self.keywords = keywords;
        let contents = self.open(mailbox)?;
        let uid = contents.insert(Stored::new(flags, body, at))?;
        let uidvalidity = contents.listed.uidvalidity;
        if let Some(item) = delivery.item {
            self.arrived.insert(item, Arrived { at, mailbox, uid });
        }
        Ok(Receipt { uid, uidvalidity, duplicate: false })
    }

    pub(crate) fn append(&mut self, append: &Append) -> Result<Receipt, StoreError> {
        check_octets(append.body.octets())?;
        let mailbox = self.find_named(&append.mailbox)?;
        let (flags, keywords) = self.flags(&append.flags)?;
        let body = octets_of(&[], &append.body)?;
        self.keywords = keywords;
        let contents = self.open(mailbox)?;
        let uid = contents.insert(Stored::new(flags, body, append.internal_date))?;
        Ok(Receipt { uid, uidvalidity: contents.listed.uidvalidity, duplicate: false })
    }

    pub(crate) fn update_flags(
        &mut self,
        mailbox: MailboxId,
        uids: &Uids,
        update: &FlagUpdate,
    ) -> Result<FlagsChanged, StoreError> {
        let (flags, keywords) = self.flags(&update.flags)?;
        let outcome = self.open(mailbox)?.update_flags(uids, update, flags);
        self.keywords = keywords;
        Ok(outcome)
    }

    pub(crate) fn copy(&mut self, from: MailboxId, to: &str, uids: &Uids) -> Result<Copied, StoreError> {
        let target = self.find_named(to)?;
        let stored = self.contents(from).map(|contents| contents.stored(uids)).unwrap_or_default();
        let target = self.open(target)?;
        target.has_room_for(stored.len())?;
        let mut copied = Copied { uidvalidity: target.listed.uidvalidity, uids: Vec::new() };
        for (uid, message) in stored {
            copied.uids.push((uid, target.insert(message)?));
        }
        Ok(copied)
    }

    pub(crate) fn relocate(&mut self, from: MailboxId, to: &str, uids: &Uids) -> Result<Copied, StoreError> {
        let stored = self.contents(from).ok_or(StoreError::NoMailbox)?.uids(uids);
        let moved = self.copy(from, to, uids)?;
        self.open(from)?.remove(&stored);
        Ok(moved)
    }

    pub(crate) fn expunge(
        &mut self,
        mailbox: MailboxId,
        uids: &Uids,
        which: Expunge,
    ) -> Result<Vec<u32>, StoreError> {
        let contents = self.open(mailbox)?;
        let is_meant = |flags: Flags| which == Expunge::All || flags.contains(Flags::DELETED);
        let messages = contents.messages(uids).into_iter().filter(|message| is_meant(message.flags));
        let gone: Vec<u32> = messages.map(|message| message.uid).collect();
        contents.remove(&gone);
        Ok(gone)
    }

    pub(crate) fn create_mailbox(
        &mut self,
        mailbox: &str,
        special_use: Option<&str>,
    ) -> Result<MailboxId, StoreError> {
        let name = name::mailbox(mailbox)?;
        if self.find(&name).is_some() {
            return Err(StoreError::MailboxExists);
        }
        self.create(&name, special_use)
    }

    pub(crate) fn delete_mailbox(&mut self, mailbox: &str) -> Result<(), StoreError> {
        if name::mailbox(mailbox)? == "INBOX" {
            return Err(StoreError::Inbox);
        }
        let id = self.find_named(mailbox)?;
        self.names.retain(|_, named| *named != id);
        self.mailboxes.remove(&id);
        self.changed.something = true;
        self.changed.mailboxes.push(id);
        Ok(())
    }

    pub(crate) fn rename_mailbox(&mut self, from: &str, to: &str) -> Result<(), StoreError> {
        let (from, to) = (name::mailbox(from)?, name::mailbox(to)?);
        let id = self.find_named(&from)?;
        if self.find(&to).is_some() {
            return Err(StoreError::MailboxExists);
        }
        if from == "INBOX" {
            self.create(&to, None)?;
            return self.relocate(id, &to, &[1..=u32::MAX]).map(drop);
        }
        let below = format!("{from}/");
        if to.starts_with(&below) {
            return Err(StoreError::MailboxName);
        }
        let mut renamed = vec![(from, to.clone())];
        for name in self.names.keys().filter(|name| name.starts_with(&below)) {
            let rest = name.get(below.len()..).unwrap_or_default();
            renamed.push((name.clone(), name::mailbox(&format!("{to}/{rest}"))?));
        }
        let stays =
            |name: &String| self.names.contains_key(name) && renamed.iter().all(|(old, _)| old != name);
        if renamed.iter().any(|(_, new)| stays(new)) {
            return Err(StoreError::MailboxExists);
        }
        let ids: Vec<_> = renamed.iter().filter_map(|(old, _)| self.names.remove(old)).collect();
        for (id, (_, new)) in ids.into_iter().zip(renamed) {
            if let Some(contents) = self.mailboxes.get_mut(&id) {
                contents.listed.name.clone_from(&new);
            }
            self.names.insert(new, id);
        }
        self.changed.something = true;
        Ok(())
    }

    pub(crate) fn subscribe(&mut self, mailbox: &str, wanted: Subscription) -> Result<(), StoreError> {
        let name = name::mailbox(mailbox)?;
        match wanted {
            Subscription::Off => drop(self.subscriptions.remove(&name)),
            Subscription::On if self.subscriptions.len() as u64 >= MAILBOXES_MAX => {
                return Err(StoreError::Limit("subscriptions of the account"));
            }
            Subscription::On => drop(self.subscriptions.insert(name)),
        }
        self.changed.something = true;
        Ok(())
    }

    pub(crate) fn forget_arrived(&mut self, before: UnixTime) -> u64 {
        let known = self.arrived.len();
        self.arrived.retain(|_, arrived| arrived.at >= before);
        (known - self.arrived.len()) as u64
    }

    pub(crate) fn tidy(&mut self) -> u64 {
        self.mailboxes.values_mut().map(Contents::tidy).sum()
    }

    /// The bits of named flags, and the account's keywords with those that are new to it.
    fn flags(&self, list: &FlagList) -> Result<(Flags, Vec<String>), StoreError> {
        let (mut flags, mut keywords) = (list.system.system(), self.keywords.clone());
        for keyword in &list.keywords {
            if keyword.is_empty() || keyword.len() > KEYWORD_LENGTH_MAX {
                return Err(StoreError::Limit("length of a keyword"));
            }
            let known = keywords.iter().position(|known| known.eq_ignore_ascii_case(keyword));
            let index = known.unwrap_or(keywords.len());
            if index >= KEYWORDS_MAX {
                return Err(StoreError::Limit("keywords of the account"));
            }
            if known.is_none() {
                keywords.push(keyword.clone());
            }
            flags = flags.with(Flags::keyword(index));
        }
        Ok((flags, keywords))
    }
}

fn check_octets(octets: u64) -> Result<(), StoreError> {
    if octets > MESSAGE_OCTETS_MAX { Err(StoreError::Limit("octets of a message")) } else { Ok(()) }
}

fn octets_of(head: &[u8], body: &Content) -> Result<Bytes, StoreError> {
    let mut octets = head.to_vec();
    let read = body.reader(0).read_to_end(&mut octets);
    read.map_err(|error| StoreError::Source(error.to_string()))?;
    Ok(octets.into())
}
