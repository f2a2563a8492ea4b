//! The store's accounts as an IMAP session sees them.
//!
//! One value per session. Everything here blocks: it runs on threads for blocking work.

use std::fs::File;
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use imap::{
    Appended, Backend, BackendError, Changes, Copied, FlagList, FlagMode, Flags, FlagsChanged, Listed,
    MailboxId, Message, NewMessage, Selected, Status, Uids, Wake,
};
use mail::UnixTime;
use store::{
    Append, Body, Expunge, FlagUpdate, Reader, Registration, Store, StoreError, Subscription, Watch,
};

use super::filters::Trainer;

/// Octets of an appended message that are kept in memory; a larger one waits in a file until it is whole.
const APPEND_MEMORY_OCTETS: usize = 256 * 1024;

/// What the sessions of a Home share.
#[derive(Clone)]
pub(crate) struct Accounts {
    /// The mailboxes.
    pub(crate) store: Arc<Store>,
    /// Where messages wait that are being appended; on the same disk as the store, as a rule.
    pub(crate) drafts: PathBuf,
    /// Tells the time.
    pub(crate) now: fn() -> UnixTime,
    /// Whom users teach what is spam, if anybody learns.
    pub(crate) trainer: Option<Trainer>,
}

/// The mailboxes of one session's account.
pub(crate) struct Mailboxes {
    accounts: Accounts,
    wake: Option<Wake>,
    login: Option<Login>,
    draft: Option<Draft>,
}

struct Login {
    account: String,
    watch: Watch,
    _registration: Option<Registration>,
    /// A generation of the account at which the mailbox had this mod-sequence, so that nothing need be asked.
    quiet: Option<(u64, MailboxId, u64)>,
}

/// A message that is coming in.
struct Draft {
    message: NewMessage,
    memory: Vec<u8>,
    file: Option<File>,
}

impl Mailboxes {
    /// For a session that has not logged in.
    #[must_use]
    pub(crate) fn new(accounts: Accounts) -> Self {
        Self { accounts, wake: None, login: None, draft: None }
    }

    fn account(&self) -> Result<&str, BackendError> {
        self.login.as_ref().map(|login| login.account.as_str()).ok_or(BackendError::Denied)
    }

    fn reader(&self) -> Result<Reader, BackendError> {
        self.accounts.store.reader(self.account()?).map_err(|error| refusal(&error))
    }

    /// Does something with the store and the account's name.
    fn change<T>(&self, work: impl FnOnce(&Store, &str) -> Result<T, StoreError>) -> Result<T, BackendError> {
        work(&self.accounts.store, self.account()?).map_err(|error| refusal(&error))
    }

    fn read_with<T>(&self, work: impl FnOnce(&Reader) -> Result<T, StoreError>) -> Result<T, BackendError> {
        work(&self.reader()?).map_err(|error| refusal(&error))
    }

    /// Has what was moved or copied learned, if the mailboxes say that it is spam or not. What can't be taught is
    /// no concern of the user's.
    fn teach(&self, from: store::MailboxId, to: &str, done: &store::Copied) {
        if let (Some(trainer), Ok(account), Ok(reader)) =
            (&self.accounts.trainer, self.account(), self.reader())
        {
            trainer.moved(&reader, account, from, to, done);
        }
    }

    fn mailbox(&self, reader: &Reader, name: &str) -> Result<store::Mailbox, BackendError> {
        reader.mailbox(name).map_err(|error| refusal(&error))?.ok_or(BackendError::NoMailbox)
    }
}

impl Backend for Mailboxes {
    fn on_change(&mut self, wake: Wake) {
        self.wake = Some(wake);
    }

    fn open(&mut self, account: &str) -> Result<(), BackendError> {
        let watch = self.accounts.store.watch(account).map_err(|error| refusal(&error))?;
        // An account that can't be opened is better told now than by each command.
        drop(self.accounts.store.reader(account).map_err(|error| refusal(&error))?);
        let registration = self.wake.clone().map(|wake| watch.on_change(move || wake()));
        self.login =
            Some(Login { account: account.to_owned(), watch, _registration: registration, quiet: None });
        Ok(())
    }

