//! The driver over connections that end where they should not.

use std::sync::Mutex;

use smtp::server::{Limits, Mode};
use tokio::io::DuplexStream;

use super::*;
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
