//! What a newcomer has after two commands, unchanged: the files that `setup` writes, both address families, the real
//! ports, the units' own user, capabilities, read-only system and 1,024 soft descriptors.

use std::time::Duration;

use testkit::host::Host;
use testkit::namespace::within;
use testkit::network_lab::NetworkLab;
use testkit::pair::{PASSWORD, code_in};
use testkit::smtp::SmtpClient;
use testkit::{message, process, until};

use crate::alone;
use crate::newcomer::{EDGE_NAME, Newcomer, PATIENCE};

const SUBMIT: &str = include_str!("signing/submit.py");

/// Whether a host listens on both families, side by side.
fn assert_listens(host: &Host, protocol: &str, ports: &[u16]) {
    let mut ss = process::command(Some(host.namespace()), "ss");
    ss.args(["--listening", "--numeric", "--no-header", protocol]);
    let printed = process::run_ok(ss, b"", PATIENCE);
    for port in ports {
        for at in [format!("0.0.0.0:{port} "), format!("[::]:{port} ")] {
            assert!(printed.contains(&at), "nobody listens on {at}({protocol}):\n{printed}");
        }
    }
}

/// Symptom: `edge setup` and then `edge run` ended with "can't listen on [::]:443 … Address already in use", and started
/// from its unit Edge could not read its own file. Cause: the link's listeners did not say IPV6_V6ONLY; setup, typed by
/// root, made everything root's. Analysis: every test said other addresses and ran as one user.
#[test]
fn what_setup_writes_runs_unchanged_as_the_units_user_on_both_families() {
    let _alone = alone();
    let Some(newcomer) = Newcomer::new() else { return };
    let (edge, home) = newcomer.set_up();
    assert_listens(&newcomer.edge, "--tcp", &[25, 443]);
    assert_listens(&newcomer.edge, "--udp", &[443]);
    assert_listens(&newcomer.home, "--tcp", &[465, 993]);
    newcomer.deliver("alice", "from the world");
    until("the letter is there", PATIENCE, || {
        newcomer.subjects("alice").contains(&"from the world".to_owned()).then_some(())
    });
    submit_to_oneself(&newcomer);
    for (service, user) in [(&edge, "edge"), (&home, "home")] {
        let status = std::fs::read_to_string(format!("/proc/{}/status", service.process_id())).unwrap();
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", service.process_id())).unwrap();
        let line =
            |text: &str, name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(!line(&status, "Uid:").contains("\t0"), "{user}: {status}");
        // CAP_NET_BIND_SERVICE and nothing else.
        assert!(line(&status, "CapEff:").ends_with("0000000000000400"), "{user}: {status}");
        let open_files = line(&limits, "Max open files");
        let numbers: Vec<&str> = open_files.split_whitespace().skip(3).take(2).collect();
        assert_eq!(numbers[0], numbers[1], "the soft limit was not raised: {open_files}");
    }
    for (host, role) in [(&newcomer.edge, "edge"), (&newcomer.home, "home")] {
        for line in host.owners(&format!("/var/lib/postern/{role}")) {
            let good = line.starts_with("postern 700 d ") || line.starts_with("postern 600 ");
            assert!(good, "{role}: {line}");
        }
        let config = host.owners(&format!("/etc/postern/{role}.toml"));
        assert_eq!(config, [format!("root 640 f /etc/postern/{role}.toml")]);
    }
}

fn submit_to_oneself(newcomer: &Newcomer) {
    let mut python = process::command(Some(newcomer.lab.home()), "/usr/bin/python3");
    python.args(["-c", SUBMIT, "192.168.77.2", "465", "alice@example.org", PASSWORD, "alice@example.org"]);
    process::run_ok(
        python,
        &message::simple("alice@example.org", "alice@example.org", "to myself"),
        PATIENCE,
    );
    until("the letter to oneself is there", PATIENCE, || {
        newcomer.subjects("alice").contains(&"to myself".to_owned()).then_some(())
    });
}

