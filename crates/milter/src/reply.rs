//! Packets from the filter. All of them are hostile until they are read here.

use bytes::{Buf as _, BytesMut};

use crate::error::Error;
use crate::flags::{Actions, Steps};

/// Most octets of one packet, its kind included. Nothing that is offered to a filter needs more.
pub const PACKET_OCTETS_MAX: u32 = 65_536;
/// Most octets of a reply's text that are kept; the rest is cut.
pub const TEXT_OCTETS_MAX: usize = 1024;
/// Octets of the name of a header field.
const NAME_OCTETS_MAX: usize = 256;

/// One packet from the filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Its part of the negotiation.
    Options {
        /// The version of the milter protocol that it speaks.
        version: u32,
        /// The changes that it may make.
        actions: Actions,
        /// The steps that it does not want to see, or does not answer.
        steps: Steps,
    },
    /// Go on with the next step.
    Continue,
    /// It has seen enough: the message is good.
    Accept,
    /// Refuse the message for good.
    Reject,
    /// Refuse the message for now.
    TempFail,
    /// Take it and throw it away.
    Discard,
    /// No more of the body is needed.
    Skip,
    /// It is still at work and has no answer yet.
    Progress,
    /// Answer the client with this: a 4xx or 5xx reply.
    ReplyCode(mail::Reply),
    /// Close the connection with 421.
    ConnectionFail,
    /// A change of the header.
    Change(HeaderChange),
    /// Have it quarantined, for this reason.
    Quarantine(String),
    /// A change that was not offered, by its kind.
    NotOffered(u8),
}

/// A change that a filter makes in the header. Names are plain; values may be folded and are not yet safe to
/// write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderChange {
    /// A field more, at the end.
    Add {
        /// The field's name.
        name: String,
        /// The field's value.
        value: Vec<u8>,
    },
    /// A field more, at this place.
    Insert {
        /// The place among the fields: 0 is before all others.
        index: u32,
        /// The field's name.
        name: String,
        /// The field's value.
        value: Vec<u8>,
    },
    /// Another value for a field; none to delete it.
    Change {
        /// Which of those with this name, from 1 on.
        index: u32,
        /// The field's name.
        name: String,
        /// The field's value.
        value: Vec<u8>,
    },
}

impl HeaderChange {
    /// Octets of name and value together.
    #[must_use]
    pub fn octets(&self) -> usize {
        match self {
            Self::Add { name, value }
            | Self::Insert { name, value, .. }
            | Self::Change { name, value, .. } => name.len() + value.len(),
        }
    }
}

impl Reply {
    /// Takes a packet off the input; `None` when it is not whole yet.
    ///
    /// # Errors
    /// [`Error::Length`] before anything of a packet too long is waited for; [`Error::Unknown`],
    /// [`Error::Malformed`].
    pub fn decode(input: &mut BytesMut) -> Result<Option<Self>, Error> {
        let Some(length) = input.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length);
        if !(1..=PACKET_OCTETS_MAX).contains(&length) {
            return Err(Error::Length(length));
        }
        let octets = length as usize;
        if input.len() - 4 < octets {
            return Ok(None);
        }
        input.advance(4);
        let packet = input.split_to(octets);
        let Some((kind, content)) = packet.split_first() else { return Err(Error::Length(length)) };
        parse(*kind, content).map(Some)
    }
}

fn parse(kind: u8, content: &[u8]) -> Result<Reply, Error> {
    let malformed = Error::Malformed(kind);
    Ok(match kind {
        b'O' => options(content).ok_or(malformed)?,
        b'c' => Reply::Continue,
        b'a' => Reply::Accept,
        b'r' => Reply::Reject,
        b't' => Reply::TempFail,
        b'd' => Reply::Discard,
        b's' => Reply::Skip,
        b'p' => Reply::Progress,
        b'f' | b'4' => Reply::ConnectionFail,
        b'y' => Reply::ReplyCode(reply_code(content).ok_or(malformed)?),
        b'q' => Reply::Quarantine(printable(text(content).ok_or(malformed)?.0)),
        b'h' => {
            let (name, value) = field(content).ok_or(malformed)?;
            Reply::Change(HeaderChange::Add { name, value })
        }
        b'i' | b'm' => {
            let (index, rest) = content.split_first_chunk::<4>().ok_or(malformed)?;
            let index = u32::from_be_bytes(*index);
            let (name, value) = field(rest).ok_or(malformed)?;
            Reply::Change(match kind {
                b'i' => HeaderChange::Insert { index, name, value },
                _ => HeaderChange::Change { index, name, value },
            })
        }
        b'+' | b'2' | b'-' | b'b' | b'e' => Reply::NotOffered(kind),
        _ => return Err(Error::Unknown(kind)),
    })
}

