//! What Edge refuses inside the session, and what it tells Home about what it takes.

use std::path::Path;
use std::time::Duration;

use testkit::dkim::{DkimKey, KeyKind};
use testkit::dns::{NameServer, Record};
use testkit::pair::PairOptions;
use testkit::smtp::SmtpClient;
use testkit::{Pair, process, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(60);
/// `p=reject` is a refusal.
pub(crate) const STRICT: &str = "[policy]\ndmarc = \"strict\"";

fn zone(key: &DkimKey) -> Vec<(&'static str, Record)> {
    let text = |text: &str| Record::Txt(text.to_owned());
    vec![
        ("sel._domainkey.signed.test", Record::Txt(key.record())),
        ("_dmarc.signed.test", text("v=DMARC1; p=reject")),
        ("_dmarc.strict.test", text("v=DMARC1; p=reject")),
        ("_dmarc.wary.test", text("v=DMARC1; p=quarantine")),
        ("_dmarc.tries.test", text("v=DMARC1; p=reject; t=y")),
        ("_dmarc.relaxed.test", text("v=DMARC1; p=none")),
        ("strict.test", text("v=spf1 ip4:127.0.0.1 -all")),
        ("relaxed.test", text("v=spf1 ip4:192.0.2.1 -all")),
    ]
}

fn pair(name_server: Option<&NameServer>, edge_config: &str) -> Pair {
    Pair::with(&PairOptions {
        edge_config: edge_config.to_owned(),
        name_server: name_server.map(NameServer::address),
        ..PairOptions::default()
    })
}

/// A message from that domain, with results that claim to be those of the edge.
pub(crate) fn message(domain: &str, subject: &str) -> String {
    format!(
        "From: Ann <ann@{domain}>\r\nTo: bob@example.org\r\nSubject: {subject}\r\n\
         Authentication-Results: mx.example.org; dmarc=pass header.from=forged.test\r\n\r\nwords \t \r\nmore\r\n \r\n"
    )
}

fn sign(key: &DkimKey, forms: &str, subject: &str) -> Vec<u8> {
    key.sign(&["d=signed.test", &format!("c={forms}")], message("signed.test", subject).as_bytes())
}

fn send(pair: &Pair, from: &str, octets: &[u8]) -> String {
    let mut client = SmtpClient::ready(pair.smtp).unwrap();
    client.message(from, &["bob@example.org"], octets).unwrap()
}

fn results(pair: &Pair, mailbox: &str, subject: &str) -> String {
    let stored = pair.account("bob").messages(mailbox);
    results_of(&stored, subject).unwrap_or_else(|| panic!("no {subject} in {mailbox}"))
}

/// The `Authentication-Results` of the stored message with that subject; there is one, and it is ours.
pub(crate) fn results_of(stored: &[Vec<u8>], subject: &str) -> Option<String> {
    let wanted = format!("Subject: {subject}\r\n");
    let mut texts = stored.iter().map(|octets| String::from_utf8_lossy(octets).into_owned());
    let text = texts.find(|text| text.contains(&wanted))?;
    assert_eq!(text.matches("Authentication-Results:").count(), 1, "one, and ours:\n{text}");
    assert!(!text.contains("forged.test"), "{text}");
    let found = testkit::message::field(text.as_bytes(), "Authentication-Results")?;
    Some(found.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Symptom: what a mailing list had changed was refused when its author's domain publishes `p=reject`. Cause: the policy
/// was carried out alone. Analysis: RFC 9989 section 7.4 forbids that; a lost signature is no second reason beside the
/// failure that it makes.
/// Security lesson: DMARC `p=reject` carried out alone (RFC 7960, RFC 9989).
#[test]
fn a_list_s_message_that_lost_its_signature_arrives_in_junk_live_and_sealed() {
    let _alone = alone();
    let key = DkimKey::new(KeyKind::Rsa(2048));
    let name_server = NameServer::start(&zone(&key));
    let mut pair = pair(Some(&name_server), "");
    let listed = |subject: &str| {
        let signed = String::from_utf8(sign(&key, "relaxed/relaxed", subject)).unwrap();
        format!("List-Id: <list.strict.test>\r\n{signed}-- \r\nto leave, write to list-leave@strict.test\r\n")
    };
    assert!(send(&pair, "list-bounces@strict.test", listed("from the list").as_bytes()).starts_with("250"));
    let said = results(&pair, "Junk", "from the list");
    for part in ["spf=pass", "dkim=fail", "dmarc=fail header.from=signed.test policy.dmarc=reject"] {
        assert!(said.contains(part), "{said}");
    }
    // The same by a forwarder, for whom SPF fails, and of whom nothing else is known: greylisted at most.
    let forged = message("strict.test", "without a list");
    assert!(send(&pair, "ann@other.test", forged.as_bytes()).starts_with("250"));
    // A client that has no name of its own to tell: that is something else.
    let mut bare = SmtpClient::ready_as(pair.smtp, "bare").unwrap();
    let reply =
        bare.message("list-bounces@strict.test", &["bob@example.org"], listed("bare").as_bytes()).unwrap();
    assert!(
        reply.starts_with("550 5.7.1 The DMARC policy of signed.test is to refuse this message"),
        "{reply}"
    );
    assert!(reply.ends_with("; besides helo-bare"), "{reply}");
    pair.home.kill();
    pair.wait_for_no_link();
    assert!(send(&pair, "list-bounces@strict.test", listed("sealed").as_bytes()).starts_with("250"));
    pair.home.start();
    pair.wait_until_drained(PATIENCE);
    assert!(results(&pair, "Junk", "sealed").contains("dmarc=fail"));
    assert_eq!(pair.account("bob").count("INBOX"), 0);
}

#[test]
fn strict_dmarc_is_enforced_in_the_session_and_the_verdict_is_the_same_live_and_sealed() {
    let _alone = alone();
    let key = DkimKey::new(KeyKind::Rsa(2048));
    let name_server = NameServer::start(&zone(&key));
    let mut pair = pair(Some(&name_server), STRICT);
    for forms in ["simple/simple", "relaxed/relaxed", "relaxed/simple"] {
        let subject = format!("signed {forms}");
        let signed = sign(&key, forms, &subject);
        assert!(send(&pair, "bounce@elsewhere.test", &signed).starts_with("250"), "{forms}");
        let said = results(&pair, "INBOX", &subject);
        assert!(said.contains("dkim=pass header.d=signed.test header.s=sel header.a=rsa-sha256"), "{said}");
        assert!(said.contains("dmarc=pass header.from=signed.test"), "{said}");
        let changed = String::from_utf8(signed).unwrap().replace("words", "swords");
        let reply = send(&pair, "bounce@elsewhere.test", changed.as_bytes());
        assert!(reply.starts_with("550 5.7.1"), "{reply}");
    }
    assert!(send(&pair, "ann@strict.test", message("strict.test", "spf").as_bytes()).starts_with("250"));
    assert!(results(&pair, "INBOX", "spf").contains("spf=pass smtp.mailfrom=strict.test"));
    let reply = send(&pair, "ann@other.test", message("strict.test", "forged").as_bytes());
    assert!(reply.starts_with("550 5.7.1") && reply.contains("strict.test"), "{reply}");
    assert!(send(&pair, "ann@other.test", message("relaxed.test", "none").as_bytes()).starts_with("250"));
    assert!(
        results(&pair, "INBOX", "none").contains("dmarc=fail header.from=relaxed.test policy.dmarc=none")
    );
    for domain in ["wary.test", "tries.test"] {
        assert!(send(&pair, "ann@other.test", message(domain, domain).as_bytes()).starts_with("250"));
        assert!(results(&pair, "Junk", domain).contains("dmarc=fail"), "{domain}");
    }
    let live = results(&pair, "INBOX", "signed relaxed/relaxed");
    pair.home.kill();
    pair.wait_for_no_link();
    let sealed = sign(&key, "relaxed/relaxed", "sealed");
    assert!(send(&pair, "bounce@elsewhere.test", &sealed).starts_with("250"));
    let reply = send(&pair, "ann@other.test", message("strict.test", "forged").as_bytes());
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    assert!(send(&pair, "ann@other.test", message("wary.test", "wary sealed").as_bytes()).starts_with("250"));
    pair.home.start();
    pair.wait_until_drained(PATIENCE);
    let start = |said: &str| said.split("header.b=").next().unwrap().to_owned();
    assert_eq!(start(&results(&pair, "INBOX", "sealed")), start(&live));
    assert!(results(&pair, "Junk", "wary sealed").contains("dmarc=fail"));
}

#[test]
fn a_dead_resolver_lets_mail_in_unjudged_or_holds_it_off_as_the_operator_wants() {
    let _alone = alone();
    // Nobody listens there.
    let dead = testkit::ports::free();
    for (config, code) in [("", "250"), ("[policy]\non_dns_failure = \"defer\"", "451 4.4.3")] {
        let pair = Pair::with(&PairOptions {
            edge_config: config.to_owned(),
            name_server: Some(dead),
            ..PairOptions::default()
        });
        let reply = send(&pair, "ann@strict.test", message("strict.test", "unjudged").as_bytes());
        assert!(reply.starts_with(code), "{config}: {reply}");
        if code == "250" {
            let said = results(&pair, "INBOX", "unjudged");
            assert!(said.contains("spf=temperror") && said.contains("dmarc=temperror"), "{said}");
        }
    }
}

#[test]
fn the_suspicious_are_asked_to_come_again_and_the_worst_are_refused() {
    let _alone = alone();
    let name_server = NameServer::start(&[]);
    let pair = pair(Some(&name_server), "[score]\ngreylist_from = 0.5");
    let mut client = SmtpClient::ready(pair.smtp).unwrap();
    client.command("MAIL FROM:<a@stranger.test>").unwrap();
    let reply = client.command("RCPT TO:<bob@example.org>").unwrap();
    assert!(reply.starts_with("451 4.7.1"), "{reply}");
    let reply = client.command("RCPT TO:<postmaster@example.org>").unwrap();
    assert!(reply.starts_with("250") || reply.starts_with("550 5.1.1"), "never greylisted: {reply}");
    let story = pair.edge.log();
    assert!(story.contains("greylisted") && story.contains("helo-unknown 0.7"), "{story}");

    pair.edge.configure("[score]\ngreylist_from = 3.0\n[score.points]\nearly-talker = 50");
    let mut pair = pair;
    pair.edge.restart();
    pair.wait_for_link();
    let mut client = SmtpClient::connect(pair.smtp).unwrap();
    client.send(b"EHLO hasty.test\r\nMAIL FROM:<a@stranger.test>\r\nRCPT TO:<bob@example.org>\r\n").unwrap();
    let replies: Vec<String> = (0..3).map(|_| client.reply().unwrap()).collect();
    assert!(replies[2].starts_with("554 5.7.1") && replies[2].contains("early-talker"), "{replies:?}");
}

#[test]
fn who_speaks_before_the_greeting_is_seen() {
    let _alone = alone();
    let name_server = NameServer::start(&[]);
    let pair = pair(Some(&name_server), "[door]\ngreet_pause = 1\n[score.points]\npregreet = 50");
    let mut hasty = std::net::TcpStream::connect(pair.smtp).unwrap();
    std::io::Write::write_all(&mut hasty, b"EHLO hasty.test\r\n").unwrap();
    let mut client = SmtpClient::over(hasty).unwrap();
    assert!(client.reply().unwrap().starts_with("220"));
    client.reply().unwrap();
    client.command("MAIL FROM:<a@stranger.test>").unwrap();
    let reply = client.command("RCPT TO:<bob@example.org>").unwrap();
    assert!(reply.starts_with("554 5.7.1") && reply.contains("pregreet"), "{reply}");
    let mut patient = SmtpClient::ready(pair.smtp).unwrap();
    patient.command("MAIL FROM:<a@stranger.test>").unwrap();
    assert!(patient.command("RCPT TO:<bob@example.org>").unwrap().starts_with("250"));
}

#[test]
fn the_door_counts_connections_and_unknown_recipients() {
    let _alone = alone();
    let mut pair = pair(None, "[door]\nconnections_per_address = 3\nunknown_recipients_per_hour = 5");
    let inside: Vec<SmtpClient> = (0..3).map(|_| SmtpClient::ready(pair.smtp).unwrap()).collect();
    let fourth = SmtpClient::connect(pair.smtp).err().unwrap().to_string();
    assert!(fourth.starts_with("421 4.7.0"), "{fourth}");
    drop(inside);
    until("the three have left", PATIENCE, || SmtpClient::ready(pair.smtp).ok());
    pair.edge.configure("[door]\nconnections_per_address = 1000");
    pair.edge.restart();
    for guess in 0..6 {
        let mut client = SmtpClient::ready(pair.smtp).unwrap();
        client.command("MAIL FROM:<a@stranger.test>").unwrap();
        let reply = client.command(&format!("RCPT TO:<guess{guess}@example.org>")).unwrap();
        assert!(reply.starts_with("550 5.1.1"), "{reply}");
    }
    let reply = SmtpClient::connect(pair.smtp).err().unwrap().to_string();
    assert!(reply.starts_with("421 4.7.0") && reply.contains("Too many errors"), "{reply}");
}

#[test]
fn a_notification_has_one_recipient_and_a_header_section_has_a_limit() {
    let _alone = alone();
    let pair = pair(None, "");
    pair.add_user("carol");
    let mut client = SmtpClient::ready(pair.smtp).unwrap();
    client.command("MAIL FROM:<>").unwrap();
    let first = until("both are known", PATIENCE, || {
        client.command("RSET").unwrap();
        client.command("MAIL FROM:<>").unwrap();
        Some(client.command("RCPT TO:<carol@example.org>").unwrap()).filter(|reply| reply.starts_with("250"))
    });
    assert!(first.starts_with("250"));
    assert!(client.command("RCPT TO:<bob@example.org>").unwrap().starts_with("452 4.5.3"));
    let limit = 256 * 1024;
    for (octets, code) in [(limit, "250"), (limit + 1, "552 5.3.4")] {
        let mut header = b"Subject: long\r\n".to_vec();
        while header.len() + 1000 < octets {
            header.extend_from_slice(format!("X-Long: {}\r\n", "x".repeat(900)).as_bytes());
        }
        let rest = octets - header.len() - "X: \r\n\r\n".len();
        header.extend_from_slice(format!("X: {}\r\n\r\n", "y".repeat(rest)).as_bytes());
        assert_eq!(header.len(), octets);
        header.extend_from_slice(b"body\r\n");
        let reply = send(&pair, "a@stranger.test", &header);
        assert!(reply.starts_with(code), "{octets}: {reply}");
    }
}

#[test]
fn check_says_what_edge_would_say() {
    let _alone = alone();
    let key = DkimKey::new(KeyKind::Rsa(2048));
    let name_server = NameServer::start(&zone(&key));
    let server = name_server.address().to_string();
    let postern = |arguments: &[&str], input: &[u8]| {
        let mut command = process::command(None, testkit::binary::postern());
        command.args(arguments).args(["--resolver", &server, "--json"]);
        let printed = process::run_ok(command, input, PATIENCE);
        serde_json::from_str::<serde_json::Value>(&printed).unwrap()
    };
    let client = ["--helo", "mail.test", "--mail-from", "ann@strict.test"];
    let said = postern(&[&["check", "spf", "--ip", "192.0.2.9"], &client[..]].concat(), b"");
    assert_eq!(said["spf"]["result"], "fail");
    assert_eq!(said["dns"][0]["name"], "strict.test");
    let signed = sign(&key, "relaxed/relaxed", "x");
    let said = postern(&[&["check", "message", "-", "--ip", "127.0.0.1"], &client[..]].concat(), &signed);
    assert_eq!(said["spf"]["result"], "pass");
    assert_eq!(
        (&said["dkim"][0]["result"], &said["dkim"][0]["domain"]),
        (&"pass".into(), &"signed.test".into())
    );
    assert_eq!(said["dkim"][0]["selector"], "sel");
    assert_eq!((&said["dmarc"]["result"], &said["dmarc"]["policy"]), (&"pass".into(), &"reject".into()));
    assert_eq!(said["dmarc"]["alignment"]["dkim"], true);
    assert_eq!(said["arc"]["result"], "none");
    let missing = process::command(None, testkit::binary::postern());
    let mut missing = missing;
    missing.args(["check", "message", "/nowhere/at/all", "--ip", "127.0.0.1"]);
    let output = process::run(missing, b"", PATIENCE);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/at/all"));
    assert!(!Path::new("/nowhere").exists());
}
