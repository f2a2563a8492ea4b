//! SPF: each mechanism, each result, and the limits.

use super::case::{Case, Fate};
use crate::authentication::message;

/// Reverse-paths of these domains, and what the results say.
const ROWS: &[(&str, &[&str])] = &[
    ("spf-ip4.test", PASS),
    ("spf-a.test", PASS),
    ("spf-mx.test", PASS),
    ("spf-include.test", PASS),
    ("spf-redirect.test", PASS),
    ("spf-exists.test", PASS),
    ("spf-strings.test", PASS),
    ("spf-alias.test", PASS),
    ("any.spf-wild.test", &["spf=pass smtp.mailfrom=any.spf-wild.test"]),
    ("spf-fail.test", &["spf=fail smtp.mailfrom=spf-fail.test"]),
    ("spf-softfail.test", &["spf=softfail smtp.mailfrom=spf-softfail.test"]),
    ("spf-neutral.test", &["spf=neutral smtp.mailfrom=spf-neutral.test"]),
    ("spf-unsaid.test", &["spf=neutral smtp.mailfrom=spf-unsaid.test"]),
    ("spf-none.test", &["spf=none smtp.mailfrom=spf-none.test"]),
    ("gone.test", &["spf=none smtp.mailfrom=gone.test"]),
    ("spf-ten.test", PASS),
    ("spf-eleven.test", BROKEN),
    ("spf-two-voids.test", PASS),
    ("spf-three-voids.test", BROKEN),
    ("spf-six-hosts.test", PASS),
    ("spf-twice.test", BROKEN),
    ("spf-syntax.test", BROKEN),
    ("spf-loop.test", BROKEN),
    ("spf-no-include.test", BROKEN),
];

/// The name of the client's address is in no zone, and is not taken from this machine's hosts file.
const PASS: &[&str] = &["spf=pass smtp.mailfrom=spf-", "policy.iprev=127.0.0.1 policy.ptr=localhost"];
const BROKEN: &[&str] = &["spf=permerror smtp.mailfrom=spf-"];

/// All of them. Their author's domain has no DMARC, so that all are delivered.
pub(super) fn cases() -> impl Iterator<Item = Case> {
    ROWS.iter().map(|(domain, results)| Case {
        name: (*domain).to_owned(),
        reverse_path: format!("ann@{domain}"),
        octets: message("plain.test", domain).into_bytes(),
        fate: Fate::Inbox(results),
    })
}
