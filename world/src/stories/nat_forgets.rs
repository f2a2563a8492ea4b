use std::time::Duration;

use crate::world::World;

/// The router forgets a flow as soon as it is silent for a second, and gives the next one another port. Mail that comes
/// in a silence is taken, and comes once.
pub(crate) fn tell(world: &mut World) {
    world.lab.forget_flows_after(1);
    world.load_for_bob(5, 1);
    world.bob_has(5);
    for round in 1..=3 {
        std::thread::sleep(Duration::from_secs(4));
        world.load_for_bob(5, 1);
        world.bob_has(5 + 5 * round);
    }
}
