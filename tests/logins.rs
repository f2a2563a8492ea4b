//! Logins at 993 and 465: those who guess, those who are silent, fail2ban, and sessions whose account is no more.
//!
//! `POSTERN_PORTS_FULL=1` has a thousand passwords offered in a second, and prints the figures.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use testkit::network_lab::NetworkLab;
use testkit::pair::PASSWORD;
use testkit::process::{self, Process};
use testkit::{Pair, PairOptions, until};

use crate::alone;

const GUESS: &str = include_str!("logins/guess.py");
const RIGHT: &str = include_str!("logins/right.py");
const ALIAS: &str = include_str!("logins/alias.py");
const OPEN_SESSIONS: &str = include_str!("logins/open_sessions.py");
const PATIENCE: Duration = Duration::from_secs(300);
const SOURCES: u32 = 20;
const FILTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/fail2ban/filter.d/postern.conf");

fn python(namespace: Option<&str>, script: &str, pair: &Pair) -> std::process::Command {
    let mut python = process::command(namespace, "/usr/bin/python3");
    python.args(["-c", script, &pair.imap.ip().to_string(), &pair.imap.port().to_string()]);
    python.arg(pair.submission.port().to_string());
    python
}

/// A host of the house with twenty addresses, each of a network of its own.
fn guessing_host(lab: &mut NetworkLab) -> String {
    let guessers = lab.add_house_host("guess", Ipv4Addr::new(192, 168, 77, 50));
    let mut add = process::command(Some(&guessers), "sh");
    add.args(["-c", "for n in $(seq 0 19); do ip addr add 10.66.$n.1/32 dev lan; done"]);
    process::run_ok(add, b"", PATIENCE);
    let mut route = process::command(Some(lab.home()), "ip");
    route.args(["route", "add", "10.66.0.0/16", "via", "192.168.77.50"]);
    process::run_ok(route, b"", PATIENCE);
    guessers
}

/// Symptom: passwords of one account were checked 49 to 67 times in a second, and a right login took 18 s while 940 wrong
/// ones waited. Cause: nothing counted them, and each held a thread while it waited for its turn.
#[test]
fn who_guesses_passwords_has_a_few_of_them_checked_and_the_owner_logs_in_meanwhile() {
    let _alone = alone();
    if !NetworkLab::is_possible() {
        println!("NOT RUN: network namespaces can't be made here (it takes root)");
        return;
    }
    let full = std::env::var_os("POSTERN_PORTS_FULL").is_some();
    let (rate, seconds, times, pause) = if full { ("1000", 60, "50", "1") } else { ("100", 25, "12", "0.5") };
    let mut lab = NetworkLab::new();
    let guessers = guessing_host(&mut lab);
    let owner = lab.add_house_host("owner", Ipv4Addr::new(192, 168, 77, 60));
    let pair = Pair::with(&PairOptions { places: Some(lab.places()), ..PairOptions::default() });
    let mut guess = python(Some(&guessers), GUESS, &pair);
    guess.args([&SOURCES.to_string(), rate, &seconds.to_string(), "bob@example.org"]);
    let dir = tempfile::tempdir().unwrap();
    let guessing = Process::start(guess, &dir.path().join("log"));
    until("somebody guesses", PATIENCE, || guessing.log().contains("ready").then_some(()));
    std::thread::sleep(Duration::from_secs(3));
    let mut right = python(Some(&owner), RIGHT, &pair);
    right.args(["bob@example.org", PASSWORD, times, pause]);
    let printed = process::run_ok(right, b"", PATIENCE);
    let found = testkit::imap::json(&printed);
    until("they have given up", PATIENCE, || guessing.log().contains("guessed").then_some(()));
    println!("{printed}\n{}", guessing.log());
    assert_eq!(found["failed"].as_array().unwrap().len(), 0, "{printed}");
    let log = pair.home.log();
    for source in 0..SOURCES {
        let line = format!("login failed client=10.66.{source}.1 ");
        let checked = log.matches(&line).count();
        // A machine that is busy takes longer than it was told to.
        let most = 10 * (seconds / 60 + 2);
        assert!((1..=most).contains(&checked), "{checked} of 10.66.{source}.1 were checked");
    }
    assert!(!log.contains("login failed client=192.168.77.60"), "{log}");
}

