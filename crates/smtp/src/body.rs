//! Message bodies on the wire: `DATA` with its dots, `BDAT` with its counts (RFC 5321 section 4.5.2, RFC 3030).
//!
//! A body ends at CRLF, dot, CRLF and nowhere else. Bare CR and bare LF are what SMTP smuggling is made of
//! (CVE-2023-51764): a body that has one is read to its real end, thrown away and refused, and none is ever
//! sent. Good input is passed on as slices of the input buffer; lines are found with `memchr`, not byte by
//! byte. At most three octets are ever held back.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use memchr::memchr2;

/// Largest piece handed out, in octets.
pub const PIECE_OCTETS: usize = 64 * 1024;

/// Limits on the body of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Octets of the message, dots of transparency not counted.
    pub message_octets: u64,
    /// Octets of one line, CRLF included.
    pub line_octets: usize,
    /// Octets of a refused body that are read and thrown away before the reader gives up.
    pub swallow_octets: u64,
}

/// What is wrong with a body. The peer is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// A CR that no LF follows.
    BareCr,
    /// An LF that no CR precedes.
    BareLf,
    /// A line past [`BodyLimits::line_octets`].
    LineTooLong,
    /// A message past [`BodyLimits::message_octets`].
    TooLarge,
}

/// The next thing that a reader found in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// Nothing without more octets.
    NeedInput,
    /// The next piece of the message, at most [`PIECE_OCTETS`].
    Piece(Bytes),
    /// The body is bad; said once. Nothing more of it is handed out, but it is read to its end.
    Bad(Defect),
    /// The body, or the chunk, is at its end; good or bad.
    End,
    /// A bad body goes on past [`BodyLimits::swallow_octets`]: the connection is not worth keeping.
    Endless,
}

enum LineBreak {
    Crlf,
    CrAtEnd,
    BareCr,
    BareLf,
}

/// The first CR or LF of `octets` and what it is. One stop per good line.
fn line_break(octets: &[u8]) -> Option<(usize, LineBreak)> {
    let at = memchr2(b'\r', b'\n', octets)?;
    let kind = match (octets.get(at), octets.get(at + 1)) {
        (Some(b'\n'), _) => LineBreak::BareLf,
        (_, None) => LineBreak::CrAtEnd,
        (_, Some(b'\n')) => LineBreak::Crlf,
        _ => LineBreak::BareCr,
    };
    Some((at, kind))
}

/// What one body has used of its limits.
#[derive(Debug)]
struct Meter {
    limits: BodyLimits,
    octets: u64,
    line_octets: usize,
    swallowed: u64,
    defect: Option<Defect>,
}

impl Meter {
    const fn new(limits: BodyLimits) -> Self {
        Self { limits, octets: 0, line_octets: 0, swallowed: 0, defect: None }
    }

    /// A line ended `octets` after the last call.
    fn end_line(&mut self, octets: usize) -> Result<(), Defect> {
        let line = self.line_octets.saturating_add(octets);
        self.line_octets = 0;
        self.check_line(line)
    }

    /// A line goes on for `octets` after the last call; its CRLF is still to come.
    fn grow_line(&mut self, octets: usize) -> Result<(), Defect> {
        self.line_octets = self.line_octets.saturating_add(octets);
        self.check_line(self.line_octets.saturating_add(2))
    }

    fn check_line(&self, octets: usize) -> Result<(), Defect> {
        if octets > self.limits.line_octets { Err(Defect::LineTooLong) } else { Ok(()) }
    }

    /// Takes `octets` of input: handed out while the body is good, thrown away from its first defect on.
    fn take(&mut self, input: &mut BytesMut, octets: usize, found: Result<(), Defect>) -> Option<Decoded> {
        if self.defect.is_some() {
            input.advance(octets);
            self.swallowed = self.swallowed.saturating_add(octets as u64);
            return (self.swallowed > self.limits.swallow_octets).then_some(Decoded::Endless);
        }
        self.octets = self.octets.saturating_add(octets as u64);
        let too_large = self.octets > self.limits.message_octets;
        if let Some(defect) = found.err().or_else(|| too_large.then_some(Defect::TooLarge)) {
            input.advance(octets);
            self.defect = Some(defect);
            return Some(Decoded::Bad(defect));
        }
        (octets > 0).then(|| Decoded::Piece(input.split_to(octets).freeze()))
    }
}

/// Reads a body after `DATA`: undoes dot-stuffing and finds the end.
#[derive(Debug)]
pub struct BodyDecoder {
    meter: Meter,
    at_line_start: bool,
}

