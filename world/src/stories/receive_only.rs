use testkit::process;
use testkit::submission::Sent;

use crate::place::{EDGE, Neighbour};
use crate::world::{PATIENCE, Setting, World, letter};

/// What `home setup` writes when nobody says that it may send.
pub(crate) fn setting() -> Setting {
    Setting { outbound: false, ..Setting::default() }
}

/// Postfix writes to bob. Alice may write to bob, and not to the world.
pub(crate) fn tell(world: &mut World) {
    world.neighbour_writes(Neighbour::Postfix, "bob@example.org", "welcome");
    world.reaches("bob", "welcome");

    let within_the_house = letter("alice@example.org", "bob@example.org", "lunch");
    world.alice().send(Sent {
        from: "alice@example.org",
        to: "bob@example.org",
        mail_options: "",
        rcpt_options: "",
        message: &within_the_house,
    });
    world.reaches("bob", "lunch");

    let said = alice_tries(world, "you@postfix.test");
    assert!(said.contains("550") && said.contains("outbound"), "{said}");
    let sent = world.wires_show(&format!("ip.src == {EDGE} and tcp.dstport == 25 and tcp.flags.syn == 1"));
    assert!(sent.is_empty(), "Edge connects to nobody: {sent:?}");
}

/// What the mail program is told.
fn alice_tries(world: &World, to: &str) -> String {
    let mut swaks = process::command(Some(world.host("mua")), "swaks");
    swaks.args(["--server", "192.168.77.2", "--port", "465", "--tls-on-connect", "--to", to]);
    swaks.args(["--from", "alice@example.org", "--auth", "PLAIN", "--auth-user", "alice@example.org"]);
    swaks.args(["--auth-password", testkit::pair::PASSWORD]);
    let output = process::run(swaks, b"", PATIENCE);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
