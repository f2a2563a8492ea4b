//! A home that is Postfix and Dovecot: mail is passed on inside the session, and nothing rests on Edge.

use std::net::SocketAddr;
use std::time::Duration;

use testkit::certificates::Authority;
use testkit::dns::{NameServer, Record};
use testkit::forgetful_home::{ForgetfulHome, Manner};
use testkit::message::{self, field, files_that_hold};
use testkit::newer::Release;
use testkit::pair::{EDGE_NAME, LoneEdge, MorePlace, PairOptions};
use testkit::postfix::{Access, Content, EDGE_PASSWORD, EDGE_USER, Load, Postfix, PostfixHome, smtp_source};
use testkit::smtp::SmtpClient;
use testkit::{Pair, ports, until};

use crate::alone;
use crate::authentication::{message as judged_message, results_of};
use crate::backscatter::prdr;

const PATIENCE: Duration = Duration::from_secs(90);
const ASK: &str = "recipients = \"call-ahead\"\n";

/// An edge for the home, which it knows by `known_by`.
fn edge_of(home: &PostfixHome, known_by: &str, more: &str) -> LoneEdge {
    let text = |text: &str| Record::Txt(text.to_owned());
    let name_server = NameServer::start(&[
        ("_dmarc.strict.test", text("v=DMARC1; p=reject")),
        ("_dmarc.wary.test", text("v=DMARC1; p=quarantine")),
        ("strict.test", text("v=spf1 ip4:127.0.0.1 -all")),
    ]);
    LoneEdge::start(&config(home.address(), known_by, more), name_server)
}

fn config(address: SocketAddr, known_by: &str, more: &str) -> String {
    format!("[[foreign_home]]\ndomains = [\"example.org\"]\naddress = \"{address}\"\n{known_by}{more}")
}

fn by_fingerprint(home: &PostfixHome) -> String {
    format!("fingerprint = \"{}\"\n", home.fingerprint())
}

/// What `postern status` says of the home.
fn status(edge: &LoneEdge) -> serde_json::Value {
    edge.role.status().unwrap()["foreign_homes"][0].clone()
}

/// A home that lets this edge in by its certificate, and the edge.
fn with_certificate(more: &str) -> (PostfixHome, LoneEdge) {
    let mut home = PostfixHome::new(None);
    let edge = edge_of(&home, &by_fingerprint(&home), more);
    let shown = status(&edge)["certificate"].as_str().unwrap().to_owned();
    assert!(edge.role.log().contains(&shown), "and the log tells it");
    home.start(Access::Certificate(&shown));
    (home, edge)
}

/// A home that lets this edge in by a login and has a certificate of an authority, and the edge.
fn with_login(password: &str, known_by: impl Fn(&Authority) -> String) -> (PostfixHome, LoneEdge, Authority) {
    let authority = Authority::new();
    let mut home = PostfixHome::new(Some(&authority.issue(&["home.example.org"])));
    let file = authority.root().with_file_name("password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    let login = format!("user = \"{EDGE_USER}\"\npassword_file = \"{}\"\n{ASK}", file.display());
    let edge = edge_of(&home, &known_by(&authority), &login);
    home.start(Access::Login);
    (home, edge, authority)
}

fn by_name(authority: &Authority) -> String {
    format!("server_name = \"home.example.org\"\nroots = \"{}\"\n", authority.root().display())
}

fn send(edge: &LoneEdge, from: &str, to: &[&str], octets: &[u8]) -> String {
    SmtpClient::ready(edge.smtp).unwrap().message(from, to, octets).unwrap()
}

fn rcpt(edge: &LoneEdge, to: &str) -> String {
    let mut client = SmtpClient::ready(edge.smtp).unwrap();
    client.command("MAIL FROM:<a@sender.test>").unwrap();
    client.command(&format!("RCPT TO:<{to}>")).unwrap()
}

/// Waits until the home's log says so: it is written by a process of its own.
fn logged(home: &PostfixHome, what: &str) {
    until("the home's log says so", PATIENCE, || home.log().contains(what).then_some(()));
}

/// The message of that subject, once it has come.
fn came(home: &PostfixHome, user: &str, subject: &str) -> Vec<u8> {
    until("the message has come", PATIENCE, || {
        let mut messages = home.messages(user).into_iter();
        messages.find(|message| field(message, "Subject").as_deref() == Some(subject))
    })
}

