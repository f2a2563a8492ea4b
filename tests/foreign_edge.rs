//! Postfix as the edge of a home: mail from the world, and from nobody else.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use testkit::certificates::{Authority, Certificate};
use testkit::dovecot::Dovecot;
use testkit::filter::{Clamav, VIRUS};
use testkit::newer::Release;
use testkit::pair::LoneHome;
use testkit::postfix::{Postfix, Proof, WayHome};
use testkit::smtp::SmtpClient;
use testkit::submission::{Security, Sent, Submission};
use testkit::{message, ports, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(90);
const SECRET: &str = "a secret of two hosts";
const ANN: &str = "ann@sender.test";

/// A home that knows its edge by `proof`, which is TOML of `[foreign_edge]`, and has a certificate of its own.
struct Started {
    home: LoneHome,
    way_in: SocketAddr,
    own: Certificate,
}

fn started(authority: &Authority, proof: &str) -> Started {
    let (way_in, own) = (ports::free(), authority.issue(&["mail.example.org"]));
    let home = LoneHome::start(&format!("{}[foreign_edge]\nlisten = [\"{way_in}\"]\n{proof}", tls(&own)));
    Started { home, way_in, own }
}

/// The certificate that Home shows, as TOML.
fn tls(own: &Certificate) -> String {
    let show = |path: &Path| path.display().to_string();
    format!("[tls]\ncertificate = {:?}\nkey = {:?}\n", show(&own.chain), show(&own.key))
}

impl Started {
    /// An edge of it for these domains.
    fn edge(&self, domains: &str, proof: Proof<'_>) -> Postfix {
        Postfix::edge(domains, WayHome { home: self.way_in, certificate: &self.own.chain, proof })
    }
}

fn pin(certificate: &Certificate) -> String {
    format!("fingerprints = [\"{}\"]\n", certificate.fingerprint())
}

/// A file with the edge's password.
fn secret() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{SECRET}\n")).unwrap();
    file
}

fn login(secret: &tempfile::NamedTempFile) -> String {
    format!("user = \"edge\"\npassword_file = {:?}\n", secret.path().display().to_string())
}

fn send(edge: &Postfix, to: &str, octets: &[u8]) -> String {
    SmtpClient::ready(edge.address()).unwrap().message(ANN, &[to], octets).unwrap()
}

fn arrived(home: &LoneHome, user: &str, count: usize) -> Vec<Vec<u8>> {
    let account = home.account(user);
    until("the mail is there", PATIENCE, || (account.count("INBOX") >= count).then_some(()));
    account.messages("INBOX")
}

fn logged(edge: &Postfix, text: &str) {
    until(&format!("Postfix logs {text}"), PATIENCE, || edge.log().contains(text).then_some(()));
}

#[test]
fn an_edge_with_the_right_certificate_hands_in_mail_for_people_here_and_nobody_else() {
    let _alone = alone();
    let authority = Authority::new();
    let certificate = authority.issue(&["mx.edge.test"]);
    let at = started(&authority, &format!("{}networks = [\"127.0.0.1/32\"]", pin(&certificate)));
    let edge = at.edge("example.org, other.test", Proof::Certificate(&certificate));
    let mut octets = b"Authentication-Results: mail.example.org; dmarc=pass\r\n".to_vec();
    octets.extend(message::simple(ANN, "alice@example.org", "through"));
    assert!(send(&edge, "alice@example.org", &octets).starts_with("250"));
    let got = arrived(&at.home, "alice", 1).remove(0);
    assert_eq!(message::field(&got, "Return-Path").as_deref(), Some("<ann@sender.test>"));
    assert_eq!(message::field(&got, "Authentication-Results"), None, "nobody is believed by default");
    let received = message::field(&got, "Received").unwrap();
    assert!(received.starts_with("from mx.edge.test ([127.0.0.1]) by mail.example.org"), "{received}");
    assert!(received.contains("with ESMTPS (TLS1.3"), "{received}");

    let unknown = send(&edge, "nobody@example.org", &octets);
    assert!(unknown.starts_with("550") && unknown.contains("There is no such recipient here"), "{unknown}");
    let foreign = send(&edge, "somebody@other.test", &octets);
    assert!(foreign.starts_with("550") && foreign.contains("relaying is not offered"), "{foreign}");
}

