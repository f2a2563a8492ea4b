//! Strangers ask Edge who exists.

use crate::world::{PATIENCE, World, letter};

/// Edge knows who exists, with Home connected and with Home away, and has no list that could be read.
pub(crate) fn tell(world: &mut World) {
    expect(world, "nobody@example.org", "550 5.1.1");
    expect(world, "bob@example.org", "250");
    world.pair.home.terminate(PATIENCE);
    world.pair.wait_for_no_link();
    expect(world, "nobody@example.org", "550 5.1.1");
    expect(world, "bob+list@example.org", "250");
    expect(world, "bob@elsewhere.test", "550 5.7.1");
    world.pair.home.start();
    world.pair.wait_for_link();
    world.bob_has(2);
}

fn expect(world: &mut World, to: &str, code: &str) {
    let text = letter("someone@innocent.example", to, "are you there");
    let reply = world.stranger_sends("spammer", "someone@innocent.example", to, &text);
    assert!(reply.starts_with(code), "{to}: {reply}");
}
