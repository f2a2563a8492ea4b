//! A role with fixed answers that pumps a server session and writes down what happens.

use std::sync::Arc;

use bytes::BytesMut;
use mail::{BodyType, Envelope, Reply};
use smtp::server::{Limits, Mode, Question, Session, Settings, Step};

pub(crate) fn settings(mode: Mode) -> Settings {
    Settings { hostname: "mx.example.org".to_owned(), mode, starttls: true, limits: Limits::default() }
}

/// Its log has a line `S: …` per reply line and `R: …` per thing the role saw.
pub(crate) struct Role {
    pub(crate) session: Session,
    pub(crate) log: Vec<String>,
    /// Messages that came to their end.
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) closed: bool,
    input: BytesMut,
    body: Vec<u8>,
    /// The local parts of the envelope: they say how the message is answered.
    locals: Vec<String>,
}

impl Role {
    pub(crate) fn new(settings: Settings, tls: Option<&str>) -> Self {
        let session = Session::new(Arc::new(settings), [192, 0, 2, 1].into(), tls.map(str::to_owned));
        Self {
            session,
            log: Vec::new(),
            messages: Vec::new(),
            closed: false,
            input: BytesMut::new(),
            body: Vec::new(),
            locals: Vec::new(),
        }
    }

    /// A session in which EHLO and, for submission, a login are done; their log is thrown away.
    pub(crate) fn ready(settings: Settings) -> Self {
        let submission = settings.mode == Mode::Submission;
        let mut role = Self::new(settings, submission.then_some("TLSv1.3"));
        role.feed(b"EHLO client.example.net\r\n");
        if submission {
            role.feed(b"AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n");
        }
        role.log.clear();
        role
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while !self.closed {
            match self.session.advance(&mut self.input) {
                Step::NeedInput => break,
                Step::Flush => self.drain(),
                Step::Ask(question) => self.decide(question),
                Step::Body(piece) => {
                    assert!(piece.len() <= 64 * 1024);
                    self.body.extend_from_slice(&piece);
                }
                Step::StartTls => {
                    self.drain();
                    self.note("start TLS");
                    assert!(self.input.is_empty());
                    self.session.tls_started("TLSv1.3".to_owned());
                }
                Step::Close => {
                    self.drain();
                    self.note("close");
                    self.closed = true;
                }
            }
        }
        self.drain();
    }

    /// Octets that the session has not taken.
    pub(crate) fn held_back(&self) -> usize {
        self.input.len()
    }

    /// The replies' lines only.
    pub(crate) fn replies(&self) -> Vec<&str> {
        self.log.iter().filter_map(|line| line.strip_prefix("S: ")).collect()
    }

    /// The lines of the log that tell what the role saw.
    pub(crate) fn events(&self) -> Vec<&str> {
        self.log.iter().filter_map(|line| line.strip_prefix("R: ")).collect()
    }

    fn note(&mut self, event: impl std::fmt::Display) {
        self.log.push(format!("R: {event}"));
    }

    fn drain(&mut self) {
        let output = self.session.output().split();
        let text = std::str::from_utf8(&output).unwrap();
        for line in text.split_terminator("\r\n") {
            assert!(!line.contains(['\r', '\n']) && line.len() <= 510);
            self.log.push(format!("S: {line}"));
        }
    }

    /// `full` has no room, `strict` refuses the content, `short` makes the role forget a reply and `one`
    /// give one for all; the others get the message.
    fn conclude(&mut self) {
        let mut each: Vec<Reply> = self
            .locals
            .iter()
            .map(|local| match local.as_str() {
                "full" => Reply::new(452, (4, 2, 2), "No room"),
                "strict" => Reply::new(550, (5, 7, 1), "Not this"),
                _ => Reply::new(250, (2, 0, 0), "Queued"),
            })
            .collect();
        let all = each.iter().find(|reply| reply.is_positive()).or(each.first()).cloned();
        let all = all.unwrap_or_else(|| Reply::new(250, (2, 0, 0), "Queued"));
        if self.locals.iter().any(|local| local == "short") {
            each.pop();
        }
        if self.locals.iter().any(|local| local == "one") {
            self.session.answer(all);
        } else {
            self.session.answer_each(&each, &all);
        }
    }

    fn decide(&mut self, question: Question) {
        match question {
            Question::Login { user, password } => {
                self.note(format_args!("login {user}"));
                let good = password.expose() == "secret";
                self.session.answer(if good {
                    Reply::new(235, (2, 7, 0), "Welcome")
                } else {
                    Reply::new(535, (5, 7, 8), "No")
                });
            }
            Question::Mail(from) => {
                let path = from.reverse_path.to_string();
                self.session.answer(match path.split('@').next() {
                    Some("denied") => Reply::new(550, (5, 7, 1), "Denied"),
                    Some("tiresome") => Reply::new(421, (4, 7, 0), "Enough"),
                    _ => Reply::new(250, (2, 1, 0), "Sender OK"),
                });
            }
            Question::Recipient(recipient) => self.session.answer(match recipient.address.local() {
                "nobody" => Reply::new(550, (5, 1, 1), "No such user"),
                "later" => Reply::new(451, (4, 2, 0), "Later"),
                _ => Reply::new(250, (2, 1, 5), "Recipient OK"),
            }),
            Question::Data(envelope) => {
                self.note(describe(&envelope));
                self.locals = envelope.recipients.iter().map(|to| to.address.local().to_owned()).collect();
                if envelope.reverse_path.to_string().starts_with("nodata@") {
                    self.session.answer(Reply::new(452, (4, 3, 1), "Full"));
                } else {
                    self.session.accept_body();
                }
            }
            Question::End { octets } => {
                let body = std::mem::take(&mut self.body);
                assert_eq!(octets, body.len() as u64);
                self.note(format_args!("message {}", body.escape_ascii()));
                self.messages.push(body);
                self.conclude();
            }
            Question::Aborted(cause) => {
                self.body.clear();
                self.note(format_args!("aborted {cause:?}"));
            }
        }
    }
}

fn describe(envelope: &Envelope) -> String {
    let mut text = format!("data <{}>", envelope.reverse_path);
    if envelope.body == BodyType::EightBitMime {
        text.push_str(" 8bit");
    }
    if envelope.smtputf8 {
        text.push_str(" utf8");
    }
    if let Some(ret) = envelope.ret {
        text.push_str(&format!(" {ret:?}"));
    }
    if let Some(envid) = &envelope.envid {
        text.push_str(&format!(" {envid}"));
    }
    for recipient in &envelope.recipients {
        text.push_str(&format!(" <{}>", recipient.address));
        if let Some(notify) = recipient.notify {
            text.push_str(&format!(" {}", notify.to_smtp()));
        }
        if let Some(orcpt) = &recipient.orcpt {
            text.push_str(&format!(" {};{}", orcpt.kind, orcpt.address));
        }
    }
    text
}
