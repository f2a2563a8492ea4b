//! Mail from the internet: what Edge answers to the clients of its port 25.

mod foreign;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use daemon::clock::Clock;
use daemon::mail_line::{MailLine, Way};
use daemon::trace::Trace;
use link::notification::{self, Form, Known, NO_SUCH_RECIPIENT, Sender};
use link::{Open, TraceStep};
use mail::header_section;
use mail::{
    Address, Client, Envelope, ItemId, Place, Recipient, Reply, ReversePath, Sign, UnixTime, Verdict,
};
use mailauth::spf::Spf;
use net::patience::{Patience, Pressure};
use net::smtp_server::{Answers, Early, Service};
use smtp::server::{Cause, MailFrom, Secret};

use super::begun::Begun;
use super::door::{Admission, Door};
use super::foreign::ForeignHomes;
use super::greylist::{Greyed, Greylist};
use super::handoff::{HandOffs, Telling};
use super::homes::{Home, Homes};
use super::incoming::{Incoming, Target};
use super::judge::{self, Circumstances, Examination, Judges, Ruling, Taken};
use super::score;
use super::visitor::{self, Visitor};

/// Unknown recipients of a session after which its replies come slowly (tarpitting).
const UNKNOWN_BEFORE_DELAY: u32 = 3;
/// How slowly. Only as long as there are places to spare: it costs a timer and nothing else.
const DELAY: Duration = Duration::from_secs(3);

/// Replies of one session of which nothing shows yet that they were read.
const UNHEARD_MAX: usize = 8;

/// The parts of Edge that all SMTP sessions share.
pub(crate) struct Reception {
    /// Homes that are paired, and their recipients.
    pub homes: Arc<Homes>,
    /// Homes that are other programs, and their recipients.
    pub foreign: Arc<ForeignHomes>,
    /// The hand-offs that take messages to paired homes.
    pub hand_offs: Arc<HandOffs>,
    /// The door: it limits who may connect, and how often.
    pub door: Arc<Door>,
    /// The checks of clients and messages.
    pub judges: Judges,
    /// The list of suspicious clients that are told to come again later.
    pub greylist: Arc<Greylist>,
    /// The trace.
    pub trace: Trace,
    /// The time that a client waits for the greeting.
    pub greet_pause: Duration,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl Reception {
    /// Lets a client in, if there is a place for it.
    ///
    /// # Errors
    /// The 421 that turns it away.
    pub(crate) fn admit(&self, ip: IpAddr) -> Result<Admission, Reply> {
        let now = self.clock.now().as_secs();
        self.door.admit(ip, self.greylist.standing(ip, now), now)
    }

    /// What the most generous home takes; `None` while there is no home.
    pub(crate) fn message_octets_max(&self) -> Option<u64> {
        let kept = self.homes.list().into_iter().filter_map(|home| home.kept());
        kept.map(|kept| kept.snapshot.message_octets_max).chain(self.foreign.message_octets_max()).max()
    }
}

/// One SMTP session's view of Edge.
pub(crate) struct Receive {
    shared: Arc<Reception>,
    admission: Admission,
    /// What DNS says about the client, asked for since it connected.
    asking: Option<Begun<Visitor>>,
    visitor: Visitor,
    /// Signs of the client's behaviour.
    signs: Vec<Sign>,
    unknown_recipients: u32,
    /// Boxed, as the message is: a session that idles has little.
    transaction: Box<Transaction>,
    message: Option<Box<(Incoming, Examination)>>,
    /// Messages that were answered 250, which nothing shows yet to have been read: the last one, or some when the client
    /// does not wait for replies.
    unheard: Vec<(Arc<Home>, ItemId)>,
}

/// What is known of the transaction that is going on.
#[derive(Default)]
struct Transaction {
    reverse_path: Option<ReversePath>,
    /// Whether the client asked for a reply per recipient.
    telling: Telling,
    /// The check of the reverse-path that was begun, then its result.
    asking_spf: Option<Begun<Spf>>,
    spf: Option<Spf>,
    /// Signs of the name that the client calls itself by, and of SPF.
    signs: Vec<Sign>,
    /// The home that the first recipient belongs to.
    home: Option<Target>,
    recipients: usize,
    /// How the last recipient is known: a notification has one, and its address may have to carry a tag.
    known: Known,
    /// What the recipients so far take of a frame.
    recipients_octets: usize,
    /// The answer of the greylist, once it was asked.
    greyed: Option<Greyed>,
    envelope: Option<Envelope>,
}

impl Transaction {
    /// Whether it has the null reverse-path, as a notification has (RFC 5321 section 4.5.5).
    fn is_notification(&self) -> bool {
        self.reverse_path.as_ref().is_some_and(|path| path.address().is_none())
    }
}

impl Receive {
    /// A new session of a client that was let in.
    pub(crate) fn new(shared: Arc<Reception>, admission: Admission) -> Self {
        Self {
            shared,
            admission,
            asking: None,
            visitor: Visitor::default(),
            signs: Vec::new(),
            unknown_recipients: 0,
            transaction: Box::default(),
            message: None,
            unheard: Vec::new(),
        }
    }

