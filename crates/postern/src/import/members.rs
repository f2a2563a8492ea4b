//! What an alias stands for: the right side of aliases(5) and virtual(5).

/// One of those that an alias stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Member {
    /// An address, or a name without a domain.
    Address(String),
    /// A program, a file, a list in a file: whatever is no address. As it is written.
    Other(String),
}

/// The members, in order. Commas and blanks part them; a string in quotes is one, whatever stands in it.
pub(super) fn members(text: &str) -> Vec<Member> {
    words(text).into_iter().map(Word::member).collect()
}

#[derive(Default)]
struct Word {
    /// The word with its quotes.
    written: String,
    /// The word without its quotes.
    bare: String,
}

impl Word {
    fn push(&mut self, c: char) {
        self.written.push(c);
        self.bare.push(c);
    }

    fn member(self) -> Member {
        let is_other =
            self.bare.starts_with(['|', '/']) || self.bare.to_ascii_lowercase().starts_with(":include:");
        if is_other {
            return Member::Other(self.bare);
        }
        // `\bob` is bob himself, whatever aliases there are; `<bob@example.org>` is his address.
        let name = |text: &str| {
            let text = text.strip_prefix('\\').unwrap_or(text);
            text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text).to_owned()
        };
        // `"bob"` is bob; a local part with quotes in an address has them on.
        Member::Address(if self.written.contains('@') { name(&self.written) } else { name(&self.bare) })
    }
}

fn words(text: &str) -> Vec<Word> {
    let (mut found, mut word) = (Vec::new(), Word::default());
    let (mut quoted, mut comment) = (false, 0_usize);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted || comment > 0 => {
                let next = chars.next();
                if comment == 0 {
                    word.written.push('\\');
                    next.into_iter().for_each(|next| word.push(next));
                }
            }
            '"' if comment == 0 => {
                quoted = !quoted;
                word.written.push('"');
            }
            '(' if !quoted => comment += 1,
            ')' if !quoted && comment > 0 => comment -= 1,
            _ if comment > 0 => {}
            ',' | ' ' | '\t' if !quoted => found.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    found.push(word);
    found.retain(|word| !word.bare.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symptom: the words of a command became addresses, and accounts.sh ended at the first of them. Cause: the right
    /// side was parted at blanks, within quotes too.
    #[test]
    fn a_command_in_quotes_is_one_member_and_no_address() {
        let address = |text: &str| Member::Address(text.to_owned());
        let other = |text: &str| Member::Other(text.to_owned());
        for (text, expected) in [
            (
                "\"|/usr/bin/rt --queue general --action x\"",
                vec![other("|/usr/bin/rt --queue general --action x")],
            ),
            (
                "alice, \"|/usr/bin/vacation -a away alice\"",
                vec![address("alice"), other("|/usr/bin/vacation -a away alice")],
            ),
            ("|\"/usr/bin/x y\", bob", vec![other("|/usr/bin/x y"), address("bob")]),
            ("alice,\tbob carol", vec![address("alice"), address("bob"), address("carol")]),
            (
                "\\bob, \"carol\", <dave@example.org> (a comment, here)",
                vec![address("bob"), address("carol"), address("dave@example.org")],
            ),
            (
                "\"a b\"@example.org, \"c\\\"d\"@example.org",
                vec![address("\"a b\"@example.org"), address("\"c\\\"d\"@example.org")],
            ),
            (
                ":include:/etc/list, /var/mail/x, :Include:/y",
                vec![other(":include:/etc/list"), other("/var/mail/x"), other(":Include:/y")],
            ),
            (" , ", vec![]),
            ("\"unfinished, x", vec![address("unfinished, x")]),
            ("(((", vec![]),
        ] {
            assert_eq!(members(text), expected, "{text}");
        }
    }
}
