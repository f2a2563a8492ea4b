//! Content filters within the session and after a seal, the quarantine, and what users teach.

use std::path::Path;
use std::time::Duration;

use testkit::dns::{NameServer, Record};
use testkit::filter::{Clamav, GTUBE, GTUBE_ADD_HEADER, OpenDkim, Rspamd, ScriptedHttp, VIRUS};
use testkit::imap::json;
use testkit::smtp::SmtpClient;
use testkit::{Pair, PairOptions, message, process, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(60);

fn pair_with(filters: &str) -> Pair {
    Pair::with(&PairOptions { home_config: filters.to_owned(), ..PairOptions::default() })
}

fn rspamd_filter(rspamd: &Rspamd) -> String {
    format!(
        "[[filter]]\nkind = \"rspamd\"\naddress = \"{}\"\nlearn_address = \"{}\"\npassword = \"open sesame\"\n",
        rspamd.scanner, rspamd.controller
    )
}

fn milter_filter(address: impl std::fmt::Display) -> String {
    format!("[[filter]]\nkind = \"milter\"\naddress = \"inet:{address}\"\non_failure = \"defer\"\n")
}

fn with_body(subject: &str, body: &str) -> Vec<u8> {
    let mut sent = message::simple("a@sender.test", "bob@example.org", subject);
    sent.extend_from_slice(format!("{body}\r\n").as_bytes());
    sent
}

fn send(pair: &Pair, to: &[&str], sent: &[u8]) -> String {
    let mut client = SmtpClient::ready(pair.smtp).unwrap();
    client.message("a@sender.test", to, sent).unwrap()
}

fn quarantined(pair: &Pair) -> Vec<serde_json::Value> {
    let listed = json(&pair.home.command_ok(&["quarantine", "list", "--json"], ""));
    listed.as_array().unwrap().clone()
}

#[test]
fn rspamd_refuses_within_the_session_and_after_a_seal_the_operator_decides() {
    let _alone = alone();
    let rspamd = Rspamd::start("open sesame");
    let mut pair = pair_with(&rspamd_filter(&rspamd));
    let bob = ["bob@example.org"];
    let reply = send(&pair, &bob, &with_body("good", "hello"));
    assert!(reply.starts_with("250"), "{reply}\n{}", rspamd.log());
    let reply = send(&pair, &bob, &with_body("spam", GTUBE));
    assert!(reply.starts_with("550 5.7.1"), "{reply}\n{}", rspamd.log());
    let reply = send(&pair, &bob, &with_body("probable", GTUBE_ADD_HEADER));
    assert!(reply.starts_with("250"), "{reply}");
    let reply = send(&pair, &["postmaster@example.org"], &with_body("to postmaster", GTUBE));
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(pair.account("bob").subjects("INBOX"), ["good"]);
    assert_eq!(pair.account("bob").subjects("Junk"), ["probable"]);
    assert_eq!(pair.account("alice").subjects("Junk"), ["to postmaster"]);
    let told = pair.home.command_ok(&["trace", "spam@sender.test"], "");
    assert!(told.contains("GTUBE") && told.contains("refused"), "{told}");

    pair.home.kill();
    pair.wait_for_no_link();
    let reply = send(&pair, &bob, &with_body("sealed spam", GTUBE));
    assert!(reply.starts_with("250"), "{reply}");
    pair.home.start();
    pair.wait_until_drained(PATIENCE);
    assert_eq!(pair.account("bob").subjects("INBOX"), ["good"]);
    let kept = quarantined(&pair);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0]["to"][0], "bob@example.org");
    let id = kept[0]["id"].as_str().unwrap();
    let shown = pair.home.command_ok(&["quarantine", "show", id], "");
    assert!(shown.contains("GTUBE") && shown.contains("Subject: sealed spam"), "{shown}");
    pair.home.command_ok(&["quarantine", "release", id], "");
    assert_eq!(pair.account("bob").subjects("INBOX"), ["good", "sealed spam"]);
    assert!(quarantined(&pair).is_empty());
    let output = pair.home.command(&["quarantine", "release", id], "");
    assert!(!output.status.success());
}

