//! What an operator does, and what is said when it is wrong.

use std::net::TcpListener;
use std::time::Duration;

use rustix::process::Signal;
use testkit::smtp::SmtpClient;
use testkit::{Pair, message, process, until};

use crate::alone;

/// Runs the role with its configuration as it is and gives exit code and message.
fn run_fails(role: &testkit::pair::Role, name: &str) -> (Option<i32>, String) {
    let output = role.command(&[name, "run"], "");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_wrong_configuration_is_named_with_its_file_and_ends_with_2() {
    let _alone = alone();
    let mut pair = Pair::start();
    pair.edge.terminate(Duration::from_secs(10));
    let file = pair.edge.config().to_owned();
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("hostnam = \"x\"\n{good}")).unwrap();
    let (code, said) = run_fails(&pair.edge, "edge");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("hostnam") && said.contains(&file.display().to_string()), "{said}");
    assert!(said.contains("what to do:"), "{said}");
    std::fs::write(&file, "hostname = [").unwrap();
    let (code, said) = run_fails(&pair.edge, "edge");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&file.display().to_string()), "{said}");
    std::fs::write(&file, &good).unwrap();
    let busy = TcpListener::bind(pair.smtp).unwrap();
    // Who has the port may give it back: the service manager tries again.
    let (code, said) = run_fails(&pair.edge, "edge");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&pair.smtp.to_string()) && said.contains("what to do:"), "{said}");
    drop(busy);
    let key = pair.edge.data().join("link-key.pem");
    let bytes = std::fs::read(&key).unwrap();
    std::fs::write(&key, "no key").unwrap();
    let (code, said) = run_fails(&pair.edge, "edge");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&key.display().to_string()), "{said}");
    std::fs::write(&key, bytes).unwrap();
    pair.edge.start();
    pair.wait_for_link();
}

#[test]
fn a_daemon_that_is_told_to_end_finishes_what_it_has_and_ends_in_ten_seconds() {
    let _alone = alone();
    let mut pair = Pair::start();
    let mut client = SmtpClient::ready(pair.smtp).unwrap();
    for line in ["MAIL FROM:<a@sender.test>", "RCPT TO:<bob@example.org>", "DATA"] {
        assert!(client.command(line).unwrap().starts_with(['2', '3']));
    }
    pair.edge.signal(Signal::TERM);
    let sent = message::simple("a@sender.test", "bob@example.org", "the last one");
    client.send(&sent).unwrap();
    client.send(b".\r\n").unwrap();
    let reply = client.reply();
    let status = pair.edge.terminate(Duration::from_secs(15));
    assert_eq!(status.code(), Some(0), "{}", pair.edge.log());
    let status = pair.home.terminate(Duration::from_secs(15));
    assert_eq!(status.code(), Some(0), "{}", pair.home.log());
    pair.edge.start();
    pair.home.start();
    pair.wait_for_link();
    pair.wait_until_drained(Duration::from_secs(30));
    let there = pair.account("bob").subjects("INBOX");
    if reply.is_ok_and(|reply| reply.starts_with("250")) {
        assert_eq!(there, ["the last one"]);
    } else {
        assert!(there.len() <= 1, "{there:?}");
    }
}

#[test]
fn a_hang_up_reloads_and_drops_nothing() {
    let _alone = alone();
    let mut pair = Pair::start();
    let mut client = SmtpClient::ready(pair.smtp).unwrap();
    pair.edge.signal(Signal::HUP);
    pair.home.signal(Signal::HUP);
    let sent = message::simple("a@sender.test", "bob@example.org", "through a reload");
    let reply = client.message("a@sender.test", &["bob@example.org"], &sent).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    assert!(pair.edge.is_running() && pair.home.is_running());
    pair.wait_until_drained(Duration::from_secs(30));
    assert_eq!(pair.account("bob").subjects("INBOX"), ["through a reload"]);
}

#[test]
fn users_come_and_go_while_the_daemon_runs() {
    let _alone = alone();
    let pair = Pair::start();
    pair.add_user("carol");
    let known = |user: &str| {
        let mut client = SmtpClient::ready(pair.smtp).unwrap();
        client.command("MAIL FROM:<a@sender.test>").unwrap();
        client.command(&format!("RCPT TO:<{user}@example.org>")).unwrap().starts_with("250")
    };
    until("carol is known", Duration::from_secs(10), || known("carol").then_some(()));
    let listed = pair.home.command_ok(&["user", "list"], "");
    for user in ["alice", "bob", "carol"] {
        assert!(listed.contains(&format!("{user}@example.org")), "{listed}");
    }
    pair.home.command_ok(&["user", "remove", "carol@example.org"], "");
    until("carol is gone", Duration::from_secs(10), || (!known("carol")).then_some(()));
    pair.home.command_ok(&["alias", "add", "*@example.org", "bob@example.org"], "");
    until("everybody is known", Duration::from_secs(10), || known("whoever").then_some(()));
    pair.home.command_ok(&["alias", "remove", "*@example.org"], "");
    until("nobody else is known", Duration::from_secs(10), || (!known("whoever")).then_some(()));
    let output = pair.home.command(&["user", "add", "x@elsewhere.test", "--password-stdin"], "long enough\n");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("elsewhere.test"), "{said}");
    assert!(said.contains("what to do:"), "{said}");
}

#[test]
fn a_pairing_code_is_good_once() {
    let _alone = alone();
    let pair = Pair::start();
    let code = testkit::pair::code_in(&pair.edge.command_ok(&["edge", "pair"], ""));
    let setup = |name: &str, domain: &str| {
        let dir = pair.dir().join(name);
        let mut command = process::command(None, testkit::binary::postern());
        command.args(["home", "setup", "--domain", domain]).args(testkit::pair::as_user());
        command.arg("--config").arg(dir.join("home.toml")).arg("--data").arg(dir.join("data")).arg(&code);
        process::run(command, b"", Duration::from_secs(60))
    };
    let first = setup("second-home", "second.test");
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let again = setup("third-home", "third.test");
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && said.contains("what to do:"), "{said}");
}

/// Symptom: the demo stood there for ever when one of its roles had died. Cause: nobody looked after them once it stayed up.
#[test]
fn the_demo_ends_when_a_role_of_it_dies_and_shows_why() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut demo = process::command(None, testkit::binary::postern());
    demo.arg("demo").env("TMPDIR", dir.path());
    let mut demo = process::Process::start(demo, &dir.path().join("log"));
    until("it stays up", Duration::from_secs(120), || {
        assert!(demo.is_running(), "it ended:\n{}", demo.log());
        demo.log().contains("It stays up").then_some(())
    });
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", demo.id())).unwrap();
    let edge = children.split_whitespace().find(|child| {
        let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        line.split(|octet| *octet == 0).any(|word| word == b"edge")
    });
    let edge: i32 = edge.unwrap_or_else(|| panic!("no edge among {children}")).parse().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(edge).unwrap(), Signal::KILL).unwrap();
    assert_eq!(demo.wait(Duration::from_secs(60)).code(), Some(1));
    let said = demo.log();
    assert!(said.contains("postern edge has ended") && said.contains("edge.log, last lines"), "{said}");
}
