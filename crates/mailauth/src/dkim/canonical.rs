//! The forms in which a message is hashed (RFC 6376 section 3.4), fed piece by piece.
//!
//! What is unchanged by canonicalisation goes to the hash where it stands, in runs as long as possible; what
//! must wait for the next piece (line ends and white space that may turn out to be the last) is a count.

use aws_lc_rs::digest::{Context, Digest, SHA256};
use mail::header::Field;
use memchr::memchr2;

/// simple or relaxed (RFC 6376 section 3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Canonicalization {
    Simple,
    Relaxed,
}

impl Canonicalization {
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "simple" => Some(Self::Simple),
            "relaxed" => Some(Self::Relaxed),
            _ => None,
        }
    }
}

/// Runs shorter than this are copied together before they are hashed: a call to the hash costs more.
const STAGE_OCTETS: usize = 512;

/// A SHA-256 that takes runs of any length.
#[derive(Clone)]
pub(crate) struct Hasher {
    context: Context,
    staged: [u8; STAGE_OCTETS],
    filled: usize,
}

impl Hasher {
    pub(crate) fn new() -> Self {
        Self { context: Context::new(&SHA256), staged: [0; STAGE_OCTETS], filled: 0 }
    }

    pub(crate) fn write(&mut self, run: &[u8]) {
        if let Some(free) = self.staged.get_mut(self.filled..self.filled + run.len()) {
            free.copy_from_slice(run);
            self.filled += run.len();
            return;
        }
        self.flush();
        match self.staged.get_mut(..run.len()) {
            Some(free) if run.len() < STAGE_OCTETS / 2 => {
                free.copy_from_slice(run);
                self.filled = run.len();
            }
            _ => self.context.update(run),
        }
    }

    fn flush(&mut self) {
        if let Some(staged) = self.staged.get(..self.filled) {
            self.context.update(staged);
        }
        self.filled = 0;
    }

    pub(crate) fn finish(mut self) -> Digest {
        self.flush();
        self.context.finish()
    }
}

/// A header field and its line end, as it is hashed (RFC 6376 sections 3.4.1 and 3.4.2).
pub(crate) fn field(form: Canonicalization, field: &Field<'_>, hasher: &mut Hasher) {
    match form {
        Canonicalization::Simple => {
            hasher.write(without_line_end(field.raw));
        }
        Canonicalization::Relaxed => relaxed_field(field.name, &[field.value], hasher),
    }
    hasher.write(b"\r\n");
}

/// The field that holds the signature: as [`field()`], the octets of its value at `emptied` taken out, without
/// a line end (RFC 6376 section 3.7).
pub(crate) fn signature_field(
    form: Canonicalization,
    field: &Field<'_>,
    emptied: &std::ops::Range<usize>,
    hasher: &mut Hasher,
) {
    let before = field.value.get(..emptied.start).unwrap_or_default();
    let after = field.value.get(emptied.end..).unwrap_or_default();
    match form {
        Canonicalization::Simple => {
            let head = field.raw.len() - field.value.len() - line_end_octets(field.raw);
            hasher.write(field.raw.get(..head).unwrap_or_default());
            hasher.write(before);
            hasher.write(after);
        }
        Canonicalization::Relaxed => relaxed_field(field.name, &[before, after], hasher),
    }
}

fn line_end_octets(raw: &[u8]) -> usize {
    raw.len() - without_line_end(raw).len()
}

fn without_line_end(raw: &[u8]) -> &[u8] {
    raw.strip_suffix(b"\r\n").or_else(|| raw.strip_suffix(b"\n")).unwrap_or(raw)
}

/// Name in lower case, colon, and the words of the value (given in parts that follow each other) with one
/// space between them.
fn relaxed_field(name: &[u8], value: &[&[u8]], hasher: &mut Hasher) {
    hasher.write(&name.to_ascii_lowercase());
    hasher.write(b":");
    let (mut space, mut started) = (false, false);
    for part in value {
        let mut rest = *part;
        while let Some(first) = rest.first() {
            let white = is_white_or_fold(*first);
            let length =
                rest.iter().position(|octet| is_white_or_fold(*octet) != white).unwrap_or(rest.len());
            let (run, after) = rest.split_at(length);
            rest = after;
            if white {
                space = true;
                continue;
            }
            if space && started {
                hasher.write(b" ");
            }
            hasher.write(run);
            (space, started) = (false, true);
        }
    }
}

