//! Mailboxes in memory, shared by the sessions of one test.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};

use mail::UnixTime;
use mailbox::{
    AccountError, Appended, Changes, Copied, FlagList, FlagMode, Flags, FlagsChanged, KEYWORDS_MAX,
    MailboxId, Message, NewMessage, Totals, Uids, Wake,
};

/// Messages of one mailbox: a session that copies them to their own mailbox doubles them each time.
const MESSAGES_MAX: usize = 1000;

pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);

#[derive(Clone, Default)]
pub(crate) struct Memory {
    account: Arc<Mutex<Account>>,
    pending: Option<(NewMessage, Vec<u8>)>,
}

#[derive(Default)]
struct Account {
    mailboxes: BTreeMap<String, Mailbox>,
    subscriptions: Vec<String>,
    keywords: Vec<String>,
    next_id: i64,
    wakes: Vec<Wake>,
    /// What sessions listened to, in order.
    listened: Vec<Option<MailboxId>>,
}

#[derive(Default, Clone)]
struct Mailbox {
    id: i64,
    uidnext: u32,
    modseq: u64,
    messages: BTreeMap<u32, (Message, Arc<Vec<u8>>)>,
    vanished: Vec<(u64, u32)>,
    special_use: Option<String>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        let memory = Self::default();
        for (name, special_use) in [("INBOX", None), ("Sent", Some("\\Sent")), ("Trash", Some("\\Trash"))] {
            memory.lock().create(name).unwrap();
            memory.lock().mailboxes.get_mut(name).unwrap().special_use = special_use.map(str::to_owned);
            memory.lock().subscriptions.push(name.into());
        }
        memory
    }

    pub(crate) fn add(&self, mailbox: &str, octets: &[u8], flags: Flags) -> u32 {
        let mut account = self.lock();
        let uid = account.mailbox(mailbox).unwrap().insert(octets.to_vec().into(), flags, NOW);
        account.wake();
        uid
    }

    pub(crate) fn remove(&self, mailbox: &str, uid: u32) {
        self.lock().mailbox(mailbox).unwrap().remove(uid);
    }

    pub(crate) fn octets(&self, mailbox: &str, uid: u32) -> Option<Arc<Vec<u8>>> {
        self.lock().mailboxes[mailbox].messages.get(&uid).map(|(_, octets)| Arc::clone(octets))
    }

    pub(crate) fn listened(&self) -> Vec<Option<i64>> {
        self.lock().listened.iter().map(|mailbox| mailbox.map(|mailbox| mailbox.0)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap()
    }
}

impl Account {
    fn create(&mut self, name: &str) -> Result<(), AccountError> {
        if self.mailboxes.contains_key(name) {
            return Err(AccountError::MailboxExists);
        }
        self.next_id += 1;
        let mailbox = Mailbox { id: self.next_id, uidnext: 1, modseq: 1, ..Mailbox::default() };
        self.mailboxes.insert(name.to_owned(), mailbox);
        Ok(())
    }

    fn mailbox(&mut self, name: &str) -> Result<&mut Mailbox, AccountError> {
        let name = if name.eq_ignore_ascii_case("INBOX") { "INBOX" } else { name };
        self.mailboxes.get_mut(name).ok_or(AccountError::NoMailbox)
    }

    fn by_id(&mut self, id: MailboxId) -> Result<&mut Mailbox, AccountError> {
        self.mailboxes.values_mut().find(|mailbox| mailbox.id == id.0).ok_or(AccountError::NoMailbox)
    }

    fn flags(&mut self, list: &FlagList) -> Result<Flags, AccountError> {
        let mut flags = list.system;
        for keyword in &list.keywords {
            let known = self.keywords.iter().position(|known| known.eq_ignore_ascii_case(keyword));
            let index = known.unwrap_or(self.keywords.len());
            if index == KEYWORDS_MAX {
                return Err(AccountError::Limit("too many keywords".to_owned()));
            }
            if known.is_none() {
                self.keywords.push(keyword.clone());
            }
            flags.0 |= 1 << (8 + index);
        }
        Ok(flags)
    }

    fn wake(&self) {
        self.wakes.iter().for_each(|wake| wake());
    }
}

impl Mailbox {
    fn listed(&self, name: &str) -> mailbox::Mailbox {
        mailbox::Mailbox {
            id: MailboxId(self.id),
            name: name.to_owned(),
            uidvalidity: 7,
            uidnext: self.uidnext,
            modseq: self.modseq,
            special_use: self.special_use.clone(),
        }
    }

