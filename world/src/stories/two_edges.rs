//! Two edges, of which each dies once.

use testkit::pair::EDGE_NAME;

use crate::place::Neighbour;
use crate::world::{PATIENCE, SECOND, World};

/// The domain has two MX hosts, 10 and 20. The first dies: mail comes by the second and leaves by the second. It lives
/// again and the second dies: the same the other way round. What each of them kept while Home was away comes once.
pub(crate) fn tell(world: &mut World) {
    let mut second = world.add_second_edge();
    world.neighbour_writes(Neighbour::Postfix, "bob@example.org", "both live");
    world.reaches("bob", "both live");

    world.pair.edge.kill();
    world.pair.wait_for_no_edge(EDGE_NAME);
    world.neighbour_writes(Neighbour::Postfix, "bob@example.org", "the first is dead");
    world.reaches("bob", "the first is dead");
    world.alice_writes("you@postfix.test", "by the second");
    world.reaches_neighbour(Neighbour::Postfix, "by the second");

    world.pair.edge.start();
    world.pair.wait_for_edge(EDGE_NAME);
    second.role.kill();
    world.pair.wait_for_no_edge(SECOND);
    world.neighbour_writes(Neighbour::Postfix, "bob@example.org", "the second is dead");
    world.reaches("bob", "the second is dead");
    world.alice_writes("you@postfix.test", "by the first");
    world.reaches_neighbour(Neighbour::Postfix, "by the first");

    world.pair.home.terminate(PATIENCE);
    world.pair.wait_for_no_link();
    world.neighbour_writes(Neighbour::Postfix, "bob@example.org", "kept by the first");
    testkit::until("it is sealed", PATIENCE, || (world.pair.link().1 == 1).then_some(()));
    world.pair.edge.kill();
    second.role.start();
    world.neighbour_writes(Neighbour::Postfix, "bob@example.org", "kept by the second");
    testkit::until("it is sealed", PATIENCE, || {
        (second.role.status()?["homes"][0]["sealed"] == 1).then_some(())
    });
    world.pair.edge.start();
    world.pair.home.start();
    world.reaches("bob", "kept by the second");
    world.reaches("bob", "kept by the first");
    world.bob_has(5);
    for subject in ["by the first", "by the second"] {
        assert_eq!(world.neighbour_has(Neighbour::Postfix, subject).len(), 1, "{subject}");
    }
}