#[test]
fn mail_goes_through_with_a_certificate_and_its_verdict_stands_in_the_header() {
    let _alone = alone();
    let (home, edge) = with_certificate(ASK);
    let octets = judged_message("strict.test", "hello");
    let octets = format!("X-Spam-Flag: forged\r\n{octets}");
    let reply = send(&edge, "ann@strict.test", &["bob@example.org"], octets.as_bytes());
    assert!(reply.starts_with("250 2.0.0 Passed on as "), "{reply}");
    let stored = came(&home, "bob", "hello");
    let results = results_of(std::slice::from_ref(&stored), "hello").unwrap();
    assert!(results.starts_with("mx.example.org;") && results.contains("spf=pass"), "{results}");
    assert!(results.contains("dmarc=pass header.from=strict.test"), "{results}");
    let received =
        String::from_utf8_lossy(&stored).matches("Received: from sender.test ([127.0.0.1])").count();
    assert_eq!(received, 1, "{}", String::from_utf8_lossy(&stored));
    assert_eq!(field(&stored, "X-Spam-Flag"), None);
    assert!(stored.ends_with(message::body(octets.as_bytes())));

    let wary = judged_message("wary.test", "unwanted");
    assert!(send(&edge, "ann@other.test", &["bob@example.org"], wary.as_bytes()).starts_with("250"));
    let stored = came(&home, "bob", "unwanted");
    assert_eq!(field(&stored, "X-Spam-Flag").as_deref(), Some("YES"));
    assert!(field(&stored, "X-Spam-Score").is_some());
    let forged = judged_message("strict.test", "forged");
    assert!(send(&edge, "ann@other.test", &["bob@example.org"], forged.as_bytes()).starts_with("250"));
    assert_eq!(field(&came(&home, "bob", "forged"), "X-Spam-Flag").as_deref(), Some("YES"));
    let mut bare = SmtpClient::ready_as(edge.smtp, "bare").unwrap();
    let reply = bare.message("ann@other.test", &["bob@example.org"], forged.as_bytes()).unwrap();
    assert!(reply.starts_with("550 5.7.1") && reply.contains("DMARC"), "{reply}");

    let item =
        reply_item(&send(&edge, "", &["postmaster"], &message::simple("a@b.test", "postmaster", "to-us")));
    came(&home, "postmaster", "to-us");
    let story = edge.role.command_ok(&["trace", &item], "");
    assert!(story.contains("passed-on") && story.contains("1 recipient(s)"), "{story}");
    assert!(!story.contains("postmaster"), "no local parts: {story}");
    assert_eq!(status(&edge)["state"], "up");
}

