//! Two edges for one home, and two homes behind one edge.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use testkit::dns::{NameServer, Record};
use testkit::pair::{EDGE_NAME, MoreEdge, MorePlace, PASSWORD};
use testkit::postfix::Postfix;
use testkit::smtp::SmtpClient;
use testkit::submission::{Security, Sent, Submission};
use testkit::{Pair, PairOptions, message, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(120);
const FIRST: &str = EDGE_NAME;
const SECOND: &str = "mx2.example.org";

struct World {
    pair: Pair,
    postfix: Postfix,
    names: NameServer,
    outbound: String,
}

impl World {
    fn start() -> Self {
        let postfix = Postfix::start("remote.test");
        let names = NameServer::start(&[
            ("remote.test", Record::Mx(10, "mx.remote.test".to_owned())),
            ("mx.remote.test", Record::A(Ipv4Addr::LOCALHOST)),
        ]);
        let outbound = format!("[outbound]\nport = {}", postfix.address().port());
        let pair = Pair::with(&PairOptions {
            edge_config: outbound.clone(),
            home_config: "[queue]\nretry = [\"1s\"]".to_owned(),
            outbound: true,
            name_server: Some(names.address()),
            ..PairOptions::default()
        });
        Self { pair, postfix, names, outbound }
    }

    fn add_edge(&mut self) -> MoreEdge {
        self.pair.add_edge(SECOND, &self.outbound, self.names.address(), &MorePlace::loopback())
    }

    fn came(&self, subject: &str) -> usize {
        let messages = self.postfix.messages("you").into_iter();
        messages.filter(|stored| message::holds(stored, format!("Subject: {subject}").as_bytes())).count()
    }

    fn until_it_came(&self, subject: &str) {
        until("the message has come", PATIENCE, || (self.came(subject) > 0).then_some(()));
    }
}

fn hand_in(server: SocketAddr, user: &str, from: &str, subject: &str) {
    let submission = Submission {
        namespace: None,
        server,
        security: Security::Tls,
        login: Some((user.to_owned(), PASSWORD.to_owned())),
    };
    let octets = message::simple(from, "you@remote.test", subject);
    let (mail_options, rcpt_options) = ("", "");
    submission.send(Sent { from, to: "you@remote.test", mail_options, rcpt_options, message: &octets });
}

fn send(smtp: SocketAddr, to: &[&str], subject: &str) -> String {
    let octets = message::simple("ann@remote.test", to[0], subject);
    SmtpClient::ready(smtp).unwrap().message("ann@remote.test", to, &octets).unwrap()
}

fn until_delivered(pair: &Pair, count: usize) {
    until("the mail is in the mailbox", PATIENCE, || {
        (pair.account("bob").count("INBOX") == count).then_some(())
    });
}

#[test]
fn with_two_edges_one_may_die_and_what_both_kept_comes_once() {
    let _alone = alone();
    let mut world = World::start();
    let mut second = world.add_edge();
    let smtp = [world.pair.smtp, second.smtp];
    for at in smtp {
        assert!(send(at, &["bob@example.org"], "both live").starts_with("250"));
    }
    until_delivered(&world.pair, 2);

    world.pair.edge.kill();
    // What is ordered of an edge before its death shows is in doubt, and waits for it.
    world.pair.wait_for_no_edge(FIRST);
    assert!(send(second.smtp, &["bob@example.org"], "the first is dead").starts_with("250"));
    until_delivered(&world.pair, 3);
    hand_in(world.pair.submission, "alice@example.org", "alice@example.org", "by the second");
    world.until_it_came("by the second");

    world.pair.edge.start();
    world.pair.wait_for_edge(FIRST);
    second.role.kill();
    world.pair.wait_for_no_edge(SECOND);
    assert!(send(world.pair.smtp, &["bob@example.org"], "the second is dead").starts_with("250"));
    until_delivered(&world.pair, 4);
    hand_in(world.pair.submission, "alice@example.org", "alice@example.org", "by the first");
    world.until_it_came("by the first");
    second.role.start();
    world.pair.wait_for_edge(SECOND);

    world.pair.home.terminate(PATIENCE);
    world.pair.wait_for_no_link();
    for at in smtp {
        until("it is sealed", PATIENCE, || {
            send(at, &["bob@example.org"], "sealed").starts_with("250").then_some(())
        });
    }
    world.pair.home.start();
    until_delivered(&world.pair, 6);
    assert_eq!((world.came("by the first"), world.came("by the second")), (1, 1));
}

#[test]
fn a_new_edge_replaces_a_lost_one_while_mail_is_queued() {
    let _alone = alone();
    let mut world = World::start();
    world.pair.edge.kill();
    world.pair.wait_for_no_edge(FIRST);
    std::fs::remove_dir_all(world.pair.edge.data()).unwrap();
    hand_in(world.pair.submission, "alice@example.org", "alice@example.org", "waits for an edge");
    let queued = world.pair.home.command_ok(&["queue", "list", "--json"], "");
    assert!(queued.contains("you@remote.test"), "{queued}");
    let second = world.add_edge();
    world.until_it_came("waits for an edge");
    assert!(send(second.smtp, &["bob@example.org"], "to the new one").starts_with("250"));
    until_delivered(&world.pair, 1);
}

#[test]
fn a_second_home_gets_its_own_mail_only_and_can_neither_take_nor_use_the_firsts_domain() {
    let _alone = alone();
    let world = World::start();
    let mut second = world.pair.add_home("other.test", "carol", &MorePlace::loopback());
    let carol = second.account("carol@other.test");
    assert!(send(world.pair.smtp, &["carol@other.test"], "for carol").starts_with("250"));
    until("carol has it", PATIENCE, || (carol.count("INBOX") == 1).then_some(()));
    assert!(send(world.pair.smtp, &["bob@example.org"], "for bob").starts_with("250"));
    until_delivered(&world.pair, 1);
    assert!(send(world.pair.smtp, &["carol@example.org"], "nobody").starts_with("550 5.1.1"));

    let mut both = SmtpClient::ready(world.pair.smtp).unwrap();
    both.command("MAIL FROM:<ann@remote.test>").unwrap();
    assert!(both.command("RCPT TO:<bob@example.org>").unwrap().starts_with("250"));
    assert!(both.command("RCPT TO:<carol@other.test>").unwrap().starts_with("452"));
    drop(both);
    hand_in(second.submission, "carol@other.test", "carol@other.test", "from carol");
    world.until_it_came("from carol");

    // It claims the first one's domain: that stays where it is, in both directions.
    second.role.configure("domains = [\"other.test\", \"example.org\"]");
    second.role.restart();
    second.wait_for_link();
    let eve = "eve@example.org";
    second.role.command_ok(&["user", "add", eve, "--password-stdin"], &format!("{PASSWORD}\n"));
    assert!(send(world.pair.smtp, &["bob@example.org"], "still bob's").starts_with("250"));
    until_delivered(&world.pair, 2);
    assert!(send(world.pair.smtp, &[eve], "for eve").starts_with("550 5.1.1"));
    hand_in(second.submission, eve, eve, "forged");
    let told = second.account(eve);
    until("eve is told that it can't be sent", PATIENCE, || (told.count("INBOX") == 1).then_some(()));
    let report = String::from_utf8_lossy(&told.messages("INBOX")[0]).into_owned();
    assert!(report.contains("may not send for that domain"), "{report}");
    assert_eq!(world.came("forged"), 0);
}
