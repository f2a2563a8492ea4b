//! The header of a message as a home that is another program gets it: the trace field, and Edge's verdict in fields
//! that other programs read.

use mail::received::{self, Hop, Readers};
use mail::require_tls;
use mail::{Place, Verdict, header, sum_of_signs};

/// What says that a message belongs into Junk, as many filters and Sieve scripts know it. Its value is `YES`.
const FLAG: &str = "X-Spam-Flag";
/// The points, in tenths behind the dot.
const SCORE: &str = "X-Spam-Score";

/// The fields above the message.
pub(super) fn above(hop: &Hop<'_>, verdict: &Verdict) -> Vec<u8> {
    let mut head = String::from_utf8_lossy(require_tls::above(hop.envelope)).into_owned();
    if verdict.place == Place::Junk {
        head.push_str(&format!("{FLAG}: YES\r\n"));
    }
    if !verdict.authserv_id.is_empty() {
        let score = f64::from(sum_of_signs(&verdict.signs)) / 10.0;
        head.push_str(&format!("{SCORE}: {score:.1}\r\n"));
        head.push_str(&mailauth::results::write(&verdict.authserv_id, &verdict.findings));
    }
    let only = hop.envelope.recipients.first().map(|recipient| &recipient.address);
    head.push_str(&received::received(hop, only, Readers::House));
    head.into_bytes()
}

/// The header section as it came, without the fields that only Edge may write, and without what would have the home demand
/// REQUIRETLS of hosts behind it (it is among those above if the sender does). `Authentication-Results` that claim
/// its name are gone already. What another program may take for one of them goes as well.
pub(super) fn without_ours(section: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(section.len());
    let mut from = 0;
    let section = require_tls::without(section);
    for field in header::look_alikes(&section).filter(|field| field.is(FLAG) || field.is(SCORE)) {
        kept.extend_from_slice(section.get(from..field.offset).unwrap_or_default());
        from = field.offset + field.raw.len();
    }
    kept.extend_from_slice(section.get(from..).unwrap_or_default());
    kept
}

#[cfg(test)]
mod tests {
    use mail::{Envelope, ItemId, Sign, UnixTime};

    use super::*;

    #[test]
    fn the_verdict_stands_above_the_message_and_forged_fields_are_gone() {
        let envelope: Envelope =
            serde_json::from_str(r#"{"reverse_path":"","recipients":[{"address":"b@c.org"}]}"#).unwrap();
        let item = ItemId::from_bytes([1; 16]);
        let hop = Hop { envelope: &envelope, by: "mx.example.org", item, accepted: UnixTime(1) };
        let mut verdict = Verdict { authserv_id: "mx.example.org".to_owned(), ..Verdict::default() };
        verdict.signs.push(Sign { name: "spf-fail".to_owned(), tenths: 75, detail: String::new() });
        verdict.place = Place::Junk;
        let head = String::from_utf8(above(&hop, &verdict)).unwrap();
        assert!(
            head.starts_with(
                "X-Spam-Flag: YES\r\nX-Spam-Score: 7.5\r\nAuthentication-Results: mx.example.org"
            )
        );
        assert!(
            head.contains("\r\nReceived: from unknown\r\n\tby mx.example.org")
                && head.contains("for <b@c.org>")
        );
        verdict.place = Place::Inbox;
        assert!(above(&hop, &verdict).starts_with(b"X-Spam-Score"));
        let requiring = Envelope { require_tls: true, ..envelope.clone() };
        let hop = Hop { envelope: &requiring, ..hop };
        assert!(above(&hop, &verdict).starts_with(b"Require-TLS-ESMTP: yes\r\nX-Spam-Score"));
        let forged = b"X-Spam-Flag: NO\r\nSubject: x\r\nx-spam-score: -99\r\n\tfolded\r\n\
            X-Spam-Flag\r\n : NO\r\nRequire-TLS-ESMTP: yes\r\nTo: y\r\n\r\n";
        assert_eq!(without_ours(forged), b"Subject: x\r\nTo: y\r\n\r\n");
    }
}
