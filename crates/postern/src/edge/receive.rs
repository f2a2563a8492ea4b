//! Mail from the internet: what Edge answers to the clients of its port 25.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use link::Open;
use mail::{Address, Client, Envelope, Recipient, Reply, ReversePath, Sign, UnixTime, Verdict};
use mailauth::spf::Spf;
use net::smtp_server::{Answers, Early, Service};
use smtp::server::{Cause, MailFrom, Secret};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use super::door::{Admission, Door};
use super::greylist::{Greyed, Greylist};
use super::handoff::{HandOff, HandOffs, Telling};
use super::homes::{Home, Homes, Kept};
use super::judge::{self, Examination, Judgement, Judges, Taken};
use super::score;
use super::visitor::{self, Visitor};
use crate::header_section;
use crate::notification::{self, Known, NO_SUCH_RECIPIENT, Sender};
use crate::system;
use crate::trace::Trace;

/// Unknown recipients of a session after which its replies come slowly (tarpitting).
const UNKNOWN_BEFORE_DELAY: u32 = 3;
/// How slowly. Only as long as there are session slots to spare: it costs a timer and nothing else.
const DELAY: Duration = Duration::from_secs(3);

/// What all sessions share.
pub struct Reception {
    /// Whom mail is for.
    pub homes: Arc<Homes>,
    /// Where it goes.
    pub hand_offs: Arc<HandOffs>,
    /// Who may come in.
    pub door: Arc<Door>,
    /// What is found out about clients and messages.
    pub judges: Judges,
    /// The suspicious.
    pub greylist: Arc<Greylist>,
    /// What happened.
    pub trace: Trace,
    /// How long a client waits to be greeted.
    pub greet_pause: Duration,
    /// Sessions that may still begin.
    pub slots: Arc<Semaphore>,
    /// Half of all slots: with fewer left, nobody is delayed.
    pub slots_spare: usize,
}

/// One SMTP session's view of Edge.
pub struct Receive {
    shared: Arc<Reception>,
    admission: Option<Admission>,
    /// What DNS says about the client, asked for since it connected.
    asking: Option<AbortOnDropHandle<Visitor>>,
    visitor: Visitor,
    /// Signs of the client's behaviour.
    signs: Vec<Sign>,
    unknown_recipients: u32,
    /// Boxed, as the message is: a session that idles has little.
    transaction: Box<Transaction>,
    message: Option<Box<(HandOff, Examination)>>,
}

/// What is known of the transaction that is going on.
#[derive(Default)]
struct Transaction {
    reverse_path: Option<ReversePath>,
    /// Whether the client asked for a reply per recipient.
    telling: Telling,
    /// The check of the reverse-path that was begun, then its result.
    asking_spf: Option<AbortOnDropHandle<Spf>>,
    spf: Option<Spf>,
    /// Signs of the name that the client calls itself by, and of SPF.
    signs: Vec<Sign>,
    /// The home that the first recipient belongs to, with the snapshot it was checked by.
    home: Option<(Arc<Home>, Arc<Kept>)>,
    recipients: usize,
    /// Whether a notification to this recipient should carry a tag, and its address has none.
    untagged: bool,
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
    /// For a new session.
    pub fn new(shared: Arc<Reception>) -> Self {
        Self {
            shared,
            admission: None,
            asking: None,
            visitor: Visitor::default(),
            signs: Vec::new(),
            unknown_recipients: 0,
            transaction: Box::default(),
            message: None,
        }
    }

    /// Takes a recipient if it is known and its envelope will still fit a frame.
    fn take_recipient(&mut self, recipient: &Recipient) -> Reply {
        let octets = self.transaction.recipients_octets + link::recipient_octets(recipient);
        if octets > link::RECIPIENTS_OCTETS_MAX {
            return Reply::new(
                452,
                (4, 5, 3),
                "Too many long recipients; send to the rest in another transaction",
            );
        }
        if self.transaction.is_notification() && self.transaction.recipients > 0 {
            // A notification is for the one who sent the message (RFC 3464 section 2).
            return Reply::new(452, (4, 5, 3), "A message with the null reverse-path has one recipient");
        }
        let reply = self.check_recipient(&recipient.address, system::now());
        if reply.is_positive() {
            self.transaction.recipients_octets = octets;
            self.transaction.recipients += 1;
        }
        reply
    }