#[test]
fn rspamd_learns_what_users_move() {
    let _alone = alone();
    let rspamd = Rspamd::start("open sesame");
    let pair = pair_with(&rspamd_filter(&rspamd));
    let words: Vec<String> = (0..60).map(|n| format!("word{n} offer{}", n * 7)).collect();
    assert!(send(&pair, &["bob@example.org"], &with_body("teach", &words.join(" "))).starts_with("250"));
    let moved = |from: &str, to: &str| {
        let script = format!("imap.select('{from}')\nprint(imap.uid('MOVE', '1:*', '{to}')[0])");
        assert!(pair.account("bob").script(&script).contains("OK"));
    };
    let said = |what: &str| {
        until(what, PATIENCE, || rspamd.log().contains(what).then_some(()));
    };
    moved("INBOX", "Junk");
    said("learned message as spam");
    moved("Junk", "INBOX");
    said("learned message as ham");
    assert!(!pair.home.log().contains("was not learned"), "{}", pair.home.log());
}

#[test]
fn moves_into_and_out_of_junk_are_taught_and_others_are_not() {
    let _alone = alone();
    let learner = ScriptedHttp::start(r#"{"action":"no action","success":true}"#);
    let filter = format!(
        "[[filter]]\nkind = \"rspamd\"\naddress = \"{}\"\npassword = \"open sesame\"\n",
        learner.address
    );
    let pair = pair_with(&filter);
    for subject in ["one", "two"] {
        let sent = message::simple("a@sender.test", "bob@example.org", subject);
        assert!(send(&pair, &["bob@example.org"], &sent).starts_with("250"));
    }
    let script = "imap.select('INBOX')\nimap.uid('MOVE', '1', 'Junk')\nimap.uid('COPY', '2', 'Archive')\n\
                  imap.select('Junk')\nimap.uid('COPY', '1', 'INBOX')\nimap.uid('MOVE', '1', 'Trash')\nprint('done')";
    assert!(pair.account("bob").script(script).contains("done"));
    let lessons = until("both lessons are taught", PATIENCE, || {
        let all = learner.requests().into_iter().filter(|request| request.head.starts_with("POST /learn"));
        Some(all.collect::<Vec<_>>()).filter(|lessons| lessons.len() >= 2)
    });
    let paths: Vec<&str> = lessons.iter().filter_map(|lesson| lesson.head.split(' ').nth(1)).collect();
    assert_eq!(paths, ["/learnspam", "/learnham"]);
    for lesson in &lessons {
        assert!(lesson.head.contains("Password: open sesame"), "{}", lesson.head);
        assert!(message::holds(&lesson.body, b"Subject: one"), "{}", String::from_utf8_lossy(&lesson.body));
    }
}

/// The message with a DKIM signature over each octet of its header and body (RFC 6376, `c=simple/simple`), made
/// with OpenSSL, and the record with the key. The signer is not under `.test`: OpenDKIM's resolver asks nobody about
/// that (RFC 6761).
fn signed(dir: &Path, sent: &[u8]) -> (Vec<u8>, String) {
    let openssl = |arguments: &[&str], input: &[u8]| {
        let mut command = process::command(None, "openssl");
        command.current_dir(dir).args(arguments);
        process::run(command, input, PATIENCE).stdout
    };
    let base64 = |octets: &[u8]| String::from_utf8(openssl(&["base64", "-A"], octets)).unwrap();
    openssl(&["genrsa", "-traditional", "-out", "key.pem", "1024"], b"");
    let key = base64(&openssl(&["rsa", "-in", "key.pem", "-pubout", "-outform", "DER"], b""));
    let body_hash = base64(&openssl(&["dgst", "-sha256", "-binary"], message::body(sent)));
    let unsigned = format!(
        "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=signer.example; s=s;\r\n\t\
         h=From:To:Subject:Message-ID:Date:X-Odd:X-Tight; bh={body_hash};\r\n  b="
    );
    let to_sign = [message::head(sent), unsigned.as_bytes()].concat();
    let signature = base64(&openssl(&["dgst", "-sha256", "-sign", "key.pem", "-binary"], &to_sign));
    let message = [format!("{unsigned}{signature}\r\n").as_bytes(), sent].concat();
    (message, format!("v=DKIM1; p={key}"))
}

#[test]
fn a_milter_sees_each_octet_of_the_message_as_it_came() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let sent = message::simple("a@sender.test", "bob@example.org", "signed");
    let odd =
        [&b"X-Odd:   two\r\n\t folds \r\n  of it\r\nX-Tight:no space\r\n"[..], b"\r\nbody  \r\n\r\n.dot\r\n"]
            .concat();
    let sent = [message::head(&sent), &odd].concat();
    let (sent, key) = signed(dir.path(), &sent);
    let names = NameServer::start(&[("s._domainkey.signer.example", Record::Txt(key))]);
    let opendkim = OpenDkim::start(names.address());
    let pair = pair_with(&milter_filter(opendkim.address));
    for (sent, result) in
        [(sent.clone(), "dkim=pass"), ([sent.as_slice(), b"more\r\n"].concat(), "dkim=fail")]
    {
        let reply = send(&pair, &["bob@example.org"], &sent);
        assert!(reply.starts_with("250"), "{reply}\n{}", pair.home.log());
        let stored = pair.account("bob").messages("INBOX").pop().unwrap();
        let found = message::field(&stored, "Authentication-Results").unwrap_or_default();
        assert!(found.contains(result), "{found}\n{}", String::from_utf8_lossy(message::head(&stored)));
        assert!(stored.ends_with(&sent), "the message is as it was sent");
    }
}

