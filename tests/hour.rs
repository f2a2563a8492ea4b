//! The first hour, as an operator has it: two empty Debians with systemd, the package, and nothing but what he types. What he typed
//! and what he saw is what `docs/src/first-hour.md` shows.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use testkit::guest::{Debian, Guest};
use testkit::imap::Account;
use testkit::namespace::within;
use testkit::network_lab::NetworkLab;
use testkit::pair::code_in;
use testkit::primary::{KEY, Primary, Program};
use testkit::process::{self, Process};
use testkit::smtp::SmtpClient;
use testkit::{message, until};

use crate::alone;
use crate::newcomer::EDGE_NAME;

const SUBMIT: &str = include_str!("signing/submit.py");
const PATIENCE: Duration = Duration::from_secs(60);
/// What is typed at most until mail goes both ways.
const COMMANDS_MAX: usize = 10;
/// The page of the book that shows it: UPDATE_BOOK=1 cargo xtask journeys hour
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/first-hour.md");
const OPENING: &str = "# The first hour, as it was typed\n\nTwo fresh Debians: `edge` is a public host, `home` stands behind a router. The name `mx.example.org` leads to the \
    public host, and its\nprovider has set the reverse name; the domain's zone is on a name server that takes changes from who has its key (without one, \
    copy\nthe lines of `postern dns --format zone` to where your domain is). This page is written by a test that does all of it; keys are shortened, \
    and\nwhat the doctor finds of the machine itself (disk, memory) is left out.\n";
const YOU: &str = "you@example.org";
const PASSWORD: &str = "a password of your own";
const FRIEND: &str = "ann@far.example";

/// The world's names as they are before the operator writes anything: the name of his host, which he had to have, and its
/// reverse, which his provider set.
const ZONES: [(&str, &str); 5] = [
    // What blocklists have: their own test entry, and nobody of ours.
    (
        ".",
        "2.0.0.127.zen.spamhaus.org A 127.0.0.2\n2.0.0.127.bl.spamcop.net A 127.0.0.2\n\
         2.0.0.127.psbl.surriel.com A 127.0.0.2\n2.0.0.127.dnsbl.dronebl.org A 127.0.0.2\n",
    ),
    ("names.test", "ns1 A 203.0.113.1\n"),
    ("example.org", "mx A 203.0.113.2\n"),
    ("113.0.203.in-addr.arpa", "2 PTR mx.example.org.\n1 PTR mail.far.example.\n"),
    ("far.example", "@ MX 10 mail\nmail A 203.0.113.1\n@ TXT \"v=spf1 mx -all\"\n"),
];

/// What the operator types, counted and written down.
struct Operator {
    typed: Vec<String>,
    transcript: String,
}

impl Operator {
    /// At a host, as root.
    fn types(&mut self, guest: &Guest, host: &str, line: &str) -> String {
        let said =
            guest.shell_ok(&format!("cd /root; export DEBIAN_FRONTEND=noninteractive; {line} 2>&1"), "");
        self.typed.push(format!("{host}# {line}"));
        let said_here = without_the_machine(&said);
        let lines = said_here.iter().filter(|line| !line.starts_with("(Reading database"));
        let lines: String =
            lines.map(|line| format!("    {}\n", shortened(line)).replace("    \n", "\n")).collect();
        let _ = write!(self.transcript, "\n    {host}# {}\n{lines}", shortened(line));
        said
    }

    /// The page of the book.
    fn page(&self) -> String {
        format!("{OPENING}{}", self.transcript)
    }
}

/// Checks whose outcome is the test machine's.
const OF_THE_MACHINE: [&str; 4] = ["disk-space", "disk-inodes", "memory", "open-files"];

