//! Postfix is the edge, and Home is Postern.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use testkit::certificates::{Authority, Certificate};
use testkit::dovecot::Dovecot;
use testkit::filter::{Clamav, VIRUS};
use testkit::namespace::within;
use testkit::pair::{LoneHome, MorePlace, PASSWORD};
use testkit::postfix::{Postfix, Proof, WayHome};
use testkit::process;
use testkit::remote_mta::Site;
use testkit::smtp::SmtpClient;
use testkit::submission::{Security, Sent, Submission};
use testkit::tunnel::{End, Tunnel};
use testkit::{message, until};

use super::port_scan::{open_of_known, open_ports};
use crate::place::{NAT, Neighbour, POSTFIX_EDGE, RESOLVER, SPAMMER, TUNNEL, TUNNEL_PORT, at};
use crate::world::{PATIENCE, Setting, World, keys, letter};
use crate::zones;

const DOMAIN: &str = "seed.test";
const HOME: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 5);
/// Where Home takes mail from its edge.
const WAY_IN: u16 = 4465;
const SECRET: &str = "a secret of two hosts";
const ALICE: &str = "alice@seed.test";
/// Somebody with a small mailbox.
const BOB: &str = "bob@seed.test";
/// What nobody out there may read in a reply or a letter: names, addresses and ports of the house.
const SECRETS: [&str; 7] = ["10.8.0.", "192.168.", "203.0.113.9", "4465", "ovecot", "attic", "refused ("];

/// The house dials its edge by another way than the link.
pub(crate) fn setting() -> Setting {
    Setting { house_goes_out: true, ..Setting::default() }
}

/// The host of a Home that has a Postfix as its edge, and what is on it.
struct House {
    home: LoneHome,
    mailboxes: Dovecot,
    edge: Postfix,
    /// What Edge's Postfix asks about the login of Home, the filter, and whoever signed the certificates.
    _kept: (Dovecot, Clamav, Authority),
    _ends: [Tunnel; 2],
}

/// A host with a Postfix takes the world's mail for `seed.test` while Home, at the other end of a tunnel, says what becomes of
/// it; Home sends through it with a login. A full mailbox and content are refused while the sender waits, an alias that leads
/// elsewhere goes out by the edge, with Home away the sender keeps his mail. Nobody else gets mail into Home: its firewall
/// lets nobody in, and with the firewall gone Home itself does not.
pub(crate) fn tell(world: &mut World) {
    world.neighbour(Neighbour::Chasquid);
    let (edge, house) = (world.add_public_host("pedge", POSTFIX_EDGE), world.add_house_host("seed", HOME));
    let mut house_of = set_up(world, &edge, &house);
    mail_goes_both_ways(world, &house_of);
    let mut replies = what_is_refused_in_time(world, &house_of);
    aliases_lead_out_by_the_edge(world, &house_of);
    replies.extend(home_goes_and_comes_back(world, &mut house_of));
    for reply in &replies {
        assert!(!SECRETS.iter().any(|secret| reply.contains(secret)), "{reply}");
    }
    strangers_get_nothing_in(world, &edge, &house);
    nobody_else_heard_of_it(world, &house_of);
}

fn set_up(world: &mut World, edge: &str, house: &str) -> House {
    let dir = world.dir().to_owned();
    let (authority, secret) = (Authority::new(), dir.join("secret"));
    let (own, at_home) = (authority.issue(&["mx.seed.test"]), authority.issue(&["mail.seed.test"]));
    std::fs::write(&secret, format!("{SECRET}\n")).expect("a file");
    let site = Site {
        namespace: edge.to_owned(),
        address: IpAddr::V4(POSTFIX_EDGE),
        name_server: IpAddr::V4(RESOLVER),
    };
    let logins = Dovecot::start(&[("home", SECRET, None)]);
    let way = WayHome {
        home: SocketAddr::new(TUNNEL[1].parse().expect("an address"), WAY_IN),
        certificate: &at_home.chain,
        proof: Proof::Certificate(&own),
    };
    let postfix = Postfix::public_edge(&site, DOMAIN, way, &own, &logins.auth_socket());
    let mailboxes = Dovecot::start(&[(ALICE, "x", None), (BOB, "x", Some(3_000))]);
    let filter = within(Some(house), || Clamav::start("Reject"));
    let more = format!(
        "[deliver]\nlmtp = \"unix:{}\"\n[[filter]]\nkind = \"milter\"\naddress = \"inet:{}\"\n",
        mailboxes.lmtp_socket().display(),
        filter.address
    );
    let mut home = LoneHome::set_up_at(
        &MorePlace { namespace: Some(house.to_owned()), listen: [at(HOME, 465), at(HOME, 993)] },
        DOMAIN,
        &(configuration(&own, &at_home, &secret) + &more),
    );
    for (alias, to) in [("friend", Neighbour::Exim.you()), ("gone", "rejected@exim.test".to_owned())] {
        home.role.command_ok(&["alias", "add", &format!("{alias}@{DOMAIN}"), &to], "");
    }
    let tunnel = format!("udp/{TUNNEL_PORT}");
    let rules = ["firewall", "home", "--apply", "--lan", "192.168.77.0/24", "--tunnel", &tunnel];
    world.load_firewall(&home.role, &rules);
    // The tunnel is dialled under the rules: nothing of it was let through before they were there.
    let address = POSTFIX_EDGE.to_string();
    let ends = [(edge, TUNNEL[0], End::Listens(&address)), (house, TUNNEL[1], End::Dials(&address))];
    let ends =
        ends.map(|(place, own, end)| Tunnel::start(place, &format!("{own}/24"), end, TUNNEL_PORT, &dir));
    home.role.start();
    let all: Vec<_> = keys(&world.pair.home).into_iter().chain(keys(&home.role)).collect();
    world.names.serve(&zones::records(&all));
    House { home, mailboxes, edge: postfix, _kept: (logins, filter, authority), _ends: ends }
}

