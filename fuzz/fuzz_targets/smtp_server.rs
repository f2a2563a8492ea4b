//! Whatever a client sends, in whatever pieces, and whatever the role and the clock do meanwhile: the session
//! never panics, holds back and puts out no more than its limits allow, and each body that was accepted ends
//! once and has whole line ends only.
//!
//! The input is a script. Its first octet is the port; the rest is what the client sends, but for 0xFF, which
//! no command and no UTF-8 has: the octet behind it is an operation of [`Run::operate`]. So a seed is readable.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use mail::Reply;
use smtp::OUTPUT_OCTETS;
use smtp::body::PIECE_OCTETS;
use smtp::server::{Limits, Mode, Question, Session, Settings, Step};

/// Before an octet that is an operation.
const OPERATION: u8 = 0xff;
/// The longest line that a session waits for: that of a login.
const LOGIN_OCTETS: usize = 12_288;
/// Octets that one reply takes at most: that to EHLO, all lines.
const REPLY_OCTETS: usize = 4096;
/// Small, so that a short input reaches them.
const LIMITS: Limits = Limits {
    command_octets: 512,
    message_octets: 600,
    recipients: 3,
    errors: 4,
    text_line_octets: 100,
    swallow_octets: 1000,
};

fuzz_target!(|script: &[u8]| {
    let Some((port, script)) = script.split_first() else { return };
    let mut run = Run::new(*port);
    let mut rest = script.iter();
    while let Some(octet) = rest.next() {
        match octet {
            &OPERATION => run.operate(rest.next().copied().unwrap_or_default()),
            octet => run.unsent.push(*octet),
        }
    }
    run.send();
    run.session.shut_down();
    run.answer();
    run.send();
    assert!(run.closed, "a session that is told to end does not");
});

/// What the role says to the next questions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    /// Nothing yet: [`Run::answer`] does.
    Later,
}

/// A question that waits.
#[derive(Clone, Copy)]
enum Open {
    Reply,
    Login,
    /// Whether a body is to come.
    Body,
}

struct Run {
    session: Session,
    /// What the client has written and not sent.
    unsent: Vec<u8>,
    input: BytesMut,
    answer: Answer,
    open: Option<Open>,
    body: Option<Body>,
    /// Errors that the role has found.
    counted: u32,
    closed: bool,
}

/// A body that was accepted.
#[derive(Default)]
struct Body {
    octets: u64,
    after_cr: bool,
}

impl Body {
    fn take(&mut self, piece: &Bytes) {
        assert!(!piece.is_empty() && piece.len() <= PIECE_OCTETS);
        for octet in piece {
            assert_eq!(self.after_cr, *octet == b'\n', "a bare line end in a body");
            self.after_cr = *octet == b'\r';
        }
        self.octets += piece.len() as u64;
        assert!(self.octets <= LIMITS.message_octets);
    }
}

impl Run {
    fn new(port: u8) -> Self {
        let mode = if port & 1 == 0 { Mode::Mx } else { Mode::Submission };
        let tls = (port & 2 != 0).then(|| "TLS1.3".to_owned());
        let settings =
            Settings { hostname: "mx.example.org".into(), mode, starttls: port & 4 == 0, limits: LIMITS };
        let mut session = Session::new(Arc::new(settings), IpAddr::V4(Ipv4Addr::LOCALHOST), tls);
        session.greet();
        let (unsent, input) = (Vec::new(), BytesMut::new());
        Self {
            session,
            unsent,
            input,
            answer: Answer::Yes,
            open: None,
            body: None,
            counted: 0,
            closed: false,
        }
    }

    fn operate(&mut self, operation: u8) {
        match operation {
            // The client sends what it has written; the role takes, refuses or waits from now on.
            b'y' => self.send_then(Answer::Yes),
            b'n' => self.send_then(Answer::No),
            b'w' => self.send_then(Answer::Later),
            // What waits is answered.
            b'a' => self.answer(),
            b't' => self.interrupt(Session::timed_out),
            b's' => self.interrupt(Session::shut_down),
            b'e' => {
                self.counted += 1;
                self.interrupt(Session::count_error);
            }
            // Every octet comes alone.
            b'1' => {
                for octet in std::mem::take(&mut self.unsent) {
                    self.unsent.push(octet);
                    self.send();
                }
            }
            // Much of one line or of one body.
            b'x' => self.unsent.extend_from_slice(&[b'x'; 90]),
            _ => self.send(),
        }
    }