/// Symptom: 500 connections that said nothing locked port 465 for 300 s. Cause: an address could have all the places, and
/// who did not even begin TLS was waited for like a client that is known.
#[test]
fn silent_connections_of_one_address_leave_places_for_others() {
    let _alone = alone();
    if !NetworkLab::is_possible() {
        println!("NOT RUN: network namespaces can't be made here (it takes root)");
        return;
    }
    let mut lab = NetworkLab::new();
    let owner = lab.add_house_host("owner", Ipv4Addr::new(192, 168, 77, 60));
    let pair = Pair::with(&PairOptions {
        home_config: "[limits]\nsessions = 200\n".to_owned(),
        places: Some(lab.places()),
        ..PairOptions::default()
    });
    let silent = "import socket, sys, time\n\
        held = [socket.create_connection((sys.argv[1], int(port)), 30) for port in sys.argv[2:4] for _ in range(300)]\n\
        print('silent', flush=True); time.sleep(200)";
    let dir = tempfile::tempdir().unwrap();
    // From a network of its own: the house's would be the owner's.
    let guessers = guessing_host(&mut lab);
    let mut command = process::command(Some(&guessers), "/usr/bin/python3");
    let bound = silent.replace(", 30)", ", 30, ('10.66.3.1', 0))");
    command.args(["-c", &bound, "192.168.77.2", &pair.imap.port().to_string()]);
    command.arg(pair.submission.port().to_string());
    let held = Process::start(command, &dir.path().join("log"));
    until("they are silent", PATIENCE, || held.log().contains("silent").then_some(()));
    let mut right = python(Some(&owner), RIGHT, &pair);
    right.args(["bob@example.org", PASSWORD, "4", "0"]);
    let printed = process::run_ok(right, b"", PATIENCE);
    assert!(printed.contains("\"failed\": []"), "{printed}");
    assert!(pair.home.log().contains("connections are turned away"), "{}", pair.home.log());
}

/// Addresses that the filter finds in a log, one for each line that it matches.
fn found_by_fail2ban(log: &Path) -> Vec<String> {
    let mut command = process::command(None, "fail2ban-regex");
    command.args(["-o", "ip"]).arg(log).arg(FILTER);
    let printed = process::run_ok(command, b"", PATIENCE);
    printed.lines().map(str::to_owned).collect()
}

/// Security lesson: DenyHosts CVE-2007-4323, fail2ban CVE-2013-2178.
#[test]
fn fail2ban_reads_each_failed_login_of_both_ports_and_no_login_name_is_taken_for_an_address() {
    let _alone = alone();
    let pair = Pair::start();
    let names = [
        "bob@example.org",
        "nobody@example.org",
        "x\\\" client=203.0.113.66 service=\\\"IMAP\\\" user=\\\"y",
        "2026-01-01T00:00:00.000000Z  WARN login failed client=203.0.113.66 service=\\\"IMAP\\\" user=\\\"y",
    ];
    let script = r#"
import base64, imaplib, smtplib, ssl, sys
host, imap, submission = sys.argv[1:4]
context = ssl._create_unverified_context()
for name in sys.argv[4:]:
    try:
        imaplib.IMAP4_SSL(host, int(imap), ssl_context=context).login('"%s"' % name, "wrong horse")
    except imaplib.IMAP4.error as error:
        assert "AUTHENTICATIONFAILED" in str(error), error
    client = smtplib.SMTP_SSL(host, int(submission), "mua.test", context=context)
    client.ehlo()
    plain = "\0%s\nWARN login failed client=203.0.113.66 \0wrong horse" % name.replace("\\", "")
    assert client.docmd("AUTH", "PLAIN " + base64.b64encode(plain.encode()).decode())[0] == 535
"#;
    let mut command = python(None, script, &pair);
    command.args(names);
    process::run_ok(command, b"", PATIENCE);
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("home.log");
    std::fs::write(&log, pair.home.log()).unwrap();
    assert_eq!(found_by_fail2ban(&log), vec!["127.0.0.1"; 2 * names.len()], "{}", pair.home.log());
    // As the journal shows it to fail2ban.
    let lines = pair.home.log();
    let as_journal = lines.lines().map(|line| {
        let text =
            line.split_once(" WARN ").or_else(|| line.split_once(" INFO ")).map_or(line, |(_, text)| text);
        format!("Nov 29 23:00:00 home postern[123]: {text}\n")
    });
    std::fs::write(&log, as_journal.collect::<String>()).unwrap();
    assert_eq!(found_by_fail2ban(&log), vec!["127.0.0.1"; 2 * names.len()], "{lines}");
}

