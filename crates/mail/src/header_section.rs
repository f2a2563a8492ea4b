//! The header section of a message that comes in: held until it is whole, and rid of results that nobody should believe.

use bytes::Bytes;

use crate::header;

/// Most octets of a header section; a message with more is refused.
pub const OCTETS_MAX: usize = 256 * 1024;

/// `Received` fields with which a message counts as looping (RFC 5321 section 6.3).
pub const HOPS_MAX: u32 = 100;

/// Whether a header section is whole after one more piece.
#[derive(Debug, PartialEq, Eq)]
pub enum Gathered {
    /// The header section goes on.
    Part,
    /// It is whole, its empty line with it; this is the beginning of the body.
    Whole(Bytes),
    /// It is larger than [`OCTETS_MAX`].
    TooLarge,
}

/// Adds a piece of a message to what is held of its header section.
pub fn gather(held: &mut Vec<u8>, piece: &[u8]) -> Gathered {
    let searched = held.len().saturating_sub(3);
    held.extend_from_slice(piece);
    let end = if held.starts_with(b"\r\n") {
        Some(2)
    } else {
        memchr::memmem::find(held.get(searched..).unwrap_or_default(), b"\r\n\r\n")
            .map(|at| searched + at + 4)
    };
    match end {
        Some(end) if end <= OCTETS_MAX => Gathered::Whole(Bytes::from(held.split_off(end))),
        None if held.len() <= OCTETS_MAX => Gathered::Part,
        _ => Gathered::TooLarge,
    }
}

/// How many hosts it has passed: its `Received` fields.
pub fn hops(raw: &[u8]) -> u32 {
    u32::try_from(header::count(raw, "Received")).unwrap_or(u32::MAX)
}

/// The header section without the `Authentication-Results` whose value `is_false` (RFC 8601 section 5), and without what
/// another program may take for one.
pub fn without_results(raw: &[u8], is_false: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut kept = Vec::with_capacity(raw.len());
    let mut from = 0;
    for field in header::look_alikes(raw).filter(|field| field.is("Authentication-Results")) {
        if is_false(field.value) {
            kept.extend_from_slice(raw.get(from..field.offset).unwrap_or_default());
            from = field.offset + field.raw.len();
        }
    }
    kept.extend_from_slice(raw.get(from..).unwrap_or_default());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_section_ends_where_it_ends_however_it_is_cut() {
        for message in [&b"A: 1\r\nB: 2\r\n\r\nbody"[..], b"\r\nbody"] {
            let end = message.len() - 4;
            for at in 1..message.len() {
                let (mut held, mut body) = (Vec::new(), None);
                for piece in [&message[..at], &message[at..]] {
                    match &mut body {
                        None => match gather(&mut held, piece) {
                            Gathered::Whole(rest) => body = Some(rest.to_vec()),
                            other => assert_eq!(other, Gathered::Part),
                        },
                        Some(body) => body.extend_from_slice(piece),
                    }
                }
                assert_eq!(
                    (held.as_slice(), body.unwrap().as_slice()),
                    (&message[..end], &b"body"[..]),
                    "{at}"
                );
            }
        }
    }

    #[test]
    fn a_header_section_is_taken_at_its_limit_and_refused_past_it() {
        let message = |octets: usize| [vec![b'x'; octets - 4], b"\r\n\r\n".to_vec()].concat();
        assert_eq!(gather(&mut Vec::new(), &message(OCTETS_MAX)), Gathered::Whole(Bytes::new()));
        assert_eq!(gather(&mut Vec::new(), &message(OCTETS_MAX + 1)), Gathered::TooLarge);
        assert_eq!(gather(&mut Vec::new(), &vec![b'x'; OCTETS_MAX]), Gathered::Part);
        assert_eq!(gather(&mut Vec::new(), &vec![b'x'; OCTETS_MAX + 1]), Gathered::TooLarge);
    }
}
