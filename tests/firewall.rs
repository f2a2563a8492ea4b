//! The rules of `postern firewall`, loaded and taken back. What they let through is a story of the world: `port-scan`,
//! `flood`.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testkit::namespace::within;
use testkit::pair::Role;
use testkit::process;
use testkit::smtp::SmtpClient;
use testkit::{message, until};

use crate::alone;
use crate::network::lab;

const PATIENCE: Duration = Duration::from_secs(90);
/// Where what waits is, as the documentation says.
const ROOM: &str = "/run/postern-firewall";
/// Connects to Edge from an address, so many times, and says how often it was greeted. It does not wait until the kernel
/// sends its first packet again.
const KNOCK: &str = r"
import socket, sys

greeted = 0
for _ in range(int(sys.argv[2])):
    client = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    client.bind((sys.argv[1], 0))
    client.settimeout(0.5)
    try:
        client.connect(('2001:db8::2', 25))
        client.settimeout(10)
        greeted += client.recv(3) == b'220'
    except TimeoutError:
        pass
    client.close()
print(greeted)
";

fn rules(namespace: &str) -> String {
    nft(namespace, &["list", "ruleset"], b"")
}

fn nft(namespace: &str, arguments: &[&str], input: &[u8]) -> String {
    let mut nft = process::command(Some(namespace), "nft");
    nft.args(arguments);
    process::run_ok(nft, input, PATIENCE)
}

fn has_table(namespace: &str) -> bool {
    rules(namespace).contains("table inet postern")
}

fn apply(role: &Role, name: &str, more: &[&str]) {
    let arguments = [&["firewall", name, "--apply"], more].concat();
    let said = role.command_ok(&arguments, "");
    assert!(said.contains("firewall confirm"), "{said}");
}

fn confirm(role: &Role) {
    role.command_ok(&["firewall", "confirm"], "");
}

