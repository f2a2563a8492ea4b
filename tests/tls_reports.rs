//! Other domains hear how TLS with their mail hosts went, by mail and by HTTPS, and what they hear is what
//! happened. Postfix takes the mail, Python reads the reports.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::certificates::{Authority, PolicyServer};
use testkit::imap;
use testkit::knot::{Knot, txt};
use testkit::postfix::Postfix;
use testkit::{Pair, PairOptions, dkim, message, ports, process, until};

use crate::alone;
use crate::outbound::msmtp;
use crate::signing::{records, signed_part};

const PATIENCE: Duration = Duration::from_secs(90);

/// Prints what a report says: the fields of its message, and the document. What is no message is a document.
const READ: &str = "
import email, email.policy, gzip, json, sys
octets = sys.stdin.buffer.read()
told = {}
if not octets.startswith(b'\\x1f\\x8b'):
    message = email.message_from_bytes(octets, policy=email.policy.default)
    told = {name: str(message[name]) for name in message.keys()}
    told['type'] = message.get_content_type(), message.get_param('report-type')
    text, report = message.iter_parts()
    told['file'] = report.get_filename()
    assert report.get_content_type() == 'application/tlsrpt+gzip', report.get_content_type()
    octets = report.get_payload(decode=True)
told['report'] = json.loads(gzip.decompress(octets))
print(json.dumps(told))
";

/// What a domain's mail host is like, and what has to come of it.
struct Case {
    domain: &'static str,
    host: &'static str,
    /// The mode of its policy, which names `named.test`.
    policy: Option<&'static str>,
    /// Where it wants reports; the web server's port is put in.
    rua: Option<&'static str>,
    delivered: bool,
    /// How the session is told of: the policy, and `good` or the result.
    told: (&'static str, &'static str),
}

const CASES: [Case; 6] = [
    Case {
        domain: "dane.test",
        host: "dane-host",
        policy: None,
        rua: Some("mailto:reports@dane.test"),
        delivered: true,
        told: ("tlsa", "good"),
    },
    Case {
        domain: "wrong.test",
        host: "wrong-host",
        policy: None,
        // Also where nothing else gets through, and where they are only busy.
        rua: Some("mailto:reports@wrong.test,https://reports.test:PORT/busy"),
        delivered: false,
        told: ("tlsa", "certificate-not-trusted"),
    },
    Case {
        domain: "good.test",
        host: "named",
        policy: Some("enforce"),
        rua: Some("https://reports.test:PORT/v1"),
        delivered: true,
        told: ("sts", "good"),
    },
    Case {
        domain: "trial.test",
        host: "unnamed",
        policy: Some("testing"),
        rua: Some("https://reports.test:PORT/v1"),
        delivered: true,
        told: ("sts", "certificate-host-mismatch"),
    },
    Case {
        domain: "lost.test",
        host: "named",
        // Announced and not there.
        policy: None,
        rua: Some("mailto:reports@dane.test"),
        delivered: true,
        told: ("sts", "sts-policy-fetch-error"),
    },
    Case {
        domain: "quiet.test",
        host: "named",
        policy: None,
        rua: None,
        delivered: true,
        told: ("no-policy-found", "good"),
    },
];

struct World {
    pair: Pair,
    postfix: Postfix,
    web: PolicyServer,
    _knot: Knot,
}

impl World {
    fn new() -> Self {
        let authority = Authority::new();
        let certificate = authority.issue(&["named.test", "dane-host.test"]);
        let names: Vec<String> = CASES.iter().map(|case| format!("mta-sts.{}", case.domain)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).chain(["reports.test"]).collect();
        let web = PolicyServer::start(&authority.issue(&names));
        for case in &CASES {
            if let Some(mode) = case.policy {
                let host = case.host;
                let policy = format!("version: STSv1\nmode: {mode}\nmx: {host}.test\nmax_age: 86400\n");
                web.publish(&format!("mta-sts.{}", case.domain), &policy);
            }
        }
        let address = ports::free();
        let domains: Vec<&str> = CASES.iter().map(|case| case.domain).collect();
        let postfix = Postfix::receiver(address, &domains, Some(&certificate));
        let zone = zone(address.port(), web.address().port(), &certificate.tlsa());
        let knot = Knot::start(&[("test", &zone)]);
        let mut pair = Pair::with(&PairOptions {
            home_config: "[queue]\nretry = [\"1h\"]\n[tls_reports]\norganization = \"Example\"\n\
                          contact = \"tls@example.org\""
                .to_owned(),
            outbound: true,
            name_server: Some(knot.address()),
            ..PairOptions::default()
        });
        let (anchors, roots) = (pair.dir().join("anchors"), pair.dir().join("roots.pem"));
        std::fs::write(&anchors, knot.trust_anchor("test")).unwrap();
        std::fs::copy(authority.root(), &roots).unwrap();
        pair.edge.configure(&format!(
            "[dns]\ntrust_anchors = \"{}\"\n[outbound]\nport = {}\nmta_sts_port = {}\nextra_roots = \"{}\"",
            anchors.display(),
            address.port(),
            web.address().port(),
            roots.display()
        ));
        pair.edge.restart();
        pair.wait_for_link();
        Self { pair, postfix, web, _knot: knot }
    }

