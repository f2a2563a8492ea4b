//! A server session and all of its dialogue but the socket: commands parsed, questions answered, replies
//! written, a message of 4 KiB taken in, reads as large as those of the driver.
//! Unit: messages a second; `new` also pays for the session, `reused` sends on one that is there.

#![allow(clippy::panic, reason = "a dialogue that takes another course is not the one that is measured")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::BytesMut;
use divan::Bencher;
use divan::counter::ItemsCount;
use mail::Reply;
use smtp::server::{Limits, Mode, Question, Session, Settings, Step};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const MESSAGE_OCTETS: usize = 4 * 1024;

fn main() {
    divan::main();
}

/// Connect, one message, QUIT. Each command waits for the reply to the one before.
#[divan::bench]
fn new(bencher: Bencher<'_, '_>) {
    let settings = settings();
    let message = message();
    let mut writes: Vec<&[u8]> = vec![b"EHLO mx.remote.example\r\n", MAIL, RCPT, DATA];
    writes.extend([message.as_slice(), b"QUIT\r\n"]);
    let dialogue = || {
        let mut server = Server::new(&settings);
        writes.iter().for_each(|write| server.read(write));
        server
    };
    let server = dialogue();
    assert_eq!((server.messages, server.octets, server.closed), (1, MESSAGE_OCTETS as u64, true));
    bencher.counter(ItemsCount::new(1_usize)).bench_local(dialogue);
}

/// One message more on a session that is there. Each command waits for the reply to the one before.
#[divan::bench]
fn reused(bencher: Bencher<'_, '_>) {
    let message = message();
    again(bencher, &[MAIL, RCPT, DATA, &message]);
}

/// The same with the commands in one write, as a sender does that knows PIPELINING.
#[divan::bench]
fn reused_pipelined(bencher: Bencher<'_, '_>) {
    let message = message();
    again(bencher, &[&[MAIL, RCPT, DATA].concat(), &message]);
}

/// One transaction with fifty recipients in a session that is reused.
#[divan::bench]
fn reused_50_recipients(bencher: Bencher<'_, '_>) {
    let message = message();
    again(bencher, &[MAIL, &RCPT.repeat(50), DATA, &message]);
}

fn again(bencher: Bencher<'_, '_>, writes: &[&[u8]]) {
    let mut server = Server::new(&settings());
    server.read(b"EHLO mx.remote.example\r\n");
    let mut transaction = || {
        writes.iter().for_each(|write| server.read(write));
        (server.messages, server.octets)
    };
    assert_eq!(transaction(), (1, MESSAGE_OCTETS as u64));
    assert_eq!(transaction(), (2, 2 * MESSAGE_OCTETS as u64));
    bencher.counter(ItemsCount::new(1_usize)).bench_local(transaction);
}

const MAIL: &[u8] =
    b"MAIL FROM:<news-bounces+bob=example.org@lists.remote.example> SIZE=4096 BODY=8BITMIME\r\n";
const RCPT: &[u8] = b"RCPT TO:<bob@example.org>\r\n";
const DATA: &[u8] = b"DATA\r\n";

/// A header, lines of 64 octets, one of them with a dot to be undone, and the end.
fn message() -> Vec<u8> {
    let mut message =
        b"From: alice@remote.example\r\nTo: bob@example.org\r\nSubject: benchmark\r\n\r\n".to_vec();
    message.extend_from_slice(b"..gitignore is a file whose name starts with a dot\r\n");
    let line = b"The quick brown fox jumps over the lazy dog, again and again.\r\n";
    while message.len() + line.len() < MESSAGE_OCTETS {
        message.extend_from_slice(line);
    }
    // The dot that is undone does not count.
    message.resize(MESSAGE_OCTETS + 1 - 2, b'x');
    message.extend_from_slice(b"\r\n.\r\n");
    message
}

fn settings() -> Arc<Settings> {
    let hostname = "mx.example.org".to_owned();
    Arc::new(Settings { hostname, mode: Mode::Mx, starttls: true, limits: Limits::default() })
}

/// The driver and the role: says yes to everything and counts.
struct Server {
    session: Session,
    input: BytesMut,
    messages: u64,
    octets: u64,
    closed: bool,
}

impl Server {
    fn new(settings: &Arc<Settings>) -> Self {
        let mut session = Session::new(Arc::clone(settings), CLIENT, None);
        session.greet();
        Self { session, input: BytesMut::new(), messages: 0, octets: 0, closed: false }
    }

    /// What the client wrote has come in: goes on until more is wanted, and lets go of the replies.
    fn read(&mut self, write: &[u8]) {
        self.input.reserve(4 * 1024);
        self.input.extend_from_slice(write);
        loop {
            match self.session.advance(&mut self.input) {
                Step::NeedInput => break,
                Step::Flush => self.session.output().clear(),
                Step::Body(piece) => self.octets += piece.len() as u64,
                Step::Ask(question) => self.answer(question),
                Step::Close => {
                    self.closed = true;
                    break;
                }
                Step::StartTls => panic!("nobody asked for TLS"),
            }
        }
        self.session.output().clear();
    }

    fn answer(&mut self, question: Question) {
        match question {
            Question::Mail(_) => self.session.answer(Reply::new(250, (2, 1, 0), "OK")),
            Question::Recipient(_) => self.session.answer(Reply::new(250, (2, 1, 5), "OK")),
            Question::Data(_) => self.session.accept_body(),
            Question::End { .. } => {
                self.messages += 1;
                self.session.answer(Reply::new(250, (2, 0, 0), "Kept"));
            }
            other => panic!("{other:?}"),
        }
    }
}
