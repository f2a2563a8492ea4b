//! The MIME structure of a message, found and written: FETCH BODYSTRUCTURE of two messages in turn, so that
//! neither is remembered from the time before, read from memory in pieces.
//! Unit: octets of the messages a second.

#![allow(clippy::unwrap_used, reason = "a mailbox in memory has nothing that could fail")]

#[path = "../tests/memory/mod.rs"]
#[allow(dead_code, reason = "the dialogues of the tests ask more of it")]
mod memory;

use bytes::BytesMut;
use divan::Bencher;
use divan::counter::BytesCount;
use imap::{Options, Session, Step};
use mailbox::Flags;
use memory::Memory;

fn main() {
    divan::main();
}

/// A text in two forms and two attachments of this size, as most messages that have any.
#[divan::bench(args = [4 * 1024, 12 * 1024 * 1024])]
fn attachments(bencher: Bencher<'_, '_>, octets: usize) {
    let text = "Dear Bob, the quick brown fox jumps over the lazy dog, again and again.\r\n".repeat(20);
    let forms = multipart(
        "alternative",
        &[part("text/plain; charset=utf-8", "7bit", &text), part("text/html; charset=utf-8", "7bit", &text)],
    );
    let attachment = part("application/pdf; name=\"a.pdf\"", "base64", &base64(octets));
    measure(bencher, &multipart("mixed", &[forms, attachment.clone(), attachment]), "\"mixed\"");
}

/// A digest: three hundred short messages in one.
#[divan::bench]
fn digest(bencher: Bencher<'_, '_>) {
    let inner = "From: Alice <alice@remote.example>\r\nTo: list@example.org\r\nSubject: one of many\r\n\r\n";
    let text = "Dear all, the quick brown fox jumps over the lazy dog.\r\n".repeat(10);
    let entry = part("message/rfc822", "7bit", &format!("{inner}{text}"));
    measure(bencher, &multipart("digest", &vec![entry; 300]), "\"digest\"");
}

/// Lines that could each be a boundary and are none: the most work for each octet.
#[divan::bench]
fn hyphens(bencher: Bencher<'_, '_>) {
    let lines = part("text/plain", "7bit", &"--\r\n".repeat(256 * 1024));
    measure(bencher, &multipart("mixed", &[lines]), "\"mixed\"");
}

fn measure(bencher: Bencher<'_, '_>, entity: &str, structure: &str) {
    let message = format!("From: alice@remote.example\r\nSubject: x\r\nMIME-Version: 1.0\r\n{entity}");
    let memory = Memory::new();
    for _ in 0..2 {
        memory.add("INBOX", message.as_bytes(), Flags::default());
    }
    let mut session = Session::new(memory, Options::default());
    let mut input = BytesMut::new();
    let mut say = |command: &[u8]| {
        input.extend_from_slice(command);
        let mut answer = Vec::new();
        loop {
            let step = session.advance(&mut input);
            answer.append(session.output());
            if step != Step::Flush {
                return answer;
            }
        }
    };
    say(b"a LOGIN bob secret\r\nb SELECT INBOX\r\n");
    let answer = String::from_utf8(say(b"t FETCH 1:2 (BODYSTRUCTURE)\r\n")).unwrap();
    assert_eq!(answer.matches(structure).count(), 2, "{answer}");
    bencher
        .counter(BytesCount::new(2 * message.len()))
        .bench_local(|| say(b"t FETCH 1:2 (BODYSTRUCTURE)\r\n").len());
}

/// Fields about content, an empty line, and the body.
fn part(content_type: &str, encoding: &str, body: &str) -> String {
    format!("Content-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}")
}

fn multipart(subtype: &str, parts: &[String]) -> String {
    let boundary = format!("=_next_part_of_the_{subtype}_0001");
    let mut entity = format!("Content-Type: multipart/{subtype}; boundary=\"{boundary}\"\r\n\r\n");
    for part in parts {
        entity.push_str(&format!("--{boundary}\r\n{part}\r\n"));
    }
    entity + &format!("--{boundary}--\r\n")
}

/// So many octets in lines of 76.
fn base64(octets: usize) -> String {
    let line: String = ('A'..='Z').chain('a'..='z').chain('0'..='9').cycle().take(76).collect();
    format!("{line}\r\n").repeat(octets / 78)
}
