//! Edge's own test address, `echo@` its host name: whoever writes there from a paired home gets back what the world would have
//! seen, and what a receiver would have made of it. The answer goes the way of all mail: by DNS to the domain's mail host, which
//! is this edge, in at port 25 and over the link.
//!
//! Only for homes, which are known by their keys, and only to their own domains: nobody else is written to.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use daemon::clock::Clock;
use daemon::trace::Trace;
use link::{Attempt, ReceiveWindow, TraceStep};
use mail::{
    Address, BodyType, Domain, EnhancedCode, Envelope, ItemId, Outcome, Recipient, Reply, ReversePath,
    UnixTime,
};
use mailauth::message::{Authentication, Header};
use mailauth::results;
use mailauth::spf::{Query, check as check_spf};
use net::dns::{Dns, Questions};
use net::smtp_client::BodySource as _;
use tlspolicy::report::Results;
use tokio::sync::mpsc;

use super::feed::Feed;
use super::homes::{Home, Homes};
use super::lane::{Ended, Job, Lanes};

/// The address is this at the host's name.
const LOCAL_PART: &str = "echo";
/// Octets of a message that is sent back.
const OCTETS_MAX: u64 = 64 * 1024;
/// Answers that one minute sees; who wants more is put off.
const PER_MINUTE: u32 = 20;
/// The field that says what a receiver made of the message, as `Authentication-Results` does (RFC 8601). It has a name of its
/// own, since a field of that name which claims to be ours is taken out of what comes in.
const RESULTS_FIELD: &str = "Postern-Echo-Results";

/// Answers what is sent to the test address.
pub(crate) struct Echo {
    hostname: String,
    homes: Arc<Homes>,
    dns: Dns,
    questions: Questions,
    lanes: Arc<Lanes>,
    trace: Trace,
    clock: Arc<dyn Clock>,
    pace: Mutex<Pace>,
}

/// How many answers this minute has had.
#[derive(Default)]
struct Pace {
    minute: u64,
    answers: u32,
}

impl Pace {
    fn takes(&mut self, now: UnixTime) -> bool {
        let minute = now.as_secs() / 60;
        if self.minute != minute {
            *self = Self { minute, answers: 0 };
        }
        self.answers = self.answers.saturating_add(1);
        self.answers <= PER_MINUTE
    }
}

impl Echo {
    /// An address at this host; answers go through these lanes.
    pub(crate) fn new(
        hostname: &str,
        dns: Dns,
        (homes, lanes): (&Arc<Homes>, &Arc<Lanes>),
        trace: Trace,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let (homes, lanes, clock) = (Arc::clone(homes), Arc::clone(lanes), Arc::clone(clock));
        let questions = dns.questions();
        let pace = Mutex::default();
        Self { hostname: hostname.to_ascii_lowercase(), homes, dns, questions, lanes, trace, clock, pace }
    }

    /// Whether an attempt is for the test address and for nobody else. Where the host's name is also a home's domain there is none:
    /// somebody there may be called so, and his mail is his.
    pub(crate) fn is_asked(&self, attempt: &Attempt) -> bool {
        let Attempt { domain, envelope, .. } = attempt;
        is_for_echo(&self.hostname, domain, &envelope.recipients) && !self.homes.has(domain)
    }

    /// Takes the message and sends it back, to whoever the envelope says that it is from.
    pub(crate) async fn answer(self: Arc<Self>, job: Job) {
        let Job { attempt, mut feed, done } = job;
        let count = attempt.envelope.recipients.len();
        let taken = self.take(&attempt, &mut feed).await;
        let ended = |outcome: Outcome| {
            let outcomes = vec![outcome; count];
            Ended { outcomes, about: "at the test address".to_owned(), tls: Results::default() }
        };
        let (to, message) = match taken {
            Ok(taken) => taken,
            Err(outcome) => return done(ended(outcome)),
        };
        let reply = Reply::new(250, (2, 0, 0), "the answer is on its way");
        done(ended(Outcome::from_reply(Some(self.hostname.clone()), &reply)));
        self.send_back(&attempt, &feed.home, to, message).await;
    }

