//! Two hosts on which nothing is set up, in a small internet, as a newcomer has them.

use std::time::Duration;

use testkit::dns::{NameServer, Record};
use testkit::host::{Host, Service};
use testkit::imap::Account;
use testkit::namespace::within;
use testkit::network_lab::NetworkLab;
use testkit::pair::{LINK_PATIENCE, PASSWORD, code_in};
use testkit::smtp::SmtpClient;
use testkit::{message, until};

/// What the edge is called.
pub(crate) const EDGE_NAME: &str = "mx.example.org";
/// For what takes moments.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Two hosts on which nothing is set up, and the world's names.
pub(crate) struct Newcomer {
    // Dropped in this order: daemons are gone before their network.
    pub(crate) edge: Host,
    pub(crate) home: Host,
    pub(crate) lab: NetworkLab,
    _names: NameServer,
}

impl Newcomer {
    pub(crate) fn new() -> Option<Self> {
        Self::with_records(&[])
    }

    /// With more names than the edge's.
    pub(crate) fn with_records(more: &[(&str, Record)]) -> Option<Self> {
        if !NetworkLab::is_possible() {
            println!("NOT RUN: network namespaces can't be made here (it takes root)");
            return None;
        }
        let lab = NetworkLab::new();
        let server = "203.0.113.1:53".parse().unwrap();
        let names = within(Some(lab.internet()), || {
            let edge = [(EDGE_NAME, Record::A("203.0.113.2".parse().unwrap()))];
            NameServer::start_at(server, &[&edge, more].concat())
        });
        let (edge, home) = (Host::new(lab.edge(), server.ip()), Host::new(lab.home(), server.ip()));
        Some(Self { edge, home, lab, _names: names })
    }

    /// As the book has it.
    pub(crate) fn set_up(&self) -> (Service, Service) {
        let printed = self.edge.shell_ok(&format!("postern edge setup --hostname {EDGE_NAME}"), "");
        let code = code_in(&printed);
        assert!(printed.contains("postern edge run"), "{printed}");
        let edge = self.edge.start("edge", None);
        self.home.shell_ok(&format!("postern home setup --domain example.org {code}"), "");
        self.add_user("alice");
        let home = self.home.start("home", None);
        self.wait_for_link();
        (edge, home)
    }

    pub(crate) fn add_user(&self, name: &str) {
        let line = format!("postern user add {name}@example.org --password-stdin");
        self.home.shell_ok(&line, &format!("{PASSWORD}\n"));
    }

    pub(crate) fn wait_for_link(&self) {
        until("the link is up", LINK_PATIENCE, || {
            let status = self.home.status()?;
            let edge = status["edges"].get(0)?.clone();
            (edge["link"] == "up" && edge["snapshot"].as_u64() > Some(0)).then_some(())
        });
    }

    pub(crate) fn deliver(&self, to: &str, subject: &str) {
        let reply = within(Some(self.lab.internet()), || {
            let mut client = SmtpClient::ready_as("203.0.113.2:25".parse().unwrap(), "far.example").unwrap();
            let to = format!("{to}@example.org");
            client
                .message("you@far.example", &[&to], &message::simple("you@far.example", &to, subject))
                .unwrap()
        });
        assert!(reply.starts_with("250"), "{reply}");
    }

    pub(crate) fn account(&self, name: &str) -> Account {
        Account {
            server: "192.168.77.2:993".parse().unwrap(),
            user: format!("{name}@example.org"),
            password: PASSWORD.to_owned(),
            namespace: Some(self.lab.home().to_owned()),
        }
    }

    pub(crate) fn subjects(&self, name: &str) -> Vec<String> {
        let account = self.account(name);
        let mut subjects = account.subjects("INBOX");
        subjects.extend(account.subjects("Junk"));
        subjects
    }
}
