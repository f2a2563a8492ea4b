//! Letters and answers between alice and each of the other MTAs.

use testkit::message;

use crate::place::Neighbour;
use crate::world::World;

/// Somebody writes to alice, alice answers, and he answers her.
pub(crate) fn tell(world: &mut World) {
    for who in Neighbour::ALL {
        let name = who.domain();
        let [first, reply, thanks] = ["asks", "answers", "thanks"].map(|what| format!("{name} {what}"));

        world.neighbour_writes(who, "alice@example.org", &first);
        let came = world.reaches("alice", &first);
        let results = message::field(&came, "Authentication-Results").expect("what Edge found");
        assert!(results.contains("spf=pass") && results.contains("dmarc=pass"), "{results}");

        world.alice_writes(&who.you(), &reply);
        let came = world.reaches_neighbour(who, &reply);
        assert!(message::field(&came, "DKIM-Signature").is_some(), "{}", String::from_utf8_lossy(&came));

        world.neighbour_writes(who, "alice@example.org", &thanks);
        world.reaches("alice", &thanks);
    }
    world.queue_is_empty();
    assert_eq!(world.mailbox("alice").count("INBOX"), 8, "two from each, and no report");
}
