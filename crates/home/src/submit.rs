//! Submission: what users' programs hand in (RFC 6409), from the login to the queue's receipt.
//!
//! A [`Submit`] is shared by all sessions; a [`Submission`] is one session. A user sends under his own
//! addresses only, in the envelope and in the header. The reply is positive only with the queue's receipt in
//! hand. Whether and when anything is tried is not decided here.

mod leak;
mod message;
mod sign;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use content::Budget;
use daemon::clock::Clock;
use daemon::system;
use daemon::trace::Trace;
use directory::OnLeak;
use directory::Pass;
use directory::logins::{Client as Caller, Logins, Refused};
use directory::{AccountId, Directory};
use directory::{Allowance, Exceeded};
use link::{Event, Role, TraceStep};
use mail::require_tls;
use mail::{Client, Envelope, ItemId, Recipient, Reply, ReversePath};
use net::patience::Patience;
use net::port_places::Place;
use net::smtp_server::{Answers, Service};
use outbound::items::ItemsError;
use outbound::queue::{Queue, QueueError, QueueState};
use smtp::server::{Cause, MailFrom, Secret};
use tokio_util::sync::CancellationToken;

use self::message::Message;
use super::dkim::DomainKeys;
use super::outgoing_header::{self, Facts, Rewritten};
use super::own_host::{self, OwnHost};
use super::round_trips::ECHO;
use super::seen_at::SeenAt;
use crate::reports::Notices;

/// The port's name in the log; fail2ban reads it.
pub(crate) const SERVICE: &str = "submission";
/// Longest part of a field's name that is written to the log.
const LOGGED_NAME_CHARS_MAX: usize = 100;

/// Everything that submission needs.
pub(crate) struct Submit {
    directory: Directory,
    logins: Logins,
    queue: Queue,
    hostname: String,
    seen_at: SeenAt,
    keys: DomainKeys,
    trace: Trace,
    allowance: Allowance,
    notices: Notices,
    own_host: own_host::Remembered,
    /// Where bodies go that are too large for memory.
    scratch: Arc<Path>,
    /// Memory for bodies.
    memory: Budget,
    clock: Arc<dyn Clock>,
}

/// The parts that [`Submit`] works with.
pub(crate) struct Parts {
    /// Accounts and aliases.
    pub directory: Directory,
    /// The check of names and passwords.
    pub logins: Logins,
    /// The outbound queue.
    pub queue: Queue,
    /// The host name in the trace field: what the world sees, never Home's.
    pub hostname: String,
    /// Where the edges see this home: an address that must not leave.
    pub seen_at: SeenAt,
    /// The DKIM keys that sign the messages.
    pub keys: DomainKeys,
    /// The trace.
    pub trace: Trace,
    /// Notices to the operator.
    pub notices: Notices,
    /// A directory for files without a name.
    pub scratch: Arc<Path>,
    /// Memory for the bodies of all sessions.
    pub memory: Budget,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl Submit {
    /// The service behind the submission port.
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts {
            directory,
            logins,
            queue,
            hostname,
            seen_at,
            keys,
            trace,
            notices,
            scratch,
            memory,
            clock,
        } = parts;
        let (allowance, own_host) = (Allowance::default(), own_host::Remembered::default());
        Arc::new(Self {
            directory,
            logins,
            queue,
            hostname,
            seen_at,
            keys,
            trace,
            allowance,
            notices,
            own_host,
            scratch,
            memory,
            clock,
        })
    }

    /// The service of one session with the client that has this place.
    pub(crate) fn session(self: &Arc<Self>, place: Place) -> Submission {
        Submission {
            submit: Arc::clone(self),
            place,
            pass: None,
            recipients_octets: 0,
            abroad: 0,
            transaction: None,
        }
    }
}

/// One session of a user's mail program.
pub(crate) struct Submission {
    submit: Arc<Submit>,
    place: Place,
    pass: Option<Pass>,
    /// Octets that the recipients so far take in a frame on the link.
    recipients_octets: usize,
    /// The number of recipients that are not here.
    abroad: u32,
    transaction: Option<Transaction>,
}

/// A message that is coming in.
struct Transaction {
    account: AccountId,
    envelope: Envelope,
    message: Message,
}

impl Submission {
    /// Who has logged in and still may be here.
    fn account(&self) -> Option<&AccountId> {
        self.pass.as_ref().filter(|pass| !pass.is_revoked()).map(Pass::account)
    }
}