/// What it says when it fails.
fn refused(role: &Role, arguments: &[&str]) -> String {
    let output = role.command(arguments, "");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The files of this host in the waiting room.
fn waiting(namespace: &str) -> Vec<PathBuf> {
    let number = std::fs::metadata(format!("/run/netns/{namespace}")).unwrap().ino();
    let entries = std::fs::read_dir(ROOM).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    entries.filter(|path| name(path).starts_with(&format!("{number}-"))).collect()
}

/// The guards that run on this host.
fn guards(namespace: &str) -> Vec<i32> {
    let mut list = process::command(None, "ip");
    list.args(["netns", "pids", namespace]);
    let ids = process::run_ok(list, b"", PATIENCE);
    let line = |id: &str| std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let guards = ids.lines().filter(|id| line(id).contains("firewall\0guard\0"));
    guards.map(|id| id.parse().unwrap()).collect()
}

#[test]
fn rules_that_nobody_confirms_are_taken_back() {
    let _alone = alone();
    let Some((lab, pair)) = lab() else { return };
    apply(&pair.edge, "edge", &["--seconds", "3"]);
    assert!(has_table(lab.edge()));
    assert!(refused(&pair.edge, &["firewall", "edge", "--apply"]).contains("waits to be confirmed"));
    until("the rules are taken back", PATIENCE, || (!has_table(lab.edge())).then_some(()));
    until("the guard is done", PATIENCE, || waiting(lab.edge()).is_empty().then_some(()));
    assert!(refused(&pair.edge, &["firewall", "confirm"]).contains("nothing waits"));

    // What was confirmed comes back when a later one is not, with the clients that it has counted.
    apply(&pair.edge, "edge", &["--ssh-from", "203.0.113.200"]);
    confirm(&pair.edge);
    let mut client = within(Some(lab.internet()), || SmtpClient::ready(pair.smtp)).unwrap();
    let text = message::simple("you@far.test", "bob@example.org", "counted");
    let reply = client.message("you@far.test", &["bob@example.org"], &text).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    let kept = rules(lab.edge());
    assert!(kept.contains("203.0.113.1 limit rate over"), "the client is counted:\n{kept}");
    apply(&pair.edge, "edge", &["--seconds", "2"]);
    assert!(!rules(lab.edge()).contains("203.0.113.200"));
    let back = until("the confirmed rules are back", PATIENCE, || {
        Some(rules(lab.edge())).filter(|rules| rules.contains("203.0.113.200"))
    });
    assert!(back.contains("203.0.113.1 limit rate over"), "{back}");
    assert_eq!(back.lines().count(), kept.lines().count(), "{back}\n{kept}");
}

/// Symptom: rules that were loaded 50 seconds after others had been confirmed were taken back after 10. Cause: the
/// guard of the first load looked for a file of the same name, and found that of the second. Analysis: each load has a
/// number, in the name of its file and among the guard's arguments; a guard whose file is gone ends.
#[test]
fn a_guard_takes_back_its_own_load_only_and_ends_when_that_is_confirmed() {
    let _alone = alone();
    let Some((lab, pair)) = lab() else { return };
    let begun = Instant::now();
    apply(&pair.edge, "edge", &["--seconds", "4"]);
    let [first] = guards(lab.edge())[..] else { panic!("one guard: {:?}", guards(lab.edge())) };
    confirm(&pair.edge);
    apply(&pair.edge, "edge", &["--seconds", "600", "--ssh-from", "203.0.113.200"]);
    until("the first guard ends", PATIENCE, || (!guards(lab.edge()).contains(&first)).then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(4), "it ends when it has nothing to guard");
    std::thread::sleep(Duration::from_secs(5).saturating_sub(begun.elapsed()));
    assert!(rules(lab.edge()).contains("203.0.113.200"), "the second load stays");
    confirm(&pair.edge);
    until("the second guard ends", PATIENCE, || guards(lab.edge()).is_empty().then_some(()));
    assert!(rules(lab.edge()).contains("203.0.113.200"));
}

/// Symptom: a daemon that was broken into could have root load what rules it liked; and after a loss of power no rules
/// could be loaded any more. Cause: the rules from before were in the daemon's own directory, on the disk. Analysis:
/// they are in a directory of root's below `/run`; a file that no guard holds holds up nobody.
#[test]
fn what_is_taken_back_is_roots_alone_and_a_dead_guard_holds_nobody_up() {
    let _alone = alone();
    let Some((lab, pair)) = lab() else { return };
    apply(&pair.edge, "edge", &["--seconds", "600"]);
    let [file] = &waiting(lab.edge())[..] else { panic!("one file: {:?}", waiting(lab.edge())) };
    for (path, mode) in [(PathBuf::from(ROOM), 0o700), (file.clone(), 0o600)] {
        let about = std::fs::symlink_metadata(&path).unwrap();
        assert_eq!((about.uid(), about.mode() & 0o7777), (0, mode), "{}", path.display());
    }
    let names = std::fs::read_dir(pair.edge.data()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().contains("firewall")));
    // The other role's host has the same /run and is not held up.
    apply(&pair.home, "home", &["--lan", "192.168.77.0/24"]);
    confirm(&pair.home);
    assert_eq!(waiting(lab.edge()).len(), 1);

    let [guard] = guards(lab.edge())[..] else { panic!("one guard") };
    kill_process(Pid::from_raw(guard).unwrap(), Signal::KILL).unwrap();
    until("the guard is dead", PATIENCE, || guards(lab.edge()).is_empty().then_some(()));
    apply(&pair.edge, "edge", &["--ssh-from", "203.0.113.200"]);
    confirm(&pair.edge);
    assert!(rules(lab.edge()).contains("203.0.113.200"));
}

#[test]
fn when_nft_refuses_the_rules_from_before_our_table_goes_and_confirm_says_so() {
    let _alone = alone();
    let Some((lab, pair)) = lab() else { return };
    nft(lab.edge(), &["add table inet others"], b"");
    apply(&pair.edge, "edge", &["--seconds", "3"]);
    let [file] = &waiting(lab.edge())[..] else { panic!("one file: {:?}", waiting(lab.edge())) };
    std::fs::write(file, "table inet postern { nonsense }").unwrap();
    until("our table is gone", PATIENCE, || (!has_table(lab.edge())).then_some(()));
    assert!(rules(lab.edge()).contains("table inet others"), "that of others is not");
    until("the guard is done", PATIENCE, || guards(lab.edge()).is_empty().then_some(()));
    let said = refused(&pair.edge, &["firewall", "confirm"]);
    assert!(said.contains("was taken away") && said.contains(ROOM), "{said}");
    apply(&pair.edge, "edge", &[]);
    confirm(&pair.edge);
    assert!(waiting(lab.edge()).is_empty(), "{:?}", waiting(lab.edge()));
}

