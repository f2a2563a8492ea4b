//! The world of one story: its network, its names, its hosts, and what can be done and seen there.

mod leaks;
mod load;
mod spoilt;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use testkit::imap::{Account, json};
use testkit::link_relay::LinkRelay;
use testkit::name_tree::{NameHosts, NameTree};
use testkit::namespace::within;
use testkit::network_lab::NetworkLab;
use testkit::pair::{LINK_PATIENCE, MoreEdge, MorePlace, PASSWORD, Role, Surroundings};
use testkit::postfix::{self, Content, smtp_source};
use testkit::process::Process;
use testkit::remote_mta::RemoteMta;
use testkit::smtp::SmtpClient;
use testkit::submission::{Security, Sent, Submission};
use testkit::{Pair, PairOptions, leavings, message, until};

use crate::place::{self, Neighbour, at};
use crate::wires::Wires;
use crate::zones;
pub(crate) use load::Load;
pub(crate) use spoilt::DiskFault;
use spoilt::{clock_file, environment, switch_file};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// In every body: it must be on no disk but Home's and the recipients'.
pub(crate) const MARKER: &str = "the-words-of-the-letter";
/// What Home's host is called. Nobody outside may hear of it.
const HOME_NAME: &str = "attic.house.example";
const LINES_SHOWN: usize = 40;
/// The disks of hosts that have small ones.
const DISK_MIB: u32 = 160;
/// The second edge's host name.
pub(crate) const SECOND: &str = "mx2.example.org";
const EDGE_RULES: &[&str] = &["firewall", "edge", "--apply"];
const HOME_RULES: &[&str] = &["firewall", "home", "--apply", "--lan", "192.168.77.0/24"];

/// How a story's world differs from the usual one.
pub(crate) struct Setting {
    /// Whether users may send.
    pub(crate) outbound: bool,
    /// More of `edge.toml`.
    pub(crate) edge_config: String,
    /// More of `home.toml`.
    pub(crate) home_config: String,
    /// Whether both hosts have a clock that the story can set.
    pub(crate) own_clock: bool,
    /// Whether both hosts have small disks that can be spoilt, and the link a relay in it.
    pub(crate) faulty: bool,
    /// Whether a host of the house talks to strangers itself, so that the house's address is seen out there.
    pub(crate) house_goes_out: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            outbound: true,
            edge_config: String::new(),
            home_config: String::new(),
            own_clock: false,
            faulty: false,
            house_goes_out: false,
        }
    }
}

/// Dropped in this order: the programs before their network, and that before their files.
pub(crate) struct World {
    wires: Wires,
    neighbours: BTreeMap<Neighbour, Box<dyn RemoteMta>>,
    /// Edge and Home.
    pub(crate) pair: Pair,
    /// The names in DNS, and their servers.
    pub(crate) names: NameTree,
    hosts: BTreeMap<&'static str, String>,
    /// What is in the link, when something is.
    pub(crate) relay: Option<LinkRelay>,
    /// The wires and the router.
    pub(crate) lab: NetworkLab,
    house_goes_out: bool,
    /// The house's addresses out there, one after another.
    house: Vec<Ipv4Addr>,
    /// Addresses that mail went to: what the trace is asked for when something fails.
    written_to: Vec<String>,
    /// Programs that do something for a while.
    kept: Vec<Process>,
    /// Where each edge of this world keeps its files.
    edge_dirs: Vec<PathBuf>,
    /// The keys in DNS.
    keys: Vec<(String, String)>,
    dir: TempDir,
}

impl World {
    /// Builds it.
    pub(crate) fn build(setting: &Setting) -> Self {
        let mut lab = NetworkLab::new();
        let mut hosts = BTreeMap::new();
        for (name, address) in
            [("names", place::NAMES), ("resolver", place::RESOLVER), ("spammer", place::SPAMMER)]
        {
            hosts.insert(name, lab.add_public_host(&name[..4], address));
        }
        for neighbour in Neighbour::ALL {
            let name = neighbour.place();
            hosts.insert(name, lab.add_public_host(name, neighbour.address()));
        }
        hosts.insert("mua", lab.add_house_host("mua", place::MUA));
        let dir = leavings::dir("world");
        let mut names = NameTree::new(
            NameHosts {
                authority: (hosts["names"].clone(), place::NAMES),
                resolver: (hosts["resolver"].clone(), place::RESOLVER),
            },
            &zones::ZONES,
        );
        names.serve(&zones::records(&[]));
        let wires = Wires::tap(lab.internet(), &lab.wires(), dir.path());
        let options = options(setting, &lab, &names, &dir);
        let relay = setting.faulty.then(|| {
            LinkRelay::between(Some(lab.internet()), at(place::INTERNET, 443), at(place::EDGE, 443))
        });
        let pair =
            relay.as_ref().map_or_else(|| Pair::with(&options), |relay| Pair::with_relay(&options, relay));
        let keys = keys(&pair.home);
        names.serve(&zones::records(&keys));
        let edge_dirs = vec![own_dir(&pair.edge)];
        let world = Self {
            wires,
            neighbours: BTreeMap::new(),
            pair,
            names,
            hosts,
            relay,
            lab,
            house_goes_out: setting.house_goes_out,
            house: vec![place::NAT],
            written_to: Vec::new(),
            kept: Vec::new(),
            edge_dirs,
            keys,
            dir,
        };
        world.load_firewalls();
        world
    }