impl Service for Submission {
    async fn login(&mut self, user: &str, password: &Secret) -> (Option<String>, Reply) {
        let caller = Caller { ip: self.place.ip(), service: SERVICE };
        match self.submit.logins.check(user, password.expose(), caller).await {
            Ok(pass) => {
                self.place.know();
                let account = self.pass.insert(pass).account().to_string();
                (Some(account), Reply::new(235, (2, 7, 0), "logged in"))
            }
            Err(Refused::Wrong) => (
                None,
                Reply::new(
                    535,
                    (5, 7, 8),
                    "user name or password is wrong; the user name is the whole address",
                ),
            ),
            // RFC 4954 section 6: a mail program keeps its password and comes again.
            Err(Refused::Later) => (None, Reply::new(454, (4, 7, 0), "not now; try again later")),
        }
    }

    fn patience(&self) -> Patience {
        match self.pass {
            Some(_) => Patience::FULL,
            None => Patience::FULL.until_login().under(self.place.pressure()),
        }
    }

    fn revoked(&self) -> Option<CancellationToken> {
        self.pass.as_ref().map(Pass::revoked)
    }

    async fn mail(&mut self, client: &Client, from: &MailFrom) -> Reply {
        self.transaction = None;
        (self.recipients_octets, self.abroad) = (0, 0);
        let Some(account) = self.account().filter(|_| client.login.is_some()) else {
            return log_in_first();
        };
        if let ReversePath::Address(address) = &from.reverse_path
            && !self.submit.directory.may_send_as(account, address)
        {
            return outgoing_header::not_yours(address);
        }
        if !self.submit.queue.has_room_for(from.size.unwrap_or(0)) {
            return queue_full();
        }
        Reply::new(250, (2, 1, 0), "sender taken")
    }

    async fn recipient(&mut self, _client: &Client, recipient: &Recipient) -> Reply {
        let directory = &self.submit.directory;
        let address = &recipient.address;
        let here = directory.is_local_domain(address.domain());
        if here && directory.resolve(address).is_none() {
            return Reply::new(550, (5, 1, 1), format!("there is no {address} here"));
        }
        let abroad = self.submit.abroad(address);
        if !here && abroad > 0 && !directory.policy().sends {
            return sending_is_off();
        }
        if abroad > 0
            && let Some(account) = self.account()
        {
            let wanted = self.abroad.saturating_add(abroad);
            let limits = &directory.policy().sending;
            let room = self.submit.allowance.check(limits, account.as_str(), wanted, self.submit.clock.now());
            if let Err(exceeded) = room {
                return self.submit.too_much(account, &exceeded).await;
            }
            self.abroad = wanted;
        }
        self.recipients_octets += link::recipient_octets(recipient);
        if self.recipients_octets > link::RECIPIENTS_OCTETS_MAX {
            return Reply::new(
                452,
                (4, 5, 3),
                "too many long recipients; send to the rest in another message",
            );
        }
        Reply::new(250, (2, 1, 5), "recipient taken")
    }

    async fn data(&mut self, envelope: Envelope) -> Result<(), Reply> {
        let account = self.account().cloned().ok_or_else(log_in_first)?;
        if !self.submit.queue.has_room_for(0) {
            return Err(queue_full());
        }
        let message = Message::new(Arc::clone(&self.submit.scratch), self.submit.memory.clone());
        self.transaction = Some(Transaction { account, envelope, message });
        Ok(())
    }

    async fn body(&mut self, piece: Bytes) {
        if let Some(transaction) = &mut self.transaction {
            transaction.message.push(piece).await;
        }
    }

    async fn end(&mut self) -> Answers {
        match self.transaction.take() {
            // Its password was changed, or the account removed, while the message came in.
            Some(_) if self.account().is_none() => no_longer().into(),
            Some(transaction) => match self.submit.take(transaction).await {
                Ok(item) => Reply::new(250, (2, 0, 0), format!("queued as {item}")).into(),
                Err(refusal) => refusal.into(),
            },
            None => try_later().into(),
        }
    }

    async fn aborted(&mut self, _cause: Cause) {
        self.transaction = None;
    }
}

