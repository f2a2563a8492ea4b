//! Another host of the house, with a Postfix as null client that hands everything to Home.

use std::net::Ipv4Addr;
use std::time::Duration;

use testkit::dns::{NameServer, Record};
use testkit::pair::PASSWORD;
use testkit::postfix::Postfix;
use testkit::{Pair, PairOptions, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(90);
const HOST: &str = "nas.home.lan";

/// The account `nas@example.org` is the host's; `root@example.org` leads to it and to alice, who reads it, and the names
/// that Postfix itself writes under lead there as well.
struct World {
    pair: Pair,
    satellite: Postfix,
    world: Postfix,
    _names: NameServer,
}

impl World {
    /// The satellite's users are of the home's domain.
    fn start() -> Self {
        Self::with("example.org", "")
    }

    /// They are of this one, and more stands in main.cf.
    fn with(origin: &str, main: &str) -> Self {
        let world = Postfix::start("remote.test");
        let names = NameServer::start(&[
            ("remote.test", Record::Mx(10, "mx.remote.test".to_owned())),
            ("mx.remote.test", Record::A(Ipv4Addr::LOCALHOST)),
        ]);
        let pair = Pair::with(&PairOptions {
            edge_config: format!("[outbound]\nport = {}", world.address().port()),
            home_config: "[queue]\nretry = [\"1s\"]".to_owned(),
            outbound: true,
            name_server: Some(names.address()),
            ..PairOptions::default()
        });
        pair.add_user("nas");
        for alias in ["root@example.org", "mailer-daemon@example.org"] {
            pair.home.command_ok(&["alias", "add", alias, "nas@example.org", "alice@example.org"], "");
        }
        let login = ("nas@example.org", PASSWORD);
        let satellite = Postfix::null_client((HOST, origin), pair.submission, login, main);
        Self { pair, satellite, world, _names: names }
    }

    fn alice_has(&self, text: &str) -> String {
        let alice = self.pair.account("alice");
        until("alice has it", PATIENCE, || {
            let messages = alice.messages("INBOX").into_iter();
            let mut texts = messages.map(|octets| String::from_utf8_lossy(&octets).into_owned());
            texts.find(|message| message.contains(text))
        })
    }
}

#[test]
fn what_cron_writes_reaches_whoever_reads_roots_mail() {
    let _alone = alone();
    let world = World::start();
    let text = "From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@nas> backup\n\
        Content-Type: text/plain; charset=UTF-8\nX-Cron-Env: <SHELL=/bin/sh>\n\ndone\n";
    world.satellite.sendmail("root", text);
    let came = world.alice_has("Subject: Cron <root@nas> backup");
    assert!(
        came.contains("From: Cron Daemon <root@example.org>")
            && came.contains("Delivered-To: root@example.org"),
        "{came}"
    );
}

#[test]
fn what_a_program_sends_to_the_world_leaves_as_mail_of_the_account_and_does_not_name_the_host() {
    let _alone = alone();
    let world = World::start();
    world.satellite.sendmail("you@remote.test", "To: you@remote.test\nSubject: from-the-nas\n\nhello\n");
    let stored = until("the world has it", PATIENCE, || world.world.messages("you").pop());
    let stored = String::from_utf8_lossy(&stored).into_owned();
    assert!(stored.contains("Subject: from-the-nas") && stored.contains("DKIM-Signature:"), "{stored}");
    assert!(stored.contains("=root@example.org>"), "{stored}");
    assert!(!stored.contains("home.lan") && !stored.contains("Postfix, from userid"), "{stored}");
}

#[test]
fn what_home_refuses_is_reported_by_the_satellite_through_home() {
    let _alone = alone();
    let world = World::start();
    world.satellite.sendmail("nobody@example.org", "To: nobody@example.org\nSubject: lost\n\nhello\n");
    let report = world.alice_has("Undelivered Mail Returned to Sender");
    assert!(report.contains("nobody@example.org") && report.contains("550 5.1.1"), "{report}");
}

#[test]
fn a_host_that_writes_under_a_name_that_is_not_its_own_is_told_so() {
    let _alone = alone();
    let world = World::start();
    world.pair.home.command_ok(&["alias", "remove", "root@example.org"], "");
    world.satellite.sendmail("alice@example.org", "To: alice\nSubject: refused\n\nhello\n");
    let refused = "may not send as root@example.org";
    until("Postfix logs it", PATIENCE, || world.satellite.log().contains(refused).then_some(()));
}

#[test]
fn a_host_whose_names_are_its_own_writes_under_the_account_by_a_generic_map() {
    let _alone = alone();
    let world = World::with(HOST, "smtp_generic_maps = inline:{ { @nas.home.lan = nas@example.org } }\n");
    world.satellite.sendmail("root", "From: root (Cron Daemon)\nTo: root\nSubject: generic\n\ndone\n");
    world.satellite.sendmail("nobody@example.org", "To: nobody@example.org\nSubject: lost\n\nhello\n");
    let nas = world.pair.account("nas");
    until("both are in the account's mailbox", PATIENCE, || (nas.count("INBOX") == 2).then_some(()));
    let all = nas.messages("INBOX").concat();
    let all = String::from_utf8_lossy(&all);
    assert!(all.contains("From: Cron Daemon <nas@example.org>"), "{all}");
    assert!(all.contains("Undelivered Mail Returned to Sender") && all.contains("550 5.1.1"), "{all}");
}
