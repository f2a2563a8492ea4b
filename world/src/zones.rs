//! The names of this world.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use testkit::knot::txt;

use crate::place::{EDGE, Neighbour, POSTFIX_EDGE, SECOND_EDGE, SINK, SPAMMER};

/// The zones below the root.
pub(crate) const ZONES: [&str; 17] = [
    "arpa",
    "in-addr.arpa",
    "113.0.203.in-addr.arpa",
    "org",
    "example.org",
    "test",
    "other.test",
    "seed.test",
    "hearth.test",
    "postfix.test",
    "exim.test",
    "opensmtpd.test",
    "chasquid.test",
    "sink.test",
    "spammer.test",
    "innocent.test",
    "dnsbl.test",
];

/// Their records. `keys` are names and texts of DKIM keys.
pub(crate) fn records(keys: &[(String, String)]) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("example.org", ours() + &texts(keys, "example.org")),
        ("other.test", txt("@", "v=spf1 mx -all") + "@ MX 10 mx.example.org.\n" + &texts(keys, "other.test")),
        ("seed.test", theirs(POSTFIX_EDGE) + &texts(keys, "seed.test")),
        ("hearth.test", "@ MX 10 mx.example.org.\n".to_owned()),
        ("sink.test", theirs(SINK)),
        ("spammer.test", format!("@ MX 10 mx\nmx A {SPAMMER}\n")),
        ("innocent.test", "@ MX 10 mx\nmx A 203.0.113.99\n".to_owned() + &txt("@", "v=spf1 -all")),
        // RFC 5782: 127.0.0.2 is on every list.
        ("dnsbl.test", format!("2.0.0.127 A 127.0.0.2\n{} A 127.0.0.2\n", reversed(SPAMMER))),
        ("113.0.203.in-addr.arpa", reverse()),
    ];
    all.extend(Neighbour::ALL.map(|neighbour| (neighbour.domain(), theirs(neighbour.address()))));
    all
}

/// Of a domain that says who may send for it, and wants all else refused.
fn theirs(address: Ipv4Addr) -> String {
    let spf = format!("v=spf1 ip4:{address} -all");
    format!("@ MX 10 mx\nmx A {address}\n") + &txt("@", &spf) + &txt("mx", &spf) + &strict()
}

fn ours() -> String {
    let hosts = format!("@ MX 10 mx\n@ MX 20 mx2\nmx A {EDGE}\nmx2 A {SECOND_EDGE}\n");
    hosts
        + &txt("@", "v=spf1 mx -all")
        + &txt("mx", "v=spf1 a -all")
        + &txt("mx2", "v=spf1 a -all")
        + &strict()
}

fn strict() -> String {
    txt("_dmarc", "v=DMARC1; p=reject")
}

fn texts(keys: &[(String, String)], domain: &str) -> String {
    let own = keys.iter().filter(|(name, _)| name.ends_with(&format!(".{domain}")));
    own.map(|(name, text)| txt(&format!("{name}."), text)).collect()
}

fn reverse() -> String {
    let mut text = String::new();
    let ours = [(EDGE, "mx.example.org".to_owned()), (SECOND_EDGE, "mx2.example.org".to_owned())];
    let others = Neighbour::ALL.map(|one| (one.address(), format!("mx.{}", one.domain())));
    for (address, name) in ours.into_iter().chain(others) {
        let _ = writeln!(text, "{} PTR {name}.", address.octets()[3]);
    }
    text
}

fn reversed(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("{d}.{c}.{b}.{a}")
}
