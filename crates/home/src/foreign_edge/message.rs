//! One message of a foreign edge's, from its first octet to its replies.

use std::sync::Arc;

use bytes::Bytes;
use link::Open;
use link::notification;
use mail::header_section::{self, Gathered};
use mail::{Envelope, ItemId, Reply, UnixTime, Verdict, header};
use mailauth::results;
use sha2::{Digest as _, Sha256};

use super::ForeignEdge;
use crate::arrive::SessionArrival;

/// A message that is coming in.
pub(super) struct Message {
    shared: Arc<ForeignEdge>,
    envelope: Envelope,
    arrival: SessionArrival,
    /// Of envelope and content, as they came.
    digest: Sha256,
    /// The header section, until it is whole and after.
    header: Vec<u8>,
    is_whole: bool,
    /// Set when the message can't be taken; the rest of it is let go.
    refusal: Option<Reply>,
}

/// For a message that is lost here.
pub(super) fn not_taken() -> Reply {
    Reply::new(451, (4, 3, 0), "The message could not be kept; try again later")
}

impl Message {
    /// A message of which nothing has come yet.
    pub(super) fn new(shared: Arc<ForeignEdge>, envelope: Envelope) -> Self {
        let mut digest = Sha256::new_with_prefix(envelope.reverse_path.to_string());
        for recipient in &envelope.recipients {
            digest.update([b'\n']);
            digest.update(recipient.address.to_string());
        }
        digest.update([b'\n']);
        let arrival = SessionArrival::new(Arc::clone(&shared.arrivals));
        Self { shared, envelope, arrival, digest, header: Vec::new(), is_whole: false, refusal: None }
    }

    /// Takes a piece of the message.
    pub(super) async fn push(&mut self, piece: &Bytes) {
        if self.refusal.is_some() {
            return;
        }
        self.digest.update(piece);
        if self.is_whole {
            return self.keep(piece.clone()).await;
        }
        match header_section::gather(&mut self.header, piece) {
            Gathered::Part => {}
            Gathered::Whole(body) => {
                self.close_header().await;
                if !body.is_empty() {
                    self.keep(body).await;
                }
            }
            Gathered::TooLarge => {
                let text = format!("The header section is larger than {} octets", header_section::OCTETS_MAX);
                self.refusal = Some(Reply::new(552, (5, 3, 4), text));
            }
        }
    }

    async fn keep(&mut self, piece: Bytes) {
        if let Err(error) = self.arrival.push(piece).await {
            tracing::error!(%error, "a body could not be buffered; the foreign edge keeps it");
            self.refusal = Some(not_taken());
        }
    }

    /// The header section is whole: it goes on without the results that nobody may believe.
    async fn close_header(&mut self) {
        self.is_whole = true;
        let (trusted, own) = (self.shared.config.authserv_id.as_deref(), self.shared.hostname.as_str());
        let is_false = |value: &[u8]| {
            let by_edge = trusted.is_some_and(|id| {
                results::authserv_id_of(value).is_some_and(|said| said.eq_ignore_ascii_case(id))
            });
            !by_edge || results::claims(value, own)
        };
        let kept = header_section::without_results(&self.header, is_false);
        self.keep(kept.into()).await;
    }

    /// The message is whole: one reply per recipient, or one for all.
    pub(super) async fn finish(mut self, untagged: bool) -> Vec<Reply> {
        if !self.is_whole && self.refusal.is_none() {
            self.close_header().await;
        }
        let hops = header_section::hops(&self.header);
        if hops > header_section::HOPS_MAX {
            self.refusal =
                Some(Reply::new(554, (5, 4, 6), "The message has passed too many hosts: it loops"));
        }
        if untagged && notification::Form::of(&self.header).is_failure_notice() {
            self.refusal = Some(notification::refuse_untagged());
        }
        if let Some(refusal) = self.refusal {
            return vec![refusal; self.envelope.recipients.len()];
        }
        let clock = &self.shared.arrivals.clock;
        let accepted = clock.now();
        let item = item_of(&self.header, self.digest).unwrap_or_else(|| clock.new_item_id());
        let open = Open { item, accepted, envelope: self.envelope };
        let verdict = Verdict { hops, ..Verdict::default() };
        self.arrival.deliver(open, self.shared.hostname.clone(), verdict).await
    }
}

/// What comes again because a reply was lost is the same to the last octet, and so gets the same id, by which it is
/// known: the time at which the edge took it, as its `Received` says, and octets of a hash. Two messages never have the
/// same: the edge writes its own id and the time into that field.
///
/// A time that can't be read is that of 1970. `None` without that field: the message has to have an id of its own.
fn item_of(header: &[u8], digest: Sha256) -> Option<ItemId> {
    let taken = taken_by_the_edge(header)?.unwrap_or_default();
    let digest: [u8; 32] = digest.finalize().into();
    digest.first_chunk().map(|own| ItemId::new(taken, *own))
}

/// What the topmost `Received` ends with (RFC 5321 section 4.4).
fn taken_by_the_edge(header: &[u8]) -> Option<Option<UnixTime>> {
    let field = header::find(header, "Received")?;
    let date = field.value.rsplit(|octet| *octet == b';').next()?;
    Some(UnixTime::parse_rfc5322(date))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN: UnixTime = UnixTime::from_secs(1_795_500_000);
    const TRACED: &str = "Received: from a (b; c)\r\n\tby d id 1;\r\n\tTue, 24 Nov 2026 07:00:00 +0100 (CET)\r\n\
                          Received: from e by f; Mon, 23 Nov 2026 06:00:00 +0000\r\n\r\n";

    fn id(header: &str, body: &str) -> Option<ItemId> {
        item_of(header.as_bytes(), Sha256::new_with_prefix(body))
    }

    #[test]
    fn a_message_that_comes_again_has_the_same_id_and_another_one_another() {
        let first = id(TRACED, "x").unwrap();
        assert_eq!(id(TRACED, "x"), Some(first), "whenever that is");
        assert_ne!(id(TRACED, "y"), Some(first));
    }

    /// Symptom: the queue listed mail from a foreign edge that is forwarded in no order, and its ids told a year of
    /// thousands. Cause: the id was sixteen octets of a hash, of which six are to be the time.
    #[test]
    fn an_id_tells_when_the_edge_took_the_message_and_sorts_by_it() {
        let later = TRACED.replacen("07:00:00", "07:00:01", 1);
        for body in ["a", "b", "c", "d"] {
            let (first, second) = (id(TRACED, body).unwrap(), id(&later, body).unwrap());
            assert_eq!((first.taken(), second.taken()), (TAKEN, TAKEN.plus_secs(1)));
            assert!(first < second);
        }
    }

    #[test]
    fn a_message_whose_time_can_not_be_read_is_known_again_and_one_without_the_field_is_not() {
        for field in ["Received: from a by b id 1", "Received: from a by b; soon", "Received:"] {
            let header = format!("{field}\r\n\r\n");
            let first = id(&header, "x").unwrap();
            assert_eq!((id(&header, "x"), first.taken()), (Some(first), UnixTime::default()), "{field}");
            assert_ne!(id(&header, "y"), Some(first), "{field}");
        }
        assert_eq!(id("Subject: x\r\n\r\n", "x"), None);
    }
}
