//! UDP is blocked on the way: the link goes over TCP.

use std::net::Ipv4Addr;

use testkit::pair::LINK_PATIENCE;
use testkit::until;

use crate::world::World;

/// Somewhere on the way UDP is not let through any more: the link goes over TCP. It is, and the link goes over UDP with
/// the next connection.
pub(crate) fn tell(world: &mut World) {
    runs_over(world, "quic");
    world.lab.block_udp();
    world.load_for_bob(20, 4);
    runs_over(world, "tcp");
    world.load_for_bob(20, 4);
    world.bob_has(40);
    world.lab.unblock_udp();
    world.house_gets(Ipv4Addr::new(203, 0, 113, 77));
    world.load_for_bob(20, 4);
    runs_over(world, "quic");
    world.bob_has(60);
}

fn runs_over(world: &World, transport: &str) {
    until(&format!("the link runs over {transport}"), LINK_PATIENCE, || {
        (world.pair.transport().as_deref() == Some(transport)).then_some(())
    });
}
