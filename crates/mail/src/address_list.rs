//! Lists of addresses in header fields: `From`, `To`, `Cc` and their kin (RFC 5322 sections 3.4 and 4.4).
//!
//! A reader for what others wrote: comments, folding, quoted strings, groups, routes and the other obsolete
//! forms are understood, and what is malformed is read as far as it goes. Nothing is decoded (RFC 2047) and
//! nothing is checked: whether an address could be mailed to is for [`crate::Address`] to say.

/// Most mailboxes that are read from one field; the rest is left out.
pub const MAILBOXES_MAX: usize = 4096;

/// One element of an address list: a mailbox or a group (RFC 5322 section 3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// An address, perhaps with a name.
    Mailbox(Mailbox),
    /// A named list, perhaps empty (`undisclosed-recipients:;`).
    Group(Group),
}

/// `Name <route:local@domain>`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mailbox {
    /// The display name, or, as was once the custom, the comment after a bare address. Quotes removed.
    pub name: Option<String>,
    /// The obsolete source route, such as `@a,@b`.
    pub route: Option<String>,
    /// The local part, quotes removed.
    pub local: String,
    /// The domain; empty when there is none.
    pub domain: String,
}

/// `Name: mailbox, mailbox;`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// Its name, quotes removed.
    pub name: String,
    /// Its members.
    pub members: Vec<Mailbox>,
}

/// Reads the value of a field, without its name; folding may be in it.
#[must_use]
pub fn parse(value: &[u8]) -> Vec<Entry> {
    let mut reader = Reader { lexer: Lexer { rest: value }, left: MAILBOXES_MAX };
    reader.list()
}

/// All mailboxes of a list, those in groups as well, in order.
pub fn mailboxes(entries: &[Entry]) -> impl Iterator<Item = &Mailbox> {
    entries.iter().flat_map(|entry| match entry {
        Entry::Mailbox(mailbox) => std::slice::from_ref(mailbox),
        Entry::Group(group) => group.members.as_slice(),
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// An atom, a domain literal, or the content of a quoted string.
    Word(String),
    Comment(String),
    Special(u8),
}

/// Cuts a value into tokens; white space is dropped.
struct Lexer<'a> {
    rest: &'a [u8],
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.rest = self.rest.trim_ascii_start();
        let first = *self.rest.first()?;
        match first {
            b'"' => Some(Token::Word(self.enclosed(b'"', b'"'))),
            b'(' => Some(Token::Comment(self.enclosed(b'(', b')'))),
            b'[' => Some(Token::Word(format!("[{}]", self.enclosed(b'[', b']')))),
            _ if is_special(first) => {
                self.rest = &self.rest[1..];
                Some(Token::Special(first))
            }
            _ => {
                let end = |octet: &u8| is_special(*octet) || b"\"([ \t\r\n".contains(octet);
                let length = self.rest.iter().position(end).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(length);
                self.rest = rest;
                Some(Token::Word(String::from_utf8_lossy(word).into_owned()))
            }
        }
    }
}

impl Lexer<'_> {
    /// What is between the delimiters, backslashes and folding removed. Comments nest; an end that is
    /// missing is the end of the value.
    fn enclosed(&mut self, open: u8, close: u8) -> String {
        let mut content = Vec::new();
        let mut depth = 1_u32;
        let mut at = 1;
        while let Some(octet) = self.rest.get(at) {
            at += 1;
            match *octet {
                b'\\' => {
                    content.extend(self.rest.get(at));
                    at += 1;
                }
                b'\r' | b'\n' => {}
                octet if octet == close && depth == 1 => break,
                octet => {
                    if octet == close {
                        depth -= 1;
                    } else if octet == open {
                        depth = depth.saturating_add(1);
                    }
                    content.push(octet);
                }
            }
        }
        self.rest = self.rest.get(at..).unwrap_or_default();
        String::from_utf8_lossy(&content).into_owned()
    }
}

const fn is_special(octet: u8) -> bool {
    matches!(octet, b'<' | b'>' | b',' | b';' | b':' | b'@' | b'.')
}

