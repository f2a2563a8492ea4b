use std::collections::BTreeSet;

use testkit::process;

use crate::place::Neighbour;
use crate::world::{Load, PATIENCE, World};

const MESSAGES: u32 = 150;

/// Edge loses power in the middle of the mail that Postfix brings, and is there again with its rules. Postfix tries again;
/// nothing is lost, and twice comes at most what had no answer when the power went.
pub(crate) fn tell(world: &mut World) {
    world.neighbour(Neighbour::Postfix);
    let load = Load::through_postfix(world, MESSAGES);
    testkit::until("mail is coming", PATIENCE, || (load.taken() > 30).then_some(()));
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
    load.all_taken();
    world.pair.wait_for_link();
    let all: BTreeSet<u32> = (1..=MESSAGES).collect();
    let arrived = world.bob_has_load(&all, 2);
    let twice = arrived.times.values().filter(|times| **times > 1).count();
    // As many as Postfix has connections to one domain.
    assert!(twice <= 20, "{arrived:?}");
    world.alice_writes("you@postfix.test", "after the reboot");
    world.reaches_neighbour(Neighbour::Postfix, "after the reboot");
}