fn configuration(own: &Certificate, at_home: &Certificate, secret: &Path) -> String {
    let show = |path: &Path| path.display().to_string();
    format!(
        "outbound = \"on\"\n[queue]\nretry = [\"1s\"]\n[tls]\ncertificate = {:?}\nkey = {:?}\n[foreign_edge]\n\
         listen = [\"{}:{WAY_IN}\"]\nfingerprints = [\"{pin}\"]\nnetworks = [\"{}\"]\n[smarthost]\naddress = \
         \"{}:465\"\nfingerprint = \"{pin}\"\nuser = \"home\"\npassword_file = {secret:?}\n",
        show(&at_home.chain),
        show(&at_home.key),
        TUNNEL[1],
        TUNNEL[0],
        POSTFIX_EDGE,
        pin = own.fingerprint(),
    )
}

fn mail_goes_both_ways(world: &mut World, house: &House) {
    world.neighbour_writes(Neighbour::Exim, ALICE, "to the seed");
    until("alice has it", PATIENCE, || (alice_has(house, "to the seed") > 0).then_some(()));
    let (from, to) = (ALICE, Neighbour::Exim.you());
    let mua = Submission {
        namespace: Some(world.host("mua").to_owned()),
        server: house.home.submission,
        security: Security::Tls,
        login: Some((from.to_owned(), PASSWORD.to_owned())),
    };
    let text = letter(from, &to, "from the seed");
    mua.send(Sent { from, to: &to, mail_options: "", rcpt_options: "", message: &text });
    let came = world.reaches_neighbour(Neighbour::Exim, "from the seed");
    assert!(message::field(&came, "DKIM-Signature").is_some());
    tells_nothing(&came);
}

/// How many messages with this subject.
fn alice_has(house: &House, subject: &str) -> usize {
    let all = house.mailboxes.messages(ALICE).into_iter();
    all.filter(|stored| message::field(stored, "Subject").as_deref() == Some(subject)).count()
}

fn tells_nothing(message: &[u8]) {
    let text = String::from_utf8_lossy(message);
    assert!(!SECRETS.iter().any(|secret| text.contains(secret)), "{text}");
}

/// A stranger's MTA hands a message in at the edge; a report to his sender would reach him.
fn send(world: &World, to: &str, octets: &[u8]) -> String {
    let stranger = world.host(Neighbour::Chasquid.place());
    let client = within(Some(stranger), || SmtpClient::ready(at(POSTFIX_EDGE, 25)));
    client.expect("Postfix greets").message(&Neighbour::Chasquid.you(), &[to], octets).expect("a reply")
}

/// He must hear this of it.
fn hears(world: &World, to: &str, octets: &[u8], code: &str) -> String {
    let reply = send(world, to, octets);
    assert!(reply.starts_with(code), "{to}: {reply}");
    reply
}

fn text(to: &str, subject: &str) -> Vec<u8> {
    letter(&Neighbour::Chasquid.you(), to, subject)
}

