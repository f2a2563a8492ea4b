//! A client of an IMAP session whose mailboxes are in memory: it drives the session as the program does, and holds what is said
//! against the grammar, response by response.

use bytes::BytesMut;
use imap::{OUTPUT_FULL, Options, Session, Step};
use mailbox::{AccountError, Flags};

use crate::memory::Memory;

/// Octets that one step may put out beyond what makes the driver send: a response about one message, and a piece of it.
const BEYOND_FULL: usize = 512 * 1024;

pub(crate) struct Client {
    pub(crate) session: Session<Memory>,
    pub(crate) input: BytesMut,
    pub(crate) is_let_in: bool,
    pub(crate) is_closed: bool,
    pub(crate) is_idle: bool,
}

impl Client {
    pub(crate) fn new(memory: &Memory) -> Self {
        let mut session =
            Session::new(memory.clone(), Options { append_octets_max: 4096, ..Options::default() });
        assert!(session.output().starts_with(b"* OK ") && session.output().ends_with(b"\r\n"));
        session.output().clear();
        Self { session, input: BytesMut::new(), is_let_in: true, is_closed: false, is_idle: false }
    }

    /// In INBOX.
    pub(crate) fn selected(memory: &Memory) -> Self {
        let mut client = Self::new(memory);
        let said = client.send(b"a LOGIN bob secret\r\nb SELECT INBOX\r\n");
        assert!(responses(&said).last().is_some_and(|last| last.starts_with(b"b OK")));
        client
    }

    /// Sends octets and gives all that is answered.
    pub(crate) fn send(&mut self, octets: &[u8]) -> Vec<u8> {
        self.input.extend_from_slice(octets);
        let mut answer = Vec::new();
        loop {
            let step = self.session.advance(&mut self.input);
            let output = self.session.output();
            assert!(output.len() <= OUTPUT_FULL + BEYOND_FULL, "{} octets wait to be sent", output.len());
            answer.append(output);
            match step {
                Step::Flush => {}
                Step::Login => {
                    let given = self.session.credentials().expect("a login that is to be checked");
                    let who =
                        if self.is_let_in { Ok(given.user.as_str()) } else { Err(AccountError::Denied) };
                    self.session.answer_login(who);
                }
                Step::Read | Step::Idle | Step::Close => {
                    self.is_closed = step == Step::Close;
                    self.is_idle = step == Step::Idle;
                    return answer;
                }
            }
        }
    }
}

/// What was said, response by response, each with its literals and without its line end.
pub(crate) fn responses(mut said: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !said.is_empty() {
        let mut end = 0;
        loop {
            let line = line(&said[end..]);
            end += line.len();
            let Some(octets) = announced(line) else { break };
            end += 2 + octets;
            assert!(end <= said.len(), "a literal is shorter than it says");
        }
        let (response, rest) = said.split_at(end);
        assert!(is_begun_well(response), "{}", String::from_utf8_lossy(response));
        found.push(response);
        said = &rest[2..];
    }
    found
}

/// Up to the line end, which there is.
fn line(text: &[u8]) -> &[u8] {
    let end = text.windows(2).position(|two| two == b"\r\n").expect("what is said ends with its line");
    let line = &text[..end];
    assert!(!line.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n')), "a bare control in a line");
    line
}

/// The octets of a literal that follows.
fn announced(line: &[u8]) -> Option<usize> {
    let inside = line.strip_suffix(b"}")?;
    let start = inside.iter().rposition(|octet| *octet == b'{')?;
    std::str::from_utf8(&inside[start + 1..]).ok()?.parse().ok()
}

/// `* `, `+ `, or a tag.
fn is_begun_well(response: &[u8]) -> bool {
    let first = response.split(|octet| *octet == b' ').next().unwrap_or_default();
    let is_of_a_tag = |octet: &u8| octet.is_ascii_graphic() && !b"(){%*\"\\+".contains(octet);
    matches!(first, b"*" | b"+") || !first.is_empty() && first.len() <= 64 && first.iter().all(is_of_a_tag)
}

/// A value in the parentheses of a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value {
    List(Vec<Value>),
    Text(Vec<u8>),
    /// NIL, a number, a flag, the name of an item.
    Word(Vec<u8>),
}

/// Reads a value off the text. A list may be as deep as `depth`.
pub(crate) fn value(text: &mut &[u8], depth: usize) -> Value {
    match text.first().expect("a value") {
        b'(' => {
            let depth = depth.checked_sub(1).expect("a list that is not too deep");
            *text = &text[1..];
            let mut list = Vec::new();
            while text.first() != Some(&b')') {
                if text.first() == Some(&b' ') {
                    *text = &text[1..];
                }
                list.push(value(text, depth));
            }
            *text = &text[1..];
            Value::List(list)
        }
        b'"' => quoted(text),
        b'{' => {
            let end = text.windows(2).position(|two| two == b"\r\n").expect("a literal's line");
            let octets = announced(&text[..end]).expect("a literal's length");
            let literal = text[end + 2..end + 2 + octets].to_vec();
            *text = &text[end + 2 + octets..];
            assert!(!literal.contains(&0), "a NUL in a literal");
            Value::Text(literal)
        }
        _ => word(text),
    }
}

fn quoted(text: &mut &[u8]) -> Value {
    let (mut content, mut rest) = (Vec::new(), text[1..].iter());
    loop {
        match rest.next().expect("the end of a quoted string") {
            b'"' => break,
            b'\\' => content.push(*rest.next().expect("what is quoted")),
            octet => content.push(*octet),
        }
    }
    *text = rest.as_slice();
    Value::Text(content)
}

/// `BODY[HEADER.FIELDS (DATE)]<0>` is one word.
fn word(text: &mut &[u8]) -> Value {
    let mut brackets = 0_usize;
    let end = text.iter().position(|octet| {
        match octet {
            b'[' => brackets += 1,
            b']' => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        brackets == 0 && b" ()\"{".contains(octet)
    });
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    assert!(!word.is_empty(), "an empty word");
    *text = rest;
    Value::Word(word.to_vec())
}

/// A mailbox with a few messages.
pub(crate) fn filled() -> Memory {
    let memory = Memory::new();
    memory.add("INBOX", b"From: a@b.example\r\nSubject: one\r\n\r\nHello\r\n", Flags::default());
    let parts =
        b"Subject: two\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nfirst\r\n--b\r\n\
        Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nside\r\n--b--\r\n";
    memory.add("INBOX", parts, Flags::SEEN);
    memory.add("INBOX", b"Subject: three\r\n\r\nx\r\n", Flags::DELETED);
    memory
}
