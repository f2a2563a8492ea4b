use testkit::process::{self, Process};
use testkit::until;

use crate::place::Neighbour;
use crate::world::{PATIENCE, Setting, World};

/// Something else that listens on every address of a host.
const OTHER: &str =
    "import http.server as h; h.ThreadingHTTPServer(('', 8080), h.SimpleHTTPRequestHandler).serve_forever()";
/// How many probes a second: the whole range in some seconds.
const RATE: &str = "40000";

/// The house is scanned by its own computers, and scans.
pub(crate) fn setting() -> Setting {
    Setting { house_goes_out: true, ..Setting::default() }
}

/// Every TCP port of both hosts, from each place, while another service listens on both: open is what is meant.
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
            open_ports(place, address).contains(&8080).then_some(())
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
    }
    world.load_for_bob(5, 1);
    world.bob_has(5);
}

fn open_ports(from: &str, to: &str) -> Vec<u16> {
    let mut nmap = process::command(Some(from), "nmap");
    nmap.args(["-sS", "-Pn", "-n", "-p-", "--min-rate", RATE, "--max-retries", "1", "-oG", "-", to]);
    let said = process::run_ok(nmap, b"", PATIENCE);
    let words = said.split([' ', ',', '\t']).filter(|word| word.contains("/open/"));
    words.map(|word| word.split('/').next().unwrap_or_default().parse().expect("a port")).collect()
}
