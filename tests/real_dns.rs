//! Mail authentication with a real name server, whose zones are signed and hold what the internet's hold, and with
//! real signers: what passes, what fails, and what breaks a rule.

mod aliases;
mod case;
mod dkim;
mod dmarc;
mod spf;

use std::net::SocketAddr;
use std::time::Duration;

use testkit::dkim::{DkimKey, KeyKind};
use testkit::filter::OpenDkim;
use testkit::imap::json;
use testkit::knot::{self, Knot};
use testkit::postfix::Postfix;
use testkit::smtp::SmtpClient;
use testkit::{Pair, PairOptions, process, until};

use self::case::Case;
use crate::alone;
use crate::authentication::{STRICT, message, results_of};

const PATIENCE: Duration = Duration::from_secs(60);
const ZONE: &str = include_str!("real_dns/test.zone");
/// A client that fails is not asked to come again: what else is found out about its message is to be seen.
const NO_GREYLIST: &str = "[policy]\ngreylist = false";

/// Knot with the zone and more TXT records in it.
pub(crate) fn knot(records: &[(&str, String)]) -> Knot {
    let records: String = records.iter().map(|(name, text)| knot::txt(name, text)).collect();
    Knot::start(&[
        ("test", &format!("{ZONE}{records}")),
        ("2.0.192.in-addr.arpa", "7 PTR named.test.\n8 PTR named.test.\n"),
        ("8.b.d.0.1.0.0.2.ip6.arpa", &format!("7.{}0 PTR named.test.\n", "0.".repeat(22))),
    ])
}

/// A pair whose edge asks Knot. Everything else is as the two parts of configuration say.
pub(crate) fn pair(knot: &Knot, edge_config: &str, home_config: &str) -> Pair {
    Pair::with(&PairOptions {
        edge_config: edge_config.to_owned(),
        home_config: home_config.to_owned(),
        name_server: Some(knot.address()),
        ..PairOptions::default()
    })
}

#[test]
fn messages_that_pass_fail_and_break_every_rule_are_judged_by_signed_zones() {
    let _alone = alone();
    let keys = dkim::Keys::new();
    let knot = knot(&keys.records());
    let answer = knot.ask("spf-ip4.test", "TXT", &["+dnssec"]);
    assert!(answer.contains("v=spf1") && answer.contains("RRSIG"), "signed: {answer}");
    let answer = knot.ask("big._domainkey.open.test", "TXT", &["+bufsize=1232"]);
    assert!(answer.contains("Flags: qr aa tc"), "too large for UDP, so that TCP has to be asked: {answer}");
    all_have_their_fate(&pair(&knot, NO_GREYLIST, ""), {
        spf::cases().chain(dkim::cases(&keys)).chain(dmarc::cases(&keys, dmarc::Mode::Enforce))
    });
    let strict = format!("{STRICT}\ngreylist = false");
    all_have_their_fate(&pair(&knot, &strict, ""), dmarc::cases(&keys, dmarc::Mode::Strict));
}

fn all_have_their_fate(pair: &Pair, cases: impl Iterator<Item = Case>) {
    let cases: Vec<Case> = cases.collect();
    let mut wrong: Vec<String> = cases.iter().filter_map(|case| case.send(pair)).collect();
    let bob = pair.account("bob");
    let (inbox, junk) = (bob.messages("INBOX"), bob.messages("Junk"));
    wrong.extend(cases.iter().filter_map(|case| case.find(&inbox, &junk)));
    assert!(wrong.is_empty(), "of {} messages:\n{}", cases.len(), wrong.join("\n"));
}