impl BodyDecoder {
    /// A decoder that stands after the CRLF of the `DATA` command.
    #[must_use]
    pub const fn new(limits: BodyLimits) -> Self {
        Self { meter: Meter::new(limits), at_line_start: true }
    }

    /// Octets of the message so far.
    #[must_use]
    pub const fn octets(&self) -> u64 {
        self.meter.octets
    }

    /// The fault that made the body bad; `None` as long as it is good.
    #[must_use]
    pub const fn defect(&self) -> Option<Defect> {
        self.meter.defect
    }

    /// The next piece of the message, or its end.
    pub fn decode(&mut self, input: &mut BytesMut) -> Decoded {
        loop {
            if self.at_line_start {
                match input.as_ref() {
                    [] | [b'.'] | [b'.', b'\r'] => return Decoded::NeedInput,
                    [b'.', b'\r', b'\n', ..] => {
                        input.advance(3);
                        return Decoded::End;
                    }
                    [b'.', ..] => input.advance(1),
                    _ => {}
                }
                self.at_line_start = false;
            }
            if matches!(input.as_ref(), [] | [b'\r']) {
                return Decoded::NeedInput;
            }
            let window = &input[..input.len().min(PIECE_OCTETS)];
            let (octets, found) = self.scan(window);
            if let Some(decoded) = self.meter.take(input, octets, found) {
                return decoded;
            }
        }
    }

    /// Octets up to a dot at the start of a line, a defect, or the end of what can be judged.
    fn scan(&mut self, window: &[u8]) -> (usize, Result<(), Defect>) {
        let (mut at, mut line) = (0, 0);
        while let Some((offset, kind)) = line_break(&window[at..]) {
            at += offset;
            match kind {
                LineBreak::Crlf => at += 2,
                LineBreak::CrAtEnd => return (at, self.meter.grow_line(at - line)),
                LineBreak::BareCr => return (at + 1, Err(Defect::BareCr)),
                LineBreak::BareLf => return (at + 1, Err(Defect::BareLf)),
            }
            let length = self.meter.end_line(at - line);
            if length.is_err() || matches!(window.get(at), None | Some(b'.')) {
                self.at_line_start = true;
                return (at, length);
            }
            line = at;
        }
        (window.len(), self.meter.grow_line(window.len() - line))
    }
}

/// Reads the chunks of one message sent with `BDAT`: counts octets and holds CR and LF to the same rule.
#[derive(Debug)]
pub struct ChunkChecker {
    meter: Meter,
    remaining: u64,
    after_cr: bool,
}

impl ChunkChecker {
    /// A checker before the first chunk.
    #[must_use]
    pub const fn new(limits: BodyLimits) -> Self {
        Self { meter: Meter::new(limits), remaining: 0, after_cr: false }
    }

    /// A chunk of `octets` starts.
    pub const fn begin(&mut self, octets: u64) {
        self.remaining = octets;
    }

    /// Octets of the message so far.
    #[must_use]
    pub const fn octets(&self) -> u64 {
        self.meter.octets
    }

    /// Octets of the current chunk still to come.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The next piece of the message, or the end of the chunk. A line may go on in the next chunk.
    pub fn decode(&mut self, input: &mut BytesMut) -> Decoded {
        loop {
            if self.remaining == 0 {
                return Decoded::End;
            }
            let left = usize::try_from(self.remaining).unwrap_or(usize::MAX);
            let window = &input[..input.len().min(PIECE_OCTETS).min(left)];
            if window.is_empty() {
                return Decoded::NeedInput;
            }
            let (octets, found) = self.scan(window);
            self.remaining -= octets as u64;
            if let Some(decoded) = self.meter.take(input, octets, found) {
                return decoded;
            }
        }
    }

    /// The message is complete: a CR at its very end has no LF.
    ///
    /// # Errors
    /// [`Defect::BareCr`].
    pub const fn finish(&self) -> Result<(), Defect> {
        if self.after_cr { Err(Defect::BareCr) } else { Ok(()) }
    }