impl Submit {
    /// An account wants to send more than it may: the reply, and a word to the operator, once a day.
    async fn too_much(&self, account: &AccountId, exceeded: &Exceeded) -> Reply {
        let Exceeded { limit, hours, until, news } = exceeded;
        let until = until.rfc5322();
        let span = if *hours == 1 { "an hour".to_owned() } else { format!("{hours} hours") };
        if *news {
            let accounts = self.directory.accounts().into_iter();
            let mut address =
                accounts.filter(|(id, _)| id == account).map(|(_, address)| address.to_string());
            let account = address.next().unwrap_or_else(|| account.to_string());
            tracing::warn!(%account, limit, hours, %until, "an account reached its sending limit");
            self.trace.event(
                None,
                TraceStep::Limited,
                format!("{account} sent to {limit} recipients in {span}"),
            );
            self.notices
                .tell(
                    &format!("{account} reached the sending limit"),
                    &format!(
                        "The account {account} has sent to {limit} recipients in {span} and wants to send more.\n\
                         It may go on at {until}.\n\n\
                         If this is its owner: raise [sending] in home.toml and send SIGHUP.\n\
                         If not, the password is in other hands: change it now with\n\n\
                         \x20   postern user password {account}\n\n\
                         and look with 'postern queue list' at what waits to be sent."
                    ),
                )
                .await;
        }
        Reply::new(
            450,
            (4, 7, 1),
            format!("{limit} recipients in {span} is your limit; go on at {until}, or ask your operator"),
        )
    }

    /// Sends a message of Home's own as that account's mail program would: what is done with users' mail is done with it.
    ///
    /// # Errors
    /// The reply that refuses it.
    pub(crate) async fn send_as(
        &self,
        account: AccountId,
        envelope: Envelope,
        message: Bytes,
    ) -> Result<ItemId, Reply> {
        let mut written = Message::new(Arc::clone(&self.scratch), self.memory.clone());
        written.push(message).await;
        self.take(Transaction { account, envelope, message: written }).await
    }

    /// The machine that Home runs on.
    pub(crate) fn own_host(&self) -> Arc<OwnHost> {
        self.own_host.at(self.clock.now())
    }

    /// Checks the message, makes it fit to leave, and queues it: its id.
    async fn take(&self, transaction: Transaction) -> Result<ItemId, Reply> {
        let Transaction { account, envelope, message } = transaction;
        let message = message.finish()?;
        let facts = Facts {
            item: self.clock.new_item_id(),
            edge_hostname: &self.hostname,
            now: self.clock.now(),
            random: u128::from_le_bytes(system::random()),
            smtputf8: envelope.smtputf8,
            date_zone: self.directory.policy().date_zone,
        };
        let abroad = envelope.recipients.iter().map(|recipient| self.abroad(&recipient.address)).sum();
        let may_send_as = |address: &mail::Address| self.directory.may_send_as(&account, address);
        let is_local = |domain: &mail::Domain| self.directory.is_local_domain(domain);
        self.still_may(&envelope, abroad, may_send_as)?;
        let Rewritten { header, author } =
            outgoing_header::rewrite(&message.header, &facts, may_send_as, is_local)?;
        let header = self.without_leaks(header, &account, &envelope, &facts)?;
        let header = require_tls::for_next(header, &envelope);
        let header = sign::signed(&self.keys, author.domain(), header, &message.hashes, facts.now)?;
        let limits = &self.directory.policy().sending;
        if let Err(exceeded) = self.allowance.spend(limits, account.as_str(), abroad, facts.now) {
            return Err(self.too_much(&account, &exceeded).await);
        }
        let item = facts.item;
        let mut state = QueueState::new(item, account.to_string(), envelope, facts.now);
        state.utf8_header = !header.is_ascii();
        state.bulk = outgoing_header::is_bulk(&header);
        state.tls_optional = outgoing_header::is_tls_optional(&header) && !state.envelope.require_tls;
        state.eight_bit = state.utf8_header || message.eight_bit;
        let detail = format!(
            "from <{}> to {} recipients{}",
            state.envelope.reverse_path,
            state.recipients.len(),
            message_id_of(&header)
        );
        let receipt = self.queue.append(state, header, message.content).await;
        let receipt = receipt.map_err(|error| {
            self.allowance.give_back(account.as_str(), abroad);
            refusal(&error)
        })?;
        // Dated when it was taken: the first attempt may be traced before this line is.
        self.trace.write(Event {
            at: facts.now,
            role: Role::Home,
            edge: None,
            item: Some(item),
            step: TraceStep::Queued.word().to_owned(),
            detail,
        });
        Ok(receipt.item())
    }
}

impl Submit {
    /// To how many addresses abroad mail to this one goes. The test address of an edge of ours is none: what is sent there comes
    /// back.
    fn abroad(&self, address: &mail::Address) -> u32 {
        let policy = self.directory.policy();
        let is_edge = policy.edges.iter().any(|edge| edge.eq_ignore_ascii_case(address.domain().as_str()));
        // An edge that is called as a domain of this home has none: somebody here is called so.
        let is_here = self.directory.is_local_domain(address.domain());
        if is_edge && !is_here && address.local().eq_ignore_ascii_case(ECHO) {
            return 0;
        }
        self.directory.abroad(address)
    }

