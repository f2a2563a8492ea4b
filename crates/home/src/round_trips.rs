//! Messages of Home's own that are on their way round: out to the test address of an edge, and back. An answer comes as all mail
//! does and is taken out before it would be delivered, so nobody finds it among his mail.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use content::Content;
use mail::{Envelope, header};
use net::contents;
use tokio::sync::oneshot;

/// What stands before the token in the subject of a message that is sent round.
pub(crate) const SUBJECT: &str = "Postern round trip";
/// The local part of an edge's test address.
pub(crate) const ECHO: &str = "echo";
/// Octets of an answer that are read.
const ANSWER_OCTETS_MAX: u64 = 256 * 1024;
/// Octets of an answer in which its subject has to stand.
const START_OCTETS: usize = 16 * 1024;
/// Messages that are on their way at one time.
const WAITING_MAX: usize = 8;
/// Those whose answer came too late, or never.
const LATE_MAX: usize = 32;

/// Those that are on their way. Cloning shares them.
#[derive(Clone, Default)]
pub(crate) struct RoundTrips(Arc<OnTheWay>);

#[derive(Default)]
struct OnTheWay {
    tokens: Mutex<Tokens>,
    /// How many there are: looked at for each message, and nearly always none.
    count: AtomicUsize,
}

#[derive(Default)]
struct Tokens {
    /// One leaves when its answer has come or nobody waits for it any more.
    waiting: HashMap<String, oneshot::Sender<Vec<u8>>>,
    /// Those that nobody waited for any longer, the latest last: their answers are nobody's mail, however late they come.
    late: VecDeque<String>,
}

impl RoundTrips {
    /// The count is that of the tokens whenever they can be seen.
    fn change<T>(&self, by: impl FnOnce(&mut Tokens) -> T) -> T {
        let mut tokens = self.0.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = by(&mut tokens);
        self.0.count.store(tokens.waiting.len() + tokens.late.len(), Ordering::Relaxed);
        changed
    }

    /// `None` when too many are on their way.
    pub(crate) fn expect(&self, token: &str) -> Option<Expected> {
        let (sender, answer) = oneshot::channel();
        self.change(|tokens| {
            (tokens.waiting.len() < WAITING_MAX).then(|| tokens.waiting.insert(token.to_owned(), sender))
        })?;
        Some(Expected { trips: self.clone(), token: token.to_owned(), answer })
    }

    /// Nobody waits for it any longer.
    fn give_up(&self, token: &str) {
        self.change(|tokens| {
            if tokens.waiting.remove(token).is_some() {
                if tokens.late.len() >= LATE_MAX {
                    tokens.late.pop_front();
                }
                tokens.late.push_back(token.to_owned());
            }
        });
    }

    /// Whoever waits for it, if anybody still does; `None` when it is no token of ours.
    fn found(&self, token: &str) -> Option<Option<oneshot::Sender<Vec<u8>>>> {
        self.change(|tokens| {
            let waits = tokens.waiting.remove(token);
            if waits.is_some() {
                return Some(waits);
            }
            let at = tokens.late.iter().position(|one| one == token)?;
            tokens.late.remove(at).map(|_| None)
        })
    }

    /// Whether a message is an answer that is waited for. It is given to whoever waits, and to nobody else. A token is good
    /// once, and nobody can guess it.
    pub(crate) async fn take_back(&self, envelope: &Envelope, content: &Content) -> bool {
        if self.0.count.load(Ordering::Relaxed) == 0
            || envelope.reverse_path.address().is_none_or(|from| !from.local().eq_ignore_ascii_case(ECHO))
            || content.octets() > ANSWER_OCTETS_MAX
        {
            return false;
        }
        let Ok(start) = contents::read(content, 0, START_OCTETS).await else { return false };
        let Some(found) = token_in(&start).and_then(|token| self.found(&token)) else { return false };
        if let Some(waits) = found {
            let _ = waits.send(read_whole(content).await);
        }
        true
    }
}

async fn read_whole(content: &Content) -> Vec<u8> {
    let mut whole = Vec::new();
    while (whole.len() as u64) < content.octets() {
        match contents::read(content, whole.len() as u64, START_OCTETS).await {
            Ok(piece) if !piece.is_empty() => whole.extend_from_slice(&piece),
            _ => break,
        }
    }
    whole
}