/// The macros that it asks for after the three numbers are passed over.
fn options(content: &[u8]) -> Option<Reply> {
    let (version, rest) = content.split_first_chunk::<4>()?;
    let (actions, rest) = rest.split_first_chunk::<4>()?;
    let (steps, _) = rest.split_first_chunk::<4>()?;
    Some(Reply::Options {
        version: u32::from_be_bytes(*version),
        actions: Actions(u32::from_be_bytes(*actions)),
        steps: Steps(u32::from_be_bytes(*steps)),
    })
}

/// A text up to its NUL, and what follows.
fn text(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = content.iter().position(|octet| *octet == 0)?;
    Some((content.get(..end)?, content.get(end + 1..)?))
}

fn field(content: &[u8]) -> Option<(String, Vec<u8>)> {
    let (name, rest) = text(content)?;
    let (value, rest) = text(rest)?;
    let plain = |octet: &u8| octet.is_ascii_graphic() && *octet != b':';
    if name.is_empty() || name.len() > NAME_OCTETS_MAX || !name.iter().all(plain) || !rest.is_empty() {
        return None;
    }
    Some((String::from_utf8_lossy(name).into_owned(), value.to_vec()))
}

/// `550 5.7.1 text`, perhaps of several lines, each with the code. A percent sign comes doubled.
fn reply_code(content: &[u8]) -> Option<mail::Reply> {
    let (octets, _) = text(content)?;
    let code = octets.get(..3)?;
    let (class, digits) = code.split_first()?;
    if !matches!(class, b'4' | b'5') || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code: u16 = std::str::from_utf8(code).ok()?.parse().ok()?;
    let mut reply = mail::Reply::bare(code, "");
    for line in octets.split(|octet| *octet == b'\n') {
        let line = printable(line.get(4..).unwrap_or_default().trim_ascii());
        let (first, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let enhanced = first.parse::<mail::EnhancedCode>().ok();
        let rest = match enhanced.filter(|enhanced| u16::from(enhanced.0) == code / 100) {
            Some(_) => rest.trim(),
            None => line.as_str(),
        };
        reply.enhanced = reply.enhanced.or(enhanced);
        if !reply.text.is_empty() && !rest.is_empty() {
            reply.text.push('\n');
        }
        reply.text.push_str(&rest.replace("%%", "%"));
    }
    reply.text.truncate(TEXT_OCTETS_MAX);
    reply.enhanced = reply.enhanced.filter(|enhanced| u16::from(enhanced.0) == code / 100);
    Some(reply)
}

/// What a log or a reply can bear: printable ASCII, cut.
fn printable(text: &[u8]) -> String {
    let safe = |octet: &u8| if (b' '..=b'~').contains(octet) { char::from(*octet) } else { '?' };
    text.iter().filter(|octet| !matches!(octet, b'\r' | b'\n')).take(TEXT_OCTETS_MAX).map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet as a filter writes it.
    fn packet(content: &[u8]) -> BytesMut {
        let length = u32::try_from(content.len()).unwrap();
        BytesMut::from(&[&length.to_be_bytes()[..], content].concat()[..])
    }

    fn decoded(content: &[u8]) -> Result<Reply, Error> {
        let mut input = packet(content);
        let reply = Reply::decode(&mut input)?;
        assert!(input.is_empty());
        Ok(reply.unwrap())
    }

    #[test]
    fn every_reply_is_read() {
        for (octet, reply) in [
            (b'c', Reply::Continue),
            (b'a', Reply::Accept),
            (b'r', Reply::Reject),
            (b't', Reply::TempFail),
            (b'd', Reply::Discard),
            (b's', Reply::Skip),
            (b'p', Reply::Progress),
            (b'f', Reply::ConnectionFail),
        ] {
            assert_eq!(decoded(&[octet]), Ok(reply));
        }
        let steps = Steps(0x41);
        let options = Reply::Options { version: 6, actions: Actions(1), steps };
        assert_eq!(decoded(b"O\0\0\0\x06\0\0\0\x01\0\0\0\x41\0\0\0\x05i j\0"), Ok(options));
        assert_eq!(decoded(b"qbad\nthing\0"), Ok(Reply::Quarantine("badthing".to_owned())));
        assert_eq!(decoded(b"+x@y\0"), Ok(Reply::NotOffered(b'+')));
    }

    #[test]
    fn changes_of_the_header_are_read() {
        let change = |content: &[u8]| match decoded(content) {
            Ok(Reply::Change(change)) => change,
            other => panic!("{other:?}"),
        };
        let (name, value) = ("X-A".to_owned(), b"v\n\tw".to_vec());
        assert_eq!(change(b"hX-A\0v\n\tw\0"), HeaderChange::Add { name: name.clone(), value: value.clone() });
        let insert = HeaderChange::Insert { index: 1, name: name.clone(), value };
        assert_eq!(change(b"i\0\0\0\x01X-A\0v\n\tw\0"), insert);
        assert_eq!(change(b"m\0\0\0\x02X-A\0\0"), HeaderChange::Change { index: 2, name, value: Vec::new() });
        for bad in [&b"hX-A\0v"[..], b"hX A\0v\0", b"hX:\0v\0", b"h\0v\0", b"i\0\0\0", b"hA\0b\0c"] {
            assert!(matches!(decoded(bad), Err(Error::Malformed(_))), "{bad:?}");
        }
        let long = |octets: usize| [b"h", &vec![b'x'; octets][..], b"\0v\0"].concat();
        assert!(decoded(&long(NAME_OCTETS_MAX)).is_ok());
        assert!(decoded(&long(NAME_OCTETS_MAX + 1)).is_err());
    }

    #[test]
    fn reply_codes_keep_their_class_and_lose_what_a_client_must_not_see() {
        let code = |text: &str| match decoded(&[b"y", text.as_bytes(), b"\0"].concat()) {
            Ok(Reply::ReplyCode(reply)) => Some((reply.code, reply.status().to_string(), reply.text)),
            _ => None,
        };
        let said = |code: u16, status: &str, text: &str| Some((code, status.to_owned(), text.to_owned()));
        assert_eq!(code("550 5.7.1 no, 100%% spam"), said(550, "5.7.1", "no, 100% spam"));
        assert_eq!(code("451 later"), said(451, "4.0.0", "later"));
        assert_eq!(code("554-5.7.1 one\r\n554 5.7.1 two"), said(554, "5.7.1", "one\ntwo"));
        assert_eq!(code("550 4.7.1 odd"), said(550, "5.0.0", "4.7.1 odd"));
        assert_eq!(code("550 a\u{7}b\rc"), said(550, "5.0.0", "a?bc"));
        assert_eq!(code("550"), said(550, "5.0.0", ""));
        for bad in ["250 fine", "55", "5x0 a", ""] {
            assert_eq!(code(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_packet_is_taken_at_its_limit_and_refused_one_octet_past_it_before_it_is_there() {
        let mut full = packet(&vec![b'c'; PACKET_OCTETS_MAX as usize]);
        assert_eq!(Reply::decode(&mut full), Ok(Some(Reply::Continue)));
        let mut past = BytesMut::from(&(PACKET_OCTETS_MAX + 1).to_be_bytes()[..]);
        assert_eq!(Reply::decode(&mut past), Err(Error::Length(PACKET_OCTETS_MAX + 1)));
        assert_eq!(Reply::decode(&mut BytesMut::from(&[0; 4][..])), Err(Error::Length(0)));
        assert_eq!(decoded(b"?"), Err(Error::Unknown(b'?')));
    }

    #[test]
    fn a_packet_that_comes_in_pieces_is_waited_for() {
        let whole = packet(b"qx\0");
        let mut input = BytesMut::new();
        for octet in &whole[..whole.len() - 1] {
            input.extend_from_slice(&[*octet]);
            assert_eq!(Reply::decode(&mut input), Ok(None));
        }
        input.extend_from_slice(&[0]);
        assert_eq!(Reply::decode(&mut input), Ok(Some(Reply::Quarantine("x".to_owned()))));
    }
}