    /// Loads the rules on Edge's and Home's host, and confirms them.
    fn load_firewalls(&self) {
        self.load_firewall(&self.pair.edge, EDGE_RULES);
        self.load_firewall(&self.pair.home, HOME_RULES);
    }

    /// Loads the rules of a role on its host.
    pub(crate) fn load_firewall(&self, role: &Role, arguments: &[&str]) {
        role.command_ok(arguments, "");
        role.command_ok(&["firewall", "confirm"], "");
    }

    /// The namespace of a host that the lab does not have by itself.
    pub(crate) fn host(&self, name: &str) -> &str {
        &self.hosts[name]
    }

    /// One more host on the backbone.
    pub(crate) fn add_public_host(&mut self, name: &'static str, address: Ipv4Addr) -> String {
        let namespace = self.lab.add_public_host(name, address);
        self.hosts.insert(name, namespace.clone());
        namespace
    }

    /// One more host in the house.
    pub(crate) fn add_house_host(&mut self, name: &'static str, address: Ipv4Addr) -> String {
        let namespace = self.lab.add_house_host(name, address);
        self.hosts.insert(name, namespace.clone());
        namespace
    }

    /// Sets up an edge on a host of its own, as MX 20, with its rules loaded, and gives its code to Home, whose rules
    /// are made anew.
    pub(crate) fn add_second_edge(&mut self) -> MoreEdge {
        let namespace = self.add_public_host("edge2", place::SECOND_EDGE);
        let place = MorePlace {
            namespace: Some(namespace),
            listen: [at(place::SECOND_EDGE, 25), at(place::SECOND_EDGE, 443)],
        };
        let config = edge_config(&self.names);
        let (second, code) = self.pair.prepare_edge(SECOND, &config, self.names.resolver(), &place);
        self.edge_dirs.push(own_dir(&second.role));
        self.load_firewall(&second.role, EDGE_RULES);
        // Home's rules let it out to edges that it knows.
        let link = at(place::SECOND_EDGE, 443).to_string();
        self.load_firewall(&self.pair.home, &[HOME_RULES, &["--edge", &link]].concat());
        self.pair.home.command_ok(&["home", "pair", &code], "");
        self.pair.home.restart();
        self.pair.wait_for_edge(SECOND);
        self.load_firewall(&self.pair.home, HOME_RULES);
        // A home sends by it now.
        self.load_firewall(&second.role, EDGE_RULES);
        second
    }

    /// An MTA of other people; it starts when it is first needed.
    pub(crate) fn neighbour(&mut self, who: Neighbour) -> &mut dyn RemoteMta {
        let namespace = &self.hosts[who.place()];
        self.neighbours.entry(who).or_insert_with(|| who.start(namespace)).as_mut()
    }

    /// A user of another MTA writes to one of ours; his MTA takes it and brings it when it can.
    pub(crate) fn neighbour_writes(&mut self, who: Neighbour, to: &str, subject: &str) {
        self.written_to.push(to.to_owned());
        let (from, text) = (who.you(), letter(&who.you(), to, subject));
        self.neighbour(who).submission().send(Sent {
            from: &from,
            to,
            mail_options: "",
            rcpt_options: "",
            message: &text,
        });
    }

    /// Alice writes to somebody, from her computer in the house.
    pub(crate) fn alice_writes(&mut self, to: &str, subject: &str) {
        self.written_to.push(to.to_owned());
        let text = letter("alice@example.org", to, subject);
        self.alice().send(Sent {
            from: "alice@example.org",
            to,
            mail_options: "",
            rcpt_options: "",
            message: &text,
        });
    }

