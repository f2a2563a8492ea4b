//! A caller that pumps a client session and writes down what happens.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;
use mail::{Address, BodyType, Envelope, Notify, Orcpt, Outcome, Recipient, Ret, ReversePath};
use smtp::Secret;
use smtp::client::{
    Chunking, Login, Protocol, Quorum, Session, Settings, Step, TlsUse, Transaction, TransactionResult,
};

pub(crate) fn envelope(from: &str, to: &[&str]) -> Envelope {
    let reverse_path =
        if from.is_empty() { ReversePath::Null } else { ReversePath::Address(Address::parse(from).unwrap()) };
    Envelope {
        reverse_path,
        recipients: to.iter().map(|to| Address::parse(to).unwrap().into()).collect(),
        body: BodyType::SevenBit,
        smtputf8: false,
        require_tls: false,
        ret: None,
        envid: None,
        client: None,
    }
}

pub(crate) fn transaction(envelope: Envelope, message: &[u8]) -> Transaction {
    let recipients = envelope.recipients.clone();
    Transaction {
        envelope: Arc::new(envelope),
        recipients,
        octets: message.len() as u64,
        has_8bit: !message.is_ascii(),
        needs_smtputf8: false,
        quorum: Quorum::One,
    }
}

/// Its log has a line `C: …` per line sent and `R: …` per thing the caller learnt.
pub(crate) struct Hop {
    pub(crate) session: Session,
    pub(crate) log: Vec<String>,
    transaction: Transaction,
    message: Vec<u8>,
    /// Transactions still to be started.
    left: usize,
    /// Whether the body is given when the session asks for it.
    gives_body: bool,
    closed: bool,
    input: BytesMut,
}

impl Hop {
    pub(crate) fn new(keys: &HashMap<String, String>) -> Self {
        let key = |key: &str| keys.get(key).map(String::as_str);
        let mut settings = Settings::new("edge.example.com");
        settings.tls = match key("tls") {
            Some("required") => TlsUse::Required,
            Some("established") => TlsUse::Established,
            Some("never") => TlsUse::Never,
            _ => TlsUse::Opportunistic,
        };
        settings.login = key("login").map(|login| {
            let (user, password) = login.split_once(' ').unwrap();
            // What would be too much for a line of the dialogue is written as `x*400`.
            let password = match password.split_once('*') {
                Some((one, times)) => one.repeat(times.parse().unwrap()),
                None => password.to_owned(),
            };
            Login { user: user.to_owned(), password: Secret::new(password) }
        });
        if key("protocol") == Some("lmtp") {
            settings.protocol = Protocol::Lmtp;
        }
        if key("chunking") == Some("no") {
            settings.chunking = Chunking::Never;
        }
        let to: Vec<&str> = key("to").unwrap_or("a@example.org").split(' ').collect();
        let mut envelope = envelope(key("from").unwrap_or("me@example.com"), &to);
        envelope.require_tls = key("requiretls") == Some("yes");
        if key("dsn") == Some("yes") {
            envelope.ret = Some(Ret::Hdrs);
            envelope.envid = Some("QQ+2B1".to_owned());
            for recipient in &mut envelope.recipients {
                recipient.notify = Some(Notify::NEVER);
                recipient.orcpt =
                    Some(Orcpt { kind: "rfc822".to_owned(), address: recipient.address.to_string() });
            }
        }
        if key("dsn") == Some("hostile") {
            envelope.envid = Some("x\r\nRCPT TO:<eve@example.org>".to_owned());
            let orcpt = Orcpt { kind: "rfc822".to_owned(), address: "a\r\nQUIT".to_owned() };
            envelope.recipients.iter_mut().for_each(|to: &mut Recipient| to.orcpt = Some(orcpt.clone()));
        }
        let message = key("message").unwrap_or("Subject: hi|.dot|").replace('|', "\r\n").into_bytes();
        let mut transaction = transaction(envelope, &message);
        transaction.quorum = match key("quorum") {
            Some("all") => Quorum::All,
            Some("never") => Quorum::Never,
            _ => Quorum::One,
        };
        if let Some(octets) = key("octets") {
            transaction.octets = octets.parse().unwrap();
        }
        Self {
            session: Session::new(Arc::new(settings)).with_mta("mx.example.org"),
            log: Vec::new(),
            transaction,
            message,
            left: key("times").map_or(1, |times| times.parse().unwrap()),
            gives_body: key("body") != Some("wait"),
            closed: false,
            input: BytesMut::new(),
        }
    }

    pub(crate) fn event(&mut self, event: &str) {
        match event {
            "dropped" => self.session.closed_by_peer(),
            "timeout" => self.session.timed_out(),
            "tls started" => self.session.tls_started(),
            "tls failed" => self.session.tls_failed(),
            "body" => self.give_body(),
            "bad body" => self.session.body(b"a\nb"),
            "half a body" => {
                self.session.body(b"Sub");
                self.session.body_end();
            }
            "start" => self.session.start(self.transaction.clone()),
            other => panic!("unknown event {other}"),
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while !self.closed {
            match self.session.advance(&mut self.input) {
                Step::NeedInput => break,
                Step::Flush => self.drain(),
                Step::StartTls => {
                    self.drain();
                    self.log.push("R: start TLS".to_owned());
                    break;
                }
                Step::Ready => self.next(),
                Step::SendBody if self.gives_body => self.give_body(),
                Step::SendBody => {
                    self.drain();
                    self.log.push("R: body".to_owned());
                }
                Step::Finished(result) => {
                    self.drain();
                    self.report(&result);
                    if result.reusable {
                        self.next();
                    }
                }
                Step::Closed(reason) => {
                    self.drain();
                    self.log.push(format!("R: closed: {reason}"));
                    self.closed = true;
                }
            }
        }
        self.drain();
    }

    fn next(&mut self) {
        if self.left > 0 {
            self.left -= 1;
            self.session.start(self.transaction.clone());
        } else {
            self.session.quit();
        }
    }

    fn give_body(&mut self) {
        for piece in self.message.chunks(3) {
            self.session.body(piece);
        }
        self.session.body_end();
    }

    fn drain(&mut self) {
        let output = self.session.output().split();
        for line in String::from_utf8(output.to_vec()).unwrap().split_inclusive("\r\n") {
            let whole = line.strip_suffix("\r\n").map(str::to_owned);
            let line = whole.unwrap_or_else(|| format!("{}…", line.escape_debug()));
            self.log.push(format!("C: {line}"));
        }
    }

    fn report(&mut self, result: &TransactionResult) {
        for outcome in &result.outcomes {
            let word = match outcome {
                Outcome::Delivered(_) => "delivered",
                Outcome::Deferred(_) => "deferred",
                Outcome::Failed(_) => "failed",
            };
            self.log.push(format!("R: {word} {}", outcome.why()));
        }
        if result.in_doubt {
            self.log.push("R: in doubt".to_owned());
        }
    }
}