fn reply_item(reply: &str) -> String {
    assert!(reply.starts_with("250 "), "{reply}");
    reply.trim().rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn mail_goes_through_with_a_login_and_large_messages_come_out_whole() {
    let _alone = alone();
    let (home, edge, _authority) = with_login(EDGE_PASSWORD, by_name);
    let mut octets = message::simple("a@sender.test", "bob@example.org", "large");
    while octets.len() < 5_000_000 {
        octets.extend_from_slice(b".a line that begins with a dot, and is not the last\r\n");
    }
    let reply = send(&edge, "a@sender.test", &["bob@example.org", "carol@example.org"], &octets);
    assert!(reply.starts_with("250"), "{reply}");
    for user in ["bob", "carol"] {
        assert_eq!(message::body(&came(&home, user, "large")), message::body(&octets));
    }
    logged(&home, &format!("sasl_username={EDGE_USER}"));
    assert_eq!(status(&edge)["certificate"], serde_json::Value::Null);
    let past_the_limit = message::body(&octets).repeat(6);
    let octets = [b"Subject: too large\r\n\r\n", &past_the_limit[..]].concat();
    let reply = send(&edge, "a@sender.test", &["bob@example.org"], &octets);
    assert!(reply.starts_with("552 5.3.4"), "{reply}");
}

#[test]
fn a_recipient_is_asked_about_once_and_who_does_not_exist_is_refused() {
    let _alone = alone();
    let (mut home, edge) = with_certificate(ASK);
    assert!(rcpt(&edge, "bob@example.org").starts_with("250 2.1.5"));
    for _ in 0..2 {
        let reply = rcpt(&edge, "nobody@example.org");
        assert!(reply.starts_with("550 5.1.1") && !reply.contains("virtual"), "{reply}");
    }
    assert!(rcpt(&edge, "bob@elsewhere.test").starts_with("550 5.7.1"));

    logged(&home, "NOQUEUE: reject: RCPT");
    home.stop_postfix();
    assert_eq!(home.log().matches("NOQUEUE: reject: RCPT").count(), 1, "{}", home.log());
    assert!(rcpt(&edge, "bob@example.org").starts_with("250"), "it is remembered");
    let reply = rcpt(&edge, "carol@example.org");
    assert!(reply.starts_with("451 4.4.1") && !reply.contains(&home.address().port().to_string()), "{reply}");
}

/// Symptom: each time that Edge asks about a recipient an empty message arrives. Cause: DATA was sent ahead of the reply to
/// RCPT where the home pipelines and takes no chunks, and an empty body after it.
#[test]
fn who_is_asked_about_gets_no_message_from_a_home_without_chunking() {
    let _alone = alone();
    let (home, edge) = with_certificate(ASK);
    home.take_no_chunks();
    assert!(rcpt(&edge, "bob@example.org").starts_with("250 2.1.5"));
    let octets = message::simple("ann@sender.test", "bob@example.org", "plain");
    let reply = send(&edge, "ann@sender.test", &["bob@example.org"], &octets);
    assert!(reply.starts_with("250"), "{reply}");
    came(&home, "bob", "plain");
    assert_eq!(home.messages("bob").len(), 1, "{}", home.log());
}

#[test]
fn a_home_that_is_away_leaves_the_mail_with_the_sender_and_nothing_on_edge() {
    let _alone = alone();
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), "# people\nbob@example.org\n").unwrap();
    let (mut home, edge) = with_certificate(&format!("recipients_file = \"{}\"\n", list.path().display()));
    home.stop_postfix();
    let reply = rcpt(&edge, "nobody@example.org");
    assert!(reply.starts_with("550 5.1.1"), "the list says so, whoever is away: {reply}");
    assert!(rcpt(&edge, "bob+lists@example.org").starts_with("250"));
    let octets = message::simple("marker@sender.test", "bob@example.org", "marker-of-this-test");
    let reply = send(&edge, "marker@sender.test", &["bob@example.org"], &octets);
    assert!(reply.starts_with("451 4.4.1"), "{reply}");
    let log = edge.role.log();
    assert!(log.contains("a home can't be reached") && log.contains("stays with the senders"), "{log}");
    assert_eq!(status(&edge)["state"], "down");
    for marker in ["marker-of-this-test", "marker@sender.test", "bob@example.org"] {
        assert_eq!(files_that_hold(edge.role.data(), marker), Vec::<std::path::PathBuf>::new());
    }
    home.start_postfix();
    until("the sender comes again", PATIENCE, || {
        send(&edge, "marker@sender.test", &["bob@example.org"], &octets).starts_with("250").then_some(())
    });
    came(&home, "bob", "marker-of-this-test");
    assert_eq!(home.messages("bob").len(), 1);
    assert_eq!(files_that_hold(edge.role.data(), "marker-of-this-test"), Vec::<std::path::PathBuf>::new());

    // Who is on the list and not at the home: nobody gets the message, and then the sender hears of whom.
    std::fs::write(list.path(), "bob@example.org\nghost@example.org\n").unwrap();
    until("the list is read again", PATIENCE, || {
        rcpt(&edge, "ghost@example.org").starts_with("250").then_some(())
    });
    let to = ["bob@example.org", "ghost@example.org"];
    let octets = message::simple("a@sender.test", "bob@example.org", "for-both");
    let reply = send(&edge, "a@sender.test", &to, &octets);
    assert!(reply.starts_with("451 4.5.3"), "{reply}");
    assert!(rcpt(&edge, "ghost@example.org").starts_with("550 5.1.1"));
    assert!(send(&edge, "a@sender.test", &["bob@example.org"], &octets).starts_with("250"));
    came(&home, "bob", "for-both");
    assert_eq!(home.messages("bob").len(), 2);
}

