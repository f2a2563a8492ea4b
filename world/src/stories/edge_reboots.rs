//! Edge's host dies in the middle of mail and comes up again.

use std::collections::BTreeSet;

use testkit::pair::LINK_PATIENCE;
use testkit::process;

use crate::place::Neighbour;
use crate::world::{Load, PATIENCE, World};

const MESSAGES: u32 = 150;
const KEPT: [&str; 3] = ["kept 1", "kept 2", "kept 3"];

/// Edge is killed in the middle of the mail that Postfix brings, its host starts anew, and it is there again with its rules.
/// Postfix tries again; nothing is lost, and twice comes at most what had no answer then. The same again while Home is away
/// and mail rests sealed on Edge: that comes once.
pub(crate) fn tell(world: &mut World) {
    world.neighbour(Neighbour::Postfix);
    let load = Load::through_postfix(world, MESSAGES);
    testkit::until("mail is coming", PATIENCE, || (load.taken() > 30).then_some(()));
    reboot(world);
    load.all_taken(world);
    world.pair.wait_for_link();
    let all: BTreeSet<u32> = (1..=MESSAGES).collect();
    let arrived = world.bob_has_load(&all, 2);
    let twice = arrived.times.values().filter(|times| **times > 1).count();
    // As many as Postfix has connections to one domain.
    assert!(twice <= 20, "{arrived:?}");

    world.pair.home.terminate(PATIENCE);
    world.pair.wait_for_no_link();
    for subject in KEPT {
        world.neighbour_writes(Neighbour::Postfix, "bob@example.org", subject);
    }
    testkit::until("they are sealed", PATIENCE, || (world.pair.link().1 == 3).then_some(()));
    reboot(world);
    assert_eq!(world.pair.link().1, 3, "they are still there");
    world.pair.home.start();
    world.pair.wait_until_drained(LINK_PATIENCE);
    for subject in KEPT {
        world.reaches("bob", subject);
    }
    let subjects = world.mailbox("bob").subjects("INBOX");
    assert_eq!(subjects.iter().filter(|subject| KEPT.contains(&subject.as_str())).count(), 3, "each once");
    world.alice_writes("you@postfix.test", "after the reboot");
    world.reaches_neighbour(Neighbour::Postfix, "after the reboot");
}

/// `kill -9`, and a host that knows neither rules nor connections any more. What the kernel had of its files is on the disk.
fn reboot(world: &mut World) {
    world.pair.edge.kill();
    let edge = world.lab.edge().to_owned();
    for words in [
        &["nft", "flush", "ruleset"][..],
        &["ip", "link", "set", "wan", "down"],
        &["ip", "link", "set", "wan", "up"],
    ] {
        let mut command = process::command(Some(&edge), words[0]);
        command.args(&words[1..]);
        process::run_ok(command, b"", PATIENCE);
    }
    world.pair.edge.start();
    world.load_firewall(&world.pair.edge, &["firewall", "edge", "--apply"]);
}
