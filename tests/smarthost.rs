//! Postfix as the smarthost of a home: what users send, what is refused, what comes back, and what waits.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use testkit::certificates::{Authority, Certificate};
use testkit::dovecot::Dovecot;
use testkit::imap::json;
use testkit::newer::Release;
use testkit::pair::{LoneHome, PASSWORD};
use testkit::postfix::{Postfix, Proof, Relaying, WayHome};
use testkit::smtp::SmtpClient;
use testkit::submission::{Security, Sent, Submission};
use testkit::{message, ports, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(90);
const ALICE: &str = "alice@example.org";
const SECRET: &str = "a secret of two hosts";

/// A home whose edge is a Postfix that takes the world's mail and sends to it. The world is `remote.test`, where
/// `rejected@` does not exist; `refused@` the edge itself refuses.
struct World {
    home: LoneHome,
    edge: Postfix,
    world: Postfix,
    own: Certificate,
    /// The client certificate that the edge knows.
    client: Certificate,
    /// Where the edge takes mail from Home, TLS first.
    implicit: SocketAddr,
    _dovecot: Dovecot,
    _authority: Authority,
    secret: tempfile::NamedTempFile,
}

/// How home and smarthost know each other.
enum Meeting {
    /// TLS first, a pinned certificate, a login.
    Pinned,
    /// STARTTLS, a certificate by an authority, a client certificate.
    Roots,
    /// As the second, and the edge knows another client certificate.
    OtherClient,
    /// As the first, and the server's certificate is another one.
    WrongPin,
    /// As the first, with another password.
    WrongPassword,
}

impl World {
    fn start(meeting: &Meeting) -> Self {
        Self::of(None, meeting)
    }

    fn of(release: Option<Release>, meeting: &Meeting) -> Self {
        let authority = Authority::new();
        let (own, client) = (authority.issue(&["mx.edge.test"]), authority.issue(&["home.test"]));
        let at_home = authority.issue(&["mail.example.org"]);
        let shown = match meeting {
            Meeting::OtherClient => authority.issue(&["renewed.test"]),
            _ => client.clone(),
        };
        let dovecot = Dovecot::start(&[("home", SECRET, None)]);
        let world = Postfix::start("remote.test");
        let way_in = ports::free();
        let (edge, implicit, starttls) = Postfix::edge_both_ways(
            "example.org",
            WayHome { home: way_in, certificate: &at_home.chain, proof: Proof::Certificate(&own) },
            Relaying {
                certificate: &own,
                auth: &dovecot.auth_socket(),
                client: &client.fingerprint(),
                world: world.address(),
                release,
            },
        );
        let secret = tempfile::NamedTempFile::new().unwrap();
        let password = if matches!(meeting, Meeting::WrongPassword) { "wrong" } else { SECRET };
        std::fs::write(secret.path(), format!("{password}\n")).unwrap();
        let login = format!("user = \"home\"\npassword_file = {:?}", secret.path().display().to_string());
        let pin = |certificate: &Certificate| format!("fingerprint = \"{}\"", certificate.fingerprint());
        let smarthost = match meeting {
            Meeting::Pinned | Meeting::WrongPassword => {
                format!("address = \"{implicit}\"\n{login}\n{}", pin(&own))
            }
            Meeting::WrongPin => format!("address = \"{implicit}\"\n{login}\n{}", pin(&client)),
            Meeting::Roots | Meeting::OtherClient => format!(
                "address = \"{starttls}\"\ntls = \"starttls\"\nserver_name = \"mx.edge.test\"\nroots = {:?}\n\
                 certificate = {:?}\nkey = {:?}",
                authority.root().display().to_string(),
                shown.chain.display().to_string(),
                shown.key.display().to_string(),
            ),
        };
        let home = LoneHome::start(&format!(
            "outbound = \"on\"\n[queue]\nretry = [\"1s\"]\n[foreign_edge]\nlisten = [\"{way_in}\"]\n\
             fingerprints = [\"{}\"]\n[smarthost]\n{smarthost}\n[tls]\ncertificate = {:?}\nkey = {:?}\n",
            own.fingerprint(),
            at_home.chain.display().to_string(),
            at_home.key.display().to_string()
        ));
        Self { home, edge, world, own, client, implicit, _dovecot: dovecot, _authority: authority, secret }
    }

    fn send(&self, to: &str, subject: &str) {
        self.send_octets(to, &message::simple(ALICE, to, subject));
    }

    fn send_octets(&self, to: &str, octets: &[u8]) {
        let login = Some((ALICE.to_owned(), PASSWORD.to_owned()));
        let server = self.home.submission;
        let submission = Submission { namespace: None, server, security: Security::Tls, login };
        submission.send(Sent { from: ALICE, to, mail_options: "", rcpt_options: "", message: octets });
    }

    fn came(&self, local: &str, subject: &str) -> Vec<u8> {
        let field = format!("Subject: {subject}");
        until("the world has it", PATIENCE, || {
            let mut messages = self.world.messages(local).into_iter();
            messages.find(|stored| message::holds(stored, field.as_bytes()))
        })
    }

    fn queue(&self) -> Vec<serde_json::Value> {
        let listed = json(&self.home.role.command_ok(&["queue", "list", "--json"], ""));
        listed.as_array().unwrap().clone()
    }

    fn until_queue_is_empty(&self) {
        until("the queue is empty", PATIENCE, || self.queue().is_empty().then_some(()));
    }

    /// The report that alice gets.
    fn report(&self) -> String {
        let alice = self.home.account("alice");
        until("alice has a report", PATIENCE, || (alice.count("INBOX") > 0).then_some(()));
        String::from_utf8(alice.messages("INBOX").remove(0)).unwrap()
    }

    fn waits_and_the_log_says(&self, text: &str) {
        self.send("you@remote.test", "waiting");
        until(&format!("Home logs {text}"), PATIENCE, || self.home.role.log().contains(text).then_some(()));
        assert_eq!(self.queue().len(), 1, "it stays in the queue");
        assert_eq!(self.home.account("alice").count("INBOX"), 0, "and is not sent back");
    }
}

#[test]
fn what_a_user_sends_goes_out_through_the_smarthost_with_a_login() {
    let _alone = alone();
    let world = World::start(&Meeting::Pinned);
    world.send("you@remote.test", "first");
    world.send("you@remote.test", "second");
    let stored = message::with_crlf(&world.came("you", "first"));
    world.came("you", "second");
    let path = message::field(&stored, "Return-Path").unwrap();
    assert!(path.starts_with("<prvs=") && path.ends_with("=alice@example.org>"), "{path}");
    let text = String::from_utf8_lossy(message::head(&stored)).into_owned();
    assert!(text.contains("DKIM-Signature") && text.contains("by mail.example.org"), "{text}");
    assert!(!text.contains("from mail.example.org"), "the edge hides where it came from: {text}");
    world.until_queue_is_empty();
    assert!(world.edge.log().contains("sasl_username=home"));
}

#[test]
fn a_client_certificate_and_starttls_do_as_well() {
    let _alone = alone();
    let world = World::start(&Meeting::Roots);
    world.send("you@remote.test", "by-certificate");
    world.came("you", "by-certificate");
    world.until_queue_is_empty();
}

/// Symptom: when the client certificate is renewed at one end only, all mail that users send is bounced. Cause: the
/// smarthost says 554 to each recipient then, which was taken for a word on the recipient.
#[test]
fn a_smarthost_that_does_not_know_homes_certificate_bounces_nothing() {
    let _alone = alone();
    let mut world = World::start(&Meeting::OtherClient);
    world.waits_and_the_log_says("the smarthost refuses Home, not the recipient");
    let (certificate, key) =
        (world.client.chain.display().to_string(), world.client.key.display().to_string());
    world.home.role.configure(&format!("[smarthost]\ncertificate = {certificate:?}\nkey = {key:?}"));
    world.home.role.restart();
    world.came("you", "waiting");
    world.until_queue_is_empty();
}

/// Symptom: after a mistake in the smarthost's address was mended, mail that was under way waits for a day. Cause: an
/// attempt was asked about at a name that nobody has any more.
#[test]
fn what_was_under_way_to_a_wrong_address_goes_when_it_is_mended() {
    let _alone = alone();
    let mut world = World::start(&Meeting::Pinned);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = |address: SocketAddr| format!("[smarthost]\naddress = \"{address}\"");
    world.home.role.configure(&at(silent.local_addr().unwrap()));
    world.home.role.restart();
    world.send("you@remote.test", "under-way");
    let _connection = silent.accept().unwrap();
    world.home.role.kill();
    world.home.role.configure(&at(world.implicit));
    world.home.role.start();
    world.came("you", "under-way");
    world.until_queue_is_empty();
    assert_eq!(world.world.messages("you").len(), 1);
}

#[test]
fn what_the_smarthost_refuses_is_reported_to_its_sender_at_once() {
    let _alone = alone();
    let world = World::start(&Meeting::Pinned);
    world.send("refused@remote.test", "refused");
    let report = world.report();
    assert!(report.contains("Action: failed") && report.contains("refused@remote.test"), "{report}");
    assert!(report.contains("554 5.7.1"), "{report}");
    world.until_queue_is_empty();
}

#[test]
fn what_the_world_refuses_comes_back_to_the_signed_address_through_the_edge() {
    let _alone = alone();
    let world = World::start(&Meeting::Pinned);
    world.send("rejected@remote.test", "rejected");
    let report = world.report();
    assert!(report.contains("Delivered-To: alice@example.org"), "{report}");
    assert!(report.contains("multipart/report") && report.contains("MAILER-DAEMON"), "{report}");
    assert!(report.contains("rejected@remote.test"), "{report}");
}

#[test]
fn mail_waits_while_the_smarthost_is_down_and_comes_once() {
    let _alone = alone();
    let world = World::start(&Meeting::Pinned);
    world.edge.stop();
    world.waits_and_the_log_says("the smarthost takes no mail now");
    world.edge.start_again();
    world.came("you", "waiting");
    world.until_queue_is_empty();
    assert_eq!(world.world.messages("you").len(), 1);
}

#[test]
fn a_smarthost_with_another_certificate_hears_neither_mail_nor_password() {
    let _alone = alone();
    let world = World::start(&Meeting::WrongPin);
    world.waits_and_the_log_says(&world.own.fingerprint());
    let log = world.edge.log();
    assert!(!log.contains("sasl_username") && !log.contains("SASL PLAIN authentication failed"), "{log}");
    assert!(world.world.messages("you").is_empty());
}

#[test]
fn mail_waits_while_the_login_is_wrong_and_goes_when_it_is_right() {
    let _alone = alone();
    let mut world = World::start(&Meeting::WrongPassword);
    world.waits_and_the_log_says("see [smarthost] user and password_file");
    std::fs::write(world.secret.path(), format!("{SECRET}\n")).unwrap();
    world.home.role.restart();
    world.came("you", "waiting");
    world.until_queue_is_empty();
}

#[test]
fn mail_for_an_alias_that_leads_elsewhere_comes_by_the_edge_and_goes_by_the_smarthost() {
    let _alone = alone();
    let world = World::start(&Meeting::Pinned);
    world.home.role.command_ok(&["alias", "add", "sales@example.org", "you@remote.test"], "");
    let octets = message::simple("ann@sender.test", "sales@example.org", "forwarded");
    let mut client = SmtpClient::ready(world.edge.address()).unwrap();
    let reply = client.message("ann@sender.test", &["sales@example.org"], &octets).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    let stored = message::with_crlf(&world.came("you", "forwarded"));
    let path = message::field(&stored, "Return-Path").unwrap();
    assert!(path.starts_with("<SRS0=") && path.ends_with("@example.org>"), "{path}");
    let head = String::from_utf8_lossy(message::head(&stored)).into_owned();
    assert!(
        head.contains("by mail.example.org (Postern)") && !head.contains("ARC-"),
        "nothing to vouch for: {head}"
    );
    world.until_queue_is_empty();

    // The world reports at the edge that it could not be delivered in the end: the operator hears of it.
    let path = path.trim_matches(['<', '>']);
    let report = format!(
        "From: MAILER-DAEMON@remote.test\r\nTo: {path}\r\nSubject: could not be delivered\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nsorry\r\n--b--\r\n"
    );
    let mut client = SmtpClient::ready(world.edge.address()).unwrap();
    let reply = client.message("", &[path], report.as_bytes()).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    assert!(world.report().contains("could not be delivered"));
}

/// Symptom: a message waited at the smarthost until it was given up. Cause: Postfix 3.11 takes a field of its header, which
/// some other hop had written, for the wish of its sender that every host demand REQUIRETLS.
#[test]
fn a_smarthost_that_is_postfix_3_11_is_not_asked_for_requiretls_by_a_field_of_somebody_elses() {
    let _alone = alone();
    let world = World::of(Some(Release::Sid), &Meeting::Pinned);
    world.edge.set("smtp_requiretls_policy=enforce");
    let text = message::simple(ALICE, "you@remote.test", "onward");
    let octets = [&b"Require-TLS-ESMTP: yes\r\n"[..], &text].concat();
    world.send_octets("you@remote.test", &octets);
    let stored = world.came("you", "onward");
    assert!(!message::holds(&stored, b"Require-TLS-ESMTP"), "{}", String::from_utf8_lossy(&stored));
    world.until_queue_is_empty();
    assert!(!world.edge.log().contains("status=deferred"), "{}", world.edge.log());
}