    fn check_recipient(&mut self, address: &Address, now: UnixTime) -> Reply {
        let routed = match address.local().eq_ignore_ascii_case("postmaster") {
            // "postmaster" without a domain is this host's: it goes to the home that was paired first.
            true => self.shared.homes.route(address.domain()).or_else(|| self.postmaster_home()),
            false => self.shared.homes.route(address.domain()),
        };
        let Some((home, kept)) = routed else {
            return Reply::new(
                550,
                (5, 7, 1),
                "This host takes no mail for that domain: relaying is not offered",
            );
        };
        let sender = if self.transaction.is_notification() { Sender::Nobody } else { Sender::Somebody };
        match notification::check_recipient(&kept.snapshot, address, sender, now) {
            Ok(known) => self.transaction.untagged = known == Known::UnlessFailureNotice,
            Err(refusal) => return refusal,
        }
        match &self.transaction.home {
            Some((first, _)) if !Arc::ptr_eq(first, &home) => {
                Reply::new(452, (4, 5, 3), "Send to this recipient in a transaction of its own")
            }
            _ => {
                self.transaction.home.get_or_insert((home, kept));
                Reply::new(250, (2, 1, 5), "Recipient ok")
            }
        }
    }

    fn postmaster_home(&self) -> Option<(Arc<Home>, Arc<Kept>)> {
        self.shared.homes.list().into_iter().find_map(|home| {
            let kept = home.kept()?;
            Some((home, kept))
        })
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
            self.tell("refused", client, &signs);
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
        let ask =
            || self.shared.greylist.ask(client.ip, &reverse_path, &client.helo, system::now().as_secs());
        let greyed = self.transaction.greyed.unwrap_or_else(ask);
        self.transaction.greyed = Some(greyed);
        match greyed {
            Greyed::Passes(_) => None,
            Greyed::Waits(seconds) => {
                self.tell("greylisted", client, &signs);
                Some(Reply::new(
                    451,
                    (4, 7, 1),
                    format!("Your host is not known here; come again in {seconds} s"),
                ))
            }
        }
    }

    /// One event for the trace: domains only, no local parts.
    fn tell(&self, step: &str, client: &Client, signs: &[Sign]) {
        let path = self.transaction.reverse_path.as_ref().and_then(ReversePath::address);
        let sender = path.map_or("<>", |address| address.domain().as_str());
        let detail = format!("from {sender} by {} ({}): {}", client.ip, client.helo, score::explain(signs));
        tracing::info!(%step, client = %client.ip, %sender, signs = %score::explain(signs), "a client was held off");
        self.shared.trace.event(None, step, detail);
    }

    async fn unknown(&mut self) {
        self.unknown_recipients += 1;
        if let Some(admission) = &self.admission {
            admission.unknown_recipient(system::now().as_secs());
        }
        let spare = self.shared.slots.available_permits() >= self.shared.slots_spare;
        if self.unknown_recipients > UNKNOWN_BEFORE_DELAY && spare {
            tokio::time::sleep(DELAY).await;
        }
    }

