//! Hundreds of sessions that idle, as those of a family's telephones do that are never closed.
//!
//! `POSTERN_IDLE_FULL=1` has 500 of them. The figures are printed in any case.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use testkit::pair::PASSWORD;
use testkit::process::{self, Process};
use testkit::smtp::SmtpClient;
use testkit::{Pair, PairOptions, message, until};

use crate::alone;

const MANY: &str = include_str!("idle/many.py");
const PATIENCE: Duration = Duration::from_secs(120);
/// Threads that deliveries may add: those of IMAP's steps, and those that the delivery itself takes.
const THREADS_MORE_MAX: usize = 16;
/// Descriptors that deliveries may leave: eight readers with two files each, the writer's, and a little.
const DESCRIPTORS_MORE_MAX: usize = 30;

/// What Home's process holds: threads, descriptors, and KiB of memory.
type Held = (usize, usize, u64);

fn held_by(pair: &Pair) -> Held {
    let id = pair.home.process_id().unwrap();
    let count = |what: &str| std::fs::read_dir(format!("/proc/{id}/{what}")).unwrap().count();
    let resident_kib = pair.home.resident_octets() / 1024;
    (count("task"), count("fd"), resident_kib)
}

fn deliver(pair: &Pair, subject: &str) {
    let mut client = SmtpClient::ready(pair.smtp).unwrap();
    let sent = message::simple("a@sender.test", "bob@example.org", subject);
    assert!(client.message("a@sender.test", &["bob@example.org"], &sent).unwrap().starts_with("250"));
}

/// Symptom: with 500 sessions that idled, one delivery took 521 threads, 191 MB, and 440 descriptors that were kept. Cause:
/// it woke all sessions of the account at one time, and each took a thread and a database connection.
#[test]
fn a_delivery_to_hundreds_of_idling_sessions_takes_few_threads_and_descriptors_and_is_heard_by_the_right_ones()
 {
    let _alone = alone();
    let (right, wrong) = if std::env::var_os("POSTERN_IDLE_FULL").is_some() { (500, 50) } else { (200, 50) };
    let home_config = "[limits]\nsessions = 4000\nsessions_per_address = 1000\n".to_owned();
    let pair = Pair::with(&PairOptions { home_config, ..PairOptions::default() });
    deliver(&pair, "first");
    let mut python = process::command(None, "/usr/bin/python3");
    python.args(["-c", MANY, &pair.imap.ip().to_string(), &pair.imap.port().to_string()]);
    python.args(["bob@example.org", PASSWORD, &format!("INBOX={right}"), &format!("Junk={wrong}")]);
    python.stdin(Stdio::piped());
    let log = pair.dir().join("idle.log");
    let mut sessions = Process::start(python, &log);
    let mut tell = sessions.take_stdin().unwrap();
    let says = |what: &str| {
        until(what, PATIENCE, || {
            let log = sessions.log();
            assert!(!log.contains("Error"), "{log}");
            log.contains(what).then_some(())
        });
    };
    says(&format!("idling {}", right + wrong));
    let before = held_by(&pair);
    for number in 1..=3 {
        deliver(&pair, &format!("news {number}"));
        writeln!(tell, "INBOX {number}").unwrap();
        says(&format!("heard INBOX [{number}] unread 0"));
    }
    writeln!(tell, "Junk 0").unwrap();
    says("heard Junk [0] unread 0");
    let after = held_by(&pair);
    println!(
        "{right} idle in INBOX, {wrong} in Junk: threads, descriptors, KiB before {before:?}, after {after:?}"
    );
    drop(tell);
    says("done");
    assert!(after.0 <= before.0 + THREADS_MORE_MAX, "{before:?} {after:?}");
    assert!(after.1 <= before.1 + DESCRIPTORS_MORE_MAX, "{before:?} {after:?}");
}
