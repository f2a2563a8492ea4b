//! What stands above a message in a mailbox: from whom and for whom it came, and fields that are written already.
//!
//! From and for whom are values until they are stored: whoever hands a message to another program takes them from here, and
//! whoever keeps it writes them, with [`Head::written`], in the one form that [`Head::written_octets`] knows again.

use std::fmt;

use mail::{Address, ReversePath, header};

/// The names of the fields, in the order in which they are written.
const FIELDS: [&str; 2] = ["Return-Path", "Delivered-To"];

/// Everything above the message as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// The reverse-path, for `Return-Path` (RFC 5321 section 4.4). None for what came in no envelope.
    pub return_path: Option<ReversePath>,
    /// The recipient, for `Delivered-To` (RFC 9228). None for what is for nobody but the account.
    pub delivered_to: Option<Address>,
    /// Whole lines of a header, beneath those two: trace and results.
    pub above: Vec<u8>,
}

impl Head {
    /// Of a message that came in an envelope.
    #[must_use]
    pub const fn new(return_path: ReversePath, delivered_to: Address, above: Vec<u8>) -> Self {
        Self { return_path: Some(return_path), delivered_to: Some(delivered_to), above }
    }

    /// As it is stored, above the message.
    #[must_use]
    pub fn written(&self) -> Vec<u8> {
        let mut fields = String::with_capacity(self.above.len() + 128);
        // A string takes whatever is written.
        let _ = self.write_fields(&mut fields);
        let mut written = fields.into_bytes();
        written.extend_from_slice(&self.above);
        written
    }

    /// How many octets that will be.
    #[must_use]
    pub fn octets(&self) -> usize {
        let mut count = Count(0);
        let _ = self.write_fields(&mut count);
        count.0 + self.above.len()
    }

    fn write_fields(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let [from, to] = FIELDS;
        if let Some(path) = &self.return_path {
            write!(out, "{from}: <{path}>\r\n")?;
        }
        if let Some(recipient) = &self.delivered_to {
            write!(out, "{to}: {recipient}\r\n")?;
        }
        Ok(())
    }

    /// How many octets at the beginning of a stored message, of which this is the beginning, are the two fields. For who takes
    /// a message out of a mailbox to deliver it anew.
    #[must_use]
    pub fn written_octets(stored: &[u8]) -> u64 {
        let own = header::fields(stored).zip(FIELDS).take_while(|(field, name)| field.is(name));
        own.map(|(field, _)| (field.offset + field.raw.len()) as u64).last().unwrap_or(0)
    }
}

impl From<Vec<u8>> for Head {
    fn from(above: Vec<u8>) -> Self {
        Self { above, ..Self::default() }
    }
}

struct Count(usize);

impl fmt::Write for Count {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(path: &str) -> Head {
        let to = Address::parse("bob+lists@example.org").unwrap();
        Head::new(ReversePath::try_from(path.to_owned()).unwrap(), to, b"Received: x\r\n".to_vec())
    }

    #[test]
    fn the_two_fields_stand_first_and_what_is_none_is_not_written() {
        let text = |head: &Head| String::from_utf8(head.written()).unwrap();
        let both = "Delivered-To: bob+lists@example.org\r\nReceived: x\r\n";
        assert_eq!(text(&head("ann@a.example")), format!("Return-Path: <ann@a.example>\r\n{both}"));
        assert_eq!(text(&head("")), format!("Return-Path: <>\r\n{both}"));
        let notice = Head { return_path: Some(ReversePath::Null), ..Head::default() };
        assert_eq!(text(&notice), "Return-Path: <>\r\n");
        assert_eq!(text(&b"X: y\r\n".to_vec().into()), "X: y\r\n");
        assert_eq!(text(&Head::default()), "");
    }

    #[test]
    fn its_octets_are_counted_and_the_two_fields_found_again() {
        for head in [head("ann@a.example"), head(""), head("\u{e4}@a.example"), Head::default()] {
            let written = head.written();
            assert_eq!(head.octets(), written.len());
            let stored = [&written[..], b"Return-Path: <other@b.example>\r\n\r\nx"].concat();
            let fields = (written.len() - head.above.len()) as u64;
            // What a message says of itself is taken for ours only where nothing of ours is above it.
            if fields > 0 {
                assert_eq!(Head::written_octets(&stored), fields);
            }
        }
        assert_eq!(Head::written_octets(b"Delivered-To: x@y.example\r\n\r\n"), 0, "not in that order");
        assert_eq!(Head::written_octets(b"Received: x\r\n\r\n"), 0);
    }
}
