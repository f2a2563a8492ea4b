//! DKIM: signatures that hold, messages that were changed, keys and signatures that can't be used.

use testkit::dkim::{DkimKey, KeyKind};

use self::Change::{Added, Nothing, Replaced};
use self::With::{Ed25519, Large, Rsa, Short};
use super::case::{Case, ELSEWHERE, Fate};
use crate::authentication::message;

/// The keys of the signed domains.
pub(super) struct Keys {
    pub(super) rsa: DkimKey,
    large: DkimKey,
    ed25519: DkimKey,
    short: DkimKey,
}

/// Which key signs.
#[derive(Clone, Copy)]
enum With {
    Rsa,
    Large,
    Ed25519,
    Short,
}

/// What is done to the signed message.
#[derive(Clone, Copy)]
enum Change {
    Nothing,
    /// The first of the one becomes the other.
    Replaced(&'static str, &'static str),
    /// A signature that holds, above the other.
    Added,
}

struct Row(&'static str, With, &'static [&'static str], Change, &'static [&'static str]);

/// Name, key, tags, change, results. `open.test` has no DMARC: all are delivered, whatever they are worth.
const ROWS: &[Row] = &[
    Row("relaxed", Rsa, &[], Nothing, &["dkim=pass header.d=open.test header.s=sel header.a=rsa-sha256"]),
    Row("simple", Rsa, &["c=simple/simple"], Nothing, &["dkim=pass header.d=open.test header.s=sel"]),
    Row("an alias of the key", Rsa, &["s=alias"], Nothing, &["dkim=pass header.d=open.test header.s=alias"]),
    Row("a key that needs TCP", Large, &["s=big"], Nothing, &["dkim=pass header.d=open.test header.s=big"]),
    Row("Ed25519", Ed25519, &["s=ed"], Nothing, &["header.s=ed header.a=ed25519-sha256", "dkim=pass"]),
    Row("a key on trial", Rsa, &["s=trial"], Nothing, &["dkim=pass header.d=open.test header.s=trial"]),
    Row("an agent below", Rsa, &["i=ann@sub.open.test"], Nothing, &["dkim=pass header.d=open.test"]),
    Row("body changed", Rsa, &[], Replaced("words", "swords"), BODY),
    Row("body spaces, relaxed", Rsa, &[], Replaced("words \t ", "words"), &["dkim=pass"]),
    Row("body spaces, simple", Rsa, &["c=relaxed/simple"], Replaced("words \t ", "words"), BODY),
    Row("header changed", Rsa, &[], Replaced("<ann@", "<eve@"), HEADER),
    Row("header spaces, relaxed", Rsa, &[], Replaced("From: Ann", "from:   Ann"), &["dkim=pass"]),
    Row("header spaces, simple", Rsa, &["c=simple/simple"], Replaced("From: Ann", "From:  Ann"), HEADER),
    Row("another key", Large, &[], Nothing, HEADER),
    Row("expired", Rsa, &["t=1000000000", "x=1000003600"], Nothing, &[r#"dkim=fail reason="expired""#]),
    Row(
        "from the future",
        Rsa,
        &["t=9999999999"],
        Nothing,
        &[r#"dkim=policy reason="signed in the future""#],
    ),
    Row("revoked", Rsa, &["s=revoked"], Nothing, &[r#"dkim=permerror reason="key is revoked""#]),
    Row("no key", Rsa, &["s=gone"], Nothing, &[r#"dkim=permerror reason="no key is published""#]),
    Row("512 bits", Short, &["s=short"], Nothing, &[r#"dkim=permerror reason="key is too short""#]),
    Row("not for mail", Rsa, &["s=tls"], Nothing, &[r#"dkim=permerror reason="key is not for mail""#]),
    Row("an exact key", Rsa, &["s=exact"], Nothing, &["dkim=pass header.d=open.test header.s=exact"]),
    Row("below an exact key", Rsa, &["s=exact", "i=ann@sub.open.test"], Nothing, &[EXACT]),
    Row("an agent elsewhere", Rsa, &["i=ann@other.test"], Nothing, &["dkim=neutral"]),
    Row("another version", Rsa, &["v=2"], Nothing, &[r#"dkim=neutral reason="v= is not 1""#]),
    Row("SHA-1", Rsa, &["a=rsa-sha1"], Nothing, &[r#"dkim=permerror reason="rsa-sha1 is not accepted""#]),
    Row("a part of the body", Rsa, &["l=all"], Nothing, &["dkim=policy"]),
    Row(
        "one of two holds",
        Rsa,
        &["t=1000000000", "x=1000003600"],
        Added,
        &["dkim=pass", r#"reason="expired""#],
    ),
];

const BODY: &[&str] = &[r#"dkim=fail reason="the body was changed""#];
const HEADER: &[&str] = &[r#"dkim=fail reason="the signature is not that of the header and the key""#];
const EXACT: &str = r#"dkim=permerror reason="the key allows no domain below it (t=s)""#;

impl Keys {
    pub(super) fn new() -> Self {
        let rsa = |bits| DkimKey::new(KeyKind::Rsa(bits));
        Self { rsa: rsa(2048), large: rsa(4096), ed25519: DkimKey::new(KeyKind::Ed25519), short: rsa(512) }
    }

    /// What is published of them.
    pub(super) fn records(&self) -> Vec<(&'static str, String)> {
        let rsa = self.rsa.record();
        vec![
            ("sel._domainkey.open", rsa.clone()),
            ("big._domainkey.open", format!("{}; n={}", self.large.record(), "notes ".repeat(120))),
            ("ed._domainkey.open", self.ed25519.record()),
            ("short._domainkey.open", self.short.record()),
            ("tls._domainkey.open", format!("{rsa}; s=tls")),
            ("exact._domainkey.open", format!("{rsa}; t=s")),
            ("trial._domainkey.open", format!("{rsa}; t=y")),
            ("sel._domainkey.news.reject", rsa.clone()),
            ("sel._domainkey.news.exact", rsa),
        ]
    }

    fn of(&self, with: With) -> &DkimKey {
        match with {
            Rsa => &self.rsa,
            Large => &self.large,
            Ed25519 => &self.ed25519,
            Short => &self.short,
        }
    }
}

/// All of them.
pub(super) fn cases(keys: &Keys) -> impl Iterator<Item = Case> {
    ROWS.iter().map(|Row(name, with, tags, change, results)| {
        let tags = [&["d=open.test"], *tags].concat();
        let signed = keys.of(*with).sign(&tags, message("open.test", name).as_bytes());
        Case {
            name: (*name).to_owned(),
            reverse_path: ELSEWHERE.to_owned(),
            octets: changed(signed, *change, &keys.rsa),
            fate: Fate::Inbox(results),
        }
    })
}

fn changed(signed: Vec<u8>, change: Change, key: &DkimKey) -> Vec<u8> {
    match change {
        Nothing => signed,
        Added => key.sign(&["d=open.test"], &signed),
        Replaced(from, to) => {
            let text = String::from_utf8(signed).unwrap();
            assert!(text.contains(from), "no {from:?} in {text}");
            text.replacen(from, to, 1).into_bytes()
        }
    }
}
