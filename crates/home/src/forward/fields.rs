//! What goes above a message that is forwarded, and what is read in it before.

use mail::UnixTime;
use mail::header;
use mail::{Address, Finding, Verdict};
use mailauth::arc::{self, ArcResult};
use mailauth::dkim::FinishedHashes;

use super::Forwarding;
use crate::dkim::DomainKeys;

/// Whether a message for this alias went through it before (RFC 9228 section 4).
pub(crate) fn loops(header: &[u8], alias: &Address) -> bool {
    let delivered = header::fields(header).filter(|field| field.is("Delivered-To"));
    let addresses = delivered.filter_map(|field| Address::parse(field.unfolded().trim()).ok());
    addresses.into_iter().any(|address| address.canonical() == alias.canonical())
}

/// Whether Edge found that the reverse-path is its sender's own: SPF passed for it, or its domain signed.
pub(super) fn is_proven(path: &Address, verdict: &Verdict) -> bool {
    let domain = path.domain().as_str();
    let named = |finding: &Finding, property| {
        finding.property(property).is_some_and(|value| value.eq_ignore_ascii_case(domain))
    };
    verdict.findings.iter().filter(|finding| finding.result == "pass").any(|finding| {
        match finding.method.as_str() {
            "spf" => named(finding, "smtp.mailfrom"),
            "dkim" => named(finding, "header.d"),
            _ => false,
        }
    })
}

/// The ARC set, `Delivered-To` and the trace field.
pub(super) fn above(
    keys: &DomainKeys,
    forwarding: &Forwarding,
    header: &[u8],
    body: &FinishedHashes,
    now: UnixTime,
) -> Vec<u8> {
    let mut head = seal(keys, forwarding, header, body, now);
    let delivered = format!("Delivered-To: {}\r\n", forwarding.recipient.address);
    head.extend_from_slice(delivered.as_bytes());
    head.extend_from_slice(forwarding.received.as_bytes());
    head
}

/// The ARC set of the alias' domain; empty when there is nothing to vouch for, or no key. A message without it
/// still goes on: it is less trusted, not lost.
fn seal(
    keys: &DomainKeys,
    forwarding: &Forwarding,
    header: &[u8],
    body: &FinishedHashes,
    now: UnixTime,
) -> Vec<u8> {
    let verdict = &forwarding.verdict;
    let domain = forwarding.recipient.address.domain();
    let signing = keys.signing(domain).unwrap_or_default();
    let Some(key) = signing.iter().find(|key| key.is_rsa()) else { return Vec::new() };
    if verdict.authserv_id.is_empty() {
        return Vec::new();
    }
    let field = mailauth::results::write(&verdict.authserv_id, &verdict.findings);
    let results = field.split_once(':').map_or("", |(_, value)| value);
    let sealed = arc::seal(header, body, key, results, chain_found(verdict), now);
    sealed
        .unwrap_or_else(|error| {
            tracing::warn!(item = %forwarding.item, %error, "a message is forwarded without an ARC seal");
            None
        })
        .unwrap_or_default()
}

/// What Edge found of the chain that the message came with.
fn chain_found(verdict: &Verdict) -> ArcResult {
    let found = verdict.findings.iter().find(|finding| finding.method == "arc");
    match found.map(|finding| finding.result.as_str()) {
        Some("pass") => ArcResult::Pass,
        Some("fail") => ArcResult::Fail,
        _ => ArcResult::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn a_message_loops_when_it_was_delivered_to_the_alias_before() {
        let header = b"Delivered-To: Sales@Example.org\r\nDelivered-To: x\r\nFrom: a@b.example\r\n\r\n";
        assert!(loops(header, &at("sales@example.org")));
        assert!(!loops(header, &at("sales@example.net")));
        assert!(!loops(b"From: sales@example.org\r\n\r\n", &at("sales@example.org")));
    }

    #[test]
    fn a_sender_is_proven_by_spf_or_by_a_signature_of_its_own_domain() {
        let verdict = |finding: Finding| Verdict { findings: vec![finding], ..Verdict::default() };
        let path = at("a@example.net");
        for (finding, proven) in [
            (Finding::new("spf", "pass").with("smtp.mailfrom", "Example.net"), true),
            (Finding::new("dkim", "pass").with("header.d", "example.net"), true),
            (Finding::new("spf", "softfail").with("smtp.mailfrom", "example.net"), false),
            (Finding::new("spf", "pass").with("smtp.helo", "example.net"), false),
            (Finding::new("dkim", "pass").with("header.d", "example.com"), false),
            (Finding::new("dmarc", "pass").with("header.from", "example.net"), false),
        ] {
            assert_eq!(is_proven(&path, &verdict(finding.clone())), proven, "{finding:?}");
        }
        assert!(!is_proven(&path, &Verdict::default()));
    }
}