#[test]
fn a_home_with_another_certificate_gets_no_password() {
    let _alone = alone();
    let wrong = format!("fingerprint = \"{}\"\n", "00:".repeat(31) + "00");
    let (home, edge, authority) = with_login(EDGE_PASSWORD, |_| wrong.clone());
    let reply = rcpt(&edge, "bob@example.org");
    assert!(reply.starts_with("451 4.4.1"), "{reply}");
    let log = edge.role.log();
    assert!(log.contains("which is not the one configured") && log.contains(&home.fingerprint()), "{log}");

    let other_name = by_name(&authority).replace("home.example.org", "other.example.org");
    let password = authority.root().with_file_name("password");
    let login = format!("user = \"{EDGE_USER}\"\npassword_file = \"{}\"\n{ASK}", password.display());
    let second = edge_of(&home, &other_name, &login);
    assert!(rcpt(&second, "bob@example.org").starts_with("451 4.4.1"));
    assert!(second.role.log().contains("TLS failed, so nothing was sent"), "{}", second.role.log());
    // The test's own look whether Postfix listens, and one connection of each edge.
    let over = |log: &str| log.matches("disconnect from").count();
    until("the home has seen all three", PATIENCE, || (over(&home.log()) == 3).then_some(()));
    assert!(!home.log().contains("sasl") && !home.log().contains("auth="), "{}", home.log());
}

#[test]
fn a_home_that_does_not_know_this_edge_refuses_no_recipient_through_it() {
    let _alone = alone();
    let (home, edge, _authority) = with_login("not the password", by_name);
    assert!(rcpt(&edge, "bob@example.org").starts_with("451 4.4.1"));
    let log = edge.role.log();
    assert!(
        log.contains("refused the login with 535") && log.contains("correct user and password_file"),
        "{log}"
    );
    logged(&home, "authentication failed");
    assert!(!home.log().contains("NOQUEUE"), "{}", home.log());

    let mut home = PostfixHome::new(None);
    let edge = edge_of(&home, &by_fingerprint(&home), ASK);
    home.start(Access::Certificate(&("00:".repeat(31) + "00")));
    let reply = rcpt(&edge, "bob@example.org");
    assert!(reply.starts_with("451 4.3.5"), "{reply}");
    let log = edge.role.log();
    assert!(log.contains("a home refuses this Edge") && log.contains("554 5.7.1"), "{log}");
    assert_eq!(status(&edge)["state"], "refusing");
}

#[test]
fn what_the_home_refuses_is_refused_to_the_sender_without_telling_where_it_is() {
    let _alone = alone();
    let (home, edge) = with_certificate(ASK);
    let octets = message::simple("a@sender.test", "bob@example.org", "forbidden");
    let reply = send(&edge, "a@sender.test", &["bob@example.org"], &octets);
    assert!(reply.starts_with("550 5.7.1") && reply.contains("wants no forbidden subjects"), "{reply}");
    assert!(!reply.contains("cellar"), "{reply}");
    let reply = rcpt(&edge, "hermit@example.org");
    assert!(reply.starts_with("554 5.7.1") && !reply.contains("hermit"), "{reply}");
    assert_eq!(status(&edge)["state"], "up", "it is the recipient that it refuses, not this edge");
    let fine = message::simple("a@sender.test", "bob@example.org", "fine");
    assert!(send(&edge, "a@sender.test", &["bob@example.org"], &fine).starts_with("250"));
    came(&home, "bob", "fine");
    assert_eq!(home.messages("bob").len(), 1);
    logged(&home, &format!("helo=<{EDGE_NAME}>"));
    // One is the test's own: it looked whether Postfix listens.
    assert_eq!(home.log().matches(": connect from").count(), 2, "one connection did for all: {}", home.log());
}

#[test]
fn who_asks_for_a_reply_per_recipient_hears_whom_the_home_does_not_take() {
    let _alone = alone();
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), "@example.org\n").unwrap();
    let (home, edge) = with_certificate(&format!("recipients_file = \"{}\"\n", list.path().display()));
    let to = ["bob@example.org", "ghost@example.org"];
    let octets = message::simple("a@sender.test", "bob@example.org", "apart");
    let replies = prdr(edge.smtp, &to, &octets);
    assert!(
        replies.len() == 3 && replies[0].starts_with("250") && replies[1].starts_with("550 5.1.1"),
        "{replies:?}"
    );
    came(&home, "bob", "apart");
    assert_eq!(home.messages("bob").len(), 1);
}

