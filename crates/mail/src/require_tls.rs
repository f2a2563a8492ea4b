//! `Require-TLS-ESMTP: yes`: how Postfix 3.11 tells itself that a sender asked for REQUIRETLS (RFC 8689), past programs
//! that know only the message.
//!
//! Whoever writes the field makes such a Postfix demand REQUIRETLS of every host behind it, and bounce the message where
//! one lacks it. In a message that came from elsewhere it says what some other hop was asked for; it is not asked for here
//! unless the envelope says so. So the next program gets the field if the envelope does, and only then. A message is judged
//! and kept as it came: a signature may be about the field.

use std::borrow::Cow;

use crate::{Envelope, header};

/// The field's name.
const NAME: &str = "Require-TLS-ESMTP";
/// The whole field, with its line end.
pub const LINE: &[u8] = b"Require-TLS-ESMTP: yes\r\n";

/// Whether a header section has the field, whatever it says.
pub fn is_in(section: &[u8]) -> bool {
    header::look_alikes(section).any(|field| field.is(NAME))
}

/// What goes above a message for the next program.
pub const fn above(envelope: &Envelope) -> &'static [u8] {
    if envelope.require_tls { LINE } else { b"" }
}

/// A header section as the next program gets it.
pub fn for_next(section: Vec<u8>, envelope: &Envelope) -> Vec<u8> {
    if !envelope.require_tls && !is_in(&section) {
        return section;
    }
    [above(envelope), &*without(&section)].concat()
}

/// A header section without the field.
pub fn without(section: &[u8]) -> Cow<'_, [u8]> {
    if !is_in(section) {
        return Cow::Borrowed(section);
    }
    let mut kept = Vec::with_capacity(section.len());
    let mut from = 0;
    for field in header::look_alikes(section).filter(|field| field.is(NAME)) {
        kept.extend_from_slice(section.get(from..field.offset).unwrap_or_default());
        from = field.offset + field.raw.len();
    }
    kept.extend_from_slice(section.get(from..).unwrap_or_default());
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_found_in_every_form_and_taken_out_of_the_header_only() {
        let with =
            b"A: 1\r\nRequire-TLS-ESMTP: yes\r\nB: 2\r\nrequire-tls-esmtp:\r\n\tno\r\nRequire-TLS: x\r\n\r\n";
        assert!(is_in(with));
        assert_eq!(*without(with), b"A: 1\r\nB: 2\r\nRequire-TLS: x\r\n\r\n"[..]);
        assert!(is_in(LINE) && without(LINE).is_empty());
        // Postfix heeds this as well, and writes it anew without the blank.
        assert_eq!(*without(b"Require-TLS-ESMTP : yes\r\nA: 1\r\n\r\n"), b"A: 1\r\n\r\n"[..]);
        let body = b"A: 1\r\n\r\nRequire-TLS-ESMTP: yes\r\n";
        assert!(!is_in(body) && matches!(without(body), Cow::Borrowed(_)));
    }

    #[test]
    fn it_is_written_for_who_asks_for_requiretls() {
        let envelope = |require_tls: bool| -> Envelope {
            let text = format!(r#"{{"reverse_path":"","recipients":[],"require_tls":{require_tls}}}"#);
            serde_json::from_str(&text).unwrap()
        };
        assert_eq!((above(&envelope(true)), above(&envelope(false))), (LINE, &b""[..]));
        let with = [LINE, b"A: 1\r\n\r\n", LINE].concat();
        assert_eq!(for_next(with.clone(), &envelope(true)), with, "once, and not in the body");
        let bare = [b"A: 1\r\n\r\n", LINE].concat();
        assert_eq!(for_next(with, &envelope(false)), bare);
        assert_eq!(for_next(bare.clone(), &envelope(false)), bare);
    }
}