/// Lines without what the doctor finds of the machine that runs the test.
fn without_the_machine(said: &str) -> Vec<String> {
    let of_it = |line: &str| {
        let mut words = line.split_whitespace();
        let verdict =
            words.next().is_some_and(|word| ["fault", "warning", "notice", "unknown"].contains(&word));
        let check = words.next().unwrap_or_default().trim_end_matches(':');
        verdict && OF_THE_MACHINE.contains(&check)
    };
    let (mut kept, mut below) = (Vec::new(), false);
    for line in said.lines() {
        below = of_it(line) || below && line.starts_with("         ");
        if !below {
            let fine = line.strip_prefix("fine     ").map(|checks| {
                let left = checks.split(", ").filter(|check| !OF_THE_MACHINE.contains(check));
                format!("fine     {}", left.collect::<Vec<_>>().join(", "))
            });
            kept.push(fine.unwrap_or_else(|| line.to_owned()));
        }
    }
    kept
}

/// A line without what is different each time: codes, keys, dates of keys.
fn shortened(line: &str) -> String {
    let word = |word: &str| {
        if word.starts_with("postern1-") {
            return "postern1-xtw2vzol…".to_owned();
        }
        if let Some((before, key)) = word.split_once("p=").filter(|(_, key)| key.len() > 40) {
            let end = if key.ends_with('"') { "\"" } else { "" };
            return format!("{before}p=…{end}");
        }
        // The second string of a long record.
        if word.len() > 60 && word.starts_with('"') {
            return String::new();
        }
        match word.split_once("._domainkey") {
            Some((selector, rest)) => {
                format!("20260101{}._domainkey{rest}", selector.trim_start_matches(char::is_numeric))
            }
            None => word.to_owned(),
        }
    };
    let words: Vec<String> = line.split(' ').map(word).collect();
    words.join(" ").trim_end().to_owned()
}

struct World {
    // Dropped in this order: hosts are gone before their network.
    edge: Guest,
    home: Guest,
    _friend: Process,
    _names: Primary,
    lab: NetworkLab,
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Option<Self> {
        if !NetworkLab::is_possible() {
            println!("NOT RUN: network namespaces can't be made here (it takes root)");
            return None;
        }
        let lab = NetworkLab::new();
        let dir = testkit::leavings::dir("hour");
        let zones = ZONES.map(|(name, records)| (name, zone(records)));
        let zones: Vec<(&str, &str)> = zones.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let server: IpAddr = "203.0.113.1".parse().unwrap();
        let names = Primary::start(Program::Knot, lab.internet(), (server, 53).into(), &zones);
        let mut friend = process::command(Some(lab.internet()), "smtp-sink");
        friend.args(["-u", "nobody", "-R"]).arg(dir.path()).args(["-d", "mail.%M", "203.0.113.1:25", "10"]);
        std::os::unix::fs::chown(dir.path(), Some(65534), Some(65534)).unwrap();
        let friend = Process::start(friend, &dir.path().join("log"));
        let edge = Guest::boot(Debian::Trixie, lab.edge(), server);
        let home = Guest::boot(Debian::Bookworm, lab.home(), server);
        for guest in [&edge, &home] {
            let _ = guest.bring_package();
        }
        home.copy_in(&names.key(KEY), "/root/example.org.key");
        Some(Self { edge, home, _friend: friend, _names: names, lab, dir })
    }

    fn deliver(&self, subject: &str) -> String {
        within(Some(self.lab.internet()), || {
            let mut client =
                SmtpClient::ready_as("203.0.113.2:25".parse().unwrap(), "mail.far.example").unwrap();
            client.message(FRIEND, &[YOU], &message::simple(FRIEND, YOU, subject)).unwrap()
        })
    }

    fn inbox(&self) -> Vec<String> {
        let account = Account {
            server: "192.168.77.2:993".parse().unwrap(),
            user: YOU.to_owned(),
            password: PASSWORD.to_owned(),
            namespace: Some(self.lab.home().to_owned()),
        };
        account.subjects("INBOX")
    }

    fn send(&self, subject: &str) {
        let mut python = process::command(Some(self.lab.home()), "/usr/bin/python3");
        python.args(["-c", SUBMIT, "192.168.77.2", "465", YOU, PASSWORD, FRIEND]);
        process::run_ok(python, &message::simple(YOU, FRIEND, subject), PATIENCE);
    }

