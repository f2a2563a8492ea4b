//! Who a message says it is from: the fields From, Sender, Resent-From and Resent-Sender.
//!
//! What is checked is what leaves. A field that any reader reads the same way keeps its octets; one with comments,
//! source routes, groups or other forms that readers disagree about is written anew from the addresses that were
//! checked; one that can't be read is refused. Reply-To names nobody as the sender and may hold any address: it is not
//! looked at here.

use mail::header::{Field, fields};
use mail::{Address, Domain, Reply, address_list};

/// Longest display name that is kept in a field that is written anew, in octets: a line holds 998 (RFC 5322 section 2.1.1).
const NAME_OCTETS_MAX: usize = 400;

/// The fields of identity, checked.
#[derive(Debug)]
pub(super) struct Identity {
    /// The first author, an address of the user's.
    pub(super) author: Address,
    /// Fields that leave in another form, by where they stood.
    plain: Vec<(usize, Vec<u8>)>,
}

impl Identity {
    /// Checks that every address in the fields of identity is the user's (RFC 5322 sections 3.6.2 and 3.6.6).
    ///
    /// # Errors
    /// The reply that refuses the message: an address the user may not send as, no or two `From`, two `Sender`, or a
    /// field that can't be read.
    pub(super) fn check(header: &[u8], may_send_as: &impl Fn(&Address) -> bool) -> Result<Self, Reply> {
        for name in ["From", "Sender"] {
            if mail::header::count(header, name) > 1 {
                return Err(malformed(&format!("the message has more than one {name} field")));
            }
        }
        let (mut author, mut plain) = (None, Vec::new());
        for field in fields(header) {
            let Some(kind) = Kind::of(&field) else { continue };
            let mailboxes = own_mailboxes(&field, may_send_as)?;
            let Some((_, first)) = mailboxes.first() else {
                return Err(malformed(&format!("the {} field has no address", name_of(&field))));
            };
            if kind == Kind::Sender && mailboxes.len() > 1 {
                return Err(malformed(&format!("the {} field has more than one address", name_of(&field))));
            }
            if field.is("From") {
                author = Some(first.clone());
            }
            if !is_plain(field.value) {
                plain.push((field.offset, written(&field, &mailboxes)));
            }
        }
        let author = author.ok_or_else(|| malformed("the message has no From field"))?;
        Ok(Self { author, plain })
    }

    /// What leaves in place of this field; `None` when it is plain enough as it is.
    pub(super) fn in_place_of(&self, field: &Field<'_>) -> Option<&[u8]> {
        let found = self.plain.iter().find(|(offset, _)| *offset == field.offset);
        found.map(|(_, line)| line.as_slice())
    }
}

/// What a field of identity may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A list of one address or more, as in `From`.
    Authors,
    /// Exactly one address, as in `Sender`.
    Sender,
}

impl Kind {
    fn of(field: &Field<'_>) -> Option<Self> {
        if field.is("From") || field.is("Resent-From") {
            Some(Self::Authors)
        } else if field.is("Sender") || field.is("Resent-Sender") {
            Some(Self::Sender)
        } else {
            None
        }
    }
}

fn name_of(field: &Field<'_>) -> String {
    String::from_utf8_lossy(field.name).into_owned()
}

/// Every address of the field with its display name; the user may send as all of them.
fn own_mailboxes(
    field: &Field<'_>,
    may_send_as: &impl Fn(&Address) -> bool,
) -> Result<Vec<(Option<String>, Address)>, Reply> {
    let entries = address_list::parse(field.value);
    let mut mailboxes = Vec::new();
    for mailbox in address_list::mailboxes(&entries) {
        let address = address_of(mailbox).ok_or_else(|| {
            malformed(&format!("the {} field has something that is no address", name_of(field)))
        })?;
        if !may_send_as(&address) {
            return Err(super::not_yours(&address));
        }
        mailboxes.push((mailbox.name.clone(), address));
    }
    if mailboxes.len() >= address_list::MAILBOXES_MAX {
        return Err(malformed("too many addresses in one field"));
    }
    Ok(mailboxes)
}

