//! Home is away for three days, and all that came meanwhile is there afterwards.

use testkit::pair::LINK_PATIENCE;

use crate::place::Neighbour;
use crate::world::{PATIENCE, Setting, World};

const DAY: i64 = 86_400;

/// Both hosts have clocks that can be set.
pub(crate) fn setting() -> Setting {
    Setting { own_clock: true, ..Setting::default() }
}

/// The house has no power for three days. Mail comes each day, Edge is started anew in between, and a letter of alice's
/// waits at Home for a host that is down. Then Home is back: everything comes, and once, and her letter leaves.
pub(crate) fn tell(world: &mut World) {
    world.neighbour(Neighbour::Exim).stop();
    world.alice_writes("you@exim.test", "waits for Exim");
    world.pair.home.terminate(PATIENCE);
    world.pair.wait_for_no_link();
    for day in 1..=3 {
        world.clocks_are_ahead(day * DAY);
        world.neighbour_writes(Neighbour::Postfix, "bob@example.org", &format!("day {day}"));
        testkit::until("it is sealed", PATIENCE, || {
            (world.pair.link().1 == u64::try_from(day).ok()?).then_some(())
        });
        if day == 2 {
            world.pair.edge.restart();
        }
    }
    world.neighbour(Neighbour::Exim).start();
    world.pair.home.start();
    world.pair.wait_until_drained(LINK_PATIENCE);
    world.bob_has(3);
    let mut subjects = world.mailbox("bob").subjects("INBOX");
    subjects.sort();
    assert_eq!(subjects, ["day 1", "day 2", "day 3"]);
    world.reaches_neighbour(Neighbour::Exim, "waits for Exim");
    world.queue_is_empty();
    assert_eq!(world.neighbour_has(Neighbour::Exim, "waits for Exim").len(), 1);
    // She was told after four hours that it is late, and nothing else.
    let reports = world.mailbox("alice").messages("INBOX");
    assert!(reports.len() <= 1, "{}", reports.len());
}