    fn mailboxes(&mut self) -> Result<Vec<Listed>, BackendError> {
        let mailboxes = self.read_with(Reader::mailboxes)?;
        let listed =
            |mailbox: store::Mailbox| Listed { name: mailbox.name, special_use: mailbox.special_use };
        Ok(mailboxes.into_iter().map(listed).collect())
    }

    fn subscriptions(&mut self) -> Result<Vec<String>, BackendError> {
        self.read_with(Reader::subscriptions)
    }

    fn create(&mut self, mailbox: &str) -> Result<(), BackendError> {
        self.change(|store, account| store.create_mailbox(account, mailbox, None)).map(|_| ())
    }

    fn delete(&mut self, mailbox: &str) -> Result<(), BackendError> {
        self.change(|store, account| store.delete_mailbox(account, mailbox))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), BackendError> {
        self.change(|store, account| store.rename_mailbox(account, from, to))
    }

    fn subscribe(&mut self, mailbox: &str) -> Result<(), BackendError> {
        self.change(|store, account| store.subscribe(account, mailbox, Subscription::On))
    }

    fn unsubscribe(&mut self, mailbox: &str) -> Result<(), BackendError> {
        self.change(|store, account| store.subscribe(account, mailbox, Subscription::Off))
    }

    fn status(&mut self, mailbox: &str) -> Result<Status, BackendError> {
        let reader = self.reader()?;
        let mailbox = self.mailbox(&reader, mailbox)?;
        let totals = reader.totals(mailbox.id).map_err(|error| refusal(&error))?;
        Ok(Status {
            messages: totals.messages,
            unseen: totals.unseen,
            deleted: totals.deleted,
            octets: totals.octets,
            uidnext: mailbox.uidnext,
            uidvalidity: mailbox.uidvalidity,
            modseq: mailbox.modseq,
        })
    }

    fn select(&mut self, mailbox: &str, each: &mut dyn FnMut(Message)) -> Result<Selected, BackendError> {
        let reader = self.reader()?;
        let mailbox = self.mailbox(&reader, mailbox)?;
        let messages = reader.each_message(mailbox.id, 1..=u32::MAX, |message| each(entry(message)));
        messages.map_err(|error| refusal(&error))?;
        Ok(Selected {
            id: MailboxId(mailbox.id.0),
            uidvalidity: mailbox.uidvalidity,
            uidnext: mailbox.uidnext,
            modseq: mailbox.modseq,
        })
    }

    fn changes(&mut self, mailbox: MailboxId, since: u64, uidnext: u32) -> Result<Changes, BackendError> {
        let login = self.login.as_ref().ok_or(BackendError::Denied)?;
        let generation = login.watch.generation();
        if login.quiet == Some((generation, mailbox, since)) {
            return Ok(Changes { modseq: since, uidnext, ..Changes::default() });
        }
        let changes = self.read_with(|reader| reader.changes(store::MailboxId(mailbox.0), since, uidnext))?;
        if let Some(login) = &mut self.login {
            login.quiet = Some((generation, mailbox, changes.modseq));
        }
        Ok(Changes {
            modseq: changes.modseq,
            uidnext: changes.uidnext,
            messages: changes.messages.into_iter().map(entry).collect(),
            vanished: changes.vanished,
        })
    }

    fn keywords(&mut self) -> Result<Vec<String>, BackendError> {
        self.read_with(Reader::keywords)
    }

    fn messages(
        &mut self,
        mailbox: MailboxId,
        uids: RangeInclusive<u32>,
        each: &mut dyn FnMut(Message),
    ) -> Result<(), BackendError> {
        let mailbox = store::MailboxId(mailbox.0);
        self.read_with(|reader| reader.each_message(mailbox, uids, |message| each(entry(message))))
    }

