//! The `Received` field of the hop from a client to Edge: Home writes it, and Edge for a home that is another program.

use mail::{Address, Envelope, ItemId, UnixTime};

/// What the field tells of a hop.
pub struct Hop<'a> {
    /// The client, the parameters and how many recipients there are.
    pub envelope: &'a Envelope,
    /// The host name of the Edge that took the message.
    pub by: &'a str,
    /// Under which id.
    pub item: ItemId,
    /// When.
    pub accepted: UnixTime,
}

/// The trace field of the hop (RFC 5321 section 4.4), with its line end. `recipient` is told when it is the only one.
pub fn received(hop: &Hop<'_>, recipient: Option<&Address>) -> String {
    let envelope = hop.envelope;
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
    let one = recipient.filter(|_| envelope.recipients.len() == 1);
    format!(
        "Received: from {from}\r\n\tby {edge} (Postern) with {with}{tls}\r\n\tid {id}{one};\r\n\t{date}\r\n",
        edge = hop.by,
        id = hop.item,
        one = one.map_or_else(String::new, |recipient| format!("\r\n\tfor <{recipient}>")),
        date = hop.accepted.rfc5322(),
    )
}

fn is_helo_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || ".-_:[]".contains(c)
}