#[test]
fn a_milter_writes_its_findings_above_the_message() {
    let _alone = alone();
    let opendkim = OpenDkim::start(testkit::ports::free());
    let pair = pair_with(&milter_filter(opendkim.address));
    let sent = message::simple("a@sender.test", "bob@example.org", "unsigned");
    let large =
        with_body("large", &"a line of sixty characters, which is there very many times.\r\n".repeat(20_000));
    for sent in [&sent, &large] {
        let reply = send(&pair, &["bob@example.org"], sent);
        assert!(reply.starts_with("250"), "{reply}\n{}", pair.home.log());
    }
    let stored = pair.account("bob").messages("INBOX");
    for (stored, sent) in stored.iter().zip([&sent, &large]) {
        let found = message::field(stored, "Authentication-Results").unwrap_or_default();
        assert!(found.contains("dkim=none"), "{found}\n{}", String::from_utf8_lossy(message::head(stored)));
        assert!(stored.ends_with(sent), "the message is as it was sent");
    }
}

#[test]
fn a_virus_is_refused_within_the_session() {
    let _alone = alone();
    let clamav = Clamav::start("Reject");
    let pair = pair_with(&milter_filter(clamav.address));
    let reply = send(&pair, &["bob@example.org"], &with_body("good", "hello"));
    assert!(reply.starts_with("250"), "{reply}\n{}", pair.home.log());
    let reply = send(&pair, &["bob@example.org"], &with_body("bad", VIRUS));
    assert!(reply.starts_with("55"), "{reply}\n{}", pair.home.log());
    assert_eq!(pair.account("bob").subjects("INBOX"), ["good"]);
}

#[test]
fn mail_waits_for_a_filter_that_must_be_asked_and_passes_one_that_need_not() {
    let _alone = alone();
    let nobody = testkit::ports::free();
    let pair = pair_with(&milter_filter(nobody));
    let sent = message::simple("a@sender.test", "bob@example.org", "unchecked");
    let reply = send(&pair, &["bob@example.org"], &sent);
    assert!(reply.starts_with("451 4.3.0"), "{reply}");
    drop(pair);
    let pair = pair_with(&format!("[[filter]]\nkind = \"rspamd\"\naddress = \"{nobody}\"\n"));
    let reply = send(&pair, &["bob@example.org"], &sent);
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(pair.account("bob").subjects("INBOX"), ["unchecked"]);
    assert!(pair.home.log().contains("a filter gave no verdict"), "{}", pair.home.log());
}