    /// Takes a recipient if it is known and its envelope will still fit a frame.
    fn take_recipient(&mut self, recipient: &Recipient) -> Reply {
        if let Some(refusal) = self.no_more_recipients(recipient) {
            return refusal;
        }
        let reply = self.check_recipient(&recipient.address, self.shared.clock.now());
        if reply.is_positive() {
            self.count_recipient(recipient);
        }
        reply
    }

    /// Why the message gets no further recipient, whoever it is.
    fn no_more_recipients(&self, recipient: &Recipient) -> Option<Reply> {
        let octets = self.transaction.recipients_octets + link::recipient_octets(recipient);
        let text = if octets > link::RECIPIENTS_OCTETS_MAX {
            "Too many long recipients; send to the rest in another transaction"
        } else if self.transaction.is_notification() && self.transaction.recipients > 0 {
            // A notification is for the one who sent the message (RFC 3464 section 2).
            "A message with the null reverse-path has one recipient"
        } else {
            return None;
        };
        Some(Reply::new(452, (4, 5, 3), text))
    }

    fn count_recipient(&mut self, recipient: &Recipient) {
        self.transaction.recipients_octets += link::recipient_octets(recipient);
        self.transaction.recipients += 1;
    }

    /// A message has one home: recipients of another are asked for in a transaction of their own.
    fn of_another_home(&self, target: &Target) -> Option<Reply> {
        let first = self.transaction.home.as_ref()?;
        let text = "Send to this recipient in a transaction of its own";
        (!first.is_same(target)).then(|| Reply::new(452, (4, 5, 3), text))
    }

    fn check_recipient(&mut self, address: &Address, now: UnixTime) -> Reply {
        let routed = match address.local().eq_ignore_ascii_case("postmaster") {
            // "postmaster" without a domain is this host's: it goes to the first home that serves anything.
            true => self.shared.homes.route(address.domain()).or_else(|| self.shared.homes.first_serving()),
            false => self.shared.homes.route(address.domain()),
        };
        let Some((home, kept)) = routed else {
            return Reply::new(
                550,
                (5, 7, 1),
                "This host takes no mail for that domain: relaying is not offered",
            );
        };
        if self.transaction.reverse_path.as_ref().is_some_and(|path| !kept.snapshot.reads(path)) {
            return Reply::new(553, (5, 1, 7), "The sender's address is too long for this recipient's host");
        }
        let sender = if self.transaction.is_notification() { Sender::Nobody } else { Sender::Somebody };
        match notification::check_recipient(&kept.snapshot, address, sender, now) {
            Ok(known) => self.transaction.known = known,
            Err(refusal) => return refusal,
        }
        let target = Target::Paired(home, kept);
        if let Some(refusal) = self.of_another_home(&target) {
            return refusal;
        }
        self.transaction.home.get_or_insert(target);
        Reply::new(250, (2, 1, 5), "Recipient ok")
    }
}

impl Receive {
    /// Waits for what was asked about the client and the reverse-path; asked once in a transaction.
    async fn know_client(&mut self, client: &Client) {
        if let Some(asking) = self.asking.take() {
            self.visitor = visitor::wait(asking).await;
        }
        if let Some(asking) = self.transaction.asking_spf.take() {
            let judges = &self.shared.judges;
            let (spf, helo) = tokio::join!(asking, Box::pin(judges.visitors.helo(client)));
            self.transaction.signs = helo;
            if let Ok(spf) = spf {
                self.transaction.signs.extend(judges.spf_signs(&spf));
                self.transaction.spf = Some(spf);
            }
        }
    }

    /// Everything known of the client.
    fn client_signs(&self) -> Vec<Sign> {
        [&self.signs, &self.visitor.signs, &self.transaction.signs].into_iter().flatten().cloned().collect()
    }

