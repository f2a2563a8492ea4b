//! The router at home forgets the link's flows.

use std::time::Duration;

use crate::place::{EDGE, NAT};
use crate::world::World;

/// The router forgets a flow as soon as it is silent for a second, and gives the next one another port. Mail that comes
/// in a silence is taken, and comes once; and the link did run from more than one port.
pub(crate) fn tell(world: &mut World) {
    world.lab.forget_flows_after(1);
    world.load_for_bob(5, 1);
    world.bob_has(5);
    for round in 1..=3 {
        std::thread::sleep(Duration::from_secs(4));
        world.load_for_bob(5, 1);
        world.bob_has(5 + 5 * round);
    }
    let link = format!("ip.src == {NAT} and ip.dst == {EDGE} and udp.dstport == 443");
    let ports = world.wires_have(&link, "udp.srcport");
    assert!(ports.len() >= 2, "the router has not changed the port: {ports:?}");
}