    /// Alice's mail program.
    pub(crate) fn alice(&self) -> Submission {
        Submission {
            namespace: Some(self.host("mua").to_owned()),
            server: self.pair.submission,
            security: Security::Tls,
            login: Some(("alice@example.org".to_owned(), PASSWORD.to_owned())),
        }
    }

    /// A user's mailboxes, from the computer in the house.
    pub(crate) fn mailbox(&self, user: &str) -> Account {
        Account { namespace: Some(self.host("mua").to_owned()), ..self.pair.account(user) }
    }

    /// Waits until a message with this subject is in the user's INBOX, and gives it.
    pub(crate) fn reaches(&self, user: &str, subject: &str) -> Vec<u8> {
        let line = format!("Subject: {subject}\r\n");
        until(&format!("'{subject}' in {user}'s INBOX"), PATIENCE, || {
            let messages = self.mailbox(user).messages("INBOX");
            messages.into_iter().find(|stored| message::holds(stored, line.as_bytes()))
        })
    }

    /// Waits until a message with this subject is in the mailbox of another MTA's user, and gives it.
    pub(crate) fn reaches_neighbour(&mut self, who: Neighbour, subject: &str) -> Vec<u8> {
        until(&format!("'{subject}' at {}", who.domain()), PATIENCE, || {
            self.neighbour_has(who, subject).pop()
        })
    }

    /// What another MTA's user has with this subject.
    pub(crate) fn neighbour_has(&mut self, who: Neighbour, subject: &str) -> Vec<Vec<u8>> {
        let all = self.neighbour(who).messages().into_iter().map(|stored| message::with_crlf(&stored));
        all.filter(|stored| message::field(stored, "Subject").as_deref() == Some(subject)).collect()
    }

    /// So many messages for bob, from the internet, in so many sessions; each must be answered 250.
    pub(crate) fn load_for_bob(&mut self, messages: u32, sessions: u32) {
        let load =
            postfix::Load { messages, sessions, content: Content::Octets(1000), to: "bob@example.org" };
        self.written_to.push("bob@example.org".to_owned());
        smtp_source(Some(self.lab.internet()), self.pair.smtp, load);
    }

    /// Waits until bob has exactly so many, nothing waits at Edge, and looks that it stays so.
    pub(crate) fn bob_has(&self, count: usize) {
        until(&format!("{count} messages in bob's INBOX"), PATIENCE, || {
            (self.mailbox("bob").count("INBOX") >= count).then_some(())
        });
        self.pair.wait_until_drained(LINK_PATIENCE);
        assert_eq!(self.mailbox("bob").count("INBOX"), count, "each once");
    }

    /// A connection to Edge from a namespace.
    pub(crate) fn connect(&self, namespace: &str) -> SmtpClient {
        self.connect_as(namespace, "sender.test")
    }

    /// As [`Self::connect`], by a name.
    pub(crate) fn connect_as(&self, namespace: &str, name: &str) -> SmtpClient {
        let edge = self.pair.smtp;
        within(Some(namespace), || SmtpClient::ready_as(edge, name)).expect("Edge greets")
    }

    /// Hands a message to Edge from a host, and gives the last reply.
    pub(crate) fn stranger_sends(&mut self, host: &str, from: &str, to: &str, text: &[u8]) -> String {
        self.written_to.push(to.to_owned());
        let namespace = self.hosts.get(host).cloned().unwrap_or_else(|| host.to_owned());
        self.connect(&namespace).message(from, &[to], text).expect("a reply")
    }

    /// The provider gives the house another address.
    pub(crate) fn house_gets(&mut self, address: Ipv4Addr) {
        let old = *self.house.last().expect("an address");
        self.lab.change_home_address(old, address);
        self.house.push(address);
    }

    /// Waits until nothing is in the outbound queue.
    pub(crate) fn queue_is_empty(&self) {
        until("the queue is empty", PATIENCE, || (self.pair.home.status()?["queue"] == 0).then_some(()));
    }

    /// Sets the clock of both hosts so many seconds after the true time. It takes `own_clock`.
    pub(crate) fn clocks_are_ahead(&self, seconds: i64) {
        for host in ["edge", "home"] {
            self.clock_is_ahead(host, seconds);
        }
    }

    /// Sets the clock of one host ahead by so many seconds.
    pub(crate) fn clock_is_ahead(&self, host: &str, seconds: i64) {
        std::fs::write(clock_file(&self.dir, host), format!("{seconds:+}\n")).expect("the clock");
    }

    /// Whether syncs of a host's disk are slow, or nothing can be written to it. It takes `faulty`.
    pub(crate) fn disk_is(&self, host: &str, how: DiskFault, on: bool) {
        let switch = switch_file(&self.dir, host, how);
        if on {
            std::fs::write(switch, "").expect("the switch");
        } else {
            std::fs::remove_file(switch).expect("the switch");
        }
    }