    /// What `tls-report list` says, or `tls-report send` did.
    fn reports(&self, command: &str) -> Vec<Value> {
        let said = imap::json(&self.pair.home.command_ok(&["tls-report", command, "--json"], ""));
        said.as_array().unwrap().clone()
    }

    /// The report on a domain that came by mail.
    fn mailed(&self, domain: &str) -> Value {
        let raw = until(&format!("a report on {domain} comes"), PATIENCE, || {
            self.postfix.messages("reports").into_iter().find(|message| {
                message::field(&message::with_crlf(message), "TLS-Report-Domain").as_deref() == Some(domain)
            })
        });
        let records = records(&self.pair, &["signing"]);
        let said = dkim::verify(&signed_part(&raw), &records);
        assert!(!said.is_empty() && said.iter().all(|said| said.ends_with(" pass")), "{said:?}");
        read(&raw)
    }
}

fn zone(port: u16, web_port: u16, good: &str) -> String {
    let mut zone = format!(
        "dane-host A 127.0.0.1\nwrong-host A 127.0.0.1\nnamed A 127.0.0.1\nunnamed A 127.0.0.1\n\
         reports A 127.0.0.1\n_{port}._tcp.dane-host TLSA {good}\n_{port}._tcp.wrong-host TLSA 3 1 1 {}\n",
        "00".repeat(32)
    );
    for case in &CASES {
        let label = case.domain.trim_end_matches(".test");
        zone += &format!("{label} MX 10 {}\n", case.host);
        if case.told.0 == "sts" {
            zone += &format!("mta-sts.{label} A 127.0.0.1\n");
            zone += &txt(&format!("_mta-sts.{label}"), "v=STSv1; id=1;");
        }
        if let Some(rua) = case.rua {
            let rua = rua.replace("PORT", &web_port.to_string());
            zone += &txt(&format!("_smtp._tls.{label}"), &format!("v=TLSRPTv1;rua={rua}"));
        }
    }
    zone
}

fn read(octets: &[u8]) -> Value {
    let mut python = process::command(None, "/usr/bin/python3");
    python.args(["-c", READ]);
    imap::json(&process::run_ok(python, octets, PATIENCE))
}

/// Whether a document says of its domain what the case wants.
fn check_document(case: &Case, report: &Value) {
    let (kind, result) = case.told;
    assert_eq!(report["organization-name"], "Example", "{report}");
    assert_eq!(report["contact-info"], "tls@example.org", "{report}");
    let policies = report["policies"].as_array().unwrap();
    let of = policies.iter().find(|of| of["policy"]["policy-type"] == kind);
    let of = of.unwrap_or_else(|| panic!("{} has no {kind}: {report}", case.domain));
    let counts = |good: u64, bad: u64| json!({ "total-successful-session-count": good, "total-failure-session-count": bad });
    let domain = if kind == "tlsa" { format!("{}.test", case.host) } else { case.domain.to_owned() };
    assert_eq!(of["policy"]["policy-domain"], domain, "{report}");
    if result == "good" {
        assert_eq!((&of["summary"], &of["failure-details"]), (&counts(1, 0), &Value::Null), "{report}");
        return;
    }
    assert_eq!(of["summary"], counts(0, 1), "{report}");
    let details = &of["failure-details"][0];
    assert_eq!((&details["result-type"], &details["failed-session-count"]), (&json!(result), &json!(1)));
    if result.starts_with("certificate") {
        let host = format!("{}.test", case.host);
        assert_eq!(
            (&details["receiving-mx-hostname"], &details["receiving-ip"]),
            (&json!(host), &json!("127.0.0.1"))
        );
        assert_eq!(details["sending-mta-ip"], "127.0.0.1", "{report}");
        assert!(!of["policy"]["policy-string"].as_array().unwrap().is_empty(), "{report}");
    }
}