    fn read(
        &mut self,
        mailbox: MailboxId,
        uid: u32,
        offset: u64,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, BackendError> {
        self.read_with(|reader| reader.read_body(store::MailboxId(mailbox.0), uid, offset, length, out))
    }

    fn store(
        &mut self,
        mailbox: MailboxId,
        uids: &Uids,
        mode: FlagMode,
        flags: &FlagList,
    ) -> Result<FlagsChanged, BackendError> {
        let mode = match mode {
            FlagMode::Add => store::FlagMode::Add,
            FlagMode::Remove => store::FlagMode::Remove,
            FlagMode::Replace => store::FlagMode::Replace,
        };
        let update = FlagUpdate { mode, flags: named(flags), unchanged_since: None };
        let changed = self.change(|store, account| {
            store.update_flags(account, store::MailboxId(mailbox.0), uids, update)
        })?;
        let uids = changed.changed.into_iter().map(|(uid, _)| uid).collect();
        Ok(FlagsChanged { uids, modseq: changed.modseq })
    }

    fn copy(&mut self, from: MailboxId, uids: &Uids, to: &str) -> Result<Copied, BackendError> {
        let from = store::MailboxId(from.0);
        let done = self.change(|store, account| store.copy(account, from, to, uids))?;
        self.teach(from, to, &done);
        Ok(copied(done))
    }

    fn relocate(&mut self, from: MailboxId, uids: &Uids, to: &str) -> Result<Copied, BackendError> {
        let from = store::MailboxId(from.0);
        let done = self.change(|store, account| store.relocate(account, from, to, uids))?;
        self.teach(from, to, &done);
        Ok(copied(done))
    }

    fn expunge(&mut self, mailbox: MailboxId, uids: &Uids) -> Result<(), BackendError> {
        let mailbox = store::MailboxId(mailbox.0);
        self.change(|store, account| store.expunge(account, mailbox, uids, Expunge::Deleted)).map(|_| ())
    }

    fn append_begin(&mut self, message: &NewMessage) -> Result<(), BackendError> {
        self.mailbox(&self.reader()?, &message.mailbox)?;
        let file = if message.octets > APPEND_MEMORY_OCTETS as u64 {
            Some(tempfile::tempfile_in(&self.accounts.drafts).map_err(|error| draft_failed(&error))?)
        } else {
            None
        };
        self.draft = Some(Draft { message: message.clone(), memory: Vec::new(), file });
        Ok(())
    }

    fn append_piece(&mut self, octets: &[u8]) -> Result<(), BackendError> {
        let draft = self.draft.as_mut().ok_or(BackendError::Unavailable)?;
        match &mut draft.file {
            Some(file) => file.write_all(octets).map_err(|error| draft_failed(&error)),
            None => {
                draft.memory.extend_from_slice(octets);
                Ok(())
            }
        }
    }

    fn append_finish(&mut self) -> Result<Appended, BackendError> {
        let Draft { message, memory, file } = self.draft.take().ok_or(BackendError::Unavailable)?;
        let body = match file {
            Some(file) => Body::File(file, message.octets),
            None => Body::from(memory),
        };
        let append = Append {
            mailbox: message.mailbox,
            body,
            flags: named(&message.flags),
            internal_date: message.internal_date.unwrap_or_else(self.accounts.now),
        };
        let receipt = self.change(|store, account| store.append(account, append))?;
        Ok(Appended { uidvalidity: receipt.uidvalidity, uid: receipt.uid })
    }

    fn append_abort(&mut self) {
        self.draft = None;
    }
}

/// What a client is told of an error, and the log of one that is not the client's.
fn refusal(error: &StoreError) -> BackendError {
    match error {
        StoreError::NoMailbox => BackendError::NoMailbox,
        StoreError::MailboxExists => BackendError::MailboxExists,
        StoreError::MailboxName | StoreError::Inbox => BackendError::Refused(error.to_string()),
        StoreError::Limit(_) => BackendError::Limit(error.to_string()),
        _ => {
            tracing::error!(%error, "mailboxes");
            BackendError::Unavailable
        }
    }
}

fn draft_failed(error: &io::Error) -> BackendError {
    tracing::error!(%error, "a message that is appended can't be kept: check the disk and the drafts directory");
    BackendError::Unavailable
}

fn named(flags: &FlagList) -> store::FlagList {
    store::FlagList { system: store::Flags(flags.system.0), keywords: flags.keywords.clone() }
}

fn entry(message: store::Message) -> Message {
    Message {
        uid: message.uid,
        flags: Flags(message.flags.0),
        modseq: message.modseq,
        octets: message.octets,
        internal_date: message.internal_date,
    }
}

fn copied(copied: store::Copied) -> Copied {
    Copied { uidvalidity: copied.uidvalidity, uids: copied.uids }
}

#[cfg(test)]
mod tests {
    use imap::{Options, Session};
    use net::patience::Pressure;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio_util::sync::CancellationToken;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);

