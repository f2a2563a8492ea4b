//! The rules of `postern firewall`, loaded and taken back. What they let through is a story of the world: `port-scan`.

use std::time::Duration;

use testkit::pair::Role;
use testkit::process;
use testkit::until;

use crate::alone;
use crate::network::lab;

const PATIENCE: Duration = Duration::from_secs(90);
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
