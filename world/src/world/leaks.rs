//! What must not be seen out there: on the wires, in what others received, on Edge's disk.

use testkit::message;

use super::{HOME_NAME, MARKER, World};
use crate::place;

impl World {
    /// At the end of each story: nothing of Home was on a wire, in what others received, or on Edge's disk.
    pub(crate) fn nothing_has_leaked(&mut self) {
        self.wires.end();
        let secrets = self.secrets();
        for secret in &secrets {
            assert!(!self.wires.carried(secret), "'{secret}' was on a wire in clear");
            for (who, mta) in &self.neighbours {
                for stored in mta.messages() {
                    let text = String::from_utf8_lossy(&stored);
                    assert!(!text.contains(secret), "{who:?} received '{secret}':\n{text}");
                }
                assert!(!mta.log().contains(secret), "{who:?} saw '{secret}'");
            }
        }
        let inside = self.wires.packets("ip.addr == 192.168.77.0/24");
        assert!(inside.is_empty(), "an address of the house is on the backbone: {inside:?}");
        if !self.house_goes_out {
            self.house_talks_to_edges_only();
        }
        assert!(self.wires.carried(" ESMTP"), "the wires were tapped");
        self.edges_keep_nothing();
    }

    /// What nobody out there may hear of.
    fn secrets(&self) -> Vec<String> {
        let mut secrets = vec!["192.168.77.".to_owned(), HOME_NAME.to_owned(), "attic".to_owned()];
        if !self.house_goes_out {
            secrets.extend(self.house.iter().map(ToString::to_string));
        }
        secrets
    }

    fn house_talks_to_edges_only(&self) {
        // The relay is in the place of an edge.
        let edges =
            [place::EDGE, place::SECOND_EDGE].into_iter().chain(self.relay.as_ref().map(|_| place::INTERNET));
        let edges: Vec<_> = edges.map(|edge| format!("ip.addr == {edge}")).collect();
        let link = format!("(udp.port == 443 or tcp.port == 443) and ({})", edges.join(" or "));
        for address in &self.house {
            let others = self.wires.packets(&format!("ip.addr == {address} and not ({link}) and not icmp"));
            assert!(others.is_empty(), "the house is seen by others than its edges: {others:?}");
        }
    }

    /// Of no edge's disk: neither mail, nor users, nor where Home is.
    pub(crate) fn edges_keep_nothing(&self) {
        let (secrets, more) = (self.secrets(), [MARKER, "alice", "bob@", "bob\""].map(str::to_owned));
        for dir in &self.edge_dirs {
            for secret in secrets.iter().chain(&more) {
                let found = message::files_that_hold(&dir.join("data"), secret);
                assert!(found.is_empty(), "'{secret}' is on an edge's disk, in {found:?}");
            }
            let log = std::fs::read(dir.join("log")).expect("its log");
            for secret in secrets.iter().map(String::as_str).chain([MARKER]) {
                assert!(
                    !message::holds(&log, secret.as_bytes()),
                    "'{secret}' is in the log of {}",
                    dir.display()
                );
            }
        }
    }
}