/// The client of a test is always on loopback, whose name is not asked of any server (RFC 6761).
#[test]
fn addresses_of_the_internet_are_known_by_their_names() {
    let _alone = alone();
    let knot = knot(&[]);
    let why = "192.0.2.9 may not send for spf-fail.test; ask postmaster@spf-fail.test";
    let cases = [
        ("192.0.2.7", "spf-ptr.test", "pass", None),
        ("2001:db8::7", "spf-ptr.test", "pass", None),
        ("192.0.2.8", "spf-ptr.test", "fail", None),
        ("192.0.2.9", "spf-ptr.test", "fail", None),
        ("2001:db8::8", "spf-ip6.test", "pass", None),
        ("2001:db9::8", "spf-ip6.test", "fail", None),
        ("2001:db8::8", "spf-four-hosts.test", "pass", None),
        ("192.0.2.9", "spf-fail.test", "fail", Some(why)),
    ];
    for (ip, domain, result, explanation) in cases {
        let mut postern = process::command(None, testkit::binary::postern());
        postern.args(["check", "spf", "--json", "--resolver", &knot.address().to_string(), "--ip", ip]);
        postern.args(["--helo", "named.test", "--mail-from", &format!("ann@{domain}")]);
        let said = json(&process::run_ok(postern, b"", PATIENCE));
        assert_eq!(said["spf"]["result"], result, "{ip} for {domain}: {said}");
        assert_eq!(said["spf"]["explanation"].as_str(), explanation, "{ip} for {domain}: {said}");
    }
}

#[test]
fn what_opendkim_signs_behind_postfix_holds_until_it_is_changed() {
    let _alone = alone();
    let (rsa, ed25519) = (DkimKey::new(KeyKind::Rsa(2048)), DkimKey::new(KeyKind::Ed25519));
    let knot = knot(&[
        ("sel._domainkey.rsa", rsa.record()),
        ("_dmarc.rsa", "v=DMARC1; p=reject; adkim=s".to_owned()),
        ("sel._domainkey.ed", ed25519.record()),
        ("_dmarc.ed", "v=DMARC1; p=reject; adkim=s".to_owned()),
    ]);
    let pair = pair(&knot, STRICT, "");
    let signings = [
        ("rsa.test", &rsa, "rsa-sha256", "relaxed/simple"),
        ("rsa.test", &rsa, "rsa-sha256", "simple/simple"),
        ("ed.test", &ed25519, "ed25519-sha256", "relaxed/relaxed"),
    ];
    for (domain, key, algorithm, forms) in signings {
        let opendkim = OpenDkim::signer(domain, &key.pem(), algorithm, forms);
        let postfix = Postfix::sender("mail.test", opendkim.address, pair.smtp);
        let subject = format!("{algorithm} {forms}");
        let reply = send(postfix.address(), &message(domain, &subject));
        assert!(reply.starts_with("250"), "{reply}\n{}", opendkim.log());
        let arrived = until("Postfix has sent it on", PATIENCE, || {
            let mut inbox = pair.account("bob").messages("INBOX").into_iter();
            inbox.find(|stored| results_of(std::slice::from_ref(stored), &subject).is_some())
        });
        let results = results_of(std::slice::from_ref(&arrived), &subject).unwrap();
        let wanted = format!("dkim=pass header.d={domain} header.s=sel header.a={algorithm}");
        assert!(results.contains(&wanted) && results.contains("dmarc=pass"), "{results}");
        changes_break_it(&pair, &String::from_utf8(arrived).unwrap(), forms);
    }
}

fn send(server: SocketAddr, sent: &str) -> String {
    let mut client = SmtpClient::ready(server).unwrap();
    client.message("bounce@elsewhere.test", &["bob@example.org"], sent.as_bytes()).unwrap()
}

/// Sends what was signed once more, as it was and changed.
fn changes_break_it(pair: &Pair, arrived: &str, forms: &str) {
    let signed = &arrived[arrived.find("DKIM-Signature:").unwrap()..];
    let refused = "550 5.7.1 The DMARC policy of";
    let spaces = if forms.starts_with("relaxed") { "250" } else { refused };
    let changes = [
        ("Subject:", "Subject:", "250"),
        ("Subject: ", "Subject:   ", spaces),
        ("Subject: ", "Subject: Re: ", refused),
        ("words", "swords", refused),
        ("From: ", "From: Eve <eve@elsewhere.test>\r\nFrom: ", refused),
    ];
    for (from, to, start) in changes {
        let reply = send(pair.smtp, &signed.replacen(from, to, 1));
        assert!(reply.starts_with(start), "{forms}, {from:?} is {to:?}: {reply}");
    }
}
