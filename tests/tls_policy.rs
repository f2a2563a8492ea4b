//! What other domains demand of TLS, by DANE in signed zones and by MTA-STS from a web server; Postfix is what
//! takes their mail.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use testkit::certificates::{Authority, PolicyServer};
use testkit::imap::json;
use testkit::knot::{Knot, txt};
use testkit::pair::PASSWORD;
use testkit::postfix::Postfix;
use testkit::{Pair, PairOptions, message, ports, process, until};

use crate::alone;
use crate::outbound::msmtp;

const PATIENCE: Duration = Duration::from_secs(90);
/// Where nobody speaks TLS.
const IN_THE_CLEAR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What a domain has published, and what has to come of mail for it.
struct Case {
    domain: &'static str,
    host: &'static str,
    /// The mode and the mail host of its policy.
    policy: Option<(&'static str, &'static str)>,
    /// A part of what the trace says of an attempt.
    told: &'static str,
    delivered: bool,
}

const fn case(
    domain: &'static str,
    host: &'static str,
    policy: Option<(&'static str, &'static str)>,
    told: &'static str,
) -> Case {
    Case { domain, host, policy, told, delivered: true }
}

impl Case {
    const fn deferred(mut self) -> Self {
        self.delivered = false;
        self
    }
}

/// Zones of their own below `test`, each with a mail host whose TLSA record fits nothing.
const CHILDREN: [&str; 3] = ["unsigned.test", "island.test", "forged.test"];

/// `dane`, `wrong` and `clear-dane` have TLSA records; the certificate names `dane` and `named`.
fn cases() -> Vec<Case> {
    let named = Some(("enforce", "named.test"));
    vec![
        case("d-match.test", "dane", None, "verified by DANE: 250"),
        case("d-wrong.test", "wrong", None, "without a connection: 4.7.5").deferred(),
        case("d-clear.test", "clear-dane", None, "without a connection: 4.7.10").deferred(),
        case("d-first.test", "wrong", Some(("enforce", "wrong.test")), "a connection: 4.7.5").deferred(),
        // Aliases: the records where they lead count first, then the alias's own.
        case("d-alias.test", "alias-dane", None, "verified by DANE: 250"),
        case("d-own.test", "alias-named", None, "verified by DANE: 250"),
        case("d-led.test", "alias-wrong", None, "without a connection: 4.7.5").deferred(),
        case("s-good.test", "named", named, "verified for MTA-STS: 250"),
        case("s-wild.test", "named", Some(("enforce", "*.test")), "verified for MTA-STS: 250"),
        case("s-name.test", "unnamed", named, "without a connection: 4.7.5").deferred(),
        case("s-cert.test", "unnamed", Some(("enforce", "unnamed.test")), "a connection: 4.7.5").deferred(),
        case("s-clear.test", "clear", Some(("enforce", "clear.test")), "a connection: 4.7.10").deferred(),
        case("s-trial.test", "unnamed", Some(("testing", "named.test")), "TLS1.3"),
        case("s-none.test", "clear", Some(("none", "named.test")), "no TLS: 250"),
        case("plain.test", "clear", None, "no TLS: 250"),
        // Signed aliases, one by a wildcard, into a zone that is not signed.
        case("out-plain.test", "alias-out", None, "250"),
        case("out-wild.test", "any.out", None, "250"),
        // Zones below: not signed, signed without the parent's word for it, and signed by another key.
        case("unsigned.test", "mx.unsigned.test.", None, "250"),
        case("island.test", "mx.island.test.", None, "250"),
        case("forged.test", "mx.forged.test.", None, "without a connection: 4.4.3").deferred(),
    ]
}

fn zone(cases: &[Case], port: u16, good: &str) -> String {
    let bad = format!("3 1 1 {}", "00".repeat(32));
    let mut zone = format!(
        "dane A 127.0.0.1\nwrong A 127.0.0.1\nnamed A 127.0.0.1\nunnamed A 127.0.0.1\n\
         clear A {IN_THE_CLEAR}\nclear-dane A {IN_THE_CLEAR}\n_{port}._tcp.dane TLSA {good}\n\
         _{port}._tcp.wrong TLSA {bad}\n_{port}._tcp.clear-dane TLSA {good}\n\
         alias-dane CNAME dane\nalias-named CNAME named\n_{port}._tcp.alias-named TLSA {good}\n\
         alias-out CNAME mx.unsigned\n*.out CNAME mx.unsigned\n\
         alias-wrong CNAME wrong\n_{port}._tcp.alias-wrong TLSA {good}\n"
    );
    for child in CHILDREN {
        zone += &format!("{child}. NS ns.test.\n");
    }
    zone += &format!("forged DS 12345 13 2 {}\n", "00".repeat(32));
    for case in cases.iter().filter(|case| !CHILDREN.contains(&case.domain)) {
        let label = case.domain.trim_end_matches(".test");
        zone += &format!("{label} MX 10 {}\n", case.host);
        if case.policy.is_some() {
            zone += &format!("mta-sts.{label} A 127.0.0.1\n");
            zone += &txt(&format!("_mta-sts.{label}"), "v=STSv1; id=1;");
        }
    }
    zone
}