    fn send_then(&mut self, answer: Answer) {
        self.send();
        self.answer = answer;
    }

    fn interrupt(&mut self, event: fn(&mut Session)) {
        self.send();
        event(&mut self.session);
        self.pump();
    }

    /// Answers the question that waits, if one does.
    fn answer(&mut self) {
        if self.answer == Answer::Later {
            self.answer = Answer::Yes;
        }
        if let Some(open) = self.open.take() {
            self.reply(open);
        }
        self.pump();
    }

    fn send(&mut self) {
        self.input.extend_from_slice(&std::mem::take(&mut self.unsent));
        self.pump();
    }

    /// Drives the session until it wants more input, an answer, or to close.
    fn pump(&mut self) {
        // Each step takes input, asks what a line or a body gave rise to, or makes room; none comes for nothing.
        let mut steps = 4 * self.input.len() + 16;
        loop {
            steps = steps.checked_sub(1).expect("steps without end");
            let step = self.session.advance(&mut self.input);
            assert!(self.session.output().len() <= OUTPUT_OCTETS + REPLY_OCTETS);
            match step {
                Step::NeedInput => return self.rest(),
                Step::Flush => self.session.output().clear(),
                Step::Body(piece) => self.body.as_mut().expect("a body that was not accepted").take(&piece),
                Step::StartTls => self.start_tls(),
                Step::Close => return self.close(),
                Step::Ask(question) => self.ask(question),
            }
            assert_eq!(self.session.is_body_open(), self.body.is_some());
        }
    }

    fn rest(&mut self) {
        self.session.output().clear();
        // While a question waits, nobody reads: what is there is the driver's, and its read is bounded.
        if self.open.is_none() {
            assert!(self.input.len() <= LOGIN_OCTETS, "{} octets are held back", self.input.len());
        }
    }

    fn start_tls(&mut self) {
        assert!(self.input.is_empty(), "plain text is kept for TLS");
        assert!(self.body.is_none());
        self.session.tls_started("TLS1.3".into());
        let client = self.session.client();
        assert!(client.helo.is_empty() && client.login.is_none() && client.tls.is_some());
        assert!(!self.session.in_transaction());
    }

    fn close(&mut self) {
        assert!(self.input.is_empty() && self.body.is_none(), "a body is left open");
        assert!(self.session.errors() <= LIMITS.errors + 1 + self.counted, "errors past the last one");
        self.session.output().clear();
        self.closed = true;
    }

    fn ask(&mut self, question: Question) {
        let open = match question {
            Question::Aborted(_) => {
                self.body.take().expect("the end of a body that was not accepted");
                return;
            }
            Question::Data(envelope) => {
                assert!((1..=LIMITS.recipients).contains(&envelope.recipients.len()));
                Open::Body
            }
            Question::End { octets } => {
                let body = self.body.take().expect("the end of a body that was not accepted");
                assert!(body.octets == octets && !body.after_cr);
                Open::Reply
            }
            Question::Login { .. } => Open::Login,
            Question::Mail(_) | Question::Recipient(_) => Open::Reply,
        };
        match self.answer {
            Answer::Later => self.open = Some(open),
            Answer::Yes | Answer::No => self.reply(open),
        }
    }

    fn reply(&mut self, open: Open) {
        let yes = self.answer != Answer::No;
        let reply =
            if yes { Reply::new(250, (2, 0, 0), "ok") } else { Reply::new(450, (4, 0, 0), "not now") };
        match open {
            Open::Reply => self.session.answer(reply),
            Open::Login => self.session.answer_login(yes.then(|| "bob".to_owned()), &reply),
            Open::Body if yes => {
                self.body = Some(Body::default());
                self.session.accept_body();
            }
            Open::Body => self.session.answer(reply),
        }
    }
}
