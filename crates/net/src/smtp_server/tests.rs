//! The driver over connections that end where they should not.

use std::sync::Mutex;

use smtp::server::{Limits, Mode};
use tokio::io::DuplexStream;

use super::*;
use crate::patience::Pressure;
use crate::tls::{CertificateFiles, ServerIdentity, ensure_self_signed, opportunistic_connector};

/// Takes all mail and writes down what became of it.
struct Taker(Arc<Mutex<Vec<String>>>);

impl Taker {
    fn note(&self, event: &str) {
        self.0.lock().unwrap().push(event.to_owned());
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.note("dropped");
    }
}

impl Service for Taker {
    async fn login(&mut self, _: &str, _: &Secret) -> (Option<String>, Reply) {
        (None, Reply::new(535, (5, 7, 8), "No"))
    }
    async fn mail(&mut self, _: &Client, from: &MailFrom) -> Reply {
        self.note(&format!("mail {}", from.reverse_path));
        Reply::new(250, (2, 1, 0), "OK")
    }
    async fn recipient(&mut self, _: &Client, _: &Recipient) -> Reply {
        Reply::new(250, (2, 1, 5), "OK")
    }
    async fn data(&mut self, _: Envelope) -> Result<(), Reply> {
        Ok(())
    }
    async fn body(&mut self, _: Bytes) {}
    async fn end(&mut self) -> Answers {
        self.note("end");
        Reply::new(250, (2, 0, 0), "Queued").into()
    }
    fn heard(&mut self) {
        self.note("heard");
    }
    async fn aborted(&mut self, _: Cause) {
        self.note("aborted");
    }
}

fn port(implicit_tls: bool) -> Port {
    let dir = tempfile::tempdir().unwrap();
    let files =
        CertificateFiles { certificate: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    ensure_self_signed(&files, "mx.example.org").unwrap();
    let tls = ServerIdentity::load(&files).unwrap().acceptor().unwrap();
    let (hostname, limits) = ("mx.example.org".to_owned(), Limits::default());
    let settings = Settings { hostname, mode: Mode::Mx, starttls: true, limits };
    Port { settings: Arc::new(settings), tls: Some(tls), implicit_tls, stop: CancellationToken::new() }
}

async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), sent: &[u8], replies: usize) -> String {
    stream.write_all(sent).await.unwrap();
    let mut said = BytesMut::new();
    let last_lines =
        |said: &[u8]| said.split(|b| *b == b'\n').filter(|line| line.get(3) == Some(&b' ')).count();
    while last_lines(&said) < replies {
        assert!(stream.read_buf(&mut said).await.unwrap() > 0);
    }
    String::from_utf8(said.to_vec()).unwrap()
}

/// Security lesson: Exim "Dead.Letter" (CVE-2026-45185).
#[tokio::test]
async fn tls_that_ends_within_a_chunk_ends_the_session_and_nothing_is_said_or_heard_in_plain() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let events = Arc::new(Mutex::new(Vec::new()));
    let taker = Taker(Arc::clone(&events));
    let serving = tokio::spawn(async move { serve(far, [192, 0, 2, 1].into(), &port(true), taker).await });
    let name = rustls::pki_types::ServerName::try_from("mx.example.org").unwrap();
    let mut tls = opportunistic_connector().unwrap().connect(name, near).await.unwrap();
    let envelope = b"EHLO c\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\n";
    exchange(&mut tls, envelope, 4).await;
    tls.write_all(b"BDAT 100 LAST\r\nSubject: half\r\n").await.unwrap();
    // The alert that ends TLS; the connection stays, and what follows is plain.
    tls.get_mut().1.send_close_notify();
    tls.flush().await.unwrap();
    let mut plain: DuplexStream = tls.into_inner().0;
    plain.write_all(b"MAIL FROM:<plain@example.net>\r\nRCPT TO:<b@example.org>\r\nNOOP\r\n").await.unwrap();
    let mut rest = Vec::new();
    plain.read_to_end(&mut rest).await.unwrap();
    assert!(!rest.windows(3).any(|octets| octets == b"250"), "{}", rest.escape_ascii());
    let _ = serving.await.unwrap();
    assert_eq!(*events.lock().unwrap(), ["mail a@example.net", "dropped"]);
}