struct World {
    cases: Vec<Case>,
    pair: Pair,
    encrypting: Postfix,
    clear: Postfix,
    policies: PolicyServer,
    knot: Knot,
}

impl World {
    fn new() -> Self {
        let cases = cases();
        let authority = Authority::new();
        let certificate = authority.issue(&["named.test", "dane.test"]);
        let names: Vec<String> = cases.iter().map(|case| format!("mta-sts.{}", case.domain)).collect();
        let policies =
            PolicyServer::start(&authority.issue(&names.iter().map(String::as_str).collect::<Vec<_>>()));
        for case in &cases {
            if let Some((mode, mx)) = case.policy {
                let policy = format!("version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n");
                policies.publish(&format!("mta-sts.{}", case.domain), &policy);
            }
        }
        let address = ports::free();
        let domains: Vec<&str> = cases.iter().map(|case| case.domain).collect();
        let encrypting = Postfix::receiver(address, &domains, Some(&certificate));
        let clear = Postfix::receiver((IN_THE_CLEAR, address.port()).into(), &domains, None);
        let zone = zone(&cases, address.port(), &certificate.tlsa());
        let child = format!(
            "@ MX 10 mx\nmx A 127.0.0.1\n_{}._tcp.mx TLSA 3 1 1 {}\n",
            address.port(),
            "00".repeat(32)
        );
        let [unsigned, island, forged] = CHILDREN.map(|name| (name, child.as_str()));
        let knot = Knot::start_with(&[("test", &zone), island, forged], &[unsigned]);
        let pair = Self::pair(&authority, &knot, address, &policies);
        Self { cases, pair, encrypting, clear, policies, knot }
    }

    fn pair(authority: &Authority, knot: &Knot, mx: SocketAddr, policies: &PolicyServer) -> Pair {
        let dir = authority.root().parent().unwrap().to_owned();
        let mut pair = Pair::with(&PairOptions {
            home_config: "[queue]\nretry = [\"1h\"]".to_owned(),
            outbound: true,
            name_server: Some(knot.address()),
            ..PairOptions::default()
        });
        // What has to outlive the authority's own files.
        let (anchors, roots) = (pair.dir().join("anchors"), pair.dir().join("roots.pem"));
        std::fs::write(&anchors, knot.trust_anchor("test")).unwrap();
        std::fs::copy(dir.join("authority.pem"), &roots).unwrap();
        pair.edge.configure(&format!(
            "[dns]\ntrust_anchors = \"{}\"\n[outbound]\nport = {}\nmta_sts_port = {}\nextra_roots = \"{}\"",
            anchors.display(),
            mx.port(),
            policies.address().port(),
            roots.display()
        ));
        pair.edge.restart();
        pair.wait_for_link();
        pair
    }