/// Both roles listen on all addresses unless they are told otherwise.
#[test]
fn nft_takes_the_rules_of_listeners_on_every_address_of_both_kinds() {
    let _alone = alone();
    let Some((lab, pair)) = lab() else { return };
    let every = |names: &[(&str, u16)]| {
        let line = |(name, port): &(&str, u16)| {
            format!("{name} = [\"0.0.0.0:{port}\", \"[::]:{port}\", \"[2001:db8::2]:{port}\"]\n")
        };
        format!("[listen]\n{}", names.iter().map(line).collect::<String>())
    };
    pair.edge.configure(&every(&[("smtp", 25), ("link", 443)]));
    pair.home.configure(&every(&[("submission", 465), ("imap", 993)]));
    let address = "[2001:db8::7]:443";
    for (role, arguments, wanted) in [
        (
            &pair.edge,
            &["firewall", "edge", "--ssh-from", "2001:db8:1::/48"][..],
            &[
                "meta nfproto ipv6 tcp dport 25 ct state new add @smtp6 { ip6 saddr & ",
                "ip6 daddr 2001:db8::2 tcp dport 25 counter accept",
                "meta nfproto ipv6 udp dport 443 ct state new add @link6 { ip6 saddr & ",
                "meta nfproto ipv6 udp dport 443 counter accept",
                "ip6 saddr 2001:db8:1::/48 tcp dport 22 counter accept",
            ][..],
        ),
        (
            &pair.edge,
            &["firewall", "edge", "--tunnel", "udp/51820"],
            &["udp dport 51820 counter accept", "tcp dport 25 counter reject with tcp reset"],
        ),
        (
            &pair.home,
            &[
                "firewall",
                "home",
                "--home",
                "postfix",
                "--edge",
                "fd00:8::1",
                "--smarthost",
                "[2001:db8::9]:465",
                "--tunnel",
                "udp/51820",
            ],
            &[
                "ip6 saddr fd00:8::1/128 meta nfproto ipv6 tcp dport 4465 counter accept",
                "ip6 daddr 2001:db8::9 tcp dport 465 counter accept",
                "udp sport 51820 counter accept",
            ],
        ),
        (
            &pair.home,
            &["firewall", "home", "--lan", "fd00::/8", "--edge", address],
            &[
                "ip6 saddr fd00::/8 meta nfproto ipv6 tcp dport 465 counter accept",
                "ip6 saddr fd00::/8 ip6 daddr 2001:db8::2 tcp dport 993 counter accept",
                "ip6 daddr 2001:db8::7 udp dport 443 counter accept",
            ],
        ),
    ] {
        let text = role.command_ok(arguments, "");
        for rule in wanted {
            assert!(text.contains(rule), "{rule}\n{text}");
        }
        nft(lab.internet(), &["-c", "-f", "-"], text.as_bytes());
        assert!(!has_table(lab.internet()), "it was only looked at");
    }
}

#[test]
fn over_ipv6_mail_gets_in_and_a_network_that_comes_too_often_is_dropped() {
    let _alone = alone();
    let Some((lab, mut pair)) = lab() else { return };
    let address = |namespace: &str, interface: &str, address: &str| {
        let mut ip = process::command(None, "ip");
        ip.args(["-n", namespace, "addr", "add", address, "dev", interface, "nodad"]);
        process::run_ok(ip, b"", PATIENCE);
    };
    address(lab.edge(), "wan", "2001:db8::2/32");
    for own in ["2001:db8:0:1::1/32", "2001:db8:0:1::2/32", "2001:db8:0:2::1/32"] {
        address(lab.internet(), "bridge0", own);
    }
    pair.edge.configure("[listen]\nsmtp = [\"203.0.113.2:25\", \"[::]:25\"]\n");
    pair.edge.restart();
    // The program goes on with what it has read: who is kept out is kept out by the kernel.
    pair.edge.configure("[door]\nconnections_per_minute = 6\n");
    apply(&pair.edge, "edge", &[]);
    confirm(&pair.edge);
    let greeted = |from: &str, times: usize| {
        let mut python = process::command(Some(lab.internet()), "/usr/bin/python3");
        python.args(["-c", KNOCK, from, &times.to_string()]);
        process::run_ok(python, b"", PATIENCE).trim().parse::<usize>().unwrap()
    };
    let first = greeted("2001:db8:0:1::1", 15);
    assert_eq!(first, 15);
    let second = greeted("2001:db8:0:1::2", 15);
    assert!((5..=7).contains(&second), "20 at one time, for both together: {second}");
    assert_eq!(greeted("2001:db8:0:2::1", 5), 5, "another network");
}

