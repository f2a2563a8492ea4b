//! Mail from a user to the world: a real Postfix at the other end, found by its MX record.

use std::net::Ipv4Addr;
use std::time::Duration;

use testkit::dns::{NameServer, Record};
use testkit::pair::{EDGE_NAME, PASSWORD};
use testkit::postfix::Postfix;
use testkit::{Pair, PairOptions, message, process, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(90);

struct World {
    pair: Pair,
    postfix: Postfix,
    _name_server: NameServer,
}

impl World {
    fn new() -> Self {
        Self::with("")
    }

    /// With more for Home's configuration.
    fn with(home_config: &str) -> Self {
        let postfix = Postfix::start("remote.test");
        let name_server = NameServer::start(&[
            ("remote.test", Record::Mx(10, "mx.remote.test".to_owned())),
            ("mx.remote.test", Record::A(Ipv4Addr::LOCALHOST)),
            ("circle.test", Record::Mx(20, "mx.remote.test".to_owned())),
            ("circle.test", Record::Mx(10, EDGE_NAME.to_owned())),
        ]);
        let options = PairOptions {
            edge_config: format!("[outbound]\nport = {}", postfix.address().port()),
            home_config: format!("[queue]\nretry = [\"1s\"]\n{home_config}"),
            outbound: true,
            name_server: Some(name_server.address()),
            ..PairOptions::default()
        };
        Self { pair: Pair::with(&options), postfix, _name_server: name_server }
    }

    fn wait_for(&self, local_part: &str, count: usize) -> Vec<Vec<u8>> {
        until(&format!("{count} messages for {local_part}"), PATIENCE, || {
            let messages = self.postfix.messages(local_part);
            (messages.len() >= count).then_some(messages)
        })
    }
}

/// Sends as alice.
pub(crate) fn msmtp(pair: &Pair, to: &[&str], message: &[u8]) -> std::process::Output {
    let mut command = process::command(None, "msmtp");
    command.args([
        "--host",
        &pair.submission.ip().to_string(),
        "--port",
        &pair.submission.port().to_string(),
    ]);
    command.args([
        "--tls=on",
        "--tls-starttls=off",
        "--tls-certcheck=off",
        "--auth=plain",
        "--file=/dev/null",
    ]);
    command.args(["--user=alice@example.org", "--from=alice@example.org"]);
    command
        .arg(format!("--passwordeval=echo '{PASSWORD}'"))
        .args(["--domain=laptop.home.lan", "--"])
        .args(to);
    process::run(command, message, PATIENCE)
}

fn swaks(pair: &Pair, from: &str, to: &str) -> std::process::Output {
    let mut command = process::command(None, "swaks");
    command.args(["--server", &pair.submission.ip().to_string()]);
    command.args(["--port", &pair.submission.port().to_string(), "--tlsc", "--auth", "PLAIN"]);
    command.args(["--auth-user", "alice@example.org", "--auth-password", PASSWORD]);
    command.args(["--from", from, "--to", to, "--helo", "laptop.home.lan"]);
    process::run(command, b"", PATIENCE)
}

#[test]
fn a_message_reaches_the_other_mta_once_and_tells_nothing_of_the_home() {
    let _alone = alone();
    let world = World::new();
    let sent = b"From: Alice <alice@example.org>\r\nTo: you@remote.test\r\nBcc: hidden@remote.test\r\n\
        Subject: hello\r\nRequire-TLS-ESMTP: yes\r\nX-Originating-IP: [192.168.77.5]\r\nIn-Reply-To: <1@laptop.home.lan>\r\n\
        Received: from laptop.home.lan ([192.168.77.5]) by localhost\r\n\r\n\
        The text.\r\n.a dot\r\n";
    let output = msmtp(&world.pair, &["you@remote.test", "hidden@remote.test"], sent);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let to_you = world.wait_for("you", 1);
    world.wait_for("hidden", 1);
    let output = swaks(&world.pair, "alice@example.org", "you@remote.test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let all = world.wait_for("you", 2);
    assert_eq!(all.len(), 2, "each once");
    let text = String::from_utf8_lossy(&to_you[0]).into_owned();
    for secret in ["192.168.77", "laptop", "home.lan", "Bcc", "hidden@", "Require-TLS"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(text.contains(&format!("from {EDGE_NAME}")), "Edge says its name: {text}");
    assert!(message::field(&message::with_crlf(&to_you[0]), "Message-ID").is_some(), "{text}");
    assert!(message::field(&message::with_crlf(&to_you[0]), "Date").is_some(), "{text}");
    assert!(text.ends_with("The text.\n.a dot\n"), "{text}");
    until("the queue is empty", PATIENCE, || (world.pair.home.status()?["queue"] == 0).then_some(()));
    assert_eq!(world.postfix.messages("you").len(), 2);
}

#[test]
fn a_field_that_names_the_users_computer_is_refused_and_the_operator_told() {
    let _alone = alone();
    let mut world = World::new();
    let with = |field: &str| {
        format!(
            "From: alice@example.org\r\nTo: you@remote.test\r\nSubject: laptop.home.lan\r\n{field}\r\nx\r\n"
        )
    };
    let output = msmtp(&world.pair, &["you@remote.test"], with("X-Odd: by laptop.home.lan\r\n").as_bytes());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("its field X-Odd would tell"), "{said}");
    let log = world.pair.home.log();
    assert!(log.contains("ERROR") && log.contains("X-Odd") && !log.contains("laptop.home.lan"), "{log}");
    let trace = world.pair.home.command_ok(&["trace", "X-Odd"], "");
    assert!(trace.contains("refused"), "{trace}");
    world.pair.home.configure("[submission]\non_leak = \"log\"");
    world.pair.home.signal(rustix::process::Signal::HUP);
    until("the configuration is read", PATIENCE, || {
        world.pair.home.log().contains("certificate reloaded").then_some(())
    });
    let output = msmtp(&world.pair, &["you@remote.test"], with("X-Odd: by laptop.home.lan\r\n").as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // What stays in the house tells nobody; what the user writes is his.
    world.pair.home.configure("[submission]\non_leak = \"refuse\"");
    world.pair.home.restart();
    world.pair.wait_for_link();
    let output = msmtp(&world.pair, &["bob@example.org"], with("X-Odd: by laptop.home.lan\r\n").as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = msmtp(&world.pair, &["you@remote.test"], with("").as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(world.wait_for("you", 2).len(), 2);
}

/// Symptom: mail told the time zone of its writer, showed some readers another sender than the one that was checked, and
/// left with `HOST.local` in it or the host's name as an encoded word.
#[test]
fn the_zone_the_other_sender_and_the_hosts_other_names_do_not_leave() {
    let _alone = alone();
    let world = World::new();
    let sent = b"From: alice(<ceo@far.example>)@example.org\r\nTo: you@remote.test\r\nSubject: hello\r\n\
        Apparently-To: hidden@remote.test\r\nDate: Tue, 24 Nov 2026 07:00:00 +0100 (CET)\r\n\r\nx\r\n";
    let output = msmtp(&world.pair, &["you@remote.test"], sent);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let got = message::with_crlf(&world.wait_for("you", 1)[0]);
    let field = |name: &str| message::field(&got, name).map(|value| value.trim().to_owned());
    assert_eq!(field("Date").as_deref(), Some("Tue, 24 Nov 2026 06:00:00 -0000"));
    assert_eq!(field("From").as_deref(), Some("alice@example.org"));
    let text = String::from_utf8_lossy(&got).into_owned();
    assert!(!text.contains("ceo@") && !text.contains("hidden@") && !text.contains("+0100"), "{text}");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    for odd in [
        format!("{host}.local"),
        format!("{host}.lan"),
        "=?utf-8?q?laptop=2Eho?= =?utf-8?q?me.lan?=".to_owned(),
    ] {
        let with = format!("From: alice@example.org\r\nTo: you@remote.test\r\nX-Odd: {odd}\r\n\r\nx\r\n");
        let output = msmtp(&world.pair, &["you@remote.test"], with.as_bytes());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("its field X-Odd would tell"), "{odd}: {said}");
    }
    assert_eq!(world.wait_for("you", 1).len(), 1);
}

#[test]
fn a_permanent_failure_comes_back_to_the_sender_as_a_report() {
    let _alone = alone();
    let world = World::new();
    let sent = message::simple("alice@example.org", "rejected@remote.test", "goes nowhere");
    let output = msmtp(&world.pair, &["rejected@remote.test"], &sent);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let account = world.pair.account("alice");
    until("the report", PATIENCE, || (account.count("INBOX") > 0).then_some(()));
    let reports = account.messages("INBOX");
    let text = String::from_utf8_lossy(&reports[0]).into_owned();
    assert_eq!(reports.len(), 1);
    assert!(text.contains("multipart/report") && text.contains("message/delivery-status"), "{text}");
    assert!(text.contains("rejected@remote.test") && text.contains("Action: failed"), "{text}");
}

#[test]
fn a_domain_whose_best_mail_host_is_this_edge_is_not_sent_to_in_a_circle() {
    let _alone = alone();
    let world = World::new();
    let sent = message::simple("alice@example.org", "you@circle.test", "comes back");
    assert!(msmtp(&world.pair, &["you@circle.test"], &sent).status.success());
    let account = world.pair.account("alice");
    until("the report", PATIENCE, || (account.count("INBOX") > 0).then_some(()));
    let report = String::from_utf8_lossy(&account.messages("INBOX")[0]).into_owned();
    assert!(report.contains("Status: 5.4.6") && report.contains("lead back to this host"), "{report}");
}

#[test]
fn a_user_sends_as_nobody_else() {
    let _alone = alone();
    let world = World::new();
    for from in ["bob@example.org", "alice@elsewhere.test"] {
        let output = swaks(&world.pair, from, "you@remote.test");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && said.contains(" 5.7."), "{said}");
    }
    let forged = message::simple("bob@example.org", "you@remote.test", "forged");
    assert!(!msmtp(&world.pair, &["you@remote.test"], &forged).status.success());
    let local = message::simple("alice@example.org", "bob@example.org", "within the house");
    assert!(msmtp(&world.pair, &["bob@example.org"], &local).status.success());
    let account = world.pair.account("bob");
    until("local mail", PATIENCE, || (account.subjects("INBOX") == ["within the house"]).then_some(()));
    assert!(world.postfix.messages("you").is_empty());
}

#[test]
fn a_home_that_was_not_told_to_send_refuses_to() {
    let _alone = alone();
    let pair = Pair::start();
    let output = swaks(&pair, "alice@example.org", "you@remote.test");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && said.contains("550 5."), "{said}");
}

#[test]
fn a_stolen_password_sends_little_and_the_operator_is_told() {
    let _alone = alone();
    let world = World::with("[sending]\nrecipients_per_hour = 3");
    let send = |to: &[&str]| {
        let message = message::simple("alice@example.org", to[0], "an offer");
        msmtp(&world.pair, to, &message)
    };
    assert!(send(&["a@remote.test", "b@remote.test"]).status.success());
    let refused = send(&["a@remote.test", "b@remote.test"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("3 recipients in an hour is your limit"), "{said}");
    assert!(send(&["bob@example.org"]).status.success(), "who is here costs nothing");
    assert!(send(&["c@remote.test"]).status.success());
    assert!(!send(&["d@remote.test"]).status.success());
    let postmaster = world.pair.account("alice");
    until("the notice", PATIENCE, || (postmaster.count("INBOX") > 0).then_some(()));
    let notices = postmaster.messages("INBOX");
    let text = String::from_utf8_lossy(&notices[0]).into_owned();
    assert_eq!(notices.len(), 1, "once a day");
    assert!(text.contains("alice@example.org reached the sending limit"), "{text}");
    assert!(text.contains("postern user password alice@example.org"), "{text}");
    for name in ["a", "b", "c"] {
        assert_eq!(world.wait_for(name, 1).len(), 1, "{name}");
    }
    assert!(world.postfix.messages("d").is_empty());
}

#[test]
fn what_the_operator_holds_stays_until_it_is_released() {
    let _alone = alone();
    let mut world = World::new();
    // Without an edge it waits, so that there is time to hold it.
    world.pair.edge.kill();
    world.pair.wait_for_no_link();
    assert!(
        msmtp(
            &world.pair,
            &["you@remote.test"],
            &message::simple("alice@example.org", "you@remote.test", "x")
        )
        .status
        .success()
    );
    let list = |pair: &Pair| testkit::imap::json(&pair.home.command_ok(&["queue", "list", "--json"], ""));
    let id = list(&world.pair)[0]["item"].as_str().unwrap().to_owned();
    world.pair.home.command_ok(&["queue", "hold", &id], "");
    world.pair.edge.start();
    world.pair.wait_for_link();
    let held = list(&world.pair);
    assert_eq!((&held[0]["held"], &held[0]["running"]), (&true.into(), &0.into()), "{held}");
    let none = world.pair.home.command(&["queue", "hold", "01m87e396635w9ac1rq1z2p1by"], "");
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(!none.status.success() && said.contains("postern queue list"), "{said}");
    world.pair.home.command_ok(&["queue", "release", &id], "");
    assert_eq!(world.wait_for("you", 1).len(), 1);
    until("the queue is empty", PATIENCE, || (world.pair.home.status()?["queue"] == 0).then_some(()));
}
