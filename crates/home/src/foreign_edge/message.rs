//! One message of a foreign edge's, from its first octet to its replies.

use std::sync::Arc;

use bytes::Bytes;
use daemon::system;
use link::Open;
use link::notification;
use mail::header_section::{self, Gathered};
use mail::{Envelope, ItemId, Reply, Verdict, header};
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
        let item = item_of(&self.header, self.digest);
        let open = Open { item, accepted: self.shared.arrivals.clock.now(), envelope: self.envelope };
        let verdict = Verdict { hops, ..Verdict::default() };
        self.arrival.deliver(open, self.shared.hostname.clone(), verdict).await
    }
}

/// What comes again because a reply was lost is the same to the last octet, and so gets the same id, by which it is
/// known. Two messages are never: the edge writes its own id and the time into its `Received`. One without that
/// field gets an id of its own.
fn item_of(header: &[u8], digest: Sha256) -> ItemId {
    let digest: [u8; 32] = digest.finalize().into();
    match digest.first_chunk::<16>() {
        Some(id) if header::find(header, "Received").is_some() => ItemId::from_bytes(*id),
        _ => system::new_item_id(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_comes_again_has_the_same_id_and_one_without_trace_a_new_one() {
        let id = |header: &str, body: &str| item_of(header.as_bytes(), Sha256::new_with_prefix(body));
        let traced = "Received: from a by b id 1\r\n\r\n";
        assert_eq!(id(traced, "x"), id(traced, "x"));
        assert_ne!(id(traced, "x"), id(traced, "y"));
        assert_ne!(id("Subject: x\r\n\r\n", "x"), id("Subject: x\r\n\r\n", "x"));
    }
}
