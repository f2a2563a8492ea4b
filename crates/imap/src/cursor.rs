//! Reading the elements of a command that is complete, its literals inside (RFC 9051 section 9).

/// Why a command can't be read. The client is to blame; the text goes back to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

pub(crate) type Parsed<T> = Result<T, Malformed>;

/// A place in a command.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(command: &'a [u8]) -> Self {
        Self { rest: command }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes `octet` if it is next.
    pub(crate) fn eat(&mut self, octet: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == octet => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn expect(&mut self, octet: u8, otherwise: &'static str) -> Parsed<()> {
        if self.eat(octet) { Ok(()) } else { Err(Malformed(otherwise)) }
    }

    pub(crate) fn space(&mut self) -> Parsed<()> {
        self.expect(b' ', "a space is missing")
    }

    pub(crate) fn end(&self) -> Parsed<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("there is something after the command")) }
    }

    /// Takes the octets that `wanted` accepts, at least one.
    pub(crate) fn take_while(
        &mut self,
        wanted: impl Fn(u8) -> bool,
        otherwise: &'static str,
    ) -> Parsed<&'a [u8]> {
        let length = self.rest.iter().position(|octet| !wanted(*octet)).unwrap_or(self.rest.len());
        if length == 0 {
            return Err(Malformed(otherwise));
        }
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn atom(&mut self) -> Parsed<&'a [u8]> {
        self.take_while(is_atom, "an atom is missing")
    }

    /// A keyword of the grammar, in capitals.
    pub(crate) fn word(&mut self) -> Parsed<String> {
        let word = self.take_while(|octet| is_atom(octet) && octet != b'[', "a word is missing")?;
        Ok(String::from_utf8_lossy(word).to_ascii_uppercase())
    }

    /// Takes `word`, in any case, if it is next and ends there.
    pub(crate) fn eat_word(&mut self, word: &str) -> bool {
        let Some((first, rest)) = self.rest.split_at_checked(word.len()) else { return false };
        let ends = rest.first().is_none_or(|octet| !is_atom(*octet));
        if ends && first.eq_ignore_ascii_case(word.as_bytes()) {
            self.rest = rest;
            return true;
        }
        false
    }

    /// Reads a number of 32 bits.
    pub(crate) fn number(&mut self) -> Parsed<u32> {
        u32::try_from(self.number64()?).map_err(|_| Malformed("a number is too large"))
    }

    /// Reads a number of 63 bits.
    pub(crate) fn number64(&mut self) -> Parsed<u64> {
        let digits = self.take_while(|octet| octet.is_ascii_digit(), "a number is missing")?;
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i64>().ok());
        number.and_then(|number| u64::try_from(number).ok()).ok_or(Malformed("a number is too large"))
    }

    /// An atom that may have `]`, a quoted string, or a literal.
    pub(crate) fn astring(&mut self) -> Parsed<Vec<u8>> {
        match self.peek() {
            Some(b'"' | b'{' | b'~') => self.string(),
            _ => Ok(self.take_while(is_astring, "a string is missing")?.to_vec()),
        }
    }

    /// As [`Cursor::astring`], with the wildcards of LIST.
    pub(crate) fn list_mailbox(&mut self) -> Parsed<Vec<u8>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => {
                let wanted = |octet| is_astring(octet) || octet == b'%' || octet == b'*';
                Ok(self.take_while(wanted, "a pattern is missing")?.to_vec())
            }
        }
    }

    /// Reads a quoted string or a literal.
    pub(crate) fn string(&mut self) -> Parsed<Vec<u8>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{' | b'~') => Ok(self.literal()?.to_vec()),
            _ => Err(Malformed("a string is missing")),
        }
    }

    /// A string, or none for `NIL`.
    pub(crate) fn nstring(&mut self) -> Parsed<Option<Vec<u8>>> {
        if self.eat_word("NIL") { Ok(None) } else { self.string().map(Some) }
    }

    fn quoted(&mut self) -> Parsed<Vec<u8>> {
        let mut content = Vec::new();
        let mut octets = self.rest.iter().enumerate().skip(1);
        while let Some((at, octet)) = octets.next() {
            match octet {
                b'"' => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok(content);
                }
                b'\\' => content.extend(octets.next().map(|(_, octet)| *octet)),
                b'\r' | b'\n' => break,
                _ => content.push(*octet),
            }
        }
        Err(Malformed("a quoted string has no end"))
    }

    /// A literal whose octets are in the command.
    fn literal(&mut self) -> Parsed<&'a [u8]> {
        self.eat(b'~');
        self.expect(b'{', "a literal is missing")?;
        let length = usize::try_from(self.number64()?).map_err(|_| Malformed("a literal is too large"))?;
        self.eat(b'+');
        let after = self.rest.strip_prefix(b"}\r\n").or_else(|| self.rest.strip_prefix(b"}\n"));
        let after = after.ok_or(Malformed("a literal is malformed"))?;
        let (content, rest) = after.split_at_checked(length).ok_or(Malformed("a literal is too short"))?;
        self.rest = rest;
        Ok(content)
    }

    /// Elements in parentheses, separated by single spaces; at most `most`, and none for `()`.
    pub(crate) fn list<T>(
        &mut self,
        most: usize,
        mut element: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        self.expect(b'(', "an opening parenthesis is missing")?;
        let mut elements = Vec::new();
        if self.eat(b')') {
            return Ok(elements);
        }
        loop {
            if elements.len() >= most {
                return Err(Malformed("a list is too long"));
            }
            elements.push(element(self)?);
            if self.eat(b')') {
                return Ok(elements);
            }
            self.space()?;
        }
    }
}

/// ATOM-CHAR.
pub(crate) const fn is_atom(octet: u8) -> bool {
    !matches!(octet, b'(' | b')' | b'{' | b' ' | b'%' | b'*' | b'"' | b'\\' | b']')
        && octet > 0x1f
        && octet < 0x7f
}

/// ASTRING-CHAR. Octets of UTF-8 are let through, since clients send names so.
const fn is_astring(octet: u8) -> bool {
    is_atom(octet) || octet == b']' || octet >= 0x80
}