    fn scan(&mut self, window: &[u8]) -> (usize, Result<(), Defect>) {
        let (mut at, mut line) = (0, 0);
        if std::mem::take(&mut self.after_cr) {
            if window.first() != Some(&b'\n') {
                return (1, Err(Defect::BareCr));
            }
            (at, line) = (1, 1);
            if let Err(defect) = self.meter.end_line(1) {
                return (1, Err(defect));
            }
        }
        while let Some((offset, kind)) = line_break(&window[at..]) {
            at += offset;
            match kind {
                LineBreak::Crlf => at += 2,
                LineBreak::BareCr => return (at + 1, Err(Defect::BareCr)),
                LineBreak::BareLf => return (at + 1, Err(Defect::BareLf)),
                LineBreak::CrAtEnd => {
                    self.after_cr = true;
                    let length = self.meter.grow_line(at - line);
                    self.meter.line_octets = self.meter.line_octets.saturating_add(1);
                    return (window.len(), length);
                }
            }
            if let Err(defect) = self.meter.end_line(at - line) {
                return (at, Err(defect));
            }
            line = at;
        }
        (window.len(), self.meter.grow_line(window.len() - line))
    }
}

/// The message to be sent has a bare CR or LF. We are to blame: what is stored is canonical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message has a bare CR or LF, which SMTP can't carry")]
pub struct BareLineEnd;

/// Writes a body after `DATA`: dot-stuffs lines and adds the end (RFC 5321 section 4.5.2).
#[derive(Debug)]
pub struct DotStuffer {
    line: LineState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineState {
    Start,
    Within,
    AfterCr,
}

impl Default for DotStuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl DotStuffer {
    /// A stuffer before the first octet.
    #[must_use]
    pub const fn new() -> Self {
        Self { line: LineState::Start }
    }

    /// Appends a piece of the message to `out`. Pieces may be cut anywhere.
    ///
    /// # Errors
    /// [`BareLineEnd`]; the octets before it are written, so the connection must be given up.
    pub fn stuff(&mut self, piece: &[u8], out: &mut BytesMut) -> Result<(), BareLineEnd> {
        let mut at = 0;
        let mut copied = 0;
        if self.line == LineState::AfterCr && !piece.is_empty() {
            if piece.first() != Some(&b'\n') {
                return Err(BareLineEnd);
            }
            (at, self.line) = (1, LineState::Start);
        }
        out.reserve(piece.len() + piece.len() / 64 + 1);
        while at < piece.len() {
            if self.line == LineState::Start && piece.get(at) == Some(&b'.') {
                out.put_slice(&piece[copied..at]);
                out.put_u8(b'.');
                copied = at;
            }
            self.line = LineState::Within;
            match line_break(&piece[at..]) {
                None => at = piece.len(),
                Some((offset, LineBreak::Crlf)) => (at, self.line) = (at + offset + 2, LineState::Start),
                Some((_, LineBreak::CrAtEnd)) => (at, self.line) = (piece.len(), LineState::AfterCr),
                Some(_) => return Err(BareLineEnd),
            }
        }
        out.put_slice(&piece[copied..]);
        Ok(())
    }

    /// Appends the end of the body, and the CRLF that the last line lacks.
    ///
    /// # Errors
    /// [`BareLineEnd`] when the last octet was a CR.
    pub fn finish(&mut self, out: &mut BytesMut) -> Result<(), BareLineEnd> {
        match self.line {
            LineState::Start => out.put_slice(b".\r\n"),
            LineState::Within => out.put_slice(b"\r\n.\r\n"),
            LineState::AfterCr => return Err(BareLineEnd),
        }
        Ok(())
    }
}

/// Holds octets that are sent as they are, in chunks, to the same rule as [`DotStuffer`].
#[derive(Debug, Default)]
pub struct LineEnds {
    after_cr: bool,
}

impl LineEnds {
    /// Checks a piece of the message. Pieces may be cut anywhere.
    ///
    /// # Errors
    /// [`BareLineEnd`].
    pub fn check(&mut self, piece: &[u8]) -> Result<(), BareLineEnd> {
        let mut at = 0;
        if self.after_cr && !piece.is_empty() {
            if piece.first() != Some(&b'\n') {
                return Err(BareLineEnd);
            }
            (at, self.after_cr) = (1, false);
        }
        while let Some((offset, kind)) = line_break(&piece[at..]) {
            match kind {
                LineBreak::Crlf => at += offset + 2,
                LineBreak::CrAtEnd => {
                    self.after_cr = true;
                    return Ok(());
                }
                LineBreak::BareCr | LineBreak::BareLf => return Err(BareLineEnd),
            }
        }
        Ok(())
    }

    /// The message is complete.
    ///
    /// # Errors
    /// [`BareLineEnd`] when its last octet was a CR.
    pub const fn finish(&self) -> Result<(), BareLineEnd> {
        if self.after_cr { Err(BareLineEnd) } else { Ok(()) }
    }
}
