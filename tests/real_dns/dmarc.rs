//! DMARC: who vouches for whom, which policy counts, and what is done.

use super::case::Fate::{Inbox, Junk, Refused};
use super::case::{Case, Fate};

/// What `[policy] dmarc` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `"enforce"`, the default: what is refused below goes to Junk, unless its `From` is broken as well.
    Enforce,
    /// `"strict"`.
    Strict,
}
use super::dkim::Keys;
use crate::authentication::message;

/// Name, domain of the reverse-path, `From` fields, domain of the signature, fate.
struct Row(&'static str, &'static str, &'static str, Option<&'static str>, Fate);

const ROWS: &[Row] = &[
    Row("SPF of the author", "reject.test", "ann@reject.test", None, Inbox(PASS)),
    Row("SPF below the author", "news.reject.test", "ann@reject.test", None, Inbox(PASS)),
    Row("DKIM below the author", NOBODY, "ann@reject.test", Some("news.reject.test"), Inbox(PASS)),
    Row("SPF is not exact", "news.exact.test", "ann@exact.test", None, EXACT),
    Row("DKIM is not exact", NOBODY, "ann@exact.test", Some("news.exact.test"), EXACT),
    Row("nobody vouches", NOBODY, "ann@reject.test", None, REJECT),
    Row("SPF of somebody else", "spf-ip4.test", "ann@reject.test", None, REJECT),
    Row("DKIM of somebody else", NOBODY, "ann@reject.test", Some("open.test"), REJECT),
    Row("no policy", NOBODY, "ann@plain.test", None, Inbox(&["dmarc=none header.from=plain.test"])),
    Row("quarantine", NOBODY, "ann@quarantine.test", None, Junk(&["dmarc=fail", "policy.dmarc=quarantine"])),
    Row("nothing is wanted", NOBODY, "ann@nothing.test", None, Inbox(&["dmarc=fail", "policy.dmarc=none"])),
    Row("reject on trial", NOBODY, "ann@trial.test", None, Junk(&["dmarc=fail", "policy.dmarc=reject"])),
    Row("quarantine on trial", NOBODY, "ann@mild-trial.test", None, Inbox(&["policy.dmarc=quarantine"])),
    Row("p, and not sp", NOBODY, "ann@parent.test", None, Inbox(&["dmarc=fail", "policy.dmarc=none"])),
    Row("sp", NOBODY, "ann@there.parent.test", None, Junk(&["dmarc=fail", "policy.dmarc=quarantine"])),
    Row(
        "np",
        NOBODY,
        "ann@gone.parent.test",
        None,
        Refused("550 5.7.1 The DMARC policy of gone.parent.test"),
    ),
    Row(
        "a walk",
        NOBODY,
        "ann@a.b.c.d.e.f.g.h.walk.test",
        None,
        Refused("550 5.7.1 The DMARC policy of a.b.c.d"),
    ),
    Row("two walks meet", "spf.walk.test", "ann@a.b.c.d.e.f.g.h.walk.test", None, Inbox(&["dmarc=pass"])),
    Row("the suffix's policy", NOBODY, "ann@shop.suffix.test", None, SHOP),
    Row("another of the suffix", "rival.suffix.test", "ann@shop.suffix.test", None, SHOP),
    Row("below the suffix", "news.shop.suffix.test", "ann@shop.suffix.test", None, Inbox(&["dmarc=pass"])),
    Row(
        "a house of its own",
        "house.test",
        "ann@unit.house.test",
        None,
        Refused("550 5.7.1 The DMARC policy of unit"),
    ),
    Row("two records", NOBODY, "ann@twice.test", None, Inbox(&["dmarc=none header.from=twice.test"])),
    Row("no such policy", NOBODY, "ann@broken.test", None, Inbox(&["dmarc=permerror"])),
    Row(
        "no such policy, reports",
        NOBODY,
        "ann@heard.test",
        None,
        Inbox(&["dmarc=fail", "policy.dmarc=none"]),
    ),
    Row("two authors", "spf-ip4.test", "bob@spf-ip4.test, ann@reject.test", None, REJECT),
    Row(TWO_FIELDS, "spf-ip4.test", "bob@spf-ip4.test\r\nFrom: ann@reject.test", None, REJECT),
    Row(
        "two plain From fields",
        NOBODY,
        "bob@plain.test\r\nFrom: ann@plain.test",
        None,
        Junk(&["dmarc=permerror"]),
    ),
    Row(
        "the sixth of six",
        NOBODY,
        "a@a.test, b@b.test, c@c.test, d@d.test, e@e.test, ann@reject.test",
        None,
        Junk(&["dmarc=permerror"]),
    ),
    Row(
        "a field folded before its colon",
        NOBODY,
        "bob@plain.test\r\nFrom\r\n : ann@plain.test",
        None,
        Junk(&["dmarc=permerror"]),
    ),
    Row(
        "one that passes beside one of nobody",
        "reject.test",
        "ann@reject.test\r\nFrom: ann@plain.test",
        None,
        Junk(&["dmarc=permerror"]),
    ),
    Row(
        "two fields of which one fails without a wish",
        NOBODY,
        "ann@nothing.test\r\nFrom: ann@plain.test",
        None,
        Junk(&["dmarc=fail", "policy.dmarc=none"]),
    ),
    Row("no author", NOBODY, "nobody in particular:;", None, Junk(&["dmarc=permerror"])),
];

/// In these fields is more than a failure.
const TWO_FIELDS: &str = "two From fields";
/// Its domain says nothing.
const NOBODY: &str = "elsewhere.test";
const PASS: &[&str] = &["dmarc=pass header.from=reject.test policy.dmarc=reject"];
const REJECT: Fate = Refused("550 5.7.1 The DMARC policy of reject.test is to refuse this message");
const EXACT: Fate = Refused("550 5.7.1 The DMARC policy of exact.test is to refuse this message");
const SHOP: Fate = Refused("550 5.7.1 The DMARC policy of shop.suffix.test is to refuse this message");

/// All of them.
pub(super) fn cases(keys: &Keys, mode: Mode) -> impl Iterator<Item = Case> {
    ROWS.iter().map(move |Row(name, vouching, author, signer, fate)| {
        let octets = message("author.test", name).replacen("Ann <ann@author.test>", author, 1).into_bytes();
        Case {
            name: (*name).to_owned(),
            reverse_path: format!("bounce@{vouching}"),
            octets: match signer {
                Some(domain) => keys.rsa.sign(&[&format!("d={domain}")], &octets),
                None => octets,
            },
            fate: match fate {
                Refused(_) if mode == Mode::Enforce && *name != TWO_FIELDS => {
                    Junk(&["dmarc=fail", "policy.dmarc=reject"])
                }
                fate => *fate,
            },
        }
    })
}
