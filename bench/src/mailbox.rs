//! How many messages can be read in a mailbox: IMAP over TLS on one connection, so that asking costs little.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use net::tls;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

/// A logged-in IMAP connection.
pub(crate) struct Mailbox {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Mailbox {
    pub(crate) fn open(server: SocketAddr, user: &str, password: &str) -> Self {
        let tcp = TcpStream::connect(server).expect("the IMAP server");
        tcp.set_nodelay(true).expect("no delay");
        tcp.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        let connector = tls::opportunistic_connector().expect("a TLS client");
        let name = ServerName::IpAddress(server.ip().into());
        let connection = ClientConnection::new(Arc::clone(connector.config()), name).expect("a TLS client");
        let mut mailbox = Self { stream: BufReader::new(StreamOwned::new(connection, tcp)) };
        mailbox.line();
        mailbox.ask(&format!("LOGIN {user} \"{password}\""));
        mailbox
    }

    /// Messages in the INBOX.
    pub(crate) fn count(&mut self) -> usize {
        let reply = self.ask("STATUS INBOX (MESSAGES)");
        let number = reply.split_once("(MESSAGES ").and_then(|(_, rest)| rest.split(')').next());
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no count in {reply}"))
    }

    /// Sends a command; all lines of its answer.
    fn ask(&mut self, command: &str) -> String {
        self.stream.get_mut().write_all(format!("t {command}\r\n").as_bytes()).expect("a connection");
        let mut answer = String::new();
        loop {
            let line = self.line();
            answer.push_str(&line);
            if line.starts_with("t ") {
                assert!(line.starts_with("t OK"), "{command}: {answer}");
                return answer;
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let octets = self.stream.read_line(&mut line).expect("a line from the IMAP server");
        assert!(octets > 0, "the IMAP server closed the connection");
        line
    }
}
