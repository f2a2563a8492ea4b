//! Mail programs that read: mbsync and Python's imaplib.

use std::time::Duration;

use testkit::certificates::Authority;
use testkit::dovecot::Dovecot;
use testkit::pair::PASSWORD;
use testkit::smtp::SmtpClient;
use testkit::{Pair, message, page, process, until};

use crate::alone;

fn pair_with(subjects: &[&str]) -> Pair {
    let pair = Pair::start();
    let mut client = SmtpClient::ready(pair.smtp).unwrap();
    for subject in subjects {
        let sent = message::simple("a@sender.test", "bob@example.org", subject);
        assert!(client.message("a@sender.test", &["bob@example.org"], &sent).unwrap().starts_with("250"));
    }
    pair
}

#[test]
fn mbsync_brings_a_mailbox_home_and_carries_changes_both_ways() {
    let _alone = alone();
    let pair = pair_with(&["one", "two", "three"]);
    let dir = tempfile::tempdir().unwrap();
    let local = dir.path().join("mail");
    std::fs::create_dir(&local).unwrap();
    let config = dir.path().join("mbsyncrc");
    let certificate = dir.path().join("certificate.pem");
    std::fs::write(&certificate, certificate_of(&pair)).unwrap();
    let text = format!(
        "IMAPAccount home\nHost {host}\nPort {port}\nUser bob@example.org\nPass \"{PASSWORD}\"\n\
         SSLType IMAPS\nSystemCertificates no\nCertificateFile {certificate}\n\n\
         IMAPStore far\nAccount home\n\nMaildirStore near\nPath {local}/\nInbox {local}/INBOX\n\
         SubFolders Verbatim\n\nChannel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\n\
         SyncState *\n",
        host = pair.imap.ip(),
        port = pair.imap.port(),
        certificate = certificate.display(),
        local = local.display(),
    );
    std::fs::write(&config, text).unwrap();
    let mbsync = || {
        let mut command = process::command(None, "mbsync");
        command.arg("-c").arg(&config).arg("-a");
        process::run_ok(command, b"", Duration::from_secs(60))
    };
    let _ = mbsync();
    let new = local.join("INBOX/new");
    let names = || std::fs::read_dir(&new).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let mut files = names();
    assert_eq!(files.len(), 3, "{files:?}");
    files.sort();
    let there = pair.account("bob").messages("INBOX");
    for file in &files {
        // mbsync stores with line ends and a field of its own.
        let stored = String::from_utf8(std::fs::read(file).unwrap()).unwrap();
        let lines = stored.split_inclusive('\n').filter(|line| !line.starts_with("X-TUID: "));
        let stored = message::with_crlf(lines.collect::<String>().as_bytes());
        assert!(there.contains(&stored), "{}", String::from_utf8_lossy(&stored));
    }
    let seen = local.join("INBOX/cur").join(files[0].file_name().unwrap());
    std::fs::rename(&files[0], seen.with_file_name(renamed(&seen, "S"))).unwrap();
    std::fs::remove_file(&files[1]).unwrap();
    std::fs::write(new.join("local.1"), "Subject: written here\n\ntext\n").unwrap();
    let _ = mbsync();
    let mut subjects = pair.account("bob").subjects("INBOX");
    subjects.sort();
    assert_eq!(subjects.len(), 3, "{subjects:?}");
    assert!(subjects.contains(&"written here".to_owned()), "{subjects:?}");
    let flags = pair.account("bob").script("count('INBOX'); print(ok(imap.search(None, 'SEEN')))");
    assert_eq!(flags.matches(char::is_numeric).count(), 1, "{flags}");
}