#[test]
fn an_edge_has_homes_of_both_kinds_and_its_own_configuration_says_whose_a_domain_is() {
    let _alone = alone();
    let mut home = PostfixHome::new(None);
    let edge_config = config(home.address(), &by_fingerprint(&home), ASK);
    let pair = Pair::with(&PairOptions { edge_config, ..PairOptions::default() });
    let shown = pair.edge.status().unwrap()["foreign_homes"][0]["certificate"].as_str().unwrap().to_owned();
    home.start(Access::Certificate(&shown));
    let log = pair.edge.log();
    assert!(log.contains("a paired home claims a domain of a [[foreign_home]]"), "{log}");
    let other = pair.add_home("example.net", "eve", &MorePlace::loopback());
    let mut client = SmtpClient::ready(pair.smtp).unwrap();
    client.command("MAIL FROM:<a@sender.test>").unwrap();
    assert!(client.command("RCPT TO:<bob@example.org>").unwrap().starts_with("250"));
    let reply = client.command("RCPT TO:<eve@example.net>").unwrap();
    assert!(reply.starts_with("452 4.5.3"), "{reply}");
    client.command("RSET").unwrap();
    for (to, subject) in [("bob@example.org", "to-postfix"), ("eve@example.net", "to-postern")] {
        let octets = message::simple("a@sender.test", to, subject);
        assert!(client.message("a@sender.test", &[to], &octets).unwrap().starts_with("250"));
    }
    came(&home, "bob", "to-postfix");
    assert_eq!(other.account("eve@example.net").subjects("INBOX"), ["to-postern"]);
    assert!(pair.account("bob").messages("INBOX").is_empty());
}

#[test]
fn a_message_whose_reply_is_lost_stays_with_the_sender_and_what_the_home_does_not_offer_is_refused() {
    let _alone = alone();
    let authority = Authority::new();
    let certificate = authority.issue(&["home.example.org"]);
    for manner in [Manner::Close, Manner::Silent] {
        let home = ForgetfulHome::start(&certificate, manner);
        let patience = "[limits]\nhand_off = 1\n[listen]\nlink = []\n";
        let config = format!("{patience}{}", config(home.address(), &by_name(&authority), ASK));
        let edge = LoneEdge::start(&config, NameServer::start(&[]));
        let octets = message::simple("a@sender.test", "bob@example.org", "taken");
        let reply = send(&edge, "a@sender.test", &["bob@example.org"], &octets);
        assert!(reply.starts_with("451 4.4.2"), "{manner:?}: {reply}");
        assert_eq!(home.log().matches("took").count(), 1, "and it was sent once: {}", home.log());
        let story = edge.role.command_ok(&["trace", "sender.test"], "");
        assert!(story.contains("not-passed-on") && story.contains("451 4.4.2"), "{story}");

        let eight_bit = [&octets[..], "grüße\r\n".as_bytes()].concat();
        let reply = until("the home is tried again", PATIENCE, || {
            let reply = send(&edge, "a@sender.test", &["bob@example.org"], &eight_bit);
            (!reply.starts_with("451")).then_some(reply)
        });
        assert!(reply.starts_with("550 5.6.3"), "{reply}");
        let mut client = SmtpClient::ready(edge.smtp).unwrap();
        client.command("MAIL FROM:<a@sender.test> SMTPUTF8").unwrap();
        let reply = client.command("RCPT TO:<jürgen@example.org>").unwrap();
        assert!(reply.starts_with("550 5.6.7"), "{reply}");
        assert_eq!(home.log().matches("took").count(), 1, "{}", home.log());
    }
}

/// Symptom: Postfix as the home bounced a full mailbox straight from the house, under its own name. Cause: it said 250 before
/// Dovecot had been asked. Analysis: Dovecot is asked at RCPT, and takes whatever was let in there. What else was bounced is in
/// `world postfix-home`.
#[test]
fn a_full_mailbox_is_refused_at_rcpt_and_what_is_let_in_there_is_taken_whatever_its_size() {
    let _alone = alone();
    let (home, edge) = with_certificate(ASK);
    let mut large = message::simple("a@sender.test", "full@example.org", "larger than the mailbox");
    large.extend(b"x\r\n".repeat(100_000));
    assert!(send(&edge, "a@sender.test", &["full@example.org"], &large).starts_with("250"));
    came(&home, "full", "larger than the mailbox");
    let small = message::simple("a@sender.test", "full@example.org", "one more");
    let reply = send(&edge, "a@sender.test", &["full@example.org"], &small);
    assert!(reply.starts_with("552 5.2.2"), "{reply}");
    assert_eq!(home.messages("full").len(), 1);
    assert!(home.messages("postmaster").is_empty() && !home.log().contains("from=<>"), "{}", home.log());
}

