//! A scanner looks for open ports on both hosts.

use testkit::process::{self, Process};
use testkit::until;

use crate::place::Neighbour;
use crate::world::{PATIENCE, Setting, World};

/// Something else that listens on every address of a host, by TCP and UDP, and something in the place of ssh.
const OTHER: &str = r"
import http.server, socketserver, threading

class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        self.request[1].sendto(self.request[0], self.client_address)

def web(port):
    return http.server.ThreadingHTTPServer(('', port), http.server.SimpleHTTPRequestHandler)

for server in [socketserver.UDPServer(('', 8080), Echo), web(8080), web(22)]:
    threading.Thread(target=server.serve_forever).start()
";
/// Asks it by UDP, and says whether there was an answer.
const ASK: &str = r"
import socket, sys

client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(0.5)
for _ in range(3):
    try:
        client.sendto(b'hello', (sys.argv[1], 8080))
        sys.exit(print(client.recv(100).decode()))
    except OSError:
        pass
print('silence')
";
/// How many probes a second: the whole range in some seconds.
const RATE: &str = "40000";
/// The house's side of the router, as a host of the internet would come through it if it forwarded.
const FROM_OUTSIDE: &[&str] = &["-S", "203.0.113.9", "-e", "lan"];
/// Ports that something listens on, on one host or another.
const LISTENED_ON: &str = "22,25,443,465,993,4465,8080";
const HOME: &str = "192.168.77.2";
const HOME_RULES: &[&str] = &["firewall", "home", "--apply", "--lan", "192.168.77.0/24"];

/// The house is scanned by its own computers, and scans.
pub(crate) fn setting() -> Setting {
    Setting { house_goes_out: true, ..Setting::default() }
}

/// Every TCP port of both hosts, from each place, while another service listens on both, and something on the port of
/// ssh: open is what is meant. The other service is not reached by UDP either.
pub(crate) fn tell(world: &mut World) {
    let (edge, home, nat) =
        (world.lab.edge().to_owned(), world.lab.home().to_owned(), world.lab.nat().to_owned());
    let (mua, spammer) = (world.host("mua").to_owned(), world.host("spammer").to_owned());
    world.neighbour(Neighbour::Postfix);
    let dir = tempfile::tempdir().expect("a directory");
    let other = |place: &str| {
        let mut python = process::command(Some(place), "/usr/bin/python3");
        python.args(["-c", OTHER]);
        Process::start(python, &dir.path().join(place))
    };
    let _others = [other(&edge), other(&home)];
    for (place, address) in [(&edge, "203.0.113.2"), (&home, HOME)] {
        until("the other service listens", PATIENCE, || {
            let listens = scan(place, address, &["-p", "22,8080"]) == [22, 8080];
            (listens && by_udp(place, address) == "hello").then_some(())
        });
    }
    for (from, to, meant) in [
        (&spammer, "203.0.113.2", &[25, 443][..]),
        (&mua, "203.0.113.2", &[25, 443]),
        (&home, "203.0.113.2", &[443]),
        (&spammer, "203.0.113.9", &[]),
        (&edge, "203.0.113.9", &[]),
        (&mua, HOME, &[465, 993]),
        (&nat, HOME, &[465, 993]),
        (&home, "203.0.113.21", &[]),
    ] {
        assert_eq!(open_ports(from, to), meant, "{to}, seen from {from}");
        assert_eq!(by_udp(from, to), "silence", "{to}, seen from {from}");
    }
    nobody_outside_gets_into_home(world, &home, &nat);
    ssh_is_let_in_from_where_it_is_said(world, &mua, &spammer);
    world.load_for_bob(5, 1);
    world.bob_has(5);
}

/// The router forwards nothing, so that a scan of its address shows the router. Here packets with an address of the
/// internet reach Home's host: its firewall alone is what keeps them out.
fn nobody_outside_gets_into_home(world: &World, home: &str, nat: &str) {
    let open = every_open_port(nat, HOME, FROM_OUTSIDE);
    assert!(open.is_empty(), "Home, seen from outside: {open:?}");
    let mut nft = process::command(Some(home), "nft");
    nft.args(["delete", "table", "inet", "postern"]);
    process::run_ok(nft, b"", PATIENCE);
    assert_eq!(every_open_port(nat, HOME, FROM_OUTSIDE), [22, 465, 993, 8080], "without the firewall");
    world.load_firewall(&world.pair.home, &[HOME_RULES, &["--no-ssh"]].concat());
}

fn ssh_is_let_in_from_where_it_is_said(world: &World, mua: &str, spammer: &str) {
    let friend = Neighbour::Postfix;
    let address = friend.address().to_string();
    let rules = ["firewall", "edge", "--apply", "--ssh-from", &address];
    world.load_firewall(&world.pair.edge, &rules);
    let rules = [HOME_RULES, &["--ssh-from", "192.168.77.3"]].concat();
    world.load_firewall(&world.pair.home, &rules);
    for (from, to, meant) in [
        (world.host(friend.place()), "203.0.113.2", &[22, 25, 443][..]),
        (spammer, "203.0.113.2", &[25, 443]),
        (mua, HOME, &[22, 465, 993]),
        (world.lab.nat(), HOME, &[465, 993]),
    ] {
        // The others have been looked at.
        assert_eq!(scan(from, to, &["-p", LISTENED_ON]), meant, "{to}, seen from {from}");
    }
}

/// Of the ports that something may listen on, those that are open. For ways that are too narrow for the whole range.
pub(super) fn open_of_known(from: &str, to: &str) -> Vec<u16> {
    scan(from, to, &["-p", LISTENED_ON])
}

pub(super) fn open_ports(from: &str, to: &str) -> Vec<u16> {
    every_open_port(from, to, &[])
}

/// The whole range, as fast as it goes, and once more, patiently, what is known to be listened on: a busy machine loses
/// many of the fast probes and of their answers.
fn every_open_port(from: &str, to: &str, how: &[&str]) -> Vec<u16> {
    let mut open = scan(from, to, &[how, &["-p-", "--min-rate", RATE]].concat());
    open.extend(scan(from, to, &[how, &["-p", LISTENED_ON]].concat()));
    open.sort_unstable();
    open.dedup();
    open
}

fn scan(from: &str, to: &str, how: &[&str]) -> Vec<u16> {
    let mut nmap = process::command(Some(from), "nmap");
    nmap.args(["-sS", "-Pn", "-n", "--max-retries", "3", "--max-rtt-timeout", "500ms", "-oG", "-"])
        .args(how)
        .arg(to);
    let said = process::run_ok(nmap, b"", PATIENCE);
    let words = said.split([' ', ',', '\t']).filter(|word| word.contains("/open/"));
    words.map(|word| word.split('/').next().unwrap_or_default().parse().expect("a port")).collect()
}

fn by_udp(from: &str, to: &str) -> String {
    let mut python = process::command(Some(from), "/usr/bin/python3");
    python.args(["-c", ASK, to]);
    process::run_ok(python, b"", PATIENCE).trim().to_owned()
}