    async fn take(&self, attempt: &Attempt, feed: &mut Feed) -> Result<(Address, Vec<u8>), Outcome> {
        let Some(to) = attempt.envelope.reverse_path.address() else {
            return Err(Outcome::failed(EnhancedCode(5, 7, 1), "the test address answers no notifications"));
        };
        if attempt.octets > OCTETS_MAX {
            let what = format!("the test address takes {OCTETS_MAX} octets");
            return Err(Outcome::failed(EnhancedCode(5, 3, 4), what));
        }
        let paced = self.pace.lock().unwrap_or_else(PoisonError::into_inner).takes(self.clock.now());
        if !paced {
            return Err(Outcome::deferred(
                EnhancedCode(4, 7, 0),
                "the test address has answered often enough",
            ));
        }
        let mut message = Vec::new();
        loop {
            match feed.next().await {
                Ok(Some(piece)) => message.extend_from_slice(&piece),
                // Two programs that answer each other would never end (RFC 3834 section 2).
                Ok(None) if is_answer(&message) => {
                    let what = "the test address answers no answers";
                    return Err(Outcome::failed(EnhancedCode(5, 7, 1), what));
                }
                Ok(None) => return Ok((to.clone(), message)),
                Err(_) => return Err(Outcome::deferred(EnhancedCode(4, 4, 2), "the link was lost")),
            }
        }
    }

    async fn send_back(&self, asked: &Attempt, home: &Arc<Home>, to: Address, message: Vec<u8>) {
        let found = self.judged(&to, &message).await;
        let (id, now) = (self.clock.new_item_id(), self.clock.now());
        let own = format!("{LOCAL_PART}@{}", self.hostname);
        let own = Address::parse(&own).map_or(ReversePath::Null, ReversePath::Address);
        let text = self.text(&to, &message, &found, (id, now));
        let (sender, pieces) = mpsc::unbounded_channel();
        let octets = text.len() as u64;
        let eight_bit = !text.is_ascii();
        let _ = sender.send(Bytes::from(text));
        let attempt = Attempt {
            attempt: id,
            item: asked.item,
            domain: to.domain().clone(),
            envelope: Envelope {
                // Whom a user writes to may answer: the greylist knows this address by now.
                reverse_path: own,
                recipients: vec![Recipient::from(to)],
                body: if eight_bit { BodyType::EightBitMime } else { BodyType::SevenBit },
                ..asked.envelope.clone()
            },
            octets,
            eight_bit,
            utf8_header: false,
            tls_optional: true,
        };
        let window = Arc::new(Mutex::new(ReceiveWindow::default()));
        let feed = Feed { attempt: id, home: Arc::clone(home), pieces, window, left: octets, begun: false };
        let (home, trace, item) = (Arc::clone(home), self.trace.clone(), asked.item);
        let done = Box::new(move |ended: Ended| {
            let outcome = ended.outcomes.first().map(said).unwrap_or_default();
            let detail = format!("the echo, {}: {outcome}", ended.about);
            home.tell(trace.event(Some(item), TraceStep::Attempted, detail));
        });
        self.lanes.add(Job { attempt, feed, done });
    }

    /// What a receiver would find who got it from this host's own address.
    async fn judged(&self, from: &Address, message: &[u8]) -> Authentication {
        let addresses = self.dns.addresses(&self.hostname).await.map(|found| found.value).unwrap_or_default();
        let ip = addresses.first().copied().unwrap_or_else(|| std::net::Ipv4Addr::UNSPECIFIED.into());
        let mail_from = from.to_string();
        let now = self.clock.now();
        let (helo, receiver) = (self.hostname.as_str(), self.hostname.as_str());
        let query = Query { ip, helo, mail_from: &mail_from, receiver, now: now.as_secs() };
        let spf = check_spf(&self.questions, &query).await;
        let (header, body) = message.split_at(mail::header::body_offset(message));
        let header = Header::parse(header.to_vec());
        let mut hashes = header.body_hashes();
        hashes.update(body);
        let hashes = hashes.finish();
        let known = header.ask(&self.questions).await;
        header.authenticate(&self.questions, &hashes, &known, spf, now, &[]).await
    }

