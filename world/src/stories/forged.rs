//! A spammer writes in other people's names.

use testkit::message;

use crate::place::Neighbour;
use crate::world::{Setting, World, letter};

/// The spammer is on a list of the operator's; nobody has to come again.
pub(crate) fn setting() -> Setting {
    Setting {
        edge_config: "policy.greylist = false\n[[list]]\nzone = \"dnsbl.test\"\npoints = 7.0\n".to_owned(),
        ..Setting::default()
    }
}

/// A spammer writes under the names of others and under his own. What is forged is refused while he waits; what is only
/// suspicious goes to Junk; the true owner of the name is believed.
pub(crate) fn tell(world: &mut World) {
    for forged in ["ceo@example.org", "alice@example.org", "you@postfix.test"] {
        let text = letter(forged, "bob@example.org", "pay this bill");
        for path in [forged, "bounces@spammer.test", ""] {
            let reply = world.stranger_sends("spammer", path, "bob@example.org", &text);
            assert!(reply.starts_with("55") && reply.contains(" 5.7."), "<{path}> as {forged}: {reply}");
        }
    }
    // Signed by nobody who may: a line of the header that says otherwise is not believed.
    let mut lying =
        b"Authentication-Results: mx.example.org; dmarc=pass header.from=postfix.test\r\n".to_vec();
    lying.extend_from_slice(&letter("you@postfix.test", "bob@example.org", "trust me"));
    let reply = world.stranger_sends("spammer", "you@postfix.test", "bob@example.org", &lying);
    assert!(reply.starts_with("55") && reply.contains(" 5.7."), "{reply}");

    let own = letter("offers@spammer.test", "bob@example.org", "offer");
    let reply = world.stranger_sends("spammer", "offers@spammer.test", "bob@example.org", &own);
    assert!(reply.starts_with("250"), "{reply}");
    world.neighbour_writes(Neighbour::Postfix, "bob@example.org", "the true one");
    let came = world.reaches("bob", "the true one");
    assert!(message::field(&came, "Authentication-Results").expect("results").contains("dmarc=pass"));
    assert_eq!(world.mailbox("bob").subjects("INBOX"), ["the true one"]);
    assert_eq!(world.mailbox("bob").subjects("Junk"), ["offer"]);
}
