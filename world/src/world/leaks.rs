//! What must not be seen out there: on the wires, in what others received, on Edge's disk.

use testkit::message;

use super::{HOME_NAME, MARKER, World};
use crate::place;

impl World {
    /// At the end of each story: nothing of Home was on a wire, in what others received, or on Edge's disk.
    pub(crate) fn nothing_has_leaked(&mut self) {
        self.wires.end();
        let mut secrets = vec!["192.168.77.".to_owned(), HOME_NAME.to_owned(), "attic".to_owned()];
        if !self.house_goes_out {
            secrets.extend(self.house.iter().map(ToString::to_string));
        }
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
        self.edge_keeps_nothing(&secrets);
    }

    fn house_talks_to_edges_only(&self) {
        for address in &self.house {
            let filter = format!(
                "ip.addr == {address} and not ((udp.port == 443 or tcp.port == 443) and (ip.addr == {} or ip.addr == {}))",
                place::EDGE,
                place::SECOND_EDGE
            );
            let others = self.wires.packets(&format!("{filter} and not icmp"));
            assert!(others.is_empty(), "the house is seen by others than its edges: {others:?}");
        }
    }

    /// Neither mail, nor users, nor where Home is.
    fn edge_keeps_nothing(&self, secrets: &[String]) {
        let more = [MARKER, "alice", "bob@", "bob\""].map(str::to_owned);
        for secret in secrets.iter().chain(&more) {
            let found = message::files_that_hold(self.pair.edge.data(), secret);
            assert!(found.is_empty(), "'{secret}' is on Edge's disk, in {found:?}");
        }
        let log = self.pair.edge.log();
        for secret in secrets {
            assert!(!log.contains(secret), "'{secret}' is in Edge's log");
        }
    }
}