/// The file of the recipe, for hosts of here: where they are, and how their certificates are known.
#[test]
fn mail_moves_from_dovecot_by_the_recipe_with_folders_flags_and_dates_and_once() {
    let _alone = alone();
    let pair = Pair::start();
    let authority = Authority::new();
    let dovecot = Dovecot::start_with_imap(&[("you", "old", None)], authority.issue(&["localhost"]));
    let letter = |subject: &str| message::simple("a@sender.test", "you@dovecot.lan", subject);
    dovecot.put("you", "", (1_000_000_000, "S"), &letter("read long ago"));
    dovecot.put("you", "", (1_500_000_000, ""), &letter("never read"));
    dovecot.put("you", ".Archive.2019", (1_550_000_000, "FS"), &letter("kept"));
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("home.pem"), certificate_of(&pair)).unwrap();
    std::fs::write(at("new-password"), PASSWORD).unwrap();
    std::fs::write(at("old-password"), "old").unwrap();
    let here = |address: std::net::SocketAddr| format!("Host {}\nPort {}", address.ip(), address.port());
    let text = page::recipe("~/.mbsyncrc");
    let text = text.replace(
        "Host dovecot.lan",
        &format!(
            "{}\nCertificateFile {}",
            here(dovecot.imap()).replace("127.0.0.1", "localhost"),
            authority.root().display()
        ),
    );
    let text =
        text.replace("Host 192.168.1.10", &here(pair.imap)).replace("you@example.org", "bob@example.org");
    std::fs::write(at("mbsyncrc"), text).unwrap();
    let mbsync = || {
        let mut command = process::command(None, "mbsync");
        command.current_dir(dir.path()).env("HOME", dir.path()).args(["-c", "mbsyncrc", "move"]);
        process::run_ok(command, b"", Duration::from_secs(60))
    };
    let _ = mbsync();
    let bob = pair.account("bob");
    let shown = |mailbox: &str| {
        bob.script(&format!(
            "count({mailbox:?})\nfor part in ok(imap.fetch('1:*', '(INTERNALDATE FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])')):\n \
             print(b' '.join(part) if isinstance(part, tuple) else part)"
        ))
    };
    let inbox = shown("INBOX");
    for part in ["09-Sep-2001", "14-Jul-2017", "read long ago", "never read"] {
        assert!(inbox.contains(part), "{part}: {inbox}");
    }
    assert_eq!(inbox.matches("\\Seen").count(), 1, "{inbox}");
    let kept = shown("Archive/2019");
    assert!(kept.contains("12-Feb-2019") && kept.contains("\\Flagged") && kept.contains("kept"), "{kept}");
    // Until the day of the change it may be typed again.
    dovecot.put("you", "", (1_600_000_000, ""), &letter("came since"));
    let _ = mbsync();
    let mut subjects = bob.subjects("INBOX");
    subjects.sort();
    assert_eq!(subjects, ["came since", "never read", "read long ago"]);
}

fn renamed(path: &std::path::Path, flag: &str) -> String {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let base = name.split(":2,").next().unwrap_or_default().to_owned();
    format!("{base}:2,{flag}")
}

fn certificate_of(pair: &Pair) -> String {
    let mut command = process::command(None, "openssl");
    command.args(["s_client", "-connect", &pair.imap.to_string(), "-showcerts"]);
    let printed = process::run_ok(command, b"Q\n", Duration::from_secs(30));
    let begin = printed.find("-----BEGIN CERTIFICATE-----").expect("a certificate");
    let end = printed.find("-----END CERTIFICATE-----").expect("its end");
    format!("{}-----END CERTIFICATE-----\n", &printed[begin..end])
}

#[test]
fn imaplib_stores_copies_moves_appends_searches_and_expunges() {
    let _alone = alone();
    let pair = pair_with(&["one", "two", "three"]);
    let printed = pair.account("bob").script(
        r#"
ok(imap.create("Project"))
ok(imap.subscribe("Project"))
ok(imap.select("INBOX"))
found = {}
found["capabilities"] = list(imap.capabilities)
ok(imap.store("1", "+FLAGS", r"(\Seen \Flagged $Label)"))
found["flagged"] = ok(imap.search(None, "FLAGGED"))[0].decode()
found["keyword"] = ok(imap.search(None, "KEYWORD", "$Label"))[0].decode()
found["unseen"] = ok(imap.search(None, "UNSEEN"))[0].decode()
found["subject"] = ok(imap.search(None, "SUBJECT", "two"))[0].decode()
found["text"] = ok(imap.search(None, "BODY", '"This is three"'))[0].decode()
ok(imap.copy("1", "Project"))
ok(imap._simple_command("MOVE", "2", "Project"))
ok(imap.append("Project", r"(\Seen)", imaplib.Time2Internaldate(time.time()), b"Subject: appended\r\n\r\nhello\r\n"))
ok(imap.store("1", "+FLAGS", r"(\Deleted)"))
ok(imap.expunge())
found["inbox"] = count("INBOX")
found["project"] = count("Project")
found["project_flags"] = ok(imap.fetch("1", "(FLAGS)"))[0].decode()
found["appended"] = ok(imap.fetch("3", "(BODY.PEEK[])"))[0][1].decode()
ok(imap.select("Project"))
ok(imap.rename("Project", "Old"))
found["folders"] = [f.decode() for f in ok(imap.list())]
bad = imap.select('"No such mailbox"')
found["no_such"] = bad[0]
print(json.dumps(found))
"#,
    );
    let found = testkit::imap::json(&printed);
    assert_eq!(found["flagged"], "1");
    assert_eq!(found["keyword"], "1");
    assert_eq!(found["unseen"], "2 3");
    assert_eq!(found["subject"], "2");
    assert_eq!(found["text"], "3");
    assert_eq!(found["inbox"], 1);
    assert_eq!(found["project"], 3);
    assert!(found["project_flags"].as_str().unwrap().contains("\\Flagged"), "{found}");
    assert_eq!(found["appended"], "Subject: appended\r\n\r\nhello\r\n");
    assert!(found["folders"].to_string().contains("Old"), "{found}");
    assert_eq!(found["no_such"], "NO");
    assert_eq!(pair.account("bob").subjects("INBOX"), ["three"]);
    assert_eq!(pair.account("bob").subjects("Old"), ["one", "two", "appended"]);
}