    /// Starts the name servers again, as they were.
    pub(crate) fn names_are_back(&mut self) {
        self.names.serve(&zones::records(&self.keys));
    }

    /// Keeps a program running.
    pub(crate) fn keep(&mut self, process: Process) {
        self.kept.push(process);
    }

    /// Ends all programs that were kept.
    pub(crate) fn let_go(&mut self) {
        self.kept.clear();
    }

    /// The events of Home's trace, as far as they can be read.
    pub(crate) fn trace_of_home(&self) -> Vec<serde_json::Value> {
        let text = testkit::pair::trace_text(self.pair.home.data());
        // A full disk cuts lines off.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The story's own files.
    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// The packets on the backbone so far that match a filter of tshark. The capture ends with it.
    pub(crate) fn wires_show(&mut self, filter: &str) -> Vec<String> {
        self.wires.end();
        self.wires.packets(filter)
    }

    /// The values of a field of tshark in such packets, each once. The capture ends with it.
    pub(crate) fn wires_have(&mut self, filter: &str, field: &str) -> BTreeSet<String> {
        self.wires.end();
        self.wires.values(filter, field)
    }

    /// The trace of the messages that a word names.
    pub(crate) fn print_trace(&self, what: &str) {
        let said = self.pair.home.command(&["trace", what], "");
        print_end(&format!("trace of {what}"), &String::from_utf8_lossy(&said.stdout));
    }

    /// The trace of the messages, and the logs.
    pub(crate) fn print_what_matters(&self) {
        let mut asked = self.written_to.clone();
        asked.sort();
        asked.dedup();
        asked.iter().for_each(|address| self.print_trace(address));
        let queue = self.pair.home.command(&["queue", "list"], "");
        print_end("Home's queue", &String::from_utf8_lossy(&queue.stdout));
        print_end("Edge's log", &self.pair.edge.log());
        print_end("Home's log", &self.pair.home.log());
        for (who, mta) in &self.neighbours {
            print_end(&format!("{who:?}'s log"), &mta.log());
        }
    }
}

/// Its data, its configuration and its log are there.
fn own_dir(role: &Role) -> PathBuf {
    role.data().parent().expect("a directory").to_owned()
}

fn print_end(what: &str, text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    println!("---- {what}, its end\n{}", lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n"));
}

fn options(setting: &Setting, lab: &NetworkLab, names: &NameTree, dir: &TempDir) -> PairOptions {
    let around = |host: &str, host_name: Option<String>| Surroundings {
        environment: environment(setting, host, dir),
        host_name,
        disk_mib: setting.faulty.then_some(DISK_MIB),
    };
    PairOptions {
        edge_config: format!("{}{}", setting.edge_config, edge_config(names)),
        home_config: format!("{}[queue]\nretry = [\"1s\"]\n", setting.home_config),
        outbound: setting.outbound,
        name_server: Some(names.resolver()),
        places: Some(lab.places()),
        around_edge: around("edge", None),
        around_home: around("home", Some(HOME_NAME.to_owned())),
    }
}

/// What every edge here is told.
fn edge_config(names: &NameTree) -> String {
    let anchors = names.trust_anchor().display().to_string();
    format!("[dns]\ntrust_anchors = \"{anchors}\"\n[outbound]\nmta_sts = false\n")
}

/// The keys that receivers look for, as names and texts of TXT records.
pub(crate) fn keys(home: &Role) -> Vec<(String, String)> {
    let status = json(&home.command_ok(&["dkim", "status", "--json"], ""));
    let mut keys = Vec::new();
    for domain in status.as_array().expect("domains") {
        let name = domain["domain"].as_str().expect("a name");
        for key in domain["keys"].as_array().expect("keys") {
            let text = |what: &str| key[what].as_str().expect("a text").to_owned();
            keys.push((format!("{}._domainkey.{name}", text("selector")), text("record")));
        }
    }
    keys
}

/// A letter that can be told from others by its subject.
pub(crate) fn letter(from: &str, to: &str, subject: &str) -> Vec<u8> {
    let domain = from.split('@').nth(1).unwrap_or("nowhere.test");
    let id: String = subject.chars().filter(char::is_ascii_alphanumeric).collect();
    format!(
        "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nFrom: {from}\r\nTo: {to}\r\nSubject: {subject}\r\n\
         Message-ID: <{id}@{domain}>\r\n\r\n{MARKER}\r\n"
    )
    .into_bytes()
}
