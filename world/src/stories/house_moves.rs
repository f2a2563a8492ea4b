//! Home's address changes while mail comes in.

use std::net::Ipv4Addr;

use crate::place::{EDGE, NAT};
use crate::world::{Load, World};

const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 77), Ipv4Addr::new(203, 0, 113, 78)];
/// Longer than the link takes to send something by itself.
const MESSAGES: usize = 500;

/// The house gets another address at night, twice, while mail comes in without a pause: all of it is taken, and comes
/// once.
pub(crate) fn tell(world: &mut World) {
    let load = Load::without_end(world);
    load.goes_on(MESSAGES);
    for address in ADDRESSES {
        world.house_gets(address);
        load.goes_on(MESSAGES);
        world.pair.wait_for_link();
    }
    let taken = load.stopped(world);
    world.bob_has_load(&taken, 1);
    for address in [NAT, ADDRESSES[0], ADDRESSES[1]] {
        let link = world.wires_show(&format!("ip.src == {address} and ip.dst == {EDGE}"));
        assert!(!link.is_empty(), "the link ran from {address}");
    }
}
