//! A delivery as LMTP gets it: the message with its trace, without the fields that the last host adds itself.

use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use mail::{BodyType, Envelope, Recipient, ReversePath};
use net::smtp_client::{BodyLost, BodySource};
use smtp::client::{Quorum, Transaction};
use store::{Delivery, Head};

use super::Tray;

use crate::reused::Body;

/// Octets that are read from a file at one time.
const PIECE_OCTETS: u64 = 64 * 1024;
/// What says that a message is not for the inbox: Sieve scripts look for it, as they do for that of other filters.
const JUNK: &[u8] = b"X-Spam-Flag: YES\r\n";

/// A message that is to be sent once.
pub(super) struct Letter {
    reverse_path: ReversePath,
    head: Bytes,
    body: store::Body,
    /// Octets that were given, the head's as well.
    given: u64,
}

impl Letter {
    /// Leaves out `Return-Path` and `Delivered-To`: the first is the envelope's, and LMTP's server writes both (RFC 5321
    /// section 4.4).
    pub(super) fn new(delivery: Delivery, tray: Tray) -> Self {
        let Delivery { head: Head { return_path, above, .. }, body, .. } = delivery;
        let head = if tray == Tray::Junk { [JUNK, &above].concat() } else { above };
        let reverse_path = return_path.unwrap_or(ReversePath::Null);
        Self { reverse_path, head: head.into(), body, given: 0 }
    }

    /// The transaction that hands it to one recipient.
    pub(super) fn transaction(&self, recipient: Recipient) -> Transaction {
        let in_memory = match &self.body {
            store::Body::Memory(pieces) => pieces.iter().all(|piece| piece.is_ascii()),
            // Not read for this: a mailbox takes both.
            store::Body::File(..) => false,
        };
        let has_8bit = !(in_memory && self.head.is_ascii());
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
            octets: self.head.len() as u64 + self.body.octets(),
            has_8bit,
            // The end of the way: nobody passes the header on.
            needs_smtputf8: false,
            quorum: Quorum::One,
        }
    }

    fn piece(&self) -> std::io::Result<Bytes> {
        let Some(at) = self.given.checked_sub(self.head.len() as u64) else {
            let at = usize::try_from(self.given).unwrap_or(usize::MAX);
            return Ok(self.head.slice(at.min(self.head.len())..));
        };
        match &self.body {
            store::Body::Memory(pieces) => {
                let mut skip = usize::try_from(at).unwrap_or(usize::MAX);
                for piece in pieces {
                    match skip.checked_sub(piece.len()) {
                        Some(left) => skip = left,
                        None => return Ok(piece.slice(skip..)),
                    }
                }
                Ok(Bytes::new())
            }
            store::Body::File(file, octets) => {
                let wanted = octets.saturating_sub(at).min(PIECE_OCTETS);
                let mut piece = vec![0; usize::try_from(wanted).unwrap_or(0)];
                file.read_exact_at(&mut piece, at)?;
                Ok(piece.into())
            }
        }
    }
}

impl BodySource for Letter {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyLost> {
        let piece = self.piece().map_err(|error| {
            tracing::error!(%error, "a message that is to be delivered can't be read; it is tried again");
            BodyLost
        })?;
        self.given += piece.len() as u64;
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }
}

impl Body for Letter {
    fn has_begun(&self) -> bool {
        self.given > 0
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use mail::{Address, UnixTime};
    use store::FlagList;

    use super::*;

    /// As above messages from ann to bob.
    fn from_ann(above: &str) -> Head {
        let [ann, bob] = ["ann@a.example", "bob@b.example"].map(|text| Address::parse(text).unwrap());
        Head::new(ReversePath::Address(ann), bob, above.as_bytes().to_vec())
    }

    fn letter(tray: Tray, head: impl Into<Head>, body: store::Body) -> Letter {
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
            (store::Body::Memory(pieces), "Subject: x\r\n\r\n"),
            (store::Body::File(file, 200_000), long.as_str()),
        ] {
            let (path, octets, out) = all(letter(Tray::Inbox, from_ann("Received: x\r\n"), body)).await;
            assert_eq!(path.to_string(), "ann@a.example");
            assert_eq!(String::from_utf8(out).unwrap(), format!("Received: x\r\n{text}"));
            assert_eq!(octets, 13 + text.len() as u64);
        }
    }

    #[tokio::test]
    async fn what_is_for_junk_is_marked_and_a_notice_has_the_null_path() {
        let body = || store::Body::from(b"Subject: x\r\n\r\n".to_vec());
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
        let body = |text: &str| store::Body::from(text.as_bytes().to_vec());
        let has_8bit = |head: &str, text: &str| {
            let to = Address::parse("a@b.example").unwrap().into();
            letter(Tray::Inbox, head.as_bytes().to_vec(), body(text)).transaction(to).has_8bit
        };
        assert!(!has_8bit("X: 1\r\n", "plain"));
        assert!(has_8bit("X: \u{e9}\r\n", "plain") && has_8bit("", "\u{e9}"));
    }
}