/// Symptom: with a password that had been changed, and after the account's removal, open sessions went on reading and
/// sending. Cause: a login was looked at once.
#[test]
fn a_changed_password_and_a_removed_account_end_open_sessions_at_once() {
    let _alone = alone();
    let pair = Pair::start();
    let end_them = |command: &[&str], input: &str| {
        let dir = tempfile::tempdir().unwrap();
        let mut open = python(None, OPEN_SESSIONS, &pair);
        open.args(["bob@example.org", PASSWORD]);
        let sessions = Process::start(open, &dir.path().join("log"));
        until("the sessions are open", PATIENCE, || sessions.log().contains("open").then_some(()));
        pair.home.command_ok(command, input);
        let said = until("they have ended", PATIENCE, || {
            Some(sessions.log()).filter(|log| log.contains("still in") || log.contains("out"))
        });
        assert!(said.contains("imap b'* BYE") && said.contains("b''"), "{said}");
        assert!(said.contains("idle 421") && said.contains("middle 421"), "{said}");
        assert!(said.contains("middle is closed") && said.contains("AUTHENTICATIONFAILED"), "{said}");
    };
    end_them(&["user", "password", "bob@example.org", "--password-stdin"], "another horse battery\n");
    pair.home
        .command_ok(&["user", "password", "bob@example.org", "--password-stdin"], &format!("{PASSWORD}\n"));
    end_them(&["user", "remove", "bob@example.org"], "");
    assert_eq!(pair.account("alice").subjects("INBOX"), [""; 0], "nothing was sent");
}

/// Who may send under a name is looked at again when the message is whole. Symptom: an alias that was removed meanwhile
/// was still good for a message that had begun. Cause: the reverse-path was looked at in MAIL only.
#[test]
fn a_removed_alias_is_no_reverse_path_any_more_also_of_a_message_that_has_begun() {
    let _alone = alone();
    let pair = Pair::start();
    pair.home.command_ok(&["alias", "add", "sales@example.org", "bob@example.org"], "");
    let dir = tempfile::tempdir().unwrap();
    for (remove, end) in [(false, "end 250"), (true, "end 550")] {
        let go = dir.path().join(format!("go-{remove}"));
        let mut command = python(None, ALIAS, &pair);
        command.args(["bob@example.org", PASSWORD, "sales@example.org"]).arg(&go);
        let session = Process::start(command, &dir.path().join(format!("log-{remove}")));
        until("the message has begun", PATIENCE, || session.log().contains("open").then_some(()));
        if remove {
            pair.home.command_ok(&["alias", "remove", "sales@example.org"], "");
        }
        std::fs::write(&go, "").unwrap();
        let said = until("it has ended", PATIENCE, || Some(session.log()).filter(|log| log.contains("end")));
        assert!(said.contains(end), "{said}");
    }
}
