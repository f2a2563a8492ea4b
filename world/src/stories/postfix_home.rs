//! Edge is Postern, and Postfix is the home.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use testkit::message;
use testkit::namespace::within;
use testkit::postfix::{Access, PostfixHome};
use testkit::process;
use testkit::remote_mta::Site;
use testkit::tunnel::{End, Tunnel};
use testkit::{binary, until};

use super::port_scan::{open_of_known, open_ports};
use crate::place::{EDGE, NAT, Neighbour, RESOLVER, SPAMMER, TUNNEL, TUNNEL_PORT};
use crate::world::{PATIENCE, Setting, World, letter};

const DOMAIN: &str = "hearth.test";
const HOME: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 6);
/// Where the home takes mail from Edge.
const WAY_IN: u16 = 4465;
/// What nobody out there may read in a reply: names, addresses and ports of the house, and what it says of itself.
const SECRETS: [&str; 8] =
    ["cellar", "10.8.0.", "192.168.", "203.0.113.9", "4465", "ovecot", "mail.hearth", "attic"];

/// The house dials its edge by another way than the link.
pub(crate) fn setting() -> Setting {
    Setting { house_goes_out: true, ..Setting::default() }
}

/// Edge in front of Postfix and Dovecot, as the page has it, through a tunnel, with both firewalls. A full mailbox, an
/// alias that leads elsewhere and content are refused while the sender waits; what fails after all is told to the
/// postmaster; with the home away the sender keeps his mail. No stranger gets a report, and the house speaks with its edge only.
pub(crate) fn tell(world: &mut World) {
    world.neighbour(Neighbour::Exim);
    let house = world.add_house_host("hearth", HOME);
    let edge = world.lab.edge().to_owned();
    let mut home = PostfixHome::at(&site(&house), DOMAIN);
    world.pair.edge.configure(&format!(
        "[[foreign_home]]\ndomains = [\"{DOMAIN}\"]\naddress = \"{}:{WAY_IN}\"\nfingerprint = \"{}\"\n\
         recipients = \"call-ahead\"\n",
        TUNNEL[1],
        home.fingerprint()
    ));
    world.pair.edge.restart();
    world.pair.wait_for_link();
    let shown = world.pair.edge.status().expect("a status")["foreign_homes"][0]["certificate"].clone();
    // The tunnel is dialled under the rules: nothing of it was let through before they were there.
    load_firewalls(world, &house);
    let dir = world.dir().to_owned();
    let (at_edge, at_home) = (format!("{}/24", TUNNEL[0]), format!("{}/24", TUNNEL[1]));
    let address = EDGE.to_string();
    let _ends = [
        Tunnel::start(&edge, &at_edge, End::Listens(&address), TUNNEL_PORT, &dir),
        Tunnel::start(&house, &at_home, End::Dials(&address), TUNNEL_PORT, &dir),
    ];
    home.start(Access::Certificate(shown.as_str().expect("a fingerprint")));

    let mut replies = what_is_refused_in_time(world, &home);
    what_fails_late_is_the_postmasters(world, &home);
    home.stop_postfix();
    replies.push(hears(world, "bob", "while away", "451 4.4.1"));
    home.start_postfix();
    replies.push(until("the home is back", PATIENCE, || {
        Some(send(world, "bob", &letter(&Neighbour::Exim.you(), "bob@hearth.test", "back")))
            .filter(|reply| reply.starts_with("250"))
    }));
    has(&home, "bob", "back");
    for reply in &replies {
        assert!(!SECRETS.iter().any(|secret| reply.contains(secret)), "{reply}");
    }
    nobody_else_heard_of_it(world, &house);
}

fn site(house: &str) -> Site {
    Site {
        namespace: house.to_owned(),
        address: IpAddr::V4(TUNNEL[1].parse().expect("an address")),
        name_server: IpAddr::V4(RESOLVER),
    }
}

/// With the tunnel named at both ends.
fn load_firewalls(world: &World, house: &str) {
    let tunnel = format!("udp/{TUNNEL_PORT}");
    world.load_firewall(&world.pair.edge, &["firewall", "edge", "--apply", "--tunnel", &tunnel]);
    let postern = |arguments: &[&str]| {
        let mut command = process::command(Some(house), binary::postern());
        command.args(arguments);
        process::run_ok(command, b"", PATIENCE)
    };
    let rules =
        ["firewall", "home", "--home", "postfix", "--edge", TUNNEL[0], "--lan", "192.168.77.0/24", "--apply"];
    postern(&[&rules[..], &["--tunnel", &tunnel]].concat());
    postern(&["firewall", "confirm"]);
}

