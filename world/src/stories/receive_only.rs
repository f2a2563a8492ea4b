//! A home that does not send.

use std::io::ErrorKind;
use std::net::TcpStream;

use testkit::namespace::within;
use testkit::submission::Sent;
use testkit::{process, until};

use crate::place::{EDGE, Neighbour, at};
use crate::world::{PATIENCE, Setting, World, letter};

/// What `home setup` writes when nobody says that it may send.
pub(crate) fn setting() -> Setting {
    Setting { outbound: false, ..Setting::default() }
}

/// Postfix writes to bob. Alice may write to bob, and not to the world. Nor does another program on Edge's host find a way to
/// the port of mail, until Home sends and the rules are made anew.
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
    assert_eq!(from_edges_host(world), Err(ErrorKind::ConnectionRefused), "by its own host: Postfix listens");

    world.pair.home.configure("outbound = \"on\"");
    world.pair.home.restart();
    world.pair.wait_for_link();
    until("Edge tells its operator", PATIENCE, || {
        world.pair.edge.log().contains("a home sends from now on").then_some(())
    });
    assert_eq!(from_edges_host(world), Err(ErrorKind::ConnectionRefused), "the rules are the old ones");
    world.load_firewall(&world.pair.edge, &["firewall", "edge", "--apply"]);
    assert_eq!(from_edges_host(world), Ok(()));
    world.alice_writes("you@postfix.test", "at last");
    world.reaches_neighbour(Neighbour::Postfix, "at last");
}

/// Whether a program there gets through to Postfix's port 25.
fn from_edges_host(world: &World) -> Result<(), ErrorKind> {
    let postfix = at(Neighbour::Postfix.address(), 25);
    let connected = within(Some(world.lab.edge()), || TcpStream::connect_timeout(&postfix, PATIENCE));
    connected.map(drop).map_err(|error| error.kind())
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