    struct Home {
        accounts: Accounts,
        _directory: tempfile::TempDir,
    }

    fn home() -> Home {
        let directory = tempfile::tempdir().unwrap();
        let store =
            Arc::new(Store::open(&directory.path().join("accounts"), store::Options::default()).unwrap());
        store.create_account("bob", NOW).unwrap();
        let accounts = Accounts { store, drafts: directory.path().into(), now: || NOW, trainer: None };
        Home { accounts, _directory: directory }
    }

    /// Lets in who knows the secret, until it is revoked.
    #[derive(Clone, Default)]
    struct Secret {
        revoked: CancellationToken,
        pressure: Pressure,
        logged_in: bool,
    }

    impl net::imap_server::Logins for Secret {
        async fn login(&mut self, given: imap::Credentials) -> Result<String, BackendError> {
            self.logged_in = given.password == "secret";
            self.logged_in.then_some(given.user).ok_or(BackendError::Denied)
        }

        fn pressure(&self) -> Pressure {
            self.pressure
        }

        fn revoked(&self) -> Option<CancellationToken> {
            self.logged_in.then(|| self.revoked.clone())
        }
    }

    struct Client {
        stream: DuplexStream,
        read: String,
    }

    impl Client {
        async fn new(home: &Home, stop: &CancellationToken) -> Self {
            Self::with(home, stop, Secret::default()).await
        }

        async fn with(home: &Home, stop: &CancellationToken, secret: Secret) -> Self {
            let (stream, server) = tokio::io::duplex(4096);
            let session = Session::new(Mailboxes::new(home.accounts.clone()), Options::default());
            let stop = stop.clone();
            tokio::spawn(async move { net::imap_server::serve(server, session, secret, &stop).await });
            let mut client = Self { stream, read: String::new() };
            client.until("\r\n").await;
            client
        }

        /// Reads up to and with `end`.
        async fn until(&mut self, end: &str) -> String {
            loop {
                if let Some(at) = self.read.find(end) {
                    let rest = self.read.split_off(at + end.len());
                    return std::mem::replace(&mut self.read, rest);
                }
                let mut octets = [0; 4096];
                let read = self.stream.read(&mut octets).await.unwrap();
                assert!(read > 0, "closed after {}", self.read);
                self.read.push_str(std::str::from_utf8(&octets[..read]).unwrap());
            }
        }

        async fn say(&mut self, text: &str) {
            self.stream.write_all(text.as_bytes()).await.unwrap();
        }

        async fn ok(&mut self, command: &str) -> String {
            self.say(&format!("t {command}\r\n")).await;
            let answer = self.until("t OK ").await;
            self.until("\r\n").await;
            answer
        }
    }

    fn deliver(home: &Home, text: &str) {
        let delivery = store::Delivery {
            item: None,
            mailbox: "INBOX".into(),
            head: b"Received: here\r\n".to_vec(),
            body: Body::from(text.as_bytes().to_vec()),
            flags: store::FlagList::default(),
            internal_date: NOW,
        };
        home.accounts.store.deliver_and_wait("bob", delivery).unwrap();
    }

