//! Set-up as a conversation on two hosts: what it asks at a terminal, what it says of bad input, and that the same again goes on.

use std::process::Output;

use testkit::host::Host;
use testkit::pair::code_in;

use crate::alone;
use crate::newcomer::{EDGE_NAME, Newcomer};

/// Types at a terminal: Python's own pseudo-terminal, which sends each answer when its question is there.
const TYPIST: &str = include_str!("first_hour/typist.py");

const LIAR: &str = include_str!("first_hour/liar.py");

fn typed(host: &Host, line: &str, answers: &[(&str, &str)]) -> Output {
    let script: Vec<String> =
        answers.iter().map(|(question, answer)| format!("{question}\t{answer}")).collect();
    std::fs::write(host.path("/root/typist.py"), TYPIST).unwrap();
    let terminals = "mount -t devpts devpts /dev/pts -o ptmxmode=666";
    host.shell(&format!("{terminals} && exec python3 /root/typist.py {line}"), &script.join("\n"))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn two_conversations_set_both_roles_up_and_the_same_again_goes_on() {
    let _alone = alone();
    let Some(newcomer) = Newcomer::new() else { return };
    let (edge, home) = (&newcomer.edge, &newcomer.home);
    let output = typed(edge, "postern edge setup", &[("as MX records will name it", EDGE_NAME)]);
    let printed = said(&output);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("The two records that Home needs first:"), "{printed}");
    assert!(printed.contains("reachable: no, because no daemon runs with this data"), "{printed}");
    let _running = edge.start("edge", None);
    let old = code_in(&printed);
    let code = code_in(&edge.shell_ok("postern edge pair", ""));
    // Ctrl-C at a question says how to go on, and leaves nothing.
    let output =
        typed(home, "postern home setup", &[("The domain", "example.org"), ("The pairing code", "\u{3}")]);
    let printed = said(&output);
    assert!(!output.status.success() && printed.contains("it goes on with what is missing"), "{printed}");
    assert_eq!(home.shell_ok("ls -A /etc/postern /var/lib/postern 2>/dev/null || true", ""), "");
    // At a password as well, where no key is a signal.
    let at_password = [
        ("The domain", "example.org"),
        ("The pairing code", ""),
        ("The first user", "alice@example.org"),
        ("The password", "sec\u{3}"),
    ];
    let output = typed(home, "postern home setup", &at_password);
    let printed = said(&output);
    assert!(!output.status.success() && printed.contains("stopped"), "{printed}");
    assert_eq!(home.shell_ok("ls -A /etc/postern /var/lib/postern 2>/dev/null || true", ""), "");
    // A slip of the pen, a code that another one has replaced, then the right one; a password that is made.
    let answers = [
        ("The domain", "example.org"),
        ("The pairing code", "postern1-abcd"),
        ("The pairing code", old.as_str()),
        ("The first user", "alice@example.org"),
        ("The password", ""),
        ("The pairing code", code.as_str()),
    ];
    let output = typed(home, "postern home setup", &answers);
    let printed = said(&output);
    assert!(output.status.success(), "{printed}");
    for part in [
        "make a new code at the edge",
        "Paired with the edge mx.example.org",
        "has the password",
        "receive (IMAP): server 192.168.77.2, port 993",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let _running_home = home.start("home", None);
    newcomer.wait_for_link();
    // The same again, by a script, goes on and changes nothing.
    let before = home.shell_ok("sha256sum /etc/postern/home.toml /var/lib/postern/home/sealing-key.txt", "");
    let again = home.shell_ok(&format!("postern home setup --domain example.org {code}"), "");
    assert!(again.contains("with which this home is paired already"), "{again}");
    assert_eq!(
        home.shell_ok("sha256sum /etc/postern/home.toml /var/lib/postern/home/sealing-key.txt", ""),
        before
    );
    let again = edge.shell_ok("postern edge setup", "");
    assert!(again.contains("going on with what is missing") && again.contains("A home is paired"), "{again}");
    assert!(again.contains("reachable: "), "{again}");
}

/// A service manager as far as set-up sees one: it starts the daemon that the unit names, for as long as the command runs.
const SERVICE_MANAGER: &str = r#"#!/bin/sh
echo "$*" >> /root/told
case "$1 $2" in
"restart postern-edge.service") setsid postern edge run > /root/edge.log 2>&1 & ;;
"restart postern-home.service") setsid postern home run > /root/home.log 2>&1 & ;;
esac
"#;

fn with_a_service_manager(host: &Host) {
    host.shell_ok("mkdir -p /run/systemd/system /etc/systemd/system /root/bin", "");
    std::fs::write(host.path("/root/bin/systemctl"), SERVICE_MANAGER).unwrap();
    host.shell_ok("chmod 755 /root/bin/systemctl", "");
}

