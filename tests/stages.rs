//! A remote host that refuses, puts off or hangs up at each stage of a transaction: Postfix's smtp-sink.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use testkit::dns::{NameServer, Record};
use testkit::pair::PASSWORD;
use testkit::process::Process;
use testkit::{Pair, PairOptions, message, ports, process, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(90);

/// What has to become of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The sender gets a report.
    Failed,
    /// It stays in the queue.
    Waits,
    /// It is delivered all the same.
    Delivered,
}

use Fate::{Delivered, Failed, Waits};

/// How smtp-sink misbehaves, at what, and what follows (RFC 5321 sections 4.2.1, 4.5.4.1).
const CASES: &[(&str, &str, Fate)] = &[
    // Refused for good (5xx).
    ("-f", "CONNECT", Failed),
    ("-f", "EHLO", Delivered),
    ("-f", "MAIL", Failed),
    ("-f", "RCPT", Failed),
    ("-f", "DATA", Failed),
    ("-f", ".", Failed),
    // Put off (4xx).
    ("-r", "CONNECT", Waits),
    ("-r", "MAIL", Waits),
    ("-r", "RCPT", Waits),
    ("-r", "DATA", Waits),
    ("-r", ".", Waits),
    // 421 and gone.
    ("-Q", "CONNECT", Waits),
    ("-Q", "EHLO", Waits),
    ("-Q", "MAIL", Waits),
    ("-Q", "RCPT", Waits),
    ("-Q", "DATA", Waits),
    ("-Q", ".", Waits),
    // Gone without a word. After the last dot nobody knows: rather twice than never.
    ("-q", "CONNECT", Waits),
    ("-q", "EHLO", Waits),
    ("-q", "MAIL", Waits),
    ("-q", "RCPT", Waits),
    ("-q", "DATA", Waits),
    ("-q", ".", Waits),
    ("-q", "QUIT", Delivered),
];

fn domain(number: usize) -> String {
    format!("c{number}.test")
}

fn address(number: usize, port: u16) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 1, u8::try_from(number + 1).unwrap()), port).into()
}

fn sink(dir: &std::path::Path, number: usize, port: u16) -> Process {
    let (how, what, _) = CASES[number];
    let address = address(number, port);
    let mut command = process::command(None, "smtp-sink");
    command.args(["-u", "nobody", "-c", how, what, &address.to_string(), "100"]);
    let sink = Process::start(command, &dir.join(format!("sink{number}")));
    until("smtp-sink listens", PATIENCE, || TcpStream::connect(address).ok());
    sink
}

fn zone(port: u16) -> Vec<(String, Record)> {
    let of = |number| {
        let IpAddr::V4(ip) = address(number, port).ip() else { unreachable!("loopback is IPv4 here") };
        let host = format!("mx.{}", domain(number));
        [(domain(number), Record::Mx(10, host.clone())), (host, Record::A(ip))]
    };
    (0..CASES.len()).flat_map(of).collect()
}

fn numbers(text: &str) -> BTreeSet<usize> {
    (0..CASES.len()).filter(|number| text.contains(&format!("@{}", domain(*number)))).collect()
}

fn wanted(fate: Fate) -> BTreeSet<usize> {
    (0..CASES.len()).filter(|number| CASES[*number].2 == fate).collect()
}

#[test]
fn a_host_that_fails_at_any_stage_costs_no_message_and_no_wrong_report() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let port = ports::free().port();
    let _sinks: Vec<Process> = (0..CASES.len()).map(|number| sink(dir.path(), number, port)).collect();
    let zone = zone(port);
    let zone: Vec<_> = zone.iter().map(|(name, record)| (name.as_str(), record.clone())).collect();
    let name_server = NameServer::start(&zone);
    let pair = Pair::with(&PairOptions {
        edge_config: format!("[outbound]\nport = {port}"),
        home_config: "[queue]\nretry = [\"24h\"]".to_owned(),
        outbound: true,
        name_server: Some(name_server.address()),
        ..PairOptions::default()
    });
    // One message to all: what happens to one recipient is nothing to the others.
    let to: Vec<String> = (0..CASES.len()).map(|number| format!("you@{}", domain(number))).collect();
    let mut command = process::command(None, "swaks");
    command.args(["--server", &pair.submission.ip().to_string()]);
    command.args(["--port", &pair.submission.port().to_string(), "--tlsc", "--auth", "PLAIN"]);
    command.args(["--auth-user", "alice@example.org", "--auth-password", PASSWORD]);
    command.args(["--from", "alice@example.org", "--to", &to.join(","), "--data", "-"]);
    let text = message::simple("alice@example.org", "you@c0.test", "to all");
    process::run_ok(command, &text, PATIENCE);

    let list = || testkit::imap::json(&pair.home.command_ok(&["queue", "list", "--json"], ""));
    let id = list()[0]["item"].as_str().unwrap().to_owned();
    let show = || testkit::imap::json(&pair.home.command_ok(&["queue", "show", &id, "--json"], ""));
    let state = until("every recipient had an attempt", PATIENCE, || {
        let state = show();
        let recipients = state["recipients"].as_array()?;
        recipients.iter().all(|recipient| recipient["attempts"] == 1).then_some(state)
    });
    let of = |state_word: &str| {
        let all = state["recipients"].as_array().unwrap().iter();
        let these = all.filter(|recipient| recipient["state"] == state_word);
        numbers(&these.map(ToString::to_string).collect::<String>())
    };
    assert_eq!((of("pending"), "wait"), (wanted(Waits), "wait"), "{state:#}");
    assert_eq!((of("failed"), "failed"), (wanted(Failed), "failed"), "{state:#}");
    assert_eq!((of("delivered"), "delivered"), (wanted(Delivered), "delivered"), "{state:#}");
}