/// Symptom: root typed `user add` while Home was down; from then on Home answered 250 for a mailbox that it could not
/// write. Cause: the command made root's files in the service's data.
#[test]
fn what_root_types_while_home_is_down_is_the_services_and_what_is_not_stops_the_start() {
    let _alone = alone();
    let Some(newcomer) = Newcomer::new() else { return };
    let (_edge, home) = newcomer.set_up();
    home.stop();
    newcomer.add_user("bob");
    newcomer.home.shell_ok("postern alias add info@example.org bob@example.org", "");
    newcomer.home.shell_ok("postern dkim rotate example.org --force", "");
    let home = newcomer.home.start("home", None);
    newcomer.wait_for_link();
    newcomer.deliver("info", "for bob");
    until("bob has it", PATIENCE, || newcomer.subjects("bob").contains(&"for bob".to_owned()).then_some(()));
    home.stop();
    // What an older version left: told before any mail is taken.
    newcomer.home.shell_ok("chown root: /var/lib/postern/home/directory.db", "");
    let (code, said) = newcomer
        .home
        .shell_fails("timeout 30 setpriv --reuid postern --regid postern --init-groups postern home run", "");
    assert!(code == 2 && said.contains("directory.db belongs to root, not to postern"), "{code}: {said}");
    assert!(said.contains("chown -R postern: /var/lib/postern/home"), "{said}");
    newcomer.home.shell_ok("chown -R postern: /var/lib/postern/home", "");
    newcomer.home.shell_ok("chmod 600 /etc/postern/home.toml", "");
    let (code, said) = newcomer.home.shell_fails("timeout 30 postern home run", "");
    assert!(code == 2 && said.contains("chgrp postern /etc/postern/home.toml; chmod 640"), "{code}: {said}");
    newcomer.home.shell_ok("chmod 640 /etc/postern/home.toml", "");
    // A daemon that root starts by hand leaves nothing of his either, and closes what others could read.
    newcomer.home.shell_ok("chmod -R go+rX /var/lib/postern/home", "");
    let mut by_hand = newcomer.home.background("exec postern home run", "home runs");
    newcomer.wait_for_link();
    newcomer.home.shell_ok("postern user password bob@example.org --password-stdin", "another password\n");
    by_hand.kill();
    for line in newcomer.home.owners("/var/lib/postern/home") {
        assert!(line.starts_with("postern 700 d ") || line.starts_with("postern 600 "), "{line}");
    }
    let _home = newcomer.home.start("home", None);
}

/// Symptom: `setup --config edge.toml` wrote the file and said "No such file or directory"; the pairing code was spent,
/// and a second try said "is there already".
#[test]
fn a_bare_name_will_do_and_a_set_up_that_fails_leaves_nothing() {
    let _alone = alone();
    let Some(newcomer) = Newcomer::new() else { return };
    let (edge, home) = (&newcomer.edge, &newcomer.home);
    // Root's own directory is closed to the service's user: said, and nothing is left, no user either.
    let setup = format!("postern edge setup --hostname {EDGE_NAME} --config edge.toml --data data");
    edge.shell_ok("chmod 700 /root", "");
    let (code, said) = edge.shell_fails(&setup, "");
    assert!(code == 2 && said.contains("the user postern, who can't"), "{code}: {said}");
    assert_eq!(edge.shell_ok("ls -A /root; grep -c postern /etc/passwd || true", "").trim(), "0");
    // Where he gets to it works, and the daemon starts with it, whoever starts it.
    let there = "mkdir -p /srv/mail && cd /srv/mail";
    let code = code_in(&edge.shell_ok(&format!("{there} && {setup}"), ""));
    let run = edge.shell_fails(
        &format!("{there} && timeout --preserve-status -s KILL 5 postern edge run --config edge.toml"),
        "",
    );
    assert!(run.1.contains("edge runs"), "{run:?}");
    // Home: nobody answers there, nothing is left, and the code is still good.
    let setup =
        format!("{there} && postern home setup --domain example.org --config home.toml --data data {code}");
    let (status, said) = home.shell_fails(&setup, "");
    assert!(status == 1 && said.contains("can't reach the edge"), "{status}: {said}");
    assert_eq!(home.shell_ok("ls -A /srv/mail", ""), "");
    let mut running = edge_in_srv(&newcomer);
    home.shell_ok(&setup, "");
    assert!(home.shell_ok("cat /srv/mail/home.toml", "").contains("[[edge]]"));
    let again = home.shell_ok(&setup, "");
    assert!(again.contains("is there already: going on with what is missing"), "{again}");
    running.kill();
}

