//! Edge is lost with its disk, and a new one takes its place.

use testkit::pair::EDGE_NAME;
use testkit::until;

use crate::place::Neighbour;
use crate::world::{PATIENCE, World};

/// The provider has lost Edge with its disk, and letters wait at Home, one of which was tried before. A new edge is set up,
/// its code is given to Home, and they leave, once.
pub(crate) fn tell(world: &mut World) {
    world.neighbour(Neighbour::Exim).stop();
    world.alice_writes("you@exim.test", "waiting 1");
    until("it was tried in vain", PATIENCE, || {
        world.trace_of_home().iter().any(|event| event["step"] == "deferred").then_some(())
    });
    // So that it is not under way when Edge dies: that would have to be waited for (`[queue] edge_gone`).
    let waiting = item_waiting(world);
    world.pair.home.command_ok(&["queue", "hold", &waiting], "");
    lose_edge(world);
    world.neighbour(Neighbour::Exim).start();
    for number in 2..=3 {
        world.alice_writes("you@exim.test", &format!("waiting {number}"));
    }
    let queued = world.pair.home.command_ok(&["queue", "list", "--json"], "");
    assert_eq!(queued.matches("you@exim.test").count(), 3, "{queued}");
    let _second = world.add_second_edge();
    world.pair.home.command_ok(&["queue", "release", &waiting], "");
    for number in 1..=3 {
        world.reaches_neighbour(Neighbour::Exim, &format!("waiting {number}"));
    }
    world.queue_is_empty();
    world.neighbour_writes(Neighbour::Exim, "bob@example.org", "to the new one");
    world.reaches("bob", "to the new one");
    let all = world.neighbour(Neighbour::Exim).messages().len();
    assert_eq!(all, 3, "each once");
}

fn item_waiting(world: &World) -> String {
    let events = world.trace_of_home();
    let deferred = events.iter().find(|event| event["step"] == "deferred").expect("it was tried");
    deferred["item"].as_str().expect("an id").to_owned()
}

fn lose_edge(world: &mut World) {
    world.pair.edge.kill();
    world.pair.wait_for_no_edge(EDGE_NAME);
    world.edges_keep_nothing();
    std::fs::remove_dir_all(world.pair.edge.data()).expect("its disk");
    std::fs::create_dir(world.pair.edge.data()).expect("an empty one");
}
