use testkit::pair::EDGE_NAME;

use crate::place::Neighbour;
use crate::world::World;

/// The provider has lost Edge with its disk, and letters wait at Home. A new edge is set up, its code is given to Home, and
/// they leave, once.
pub(crate) fn tell(world: &mut World) {
    world.neighbour(Neighbour::Exim);
    world.pair.edge.kill();
    world.pair.wait_for_no_edge(EDGE_NAME);
    world.edges_keep_nothing();
    std::fs::remove_dir_all(world.pair.edge.data()).expect("its disk");
    std::fs::create_dir(world.pair.edge.data()).expect("an empty one");
    for number in 1..=3 {
        world.alice_writes("you@exim.test", &format!("waiting {number}"));
    }
    let queued = world.pair.home.command_ok(&["queue", "list", "--json"], "");
    assert_eq!(queued.matches("you@exim.test").count(), 3, "{queued}");
    let _second = world.add_second_edge();
    for number in 1..=3 {
        world.reaches_neighbour(Neighbour::Exim, &format!("waiting {number}"));
    }
    world.queue_is_empty();
    world.neighbour_writes(Neighbour::Exim, "bob@example.org", "to the new one");
    world.reaches("bob", "to the new one");
    let all = world.neighbour(Neighbour::Exim).messages().len();
    assert_eq!(all, 3, "each once");
}
