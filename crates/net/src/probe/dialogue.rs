//! Lines of SMTP said one by one (RFC 5321 section 4.2), for questions that no client that carries mail would ask.

use std::io;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Most octets of one reply, all its lines together.
const REPLY_OCTETS_MAX: usize = 16 * 1024;

/// A reply: its code, and the text of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// The text of each line, controls taken out.
    pub lines: Vec<String>,
}

impl Reply {
    /// Whether it says yes.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.code >= 200 && self.code < 400
    }

    /// Whether a line of it is this keyword of EHLO.
    #[must_use]
    pub fn offers(&self, keyword: &str) -> bool {
        let first = |line: &String| line.split(' ').next().unwrap_or_default().eq_ignore_ascii_case(keyword);
        self.lines.iter().any(first)
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.code, self.lines.first().map_or("", String::as_str))
    }
}

/// A session of questions and replies.
pub struct Dialogue<S> {
    stream: S,
    input: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialogue<S> {
    /// On a stream on which the other side speaks first.
    pub fn new(stream: S) -> Self {
        Self { stream, input: BytesMut::new() }
    }

    /// Reads one reply.
    ///
    /// # Errors
    /// When the stream ends or breaks, or what comes is no reply.
    pub async fn reply(&mut self) -> io::Result<Reply> {
        let (mut lines, mut octets) = (Vec::new(), 0);
        loop {
            let line = self.line().await?;
            octets += line.len() + 2;
            if octets > REPLY_OCTETS_MAX {
                return Err(no_reply("a reply without an end"));
            }
            let digits = line.get(..3).and_then(|digits| digits.parse().ok());
            let code = digits.ok_or_else(|| no_reply("what came is no reply of SMTP"))?;
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply { code, lines });
            }
        }
    }

    /// Says a line and reads the reply.
    ///
    /// # Errors
    /// As [`Dialogue::reply`], and when it can't be written.
    pub async fn say(&mut self, line: &str) -> io::Result<Reply> {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        self.stream.flush().await?;
        self.reply().await
    }

    /// The stream, for TLS. What came after the last reply is dropped (CVE-2011-0411).
    pub fn into_stream(self) -> S {
        self.stream
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = memchr_lf(&self.input) {
                let line = self.input.split_to(end);
                self.input.advance(1);
                let text = String::from_utf8_lossy(&line);
                return Ok(text.chars().filter(|c| !c.is_control()).collect());
            }
            if self.input.len() > REPLY_OCTETS_MAX {
                return Err(no_reply("a line without an end"));
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn memchr_lf(octets: &[u8]) -> Option<usize> {
    octets.iter().position(|octet| *octet == b'\n')
}

fn no_reply(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(octets: &[u8]) -> io::Result<Reply> {
        let (mut theirs, ours) = tokio::io::duplex(64 * 1024);
        theirs.write_all(octets).await?;
        drop(theirs);
        Dialogue::new(ours).reply().await
    }

    #[tokio::test]
    async fn a_reply_of_several_lines_is_read_and_what_is_none_is_told() {
        let reply = read(b"250-mx.example.org\r\n250-STARTTLS\r\n250 SIZE 5\r\n").await.unwrap();
        assert_eq!((reply.code, reply.lines.len(), reply.is_positive()), (250, 3, true));
        assert!(reply.offers("starttls") && reply.offers("SIZE") && !reply.offers("DSN"));
        assert_eq!(read(b"550 5.7.1 no\x1b[2J\r\n").await.unwrap().to_string(), "550 5.7.1 no[2J");
        assert!(read(b"SSH-2.0-x\r\n").await.is_err());
        assert!(read(b"220").await.is_err());
    }

    #[tokio::test]
    async fn a_reply_is_read_up_to_its_bound_and_no_further() {
        let line = b"250-x\r\n";
        let many = REPLY_OCTETS_MAX / line.len();
        let mut fits = line.repeat(many - 1);
        fits.extend_from_slice(b"250 x\r\n");
        assert_eq!(read(&fits).await.unwrap().lines.len(), many);
        let mut over = line.repeat(many + 1);
        over.extend_from_slice(b"250 x\r\n");
        assert!(read(&over).await.is_err());
        assert!(read(&[b'2'; 20_000]).await.is_err());
    }
}
