//! The pretend internet's mail host: takes every message and shows it to the demo.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use mail::{Client, Envelope, Recipient, Reply};
use net::smtp_server::{Answers, Port, Service};
use smtp::server::{Cause, Limits, MailFrom, Mode, Secret, Settings};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A host named `mx.<domain>`.
pub(super) struct RemoteMta {
    listener: TcpListener,
    port: Port,
    messages: mpsc::Sender<Vec<u8>>,
}

/// Messages that may wait to be looked at; who sends one more waits for its reply.
const MESSAGES_MAX: usize = 16;

impl RemoteMta {
    /// Opens it on a free port. Messages come out of the receiver.
    pub(super) async fn bind(hostname: &str) -> io::Result<(Self, mpsc::Receiver<Vec<u8>>)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let settings = Settings {
            hostname: hostname.to_owned(),
            mode: Mode::Mx,
            starttls: false,
            limits: Limits::default(),
        };
        let port = Port {
            settings: Arc::new(settings),
            tls: None,
            implicit_tls: false,
            stop: CancellationToken::new(),
        };
        let (messages, receiver) = mpsc::channel(MESSAGES_MAX);
        Ok((Self { listener, port, messages }, receiver))
    }

    /// The address that it listens on.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is dropped.
    pub(super) async fn run(self) {
        loop {
            let (stream, peer) = net::listen::accept(&self.listener).await;
            let taking = Taking { message: Vec::new(), messages: self.messages.clone() };
            let port = self.port.clone();
            tokio::spawn(async move { net::smtp_server::serve(stream, peer.ip(), &port, taking).await });
        }
    }
}

struct Taking {
    message: Vec<u8>,
    messages: mpsc::Sender<Vec<u8>>,
}

impl Service for Taking {
    async fn login(&mut self, _user: &str, _password: &Secret) -> (Option<String>, Reply) {
        (None, Reply::new(503, (5, 5, 1), "No logins here"))
    }

    async fn mail(&mut self, _client: &Client, _from: &MailFrom) -> Reply {
        Reply::new(250, (2, 1, 0), "Ok")
    }

    async fn recipient(&mut self, _client: &Client, _recipient: &Recipient) -> Reply {
        Reply::new(250, (2, 1, 5), "Ok")
    }

    async fn data(&mut self, _envelope: Envelope) -> Result<(), Reply> {
        self.message.clear();
        Ok(())
    }

    async fn body(&mut self, piece: Bytes) {
        self.message.extend_from_slice(&piece);
    }

    async fn end(&mut self) -> Answers {
        let _ = self.messages.send(std::mem::take(&mut self.message)).await;
        Reply::new(250, (2, 0, 0), "The rest of the world has it").into()
    }

    async fn aborted(&mut self, _cause: Cause) {
        self.message.clear();
    }
}