    /// Judges a message that is whole and hands it off.
    async fn conclude(&mut self, mut message: HandOff, mut examination: Examination) -> Answers {
        let shared = Arc::clone(&self.shared);
        if let Some(header) = examination.end(&shared.judges) {
            message.body(&header).await;
        }
        let limit =
            self.transaction.home.as_ref().map_or(u64::MAX, |(_, kept)| kept.snapshot.message_octets_max);
        if examination.hops() > header_section::HOPS_MAX {
            message.abort();
            return Reply::new(554, (5, 4, 6), "The message has passed too many hosts: it loops").into();
        }
        if message.octets() > limit {
            message.abort();
            return Reply::new(552, (5, 3, 4), format!("The message is larger than {limit} octets")).into();
        }
        if self.transaction.untagged && notification::is_failure_notice(examination.header()) {
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
        match examination.judge(&shared.judges, spf, &self.visitor, &signs, &envelope).await {
            Judgement::Deliver(verdict) => message.finish(verdict, self.transaction.telling).await,
            Judgement::Refuse(reply, signs) => {
                message.refused(&reply, &score::explain(&signs));
                reply.into()
            }
        }
    }
}

fn lost() -> Reply {
    Reply::new(451, (4, 3, 0), "The message was lost here; send it again")
}

impl Service for Receive {
    async fn connected(&mut self, ip: IpAddr) -> Result<Duration, Reply> {
        self.admission = Some(self.shared.door.admit(ip, system::now().as_secs())?);
        self.asking = Some(self.shared.judges.visitors.begin(ip));
        Ok(self.shared.greet_pause)
    }

    fn talked_early(&mut self, when: Early) {
        let row = match when {
            Early::Greeting => "pregreet",
            Early::Hello => "early-talker",
        };
        self.signs.extend(self.shared.judges.visitors.table.sign(row, ""));
    }

    fn left(&mut self, errors: u32) {
        let now = system::now().as_secs();
        if let Some(admission) = &self.admission {
            for _ in 0..errors {
                admission.error(now);
            }
        }
    }

    async fn login(&mut self, _user: &str, _password: &Secret) -> (Option<String>, Reply) {
        // The session offers no login on this port.
        (None, Reply::new(503, (5, 5, 1), "Logging in is not offered here"))
    }