    fn insert(&mut self, octets: Arc<Vec<u8>>, flags: Flags, internal_date: UnixTime) -> u32 {
        let uid = self.uidnext;
        self.uidnext += 1;
        self.modseq += 1;
        let message = Message { uid, flags, modseq: self.modseq, octets: octets.len() as u64, internal_date };
        self.messages.insert(uid, (message, octets));
        uid
    }

    fn remove(&mut self, uid: u32) -> Option<(Message, Arc<Vec<u8>>)> {
        let removed = self.messages.remove(&uid)?;
        self.modseq += 1;
        self.vanished.push((self.modseq, uid));
        Some(removed)
    }

    fn uids(&self, uids: &Uids) -> Vec<u32> {
        uids.iter().flat_map(|range| self.messages.range(range.clone())).map(|(uid, _)| *uid).collect()
    }
}

impl mailbox::Account for Memory {
    fn on_change(&mut self, wake: Wake) {
        self.lock().wakes.push(wake);
    }

    fn listen(&mut self, mailbox: Option<MailboxId>) {
        self.lock().listened.push(mailbox);
    }

    fn open(&mut self, _account: &str) -> Result<(), AccountError> {
        Ok(())
    }

    fn mailboxes(&mut self) -> Result<Vec<mailbox::Mailbox>, AccountError> {
        Ok(self.lock().mailboxes.iter().map(|(name, mailbox)| mailbox.listed(name)).collect())
    }

    fn subscriptions(&mut self) -> Result<Vec<String>, AccountError> {
        Ok(self.lock().subscriptions.clone())
    }

    fn create(&mut self, mailbox: &str) -> Result<(), AccountError> {
        self.lock().create(mailbox)
    }

    fn delete(&mut self, mailbox: &str) -> Result<(), AccountError> {
        self.lock().mailboxes.remove(mailbox).map(|_| ()).ok_or(AccountError::NoMailbox)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), AccountError> {
        let mut account = self.lock();
        let mailbox = account.mailboxes.remove(from).ok_or(AccountError::NoMailbox)?;
        account.mailboxes.insert(to.to_owned(), mailbox);
        Ok(())
    }

    fn subscribe(&mut self, mailbox: &str) -> Result<(), AccountError> {
        self.lock().subscriptions.push(mailbox.to_owned());
        Ok(())
    }

    fn unsubscribe(&mut self, mailbox: &str) -> Result<(), AccountError> {
        self.lock().subscriptions.retain(|known| known != mailbox);
        Ok(())
    }

    fn status(&mut self, mailbox: &str) -> Result<(mailbox::Mailbox, Totals), AccountError> {
        let mut account = self.lock();
        let found = account.mailbox(mailbox)?;
        let with =
            |flag| found.messages.values().filter(|(message, _)| message.flags.contains(flag)).count() as u64;
        let messages = found.messages.len() as u64;
        let totals = Totals {
            messages,
            unseen: messages - with(Flags::SEEN),
            deleted: with(Flags::DELETED),
            octets: found.messages.values().map(|(message, _)| message.octets).sum(),
        };
        Ok((found.listed(mailbox), totals))
    }

    fn select(
        &mut self,
        mailbox: &str,
        each: &mut dyn FnMut(Message),
    ) -> Result<mailbox::Mailbox, AccountError> {
        let mut account = self.lock();
        let found = account.mailbox(mailbox)?;
        found.messages.values().for_each(|(message, _)| each(*message));
        Ok(found.listed(mailbox))
    }

    fn changes(&mut self, mailbox: MailboxId, since: u64, _uidnext: u32) -> Result<Changes, AccountError> {
        let mut account = self.lock();
        let mailbox = account.by_id(mailbox)?;
        let messages = mailbox.messages.values().map(|(message, _)| *message);
        let vanished =
            mailbox.vanished.iter().filter(|(modseq, _)| *modseq > since).map(|(_, uid)| (*uid, *uid));
        Ok(Changes {
            modseq: mailbox.modseq,
            uidnext: mailbox.uidnext,
            messages: messages.filter(|message| message.modseq > since).collect(),
            vanished: vanished.collect(),
        })
    }

    fn keywords(&mut self) -> Result<Vec<String>, AccountError> {
        Ok(self.lock().keywords.clone())
    }

