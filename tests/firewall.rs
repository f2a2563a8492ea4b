//! The rules of `postern firewall`, loaded on both hosts: mail goes through, and nothing else comes in or out.

use std::time::Duration;

use testkit::pair::Role;
use testkit::postfix::{Content, Load, smtp_source};
use testkit::process::{self, Process};
use testkit::until;

use crate::alone;
use crate::network::lab;

const PATIENCE: Duration = Duration::from_secs(90);
/// Prints the ports below 1100 of a host that a connection is made to; 8080 as well.
const SCAN: &str = r#"
import asyncio, sys
async def probe(port):
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(sys.argv[1], port), 2)
        writer.close()
        return port
    except (OSError, asyncio.TimeoutError):
        return None
async def main():
    ports = list(range(1, 1100)) + [8080]
    print([port for port in await asyncio.gather(*map(probe, ports)) if port])
asyncio.run(main())
"#;
/// Something else that listens on a host.
const OTHER: &str =
    "import http.server as h; h.ThreadingHTTPServer(('', 8080), h.SimpleHTTPRequestHandler).serve_forever()";

fn scan(from: &str, host: &str) -> String {
    let mut python = process::command(Some(from), "/usr/bin/python3");
    python.args(["-c", SCAN, host]);
    process::run_ok(python, b"", PATIENCE).trim().to_owned()
}

fn rules(namespace: &str) -> String {
    let mut nft = process::command(Some(namespace), "nft");
    nft.args(["list", "ruleset"]);
    process::run_ok(nft, b"", PATIENCE)
}

fn apply(role: &Role, name: &str, more: &[&str]) {
    let arguments = [&["firewall", name, "--apply"], more].concat();
    let said = role.command_ok(&arguments, "");
    assert!(said.contains("firewall confirm"), "{said}");
}

#[test]
fn with_both_rulesets_mail_goes_through_and_only_the_ports_that_are_meant_are_open() {
    let _alone = alone();
    let Some((lab, pair)) = lab() else { return };
    let dir = tempfile::tempdir().unwrap();
    let other = |place: &str| {
        let mut python = process::command(Some(place), "/usr/bin/python3");
        python.args(["-c", OTHER]);
        Process::start(python, &dir.path().join(place))
    };
    let _others = [other(lab.edge()), other(lab.home())];
    until("the other services answer", PATIENCE, || {
        let open = [scan(lab.internet(), "203.0.113.2"), scan(lab.nat(), "192.168.77.2")];
        open.iter().all(|ports| ports.contains("8080")).then_some(())
    });

    apply(&pair.edge, "edge", &["--ssh-from", "203.0.113.200"]);
    apply(&pair.home, "home", &["--lan", "192.168.77.0/24"]);
    pair.edge.command_ok(&["firewall", "confirm"], "");
    pair.home.command_ok(&["firewall", "confirm"], "");

    assert_eq!(scan(lab.internet(), "203.0.113.2"), "[25, 443]");
    assert_eq!(scan(lab.home(), "203.0.113.2"), "[443]", "Home reaches its edge's link and no more");
    assert_eq!(scan(lab.nat(), "192.168.77.2"), "[465, 993]", "from the house");
    assert_eq!(scan(lab.home(), "203.0.113.1"), "[]", "Home reaches nobody else");
    let load = Load { messages: 20, sessions: 4, content: Content::Octets(1000), to: "bob@example.org" };
    smtp_source(Some(lab.internet()), pair.smtp, load);
    assert_eq!(pair.account("bob").count("INBOX"), 20);
}

#[test]
fn rules_that_nobody_confirms_are_taken_back() {
    let _alone = alone();
    let Some((lab, pair)) = lab() else { return };
    let table = |namespace: &str| rules(namespace).contains("table inet postern");
    apply(&pair.edge, "edge", &["--seconds", "3"]);
    assert!(table(lab.edge()));
    let again = pair.edge.command(&["firewall", "edge", "--apply"], "");
    assert!(String::from_utf8_lossy(&again.stderr).contains("waits to be confirmed"));
    until("the rules are taken back", PATIENCE, || (!table(lab.edge())).then_some(()));
    let late = until("the guard is done", PATIENCE, || {
        let late = pair.edge.command(&["firewall", "confirm"], "");
        (!late.status.success()).then_some(late)
    });
    assert!(String::from_utf8_lossy(&late.stderr).contains("nothing waits"));

    // What was confirmed comes back when a later one is not.
    apply(&pair.edge, "edge", &["--ssh-from", "203.0.113.200"]);
    pair.edge.command_ok(&["firewall", "confirm"], "");
    let kept = rules(lab.edge());
    apply(&pair.edge, "edge", &["--seconds", "2"]);
    assert!(!rules(lab.edge()).contains("203.0.113.200"));
    until("the confirmed rules are back", PATIENCE, || {
        rules(lab.edge()).contains("203.0.113.200").then_some(())
    });
    assert_eq!(rules(lab.edge()).lines().count(), kept.lines().count());
}
