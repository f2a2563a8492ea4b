//! A delivery as LMTP gets it: the message with its trace, without the fields that the last host adds itself.

use bytes::Bytes;
use mail::{BodyType, Envelope, Recipient, ReversePath};
use net::contents::Source;
use net::smtp_client::{BodyLost, BodySource};
use smtp::client::{Quorum, Transaction};
use store::{Delivery, Head};

use super::Tray;

use crate::reused::Body;

/// What says that a message is not for the inbox: Sieve scripts look for it, as they do for that of other filters.
const JUNK: &[u8] = b"X-Spam-Flag: YES\r\n";

/// A message that is to be sent once.
pub(super) struct Letter {
    reverse_path: ReversePath,
    head: Bytes,
    body: Source,
    /// Whether the head was given.
    has_begun: bool,
}

impl Letter {
    /// Leaves out `Return-Path` and `Delivered-To`: the first is the envelope's, and LMTP's server writes both (RFC 5321
    /// section 4.4).
    pub(super) fn new(delivery: Delivery, tray: Tray) -> Self {
        let Delivery { head: Head { return_path, above, .. }, body, .. } = delivery;
        let head = if tray == Tray::Junk { [JUNK, &above].concat() } else { above };
        let reverse_path = return_path.unwrap_or(ReversePath::Null);
        Self { reverse_path, head: head.into(), body: Source::new(body, 0), has_begun: false }
    }

    /// The transaction that hands it to one recipient.
    pub(super) fn transaction(&self, recipient: Recipient) -> Transaction {
        // What is in a file is not read for this: a mailbox takes both.
        let pieces = self.body.content().in_memory();
        let is_ascii = pieces.is_some_and(|pieces| pieces.iter().all(|piece| piece.is_ascii()));
        let has_8bit = !(is_ascii && self.head.is_ascii());
        let envelope = Envelope {
            reverse_path: self.reverse_path.clone(),
            recipients: Vec::new(),
            body: if has_8bit { BodyType::EightBitMime } else { BodyType::SevenBit },
            smtputf8: false,
            require_tls: false,
            ret: None,
            envid: None,
            client: None,
        };
        Transaction {
            envelope: envelope.into(),
            recipients: vec![recipient],
            octets: self.head.len() as u64 + self.body.content().octets(),
            has_8bit,
            // The end of the way: nobody passes the header on.
            needs_smtputf8: false,
            quorum: Quorum::One,
        }
    }
}

impl BodySource for Letter {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyLost> {
        if self.has_begun || self.head.is_empty() {
            return self.body.next().await;
        }
        self.has_begun = true;
        Ok(Some(self.head.clone()))
    }
}

impl Body for Letter {
    fn has_begun(&self) -> bool {
        self.has_begun || self.body.has_begun()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use content::Content;
    use mail::{Address, UnixTime};
    use store::FlagList;

    use super::*;

    /// As above messages from ann to bob.
    fn from_ann(above: &str) -> Head {
        let [ann, bob] = ["ann@a.example", "bob@b.example"].map(|text| Address::parse(text).unwrap());
        Head::new(ReversePath::Address(ann), bob, above.as_bytes().to_vec())
    }

    fn letter(tray: Tray, head: impl Into<Head>, body: Content) -> Letter {
        let delivery = Delivery {
            item: None,
            mailbox: tray.name().to_owned(),
            head: head.into(),
            body,
            flags: FlagList::default(),
            internal_date: UnixTime(0),
        };
        Letter::new(delivery, tray)
    }

    async fn all(mut letter: Letter) -> (ReversePath, u64, Vec<u8>) {
        let octets = letter.transaction(Address::parse("a@b.example").unwrap().into()).octets;
        let mut out = Vec::new();
        while let Some(piece) = letter.next().await.unwrap() {
            out.extend_from_slice(&piece);
        }
        (letter.reverse_path, octets, out)
    }

    #[tokio::test]
    async fn the_last_hosts_fields_go_and_the_trace_stays_whatever_the_body_is_made_of() {
        let mut file = tempfile::tempfile().unwrap();
        let long = "y".repeat(200_000);
        write!(file, "{long}").unwrap();
        let pieces = vec!["Subject: ".into(), Bytes::new(), "x\r\n\r\n".into()];
        for (body, text) in [
            (Content::memory(pieces), "Subject: x\r\n\r\n"),
            (Content::file(file, 0, 200_000), long.as_str()),
        ] {
            let (path, octets, out) = all(letter(Tray::Inbox, from_ann("Received: x\r\n"), body)).await;
            assert_eq!(path.to_string(), "ann@a.example");
            assert_eq!(String::from_utf8(out).unwrap(), format!("Received: x\r\n{text}"));
            assert_eq!(octets, 13 + text.len() as u64);
        }
    }

    #[tokio::test]
    async fn what_is_for_junk_is_marked_and_a_notice_has_the_null_path() {
        let body = || Content::from(b"Subject: x\r\n\r\n".to_vec());
        let (path, _, out) =
            all(letter(Tray::Junk, Head { return_path: Some(ReversePath::Null), ..Head::default() }, body()))
                .await;
        assert_eq!(
            (path, out.as_slice()),
            (ReversePath::Null, &b"X-Spam-Flag: YES\r\nSubject: x\r\n\r\n"[..])
        );
        let (path, _, out) = all(letter(Tray::Inbox, Head::default(), body())).await;
        assert_eq!((path, out.as_slice()), (ReversePath::Null, &b"Subject: x\r\n\r\n"[..]));
    }

    #[test]
    fn only_text_of_seven_bits_is_announced_as_such() {
        let body = |text: &str| Content::from(text.as_bytes().to_vec());
        let has_8bit = |head: &str, text: &str| {
            let to = Address::parse("a@b.example").unwrap().into();
            letter(Tray::Inbox, head.as_bytes().to_vec(), body(text)).transaction(to).has_8bit
        };
        assert!(!has_8bit("X: 1\r\n", "plain"));
        assert!(has_8bit("X: \u{e9}\r\n", "plain") && has_8bit("", "\u{e9}"));
    }
}
