//! The fields that go above a message that arrived.

use mail::received::{self, Hop, Readers};
use mail::{Address, ReversePath};
use store::Head;

use super::arrival::Arrival;
use super::plan::Planned;
use crate::filters::Judgement;

/// What goes above the message: from whom and for whom it is, the trace (RFC 5321 section 4.4), and the fields of the filters.
pub(super) fn above(arrival: &Arrival, planned: &Planned, judgement: &Judgement) -> Head {
    let mut head = Vec::new();
    // What was found out here stands above the last hop, so that it can be told from what came with the message.
    judgement.fields.iter().for_each(|field| head.extend_from_slice(field.octets()));
    let verdict = &arrival.verdict;
    if !verdict.authserv_id.is_empty() {
        let results = mailauth::results::write(&verdict.authserv_id, &verdict.findings);
        head.extend_from_slice(results.as_bytes());
    }
    head.extend_from_slice(received(arrival, &planned.recipient, Readers::House).as_bytes());
    Head::new(arrival.open.envelope.reverse_path.clone(), planned.recipient.clone(), head)
}

/// The trace field of the hop from the client to Edge (RFC 5321 section 4.4), with its line end.
pub(super) fn received(arrival: &Arrival, recipient: &Address, readers: Readers) -> String {
    let open = &arrival.open;
    let hop = Hop { envelope: &open.envelope, by: &arrival.edge, item: open.item, accepted: open.accepted };
    received::received(&hop, Some(recipient), readers)
}

/// The reverse-path without its brackets.
pub(super) fn path(path: &ReversePath) -> String {
    path.address().map_or_else(String::new, ToString::to_string)
}