const fn is_white_or_fold(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

/// A body on its way into a hash.
#[derive(Clone)]
pub(crate) struct BodyHasher {
    form: Canonicalization,
    hasher: Hasher,
    /// Line ends that were seen and not hashed: they may be the empty lines at the end.
    line_ends: u64,
    /// White space was seen after `line_ends` and not hashed (relaxed only).
    space: bool,
    /// A CR was seen after `space`; the next octet tells whether it is a line end.
    cr: bool,
    /// Whether anything was hashed already.
    started: bool,
}

impl BodyHasher {
    pub(crate) fn new(form: Canonicalization) -> Self {
        Self { form, hasher: Hasher::new(), line_ends: 0, space: false, cr: false, started: false }
    }

    /// The next octets of the body; it may be cut anywhere.
    pub(crate) fn update(&mut self, mut piece: &[u8]) {
        while let Some(first) = piece.first() {
            if self.cr {
                self.cr = false;
                if *first == b'\n' {
                    self.line_ends += 1;
                    self.space = false;
                    piece = piece.get(1..).unwrap_or_default();
                    continue;
                }
                self.content(b"\r");
            }
            let length = match (*first, self.form) {
                (b'\r', _) => {
                    self.cr = true;
                    1
                }
                (b' ' | b'\t', Canonicalization::Relaxed) => {
                    self.space = true;
                    piece.iter().position(|octet| !is_space(*octet)).unwrap_or(piece.len())
                }
                (_, form) => {
                    let length = if form == Canonicalization::Simple { piece.len() } else { verbatim(piece) };
                    self.run(piece.get(..length).unwrap_or_default());
                    length
                }
            };
            piece = piece.get(length..).unwrap_or_default();
        }
    }

    /// A run that is hashed as it is, but for the line ends at its end, which wait.
    fn run(&mut self, run: &[u8]) {
        let mut kept = run;
        let cr = kept.strip_suffix(b"\r");
        kept = cr.unwrap_or(kept);
        let mut line_ends = 0;
        while let Some(shorter) = kept.strip_suffix(b"\r\n") {
            kept = shorter;
            line_ends += 1;
        }
        self.content(kept);
        self.line_ends = line_ends;
        self.cr = cr.is_some();
    }

    /// Hashes what has waited, then `run`.
    fn content(&mut self, run: &[u8]) {
        const LINE_ENDS: &[u8] = b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";
        const COUNT: u64 = LINE_ENDS.len() as u64 / 2;
        while self.line_ends >= COUNT {
            self.hasher.write(LINE_ENDS);
            self.line_ends -= COUNT;
        }
        for _ in 0..self.line_ends {
            self.hasher.write(b"\r\n");
        }
        self.line_ends = 0;
        if std::mem::take(&mut self.space) {
            self.hasher.write(b" ");
        }
        self.hasher.write(run);
        self.started = true;
    }

    /// The hash of the whole body.
    pub(crate) fn finish(mut self) -> Digest {
        if self.cr {
            self.content(b"\r");
        }
        // A body ends with one line end, whatever was there (RFC 6376 section 3.4.3); only under relaxed an
        // empty one stays empty (section 3.4.4).
        if self.started || self.form == Canonicalization::Simple {
            self.hasher.write(b"\r\n");
        }
        self.hasher.finish()
    }
}

const fn is_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// How many octets relaxed canonicalisation leaves as they are: up to a tab, or a space that more white space
/// or a CR follows, or that is the last. `piece` starts with content.
fn verbatim(piece: &[u8]) -> usize {
    const BLOCK: usize = 64;
    let mut at = 0;
    // A block is looked at as a whole first, without leaving early: so it is done with wide registers.
    while let (Some(block), Some(next)) = (piece.get(at..at + BLOCK), piece.get(at + 1..at + 1 + BLOCK)) {
        if block.iter().zip(next).fold(false, |odd, (octet, next)| odd | is_odd(*octet, *next)) {
            break;
        }
        at += BLOCK;
    }
    while let Some(found) = piece.get(at..).and_then(|rest| memchr2(b' ', b'\t', rest)) {
        let space = at + found;
        match (piece.get(space), piece.get(space + 1)) {
            (Some(octet), Some(next)) if !is_odd(*octet, *next) => at = space + 1,
            _ => return space,
        }
    }
    piece.len()
}

const fn is_odd(octet: u8, next: u8) -> bool {
    (octet == b'\t') | ((octet == b' ') & ((next == b' ') | (next == b'\t') | (next == b'\r')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The whole body at once, line by line.
    fn reference(form: Canonicalization, body: &[u8]) -> Vec<u8> {
        let text = body.iter().map(|octet| char::from(*octet)).collect::<String>();
        let mut lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
        if form == Canonicalization::Relaxed {
            for line in &mut lines {
                let mut short = String::new();
                for c in line.chars() {
                    match c {
                        ' ' | '\t' if short.ends_with(' ') => {}
                        ' ' | '\t' => short.push(' '),
                        _ => short.push(c),
                    }
                }
                *line = short.trim_end_matches(' ').to_owned();
            }
        }
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        let mut out: Vec<u8> = Vec::new();
        for line in &lines {
            out.extend(line.chars().map(|c| u8::try_from(u32::from(c)).unwrap()));
            out.extend(b"\r\n");
        }
        if out.is_empty() && form == Canonicalization::Simple {
            out.extend(b"\r\n");
        }
        out
    }

    fn streamed(form: Canonicalization, pieces: &[&[u8]]) -> Vec<u8> {
        let mut hasher = BodyHasher::new(form);
        for piece in pieces {
            hasher.update(piece);
        }
        hasher.finish().as_ref().to_vec()
    }

    fn sha256(text: &[u8]) -> Vec<u8> {
        aws_lc_rs::digest::digest(&SHA256, text).as_ref().to_vec()
    }

    const FORMS: [Canonicalization; 2] = [Canonicalization::Simple, Canonicalization::Relaxed];

    #[test]
    fn bodies_have_the_form_of_the_rfc() {
        // RFC 6376 section 3.4.5, and the empty body of sections 3.4.3 and 3.4.4.
        let cases: [(&[u8], &[u8], &[u8]); 9] = [
            (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n", b" C \r\nD \t E\r\n"),
            (b"", b"", b"\r\n"),
            (b"\r\n", b"", b"\r\n"),
            (b"\r\n\r\n", b"", b"\r\n"),
            (b" \t\r\n  \r\n", b"", b" \t\r\n  \r\n"),
            (b"a", b"a\r\n", b"a\r\n"),
            (b"a\r\n \r\n\t\r\n", b"a\r\n", b"a\r\n \r\n\t\r\n"),
            (b"\r\n\r\na \r", b"\r\n\r\na \r\r\n", b"\r\n\r\na \r\r\n"),
            (b"a\r\n\r\n", b"a\r\n", b"a\r\n"),
        ];
        for (body, relaxed, simple) in cases {
            assert_eq!(streamed(Canonicalization::Relaxed, &[body]), sha256(relaxed), "{body:?}");
            assert_eq!(streamed(Canonicalization::Simple, &[body]), sha256(simple), "{body:?}");
            assert_eq!(reference(Canonicalization::Relaxed, body), relaxed);
            assert_eq!(reference(Canonicalization::Simple, body), simple);
        }
    }

    #[test]
    fn a_body_cut_at_every_place_has_the_same_hash() {
        let body = b"  one  two\t\r\nthree \r\n\r\n \t\r\n\rfour\r\r\n a b\n\r\n x \t \r\n\r\n \r\n";
        for form in FORMS {
            let whole = sha256(&reference(form, body));
            for cut in 0..=body.len() {
                let (head, tail) = body.split_at(cut);
                assert_eq!(streamed(form, &[head, tail]), whole, "{form:?} cut at {cut}");
            }
            let octets: Vec<&[u8]> = body.chunks(1).collect();
            assert_eq!(streamed(form, &octets), whole);
        }
    }

    #[test]
    fn many_empty_lines_are_a_count() {
        for lines in [15, 16, 17, 1000] {
            let body = [b"a".as_slice(), &b"\r\n".repeat(lines), b"b"].concat();
            for form in FORMS {
                assert_eq!(streamed(form, &[&body]), sha256(&reference(form, &body)));
            }
        }
    }

    proptest! {
        #[test]
        fn any_body_in_any_pieces_has_the_hash_of_the_reference(
            words in prop::collection::vec(
                prop::sample::select(vec!["a", " ", "\t", "\r\n", "\r", "\n", "bc d", "\r\n\r\n", "  "]), 0..60),
            long in 0usize..200,
            size in 1usize..70,
        ) {
            let body = format!("{}{}{}", words.concat(), "x y".repeat(long), words.concat());
            let pieces: Vec<&[u8]> = body.as_bytes().chunks(size).collect();
            for form in FORMS {
                prop_assert_eq!(streamed(form, &pieces), sha256(&reference(form, body.as_bytes())));
            }
        }
    }

    fn hashed(form: Canonicalization, raw: &[u8]) -> Vec<u8> {
        let mut hasher = Hasher::new();
        for one in mail::header::fields(raw) {
            field(form, &one, &mut hasher);
        }
        hasher.finish().as_ref().to_vec()
    }

    #[test]
    fn fields_have_the_form_of_the_rfc() {
        // RFC 6376 section 3.4.5.
        let raw = b"A: X\r\nB : Y\t\r\n\tZ  \r\nC:\r\n \r\n";
        assert_eq!(hashed(Canonicalization::Relaxed, raw), sha256(b"a:X\r\nb:Y Z\r\nc:\r\n"));
        assert_eq!(hashed(Canonicalization::Simple, raw), sha256(raw));
    }

    #[test]
    fn the_signature_field_is_hashed_without_its_signature_and_line_end() {
        let raw = b"Sig : a=1; b= xy\r\n z ; c=3\r\n";
        let one = mail::header::find(raw, "sig").unwrap();
        let tags = super::super::tag_list::TagList::parse(one.value).unwrap();
        for (form, expected) in [
            (Canonicalization::Simple, b"Sig : a=1; b=; c=3".as_slice()),
            (Canonicalization::Relaxed, b"sig:a=1; b=; c=3"),
        ] {
            let mut hasher = Hasher::new();
            signature_field(form, &one, &tags.tag("b").unwrap().place, &mut hasher);
            assert_eq!(hasher.finish().as_ref(), sha256(expected));
        }
    }
}