fn malformed(what: &str) -> Reply {
    Reply::new(550, (5, 6, 0), format!("{what} (RFC 5322)"))
}

/// A mailbox as an address; the quotes its local part needs are put back.
fn address_of(mailbox: &address_list::Mailbox) -> Option<Address> {
    let domain = Domain::parse(&mailbox.domain).ok()?;
    let quoted = || {
        let escaped = mailbox.local.replace('\\', "\\\\").replace('"', "\\\"");
        Address::at(&format!("\"{escaped}\""), &domain)
    };
    let starts_quoted = mailbox.local.starts_with('"');
    match Address::at(&mailbox.local, &domain) {
        Ok(address) if !starts_quoted => Some(address),
        _ => quoted().ok(),
    }
}

/// The field with nothing in it but names and addresses, a line each.
fn written(field: &Field<'_>, mailboxes: &[(Option<String>, Address)]) -> Vec<u8> {
    let one = |(name, address): &(Option<String>, Address)| match name.as_deref().and_then(plain_name) {
        Some(name) => format!("{name} <{address}>"),
        None => address.to_string(),
    };
    let all: Vec<String> = mailboxes.iter().map(one).collect();
    let mut line = field.name.to_vec();
    line.extend_from_slice(format!(": {}\r\n", all.join(",\r\n\t")).as_bytes());
    line
}

/// A display name in quotes where it needs them. A name that looks like an address is left out: the forms that come here
/// are those by which one address is shown in place of another.
fn plain_name(name: &str) -> Option<String> {
    if name.contains(['<', '>', '@']) || name.len() > NAME_OCTETS_MAX {
        return None;
    }
    let clean = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let quoted = |word: &str| {
        if word.bytes().all(is_atext) {
            word.to_owned()
        } else {
            format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
        }
    };
    let words: Vec<String> = clean.split_whitespace().map(quoted).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// An octet of an atom; what is not ASCII is part of one (RFC 6532 section 3.2).
fn is_atext(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&octet) || octet >= 0x80
}

/// Whether the value is a list of `local@domain` and `Name <local@domain>` and nothing else: no comment, route, group
/// or quoted local part, no space inside an address, a domain in ASCII. All readers agree on what that means.
fn is_plain(value: &[u8]) -> bool {
    let mut rest = Plain(value);
    loop {
        rest.spaces();
        if !rest.mailbox() {
            return false;
        }
        rest.spaces();
        if rest.0.is_empty() {
            return true;
        }
        if !rest.octet(b',') {
            return false;
        }
    }
}

/// The rest of a value that is being parsed.
struct Plain<'a>(&'a [u8]);

