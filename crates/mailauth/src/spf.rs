//! SPF: may this address send for this domain? (RFC 7208)

mod evaluate;
mod macros;
mod record;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::dns::Resolver;
use evaluate::Evaluation;

/// Most terms of a check that ask DNS (RFC 7208 section 4.6.4).
pub const LOOKUPS_MAX: u32 = 10;
/// Most terms with an answer that has no records (RFC 7208 section 4.6.4).
pub const VOID_LOOKUPS_MAX: u32 = 2;
/// Most hosts of one `mx`, and most names of one address that `ptr` looks at (RFC 7208 section 4.6.4).
pub const NAMES_MAX: usize = 10;

/// What a check says (RFC 7208 section 2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, serde::Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum SpfResult {
    /// There is no record, or no domain to ask for.
    #[default]
    None,
    /// The domain's owner says nothing about this address.
    Neutral,
    /// The address may send for the domain.
    Pass,
    /// The address may not send for the domain.
    Fail,
    /// The address probably may not send for the domain.
    SoftFail,
    /// DNS gave no answer now.
    TempError,
    /// The record can't be understood.
    PermError,
}

impl SpfResult {
    /// The word of RFC 8601 section 2.7.2.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for SpfResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which name was checked (RFC 7208 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// The domain of the reverse-path.
    #[default]
    MailFrom,
    /// The name that the client gave in HELO or EHLO.
    Helo,
}

/// What is checked. The texts come from a stranger and need not be well-formed.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The client's address.
    pub ip: IpAddr,
    /// The name that the client gave in HELO or EHLO.
    pub helo: &'a str,
    /// The reverse-path without angle brackets; empty for the null reverse-path, which stands for
    /// `postmaster@` the name in `helo` (RFC 7208 section 2.4).
    pub mail_from: &'a str,
    /// This host, for explanations.
    pub receiver: &'a str,
    /// Now, in seconds since 1970, for explanations.
    pub now: u64,
}

/// The result of SPF for one client and domain, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spf {
    /// The result.
    pub result: SpfResult,
    /// The domain that was checked.
    pub domain: String,
    /// The identity that gave the domain: reverse-path or HELO.
    pub identity: Identity,
    /// What the domain's owner says to those whom it fails (`exp=`). Written by a stranger: it is ASCII,
    /// without controls, and bounded.
    pub explanation: Option<String>,
    /// The term that decided, or what is wrong with the record, for people.
    pub reason: String,
    /// The terms that were tried, in order, one line each; empty unless [`check_with_path`] was asked.
    pub path: Vec<String>,
}

/// Checks the reverse-path of a message; for the null one, the client's own name.
pub async fn check(resolver: &impl Resolver, query: &Query<'_>) -> Spf {
    let (evaluation, identity) = prepare(resolver, query);
    evaluation.run(identity).await
}

/// As [`check`], and keeps the path to the result, for people who want to see it.
pub async fn check_with_path(resolver: &impl Resolver, query: &Query<'_>) -> Spf {
    let (evaluation, identity) = prepare(resolver, query);
    evaluation.with_path().run(identity).await
}

fn prepare<'a, R: Resolver>(resolver: &'a R, query: &'a Query<'a>) -> (Evaluation<'a, R>, Identity) {
    let identity = if query.mail_from.is_empty() { Identity::Helo } else { Identity::MailFrom };
    let (local, domain) = match query.mail_from.rsplit_once('@') {
        Some((local, domain)) => (local, domain),
        None if identity == Identity::Helo => ("", query.helo),
        None => ("", query.mail_from),
    };
    let local = if local.is_empty() { "postmaster" } else { local };
    (Evaluation::new(resolver, query, local, domain), identity)
}

/// Checks what the client calls itself, whatever the reverse-path is.
pub async fn check_helo(resolver: &impl Resolver, query: &Query<'_>) -> Spf {
    check(resolver, &Query { mail_from: "", ..*query }).await
}

impl Spf {
    /// For a check that took too long.
    #[must_use]
    pub fn unanswered(query: &Query<'_>) -> Self {
        let identity = if query.mail_from.is_empty() { Identity::Helo } else { Identity::MailFrom };
        let domain = query.mail_from.rsplit_once('@').map_or(query.helo, |(_, domain)| domain);
        Self {
            result: SpfResult::TempError,
            domain: domain.to_owned(),
            identity,
            explanation: None,
            reason: "DNS took too long".to_owned(),
            path: Vec::new(),
        }
    }
}