fn send_to_all(world: &World, header: &str) {
    for case in &CASES {
        let to = format!("you@{}", case.domain);
        let text =
            format!("{header}{}", String::from_utf8(message::simple("alice@example.org", &to, "x")).unwrap());
        let output = msmtp(&world.pair, &[&to], text.as_bytes());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn domains_hear_how_tls_with_their_mail_hosts_went() {
    let _alone = alone();
    let mut world = World::new();
    send_to_all(&world, "");
    until("every session is counted", PATIENCE, || {
        (world.reports("list").len() == CASES.len()).then_some(())
    });
    let delivered = CASES.iter().filter(|case| case.delivered).count();
    until("mail has come", PATIENCE, || (world.postfix.messages("you").len() == delivered).then_some(()));
    counts_survive_the_end_of_the_daemon(&mut world);
    let sent = world.reports("send");
    let state = |domain: &str| sent.iter().find(|sent| sent["domain"] == domain).unwrap()["state"].clone();
    let states: Vec<Value> = CASES.iter().map(|case| state(case.domain)).collect();
    assert_eq!(states, ["sent", "open", "sent", "sent", "sent", "unwanted"], "{sent:?}");
    what_came_by_mail(&world);
    what_came_by_https(&world);
    nothing_is_sent_twice(&mut world);
    whoever_says_that_tls_is_not_required_gets_through(&world);
}

fn counts_survive_the_end_of_the_daemon(world: &mut World) {
    let before = world.reports("list");
    world.pair.home.restart();
    world.pair.wait_for_link();
    assert_eq!(world.reports("list"), before);
    let shown = world.pair.home.command_ok(&["tls-report", "show", "wrong.test"], "");
    assert!(shown.contains("\"result-type\": \"certificate-not-trusted\""), "{shown}");
    let unknown = world.pair.home.command(&["tls-report", "show", "nowhere.test"], "");
    let told = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && told.contains("postern tls-report list"), "{told}");
}

fn what_came_by_mail(world: &World) {
    for case in CASES.iter().filter(|case| case.rua.is_some_and(|rua| rua.starts_with("mailto:"))) {
        let told = world.mailed(case.domain);
        check_document(case, &told["report"]);
        let id = told["report"]["report-id"].as_str().unwrap();
        let subject = format!("Report Domain: {} Submitter: example.org Report-ID: <{id}>", case.domain);
        assert_eq!(told["Subject"], subject);
        assert_eq!(
            (&told["TLS-Report-Submitter"], &told["TLS-Required"]),
            (&json!("example.org"), &json!("No"))
        );
        assert_eq!(told["type"], json!(["multipart/report", "tlsrpt"]));
        assert_eq!(told["Return-Path"], "<>");
        let file = told["file"].as_str().unwrap();
        assert!(
            file.starts_with(&format!("example.org!{}!", case.domain)) && file.ends_with(".json.gz"),
            "{file}"
        );
    }
}

fn what_came_by_https(world: &World) {
    let posted: Vec<Value> = world.web.posted().iter().map(|octets| read(octets)).collect();
    let cases: Vec<&Case> =
        CASES.iter().filter(|case| case.rua.is_some_and(|rua| rua.ends_with("/v1"))).collect();
    assert_eq!(posted.len(), cases.len(), "{posted:?}");
    for case in cases {
        let is_on = |told: &&Value| told["report"].to_string().contains(case.domain);
        let told = posted.iter().find(is_on).unwrap_or_else(|| panic!("{} in {posted:?}", case.domain));
        check_document(case, &told["report"]);
    }
    let wanted = format!("posted reports.test:{} /v1 application/tlsrpt+gzip", world.web.address().port());
    assert!(world.web.log().contains(&wanted), "{}", world.web.log());
}

fn nothing_is_sent_twice(world: &mut World) {
    let (mailed, posted) = (world.postfix.messages("reports").len(), world.web.posted().len());
    let asked = |world: &World| world.web.log().matches("/busy").count();
    assert_eq!((mailed, asked(world)), (3, 1));
    world.pair.home.kill();
    world.pair.home.start();
    world.pair.wait_for_link();
    // The mail reports were not reported on; what is left is the server that was busy.
    let sent = world.reports("send");
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0]["waiting"][0].as_str().unwrap().ends_with("/busy"), "{sent:?}");
    assert_eq!((world.postfix.messages("reports").len(), world.web.posted().len()), (mailed, posted));
    assert_eq!(asked(world), 2);
    let story = world.pair.home.command_ok(&["trace", "wrong.test"], "");
    assert!(story.contains("on wrong.test for ") && story.contains("answered 503"), "{story}");
    assert!(story.contains("to mailto:reports@wrong.test"), "{story}");
}

fn whoever_says_that_tls_is_not_required_gets_through(world: &World) {
    let before = world.postfix.messages("you").len();
    send_to_all(world, "TLS-Required: No\n");
    // The one that was refused for its TLS as well.
    let all = before + CASES.len();
    until("all of it has come", PATIENCE, || {
        // The domain rests since the first message found no way.
        world.pair.home.command_ok(&["queue", "retry", "all"], "");
        std::thread::sleep(Duration::from_millis(500));
        (world.postfix.messages("you").len() == all).then_some(())
    });
    let to_wrong = world.pair.home.command_ok(&["trace", "you@wrong.test"], "");
    assert!(to_wrong.contains("delivered"), "{to_wrong}");
    assert_eq!(world.reports("send").len(), 1, "and nothing of it is reported on");
}