#[test]
fn postfix_3_10_and_dovecot_2_4_as_the_home_do_as_the_page_says() {
    let _alone = alone();
    does_as_the_page_says(Release::Trixie);
}

#[test]
fn postfix_3_11_and_dovecot_2_4_as_the_home_do_as_the_page_says() {
    let _alone = alone();
    does_as_the_page_says(Release::Sid);
}

/// A full mailbox, an outward alias, content and nobody are refused in time; what fails late is the postmaster's.
fn does_as_the_page_says(release: Release) {
    let mut home = PostfixHome::of_release(Some(release));
    let edge = edge_of(&home, &by_fingerprint(&home), ASK);
    let shown = status(&edge)["certificate"].as_str().unwrap().to_owned();
    home.start(Access::Certificate(&shown));
    let hears = |user: &str, subject: &str, lines: usize, code: &str| {
        let to = format!("{user}@example.org");
        let mut octets = message::simple("a@sender.test", &to, subject);
        octets.extend(b"x\r\n".repeat(lines));
        let reply = send(&edge, "a@sender.test", &[&to], &octets);
        assert!(reply.starts_with(code), "{to}: {reply}");
    };
    hears("full", "larger than the mailbox", 100_000, "250");
    came(&home, "full", "larger than the mailbox");
    for (user, subject, code) in [
        ("full", "one more", "552 5.2.2"),
        ("nobody", "to nobody", "550 5.1.1"),
        ("friend", "to be passed on", "550 5.1.1"),
        ("bob", "forbidden", "550 5.7.1"),
        ("both", "for both", "250"),
    ] {
        hears(user, subject, 0, code);
    }
    came(&home, "bob", "for both");
    let told = until("the postmaster is told", PATIENCE, || home.messages("postmaster").pop());
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains("friend@elsewhere.test") && told.contains("This is for both"), "{told}");
    until("the queue is empty", PATIENCE, || home.queued().is_empty().then_some(()));
}

#[test]
fn an_alias_that_leads_elsewhere_leaves_by_the_smarthost_and_names_no_address_of_the_house() {
    let _alone = alone();
    let authority = Authority::new();
    let certificate = authority.issue(&["mx.smarthost.test"]);
    let smarthost = Postfix::receiver(ports::free(), &["elsewhere.test"], Some(&certificate));
    let mut home = PostfixHome::new(None);
    home.sends_by(smarthost.address());
    let edge = edge_of(&home, &by_fingerprint(&home), ASK);
    let shown = status(&edge)["certificate"].as_str().unwrap().to_owned();
    home.start(Access::Certificate(&shown));
    let octets = message::simple("a@sender.test", "friend@example.org", "passed on");
    let reply = send(&edge, "a@sender.test", &["friend@example.org"], &octets);
    assert!(reply.starts_with("250"), "{reply}");
    let passed = until("the smarthost has it", PATIENCE, || smarthost.messages("friend").pop());
    let text = String::from_utf8(passed).unwrap();
    assert!(text.contains("from sender.test ([127.0.0.1])"), "Edge's own field stays: {text}");
    assert!(!text.contains("by mail.example.org"), "that of the home does not: {text}");
    assert!(
        text.contains("Received: from mail.example.org "),
        "the smarthost's own names whom it met: {text}"
    );
    assert!(!home.log().contains("from=<>"), "{}", home.log());
}

#[test]
fn three_hundred_messages_of_twenty_senders_come_over_no_more_connections_than_are_allowed() {
    let _alone = alone();
    let (home, edge) = with_certificate(&format!("{ASK}connections = 4\n"));
    let content = Content::Octets(20_000);
    smtp_source(None, edge.smtp, Load { messages: 300, sessions: 20, content, to: "bob@example.org" });
    until("all have come", PATIENCE, || (home.messages("bob").len() == 300).then_some(()));
    // One is the test's own.
    let connections = home.log().matches(": connect from").count();
    assert!(connections <= 5, "{connections} connections");
}
