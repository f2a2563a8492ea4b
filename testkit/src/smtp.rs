//! A small SMTP client that says exactly what it is told to, and remembers what it was answered.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

/// One connection, without TLS.
#[derive(Debug)]
pub struct SmtpClient {
    reader: BufReader<TcpStream>,
    stream: TcpStream,
}

impl SmtpClient {
    /// Connects and takes the greeting.
    ///
    /// # Errors
    /// When nobody answers, or not with 220.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let mut client = Self::over(TcpStream::connect_timeout(&address, Duration::from_secs(10))?)?;
        let greeting = client.reply()?;
        if greeting.starts_with("220") { Ok(client) } else { Err(io::Error::other(greeting)) }
    }

    /// Over a connection that was opened, and on which nothing was read.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { reader: BufReader::new(stream.try_clone()?), stream })
    }

    /// Connects and says EHLO.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn ready(address: SocketAddr) -> io::Result<Self> {
        Self::ready_as(address, "sender.test")
    }

    /// As [`Self::ready`], by this name.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn ready_as(address: SocketAddr, name: &str) -> io::Result<Self> {
        let mut client = Self::connect(address)?;
        let reply = client.command(&format!("EHLO {name}"))?;
        if reply.starts_with("250") { Ok(client) } else { Err(io::Error::other(reply)) }
    }

    /// Sends octets as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets)
    }

    /// Sends a line and takes the reply.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn command(&mut self, line: &str) -> io::Result<String> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// A whole reply, its lines joined by `\n`.
    ///
    /// # Errors
    /// When the connection ends before it is whole.
    pub fn reply(&mut self) -> io::Result<String> {
        let mut reply = String::new();
        loop {
            let mut line = Vec::new();
            if self.reader.read_until(b'\n', &mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            reply.push_str(line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(reply);
            }
            reply.push('\n');
        }
    }

    /// Sends a message to the recipients and gives the last reply: of the first command that was refused, or
    /// of the body.
    ///
    /// # Errors
    /// When the connection is gone; whether the message was taken is not known then.
    pub fn message(&mut self, from: &str, to: &[&str], message: &[u8]) -> io::Result<String> {
        let mut lines = vec![format!("MAIL FROM:<{from}>")];
        lines.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
        lines.push("DATA".to_owned());
        for line in lines {
            let reply = self.command(&line)?;
            if !reply.starts_with(['2', '3']) {
                self.command("RSET")?;
                return Ok(reply);
            }
        }
        let mut octets = with_dots(message);
        octets.extend_from_slice(b".\r\n");
        self.send(&octets)?;
        self.reply()
    }

    /// The octets that come until the other side closes.
    ///
    /// # Errors
    /// When it does not close in time.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut octets = Vec::new();
        io::Read::read_to_end(&mut self.reader, &mut octets)?;
        Ok(octets)
    }
}

/// The message with a dot before each line that begins with one.
fn with_dots(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 16);
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out
}