    /// Whether what was allowed at MAIL and RCPT still is: aliases and the configuration change while a message comes in.
    fn still_may(
        &self,
        envelope: &Envelope,
        abroad: u32,
        may_send_as: impl Fn(&mail::Address) -> bool,
    ) -> Result<(), Reply> {
        if let ReversePath::Address(address) = &envelope.reverse_path
            && !may_send_as(address)
        {
            return Err(outgoing_header::not_yours(address));
        }
        if abroad > 0 && !self.directory.policy().sends {
            return Err(sending_is_off());
        }
        Ok(())
    }

    /// The header section as it may leave the house. One that still names it is refused, and the operator told.
    fn without_leaks(
        &self,
        header: Vec<u8>,
        account: &AccountId,
        envelope: &Envelope,
        facts: &Facts<'_>,
    ) -> Result<Vec<u8>, Reply> {
        let leaves = |recipient: &Recipient| self.directory.abroad(&recipient.address) > 0;
        if !envelope.recipients.iter().any(leaves) {
            return Ok(header);
        }
        let policy = self.directory.policy();
        let client = envelope.client.as_ref();
        let login = self.directory.address_of(account);
        let shown = |address: &&mail::Address| {
            envelope.reverse_path.address().is_some_and(|path| path == *address)
                || envelope.recipients.iter().any(|recipient| recipient.address == **address)
        };
        let login = login.as_ref().filter(|address| !shown(address)).map(ToString::to_string);
        let edges = policy.edges.iter().map(String::as_str).chain([facts.edge_hostname]);
        let domains = policy.domains.iter().map(mail::Domain::as_str);
        let public: Vec<String> = edges.chain(domains).map(str::to_ascii_lowercase).collect();
        let private = leak::Private {
            own: &self.own_host.at(facts.now),
            seen_at: &self.seen_at.addresses(),
            client: client.map(|client| client.ip),
            helo: client.map_or("", |client| &client.helo),
            account: login.as_deref(),
            public: &public,
        };
        let header = leak::without_own_ids(header, &private);
        let Some((field, what)) = leak::find(&header, &private) else { return Ok(header) };
        let name: String =
            field.name.escape_ascii().to_string().chars().take(LOGGED_NAME_CHARS_MAX).collect();
        tracing::error!(
            %account,
            field = name,
            what = what.as_str(),
            action = policy.on_leak.as_str(),
            "a message would tell what it must not; its program writes that field: switch it off there, or see \
             [submission] on_leak"
        );
        if policy.on_leak == OnLeak::Log {
            return Ok(header);
        }
        self.trace.write(Event {
            at: facts.now,
            role: Role::Home,
            edge: None,
            item: Some(facts.item),
            step: TraceStep::Refused.word().to_owned(),
            detail: format!("the field {name} of {account}'s message tells {}", what.as_str()),
        });
        // Ours is not the user's to mend.
        let text = format!("not sent, because its field {name} would tell everybody {}", what.as_str());
        Err(if field.is("Received") { try_later() } else { Reply::new(550, (5, 7, 1), text) })
    }
}

/// For the trace, so that a message is found by its `Message-ID`.
fn message_id_of(header: &[u8]) -> String {
    let field = mail::header::find(header, "Message-ID");
    field.map(|field| format!(", message-id {}", field.unfolded())).unwrap_or_default()
}

fn refusal(error: &QueueError) -> Reply {
    match error {
        QueueError::Items(ItemsError::Full { .. }) => queue_full(),
        error => {
            tracing::error!(%error, "a message could not be queued; its sender was asked to try again");
            try_later()
        }
    }
}

fn log_in_first() -> Reply {
    Reply::new(530, (5, 7, 0), "log in first")
}

fn no_longer() -> Reply {
    Reply::new(454, (4, 7, 0), "your login is no longer valid: log in again")
}

fn sending_is_off() -> Reply {
    let text = "sending to the world is off: the operator turns it on with outbound = \"on\" in home.toml";
    Reply::new(550, (5, 7, 1), text)
}

fn queue_full() -> Reply {
    Reply::new(452, (4, 3, 1), "the queue is full; try again later")
}

fn try_later() -> Reply {
    Reply::new(451, (4, 3, 0), "the message could not be kept; try again later")
}
