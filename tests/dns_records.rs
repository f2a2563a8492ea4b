//! What the domains need in DNS: looked for at the zone's own servers, and written there, with Knot and BIND as the
//! primaries.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use testkit::imap::json;
use testkit::namespace::{Secluded, within};
use testkit::primary::{IDLE_KEY, KEY, Primary, Program};
use testkit::{process, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(60);

/// A home that was set up and does not run, with a domain in each of three zones.
struct Home {
    dir: tempfile::TempDir,
    net: Secluded,
}

impl Home {
    fn new(place: &str) -> Self {
        let (dir, net) = (testkit::leavings::dir("records"), Secluded::new(place));
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let config = format!(
            "domains = [\"one.test\", \"two.test\"]\ndata = \"{}\"\n\
             [[edge]]\nname = \"mx.one.test\"\naddress = \"127.0.0.1:1\"\nkey = \"{}\"\n",
            data.display(),
            "0".repeat(64)
        );
        std::fs::write(dir.path().join("home.toml"), config).unwrap();
        Self { dir, net }
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = process::command(Some(self.net.name()), testkit::binary::postern());
        command.arg("dns").args(["--config".as_ref(), self.dir.path().join("home.toml").as_os_str()]);
        command.args(arguments);
        command
    }

    fn dns(&self, arguments: &[&str]) -> Output {
        process::run(self.command(arguments), b"", PATIENCE)
    }

    /// Exit code and all that it says.
    fn says(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.dns(arguments);
        let said = [output.stdout, output.stderr].map(|octets| String::from_utf8_lossy(&octets).into_owned());
        (output.status.code(), said.concat())
    }

    fn primary(&self, program: Program, ip: &str, zones: &[(&str, &str)]) -> Primary {
        let address: SocketAddr = format!("{ip}:53").parse().unwrap();
        let zones: Vec<(&str, String)> = zones.iter().map(|(name, more)| (*name, zone(more))).collect();
        let zones: Vec<(&str, &str)> = zones.iter().map(|(name, text)| (*name, text.as_str())).collect();
        Primary::start(program, self.net.name(), address, &zones)
    }
}

fn zone(records: &str) -> String {
    format!(
        "$TTL 60\n@ SOA ns1.names.test. hostmaster.names.test. 1 3600 600 86400 60\n@ NS ns1.names.test.\n{records}"
    )
}

/// The zone that has the name servers' own names.
fn names(ip: &str) -> (String, String) {
    ("names.test".to_owned(), format!("ns1 A {ip}\nns2 A 127.0.0.2\nns3 A 127.0.0.3\n"))
}

/// Whether each record that mail needs is good.
fn all_good(home: &Home, server: &str) -> bool {
    home.dns(&["--check", "--resolver", server]).status.success()
}

/// What is refused is told in a sentence, with what to type, and changes nothing.
fn refusals(home: &Home, primary: &Primary, server: &str) {
    let silent = format!("{}", primary.address());
    let of = |key: &Path, more: &[&str]| {
        let key = key.to_str().unwrap();
        let apply = ["--resolver", server, "--apply", "--yes", "--tsig-key", key];
        home.says(&[&apply[..], more].concat())
    };
    let cases = [
        (primary.wrong_key(), "has another secret for the key", "copy the file of the key"),
        (primary.unknown_key(), "does not know the key", "put the key \"stranger.key\""),
        (primary.key(IDLE_KEY), "was not changed: ", "grant idle.key zonesub ANY"),
    ];
    for (key, what, advice) in cases {
        let (code, said) = of(&key, &["--server", &silent]);
        assert!(code == Some(1) && said.contains(what) && said.contains(advice), "{said}\n{}", primary.log());
    }
    assert!(primary.has("one.test", "MX").is_empty(), "nothing was changed");
}

/// One program's server: what is missing is written, what others published stays, and no is no.
fn writes_to(program: Program, ip: &str) {
    let home = Home::new("dns");
    let (names, hosts) = names(ip);
    let foreign = "@ TXT \"v=spf1 ip4:192.0.2.77 ~all\"\n@ TXT \"site=1\"\n@ MX 5 old.test.\n";
    let zones = [(names.as_str(), hosts.as_str()), ("one.test", "mx A 192.0.2.1\n"), ("two.test", foreign)];
    let primary = home.primary(program, ip, &zones);
    let server = &format!("{ip}:53");
    assert!(!all_good(&home, server));
    refusals(&home, &primary, server);

    let key = primary.key(KEY);
    let apply = ["--resolver", server, "--apply", "--tsig-key", key.to_str().unwrap()];
    let (code, said) = home.says(&apply);
    assert!(code == Some(2) && said.contains("nothing was changed") && said.contains("--yes"), "{said}");
    assert!(said.contains("add     one.test. 3600 IN MX 10 mx.one.test."), "the plan is shown: {said}");
    assert!(primary.has("one.test", "MX").is_empty());

    let (code, said) = home.says(&[&apply[..], &["--yes"]].concat());
    assert!(code == Some(1) && said.contains("was kept"), "{said}");
    assert!(said.contains("two.test. TXT stays as it is") && said.contains("two.test. MX stays"), "{said}");
    assert_eq!(primary.has("one.test", "MX"), ["10 mx.one.test."]);
    assert_eq!(primary.has("_imap._tcp.two.test", "SRV"), ["0 0 0 ."]);
    assert_eq!(primary.has("two.test", "MX"), ["5 old.test."], "somebody else's stays");

    let (code, said) = home.says(&[&apply[..], &["--yes", "--replace"]].concat());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(primary.has("two.test", "MX"), ["10 mx.one.test."]);
    assert_eq!(primary.has("two.test", "TXT"), ["\"site=1\"", "\"v=spf1 a:mx.one.test -all\""]);
    assert!(all_good(&home, server), "{}", home.says(&["--check", "--resolver", server]).1);
    let (code, said) = home.says(&[&apply[..], &["--yes"]].concat());
    assert!(code == Some(0) && said.matches("nothing to change").count() == 2, "{said}");
}

#[test]
fn knot_takes_what_the_key_may_change_and_its_no_is_a_sentence() {
    let _alone = alone();
    writes_to(Program::Knot, "127.0.0.1");
}

#[test]
fn bind_takes_what_the_key_may_change_and_its_no_is_a_sentence() {
    let _alone = alone();
    writes_to(Program::Bind, "127.0.0.1");
}

#[test]
fn a_server_that_is_silent_or_has_another_zone_is_told_with_what_to_type() {
    let _alone = alone();
    let home = Home::new("dns");
    let (names, hosts) = names("127.0.0.1");
    let zones = [(names.as_str(), hosts.as_str()), ("one.test", ""), ("two.test", "")];
    let primary = home.primary(Program::Knot, "127.0.0.1", &zones);
    let other = home.primary(Program::Bind, "127.0.0.2", &[("other.test", "")]);
    let key = primary.key(KEY);
    let of = |server: &str| {
        let key = key.to_str().unwrap();
        home.says(&["--resolver", "127.0.0.1:53", "--apply", "--yes", "--tsig-key", key, "--server", server])
    };
    let (code, said) = of(&other.address().to_string());
    assert!(code == Some(1) && said.contains("does not say what the zone one.test holds"), "{said}");
    assert!(said.contains("--server ADDR:PORT"), "{said}");
    let _silent = within(Some(home.net.name()), || {
        (UdpSocket::bind("127.0.0.9:53").unwrap(), TcpListener::bind("127.0.0.9:53").unwrap())
    });
    let (code, said) = of("127.0.0.9:53");
    assert!(code == Some(1) && said.contains("127.0.0.9:53") && said.contains("does not answer"), "{said}");
    assert!(primary.has("one.test", "MX").is_empty());
}

/// Symptom it guards against: a record that was published a moment ago is "missing" for an hour since a resolver remembers
/// that it was not there; and one server of two that does not have it is not seen at all.
#[test]
fn each_server_of_the_zone_is_asked_and_those_that_differ_are_told() {
    let _alone = alone();
    let home = Home::new("dns");
    let (names, hosts) = names("127.0.0.1");
    let servers = "@ NS ns2.names.test.\n@ NS ns3.names.test.\nmx A 192.0.2.1\n";
    let first = format!("{servers}@ MX 10 mx\n");
    let zones = [(names.as_str(), hosts.as_str()), ("one.test", first.as_str()), ("two.test", "")];
    let _first = home.primary(Program::Knot, "127.0.0.1", &zones);
    let _second = home.primary(Program::Bind, "127.0.0.2", &[("one.test", servers)]);
    let (code, said) = home.says(&["one.test", "--check", "--resolver", "127.0.0.1:53"]);
    assert_eq!(code, Some(1), "{said}");
    for line in [
        "there is: ns1.names.test (127.0.0.1) says good: 10 mx.one.test",
        "there is: ns2.names.test (127.0.0.2) says missing",
        "should be: one.test. 3600 IN MX 10 mx.one.test.",
        "ns3.names.test (127.0.0.3), a name server of one.test: ",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let (_, said) = home.says(&["one.test", "--check", "--resolver-only", "--resolver", "127.0.0.1:53"]);
    assert!(!said.contains("127.0.0.2") && !said.contains("name server of"), "nobody else is asked: {said}");
    let found = home.dns(&["one.test", "--check", "--json", "--resolver", "127.0.0.1:53"]);
    let found = json(std::str::from_utf8(&found.stdout).unwrap());
    let mx = found.as_array().unwrap().iter().find(|found| found["purpose"] == "mx").unwrap();
    assert_eq!((&mx["state"], &mx["need"]), (&"missing".into(), &"required".into()), "{mx}");
    assert!(mx["why"].as_str().unwrap().contains("senders look here"), "{mx}");
}

/// The pauses of the watch are simulated elsewhere; here it is the program, its signal and its words.
#[test]
fn a_watch_tells_what_comes_and_ends_with_a_word_when_it_is_stopped() {
    let _alone = alone();
    let home = Home::new("dns");
    let (names, hosts) = names("127.0.0.1");
    let zones = [
        (names.as_str(), hosts.as_str()),
        ("one.test", "mx A 192.0.2.1\n"),
        ("two.test", "mx A 192.0.2.1\n"),
    ];
    let primary = home.primary(Program::Knot, "127.0.0.1", &zones);
    let resolver = ["--resolver", "127.0.0.1:53"];
    let watch = |log: &str| {
        let command = home.command(&[&["one.test", "two.test", "--watch"][..], &resolver].concat());
        process::Process::start(command, &home.dir.path().join(log))
    };
    let mut stopped = watch("stopped");
    until("it says what is missing", PATIENCE, || {
        stopped.log().contains("should be: one.test").then_some(())
    });
    stopped.signal(rustix::process::Signal::INT);
    assert_eq!(stopped.wait(PATIENCE).code(), Some(1), "{}", stopped.log());
    assert!(
        stopped.log().contains("stopped: ") && stopped.log().contains("still missing"),
        "{}",
        stopped.log()
    );

    let mut watching = watch("watching");
    until("it says what is missing", PATIENCE, || {
        watching.log().contains("should be: one.test").then_some(())
    });
    let key = primary.key(KEY);
    let apply = ["--apply", "--yes", "--tsig-key", key.to_str().unwrap()];
    assert_eq!(home.says(&[&apply[..], &resolver].concat()).0, Some(0));
    assert_eq!(watching.wait(PATIENCE).code(), Some(0), "{}", watching.log());
    assert!(watching.log().ends_with("all records that mail needs are there\n"), "{}", watching.log());
    let (code, said) = home.says(&[&["--watch", "--watch-max", "1s"][..], &resolver].concat());
    assert_eq!(code, Some(0), "there already: {said}");
}

/// The worked example of docs/src/dns.md, with BIND in the provider's place.
#[test]
fn the_example_of_a_hook_changes_a_zone_and_one_that_is_wrong_changes_nothing() {
    let _alone = alone();
    let home = Home::new("dns");
    let (names, hosts) = names("127.0.0.1");
    let zones = [
        (names.as_str(), hosts.as_str()),
        ("one.test", "mx A 192.0.2.1\n"),
        ("two.test", "@ TXT \"v=spf1 ip4:192.0.2.77 ~all\"\n@ MX 5 old.test.\n"),
    ];
    let primary = home.primary(Program::Bind, "127.0.0.1", &zones);
    let apply = ["--resolver", "127.0.0.1:53", "--apply", "--yes", "--replace"];
    let with = |hook: &[&str]| home.says(&[&apply[..], hook].concat());
    for (hook, words) in [
        (&["--hook", "/bin/false"][..], "the hook /bin/false for one.test failed"),
        (&["--hook", "/nonexistent"], "can't be started"),
        (&["--hook", "/bin/echo", "done"], "answered nonsense"),
        (&["--hook-timeout", "1", "--hook", "/bin/sleep", "100"], "was not ready after 1 s"),
        (&["--hook", "/bin/echo", "{\"applied\": []}"], "left out of one.test"),
    ] {
        let (code, said) = with(hook);
        assert!(code == Some(1) && said.contains(words) && said.contains("what to do"), "{said}");
    }
    assert!(primary.has("one.test", "MX").is_empty(), "nothing was changed");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/dns-hook-nsupdate");
    let key = primary.key(KEY);
    let (code, said) = with(&["--hook", example.to_str().unwrap(), "127.0.0.1", key.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}\n{}", primary.log());
    assert_eq!(primary.has("two.test", "MX"), ["10 mx.one.test."]);
    assert_eq!(primary.has("two.test", "TXT"), ["\"v=spf1 a:mx.one.test -all\""]);
    assert!(all_good(&home, "127.0.0.1:53"));
}

#[test]
fn what_is_printed_as_a_zone_is_one_to_knot_and_bind_and_all_of_it_is_good_then() {
    let _alone = alone();
    let home = Home::new("dns");
    let told = ["one.test", "--mail-host", "mail.one.test", "--caa", "ca.example"];
    let (code, printed) = home.says(&[&told[..], &["--format", "zone"]].concat());
    assert!(code == Some(0) && printed.contains("; senders look here for the host"), "{printed}");
    for program in [Program::Knot, Program::Bind] {
        let (names, hosts) = names("127.0.0.1");
        let records = format!("mx A 192.0.2.1\n{printed}");
        let zones = [(names.as_str(), hosts.as_str()), ("one.test", records.as_str())];
        let primary = home.primary(program, "127.0.0.1", &zones);
        let asked = [&told[..], &["--check", "--json", "--resolver", "127.0.0.1:53"]].concat();
        let found = home.dns(&asked);
        assert!(found.status.success(), "{program:?}: {}\n{}", home.says(&asked[..6]).1, primary.log());
        let found = json(std::str::from_utf8(&found.stdout).unwrap());
        for record in found.as_array().unwrap() {
            let wanted = if record["need"] == "later" { "later" } else { "good" };
            // The provider's zone is not here.
            assert!(record["state"] == wanted || record["purpose"] == "ptr", "{program:?}: {record}");
        }
        let kinds = ["caa", "programs", "tls-reports", "not-offered"];
        assert!(kinds.iter().all(|kind| found.to_string().contains(kind)), "{found}");
    }
}
