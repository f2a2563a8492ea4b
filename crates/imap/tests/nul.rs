//! NUL octets in messages: a literal has none (RFC 3501 section 9, CHAR8), a message may.
//!
//! Symptom: a client that reads literals as CHAR8 refused what FETCH gave it. Cause: messages went out as they came in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that gets no answer has failed")]

#[expect(dead_code, reason = "other tests need all of it")]
mod memory;

use bytes::BytesMut;
use imap::{Options, Session, Step};
use mailbox::Flags;
use memory::Memory;

const MAIL: &[u8] = b"From: \"P\0al\" <pal@friend.example>\r\nSubject: n\0l\r\nMIME-Version: 1.0\r\n\
Content-Type: multipart/mixed; boundary=b; x=\"1\x002\"\r\nContent-Description: d\0\r\n\r\n\
--b\r\nContent-Type: message/rfc822\r\nX-In: i\0n\r\n\r\nSubject: in\0ner\r\n\r\na\0b\r\n--b\r\n\
Content-Disposition: attachment; filename=\"f\0\"\r\n\r\n\0\0\r\n--b--\r\n";

/// A session of bob's in INBOX.
struct Client {
    session: Session<Memory>,
    input: BytesMut,
}

impl Client {
    fn selected(memory: &Memory) -> Self {
        let session = Session::new(memory.clone(), Options::default());
        let mut client = Self { session, input: BytesMut::new() };
        client.say(b"a LOGIN bob secret\r\nb SELECT INBOX\r\n");
        client
    }

    fn say(&mut self, octets: &[u8]) -> Vec<u8> {
        self.input.extend_from_slice(octets);
        let mut answer = Vec::new();
        loop {
            let step = self.session.advance(&mut self.input);
            answer.append(self.session.output());
            match step {
                Step::Login => {
                    let _ = self.session.credentials();
                    self.session.answer_login(Ok("bob"));
                }
                Step::Flush => {}
                _ => return answer,
            }
        }
    }
}

fn holds(octets: &[u8], part: &[u8]) -> bool {
    octets.windows(part.len()).any(|window| window == part)
}

#[test]
fn no_answer_to_fetch_has_a_nul_and_each_size_is_that_of_the_message() {
    let memory = Memory::new();
    memory.add("INBOX", MAIL, Flags::default());
    let mut client = Client::selected(&memory);
    let shown: Vec<u8> = MAIL.iter().map(|octet| if *octet == 0 { 0x80 } else { *octet }).collect();
    let whole = client.say(b"t FETCH 1 (RFC822.SIZE BODY.PEEK[])\r\n");
    let head = format!("* 1 FETCH (RFC822.SIZE {0} BODY[] {{{0}}}\r\n", MAIL.len());
    assert!(whole.starts_with(head.as_bytes()) && holds(&whole, &shown));
    for (item, part) in [
        ("RFC822", &shown[..]),
        ("RFC822.TEXT", b"\r\n\x80\x80\r\n--b--\r\n"),
        ("RFC822.HEADER", b"RFC822.HEADER {147}\r\nFrom: \"P\x80al\""),
        ("BODY.PEEK[HEADER]", b"Subject: n\x80l\r\n"),
        ("BODY.PEEK[HEADER]<44.3>", b"<44> {3}\r\nn\x80l"),
        ("BODY.PEEK[HEADER.FIELDS (Subject)]", b"{16}\r\nSubject: n\x80l\r\n\r\n"),
        ("BODY.PEEK[HEADER.FIELDS.NOT (From)]", b"Subject: n\x80l\r\n"),
        ("BODY.PEEK[HEADER.FIELDS (Subject)]<9.2>", b"<9> {2}\r\nn\x80"),
        ("BODY.PEEK[1]", b"{22}\r\nSubject: in\x80ner\r\n\r\na\x80b"),
        ("BODY.PEEK[1.MIME]", b"X-In: i\x80n\r\n"),
        ("BODY.PEEK[1.HEADER]", b"Subject: in\x80ner\r\n"),
        ("BODY.PEEK[1.HEADER.FIELDS (Subject)]", b"{19}\r\nSubject: in\x80ner\r\n\r\n"),
        ("BODY.PEEK[1.TEXT]", b"{3}\r\na\x80b"),
        ("BODY.PEEK[2]", b"{2}\r\n\x80\x80"),
        ("ENVELOPE", b"{3}\r\nn\x80l"),
        ("BODYSTRUCTURE", b"(\"filename\" \"f\")"),
        ("BODY", b"{6}\r\nin\x80ner"),
    ] {
        let answer = client.say(format!("t FETCH 1 {item}\r\n").as_bytes());
        assert!(holds(&answer, b"t OK"), "{item}");
        assert!(!answer.contains(&0), "{item}: {}", answer.escape_ascii());
        assert!(holds(&answer, part), "{item}: {}", answer.escape_ascii());
    }
    assert_eq!(**memory.octets("INBOX", 1).unwrap(), *MAIL, "the message itself stays as it is");
}

#[test]
fn a_large_message_has_no_nul_at_the_joints_of_its_pieces() {
    let memory = Memory::new();
    let mut mail = b"Subject: x\r\n\r\n".to_vec();
    mail.resize(300_000, b'x');
    for at in [64 * 1024 - 1, 64 * 1024, 128 * 1024, 299_999] {
        mail[at] = 0;
    }
    memory.add("INBOX", &mail, Flags::default());
    let answer = Client::selected(&memory).say(b"t FETCH 1 BODY.PEEK[]\r\n");
    assert!(holds(&answer, b"{300000}\r\n") && !answer.contains(&0));
    assert_eq!(answer.iter().filter(|octet| **octet == 0x80).count(), 4);
}

#[test]
fn a_plain_literal_with_a_nul_is_not_appended_and_a_literal8_is() {
    let memory = Memory::new();
    let mut client = Client::selected(&memory);
    let said = |answer: Vec<u8>| String::from_utf8(answer).unwrap();
    let refused = said(client.say(b"t APPEND INBOX {4+}\r\n\0abc\r\nu NOOP\r\n"));
    assert!(refused.starts_with("t NO [CANNOT] ") && refused.contains("NUL"), "{refused}");
    assert!(refused.ends_with("u OK done\r\n"), "{refused}");
    assert_eq!(said(client.say(b"t APPEND INBOX {6}\r\n")), "+ go ahead\r\n");
    client.say(b"abc");
    assert!(said(client.say(b"de\0\r\n")).starts_with("t NO [CANNOT] "));
    assert!(memory.octets("INBOX", 1).is_none());
    client.say(b"e ENABLE UTF8=ACCEPT\r\n");
    assert!(said(client.say(b"t APPEND INBOX UTF8 ({3+}\r\na\0b)\r\n")).starts_with("t NO [CANNOT] "));
    assert!(said(client.say(b"t APPEND INBOX UTF8 (~{3+}\r\na\0b)\r\n")).contains("t OK [APPENDUID"));
    assert_eq!(**memory.octets("INBOX", 1).unwrap(), *b"a\0b");
    let answer = client.say(b"t FETCH 1 BODY.PEEK[]\r\n");
    assert!(holds(&answer, b"{3}\r\na\x80b"), "{}", answer.escape_ascii());
}