    fn messages(
        &mut self,
        mailbox: MailboxId,
        uids: RangeInclusive<u32>,
        each: &mut dyn FnMut(Message),
    ) -> Result<(), AccountError> {
        self.lock().by_id(mailbox)?.messages.range(uids).for_each(|(_, (message, _))| each(*message));
        Ok(())
    }

    fn read(
        &mut self,
        mailbox: MailboxId,
        uid: u32,
        offset: u64,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, AccountError> {
        let mut account = self.lock();
        let Some((_, octets)) = account.by_id(mailbox)?.messages.get(&uid) else { return Ok(false) };
        let start = usize::try_from(offset).unwrap().min(octets.len());
        out.extend_from_slice(&octets[start..octets.len().min(start.saturating_add(length))]);
        Ok(true)
    }

    fn store(
        &mut self,
        mailbox: MailboxId,
        uids: &Uids,
        mode: FlagMode,
        flags: &FlagList,
    ) -> Result<FlagsChanged, AccountError> {
        let mut account = self.lock();
        let flags = account.flags(flags)?;
        let mailbox = account.by_id(mailbox)?;
        mailbox.modseq += 1;
        let mut changed = FlagsChanged { modseq: mailbox.modseq, ..FlagsChanged::default() };
        for uid in mailbox.uids(uids) {
            let modseq = mailbox.modseq;
            let (message, _) = mailbox.messages.get_mut(&uid).unwrap();
            let new = match mode {
                FlagMode::Add => Flags(message.flags.0 | flags.0),
                FlagMode::Remove => Flags(message.flags.0 & !flags.0),
                FlagMode::Replace => flags,
            };
            if new != message.flags {
                message.flags = new;
                message.modseq = modseq;
                changed.changed.push((uid, new));
            }
        }
        account.wake();
        Ok(changed)
    }

    fn copy(&mut self, from: MailboxId, uids: &Uids, to: &str) -> Result<Copied, AccountError> {
        let mut account = self.lock();
        account.mailbox(to)?;
        let source = account.by_id(from)?;
        let entries: Vec<_> = source.uids(uids).iter().map(|uid| source.messages[uid].clone()).collect();
        let target = account.mailbox(to)?;
        if target.messages.len() + entries.len() > MESSAGES_MAX {
            return Err(AccountError::Limit("too many messages".to_owned()));
        }
        let copy = |(message, octets): (Message, Arc<Vec<u8>>)| {
            (message.uid, target.insert(octets, message.flags, message.internal_date))
        };
        Ok(Copied { uidvalidity: 7, uids: entries.into_iter().map(copy).collect() })
    }

    fn relocate(&mut self, from: MailboxId, uids: &Uids, to: &str) -> Result<Copied, AccountError> {
        let copied = self.copy(from, uids, to)?;
        for (old, _) in &copied.uids {
            self.lock().by_id(from)?.remove(*old);
        }
        Ok(copied)
    }

    fn expunge(&mut self, mailbox: MailboxId, uids: &Uids) -> Result<(), AccountError> {
        let mut account = self.lock();
        let mailbox = account.by_id(mailbox)?;
        for uid in mailbox.uids(uids) {
            if mailbox.messages[&uid].0.flags.contains(Flags::DELETED) {
                mailbox.remove(uid);
            }
        }
        Ok(())
    }

    fn append_begin(&mut self, message: &NewMessage) -> Result<(), AccountError> {
        self.lock().mailbox(&message.mailbox)?;
        self.pending = Some((message.clone(), Vec::new()));
        Ok(())
    }

    fn append_piece(&mut self, octets: &[u8]) -> Result<(), AccountError> {
        self.pending.as_mut().unwrap().1.extend_from_slice(octets);
        Ok(())
    }

    fn append_finish(&mut self) -> Result<Appended, AccountError> {
        let (message, octets) = self.pending.take().unwrap();
        assert_eq!(octets.len() as u64, message.octets);
        let mut account = self.lock();
        let flags = account.flags(&message.flags)?;
        let mailbox = account.mailbox(&message.mailbox)?;
        let uid = mailbox.insert(octets.into(), flags, message.internal_date.unwrap_or(NOW));
        account.wake();
        Ok(Appended { uidvalidity: 7, uid })
    }

    fn append_abort(&mut self) {
        self.pending = None;
    }
}