fn edge_in_srv(newcomer: &Newcomer) -> process::Process {
    newcomer.edge.background("cd /srv/mail && exec postern edge run --config edge.toml", "edge runs")
}

/// Symptom: with 1,300 connections at a limit of 1,024 descriptors `status` fell silent, the link was refused, and the
/// snapshot could not be kept. Cause: [limits] sessions took no notice of the limit, and strangers had the last one.
#[test]
fn more_connections_than_descriptors_leave_the_link_the_spool_and_status_theirs() {
    let _alone = alone();
    let Some(newcomer) = Newcomer::new() else { return };
    let printed = newcomer.edge.shell_ok(&format!("postern edge setup --hostname {EDGE_NAME}"), "");
    let _edge = newcomer.edge.start("edge", Some(1024));
    newcomer.home.shell_ok(&format!("postern home setup --domain example.org {}", code_in(&printed)), "");
    newcomer.add_user("alice");
    let strangers = Strangers::come(&newcomer.lab);
    assert!(strangers.open > 1100, "{} connections are not enough to prove anything", strangers.open);
    assert!(strangers.greeted >= 100, "{} were greeted", strangers.greeted);
    let status = newcomer.edge.status().expect("an answer while the port is full");
    let (now, most) = (status["sessions"].as_u64().unwrap(), status["sessions_max"].as_u64().unwrap());
    assert!(most < 1024 && now <= most + 64, "{status}");
    // Home comes, its list of addresses is kept, and it goes and comes again.
    let home = newcomer.home.start("home", None);
    newcomer.wait_for_link();
    home.stop();
    let _home = newcomer.home.start("home", None);
    newcomer.wait_for_link();
    assert!(newcomer.edge.log_of("edge").contains("fewer sessions at one time than [limits] sessions"));
    drop(strangers);
    until("mail gets in", PATIENCE, || {
        let mut client = within(Some(newcomer.lab.internet()), || {
            SmtpClient::ready_as("203.0.113.2:25".parse().unwrap(), "far.example").ok()
        })?;
        client.command("QUIT").ok()
    });
    newcomer.deliver("alice", "after the storm");
    until("the letter is there", PATIENCE, || {
        newcomer.subjects("alice").contains(&"after the storm".to_owned()).then_some(())
    });
}

/// 1,300 connections from 130 networks, held until it is dropped.
struct Strangers {
    open: usize,
    greeted: usize,
    _python: process::Process,
}

impl Strangers {
    fn come(lab: &NetworkLab) -> Self {
        let addresses: Vec<String> = (1..=130).map(|net| format!("100.64.{net}.1")).collect();
        let add = addresses.iter().map(|at| format!("addr add {at}/32 dev bridge0\n")).collect::<String>();
        batch(lab.internet(), &add);
        batch(lab.edge(), "route add 100.64.0.0/16 dev wan\n");
        let mut python = process::command(Some(lab.internet()), "/usr/bin/python3");
        python.args(["-c", include_str!("many_clients.py"), "203.0.113.2", "25", "10"]).args(&addresses);
        python.stdin(std::process::Stdio::piped());
        let log = tempfile::NamedTempFile::new().unwrap();
        let python = process::Process::start(python, log.path());
        let count = |word: &str| {
            until(word, Duration::from_secs(120), || {
                python.log().lines().find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
            })
        };
        Self { open: count("open"), greeted: count("greeted"), _python: python }
    }
}

fn batch(namespace: &str, lines: &str) {
    let mut ip = process::command(Some(namespace), "ip");
    ip.args(["-batch", "-"]);
    process::run_ok(ip, lines.as_bytes(), PATIENCE);
}
