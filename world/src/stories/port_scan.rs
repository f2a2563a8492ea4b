use testkit::process::{self, Process};
use testkit::until;

use crate::place::Neighbour;
use crate::world::{PATIENCE, Setting, World};

/// Something else that listens on every address of a host, by TCP and UDP.
const OTHER: &str = r"
import http.server, socketserver, threading

class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        self.request[1].sendto(self.request[0], self.client_address)

threading.Thread(target=socketserver.UDPServer(('', 8080), Echo).serve_forever).start()
http.server.ThreadingHTTPServer(('', 8080), http.server.SimpleHTTPRequestHandler).serve_forever()
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

/// The house is scanned by its own computers, and scans.
pub(crate) fn setting() -> Setting {
    Setting { house_goes_out: true, ..Setting::default() }
}

/// Every TCP port of both hosts, from each place, while another service listens on both: open is what is meant. That
/// service is not reached by UDP either.
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
    for (place, address) in [(&edge, "203.0.113.2"), (&home, "192.168.77.2")] {
        until("the other service listens", PATIENCE, || {
            (open_ports(place, address).contains(&8080) && by_udp(place, address) == "hello").then_some(())
        });
    }
    for (from, to, meant) in [
        (&spammer, "203.0.113.2", &[25, 443][..]),
        (&mua, "203.0.113.2", &[25, 443]),
        (&home, "203.0.113.2", &[443]),
        (&spammer, "203.0.113.9", &[]),
        (&edge, "203.0.113.9", &[]),
        (&mua, "192.168.77.2", &[465, 993]),
        (&nat, "192.168.77.2", &[465, 993]),
        (&home, "203.0.113.21", &[]),
    ] {
        assert_eq!(open_ports(from, to), meant, "{to}, seen from {from}");
        assert_eq!(by_udp(from, to), "silence", "{to}, seen from {from}");
    }
    world.load_for_bob(5, 1);
    world.bob_has(5);
}

pub(super) fn open_ports(from: &str, to: &str) -> Vec<u16> {
    let mut nmap = process::command(Some(from), "nmap");
    nmap.args(["-sS", "-Pn", "-n", "-p-", "--min-rate", RATE, "--max-retries", "1", "-oG", "-", to]);
    let said = process::run_ok(nmap, b"", PATIENCE);
    let words = said.split([' ', ',', '\t']).filter(|word| word.contains("/open/"));
    words.map(|word| word.split('/').next().unwrap_or_default().parse().expect("a port")).collect()
}

fn by_udp(from: &str, to: &str) -> String {
    let mut python = process::command(Some(from), "/usr/bin/python3");
    python.args(["-c", ASK, to]);
    process::run_ok(python, b"", PATIENCE).trim().to_owned()
}