    fn friend_has(&self, subject: &str) -> Option<()> {
        let files = std::fs::read_dir(self.dir.path()).unwrap().flatten();
        let mut texts = files.map(|file| std::fs::read_to_string(file.path()).unwrap_or_default());
        texts.any(|text| text.contains(subject)).then_some(())
    }
}

fn zone(records: &str) -> String {
    format!(
        "$TTL 60\n@ SOA ns1.names.test. hostmaster.names.test. 1 3600 600 86400 60\n@ NS ns1.names.test.\n{records}"
    )
}

#[test]
fn ten_commands_make_two_empty_debians_a_mail_system_behind_firewalls_that_the_doctor_finds_well() {
    let _alone = alone();
    let Some(mut world) = World::new() else { return };
    let mut operator = Operator { typed: Vec::new(), transcript: String::new() };
    let begun = Instant::now();
    let (edge, home) = (&world.edge, &world.home);
    let install = "dpkg --install postern.deb";

    operator.types(edge, "edge", install);
    let said = operator.types(
        edge,
        "edge",
        &format!("postern edge setup --hostname {EDGE_NAME} --probe mail.far.example"),
    );
    let code = code_in(&said);

    operator.types(home, "home", install);
    std::fs::write(home.path("/root/password"), format!("{PASSWORD}\n")).unwrap();
    let set_up = format!(
        "postern home setup --domain example.org --account {YOU} --password-stdin --outbound on {code} < password"
    );
    operator.types(home, "home", &set_up);
    operator.types(home, "home", "postern dns --apply --tsig-key example.org.key --yes");
    for (guest, host) in [(home, "home"), (edge, "edge")] {
        operator.types(guest, host, &format!("postern firewall {host} --apply"));
        operator.types(guest, host, "postern firewall confirm");
    }
    let reply = until("a friend's mail is taken", PATIENCE, || {
        let reply = world.deliver("from a friend");
        reply.starts_with("250").then_some(reply)
    });
    println!("{reply}");
    until("it is in the mailbox", PATIENCE, || {
        world.inbox().contains(&"from a friend".to_owned()).then_some(())
    });
    world.send("to a friend");
    until("a friend has the answer", PATIENCE, || world.friend_has("to a friend"));
    operator.types(home, "home", "postern doctor --probe mail.far.example");
    let seconds = begun.elapsed().as_secs();
    typed_again(&world);
    after_a_restart(&mut world);
    println!("{} commands, {} s", operator.typed.len(), seconds);
    assert!(operator.typed.len() <= COMMANDS_MAX, "{:#?}", operator.typed);
    let page = operator.page();
    for answer in ["fit to receive: yes", "fit to send: yes", "hidden: yes"] {
        assert!(page.contains(answer), "{page}");
    }
    if std::env::var_os("UPDATE_BOOK").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let there = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        there == page,
        "docs/src/first-hour.md is not as it is: UPDATE_BOOK=1 cargo xtask journeys hour\n{page}"
    );
}

/// Set-up goes on to where it was: a message round, and one to whom the operator names.
fn typed_again(world: &World) {
    let again = world.home.shell_ok(&format!("postern home setup --watch --mail-to {FRIEND} 2>&1"), "");
    for part in [
        "All records are there.",
        "It came back after",
        "goes to ann@far.example",
        "Its host took it.",
        "fit to send: yes",
    ] {
        assert!(again.contains(part), "{part}: {again}");
    }
    until("a friend has the first message", PATIENCE, || world.friend_has("A first message"));
}

/// Everything is as it was: the service, and the rules.
fn after_a_restart(world: &mut World) {
    world.home.shell_ok("nft delete table inet postern", "");
    world.home.restart();
    let rules = world.home.shell_ok("nft list table inet postern", "");
    assert!(rules.contains("tcp dport 993"), "{rules}");
    until("the link is up again", PATIENCE, || {
        let status = world.home.shell("postern status --json", "");
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).ok()?;
        (status["edges"][0]["link"] == "up").then_some(())
    });
}