#[test]
fn idle_tells_of_a_message_when_it_comes() {
    let _alone = alone();
    let pair = pair_with(&["before"]);
    let account = pair.account("bob");
    std::thread::scope(|scope| {
        let idle = scope.spawn(|| {
            account.script(
                r#"
ok(imap.select("INBOX"))
tag = imap._new_tag()
imap.send(tag + b" IDLE\r\n")
assert imap.readline().startswith(b"+"), "no continuation"
line = b""
while b"EXISTS" not in line:
    line = imap.readline()
print(line.decode())
imap.send(b"DONE\r\n")
while not line.startswith(tag):
    line = imap.readline()
print(line.decode())
"#,
            )
        });
        let mut client = SmtpClient::ready(pair.smtp).unwrap();
        std::thread::sleep(Duration::from_secs(2));
        let sent = message::simple("a@sender.test", "bob@example.org", "news");
        assert!(client.message("a@sender.test", &["bob@example.org"], &sent).unwrap().starts_with("250"));
        let printed = idle.join().unwrap();
        assert!(printed.contains("* 2 EXISTS") && printed.contains("OK"), "{printed}");
    });
}

#[test]
fn a_wrong_password_opens_nothing() {
    let _alone = alone();
    let pair = pair_with(&["secret"]);
    let mut command = process::command(None, "/usr/bin/python3");
    let script = "import imaplib, ssl, sys\nc = ssl._create_unverified_context()\n\
                  i = imaplib.IMAP4_SSL(sys.argv[1], int(sys.argv[2]), ssl_context=c)\n\
                  try:\n    i.login('bob@example.org', 'wrong'); print('in')\n\
                  except imaplib.IMAP4.error as e:\n    print('out', e)\n";
    command.args(["-c", script, &pair.imap.ip().to_string(), &pair.imap.port().to_string()]);
    let printed = process::run_ok(command, b"", Duration::from_secs(60));
    assert!(printed.starts_with("out"), "{printed}");
}

/// Symptom: a client that takes a literal for CHAR8 (RFC 3501 section 9) got NUL octets in one. Cause: what came in went out.
#[test]
fn a_message_with_nul_is_taken_and_kept_and_shown_without() {
    let _alone = alone();
    let pair = Pair::start();
    let mail = b"From: Pal <a@sender.test>\r\nTo: bob@example.org\r\nSubject: nul\r\n\r\na\0b\r\n";
    let mut client = SmtpClient::ready(pair.smtp).unwrap();
    assert!(client.message("a@sender.test", &["bob@example.org"], mail).unwrap().starts_with("250"));
    let submit = r#"
import smtplib
sender = smtplib.SMTP_SSL(sys.argv[1], int(sys.argv[5]), "mua.test", context=context, timeout=120)
sender.login(sys.argv[3], sys.argv[4])
sender.sendmail(sys.argv[3], ["bob@example.org"], b"From: alice@example.org\r\nSubject: own\r\n\r\na\0b\r\n")
"#;
    let submission = pair.submission.port().to_string();
    let _ = pair.account("alice").script(&submit.replace("sys.argv[5]", &submission));
    until("both are there", Duration::from_secs(60), || {
        (pair.account("bob").count("INBOX") == 2).then_some(())
    });
    for stored in pair.account("bob").messages("INBOX") {
        assert!(stored.ends_with(b"\r\n\r\na\x80b\r\n"), "{}", stored.escape_ascii());
    }
    assert!(
        kept_with(&pair, b"a\0b\r\n") >= 2 && kept_with(&pair, b"a\x80b") == 0,
        "what came is kept as it came"
    );
    let refused = pair
        .account("bob")
        .script("print(imap.append('INBOX', None, None, b'Subject: x\\r\\n\\r\\na\\0b\\r\\n'))");
    assert!(refused.contains("'NO'") && refused.contains("NUL"), "{refused}");
    assert_eq!(pair.account("bob").count("INBOX"), 2);
}

/// How often these octets are in bob's database and its log.
fn kept_with(pair: &Pair, octets: &[u8]) -> usize {
    let dir = pair.home.data().join("mailboxes");
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let bobs = files.filter(|path| path.to_string_lossy().contains("bob--") && path.is_file());
    let found = bobs.map(|path| {
        let stored = std::fs::read(path).unwrap();
        stored.windows(octets.len()).filter(|window| *window == octets).count()
    });
    found.sum()
}