    /// Whether the client is so suspicious that it gets no further, or has to come again.
    fn suspicion(&mut self, client: &Client) -> Option<Reply> {
        let signs = self.client_signs();
        let (total, table) = (score::total(&signs), &self.shared.judges.visitors.table);
        if total >= table.reject_from {
            let names: Vec<&str> = signs.iter().map(|sign| sign.name.as_str()).collect();
            self.tell(TraceStep::Refused, client, &signs);
            let text = format!("Your host is refused: {}", names.join(", "));
            let text = match &self.transaction.spf {
                Some(spf) => judge::with_explanation(text, spf),
                None => text,
            };
            return Some(Reply::new(554, (5, 7, 1), text));
        }
        if total < table.greylist_from || !self.shared.judges.policy.greylist {
            return None;
        }
        let reverse_path = self.transaction.reverse_path.clone().unwrap_or(ReversePath::Null);
        let ask = || {
            self.shared.greylist.ask(
                client.ip,
                &reverse_path,
                &client.helo,
                self.shared.clock.now().as_secs(),
            )
        };
        let greyed = self.transaction.greyed.unwrap_or_else(ask);
        self.transaction.greyed = Some(greyed);
        match greyed {
            Greyed::Passes(_) => None,
            Greyed::Waits(seconds) => {
                self.tell(TraceStep::Greylisted, client, &signs);
                Some(Reply::new(
                    451,
                    (4, 7, 1),
                    format!("Your host is not known here; come again in {seconds} s"),
                ))
            }
        }
    }

    /// One event for the trace: domains only, no local parts.
    fn tell(&self, step: TraceStep, client: &Client, signs: &[Sign]) {
        let path = self.transaction.reverse_path.as_ref().and_then(ReversePath::address);
        let sender = path.map_or("<>", |address| address.domain().as_str());
        let why = score::explain(signs);
        let detail = format!("from {sender} by {} ({}): {why}", client.ip, client.helo);
        self.shared.trace.event(None, step, detail);
        let code = if step == TraceStep::Greylisted { 451 } else { 554 };
        self.shared.trace.passed(&MailLine {
            way: Way::In,
            item: None,
            from: sender,
            to: "-",
            recipients: 0,
            octets: 0,
            verdict: step.word(),
            code,
            peer: &client.ip,
            why: Some(&why),
        });
    }

    async fn unknown(&mut self) {
        self.unknown_recipients += 1;
        self.admission.unknown_recipient(self.shared.clock.now().as_secs());
        let spare = self.shared.door.pressure() == Pressure::NONE;
        if self.unknown_recipients > UNKNOWN_BEFORE_DELAY && spare {
            tokio::time::sleep(DELAY).await;
        }
    }

    /// Hands a message off. Who delivers what is no junk is known from then on.
    async fn deliver(&mut self, message: Incoming, verdict: Verdict) -> Answers {
        let wanted = verdict.place == Place::Inbox;
        let identity = message.identity();
        let answers = message.finish(verdict, self.transaction.telling).await;
        if answers.all.is_positive() {
            self.answered(identity);
            if wanted {
                self.admission.know();
                self.shared.greylist.has_delivered(self.admission.ip(), self.shared.clock.now().as_secs());
            }
        }
        answers
    }

    /// Judges a message that is whole and hands it off.
    async fn conclude(&mut self, mut message: Incoming, mut examination: Examination) -> Answers {
        let shared = Arc::clone(&self.shared);
        if let Some(header) = examination.end(&shared.judges) {
            message.body(&header).await;
        }
        let limit = self.transaction.home.as_ref().map_or(u64::MAX, Target::message_octets_max);
        if examination.hops() > header_section::HOPS_MAX {
            message.abort();
            return Reply::new(554, (5, 4, 6), "The message has passed too many hosts: it loops").into();
        }
        if message.octets() > limit {
            message.abort();
            return Reply::new(552, (5, 3, 4), format!("The message is larger than {limit} octets")).into();
        }
        let known = self.transaction.known;
        if known == Known::UnlessFailureNotice && Form::of(examination.header()).is_failure_notice() {
            let reply = notification::refuse_untagged();
            message.refused(&reply, "no tag");
            return reply.into();
        }
        let signs = self.client_signs();
        let (Some(spf), Some(envelope)) = (self.transaction.spf.take(), self.transaction.envelope.take())
        else {
            message.abort();
            return lost().into();
        };
        let around = Circumstances { visitor: &self.visitor, signs, envelope: &envelope, known };
        match examination.judge(&shared.judges, spf, around).await {
            Ruling::Deliver(verdict) => self.deliver(message, verdict).await,
            Ruling::Refuse(reply, signs) => {
                message.refused(&reply, &score::explain(&signs));
                reply.into()
            }
        }
    }
}

impl Receive {
    /// The message was answered 250. What is forgotten here is delivered twice, should it come again.
    fn answered(&mut self, identity: Option<(Arc<Home>, ItemId)>) {
        if self.unheard.len() >= UNHEARD_MAX {
            self.unheard.remove(0);
        }
        self.unheard.extend(identity);
    }
}

fn lost() -> Reply {
    Reply::new(451, (4, 3, 0), "The message was lost here; send it again")
}

impl Service for Receive {
    async fn connected(&mut self, ip: IpAddr) -> Result<Duration, Reply> {
        self.asking = Some(self.shared.judges.visitors.begin(ip));
        Ok(self.shared.greet_pause)
    }