    async fn mail(&mut self, client: &Client, from: &MailFrom) -> Reply {
        drop(self.message.take());
        let most = self
            .shared
            .homes
            .list()
            .iter()
            .filter_map(|home| home.kept())
            .map(|k| k.snapshot.message_octets_max)
            .max();
        match (most, from.size) {
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
        let (home, kept) = home.ok_or_else(|| Reply::new(503, (5, 5, 1), "No recipients"))?;
        // Each was found good at RCPT: Home knows its people by their plain addresses.
        for recipient in &mut envelope.recipients {
            recipient.address = kept.snapshot.without_tag(&recipient.address);
        }
        self.transaction.envelope = Some(envelope.clone());
        let open = Open { item: system::new_item_id(), accepted: system::now(), envelope };
        self.message = Some(Box::new((self.shared.hand_offs.begin(home, kept, open)?, Examination::new())));
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

    async fn aborted(&mut self, _cause: Cause) {
        if let Some(mut message) = self.message.take() {
            message.0.abort();
        }
    }
}

impl Drop for Receive {
    fn drop(&mut self) {
        if let Some(mut message) = self.message.take() {
            message.0.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use mail::EnhancedCode;

    use super::*;

    fn receive(dir: &std::path::Path) -> Receive {
        let homes = Arc::new(Homes::open(&dir.join("homes"), 1 << 20).unwrap());
        let home = homes.pair([7; 32], UnixTime(1)).unwrap();
        let name = mail::Domain::parse("example.org").unwrap();
        home.keep(link::Snapshot {
            generation: 1,
            domains: vec![link::DomainPolicy { name, catch_all: true }],
            subaddress_separators: String::new(),
            recipient_key: link::RecipientKey::new([1; 32]),
            recipients: std::collections::HashSet::new(),
            sealing_key: crate::sealed::generate_key().1,
            away: link::Away::Seal,
            message_octets_max: 1 << 20,
            outbound: false,
            return_paths: None,
            srs: None,
        })
        .unwrap();
        let trace = Trace::open(&dir.join("trace"), link::Role::Edge).unwrap();
        let hand_offs = HandOffs::new(4 << 20, Duration::from_secs(60), trace.clone());
        let dns = net::dns::Dns::new(&[([127, 0, 0, 1], 9).into()]).unwrap();
        let visitors = visitor::Visitors {
            questions: dns.questions(),
            lists: super::super::lists::Lists::new(&[]),
            table: Arc::new(score::Table::new(&crate::config::ScoreConfig::default())),
            hostname: "mx.example.org".to_owned(),
        };
        Receive::new(Arc::new(Reception {
            homes,
            hand_offs: Arc::new(hand_offs),
            door: Door::new(crate::config::DoorConfig::default()),
            judges: Judges { visitors: Arc::new(visitors), policy: crate::config::PolicyConfig::default() },
            greylist: Arc::new(Greylist::open(dir).unwrap()),
            trace,
            greet_pause: Duration::ZERO,
            slots: Arc::new(Semaphore::new(10)),
            slots_spare: 5,
        }))
    }

    const LONG_AGO: UnixTime = UnixTime(0);
    const NULL: ReversePath = ReversePath::Null;

    /// A session at a home that has bob and no catch-all, signs since long ago, and never `list`.
    fn signing(dir: &std::path::Path) -> (Receive, link::ReturnPathKey) {
        let receive = receive(dir);
        let home = receive.shared.homes.list().remove(0);
        let mut snapshot = home.kept().unwrap().snapshot.clone();
        snapshot.domains[0].catch_all = false;
        let hash = |name: &str| snapshot.recipient_key.hash(&format!("{name}@example.org"));
        snapshot.recipients = ["bob", "list", "abuse"].map(hash).into();
        let key = link::ReturnPathKey::new(0, [9; 32]);
        snapshot.return_paths = Some(link::ReturnPaths {
            key: key.clone(),
            signing_since: Some(LONG_AGO),
            unsigned: [hash("list")].into(),
        });
        home.keep(snapshot).unwrap();
        (receive, key)
    }

    /// The reply to the recipient, and whether its message would be refused as a report without a tag.
    fn rcpt(receive: &mut Receive, from: ReversePath, to: &str) -> (u16, EnhancedCode, bool) {
        *receive.transaction = Transaction { reverse_path: Some(from), ..Transaction::default() };
        let reply = receive.take_recipient(&Address::parse(to).unwrap().into());
        (reply.code, reply.status(), receive.transaction.untagged)
    }

    #[test]
    fn a_good_tag_is_the_address_without_it_whoever_sends() {
        let dir = tempfile::tempdir().unwrap();
        let (mut receive, key) = signing(dir.path());
        let signed =
            key.sign(&Address::parse("bob@example.org").unwrap(), system::now()).unwrap().to_string();
        let eve = key.sign(&Address::parse("eve@example.org").unwrap(), system::now()).unwrap().to_string();
        let sender = ReversePath::Address(Address::parse("a@example.net").unwrap());
        for from in [NULL, sender] {
            assert_eq!(rcpt(&mut receive, from.clone(), &signed), (250, EnhancedCode(2, 1, 5), false));
            assert_eq!(rcpt(&mut receive, from, &eve), (550, NO_SUCH_RECIPIENT, false));
        }
    }

    #[test]
    fn a_bad_tag_is_refused_to_a_notification_and_is_nobodys_name_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let (mut receive, key) = signing(dir.path());
        let old = key.sign(&Address::parse("bob@example.org").unwrap(), LONG_AGO).unwrap().to_string();
        let sender = ReversePath::Address(Address::parse("a@example.net").unwrap());
        for bad in [old.as_str(), "prvs=0123abcdef=bob@example.org"] {
            assert_eq!(rcpt(&mut receive, NULL, bad), (550, EnhancedCode(5, 7, 1), false), "{bad}");
            assert_eq!(rcpt(&mut receive, sender.clone(), bad), (550, NO_SUCH_RECIPIENT, false), "{bad}");
        }
    }

    #[test]
    fn notifications_without_a_tag_are_marked_for_those_that_always_sign() {
        let dir = tempfile::tempdir().unwrap();
        let (mut receive, _) = signing(dir.path());
        let sender = ReversePath::Address(Address::parse("a@example.net").unwrap());
        let ok = EnhancedCode(2, 1, 5);
        assert_eq!(rcpt(&mut receive, NULL, "bob@example.org"), (250, ok, true));
        assert_eq!(rcpt(&mut receive, sender, "bob@example.org"), (250, ok, false));
        for spared in ["list@example.org", "postmaster@example.org", "Abuse@example.org"] {
            assert_eq!(rcpt(&mut receive, NULL, spared), (250, ok, false), "{spared}");
        }
    }

    #[test]
    fn a_rewritten_reverse_path_takes_notifications_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (mut receive, _) = signing(dir.path());
        let sender = ReversePath::Address(Address::parse("a@example.net").unwrap());
        let ours = mail::Domain::parse("example.org").unwrap();
        let srs = link::SrsSecrets::try_from(vec!["x".repeat(32)]).unwrap();
        let rewrite = |now| srs.rewrite(sender.address().unwrap(), &ours, now).unwrap().to_string();
        let (good, old) = (rewrite(system::now()), rewrite(LONG_AGO.plus_secs(86_400 * 7)));
        assert_eq!(rcpt(&mut receive, NULL, &good), (550, NO_SUCH_RECIPIENT, false), "nothing is forwarded");
        let home = receive.shared.homes.list().remove(0);
        home.keep(link::Snapshot { srs: Some(srs), ..home.kept().unwrap().snapshot.clone() }).unwrap();
        assert_eq!(rcpt(&mut receive, NULL, &good), (250, EnhancedCode(2, 1, 5), false));
        assert_eq!(rcpt(&mut receive, sender.clone(), &good), (550, NO_SUCH_RECIPIENT, false));
        for bad in [old, good.replace("=a@", "=b@")] {
            assert_eq!(rcpt(&mut receive, NULL, &bad), (550, EnhancedCode(5, 7, 1), false), "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_names_waits_as_long_as_there_is_room_for_others() {
        let dir = tempfile::tempdir().unwrap();
        let mut guesser = receive(dir.path());
        let mut waited = Vec::new();
        for spare in [true, true, true, true, true, false] {
            let slots = Arc::clone(&guesser.shared.slots);
            let _taken = (!spare).then(|| slots.try_acquire_many_owned(6).unwrap());
            let before = tokio::time::Instant::now();
            guesser.unknown().await;
            waited.push(before.elapsed());
        }
        assert_eq!(waited, [Duration::ZERO, Duration::ZERO, Duration::ZERO, DELAY, DELAY, Duration::ZERO]);
    }

    #[test]
    fn recipients_are_taken_as_long_as_their_envelope_fits_a_frame() {
        let dir = tempfile::tempdir().unwrap();
        let mut receive = receive(dir.path());
        let recipient = Recipient {
            orcpt: Some(mail::Orcpt { kind: "rfc822".to_owned(), address: "\"".repeat(490) }),
            ..Address::parse("bob@example.org").unwrap().into()
        };
        let most = link::RECIPIENTS_OCTETS_MAX / link::recipient_octets(&recipient);
        assert!(most < 1000);
        for _ in 0..most {
            assert_eq!(receive.take_recipient(&recipient).code, 250);
        }
        assert_eq!(receive.take_recipient(&recipient).code, 452);
        let envelope = Envelope {
            reverse_path: ReversePath::Null,
            recipients: vec![recipient; most],
            body: mail::BodyType::SevenBit,
            smtputf8: false,
            require_tls: false,
            ret: None,
            envid: None,
            client: None,
        };
        let open = Open { item: system::new_item_id(), accepted: system::now(), envelope };
        link::Frame::Open(Box::new(open)).encode(&mut bytes::BytesMut::new()).unwrap();
    }
}