/// What systemd itself does is tried with the packages; here it is what set-up does with its help.
#[test]
fn where_services_are_managed_set_up_starts_them_waits_for_the_link_and_says_how_it_is() {
    let _alone = alone();
    let Some(newcomer) = Newcomer::new() else { return };
    let (edge, home) = (&newcomer.edge, &newcomer.home);
    for host in [edge, home] {
        with_a_service_manager(host);
    }
    let printed =
        edge.shell_ok(&format!("PATH=/root/bin:$PATH postern edge setup --hostname {EDGE_NAME}"), "");
    assert!(!printed.contains("Start it:"), "{printed}");
    // Nobody from outside has been there yet, and Home is the first to come.
    assert!(
        printed.contains("reachable: not known yet, because could not be told: nobody from outside"),
        "{printed}"
    );
    let told = edge.shell_ok("cat /root/told; cat /etc/systemd/system/postern-edge.service", "");
    assert!(
        told.starts_with("daemon-reload\nenable postern-edge.service\nrestart postern-edge.service\n"),
        "{told}"
    );
    assert!(told.contains("ExecStart=/opt/postern edge run"), "{told}");
    let code = code_in(&printed);
    let _running = edge.start("edge", None);
    let answers = [("Wait until they are there", "n")];
    let line = format!(
        "env PATH=/root/bin:/opt:/usr/sbin:/usr/bin:/sbin:/bin postern home setup --domain example.org \
         --account alice@example.org {code}"
    );
    let output = typed(home, &line, &answers);
    let printed = said(&output);
    assert!(output.status.success(), "{printed}");
    for part in [
        "The link is up.",
        "example.org  MX",
        "port 993, security",
        "fit to receive: no, because of mx",
        "fit to send:",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
}

#[test]
fn what_stands_in_the_way_is_said_before_anything_is_written() {
    let _alone = alone();
    let Some(newcomer) = Newcomer::new() else { return };
    let edge = &newcomer.edge;
    let setup = format!("postern edge setup --hostname {EDGE_NAME}");
    let nothing_left =
        || assert_eq!(edge.shell_ok("ls -A /etc/postern /var/lib/postern 2>/dev/null || true", ""), "");
    let busy = edge.background("exec python3 -c 'import socket,time; s=socket.socket(); s.bind((\"\",25)); s.listen(); print(\"busy\", flush=True); time.sleep(600)'", "busy");
    let (code, printed) = edge.shell_fails(&setup, "");
    assert!(
        code == 2 && printed.contains("can't listen on 0.0.0.0:25") && printed.contains("ss -lptn"),
        "{printed}"
    );
    nothing_left();
    drop(busy);
    // A script that leaves the name away is not asked, and told what to type.
    let (code, printed) = edge.shell_fails("postern edge setup", "");
    assert!(code == 2 && printed.contains("--hostname is missing"), "{printed}");
    let (code, printed) = newcomer.home.shell_fails("postern home setup", "");
    assert!(code == 2 && printed.contains("--domain is missing"), "{printed}");
    // A clock that is a year behind, and a resolver that lies.
    let (code, printed) = edge.shell_fails(&format!("faketime '2025-11-30 12:00:00' {setup}"), "");
    assert!(code == 2 && printed.contains("the clock says 2025-11-30"), "{printed}");
    assert!(printed.contains("timedatectl set-ntp true") && printed.contains("--no-check"), "{printed}");
    nothing_left();
    std::fs::write(edge.path("/root/liar.py"), LIAR).unwrap();
    let _liar = edge.background("exec python3 /root/liar.py", "lies");
    let (code, printed) = edge.shell_fails(&format!("{setup} --dns 127.0.0.1:5300"), "");
    assert!(
        code == 2 && printed.contains("a name that can't exist was given an address: 203.0.113.99"),
        "{printed}"
    );
    assert!(printed.contains("use another resolver"), "{printed}");
    nothing_left();
    // A name without an address is no reason not to begin: it is what the operator publishes next.
    let printed = edge.shell_ok("postern edge setup --hostname nowhere.example.org", "");
    assert!(printed.contains("edge-address: nowhere.example.org has no address in DNS"), "{printed}");
    assert!(printed.contains("reachable: no, because"), "{printed}");
}

/// Killed after more and more time, in whatever step it is: the same again goes on, with a new code where the edge has seen
/// the old one.
#[test]
fn a_set_up_that_is_killed_at_any_moment_goes_on_when_it_is_typed_again() {
    let _alone = alone();
    let Some(newcomer) = Newcomer::new() else { return };
    let (edge, home) = (&newcomer.edge, &newcomer.home);
    // Here useradd would be killed with it and leave its lock, which elsewhere it outlives.
    let user = "useradd --system --user-group --no-create-home --shell /usr/sbin/nologin postern";
    for host in [edge, home] {
        host.shell_ok(user, "");
    }
    let setup = format!("postern edge setup --hostname {EDGE_NAME} --no-check");
    for hundredths in 1..40 {
        if edge.shell(&format!("timeout -s KILL 0.{hundredths:02} {setup}"), "").status.success() {
            break;
        }
    }
    assert!(edge.shell_ok(&setup, "").contains("Pairing code"));
    let _edge = edge.start("edge", None);
    let setup = |code: &str| {
        format!("postern home setup --domain example.org --account alice@example.org --no-check {code}")
    };
    let new_code = || code_in(&edge.shell_ok("postern edge pair", ""));
    for hundredths in (2..80).step_by(4) {
        let line = format!("timeout -s KILL 0.{hundredths:02} {}", setup(&new_code()));
        if home.shell(&line, "").status.success() {
            break;
        }
    }
    home.shell_ok(&setup(&new_code()), "");
    let _home = home.start("home", None);
    newcomer.wait_for_link();
    let users = home.shell_ok("postern user list --json", "");
    assert_eq!(users.matches("alice@example.org").count(), 1, "{users}");
}
