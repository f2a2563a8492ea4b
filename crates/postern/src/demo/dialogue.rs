//! Clients for the demo, as a person would type them: SMTP, submission, IMAP.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use daemon::problem::Problem;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A conversation in lines with a server.
pub(super) struct Dialogue {
    stream: Box<dyn Duplex>,
    heard: Vec<u8>,
}

fn broke(error: &dyn std::fmt::Display) -> Problem {
    Problem::failed(format!("a conversation of the demo broke off: {error}"), "")
}

impl Dialogue {
    /// Connects without TLS.
    pub(super) async fn plain(address: SocketAddr) -> Result<Self, Problem> {
        let stream = TcpStream::connect(address).await.map_err(|error| broke(&error))?;
        Ok(Self { stream: Box::new(stream), heard: Vec::new() })
    }

    /// TLS first. The demo's certificate is self-made, so any is taken.
    pub(super) async fn tls(address: SocketAddr) -> Result<Self, Problem> {
        let connector = net::tls::opportunistic_connector().map_err(|error| broke(&error))?;
        let stream = TcpStream::connect(address).await.map_err(|error| broke(&error))?;
        let stream = net::tls::connect(&connector, address, stream).await.map_err(|error| broke(&error))?;
        Ok(Self { stream: Box::new(stream), heard: Vec::new() })
    }

    async fn line(&mut self) -> Result<String, Problem> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.heard) {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Problem> {
        match self.stream.read_buf(&mut self.heard).await {
            Ok(0) => Err(broke(&"the other side closed it")),
            Ok(_) => Ok(()),
            Err(error) => Err(broke(&error)),
        }
    }

    async fn say(&mut self, text: &[u8]) -> Result<(), Problem> {
        self.stream.write_all(text).await.map_err(|error| broke(&error))?;
        self.stream.flush().await.map_err(|error| broke(&error))
    }

    /// Reads one SMTP reply; anything but 2xx and 3xx is a problem.
    async fn reply(&mut self) -> Result<String, Problem> {
        loop {
            let line = self.line().await?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return if line.starts_with(['2', '3']) { Ok(line) } else { Err(broke(&line)) };
            }
        }
    }

    async fn command(&mut self, command: &str) -> Result<String, Problem> {
        self.say(format!("{command}\r\n").as_bytes()).await?;
        self.reply().await
    }

    /// Sends one message; `login` is a name and a password. Gives the last reply.
    pub(super) async fn send(
        &mut self,
        login: Option<(&str, &str)>,
        from: &str,
        to: &str,
        message: &str,
    ) -> Result<String, Problem> {
        self.reply().await?;
        self.command("EHLO mua.lan").await?;
        if let Some((name, password)) = login {
            let token = BASE64.encode(format!("\0{name}\0{password}"));
            self.command(&format!("AUTH PLAIN {token}")).await?;
        }
        self.command(&format!("MAIL FROM:<{from}>")).await?;
        self.command(&format!("RCPT TO:<{to}>")).await?;
        self.command("DATA").await?;
        self.say(message.as_bytes()).await?;
        let reply = self.command(".").await?;
        self.command("QUIT").await?;
        Ok(reply)
    }

    /// Reads the newest message of INBOX whose subject has `word`, as IMAP gives it; `None` when there is none.
    pub(super) async fn newest(
        &mut self,
        login: (&str, &str),
        word: &str,
    ) -> Result<Option<Vec<u8>>, Problem> {
        self.line().await?;
        self.imap(&format!("LOGIN {} {}", login.0, login.1)).await?;
        self.imap("SELECT INBOX").await?;
        let found = self.imap(&format!("SEARCH SUBJECT {word}")).await?;
        let numbers = found.iter().find_map(|line| line.strip_prefix("* SEARCH"));
        let Some(number) = numbers.and_then(|numbers| numbers.split_whitespace().last()) else {
            return Ok(None);
        };
        self.say(format!("a FETCH {number} BODY[]\r\n").as_bytes()).await?;
        let first = self.line().await?;
        let octets = first.rsplit_once('{').and_then(|(_, rest)| rest.trim_end_matches('}').parse().ok());
        let octets: usize = octets.ok_or_else(|| broke(&first))?;
        while self.heard.len() < octets {
            self.more().await?;
        }
        Ok(Some(self.heard.drain(..octets).collect()))
    }

    async fn imap(&mut self, command: &str) -> Result<Vec<String>, Problem> {
        self.say(format!("a {command}\r\n").as_bytes()).await?;
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            match line.strip_prefix("a ") {
                Some(result) if result.starts_with("OK") => return Ok(lines),
                Some(result) => return Err(broke(&result)),
                None => lines.push(line),
            }
        }
    }
}