impl Plain<'_> {
    fn take(&mut self, matches: impl Fn(u8) -> bool) -> usize {
        let length = self.0.iter().position(|octet| !matches(*octet)).unwrap_or(self.0.len());
        self.0 = self.0.get(length..).unwrap_or_default();
        length
    }

    fn spaces(&mut self) -> usize {
        self.take(|octet| b" \t\r\n".contains(&octet))
    }

    fn octet(&mut self, octet: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == octet => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn mailbox(&mut self) -> bool {
        let start = self.0;
        if self.address() {
            return true;
        }
        self.0 = start;
        while self.take(|octet| is_atext(octet) || octet == b'.') > 0 || self.quoted() {
            self.spaces();
        }
        self.octet(b'<') && self.address() && self.octet(b'>')
    }

    fn address(&mut self) -> bool {
        self.dotted(is_atext)
            && self.octet(b'@')
            && self.dotted(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_')
    }

    fn dotted(&mut self, matches: impl Fn(u8) -> bool + Copy) -> bool {
        while self.take(matches) > 0 {
            if !self.octet(b'.') {
                return true;
            }
        }
        false
    }

    /// A quoted string as a word of a name.
    fn quoted(&mut self) -> bool {
        if !self.octet(b'"') {
            return false;
        }
        loop {
            self.take(|octet| octet != b'"' && octet != b'\\' && is_text(octet));
            if self.octet(b'"') {
                return true;
            }
            let escaped = self.octet(b'\\') && self.0.first().is_some_and(|octet| b"\"\\ ".contains(octet));
            if !escaped {
                return false;
            }
            self.0 = self.0.get(1..).unwrap_or_default();
        }
    }
}

/// What may stand in a quoted string, its folding included.
fn is_text(octet: u8) -> bool {
    octet >= b' ' && octet != 0x7f || b"\t\r\n".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: [&str; 4] = ["you@example.org", "a@example.org", "b@example.org", "\"a b\"@example.org"];

    /// The fields as they leave; the code of the refusal.
    fn left(header: &str) -> Result<String, u8> {
        let mine = |address: &Address| MINE.contains(&address.canonical().as_str());
        let identity = Identity::check(header.as_bytes(), &mine)
            .map_err(|reply| reply.enhanced.map_or(0, |code| u8::try_from(code.1).unwrap()))?;
        let mut out = Vec::new();
        for field in fields(header.as_bytes()) {
            out.extend_from_slice(identity.in_place_of(&field).unwrap_or(field.raw));
        }
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// Symptom: `From: you(<ceo@far.example>)@example.org` and `<@far.example:you@example.org>` were taken, as they are
    /// you@example.org by the grammar, and left as they were. Cause: the check read the field and the field left unread.
    /// Analysis: other readers see another address in such forms; what was checked and what is shown have to be one.
    #[test]
    fn what_was_checked_is_what_leaves() {
        for (value, plain) in [
            ("you(<ceo@far.example>)@example.org", "you@example.org"),
            ("<@far.example:you@example.org>", "you@example.org"),
            ("The Boss <@far.example,@b.example:you@example.org>", "The Boss <you@example.org>"),
            ("you@example.org (Your Name)", "Your Name <you@example.org>"),
            ("(ceo@far.example) you@example.org", "you@example.org"),
            ("you@example.org (<ceo@far.example>)", "you@example.org"),
            ("\"you\"@example.org", "you@example.org"),
            ("\"y\\ou\"@example.org", "you@example.org"),
            ("<\"a b\"@example.org>", "\"a b\"@example.org"),
            ("us: a@example.org, B <b@example.org>;", "a@example.org,\r\n\tB <b@example.org>"),
            ("a@example.org; b@example.org", "a@example.org,\r\n\tb@example.org"),
            ("you@ example . org", "you@example.org"),
            ("you\r\n @example.org", "you@example.org"),
            ("<you@example.org", "you@example.org"),
            ("ceo@far.example <you@example.org>", "ceo <you@example.org>"),
            ("\"Smith, Y\" (x) <you@example.org>", "\"Smith,\" Y <you@example.org>"),
            ("=?utf-8?q?Y=C3=B6u?= (x) <you@example.org>", "=?utf-8?q?Y=C3=B6u?= <you@example.org>"),
            ("\"a\\\u{1}b:\" <you@example.org>", "a \"b:\" <you@example.org>"),
            ("you@\u{ff45}xample.org", "you@example.org"),
            (",you@example.org", "you@example.org"),
        ] {
            for name in ["From", "Resent-From"] {
                let from = if name == "From" { "" } else { "From: a@example.org\r\n" };
                let got = left(&format!("{from}{name}: {value}\r\n"));
                assert_eq!(got, Ok(format!("{from}{name}: {plain}\r\n")), "{value}");
            }
        }
        let got = left("From: a@example.org\r\nSENDER : (x)\r\n b@example.org\r\n");
        assert_eq!(got.as_deref(), Ok("From: a@example.org\r\nSENDER: x <b@example.org>\r\n"));
    }

    #[test]
    fn a_field_in_a_plain_form_keeps_its_octets() {
        for value in [
            " you@example.org",
            "YOU@Example.ORG",
            " Y. Our <you@example.org>",
            "\"Our, \\\"Y\\\"\"\r\n\t<you@example.org>",
            " <you@example.org> ",
            " =?utf-8?q?Y=C3=B6u?=\r\n =?utf-8?q?r?= <you@example.org>, A <a@example.org>,\r\n b@example.org",
            " Y\u{f6}u <you@example.org>",
            " \"ceo@far.example\" <you@example.org>",
        ] {
            let header = format!("From:{value}\r\n");
            assert_eq!(left(&header), Ok(header.clone()));
        }
    }

    #[test]
    fn what_is_not_the_users_or_cant_be_read_is_refused() {
        for (header, code) in [
            ("From: <@example.org:ceo@far.example>\r\n", 7),
            ("From: ceo(<you@example.org>)@far.example\r\n", 7),
            ("From: you@example.org@far.example\r\n", 7),
            ("From: you@example.org\r\nResent-From: ceo@far.example\r\n", 7),
            ("From: you@example.org\r\nResent-Sender: ceo@far.example\r\n", 7),
            ("From: =?utf-8?q?you?=@example.org\r\n", 7),
            ("From: =?utf-8?q?you=40example.org?=\r\n", 6),
            ("From: \"never closed <you@example.org>\r\n", 6),
            ("From: \u{1}you@example.org\r\n", 6),
            ("From: you@example.org\r\nSender: a@example.org, b@example.org\r\n", 6),
            ("From: you@example.org\r\nSender:\r\n", 6),
            ("From: you@example.org\r\nResent-From: nobody:;\r\n", 6),
        ] {
            assert_eq!(left(header), Err(code), "{header}");
        }
    }

    /// A hundred thousand fields made of the pieces that address lists are made of, in any order.
    #[test]
    fn whatever_leaves_is_plain_and_names_what_was_checked() {
        const PIECES: [&str; 22] = [
            "you@example.org",
            "a@example.org",
            "ceo@far.example",
            "<",
            ">",
            "@",
            ",",
            ";",
            ":",
            "(",
            ")",
            "\"",
            "\\",
            " ",
            "\r\n\t",
            ".",
            "you",
            "example.org",
            "far.example",
            "=?utf-8?q?x?=",
            "\u{f6}",
            "[192.0.2.1]",
        ];
        let mine = |address: &Address| MINE.contains(&address.canonical().as_str());
        let (mut state, mut taken) = (1_u64, 0);
        for _ in 0..100_000 {
            let mut value = String::new();
            for _ in 0..(state >> 40) % 7 + 1 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                value.push_str(PIECES[(state >> 33) as usize % PIECES.len()]);
            }
            let header = format!("From: {value}\r\n");
            let Ok(identity) = Identity::check(header.as_bytes(), &mine) else { continue };
            taken += 1;
            let field = fields(header.as_bytes()).next().unwrap();
            let line = identity.in_place_of(&field).unwrap_or(field.raw);
            let left = fields(line).next().unwrap();
            assert!(is_plain(left.value), "{value:?} left as {:?}", left.unfolded());
            let shown = left.unfolded();
            for address in shown.split([',', ' ', '<', '>', '\t']).filter(|word| word.contains('@')) {
                let is_name = shown.contains('"');
                assert!(is_name || mine(&Address::parse(address).unwrap()), "{value:?} left as {shown:?}");
            }
        }
        assert!(taken > 1000, "{taken} were taken");
    }

    #[test]
    fn a_long_name_is_kept_at_its_limit_and_left_out_past_it() {
        let name = "n".repeat(NAME_OCTETS_MAX);
        assert_eq!(
            left(&format!("From: {name} (x) <you@example.org>\r\n")),
            Ok(format!("From: {name} <you@example.org>\r\n"))
        );
        assert_eq!(
            left(&format!("From: n{name} (x) <you@example.org>\r\n")).as_deref(),
            Ok("From: you@example.org\r\n")
        );
    }
}