fn what_is_refused_in_time(world: &World, house: &House) -> Vec<String> {
    let filling = [text(BOB, "filling"), b"x\r\n".repeat(300)].concat();
    until("the mailbox is full", PATIENCE, || send(world, BOB, &filling).starts_with("552").then_some(()));
    assert!(!house.mailboxes.messages(BOB).is_empty());
    let ill = [text(ALICE, "ill"), format!("{VIRUS}\r\n").into_bytes()].concat();
    [
        (BOB, filling, "552 5.2.2"),
        (ALICE, ill, "550"),
        ("nobody@seed.test", text("nobody@seed.test", "to nobody"), "550 5.1.1"),
        ("bob@example.org", text("bob@example.org", "elsewhere"), "554"),
        ("you@exim.test", text("you@exim.test", "relayed"), "554"),
    ]
    .map(|(to, octets, code)| hears(world, to, &octets, code))
    .to_vec()
}

/// What is forwarded leaves by the edge, and so does a report on it, if there is one: to Home, which tells its operator.
fn aliases_lead_out_by_the_edge(world: &mut World, house: &House) {
    hears(world, "friend@seed.test", &text("friend@seed.test", "passed on"), "250");
    tells_nothing(&world.reaches_neighbour(Neighbour::Exim, "passed on"));
    hears(world, "gone@seed.test", &text("gone@seed.test", "passed in vain"), "250");
    until("the edge has heard of it", PATIENCE, || {
        house.edge.log().contains("to=<rejected@exim.test>").then_some(())
    });
    until("all are out of the edge", PATIENCE, || house.edge.queued().is_empty().then_some(()));
}

fn home_goes_and_comes_back(world: &World, house: &mut House) -> Vec<String> {
    house.home.role.terminate(PATIENCE);
    let away = text(ALICE, "away and back");
    let mut replies = vec![hears(world, ALICE, &away, "451 4.3.0")];
    assert_eq!(house.edge.queued(), Vec::<String>::new(), "nothing rests at the edge");
    house.home.role.start();
    // Nobody remembers that nobody could be asked.
    replies.push(hears(world, ALICE, &away, "250"));
    until("alice has it", PATIENCE, || (alice_has(house, "away and back") > 0).then_some(()));
    assert_eq!(alice_has(house, "away and back"), 1, "once");
    replies
}

fn strangers_get_nothing_in(world: &mut World, edge: &str, house: &str) {
    let (spammer, mua) = (world.host("spammer").to_owned(), world.host("mua").to_owned());
    let (router, home) = (NAT.to_string(), HOME.to_string());
    for from in [edge, &spammer] {
        assert_eq!(open_ports(from, &router), [0; 0], "the router, seen from {from}");
    }
    // Dovecot is on Home's host, so the house is let in to its port 993: here it has no IMAP.
    for from in [&mua, world.lab.nat()] {
        assert_eq!(open_of_known(from, &home), [465], "Home, seen from {from}");
    }
    assert_eq!(open_of_known(edge, TUNNEL[1]), [WAY_IN], "through the tunnel");
    // The other lock: without a firewall, from another address, and from the edge's own without its certificate.
    for (place, words) in [
        (house, &["nft", "flush", "ruleset"][..]),
        (&*mua, &["ip", "route", "add", TUNNEL[1], "via", &*home]),
    ] {
        let mut command = process::command(Some(place), words[0]);
        command.args(&words[1..]);
        process::run_ok(command, b"", PATIENCE);
    }
    for (host, hears) in [(&*mua, None), (edge, Some("<~* 530 5.7.0"))] {
        let mut swaks = process::command(Some(host), "swaks");
        swaks.args(["--server", TUNNEL[1], "--port", &WAY_IN.to_string(), "--tls-on-connect"]);
        swaks.args(["--from", "x@spammer.test", "--to", BOB]);
        let said = process::run(swaks, b"", PATIENCE);
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(!said.status.success() && text.contains("Connected"), "{text}");
        assert!(hears.map_or_else(|| !text.contains("<~"), |hears| text.contains(hears)), "{text}");
    }
}

fn nobody_else_heard_of_it(world: &mut World, house: &House) {
    assert!(!house.edge.log().contains("192.168."), "{}", house.edge.log());
    let stranger = world.neighbour(Neighbour::Chasquid).messages();
    assert!(stranger.is_empty(), "{}", String::from_utf8_lossy(&stranger.concat()));
    let address = Neighbour::Chasquid.address();
    let sent =
        format!("ip.dst == {address} and tcp.dstport == 25 and tcp.flags.syn == 1 and tcp.flags.ack == 0");
    let sent = world.wires_show(&sent);
    assert!(sent.is_empty(), "somebody sends to the stranger: {sent:?}");
    let others = format!(
        "ip.addr == {NAT} and not ip.addr == {POSTFIX_EDGE} and not ip.addr == {SPAMMER} and not icmp"
    );
    let others = world.wires_show(&format!("{others} and not ip.addr == {}", crate::place::EDGE));
    assert!(others.is_empty(), "the house is seen by others than its edges: {others:?}");
}