/// Security lesson: STARTTLS injection, server (CVE-2011-0411) and client (CVE-2021-38371).
#[tokio::test]
async fn plain_text_behind_starttls_is_not_said_within_tls() {
    let (mut near, far) = tokio::io::duplex(1 << 20);
    let events = Arc::new(Mutex::new(Vec::new()));
    let taker = Taker(Arc::clone(&events));
    let serving = tokio::spawn(async move { serve(far, [192, 0, 2, 1].into(), &port(false), taker).await });
    let injected = b"EHLO c\r\nSTARTTLS\r\nEHLO x\r\nMAIL FROM:<injected@example.net>\r\n";
    exchange(&mut near, injected, 3).await;
    let name = rustls::pki_types::ServerName::try_from("mx.example.org").unwrap();
    let mut tls = opportunistic_connector().unwrap().connect(name, near).await.unwrap();
    assert!(exchange(&mut tls, b"MAIL FROM:<a@example.net>\r\n", 1).await.starts_with("503"));
    exchange(&mut tls, b"QUIT\r\n", 1).await;
    serving.await.unwrap().unwrap();
    assert_eq!(*events.lock().unwrap(), ["dropped"]);
}

/// Takes all mail of a client that is waited for under this pressure.
struct Hurried {
    taker: Taker,
    pressure: Arc<Mutex<Pressure>>,
    revoked: CancellationToken,
}

impl Service for Hurried {
    fn erred(&mut self, errors: u32) {
        self.taker.note(&format!("erred {errors}"));
    }
    fn patience(&self) -> Patience {
        Patience::FULL.under(*self.pressure.lock().unwrap())
    }
    fn revoked(&self) -> Option<CancellationToken> {
        Some(self.revoked.clone())
    }
    async fn login(&mut self, user: &str, password: &Secret) -> (Option<String>, Reply) {
        self.taker.login(user, password).await
    }
    async fn mail(&mut self, client: &Client, from: &MailFrom) -> Reply {
        self.taker.mail(client, from).await
    }
    async fn recipient(&mut self, client: &Client, recipient: &Recipient) -> Reply {
        self.taker.recipient(client, recipient).await
    }
    async fn data(&mut self, envelope: Envelope) -> Result<(), Reply> {
        self.taker.data(envelope).await
    }
    async fn body(&mut self, _: Bytes) {}
    async fn end(&mut self) -> Answers {
        self.taker.end().await
    }
    async fn aborted(&mut self, cause: Cause) {
        self.taker.aborted(cause).await;
    }
}

/// A session over simulated time, and what became of it.
struct Simulated {
    near: DuplexStream,
    events: Arc<Mutex<Vec<String>>>,
    pressure: Arc<Mutex<Pressure>>,
    revoked: CancellationToken,
    serving: tokio::task::JoinHandle<io::Result<()>>,
}

impl Simulated {
    fn start(octets: usize) -> Self {
        let (near, far) = tokio::io::duplex(octets);
        let (events, pressure, revoked) = (Arc::default(), Arc::default(), CancellationToken::new());
        let taker = Taker(Arc::clone(&events));
        let service = Hurried { taker, pressure: Arc::clone(&pressure), revoked: revoked.clone() };
        let serving =
            tokio::spawn(async move { serve(far, [192, 0, 2, 1].into(), &port(false), service).await });
        Self { near, events, pressure, revoked, serving }
    }

    /// Sends one octet after each pause until the other side is gone; for how long that went on.
    async fn trickle(&mut self, octet: u8, pause: Duration) -> Duration {
        let began = Instant::now();
        while self.near.write_all(&[octet]).await.is_ok() && began.elapsed() < Duration::from_secs(86_400) {
            tokio::time::sleep(pause).await;
        }
        began.elapsed()
    }

    fn events(&self) -> Vec<String> {
        self.events.lock().unwrap().clone()
    }
}

const ENVELOPE: &[u8] = b"EHLO c\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n";