/// A stranger's MTA hands a message in at Edge; his sender is one to whom a report would get.
fn send(world: &mut World, to: &str, octets: &[u8]) -> String {
    world.stranger_sends(Neighbour::Exim.place(), &Neighbour::Exim.you(), &format!("{to}@{DOMAIN}"), octets)
}

/// He must hear this of it.
fn hears(world: &mut World, to: &str, subject: &str, code: &str) -> String {
    let text = letter(&Neighbour::Exim.you(), &format!("{to}@{DOMAIN}"), subject);
    let reply = send(world, to, &text);
    assert!(reply.starts_with(code), "{to}, {subject}: {reply}");
    reply
}

fn has(home: &PostfixHome, user: &str, subject: &str) -> String {
    until(&format!("'{subject}' in {user}'s mailbox"), PATIENCE, || {
        let mut messages = home.messages(user).into_iter();
        let found = messages.find(|stored| message::holds(stored, subject.as_bytes()));
        found.map(|stored| String::from_utf8_lossy(&stored).into_owned())
    })
}

fn what_is_refused_in_time(world: &mut World, home: &PostfixHome) -> Vec<String> {
    let mut replies = vec![hears(world, "bob", "fine", "250"), hears(world, "team", "for two", "250")];
    has(home, "bob", "fine");
    has(home, "carol", "for two");
    let filling =
        [letter(&Neighbour::Exim.you(), "full@hearth.test", "filling"), b"x\r\n".repeat(300)].concat();
    until("the mailbox is full", PATIENCE, || send(world, "full", &filling).starts_with("552").then_some(()));
    for (to, subject, code) in [
        ("full", "one more", "552 5.2.2"),
        ("nobody", "to nobody", "550 5.1.1"),
        ("friend", "to be passed on", "550 5.1.1"),
        ("bob", "forbidden", "550 5.7.1"),
    ] {
        replies.push(hears(world, to, subject, code));
    }
    replies
}

/// An alias of two, of whom one is elsewhere, and somebody whom Dovecot has just forgotten: Postfix has said 250.
fn what_fails_late_is_the_postmasters(world: &mut World, home: &PostfixHome) {
    hears(world, "both", "for both", "250");
    has(home, "bob", "for both");
    let told = has(home, "postmaster", "for both");
    assert!(told.contains("friend@elsewhere.test") && told.contains("the-words-of-the-letter"), "{told}");
    hears(world, "carol", "kept", "250");
    has(home, "carol", "kept");
    home.dovecot_forgets("carol");
    hears(world, "carol", "too late", "250");
    let told = has(home, "postmaster", "too late");
    assert!(told.contains("carol@hearth.test") && told.contains("the-words-of-the-letter"), "{told}");
}

fn nobody_else_heard_of_it(world: &mut World, house: &str) {
    let reports = world.neighbour(Neighbour::Exim).messages();
    assert!(reports.is_empty(), "{}", String::from_utf8_lossy(&reports.concat()));
    let (spammer, mua, edge) =
        (world.host("spammer").to_owned(), world.host("mua").to_owned(), world.lab.edge().to_owned());
    let (router, inside) = (NAT.to_string(), HOME.to_string());
    assert_eq!(open_ports(&spammer, &router), [0; 0], "of the router");
    assert_eq!(open_of_known(&edge, TUNNEL[1]), [WAY_IN], "through the tunnel");
    assert_eq!(
        open_of_known(&mua, &inside),
        [0; 0],
        "Postfix listens in the tunnel, and Dovecot has no IMAP here"
    );
    let stranger = SocketAddr::from((Neighbour::Exim.address(), 25));
    let connects =
        within(Some(house), || TcpStream::connect_timeout(&stranger, Duration::from_secs(5)).is_ok());
    assert!(!connects, "a program of the home's host that wants to send finds no way out");
    let strangers =
        format!("ip.addr == {NAT} and not ip.addr == {EDGE} and not icmp and not ip.addr == {SPAMMER}");
    let seen = world.wires_show(&strangers);
    assert!(seen.is_empty(), "the house is seen by others than its edge: {seen:?}");
    let sent = world.wires_show(&format!(
        "ip.dst == {} and tcp.dstport == 25 and tcp.flags.syn == 1 and tcp.flags.ack == 0",
        Neighbour::Exim.address()
    ));
    assert!(sent.is_empty(), "somebody sends to the stranger: {sent:?}");
}
