//! The structure of a message: where its parts are, to the octet (RFC 2045, RFC 2046).
//!
//! A scanner that is fed a message piece by piece, so that its memory does not grow with the message. It
//! changes and decodes nothing. What is malformed is taken as mail programs do: a header without an end, a
//! part without a closing boundary, a boundary that is missing. Depth, parts, header octets and parameters
//! are limited; what is beyond them is left as an opaque part.

use memchr::memchr;

use crate::envelope;
use crate::fields::{Fields, Unstated};
use crate::part::{Content, Part};

/// Deepest nesting of parts.
pub(crate) const DEPTH_MAX: usize = 32;
/// Most parts of a message.
pub(crate) const PARTS_MAX: usize = 1000;
/// Octets of one header section that are looked at.
pub(crate) const HEADER_MAX: usize = 128 * 1024;
/// Octets of all header sections of a message that are looked at.
const HEADERS_MAX: usize = 1024 * 1024;
/// Longest boundary that is recognised; RFC 2046 allows 70 octets.
const BOUNDARY_MAX: usize = 256;
/// Octets of a line that decide what it is: two hyphens on each side of a boundary, and some white space.
const LINE_MAX: usize = BOUNDARY_MAX + 64;

/// An entity whose end has not come yet.
struct Open {
    part: Part,
    default: Unstated,
    /// Its header section as far as it is kept; `None` once the body has begun.
    section: Option<Vec<u8>>,
    /// Line ends before the body.
    lines_before: u64,
    /// Of a multipart, until its closing delimiter.
    boundary: Option<Vec<u8>>,
    children: Vec<Part>,
    /// Whether the entity is the message in a message/rfc822 part, and its envelope.
    encapsulated: bool,
    envelope: Vec<u8>,
}

impl Open {
    fn new(at: u64, default: Unstated) -> Self {
        let part = Part { header: at..at, body: at..at, ..Part::default() };
        Self {
            part,
            default,
            section: Some(Vec::new()),
            lines_before: 0,
            boundary: None,
            children: Vec::new(),
            encapsulated: false,
            envelope: Vec::new(),
        }
    }
}

/// Reads a message and finds its parts.
pub(crate) struct Scanner {
    /// The outermost entity first.
    open: Vec<Open>,
    /// Where the current line starts, and where the next octet to come is.
    line_start: u64,
    at: u64,
    /// The start of the current line, as far as it matters.
    line: Vec<u8>,
    /// The last octet.
    last: u8,
    /// Line ends so far, and octets of the last one.
    lines: u64,
    line_end_octets: u64,
    parts: usize,
    headers_left: usize,
}

impl Scanner {
    pub(crate) fn new() -> Self {
        Self {
            open: vec![Open::new(0, Unstated::Text)],
            line_start: 0,
            at: 0,
            line: Vec::new(),
            last: 0,
            lines: 0,
            line_end_octets: 0,
            parts: 1,
            headers_left: HEADERS_MAX,
        }
    }

