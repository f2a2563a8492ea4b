//! `postern doctor` on two hosts that were just set up: what it sees, from either, and what it says when a daemon is down.

use serde_json::Value;
use testkit::dns::Record;
use testkit::host::Host;

use crate::alone;
use crate::newcomer::{EDGE_NAME, Newcomer, PATIENCE};

/// What the doctor says on a host, whatever its exit code.
fn examined(host: &Host, more: &str) -> (i32, Value) {
    let output = host.shell(&format!("postern doctor --json {more}"), "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap_or(-1), report)
}

/// The verdicts of a check at a half.
fn verdicts(report: &Value, half: &str, check: &str) -> Vec<String> {
    let all = report["findings"].as_array().unwrap().iter();
    let of = all.filter(|one| one["check"] == check && one["half"] == half);
    of.map(|one| one["verdict"].as_str().unwrap().to_owned()).collect()
}

fn assert_is(report: &Value, half: &str, check: &str, verdict: &str) {
    let seen = verdicts(report, half, check);
    assert!(
        !seen.is_empty() && seen.iter().all(|one| one == verdict),
        "{check} at {half} is {seen:?}:\n{report:#}"
    );
}

/// What can only be fine on hosts that were just set up.
const FINE_AT_HOME: &str = "daemon-runs resolver-answers port-25-in starttls edge-certificate-name edge-certificate-life \
    tls-versions tls-ciphers open-relay backscatter link-up port-443-tcp port-443-udp versions clock-halves other-half \
    domain-served port-465 port-993 home-certificate users postmaster queue-age quarantine data-directory mx-address \
    dkim-strength dkim-age port-25-closed";
const FINE_AT_EDGE: &str = "ports-listen link-up recipients-known spool-age resolver-truthful";

#[test]
fn both_halves_are_seen_from_home_and_edge_learns_no_word_of_the_house() {
    let _alone = alone();
    let Some(newcomer) = Newcomer::new() else { return };
    let (_edge, _home) = newcomer.set_up();
    let (code, report) = examined(&newcomer.home, "");
    assert_eq!(code, 1, "MX, SPF, PTR and more are missing in this small internet");
    FINE_AT_HOME.split_whitespace().for_each(|check| assert_is(&report, "home", check, "fine"));
    FINE_AT_EDGE.split_whitespace().for_each(|check| assert_is(&report, "edge", check, "fine"));
    // Nobody sends yet, so what only sending needs is a warning.
    assert_is(&report, "edge", "ptr", "warning");
    assert_is(&report, "edge", "port-25-out", "unknown");
    assert_is(&report, "home", "mx", "fault");
    assert_is(&report, "home", "spf", "warning");
    assert_is(&report, "home", "outbound-switch", "notice");
    assert_eq!(report["answers"]["receive"]["fit"], "no");
    let status = newcomer.home.status().unwrap();
    assert!(status["doctor"]["faults"].as_array().unwrap().iter().any(|one| one == "mx (home)"), "{status}");

    // Edge hears names, soon after.
    let told = testkit::until("home told the edge what it found", PATIENCE, || {
        let (_, report) = examined(&newcomer.edge, "");
        verdicts(&report, "home", "mx").contains(&"fault".to_owned()).then_some(report)
    });
    assert_is(&told, "edge", "port-25-in", "fine");
    let text = told.to_string();
    for word in ["192.168.", "203.0.113.9", "alice"] {
        assert!(!text.contains(word), "{word} is known at the edge: {told:#}");
    }
}

/// A user's message, from Home's own way of handing it in to the answer: out over the link, and in by DNS and port 25.
#[test]
fn a_message_goes_round_before_sending_is_switched_on_names_nobody_and_is_no_mail_of_anybodys() {
    let _alone = alone();
    let records = [("example.org", Record::Mx(10, EDGE_NAME.to_owned()))];
    let Some(newcomer) = Newcomer::with_records(&records) else { return };
    let (_edge, _home) = newcomer.set_up();
    let told = newcomer.home.shell("postern check round-trip", "");
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.status.success(), "{told:?}");
    assert!(text.contains(&format!("echo@{EDGE_NAME}")) && text.contains("It came back after"), "{text}");
    assert!(text.contains("dkim=") && text.contains("dmarc="), "{text}");
    let (_, report) = examined(&newcomer.home, "");
    for check in ["round-trip", "leak"] {
        assert_is(&report, "home", check, "fine");
    }
    assert!(newcomer.subjects("alice").is_empty(), "it is nobody's mail");
    // To the world nothing goes yet, and nowhere goes nothing ever.
    let (_, said) = newcomer.home.shell_fails("postern check send ann@far.example", "");
    assert!(said.contains("postern outbound on"), "{said}");
    let (_, said) = newcomer.home.shell_fails("postern check send ann", "");
    assert!(said.contains("ann: "), "{said}");
    let (code, said) =
        newcomer.edge.shell_fails("postern check round-trip --config /etc/postern/edge.toml", "");
    assert!(code == 2 && said.contains("not of Home"), "{said}");
}

#[test]
fn a_host_that_is_named_is_tried_and_without_a_daemon_the_rest_is_seen() {
    let _alone = alone();
    let Some(newcomer) = Newcomer::new() else { return };
    let (_edge, home) = newcomer.set_up();
    // Edge's own port 25 will do.
    let (_, report) = examined(&newcomer.home, &format!("--probe {EDGE_NAME}"));
    assert_is(&report, "edge", "port-25-out", "fine");
    // Whoever has no key there sees as much.
    let seen = newcomer.home.shell_ok(&format!("postern check edge {EDGE_NAME}"), "");
    for port in [
        "203.0.113.2:25/tcp  greets: 220",
        "203.0.113.2:443/tcp  takes links",
        "203.0.113.2:443/udp  takes links",
    ] {
        assert!(seen.contains(port), "{port}: {seen}");
    }
    newcomer.lab.block_udp();
    let (code, seen) = newcomer.home.shell_fails(&format!("postern check edge {EDGE_NAME}"), "");
    assert!(
        code == 1 && seen.contains("not reached  203.0.113.2:443/udp") && seen.contains("not reach: 1"),
        "{seen}"
    );
    newcomer.lab.unblock_udp();
    drop(home);
    let (code, report) = examined(&newcomer.home, "");
    assert_eq!(code, 1);
    assert_is(&report, "home", "daemon-runs", "fault");
    assert_is(&report, "home", "port-25-in", "fine");
    assert_is(&report, "home", "users", "unknown");
    let shown = newcomer.home.shell("postern doctor", "");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.starts_with("fault    daemon-runs"), "{shown}");
    assert!(shown.contains("\nfit to receive: no, because of daemon-runs"), "{shown}");
    // Nobody can look where nothing is set up.
    let (code, said) = newcomer.home.shell_fails("postern doctor --config /etc/postern/none.toml", "");
    assert_eq!(code, 2, "{said}");
}