    #[tokio::test]
    async fn a_client_reads_what_was_delivered_and_what_it_appended() {
        let home = home();
        let mut client = Client::new(&home, &CancellationToken::new()).await;
        client.say("x LOGIN bob wrong\r\n").await;
        assert!(client.until("\r\n").await.starts_with("x NO [AUTHENTICATIONFAILED]"));
        client.ok("LOGIN bob secret").await;
        deliver(&home, "Subject: hi\r\n\r\nbody\r\n");
        assert!(client.ok("SELECT INBOX").await.contains("* 1 EXISTS"));
        let fetched = client.ok("FETCH 1 BODY[]").await;
        assert!(
            fetched.contains("Received: here\r\nSubject: hi\r\n\r\nbody\r\n FLAGS (\\Seen))"),
            "{fetched}"
        );
        let large = format!("Subject: large\r\n\r\n{}", "0123456789\r\n".repeat(100_000));
        let appended = client.ok(&format!("APPEND INBOX ($x) {{{}+}}\r\n{large}", large.len())).await;
        assert!(appended.contains("* 2 EXISTS"), "{appended}");
        let fetched = client.ok("FETCH 2 (FLAGS BODY.PEEK[])").await;
        assert!(fetched.contains("FLAGS ($x)") && fetched.contains(&large));
        assert!(client.ok("LIST (SPECIAL-USE) \"\" *").await.contains("\\Sent) \"/\" Sent"));
        let moved = client.ok("MOVE 1:* Archive").await;
        assert!(moved.contains("COPYUID") && moved.contains("* 2 EXPUNGE\r\n* 1 EXPUNGE"), "{moved}");
        assert!(client.ok("STATUS Archive (MESSAGES)").await.contains("(MESSAGES 2)"));
    }

    /// Symptom: 500 silent connections locked the port. Cause: a minute for each, however few places were left.
    #[tokio::test(start_paused = true)]
    async fn a_login_has_a_deadline_that_single_octets_do_not_move_and_that_comes_sooner_when_places_fill() {
        let home = home();
        for (pressure, seconds) in [(Pressure::NONE, 60..=70), (Pressure::of(1, 1), 10..=20)] {
            let secret = Secret { pressure, ..Secret::default() };
            let mut client = Client::with(&home, &CancellationToken::new(), secret).await;
            let began = tokio::time::Instant::now();
            while client.stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_secs(5)).await;
            }
            assert!(seconds.contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        }
    }

    /// Symptom: a removed account's session went on reading. Cause: nothing told it.
    #[tokio::test]
    async fn a_session_whose_login_is_revoked_ends_with_bye_while_it_idles_and_before_its_next_command() {
        let home = home();
        for idles in [true, false] {
            let secret = Secret::default();
            let mut client = Client::with(&home, &CancellationToken::new(), secret.clone()).await;
            client.ok("LOGIN bob secret").await;
            client.ok("SELECT INBOX").await;
            if idles {
                client.say("t IDLE\r\n").await;
                client.until("+ idling\r\n").await;
            }
            secret.revoked.cancel();
            assert!(client.until("\r\n").await.starts_with("* BYE"), "{idles}");
            let mut rest = Vec::new();
            client.stream.read_to_end(&mut rest).await.unwrap();
            assert!(rest.is_empty());
        }
    }

    #[tokio::test]
    async fn an_idling_client_hears_of_new_mail_and_of_the_end_of_the_service() {
        let home = home();
        let stop = CancellationToken::new();
        let mut client = Client::new(&home, &stop).await;
        client.ok("LOGIN bob secret").await;
        client.ok("SELECT INBOX").await;
        client.say("t IDLE\r\n").await;
        client.until("+ idling\r\n").await;
        deliver(&home, "Subject: hi\r\n\r\n");
        assert_eq!(client.until("\r\n").await, "* 1 EXISTS\r\n");
        client.say("DONE\r\n").await;
        client.until("t OK no longer idling\r\n").await;
        stop.cancel();
        assert!(client.until("\r\n").await.starts_with("* BYE"));
    }
}
