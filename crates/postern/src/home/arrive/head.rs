//! The fields that go above a message that arrived.

use mail::{Address, ReversePath};

use super::deliver::Arrival;
use super::plan::Planned;
use crate::home::filters::Judgement;

/// The trace fields that go before the message: `Return-Path` and `Received` (RFC 5321 section 4.4) and
/// `Delivered-To` (RFC 9228), and those of the filters.
pub(super) fn above(arrival: &Arrival, planned: &Planned, judgement: &Judgement) -> Vec<u8> {
    let path = path(&arrival.open.envelope.reverse_path);
    let mut head = format!("Return-Path: <{path}>\r\nDelivered-To: {}\r\n", planned.recipient).into_bytes();
    // What was found out here stands above the last hop, so that it can be told from what came with the message.
    judgement.fields.iter().for_each(|field| head.extend_from_slice(field.octets()));
    let verdict = &arrival.verdict;
    if !verdict.authserv_id.is_empty() {
        let results = mailauth::results::write(&verdict.authserv_id, &verdict.findings);
        head.extend_from_slice(results.as_bytes());
    }
    head.extend_from_slice(received(arrival, &planned.recipient).as_bytes());
    head
}

/// The trace field of the hop from the client to Edge (RFC 5321 section 4.4), with its line end.
pub(super) fn received(arrival: &Arrival, recipient: &Address) -> String {
    let envelope = &arrival.open.envelope;
    let client = envelope.client.as_ref();
    let from = client.map_or_else(
        || "unknown".to_owned(),
        |client| {
            let helo: String = client.helo.chars().map(|c| if is_helo_char(c) { c } else { '?' }).collect();
            format!("{} ([{}])", if helo.is_empty() { "unknown" } else { &helo }, client.ip)
        },
    );
    let with = client.map_or("SMTP", |client| client.protocol(envelope.smtputf8));
    let tls = client.and_then(|client| client.tls.as_deref());
    let tls = tls.map_or_else(String::new, |tls| format!(" ({tls})"));
    let one = (envelope.recipients.len() == 1).then(|| format!("\r\n\tfor <{recipient}>"));
    format!(
        "Received: from {from}\r\n\tby {edge} (Postern) with {with}{tls}\r\n\tid {id}{one};\r\n\t{date}\r\n",
        edge = arrival.edge,
        id = arrival.open.item,
        one = one.unwrap_or_default(),
        date = arrival.open.accepted.rfc5322(),
    )
}

/// The reverse-path without its brackets.
pub(super) fn path(path: &ReversePath) -> String {
    path.address().map_or_else(String::new, ToString::to_string)
}

fn is_helo_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || ".-_:[]".contains(c)
}