#[test]
fn results_of_a_named_edge_are_kept_and_those_of_others_taken_out() {
    let _alone = alone();
    let authority = Authority::new();
    let certificate = authority.issue(&["mx.edge.test"]);
    let at = started(&authority, &format!("{}authserv_id = \"mx.edge.test\"", pin(&certificate)));
    let edge = at.edge("example.org", Proof::Certificate(&certificate));
    let mut octets = b"Authentication-Results: mx.edge.test; spf=pass\r\n\
        Authentication-Results: mail.example.org; dmarc=pass\r\n\
        Authentication-Results: elsewhere.test; dkim=pass\r\n"
        .to_vec();
    octets.extend(message::simple(ANN, "alice@example.org", "results"));
    assert!(send(&edge, "alice@example.org", &octets).starts_with("250"));
    let got = String::from_utf8(arrived(&at.home, "alice", 1).remove(0)).unwrap();
    assert_eq!(got.matches("Authentication-Results:").count(), 1, "{got}");
    assert!(got.contains("Authentication-Results: mx.edge.test; spf=pass"), "{got}");
}

#[test]
fn an_edge_that_logs_in_hands_in_mail_and_one_message_that_comes_twice_is_there_once() {
    let _alone = alone();
    let (secret, authority) = (secret(), Authority::new());
    let at = started(&authority, &login(&secret));
    let edge = at.edge("example.org", Proof::Login("edge", SECRET));
    assert!(
        send(&edge, "alice@example.org", &message::simple(ANN, "alice@example.org", "login"))
            .starts_with("250")
    );
    let got = arrived(&at.home, "alice", 1).remove(0);
    assert!(message::field(&got, "Received").unwrap().contains("with ESMTPSA"));

    // As an edge does that did not hear the reply: the same octets once more.
    let login = Some(("edge".to_owned(), SECRET.to_owned()));
    let submission = Submission { namespace: None, server: at.way_in, security: Security::Tls, login };
    let mut octets = b"Received: from a by mx.edge.test id 1; Thu, 01 Jan 2026 00:00:00 +0000\r\n".to_vec();
    octets.extend(message::simple(ANN, "bob@example.org", "twice"));
    let sent =
        Sent { from: ANN, to: "bob@example.org", mail_options: "", rcpt_options: "", message: &octets };
    submission.send(sent);
    submission.send(sent);
    let mut other = octets.clone();
    other.extend_from_slice(b"One line more.\r\n");
    submission.send(Sent { message: &other, ..sent });
    assert_eq!(at.home.account("bob").count("INBOX"), 2);
}

#[test]
fn an_edge_with_a_wrong_password_keeps_its_mail() {
    let _alone = alone();
    let (secret, authority) = (secret(), Authority::new());
    let at = started(&authority, &login(&secret));
    let edge = at.edge("example.org", Proof::Login("edge", "not the secret at all"));
    // Recipients can't be asked about either, which is temporary.
    let reply = send(&edge, "alice@example.org", &message::simple(ANN, "alice@example.org", "wrong"));
    assert!(reply.starts_with("450"), "{reply}");
    logged(&edge, "535 5.7.8");
    assert!(at.home.role.log().contains("login failed client=127.0.0.1 service=\"foreign-edge\""));
    assert_eq!(at.home.account("alice").count("INBOX"), 0);
}

#[test]
fn a_renewed_certificate_is_told_to_the_operator_and_costs_no_mail() {
    let _alone = alone();
    let authority = Authority::new();
    let (old, new) = (authority.issue(&["old.edge.test"]), authority.issue(&["mx.edge.test"]));
    let mut at = started(&authority, &pin(&old));
    let edge = at.edge("example.org", Proof::Certificate(&new));
    let octets = message::simple(ANN, "alice@example.org", "renewed");
    let reply = send(&edge, "alice@example.org", &octets);
    assert!(reply.starts_with("454 4.7.0"), "the sender keeps it: {reply}");
    let log = at.home.role.log();
    assert!(log.contains(&new.fingerprint()) && log.contains("[foreign_edge] fingerprints"), "{log}");
    at.home.role.configure(&format!("[foreign_edge]\n{}", pin(&new)));
    at.home.role.restart();
    until("the edge is known", PATIENCE, || {
        send(&edge, "alice@example.org", &octets).starts_with("250").then_some(())
    });
    arrived(&at.home, "alice", 1);
}

#[test]
fn whoever_proves_nothing_hands_in_nothing() {
    let _alone = alone();
    let authority = Authority::new();
    let certificate = authority.issue(&["mx.edge.test"]);
    let at = started(&authority, &pin(&certificate));
    let edge = at.edge("example.org", Proof::Nothing);
    let reply = send(&edge, "alice@example.org", &message::simple(ANN, "alice@example.org", "nobody"));
    assert!(reply.starts_with("530 5.7.0"), "{reply}");
    assert_eq!(at.home.account("alice").count("INBOX"), 0);
}