/// What has been read of the mailbox that is being read.
#[derive(Default)]
struct Draft {
    /// Words before `<` or `@`, with dots as their own words.
    words: Vec<String>,
    domain: Option<String>,
    comment: Option<String>,
}

impl Draft {
    fn phrase(&self) -> Option<String> {
        let mut phrase = String::new();
        for word in &self.words {
            if !phrase.is_empty() && word != "." {
                phrase.push(' ');
            }
            phrase.push_str(word);
        }
        if self.words.is_empty() { None } else { Some(phrase) }
    }

    /// The mailbox, when there was one without angle brackets.
    fn bare(self) -> Option<Mailbox> {
        if self.words.is_empty() && self.domain.is_none() {
            return None;
        }
        let (local, domain) = (self.words.concat(), self.domain.unwrap_or_default());
        Some(Mailbox { name: self.comment, route: None, local, domain })
    }
}

struct Reader<'a> {
    lexer: Lexer<'a>,
    left: usize,
}

impl Reader<'_> {
    fn list(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut group: Option<Group> = None;
        let mut draft = Draft::default();
        while let Some(token) = self.lexer.next() {
            match token {
                Token::Special(b':') if group.is_none() => {
                    let name = std::mem::take(&mut draft).phrase().unwrap_or_default();
                    group = Some(Group { name, members: Vec::new() });
                }
                Token::Special(b',' | b';') => {
                    let mailbox = std::mem::take(&mut draft).bare();
                    self.add(mailbox, &mut group, &mut entries);
                    if token == Token::Special(b';') {
                        entries.extend(group.take().map(Entry::Group));
                    }
                }
                Token::Special(b'<') => {
                    let mut mailbox = self.angle_address();
                    mailbox.name = std::mem::take(&mut draft).phrase();
                    self.add(Some(mailbox), &mut group, &mut entries);
                }
                other => self.extend(&mut draft, other),
            }
        }
        let mailbox = draft.bare();
        self.add(mailbox, &mut group, &mut entries);
        entries.extend(group.map(Entry::Group));
        entries
    }

    fn add(&mut self, mailbox: Option<Mailbox>, group: &mut Option<Group>, entries: &mut Vec<Entry>) {
        let Some(mailbox) = mailbox.filter(|_| self.left > 0) else { return };
        self.left -= 1;
        match group {
            Some(group) => group.members.push(mailbox),
            None => entries.push(Entry::Mailbox(mailbox)),
        }
    }

    fn extend(&mut self, draft: &mut Draft, token: Token) {
        match (token, &mut draft.domain) {
            (Token::Word(word), Some(domain)) => domain.push_str(&word),
            (Token::Special(b'.'), Some(domain)) => domain.push('.'),
            (Token::Special(b'@'), domain) => *domain = Some(String::new()),
            (Token::Word(word), None) => draft.words.push(word),
            (Token::Special(b'.'), None) => draft.words.push(".".into()),
            (Token::Comment(comment), _) => draft.comment = Some(comment),
            (Token::Special(_), _) => {}
        }
    }

    /// Reads what follows `<`, up to `>`: an address with its route, if it has one (RFC 5322 sections 3.4 and 4.4).
    fn angle_address(&mut self) -> Mailbox {
        let mut mailbox = Mailbox::default();
        let mut before = String::new();
        let mut at_domain = false;
        for token in self.lexer.by_ref() {
            match token {
                Token::Special(b'>') => break,
                Token::Special(b':') => {
                    let domain = std::mem::take(&mut mailbox.domain);
                    let route =
                        if at_domain { format!("{before}@{domain}") } else { std::mem::take(&mut before) };
                    mailbox.route = Some(route);
                    before.clear();
                    at_domain = false;
                }
                Token::Special(b'@') if at_domain => {
                    // Another domain: what came before belongs to a route.
                    before = format!("{before}@{}", std::mem::take(&mut mailbox.domain));
                }
                Token::Special(b'@') => at_domain = true,
                Token::Word(word) if at_domain => mailbox.domain.push_str(&word),
                Token::Word(word) => before.push_str(&word),
                Token::Special(octet) if at_domain => mailbox.domain.push(char::from(octet)),
                Token::Special(octet) => before.push(char::from(octet)),
                Token::Comment(_) => {}
            }
        }
        mailbox.local = before;
        mailbox
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(name: &str, local: &str, domain: &str) -> Mailbox {
        let name = (!name.is_empty()).then(|| name.to_owned());
        Mailbox { name, route: None, local: local.into(), domain: domain.into() }
    }

    fn one(value: &str) -> Mailbox {
        match &parse(value.as_bytes())[..] {
            [Entry::Mailbox(mailbox)] => mailbox.clone(),
            other => panic!("{value}: {other:?}"),
        }
    }

    #[test]
    fn the_usual_forms_are_read() {
        assert_eq!(one("bob@example.org"), mailbox("", "bob", "example.org"));
        assert_eq!(one("Bob Smith <bob.s@example.org>"), mailbox("Bob Smith", "bob.s", "example.org"));
        assert_eq!(one("\"Smith, Bob\" <bob@x.org>"), mailbox("Smith, Bob", "bob", "x.org"));
        assert_eq!(one("bob@x.org (Bob \\(S\\) (x))"), mailbox("Bob (S) (x)", "bob", "x.org"));
        assert_eq!(one("=?utf-8?q?B=C3=B6b?= <bob@x.org>"), mailbox("=?utf-8?q?B=C3=B6b?=", "bob", "x.org"));
        assert_eq!(one("\"b \\\" ob\"@x.org"), mailbox("", "b \" ob", "x.org"));
        assert_eq!(one("bob@[192.0.2.1]"), mailbox("", "bob", "[192.0.2.1]"));
        assert_eq!(one("Dr. A. Who\r\n\t<who@x.org>"), mailbox("Dr. A. Who", "who", "x.org"));
    }

    #[test]
    fn groups_have_members_and_may_be_empty() {
        let list = parse(b"undisclosed-recipients:;, Team A: a@x, B <b@y>; , c@z");
        let group = |name: &str, members| Entry::Group(Group { name: name.into(), members });
        let members = vec![mailbox("", "a", "x"), mailbox("B", "b", "y")];
        let last = Entry::Mailbox(mailbox("", "c", "z"));
        assert_eq!(list, [group("undisclosed-recipients", vec![]), group("Team A", members), last]);
        assert_eq!(mailboxes(&list).count(), 3);
    }

    #[test]
    fn obsolete_routes_and_spaces_are_understood() {
        let read = one("Pete(his name) <@a.b,@c:pete . p (c) @ x . org>");
        assert_eq!(read.route.as_deref(), Some("@a.b,@c"));
        assert_eq!((read.local.as_str(), read.domain.as_str()), ("pete.p", "x.org"));
        assert_eq!(parse(b" , ,bob@x,,").len(), 1);
    }

    #[test]
    fn malformed_lists_are_read_as_far_as_they_go() {
        assert_eq!(one("bob"), mailbox("", "bob", ""));
        assert_eq!(one("<bob@x"), mailbox("", "bob", "x"));
        assert_eq!(one("\"never closed <bob@x>").domain, "");
        assert_eq!(one("<>"), mailbox("", "", ""));
        assert!(parse(b"").is_empty());
        assert!(parse(b"(only a comment").is_empty());
        let deep = "(".repeat(100_000);
        assert!(parse(deep.as_bytes()).is_empty());
    }

    /// Security lesson: Stalwart CVE-2026-26312, Dovecot CVE-2024-23184, CVE-2026-27859.
    #[test]
    fn no_more_mailboxes_than_the_limit_are_read() {
        let list = |count: usize| vec!["a@b"; count].join(",");
        assert_eq!(parse(list(MAILBOXES_MAX).as_bytes()).len(), MAILBOXES_MAX);
        assert_eq!(parse(list(MAILBOXES_MAX + 1).as_bytes()).len(), MAILBOXES_MAX);
    }
}
