use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use testkit::certificates::Authority;
use testkit::dovecot::Dovecot;
use testkit::pair::{LoneHome, MorePlace, PASSWORD};
use testkit::postfix::Postfix;
use testkit::process;
use testkit::remote_mta::Site;
use testkit::submission::{Security, Sent, Submission};
use testkit::{message, until};

use super::port_scan::open_ports;
use crate::place::{NAT, Neighbour, POSTFIX_EDGE, RESOLVER, at};
use crate::world::{PATIENCE, Setting, World, keys, letter};
use crate::zones;

const DOMAIN: &str = "seed.test";
const HOME: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 5);
/// Where Home takes mail from its edge, and the router's port that leads there.
const WAY_IN: u16 = 4465;
const SECRET: &str = "a secret of two hosts";

/// This home is reached through its router, as an MTA is: it is seen on the backbone by its edge.
pub(crate) fn setting() -> Setting {
    Setting { house_goes_out: true, ..Setting::default() }
}

/// A host with a Postfix takes the world's mail for `seed.test` and hands it in at Home, through a port of the router,
/// with its certificate; Home sends through it with a login. Nobody else gets mail into Home: its firewall lets nobody
/// in, and with the firewall gone Home itself does not.
pub(crate) fn tell(world: &mut World) {
    let (edge, house) = (world.add_public_host("pedge", POSTFIX_EDGE), world.add_house_host("seed", HOME));
    let (authority, secret) = (Authority::new(), world.dir().join("secret"));
    let own = authority.issue(&["mx.seed.test"]);
    std::fs::write(&secret, format!("{SECRET}\n")).expect("a file");
    let dovecot = Dovecot::start(&[("home", SECRET, None)]);
    world.lab.forward_port(WAY_IN, SocketAddrV4::new(HOME, WAY_IN));
    let site = Site {
        namespace: edge.clone(),
        address: IpAddr::V4(POSTFIX_EDGE),
        name_server: IpAddr::V4(RESOLVER),
    };
    let postfix = Postfix::public_edge(&site, DOMAIN, at(NAT, WAY_IN), &own, &dovecot.auth_socket());
    let mut home = LoneHome::set_up_at(
        &MorePlace { namespace: Some(house.clone()), listen: [at(HOME, 465), at(HOME, 993)] },
        DOMAIN,
        &format!(
            "outbound = \"on\"\n[queue]\nretry = [\"1s\"]\n[foreign_edge]\nlisten = [\"{HOME}:{WAY_IN}\"]\n\
             fingerprints = [\"{pin}\"]\nnetworks = [\"{POSTFIX_EDGE}\"]\n[smarthost]\naddress = \
             \"{POSTFIX_EDGE}:465\"\nfingerprint = \"{pin}\"\nuser = \"home\"\npassword_file = {secret:?}\n",
            pin = own.fingerprint(),
        ),
    );
    home.role.start();
    world.load_firewall(&home.role, &["firewall", "home", "--apply", "--lan", "192.168.77.0/24"]);
    let all: Vec<_> = keys(&world.pair.home).into_iter().chain(keys(&home.role)).collect();
    world.names.serve(&zones::records(&all));

    mail_goes_both_ways(world, &home);
    strangers_get_nothing_in(world, &edge, &house);
    assert!(!postfix.log().contains("192.168.77."), "{}", postfix.log());
}

fn mail_goes_both_ways(world: &mut World, home: &LoneHome) {
    world.neighbour_writes(Neighbour::Exim, "alice@seed.test", "to the seed");
    let alice = home.account("alice");
    until("alice has it", PATIENCE, || (alice.count("INBOX") == 1).then_some(()));
    let (from, to) = ("alice@seed.test", Neighbour::Exim.you());
    let mua = Submission {
        namespace: Some(world.host("mua").to_owned()),
        server: home.submission,
        security: Security::Tls,
        login: Some((from.to_owned(), PASSWORD.to_owned())),
    };
    let text = letter(from, &to, "from the seed");
    mua.send(Sent { from, to: &to, mail_options: "", rcpt_options: "", message: &text });
    let came = world.reaches_neighbour(Neighbour::Exim, "from the seed");
    assert!(message::field(&came, "DKIM-Signature").is_some());
    let text = String::from_utf8_lossy(&came);
    assert!(!text.contains(&NAT.to_string()), "{text}");
}

fn strangers_get_nothing_in(world: &mut World, edge: &str, house: &str) {
    let spammer = world.host("spammer").to_owned();
    let stranger = |to: &str, text: &[u8]| {
        let public = SocketAddr::from((POSTFIX_EDGE, 25));
        let client = testkit::namespace::within(Some(&spammer), || testkit::smtp::SmtpClient::ready(public));
        client.expect("Postfix greets").message("x@spammer.test", &[to], text).expect("a reply")
    };
    let text = letter("x@spammer.test", "bob@seed.test", "buy");
    for (to, code) in [("nobody@seed.test", "550"), ("you@exim.test", "554"), ("bob@example.org", "554")] {
        let reply = stranger(to, &text);
        assert!(reply.starts_with(code), "{to}: {reply}");
    }
    let router = NAT.to_string();
    let home = HOME.to_string();
    let mua = world.host("mua").to_owned();
    for (from, to, meant) in [
        (edge, &router, &[WAY_IN][..]),
        (&spammer, &router, &[]),
        (&mua, &home, &[465, 993]),
        (world.lab.nat(), &home, &[465, 993]),
    ] {
        assert_eq!(open_ports(from, to), meant, "{to}, seen from {from}");
    }
    // The other lock: without a firewall, and from the edge's own address without its certificate.
    let mut nft = process::command(Some(house), "nft");
    nft.args(["flush", "ruleset"]);
    process::run_ok(nft, b"", PATIENCE);
    assert_eq!(open_ports(&spammer, &router), [WAY_IN]);
    for (host, hears) in [(&*spammer, None), (edge, Some("<~* 530 5.7.0"))] {
        let mut swaks = process::command(Some(host), "swaks");
        swaks.args(["--server", &router, "--port", &WAY_IN.to_string(), "--tls-on-connect"]);
        swaks.args(["--from", "x@spammer.test", "--to", "bob@seed.test"]);
        let said = process::run(swaks, b"", PATIENCE);
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(!said.status.success() && text.contains("Connected"), "{text}");
        assert!(hears.map_or_else(|| !text.contains("<~"), |hears| text.contains(hears)), "{text}");
    }
}