/// Symptom: with the rules of the page's example loaded there was no tunnel any more. Cause: they let in what has an address
/// of it, and nobody said what carries it. Analysis: nobody but the operator knows that, so he is told that he has to say it.
#[test]
fn an_address_that_only_a_tunnel_leads_to_is_told_unless_the_tunnel_is_named() {
    let _alone = alone();
    let Some((_lab, pair)) = lab() else { return };
    let pin = "ab".repeat(32);
    pair.home.configure(&format!(
        "[foreign_edge]\nlisten = [\"10.8.0.2:4465\"]\nnetworks = [\"10.8.0.1\"]\nfingerprints = [\"{pin}\"]\n"
    ));
    pair.edge.configure(&format!(
        "[[foreign_home]]\ndomains = [\"example.net\"]\naddress = \"10.9.0.2\"\nfingerprint = \"{pin}\"\n\
         recipients = \"call-ahead\"\n"
    ));
    let told = |role: &Role, arguments: &[&str]| {
        let output = role.command(arguments, "");
        assert!(output.status.success(), "the rules are made all the same");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = told(&pair.home, &["firewall", "home"]);
    let of = |address: &str| format!("{address}/32 is in no network that this host has a wire to");
    assert!(said.contains(&of("10.8.0.2")) && said.contains(&of("10.8.0.1")), "{said}");
    assert!(said.contains("--tunnel udp/51820") && !said.contains("192.168.77."), "{said}");
    assert!(told(&pair.edge, &["firewall", "edge"]).contains(&of("10.9.0.2")));
    let postfix = ["firewall", "home", "--home", "postfix", "--edge", "10.8.0.1"];
    assert!(told(&pair.home, &postfix).contains(&of("10.8.0.1")));
    for (role, name) in [(&pair.home, "home"), (&pair.edge, "edge")] {
        assert_eq!(told(role, &["firewall", name, "--tunnel", "udp/51820"]), "");
    }
    for (arguments, advice) in [
        (&["firewall", "home", "--home", "postfix"][..], "--edge ADDRESS"),
        (&["firewall", "home", "--home", "postfix", "--edge", "10.8.0.1:443"], "--port"),
        (&["firewall", "home", "--edge", "10.8.0.1"], "such as 192.0.2.7:443"),
    ] {
        let said = refused(&pair.home, arguments);
        assert!(said.contains(advice), "{said}");
    }
}

/// Symptom: who loaded the rules over ssh and confirmed them in the window that he had was shut out, for good. Cause: nothing was said of
/// ssh, and any session could confirm.
#[test]
fn rules_that_shut_out_who_loads_them_are_not_loaded_and_his_own_session_confirms_nothing() {
    let _alone = alone();
    let Some((lab, pair)) = lab() else { return };
    let typed = |arguments: &[&str], session: &str| {
        let mut command = process::command(Some(lab.edge()), testkit::binary::postern());
        command.arg("firewall").args(arguments).arg("--config").arg(pair.edge.config());
        command.env("SSH_CONNECTION", session);
        let output = process::run(command, b"", PATIENCE);
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let own = "203.0.113.7 51000 203.0.113.2 22";
    let (done, said) = typed(&["edge", "--apply"], own);
    assert!(
        !done && said.contains("you come by ssh from 203.0.113.7") && said.contains("--ssh-from 203.0.113.7"),
        "{said}"
    );
    assert!(!has_table(lab.edge()));
    let (done, said) = typed(&["edge", "--apply", "--ssh-from", "203.0.113.7"], own);
    assert!(done, "{said}");
    let (done, said) = typed(&["confirm"], own);
    assert!(!done && said.contains("open a new one"), "{said}");
    let (done, said) = typed(&["confirm"], "203.0.113.7 51001 203.0.113.2 22");
    assert!(done && rules(lab.edge()).contains("203.0.113.7"), "{said}");
}
