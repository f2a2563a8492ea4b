//! Where Home is stays hidden from all to whom alice writes.

use testkit::message;
use testkit::process;

use crate::place::Neighbour;
use crate::world::{MARKER, PATIENCE, World};

/// Alice's program tells where it runs, in its greeting and in the header. All MTAs get her letter, and none of it.
/// (What is on the wires, in what they received and on Edge's disk is looked through at the end of every story.)
pub(crate) fn tell(world: &mut World) {
    for who in Neighbour::ALL {
        world.neighbour(who);
        let subject = format!("where I am, to {}", who.domain());
        let text = format!(
            "Received: from laptop.attic.house.example (192.168.77.3) by attic.house.example; Thu, 01 Jan 2026\r\n\
             Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nFrom: alice@example.org\r\nTo: {}\r\nSubject: {subject}\r\n\
             Message-ID: <1@laptop.attic.house.example>\r\nX-Originating-IP: [192.168.77.3]\r\n\
             User-Agent: Mail on laptop.attic.house.example\r\n\r\n{MARKER}\r\n",
            who.you()
        );
        submit(world, &who.you(), &text);
        let came = world.reaches_neighbour(who, &subject);
        let id = message::field(&came, "Message-ID").expect("an id");
        assert!(!id.contains("house.example"), "{id}");
        // An answer goes to the house and says nothing either.
        world.neighbour_writes(who, "alice@example.org", &format!("answer of {}", who.domain()));
        world.reaches("alice", &format!("answer of {}", who.domain()));
    }
}

fn submit(world: &World, to: &str, text: &str) {
    let mut swaks = process::command(Some(world.host("mua")), "swaks");
    swaks.args(["--server", "192.168.77.2", "--port", "465", "--tls-on-connect", "--to", to]);
    swaks.args(["--from", "alice@example.org", "--auth", "PLAIN", "--auth-user", "alice@example.org"]);
    swaks.args(["--auth-password", testkit::pair::PASSWORD, "--helo", "laptop.attic.house.example"]);
    swaks.args(["--data", "-"]);
    process::run_ok(swaks, text.replace("\r\n", "\n").as_bytes(), PATIENCE);
}
