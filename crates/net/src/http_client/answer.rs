//! Reading an answer: status line, fields, and a body whose end is told in one of three ways. Without I/O.

use std::io;

use bytes::{Buf as _, BytesMut};

/// Octets of status line and fields, and of one line of a chunked body.
pub const HEAD_OCTETS_MAX: usize = 16 * 1024;

/// The reasons why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection came about.
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// The connection broke.
    #[error("the connection broke off: {0}")]
    Broken(io::Error),
    /// The octets that came are no HTTP/1.1 answer.
    #[error("the answer is no HTTP: {0}")]
    Malformed(&'static str),
    /// The answer is longer than so many octets.
    #[error("the answer is longer than {0} octets")]
    TooLong(usize),
    /// The request's body could not be read.
    #[error("the message could not be read")]
    Body,
}

/// An answer of an HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status: 200 and so on.
    pub status: u16,
    /// The media type as it was sent, when it was.
    pub content_type: Option<String>,
    /// The body, decoded from its chunks.
    pub body: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Status,
    Fields,
    /// The body has so many octets more.
    Counted(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailer,
    UntilClosed,
}

/// An answer that is coming in.
#[derive(Debug)]
pub(super) struct Reading {
    state: State,
    status: u16,
    content_type: Option<String>,
    length: Option<usize>,
    chunked: bool,
    /// Octets of status line, fields and chunk lines so far.
    lines: usize,
    body: Vec<u8>,
    body_octets_max: usize,
}

impl Reading {
    pub(super) fn new(body_octets_max: usize) -> Self {
        Self {
            state: State::Status,
            status: 0,
            content_type: None,
            length: None,
            chunked: false,
            lines: 0,
            body: Vec::new(),
            body_octets_max,
        }
    }

    /// Goes on with the input; `closed` when no more will come.
    pub(super) fn advance(
        &mut self,
        input: &mut BytesMut,
        closed: bool,
    ) -> Result<Option<Answer>, HttpError> {
        loop {
            match self.state {
                State::Counted(0) => return Ok(Some(self.answer())),
                State::Counted(left) => match self.take(input, left)? {
                    0 => return Ok(None),
                    taken => self.state = State::Counted(left - taken),
                },
                State::Chunk(0) => self.state = State::ChunkEnd,
                State::Chunk(left) => match self.take(input, left)? {
                    0 => return Ok(None),
                    taken => self.state = State::Chunk(left - taken),
                },
                State::UntilClosed => {
                    self.take(input, usize::MAX)?;
                    return Ok(closed.then(|| self.answer()));
                }
                State::Status | State::Fields | State::ChunkSize | State::ChunkEnd | State::Trailer => {
                    let Some(line) = self.line(input)? else { return Ok(None) };
                    if self.read_line(&line)? {
                        return Ok(Some(self.answer()));
                    }
                }
            }
        }
    }

    fn answer(&mut self) -> Answer {
        let content_type = self.content_type.take();
        Answer { status: self.status, content_type, body: std::mem::take(&mut self.body) }
    }

    /// A whole line, as long as all lines together are within their limit.
    fn line(&mut self, input: &mut BytesMut) -> Result<Option<Vec<u8>>, HttpError> {
        let line = take_line(input);
        let octets = line.as_ref().map_or(input.len(), |line| line.len() + 2);
        if self.lines + octets > HEAD_OCTETS_MAX {
            return Err(HttpError::TooLong(HEAD_OCTETS_MAX));
        }
        if line.is_some() {
            self.lines += octets;
        }
        Ok(line)
    }

    /// Adds up to `most` octets to the body and tells how many.
    fn take(&mut self, input: &mut BytesMut, most: usize) -> Result<usize, HttpError> {
        let piece = input.split_to(input.len().min(most));
        if piece.len() > self.body_octets_max - self.body.len() {
            return Err(HttpError::TooLong(self.body_octets_max));
        }
        self.body.extend_from_slice(&piece);
        Ok(piece.len())
    }

    /// Reads a line; true when it ends the answer.
    fn read_line(&mut self, line: &[u8]) -> Result<bool, HttpError> {
        match self.state {
            State::Status => {
                self.status = status(line).ok_or(HttpError::Malformed("no status line"))?;
                self.state = State::Fields;
            }
            State::Fields if line.is_empty() => self.state = self.after_fields()?,
            State::Fields => self.field(line)?,
            State::ChunkSize => {
                // Each chunk's line has the limit for itself: their number is bounded by the body.
                self.lines = 0;
                let size = chunk_size(line).ok_or(HttpError::Malformed("no chunk size"))?;
                self.state = if size == 0 { State::Trailer } else { State::Chunk(size) };
            }
            State::ChunkEnd if line.is_empty() => self.state = State::ChunkSize,
            State::ChunkEnd => return Err(HttpError::Malformed("a chunk is longer than it says")),
            State::Trailer => return Ok(line.is_empty()),
            State::Counted(_) | State::Chunk(_) | State::UntilClosed => {}
        }
        Ok(false)
    }

    fn field(&mut self, line: &[u8]) -> Result<(), HttpError> {
        let Some(colon) = line.iter().position(|octet| *octet == b':') else {
            return Err(HttpError::Malformed("a field without a colon"));
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"Content-Length") {
            let text = std::str::from_utf8(value).unwrap_or_default();
            let digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
            let length = text.parse().ok().filter(|_| digits && self.length.is_none());
            self.length = Some(length.ok_or(HttpError::Malformed("a bad Content-Length"))?);
        } else if name.eq_ignore_ascii_case(b"Content-Type") {
            self.content_type = Some(String::from_utf8_lossy(value).into_owned());
        } else if name.eq_ignore_ascii_case(b"Transfer-Encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(HttpError::Malformed("an unknown Transfer-Encoding"));
            }
            self.chunked = true;
        }
        Ok(())
    }

    fn after_fields(&mut self) -> Result<State, HttpError> {
        if (100..200).contains(&self.status) {
            self.length = None;
            self.content_type = None;
            return Ok(State::Status);
        }
        self.lines = 0;
        Ok(match (self.chunked, self.length) {
            (true, _) => State::ChunkSize,
            (false, Some(length)) if length > self.body_octets_max => {
                return Err(HttpError::TooLong(self.body_octets_max));
            }
            (false, Some(length)) => State::Counted(length),
            (false, None) if matches!(self.status, 204 | 304) => State::Counted(0),
            (false, None) => State::UntilClosed,
        })
    }
}

fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?.get(1..)?.strip_prefix(b" ")?;
    let code = std::str::from_utf8(rest.get(..3)?).ok()?;
    code.parse().ok().filter(|code| (100..600).contains(code))
}

fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|octet| *octet == b';').next()?.trim_ascii();
    let text = std::str::from_utf8(digits).ok()?;
    if text.is_empty() || !text.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        return None;
    }
    usize::from_str_radix(text, 16).ok()
}

/// Takes a line off the input, without its end; `None` when it is not whole.
fn take_line(input: &mut BytesMut) -> Option<Vec<u8>> {
    let end = input.iter().position(|octet| *octet == b'\n')?;
    let line = input.split_to(end);
    input.advance(1);
    Some(line.strip_suffix(b"\r").unwrap_or(&line).to_vec())
}