    fn talked_early(&mut self, when: Early) {
        let row = match when {
            Early::Greeting => {
                self.erred(1);
                "pregreet"
            }
            Early::Hello => "early-talker",
        };
        self.signs.extend(self.shared.judges.visitors.table.sign(row, ""));
    }

    fn erred(&mut self, errors: u32) {
        let now = self.shared.clock.now().as_secs();
        for _ in 0..errors {
            self.admission.error(now);
        }
    }

    fn patience(&self) -> Patience {
        self.admission.patience()
    }

    async fn login(&mut self, _user: &str, _password: &Secret) -> (Option<String>, Reply) {
        // The session offers no login on this port.
        (None, Reply::new(503, (5, 5, 1), "Logging in is not offered here"))
    }

    async fn mail(&mut self, client: &Client, from: &MailFrom) -> Reply {
        drop(self.message.take());
        match (self.shared.message_octets_max(), from.size) {
            (None, _) => return Reply::new(451, (4, 3, 2), "This host is not set up yet; try again later"),
            (Some(most), Some(size)) if size > most => {
                return Reply::new(552, (5, 3, 4), format!("The message is larger than {most} octets"));
            }
            _ => {}
        }
        let path = from.reverse_path.address().map_or_else(String::new, ToString::to_string);
        *self.transaction = Transaction {
            reverse_path: Some(from.reverse_path.clone()),
            telling: if from.prdr { Telling::Apart } else { Telling::Together },
            asking_spf: Some(self.shared.judges.begin_spf(client, path)),
            ..Transaction::default()
        };
        Reply::new(250, (2, 1, 0), "Sender ok")
    }

    async fn recipient(&mut self, client: &Client, recipient: &Recipient) -> Reply {
        if let Some(home) = self.foreign_home(&recipient.address) {
            return Box::pin(self.foreign_recipient(client, recipient, home)).await;
        }
        let reply = self.take_recipient(recipient);
        if reply.enhanced == Some(NO_SUCH_RECIPIENT) {
            self.unknown().await;
        }
        if !reply.is_positive() {
            return reply;
        }
        self.know_client(client).await;
        // Who wants to ask the postmaster why he is refused has to be able to (RFC 5321 section 4.5.1).
        if notification::is_role(recipient.address.local()) {
            return reply;
        }
        match self.suspicion(client) {
            Some(refusal) => {
                self.transaction.recipients -= 1;
                refusal
            }
            None => reply,
        }
    }

    async fn data(&mut self, mut envelope: Envelope) -> Result<(), Reply> {
        let home = self.transaction.home.clone();
        let home = home.ok_or_else(|| Reply::new(503, (5, 5, 1), "No recipients"))?;
        // Each was found good at RCPT: Home knows its people by their plain addresses.
        for recipient in &mut envelope.recipients {
            recipient.address = match &home {
                Target::Paired(_, kept) => kept.snapshot.without_tag(&recipient.address),
                Target::Foreign(home) => home.own_address(&recipient.address),
            };
        }
        self.transaction.envelope = Some(envelope.clone());
        let open =
            Open { item: self.shared.clock.new_item_id(), accepted: self.shared.clock.now(), envelope };
        let message = match home {
            Target::Paired(home, kept) => Incoming::HandOff(self.shared.hand_offs.begin(home, kept, open)?),
            Target::Foreign(home) => Incoming::Passage(home.begin(open)?),
        };
        self.message = Some(Box::new((message, Examination::new())));
        Ok(())
    }

    async fn body(&mut self, piece: Bytes) {
        let Some((message, examination)) = self.message.as_deref_mut() else { return };
        if message.is_refused() {
            return;
        }
        match examination.take(&self.shared.judges, piece) {
            Taken::Held => message.hold(examination.held()).await,
            Taken::TooLarge => {
                let text = format!("The header section is larger than {} octets", header_section::OCTETS_MAX);
                message.refuse(Reply::new(552, (5, 3, 4), text));
            }
            Taken::Pass(pieces) => {
                for piece in pieces {
                    message.body(&piece).await;
                }
            }
        }
    }

    async fn end(&mut self) -> Answers {
        let Some(message) = self.message.take() else { return lost().into() };
        let (message, examination) = *message;
        if message.is_refused() {
            return Box::pin(message.finish(Verdict::default(), Telling::Together)).await;
        }
        Box::pin(self.conclude(message, examination)).await
    }

    fn heard(&mut self) {
        self.unheard.clear();
    }

    async fn aborted(&mut self, _cause: Cause) {
        if let Some(mut message) = self.message.take() {
            message.0.abort();
        }
    }
}

impl Drop for Receive {
    fn drop(&mut self) {
        for (home, item) in self.unheard.drain(..) {
            home.unheard.tell(item);
        }
        if let Some(mut message) = self.message.take() {
            message.0.abort();
        }
    }
}