    fn send(&self, domain: &str, subject: &str) {
        let to = format!("you@{domain}");
        let output = msmtp(&self.pair, &[&to], &message::simple("alice@example.org", &to, subject));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The id of the last message that waits for a domain.
    fn last_to(&self, domain: &str) -> String {
        let waiting = json(&self.pair.home.command_ok(&["queue", "list", "--json"], ""));
        let to = format!("you@{domain}");
        let mut entries =
            waiting.as_array().unwrap().iter().filter(|entry| entry["waiting"][0] == to.as_str());
        entries.next_back().unwrap()["item"].as_str().unwrap().to_owned()
    }

    /// What the trace tells of the attempts to a domain, once there are so many.
    fn attempts(&self, domain: &str, count: usize) -> Vec<String> {
        until(&format!("{count} attempts to {domain}"), PATIENCE, || {
            let story = self.pair.home.command(&["trace", domain], "");
            let story = String::from_utf8_lossy(&story.stdout).into_owned();
            let to = format!("to {domain} ");
            let told: Vec<String> =
                story.lines().filter(|line| line.contains(&to)).map(str::to_owned).collect();
            (told.len() >= count).then_some(told)
        })
    }

    fn arrived(&self) -> Vec<String> {
        let all = [self.encrypting.messages("you"), self.clear.messages("you")].concat();
        let to = |message: &Vec<u8>| message::field(&message::with_crlf(message), "Delivered-To").unwrap();
        let mut domains: Vec<String> =
            all.iter().map(to).map(|to| to.split('@').nth(1).unwrap().trim().to_owned()).collect();
        domains.sort();
        domains
    }
}

#[test]
fn the_strongest_of_what_a_domain_demands_of_tls_decides_whether_mail_is_sent() {
    let _alone = alone();
    let mut world = World::new();
    for case in &world.cases {
        world.send(case.domain, "first");
    }
    let mut wrong = Vec::new();
    for case in &world.cases {
        let told = world.attempts(case.domain, 1);
        if !told[0].contains(case.told) {
            let story = world.pair.home.command_ok(&["trace", case.domain], "");
            wrong.push(format!("{} has no '{}': {story}", case.domain, case.told));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), world.pair.edge.log());
    let delivered = world.cases.iter().filter(|case| case.delivered).map(|case| case.domain.to_owned());
    let mut delivered: Vec<String> = delivered.collect();
    delivered.sort();
    until("what was taken is in its mailbox", PATIENCE, || {
        (world.arrived().len() >= delivered.len()).then_some(())
    });
    assert_eq!(world.arrived(), delivered, "and nothing else");
    a_policy_outlives_a_restart_and_its_web_server(&mut world);
    what_would_happen_is_explained(&world);
    a_message_that_requires_tls_goes_nowhere_without_it(&world);
    assert_eq!(world.arrived(), delivered, "and nothing more");
}

/// Hands a message in that asks for REQUIRETLS.
const REQUIRING: &str = "
import smtplib, ssl, sys
host, port, password, to = sys.argv[1:]
context = ssl._create_unverified_context()
with smtplib.SMTP_SSL(host, int(port), context=context) as client:
    client.login('alice@example.org', password)
    text = 'From: alice@example.org\\r\\nTo: ' + to + '\\r\\nSubject: third\\r\\n\\r\\nhello\\r\\n'
    client.sendmail('alice@example.org', [to], text, mail_options=['REQUIRETLS'])
";

fn a_message_that_requires_tls_goes_nowhere_without_it(world: &World) {
    let submission = world.pair.submission;
    let told =
        [("d-match.test", "without a connection: 5.7.30"), ("plain.test", "without a connection: 5.7.10")];
    for (domain, told) in told {
        let mut python = process::command(None, "/usr/bin/python3");
        python.args(["-c", REQUIRING, &submission.ip().to_string(), &submission.port().to_string()]);
        python.args([PASSWORD, &format!("you@{domain}")]);
        process::run_ok(python, b"", PATIENCE);
        let attempts = world.attempts(domain, 2);
        assert!(attempts.iter().any(|attempt| attempt.contains(told)), "{told}: {attempts:?}");
    }
}

fn a_policy_outlives_a_restart_and_its_web_server(world: &mut World) {
    let asked = world.policies.log().matches("asked mta-sts.s-name.test").count();
    for case in &world.cases {
        world.policies.publish(&format!("mta-sts.{}", case.domain), "redirect https://elsewhere.test/");
    }
    world.pair.edge.restart();
    world.pair.wait_for_link();
    world.send("s-name.test", "second");
    // The domain rests since the first one found no way.
    world.pair.home.command_ok(&["queue", "retry", &world.last_to("s-name.test")], "");
    let told = world.attempts("s-name.test", 2);
    assert!(told.iter().all(|told| told.contains("4.7.5")), "{told:?}");
    assert_eq!(
        world.policies.log().matches("asked mta-sts.s-name.test").count(),
        asked,
        "it is not fetched again"
    );
}

fn what_would_happen_is_explained(world: &World) {
    let explained =
        |domain: &str| json(&world.pair.edge.command_ok(&["check", "destination", domain, "--json"], ""));
    let said = explained("d-match.test");
    let host = &said["hosts"][0];
    assert_eq!(said["mx_secure"], true, "{said}");
    assert_eq!((&host["name"], &host["policy"]), (&"dane.test".into(), &"DANE".into()), "{said}");
    assert_eq!((&host["dnssec"], &host["addresses"][0]), (&"secure".into(), &"127.0.0.1".into()), "{said}");
    assert!(host["tlsa"][0].as_str().unwrap().starts_with("3 1 1 "), "{said}");
    // By now the web server sends everybody elsewhere, which is not followed.
    let said = explained("s-good.test");
    assert_eq!(
        (&said["mta_sts"], &said["hosts"][0]["policy"]),
        (&().into(), &"opportunistic".into()),
        "{said}"
    );
    assert!(said["warnings"][0].as_str().unwrap().contains("answered 301"), "{said}");
    // Without the zone's key nothing of it is believed, and names outside it do not exist.
    let mut postern = process::command(None, testkit::binary::postern());
    postern.args(["check", "destination", "nowhere.test", "--resolver", &world.knot.address().to_string()]);
    let said = process::run_ok(postern, b"", PATIENCE);
    assert!(said.contains("warning: 5.1.2 the domain does not exist"), "{said}");
}