#[test]
fn the_right_certificate_from_another_network_is_not_spoken_to() {
    let _alone = alone();
    let authority = Authority::new();
    let certificate = authority.issue(&["mx.edge.test"]);
    let at = started(&authority, &format!("{}networks = [\"192.0.2.1\"]", pin(&certificate)));
    let edge = at.edge("example.org", Proof::Certificate(&certificate));
    let reply = send(&edge, "alice@example.org", &message::simple(ANN, "alice@example.org", "elsewhere"));
    assert!(reply.starts_with("451 4.3.0") && !reply.contains("127.0.0.1"), "{reply}");
    until("Home says why", PATIENCE, || {
        at.home.role.log().contains("outside [foreign_edge] networks").then_some(())
    });
}

/// Symptom: the edge told strangers Home's address and port, bounced to forged senders what Home refused, and good people
/// heard 450 for long after an outage. Cause: Postfix took mail before Home had seen it. Analysis: Home's reply is the
/// client's now (`smtpd_proxy_filter`), and the edge has nothing of its own to say.
#[test]
fn what_home_refuses_and_home_away_are_heard_within_the_session_and_the_edge_keeps_nothing() {
    let _alone = alone();
    home_has_the_last_word(None);
}

#[test]
fn with_postfix_3_10_as_the_edge_home_has_the_last_word() {
    let _alone = alone();
    home_has_the_last_word(Some(Release::Trixie));
}

#[test]
fn with_postfix_3_11_as_the_edge_home_has_the_last_word() {
    let _alone = alone();
    home_has_the_last_word(Some(Release::Sid));
}

fn home_has_the_last_word(release: Option<Release>) {
    let authority = Authority::new();
    let certificate = authority.issue(&["mx.edge.test"]);
    let (full, alice) = ("bob@example.org", "alice@example.org");
    let mut dovecot = Dovecot::start(&[(alice, "x", None), (full, "x", Some(3_000))]);
    let virus = Clamav::start("Reject");
    let filter = format!("[[filter]]\nkind = \"milter\"\naddress = \"inet:{}\"\n", virus.address);
    let deliver = format!("{filter}[deliver]\nlmtp = \"unix:{}\"\n", dovecot.lmtp_socket().display());
    let mut at = started(&authority, &format!("{}{deliver}", pin(&certificate)));
    let way =
        WayHome { home: at.way_in, certificate: &at.own.chain, proof: Proof::Certificate(&certificate) };
    let edge = Postfix::edge_of(release, "example.org", way);
    let letter = |to: &str, subject: &str| message::simple(ANN, to, subject);
    let mut replies = Vec::new();
    let mut hears = |to: &str, octets: &[u8], code: &str| {
        let reply = send(&edge, to, octets);
        assert!(reply.starts_with(code), "{to}: {reply}");
        replies.push(reply);
    };

    let mut large = letter(alice, "large");
    for line in 0..100_000 {
        large.extend_from_slice(format!(".line {line} of a large message\r\n").as_bytes());
    }
    hears(alice, &large, "250");
    let stored = until("Dovecot has it", PATIENCE, || dovecot.messages(alice).pop());
    assert_eq!(message::body(&stored), message::body(&large), "not an octet is changed");
    let filling = [letter(full, "filling"), b"x\r\n".repeat(300)].concat();
    until("the mailbox is full", PATIENCE, || send(&edge, full, &filling).starts_with("552").then_some(()));
    hears(full, &filling, "552 5.2.2");
    hears(alice, &[letter(alice, "ill"), VIRUS.as_bytes().to_vec(), b"\r\n".to_vec()].concat(), "550");
    hears("nobody@example.org", &letter(alice, "unknown"), "550 5.1.1");

    dovecot.stop();
    hears(alice, &letter(alice, "waiting"), "451");
    dovecot.start_again();
    at.home.role.terminate(PATIENCE);
    hears(alice, &letter(alice, "waiting"), "451 4.3.0");
    hears("nobody@example.org", &letter(alice, "unknown"), "451 4.3.0");
    at.home.role.start();
    // Good people are good at once: nobody remembers that nobody could be asked.
    hears(alice, &letter(alice, "waiting"), "250");
    hears("nobody@example.org", &letter(alice, "unknown"), "550 5.1.1");

    let way_in = at.way_in.port().to_string();
    for reply in &replies {
        for secret in ["127.0.0.1", &way_in, "onnection", "said", "ovecot", "host "] {
            assert!(!reply.contains(secret), "'{secret}' in {reply}");
        }
    }
    assert_eq!(dovecot.messages(alice).len(), 2, "each once");
    assert_eq!(edge.queued(), Vec::<String>::new(), "no bounce, no notice, no mail");
    assert!(!edge.log().contains("from=<>") && !edge.log().contains("status="), "{}", edge.log());
}
