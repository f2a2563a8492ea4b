//! The rows of the scoring table: each sign, its points, and what it adds to a DMARC failure.

/// What a sign says about a message that fails DMARC, beyond that failure. RFC 9989 section 7.4: nobody refuses only
/// because the owner of the author's domain publishes `p=reject`; it takes other knowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Nothing: it is that failure again, or one of its causes. A list's message that lost its signature has these signs
    /// as well, and so has one that came by a forwarder.
    SameFact,
    /// Too little: honest hosts have it, and RFC 5321 section 4.1.4 forbids to refuse for it.
    TooLittle,
    /// Something of its own, about the client or about the form of the message.
    Evidence,
}

/// One row of the scoring table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// The name of the sign, such as `spf-fail`.
    pub name: &'static str,
    /// In tenths; `edge.toml` may give it others.
    pub tenths: i32,
    /// What it adds to a DMARC failure. There is no row without an answer.
    pub beside_dmarc: Beside,
}

const fn row(name: &'static str, tenths: i32, beside_dmarc: Beside) -> Row {
    Row { name, tenths, beside_dmarc }
}

/// The rows. Lists of addresses are no rows: they are the operator's, see [`LIST`].
pub(crate) const ROWS: &[Row] = &[
    // The client spoke before it was greeted.
    row("pregreet", 60, Beside::Evidence),
    // It sent commands before the reply to EHLO.
    row("early-talker", 20, Beside::Evidence),
    // Its address has no name.
    row("no-ptr", 15, Beside::Evidence),
    // The name of its address does not lead back to it.
    row("ptr-mismatch", 10, Beside::Evidence),
    // It calls itself something without a domain.
    row("helo-bare", 10, Beside::Evidence),
    // It calls itself by this host's name or address.
    row("helo-ours", 60, Beside::Evidence),
    // The name it calls itself has no address.
    row("helo-unknown", 7, Beside::TooLittle),
    // SPF says that it may not send for the domain.
    row("spf-fail", 30, Beside::SameFact),
    // SPF says that it probably may not.
    row("spf-softfail", 10, Beside::SameFact),
    // The SPF record can't be understood, or DNS does not answer.
    row("spf-error", 5, Beside::SameFact),
    // The message is signed and no signature holds.
    row("dkim-fail", 5, Beside::SameFact),
    // Nobody vouches for the author's domain.
    row("dmarc-fail", 20, Beside::SameFact),
    // The author's domain is vouched for.
    row("dmarc-pass", -15, Beside::SameFact),
    // The From field names no author, or several.
    row("from-broken", 60, Beside::Evidence),
    // The reverse-path is null and the message is no notification.
    row("forged-dsn", 40, Beside::Evidence),
];

/// How the signs of `[[list]]` begin; the list's zone follows. They are evidence: what somebody knows of the address has
/// nothing to do with the author. One of the good speaks for the client as it does in the sum.
pub(crate) const LIST: &str = "list:";

/// Whether there is such a row.
pub(crate) fn is_row(name: &str) -> bool {
    ROWS.iter().any(|row| row.name == name)
}
