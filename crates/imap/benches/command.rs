//! Commands as a session takes them, from their octets to the answer: where they end is found, they are
//! parsed, and in a mailbox without messages there is nothing else to do. APPEND brings 4 KiB along.
//! Unit: commands a second.

#![allow(clippy::unwrap_used, reason = "a mailbox in memory has nothing that could fail")]

#[path = "../tests/memory/mod.rs"]
#[allow(dead_code, reason = "the dialogues of the tests ask more of it")]
mod memory;

use bytes::BytesMut;
use divan::Bencher;
use divan::counter::ItemsCount;
use imap::{Options, Session, Step};
use memory::Memory;

const APPENDED_OCTETS: usize = 4 * 1024;

fn main() {
    divan::main();
}

/// What a session costs besides the parsing: the shortest command.
#[divan::bench]
fn noop(bencher: Bencher<'_, '_>) {
    measure(bencher, "t NOOP\r\n", "t OK");
}

/// What a mail program asks first of all.
#[divan::bench]
fn fetch(bencher: Bencher<'_, '_>) {
    let items = "UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE \
                 BODY.PEEK[HEADER.FIELDS (From To Cc Subject Date Message-ID References List-Post)]";
    measure(bencher, &format!("t UID FETCH 1:5,17,1042:* ({items})\r\n"), "t OK");
}

/// As one that resynchronises after a long time: a thousand ranges.
#[divan::bench]
fn fetch_1000_ranges(bencher: Bencher<'_, '_>) {
    let ranges: Vec<String> = (0..1000).map(|n| format!("{}:{}", n * 10 + 1, n * 10 + 4)).collect();
    measure(bencher, &format!("t UID FETCH {} (FLAGS)\r\n", ranges.join(",")), "t OK");
}

#[divan::bench]
fn search(bencher: Bencher<'_, '_>) {
    let keys = "UNDELETED SINCE 1-Nov-2026 OR (FROM \"alice@remote.example\" SUBJECT \"offer\") \
                (NOT SEEN HEADER List-Id \"news\" LARGER 10000) UID 1:5000";
    measure(bencher, &format!("t UID SEARCH RETURN (MIN MAX COUNT) {keys}\r\n"), "* ESEARCH");
}

#[divan::bench]
fn search_literal(bencher: Bencher<'_, '_>) {
    measure(bencher, "t UID SEARCH TEXT {13+}\r\nGrüße, Bob!\r\n", "* SEARCH");
}

/// The whole message is there with its command, as LITERAL+ allows. The mailbox keeps what it gets.
#[divan::bench(sample_count = 50, sample_size = 100)]
fn append(bencher: Bencher<'_, '_>) {
    let date = "24-Nov-2026 06:00:00 +0000";
    let line = format!("t APPEND Sent (\\Seen $Forwarded) \"{date}\" {{{APPENDED_OCTETS}+}}\r\n");
    let message = format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(APPENDED_OCTETS - 16));
    measure(bencher, &format!("{line}{message}\r\n"), "t OK [APPENDUID");
}

/// Says `command` again and again in a mailbox without messages.
fn measure(bencher: Bencher<'_, '_>, command: &str, answer: &str) {
    let mut session = Session::new(Memory::new(), Options::default());
    let mut input = BytesMut::new();
    let mut say = |command: &str| {
        input.extend_from_slice(command.as_bytes());
        session.output().clear();
        assert_eq!(session.advance(&mut input), Step::Read);
        session.output().clone()
    };
    say("a LOGIN bob secret\r\n");
    assert!(say("b SELECT INBOX\r\n").ends_with(b"b OK [READ-WRITE] selected\r\n"));
    let said = String::from_utf8(say(command)).unwrap();
    assert!(said.starts_with(answer) && said.contains("t OK"), "{said}");
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| say(command).len());
}
