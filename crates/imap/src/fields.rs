//! The header fields that say what a part is (RFC 2045, RFC 2183, RFC 3282), read as senders write them.

use mail::header;
use memchr::memchr;

/// Most parameters of a field.
pub(crate) const PARAMETERS_MAX: usize = 64;
/// A name and a value, both as written.
pub(crate) type Parameter = (Vec<u8>, Vec<u8>);

/// Header fields that describe a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) media_type: Vec<u8>,
    pub(crate) subtype: Vec<u8>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) id: Option<Vec<u8>>,
    pub(crate) description: Option<Vec<u8>>,
    pub(crate) encoding: Vec<u8>,
    pub(crate) md5: Option<Vec<u8>>,
    pub(crate) disposition: Option<(Vec<u8>, Vec<Parameter>)>,
    pub(crate) languages: Vec<Vec<u8>>,
    pub(crate) location: Option<Vec<u8>>,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            media_type: b"text".to_vec(),
            subtype: b"plain".to_vec(),
            parameters: vec![(b"charset".to_vec(), b"us-ascii".to_vec())],
            id: None,
            description: None,
            encoding: b"7bit".to_vec(),
            md5: None,
            disposition: None,
            languages: Vec::new(),
            location: None,
        }
    }
}

impl Fields {
    pub(crate) fn parse(section: &[u8], default: Unstated) -> Self {
        let mut fields = Self::default();
        if default == Unstated::Message {
            fields.set_opaque(b"message", b"rfc822");
        }
        for field in header::fields(section).filter(|field| field.name.len() > 8) {
            let text = || Some(unfold(field.value)).filter(|text| !text.is_empty());
            if field.is("Content-Type") {
                fields.set_content_type(field.value);
            } else if field.is("Content-Transfer-Encoding") {
                let mut words = Words { rest: field.value };
                fields.encoding = words.word().unwrap_or_else(|| b"7bit".to_vec());
            } else if field.is("Content-ID") {
                fields.id = text();
            } else if field.is("Content-Description") {
                fields.description = text();
            } else if field.is("Content-MD5") {
                fields.md5 = text();
            } else if field.is("Content-Location") {
                fields.location = text();
            } else if field.is("Content-Disposition") {
                let mut words = Words { rest: field.value };
                fields.disposition = words.word().map(|kind| (kind, words.parameters()));
            } else if field.is("Content-Language") {
                let mut words = Words { rest: field.value };
                fields.languages = words.words(PARAMETERS_MAX);
            }
        }
        fields
    }

    fn set_content_type(&mut self, value: &[u8]) {
        let mut words = Words { rest: value };
        let media_type = words.word();
        let subtype = if words.eat(b'/') { words.word() } else { None };
        if let (Some(media_type), Some(subtype)) = (media_type, subtype) {
            self.media_type = media_type;
            self.subtype = subtype;
            self.parameters = words.parameters();
            if self.is("text", "plain") && self.parameters.is_empty() {
                self.parameters = Self::default().parameters;
            }
        }
    }

    pub(crate) fn set_opaque(&mut self, media_type: &[u8], subtype: &[u8]) {
        self.media_type = media_type.to_vec();
        self.subtype = subtype.to_vec();
        self.parameters.clear();
    }

    pub(crate) fn is(&self, media_type: &str, subtype: &str) -> bool {
        self.media_type.eq_ignore_ascii_case(media_type.as_bytes())
            && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
    }

    pub(crate) fn is_text(&self) -> bool {
        self.media_type.eq_ignore_ascii_case(b"text")
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&[u8]> {
        let named = |(known, _): &&Parameter| known.eq_ignore_ascii_case(name.as_bytes());
        self.parameters.iter().find(named).map(|(_, value)| value.as_slice())
    }

    /// Whether the body is written as it is, so that a message inside has a structure.
    pub(crate) fn is_identity(&self) -> bool {
        ["7bit", "8bit", "binary"].iter().any(|known| self.encoding.eq_ignore_ascii_case(known.as_bytes()))
    }
}

/// What a part is when it does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unstated {
    Text,
    /// In a multipart/digest (RFC 2046 section 5.1.5).
    Message,
}

/// A value on one line, white space at both ends removed.
pub(crate) fn unfold(value: &[u8]) -> Vec<u8> {
    let line: Vec<u8> = value.iter().copied().filter(|octet| !matches!(octet, b'\r' | b'\n')).collect();
    line.trim_ascii().to_vec()
}

/// Tokens of the fields of MIME (RFC 2045 section 5.1): white space and comments between them are skipped.
struct Words<'a> {
    rest: &'a [u8],
}

impl Words<'_> {
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_ascii_start();
            if self.rest.first() != Some(&b'(') {
                return;
            }
            let mut depth = 0_usize;
            let mut escaped = false;
            let end = self.rest.iter().position(|octet| {
                match octet {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'(' => depth += 1,
                    b')' => depth -= 1,
                    _ => {}
                }
                depth == 0
            });
            self.rest = end.and_then(|end| self.rest.get(end + 1..)).unwrap_or_default();
        }
    }

    fn eat(&mut self, octet: u8) -> bool {
        self.skip();
        match self.rest.split_first() {
            Some((first, rest)) if *first == octet => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn word(&mut self) -> Option<Vec<u8>> {
        self.skip();
        let special = |octet: &u8| octet.is_ascii_whitespace() || b"()<>@,;:\\\"/[]?=\0".contains(octet);
        let length = self.rest.iter().position(special).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(word.to_vec()).filter(|word| !word.is_empty())
    }

    /// A word or a quoted string. A word may have specials that senders forget to quote.
    fn value(&mut self) -> Option<Vec<u8>> {
        self.skip();
        if self.rest.first() != Some(&b'"') {
            let special = |octet: &u8| octet.is_ascii_whitespace() || matches!(octet, b';' | b'"' | 0);
            let length = self.rest.iter().position(special).unwrap_or(self.rest.len());
            let (value, rest) = self.rest.split_at(length);
            self.rest = rest;
            return Some(value.to_vec()).filter(|value| !value.is_empty());
        }
        let mut content = Vec::new();
        let mut octets = self.rest.iter().enumerate().skip(1);
        let mut end = self.rest.len();
        while let Some((at, octet)) = octets.next() {
            match octet {
                b'"' => {
                    end = at + 1;
                    break;
                }
                b'\\' => content.extend(octets.next().map(|(_, octet)| *octet)),
                b'\r' | b'\n' | 0 => {}
                _ => content.push(*octet),
            }
        }
        self.rest = self.rest.get(end..).unwrap_or_default();
        Some(content)
    }

    fn parameters(&mut self) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        while parameters.len() < PARAMETERS_MAX {
            self.skip();
            let Some(semicolon) = memchr(b';', self.rest) else { break };
            self.rest = self.rest.get(semicolon + 1..).unwrap_or_default();
            let Some(name) = self.word() else { continue };
            if self.eat(b'=')
                && let Some(value) = self.value()
            {
                parameters.push((name, value));
            }
        }
        parameters
    }

    fn words(&mut self, most: usize) -> Vec<Vec<u8>> {
        let mut words = Vec::new();
        while words.len() < most {
            words.extend(self.word());
            if !self.eat(b',') {
                break;
            }
        }
        words
    }
}