/// The token of the message that this one answers.
fn token_in(start: &[u8]) -> Option<String> {
    let subject = header::find(start, "Subject")?.unfolded();
    let token = subject.trim().strip_prefix("Re: ")?.strip_prefix(SUBJECT)?.trim();
    (token.len() == 32 && token.bytes().all(|octet| octet.is_ascii_hexdigit())).then(|| token.to_owned())
}

/// An answer that is waited for.
pub(crate) struct Expected {
    trips: RoundTrips,
    token: String,
    answer: oneshot::Receiver<Vec<u8>>,
}

impl Expected {
    /// The answer, when it comes.
    pub(crate) async fn came(mut self) -> Option<Vec<u8>> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.trips.give_up(&self.token);
    }
}

#[cfg(test)]
mod tests {
    use mail::{Address, BodyType, ReversePath};

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn answer(subject: &str) -> Content {
        let text = format!(
            "From: <echo@mx.example.org>\r\nSubject: {subject}\r\nPostern-Echo-Results: mx.example.org; spf=pass;\r\n\tdkim=pass\r\n\r\n\
             --echo-1\r\nContent-Type: text/plain\r\n\r\nwords\r\n\
             --echo-1\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
             From: a\r\n\r\nbody\r\n\r\n--echo-1--\r\n"
        );
        Content::memory(vec![text.into()])
    }

    fn envelope(reverse_path: ReversePath) -> Envelope {
        Envelope {
            reverse_path,
            recipients: Vec::new(),
            body: BodyType::SevenBit,
            smtputf8: false,
            require_tls: false,
            ret: None,
            envid: None,
            client: None,
        }
    }

    #[tokio::test]
    async fn an_answer_goes_to_whom_it_was_promised_and_once() {
        let trips = RoundTrips::default();
        let echo = ReversePath::Address(Address::parse("echo@mx.example.org").unwrap());
        let echo = envelope(echo);
        let right = answer(&format!("Re: {SUBJECT} {TOKEN}"));
        assert!(!trips.take_back(&echo, &right).await, "nobody waits");
        let expected = trips.expect(TOKEN).unwrap();
        let stranger = envelope(ReversePath::Address(Address::parse("x@far.example").unwrap()));
        assert!(!trips.take_back(&stranger, &right).await, "a stranger's message is a message");
        let other = answer(&format!("Re: {SUBJECT} {}", TOKEN.replace('0', "1")));
        assert!(!trips.take_back(&echo, &other).await, "another token is nobody's");
        assert!(trips.take_back(&echo, &right).await);
        assert!(!trips.take_back(&echo, &right).await, "a token is good once");
        let came = expected.came().await.unwrap();
        assert!(came.ends_with(b"--echo-1--\r\n"), "all of it");
    }

    #[test]
    fn nobody_waits_for_ever_and_no_more_are_on_their_way_than_eight() {
        let trips = RoundTrips::default();
        let token = |n: usize| format!("{n:032x}");
        let expected: Vec<_> = (0..WAITING_MAX).map(|n| trips.expect(&token(n)).unwrap()).collect();
        assert!(trips.expect(&token(99)).is_none());
        drop(expected);
        assert!(trips.change(|tokens| tokens.waiting.is_empty()));
        assert!(trips.expect(&token(99)).is_some());
    }

    #[tokio::test]
    async fn an_answer_that_comes_late_is_nobodys_mail_and_the_last_of_them_are_known() {
        let trips = RoundTrips::default();
        let token = |n: usize| format!("{n:032x}");
        for n in 0..=LATE_MAX {
            drop(trips.expect(&token(n)).unwrap());
        }
        assert_eq!(trips.0.count.load(Ordering::Relaxed), LATE_MAX);
        let echo = envelope(ReversePath::Address(Address::parse("echo@mx.example.org").unwrap()));
        let of = |n: usize| answer(&format!("Re: {SUBJECT} {}", token(n)));
        assert!(!trips.take_back(&echo, &of(0)).await, "one too old");
        assert!(trips.take_back(&echo, &of(1)).await);
        assert!(!trips.take_back(&echo, &of(1)).await, "once");
        assert!(trips.take_back(&echo, &of(LATE_MAX)).await);
    }
}