    /// The answer: what was found, in words and as a field, and the message as it came.
    fn text(
        &self,
        to: &Address,
        message: &[u8],
        found: &Authentication,
        (id, now): (ItemId, UnixTime),
    ) -> Vec<u8> {
        let host = &self.hostname;
        let field = |name: &str| {
            let header = message.get(..mail::header::body_offset(message)).unwrap_or_default();
            let found = mail::header::fields(header).find(|field| field.is(name));
            found.map(|field| field.unfolded().trim().to_owned()).filter(|text| text.is_ascii())
        };
        let results = results::write(host, &found.findings());
        let results = results.split_once(':').map_or("", |(_, value)| value);
        let boundary = format!("echo-{id}");
        let mut text = format!(
            "From: Echo of {host} <{LOCAL_PART}@{host}>\r\nTo: <{to}>\r\nSubject: Re: {}\r\nDate: {}\r\n\
             Message-ID: <{id}@{host}>\r\nAuto-Submitted: auto-replied\r\n{RESULTS_FIELD}:{results}",
            field("Subject").unwrap_or_default(),
            now.rfc5322(),
        );
        if let Some(id) = field("Message-ID") {
            let _ = write!(text, "In-Reply-To: {id}\r\n");
        }
        let _ = write!(
            text,
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n\
             --{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}\r\n\
             --{boundary}\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
            words(host, found)
        );
        let mut text = text.into_bytes();
        text.extend_from_slice(message);
        text.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        text
    }
}

/// Whether all recipients are the test address of this host.
fn is_for_echo(hostname: &str, domain: &Domain, recipients: &[Recipient]) -> bool {
    let is_it =
        |address: &Address| address.local().eq_ignore_ascii_case(LOCAL_PART) && address.domain() == domain;
    domain.as_str().eq_ignore_ascii_case(hostname) && recipients.iter().all(|to| is_it(&to.address))
}

/// Whether a program wrote the message as an answer (RFC 3834 section 5).
fn is_answer(message: &[u8]) -> bool {
    let header = message.get(..mail::header::body_offset(message)).unwrap_or_default();
    let field = mail::header::fields(header).find(|field| field.is("Auto-Submitted"));
    field.is_some_and(|field| field.unfolded().trim().to_ascii_lowercase().starts_with("auto-replied"))
}

/// What the mail host answered, without its words, which may name a mailbox; or what kept us from it.
fn said(outcome: &Outcome) -> String {
    let why = outcome.why();
    match &why.reply {
        Some(reply) => format!("{} {}", reply.code, reply.status()),
        None => format!("{} {}", why.status, why.cause),
    }
}

/// For a person.
fn words(host: &str, found: &Authentication) -> String {
    let dkim = found.dkim.iter().map(|one| format!("{} for {}", one.result.as_str(), one.domain));
    let dkim: Vec<String> = dkim.collect();
    let dkim = if dkim.is_empty() { "no signature".to_owned() } else { dkim.join(", ") };
    format!(
        "{host} took your message and sends back, below, each octet of it that would have left for the world.\r\n\r\n\
         A receiver would have found:\r\n\r\n\
         SPF:   {} for {}\r\nDKIM:  {dkim}\r\nDMARC: {} for {}\r\n\r\n\
         This answer came by your domain's MX record, in at port 25, as all mail does.\r\n",
        found.spf.result, found.spf.domain, found.dmarc.result, found.dmarc.domain
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_wrote_as_an_answer_is_not_answered() {
        assert!(is_answer(b"From: a\r\nAuto-Submitted: Auto-Replied (away)\r\n\r\nx"));
        assert!(!is_answer(b"From: a\r\nAuto-Submitted: auto-generated\r\n\r\nx"));
        assert!(!is_answer(b"From: a\r\n\r\nAuto-Submitted: auto-replied\r\n"));
    }

    #[test]
    fn the_test_address_is_asked_alone_and_at_this_host() {
        let to = |local: &str, host: &str| {
            let address = Address::parse(&format!("{local}@{host}")).unwrap();
            (address.domain().clone(), Recipient::from(address))
        };
        let asked = |local, host, more: &[Recipient]| {
            let (domain, recipient) = to(local, host);
            is_for_echo("mx.example.org", &domain, &[&[recipient], more].concat())
        };
        assert!(asked("Echo", "MX.example.org", &[]));
        assert!(!asked("echo", "example.org", &[]) && !asked("ann", "mx.example.org", &[]));
        assert!(!asked("echo", "mx.example.org", &[to("ann", "mx.example.org").1]));
    }

    #[test]
    fn twenty_answers_are_given_in_a_minute_and_no_more() {
        let mut pace = Pace::default();
        let now = UnixTime::from_secs(6_000_000);
        let given = (0..30).filter(|_| pace.takes(now)).count();
        assert_eq!(given, PER_MINUTE as usize);
        assert!(pace.takes(now.plus_secs(60)), "the next minute has its own");
    }
}
