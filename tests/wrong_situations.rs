//! What an operator reads when something is not as it has to be: what it is, in his words, and what to type.

use testkit::pair::code_in;

use crate::alone;
use crate::newcomer::{EDGE_NAME, Newcomer};
use testkit::host::Host;

/// Words of libraries and of the system that mean nothing to him.
const NOT_HIS_WORDS: [&str; 12] = [
    "os error",
    "usize",
    "sequence",
    "Err(",
    "Some(",
    "None",
    "panicked",
    "RUST_BACKTRACE",
    "untagged",
    "Os {",
    "kind:",
    "Query {",
];

/// A command that has to fail, with this exit code, saying all of this.
type Case<'a> = (&'a str, i32, &'a [&'a str]);

fn try_all(host: &Host, situation: &str, cases: &[Case<'_>]) {
    for (line, code, words) in cases {
        let (status, said) = host.shell_fails(line, "");
        println!("-- {situation}: {line}\n{said}");
        assert_eq!(status, *code, "{situation}: {line}: {said}");
        for word in *words {
            assert!(said.contains(word), "{situation}: {line} does not say '{word}':\n{said}");
        }
        assert!(said.contains("what to do:") || said.contains("--help"), "{situation}: {line}:\n{said}");
        for word in NOT_HIS_WORDS {
            assert!(!said.contains(word), "{situation}: {line} says '{word}':\n{said}");
        }
    }
}

/// Every command that asks a daemon or reads a configuration.
const COMMANDS: [&str; 14] = [
    "postern status",
    "postern trace x",
    "postern queue list",
    "postern quarantine list",
    "postern tls-report list",
    "postern user list",
    "postern alias list",
    "postern dkim status",
    "postern dns",
    "postern edge pair",
    "postern edge run",
    "postern home run",
    "postern firewall edge",
    "postern firewall home",
];

#[test]
fn where_nothing_is_set_up_every_command_says_how_to_set_it_up() {
    let _alone = alone();
    let Some(newcomer) = Newcomer::new() else { return };
    for command in COMMANDS {
        try_all(&newcomer.home, "nothing is set up", &[(command, 2, &["setup'"])]);
    }
    for (file, words) in
        [("/etc", "not the directory"), ("/etc/hosts", "/etc/hosts:1:"), ("/opt/postern", "UTF-8")]
    {
        let command = format!("postern status --config {file}");
        try_all(&newcomer.home, "a wrong file", &[(&command, 2, &[words])]);
        let json = newcomer.home.shell(&format!("{command} --json"), "");
        let answer: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
        assert_eq!(answer["error"]["exit_code"], 2, "{answer}");
        assert!(answer["error"]["what"].as_str().is_some_and(|what| what.contains(file)), "{answer}");
    }
}

#[test]
fn daemons_that_are_down_busy_or_anothers_are_told_with_what_to_type() {
    let _alone = alone();
    let Some(newcomer) = Newcomer::new() else { return };
    let edge = &newcomer.edge;
    edge.shell_ok(&format!("postern edge setup --hostname {EDGE_NAME}"), "");
    let nobody = "setpriv --reuid nobody --regid nogroup --clear-groups";
    try_all(
        edge,
        "no daemon",
        &[
            ("postern status", 1, &["no daemon runs", "postern edge run"]),
            (
                "postern user list --config /etc/postern/edge.toml",
                2,
                &["is the configuration of Edge, not of Home"],
            ),
            ("postern edge setup --hostname x.example", 2, &["is there already", "postern edge pair"]),
            (&format!("{nobody} postern status"), 2, &["permission denied", "run this as root"]),
            (
                &format!("{nobody} postern edge setup --hostname x.example --config /etc/x.toml"),
                2,
                &["permission denied"],
            ),
        ],
    );
    let _busy = edge.background("exec python3 -c 'import socket,time; s=socket.socket(); s.bind((\"\",25)); s.listen(); print(\"busy\", flush=True); time.sleep(600)'", "busy");
    try_all(
        edge,
        "a busy port",
        &[(
            "postern edge run",
            1,
            &["can't listen on 0.0.0.0:25 for SMTP: address already in use", "ss -lptn"],
        )],
    );
    drop(_busy);
    let _running = edge.start("edge", None);
    try_all(
        edge,
        "a daemon",
        &[
            ("timeout 60 postern edge run", 2, &["a daemon runs already"]),
            (
                "chmod o+r /etc/postern/edge.toml; setpriv --reuid nobody --regid nogroup --clear-groups postern status",
                2,
                &["only the owner of /var/lib/postern/edge may ask", "sudo -u postern"],
            ),
        ],
    );
}

#[test]
fn pairing_that_cannot_be_says_why_and_leaves_nothing() {
    let _alone = alone();
    let Some(newcomer) = Newcomer::new() else { return };
    let (edge, home) = (&newcomer.edge, &newcomer.home);
    let code = code_in(&edge.shell_ok(&format!("postern edge setup --hostname {EDGE_NAME}"), ""));
    let setup = |code: &str| format!("postern home setup --domain example.org {code}");
    let nothing_left = || {
        let left = home.shell_ok(
            "ls -A /var/lib; grep -c postern /etc/passwd || true; ls -A /etc/postern 2>&1 || true",
            "",
        );
        assert!(left.starts_with("0\n") && left.contains("No such file"), "{left}");
    };
    try_all(home, "the edge is down", &[(&setup(&code), 1, &["can't reach the edge"])]);
    nothing_left();
    let running = edge.start("edge", None);
    try_all(home, "a code with a slip of the pen", &[(&setup("postern1-abcd"), 2, &["copy the whole code"])]);
    nothing_left();
    let newer = code_in(&edge.shell_ok("postern edge pair", ""));
    try_all(home, "a code that another one has replaced", &[(&setup(&code), 1, &["edge pair"])]);
    nothing_left();
    let json: serde_json::Value =
        serde_json::from_str(&edge.shell_ok("postern edge pair --json", "")).unwrap();
    let newest = json["code"].as_str().unwrap().to_owned();
    assert_ne!(newest, newer);
    // The name does not resolve: DNS is the first thing that a newcomer forgets.
    home.shell_ok(
        "mv /etc/resolv.conf /etc/resolv.away; echo 'nameserver 192.168.77.2' > /etc/resolv.conf",
        "",
    );
    try_all(home, "no DNS", &[(&setup(&newest), 1, &["has no address in DNS", "A or AAAA record"])]);
    nothing_left();
    home.shell_ok("mv /etc/resolv.away /etc/resolv.conf", "");
    let other = format!(
        "cd /root && postern edge setup --hostname {EDGE_NAME} --user root --config other.toml --data other 2>&1 && rm -r other*"
    );
    let others = code_in(&home.shell_ok(&other, ""));
    try_all(home, "a code of another edge", &[(&setup(&others), 1, &["another key", "postern edge pair"])]);
    nothing_left();
    interrupted(home, &setup(&newest));
    nothing_left();
    full_disk(home, &setup(&newest));
    home.shell_ok(&setup(&newest), "");
    try_all(
        home,
        "a code that was used",
        &[
            (&format!("postern home pair {newest}"), 1, &["edge pair"]),
            (
                &setup(&newest).replace("example.org", "other.example"),
                2,
                &["is there already", "other.example is no domain of it"],
            ),
            ("postern user add x@elsewhere.example --password-stdin </dev/null", 2, &[]),
        ],
    );
    // Typed again it goes on: the code is one that this home has used itself.
    let again = home.shell_ok(&setup(&newest), "");
    assert!(again.contains("with which this home is paired already"), "{again}");
    assert!(again.contains("going on with what is missing"), "{again}");
    running.stop();
}

/// Ctrl-C while the edge is asked: nobody answers at the address that its name has now.
fn interrupted(home: &Host, setup: &str) {
    home.shell_ok("cp /etc/hosts /etc/hosts.away; echo '192.168.77.2 mx.example.org' >> /etc/hosts", "");
    home.shell_ok("mv /etc/resolv.conf /etc/resolv.away; echo > /etc/resolv.conf", "");
    let line = format!("timeout --signal INT --kill-after 30 1 {setup}");
    let (_, said) = home.shell_fails(&line, "");
    assert!(said.contains("stopped") || said.contains("can't reach the edge"), "{said}");
    home.shell_ok("mv /etc/hosts.away /etc/hosts; mv /etc/resolv.away /etc/resolv.conf", "");
}

/// A disk without room: setup says so and leaves nothing, and takes nothing of the code.
fn full_disk(home: &Host, setup: &str) {
    let small = "mkdir -p /var/lib/postern; mount -t tmpfs -o size=64k,mode=755 tmpfs /var/lib/postern; \
                 head -c 1M /dev/zero > /var/lib/postern/full 2>/dev/null;";
    let line = format!("{small} {setup}; code=$?; ls -A /var/lib/postern; exit $code");
    let (code, said) = home.shell_fails(&line, "");
    println!("{said}");
    assert!(
        code == 2 && said.contains("no space left on device") && said.contains("make room"),
        "{code}: {said}"
    );
    assert!(said.contains("full") && !said.contains("home.toml"), "{said}");
    home.shell_ok("rmdir /var/lib/postern; ls -A /var/lib", "");
}