    /// The next octets of the message.
    pub(crate) fn feed(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let (length, ends) = memchr(b'\n', piece).map_or((piece.len(), false), |end| (end + 1, true));
            let (segment, rest) = piece.split_at(length);
            piece = rest;
            self.at += length as u64;
            let before = length.checked_sub(2).and_then(|at| segment.get(at).copied()).unwrap_or(self.last);
            let line_end = if before == b'\r' { 2 } else { 1 };
            self.last = segment.last().copied().unwrap_or(0);
            let in_body = self.keep_header(segment);
            if in_body && ends && self.line.is_empty() && segment.first() != Some(&b'-') {
                // An ordinary line of a body: nothing of it is needed but that it ended.
                self.end_line(line_end);
                continue;
            }
            let room = LINE_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&segment[..length.min(room)]);
            if ends {
                let mut line = std::mem::take(&mut self.line);
                self.take_line(&line, line_end);
                line.clear();
                self.line = line;
            }
        }
    }

    /// Keeps octets of a header section, within the limits; true when the innermost entity is in its body.
    fn keep_header(&mut self, segment: &[u8]) -> bool {
        let Some(section) = self.open.last_mut().and_then(|open| open.section.as_mut()) else { return true };
        let room = HEADER_MAX.saturating_sub(section.len()).min(self.headers_left).min(segment.len());
        section.extend_from_slice(&segment[..room]);
        self.headers_left -= room;
        false
    }

    /// A whole line, of which `line` is the start.
    fn take_line(&mut self, line: &[u8], line_end: u64) {
        if line.starts_with(b"--") && self.take_boundary(line, line_end) {
            return;
        }
        let in_header = self.open.last().is_some_and(|open| open.section.is_some());
        self.end_line(line_end);
        if in_header && matches!(line, b"\r\n" | b"\n") {
            self.end_header();
        }
    }

    fn end_line(&mut self, line_end: u64) {
        self.lines += 1;
        self.line_end_octets = line_end;
        self.line_start = self.at;
    }

    /// Ends parts and starts the next, when the line is a delimiter of one of the multiparts that are open.
    fn take_boundary(&mut self, line: &[u8], line_end: u64) -> bool {
        let content = line.get(2..).unwrap_or_default().trim_ascii_end();
        let matching = self.open.iter().rposition(|open| {
            let boundary = open.boundary.as_deref();
            boundary.is_some_and(|boundary| {
                content.strip_prefix(boundary).is_some_and(|rest| rest.is_empty() || rest == b"--")
            })
        });
        let Some(index) = matching else { return false };
        let end = self.line_start.saturating_sub(self.line_end_octets);
        // The line end before a delimiter belongs to it.
        let lines = self.lines.saturating_sub(1);
        // An empty part ends where its body would start, beyond `end`. What is within it is not beyond that.
        let limit = self.open.get(index + 1).map_or(end, |part| end.max(part.part.body.start));
        while self.open.len() > index + 2 {
            if let Some(inner) = self.open.last_mut() {
                inner.part.limit(limit);
            }
            self.close(limit, lines);
        }
        if self.open.len() > index + 1 {
            self.close(end, lines);
        }
        let Some(multipart) = self.open.last_mut() else { return false };
        let closes = multipart.boundary.as_ref().is_some_and(|boundary| content.len() > boundary.len());
        let default =
            if multipart.part.fields.is("multipart", "digest") { Unstated::Message } else { Unstated::Text };
        if closes {
            multipart.boundary = None;
        }
        self.end_line(line_end);
        if !closes && self.parts < PARTS_MAX {
            self.parts += 1;
            self.open.push(Open { lines_before: self.lines, ..Open::new(self.line_start, default) });
        }
        true
    }

    /// The empty line has come: what follows is the body of the innermost entity.
    fn end_header(&mut self) {
        let (at, lines, depth) = (self.line_start, self.lines, self.open.len());
        let Some(open) = self.open.last_mut() else { return };
        let section = open.section.take().unwrap_or_default();
        open.read_section(&section, at, lines);
        let fields = &mut open.part.fields;
        if fields.media_type.eq_ignore_ascii_case(b"multipart") {
            let boundary = fields.parameter("boundary").map(|boundary| boundary.trim_ascii_end().to_vec());
            let boundary = boundary.filter(|boundary| (1..=BOUNDARY_MAX).contains(&boundary.len()));
            open.boundary = boundary.filter(|_| depth < DEPTH_MAX);
            return;
        }
        let is_message = fields.is("message", "rfc822") || fields.is("message", "global");
        if is_message && fields.is_identity() && depth < DEPTH_MAX && self.parts < PARTS_MAX {
            self.parts += 1;
            self.open.push(Open { encapsulated: true, lines_before: lines, ..Open::new(at, Unstated::Text) });
        }
    }

    /// The end of the innermost entity, which goes into the one around it.
    fn close(&mut self, end: u64, lines: u64) {
        let Some(mut open) = self.open.pop() else { return };
        if let Some(section) = open.section.take() {
            // The header has no end, so there is no body.
            open.read_section(&section, end.max(open.part.header.start), lines);
        }
        let (part, encapsulated, envelope) = open.finish(end, lines);
        match self.open.last_mut() {
            Some(around) if encapsulated => around.part.content = Content::Message(Box::new(part), envelope),
            Some(around) => around.children.push(part),
            // The message itself has ended; it is kept for `finish`.
            None => self.open.push(Open { part, ..Open::new(0, Unstated::Text) }),
        }
    }

    /// The message has ended.
    pub(crate) fn finish(mut self) -> Part {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            // A last line without a line end may still be a delimiter.
            if !(line.starts_with(b"--") && self.take_boundary(&line, 0)) {
                self.line_start = self.at;
            } else {
                self.lines -= 1;
            }
        }
        while self.open.len() > 1 {
            self.close(self.at, self.lines);
        }
        self.close(self.at, self.lines);
        self.open.pop().map(|open| open.part).unwrap_or_default()
    }
}

impl Open {
    fn read_section(&mut self, section: &[u8], end: u64, lines: u64) {
        self.part.header.end = end;
        self.part.body = end..end;
        self.lines_before = lines;
        self.part.fields = Fields::parse(section, self.default);
        if self.encapsulated {
            envelope::write(&mut self.envelope, section);
        }
    }

    fn finish(mut self, end: u64, lines: u64) -> (Part, bool, Vec<u8>) {
        // An empty body ends where it starts, although its boundary has no line end of its own.
        self.part.body.end = end.max(self.part.body.start);
        self.part.lines =
            if end > self.part.body.start { lines.saturating_sub(self.lines_before) } else { 0 };
        if !self.children.is_empty() {
            self.part.content = Content::Multipart(self.children);
        } else if self.part.content == Content::Leaf {
            let fields = &mut self.part.fields;
            let composite =
                fields.media_type.eq_ignore_ascii_case(b"multipart") || fields.is("message", "rfc822");
            if composite {
                // Written as what it claims to be it would need parts that are not there.
                fields.set_opaque(b"application", b"octet-stream");
            }
        }
        (self.part, self.encapsulated, self.envelope)
    }
}

#[cfg(test)]
mod tests;