/// Symptom: one octet in each 100 seconds held a place for ever. Cause: the deadline was for a read.
#[tokio::test(start_paused = true)]
async fn an_octet_now_and_then_holds_a_place_for_as_long_as_a_command_may_take() {
    let mut client = Simulated::start(4096);
    let lasted = client.trickle(b'N', Duration::from_secs(100)).await;
    assert!((300..=410).contains(&lasted.as_secs()), "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn commands_without_a_pause_and_without_a_message_come_to_an_end() {
    let mut client = Simulated::start(4096);
    exchange(&mut client.near, b"", 1).await;
    for number in 1..=2000 {
        assert!(exchange(&mut client.near, b"NOOP\r\n", 1).await.starts_with("250"), "{number}");
    }
    assert!(exchange(&mut client.near, b"NOOP\r\n", 2).await.contains("421 4.4.2 "));
}

#[tokio::test(start_paused = true)]
async fn an_octet_now_and_then_of_a_body_comes_to_an_end() {
    let mut client = Simulated::start(4096);
    exchange(&mut client.near, ENVELOPE, 5).await;
    let lasted = client.trickle(b'x', Duration::from_secs(100)).await;
    assert!((1800..=2000).contains(&lasted.as_secs()), "{lasted:?}");
    assert_eq!(client.events(), ["mail a@example.net", "aborted", "dropped"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_waited_for_when_places_fill_has_no_more_time_than_who_comes_then() {
    let mut client = Simulated::start(4096);
    exchange(&mut client.near, b"", 1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    *client.pressure.lock().unwrap() = Pressure::of(1, 1);
    let began = Instant::now();
    let mut said = String::new();
    client.near.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("421 4.4.2 "), "{said}");
    assert!(began.elapsed() <= LOOK_EVERY, "{:?}", began.elapsed());
}

/// Symptom: a client that never read held its place for ever. Cause: a write had no deadline.
/// Security lesson: Slowloris (CVE-2007-6750).
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_given_up_and_its_errors_count() {
    let mut client = Simulated::start(256);
    let began = Instant::now();
    for _ in 0..15 {
        if client.near.write_all(b"NONSENSE\r\n").await.is_err() {
            break;
        }
    }
    let ended = client.serving.await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!((300..=310).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let events = client.events.lock().unwrap().clone();
    assert_eq!(events, ["erred 15", "dropped"]);
}

/// Symptom: of 570 connections that were reset after a refused command none was counted. Cause: the service heard of
/// errors at QUIT and EOF only.
#[tokio::test(start_paused = true)]
async fn errors_count_while_the_session_goes_on_so_that_its_end_does_not_matter() {
    let mut client = Simulated::start(4096);
    exchange(&mut client.near, b"NONSENSE\r\n", 2).await;
    assert_eq!(client.events(), ["erred 1"]);
    exchange(&mut client.near, b"NONSENSE\r\nRCPT TO:<b@example.org>\r\n", 2).await;
    assert_eq!(client.events(), ["erred 1", "erred 2"]);
    drop(client.near);
    let _ = client.serving.await.unwrap();
    assert_eq!(*client.events.lock().unwrap(), ["erred 1", "erred 2", "dropped"]);
}

/// Symptom: who had lost his account went on sending. Cause: a session looked at its login once.
#[tokio::test(start_paused = true)]
async fn whose_login_is_revoked_hears_421_between_two_messages_and_in_the_middle_of_one() {
    for middle in [false, true] {
        let mut client = Simulated::start(4096);
        exchange(&mut client.near, b"EHLO c\r\n", 2).await;
        if middle {
            exchange(&mut client.near, &ENVELOPE[8..], 3).await;
            client.near.write_all(b"Subject: half\r\n").await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.revoked.cancel();
        let mut said = String::new();
        client.near.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("421 4.7.0 "), "{said}");
        client.serving.await.unwrap().unwrap();
        let events = client.events.lock().unwrap().clone();
        assert_eq!(events.contains(&"aborted".to_owned()), middle, "{events:?}");
        assert!(!events.contains(&"end".to_owned()), "{events:?}");
    }
}

/// RFC 5321 section 4.5.3.2: these are the times that an honest client may take.
#[tokio::test(start_paused = true)]
async fn a_client_as_slow_as_the_rfc_allows_delivers_its_message_while_places_are_free() {
    let mut client = Simulated::start(4096);
    exchange(&mut client.near, b"", 1).await;
    let lines: [&[u8]; 4] =
        [b"EHLO c\r\n", b"MAIL FROM:<a@example.net>\r\n", b"RCPT TO:<b@example.org>\r\n", b"DATA\r\n"];
    for line in lines {
        tokio::time::sleep(Duration::from_secs(290)).await;
        exchange(&mut client.near, line, 1).await;
    }
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(175)).await;
        let line = format!("{}\r\n", "x".repeat(998));
        client.near.write_all(line.as_bytes()).await.unwrap();
    }
    assert!(exchange(&mut client.near, b".\r\n", 1).await.starts_with("250"));
}

/// A client that has given a message, and what the service noted until then.
async fn given(
    message: &[u8],
    events: &Arc<Mutex<Vec<String>>>,
) -> (DuplexStream, tokio::task::JoinHandle<io::Result<()>>) {
    let (mut near, far) = tokio::io::duplex(1 << 20);
    let taker = Taker(Arc::clone(events));
    let serving = tokio::spawn(async move { serve(far, [192, 0, 2, 1].into(), &port(false), taker).await });
    exchange(&mut near, b"", 1).await;
    let begin: &[u8] = b"EHLO a.example\r\nMAIL FROM:<a@b.org>\r\nRCPT TO:<c@d.org>\r\nDATA\r\n";
    exchange(&mut near, begin, 4).await;
    near.write_all(message).await.unwrap();
    (near, serving)
}

const LETTER: &[u8] = b"Subject: x\r\n\r\nbody\r\n.\r\n";
const LETTER_AND_QUIT: &[u8] = b"Subject: x\r\n\r\nbody\r\n.\r\nQUIT\r\n";

/// RFC 1047: who does not hear the reply sends the message again.
#[tokio::test]
async fn a_client_that_goes_on_or_closes_after_the_reply_has_heard_it() {
    for last in [&b"NOOP\r\n"[..], b"QUIT\r\n", b""] {
        let events = Arc::new(Mutex::new(Vec::new()));
        let (mut near, serving) = given(LETTER, &events).await;
        assert!(exchange(&mut near, b"", 1).await.starts_with("250"));
        assert_eq!(*events.lock().unwrap(), ["mail a@b.org", "end"], "no sign of it yet");
        near.write_all(last).await.unwrap();
        near.shutdown().await.unwrap();
        serving.await.unwrap().unwrap();
        assert_eq!(*events.lock().unwrap(), ["mail a@b.org", "end", "heard", "dropped"], "{last:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quit_that_came_with_the_message_shows_nothing_and_its_closing_does() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let (mut near, serving) = given(LETTER_AND_QUIT, &events).await;
    assert!(exchange(&mut near, b"", 2).await.contains("221"));
    assert_eq!(*events.lock().unwrap(), ["mail a@b.org", "end"]);
    drop(near);
    serving.await.unwrap().unwrap();
    assert_eq!(*events.lock().unwrap(), ["mail a@b.org", "end", "heard", "dropped"]);
    // The same, and the client is never heard of again.
    let events = Arc::new(Mutex::new(Vec::new()));
    let (_near, serving) = given(LETTER_AND_QUIT, &events).await;
    let begun = Instant::now();
    serving.await.unwrap().unwrap();
    assert!(begun.elapsed() >= CLOSE_PATIENCE, "the clock is simulated");
    assert_eq!(*events.lock().unwrap(), ["mail a@b.org", "end", "dropped"]);
}

#[tokio::test]
async fn who_has_closed_before_the_reply_has_not_heard_it() {
    for letter in [LETTER, LETTER_AND_QUIT] {
        let events = Arc::new(Mutex::new(Vec::new()));
        let (mut near, far) = tokio::io::duplex(1 << 20);
        let begin: &[u8] = b"HELO a.example\r\nMAIL FROM:<a@b.org>\r\nRCPT TO:<c@d.org>\r\nDATA\r\n";
        near.write_all(&[begin, letter].concat()).await.unwrap();
        near.shutdown().await.unwrap();
        let taker = Taker(Arc::clone(&events));
        let _ = serve(far, [192, 0, 2, 1].into(), &port(false), taker).await;
        assert_eq!(*events.lock().unwrap(), ["mail a@b.org", "end", "dropped"], "{letter:?}");
    }
}
