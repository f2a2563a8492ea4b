//! One more edge for a pair's home, one more home for its edge.

use std::net::SocketAddr;

use super::{EVERYBODY_IS_LET_IN, LINK_PATIENCE, PASSWORD, Pair, Role, as_user, code_in};
use crate::imap::Account;
use crate::{ports, until};

/// The place of one more role.
#[derive(Debug, Clone)]
pub struct MorePlace {
    /// Its network namespace; this host's own without.
    pub namespace: Option<String>,
    /// Where it listens: an edge for mail and for links, a home for outgoing mail and for mailboxes.
    pub listen: [SocketAddr; 2],
}

impl MorePlace {
    /// A place on loopback, at free ports.
    #[must_use]
    pub fn loopback() -> Self {
        Self { namespace: None, listen: [ports::free(), ports::free()] }
    }
}

/// An edge beside the pair's own.
#[derive(Debug)]
pub struct MoreEdge {
    /// Its files and its process.
    pub role: Role,
    /// The address where it takes mail.
    pub smtp: SocketAddr,
}

/// A home beside the pair's own, with a user.
#[derive(Debug)]
pub struct MoreHome {
    /// Its files and its process.
    pub role: Role,
    /// Where it takes outgoing mail.
    pub submission: SocketAddr,
    /// What `postern home setup` printed.
    pub setup_said: String,
    imap: SocketAddr,
}

impl MoreHome {
    /// A user's mailboxes, by his address.
    #[must_use]
    pub fn account(&self, address: &str) -> Account {
        Account {
            server: self.imap,
            user: address.to_owned(),
            password: PASSWORD.to_owned(),
            namespace: self.role.namespace.clone(),
        }
    }
}

impl Pair {
    /// Sets up one more edge and pairs the running home with it.
    ///
    /// # Panics
    /// When something does not work as it should for an operator.
    pub fn add_edge(
        &mut self,
        hostname: &str,
        config: &str,
        name_server: SocketAddr,
        place: &MorePlace,
    ) -> MoreEdge {
        let (edge, code) = self.prepare_edge(hostname, config, name_server, place);
        self.home.command_ok(&["home", "pair", &code], "");
        self.wait_for_edge(hostname);
        edge
    }

    /// Sets up one more edge, starts it, and gives its pairing code.
    ///
    /// # Panics
    /// When something does not work as it should for an operator.
    pub fn prepare_edge(
        &self,
        hostname: &str,
        config: &str,
        name_server: SocketAddr,
        place: &MorePlace,
    ) -> (MoreEdge, String) {
        let mut role = Role::new("edge", &self.dir.path().join("second-edge"), place.namespace.clone());
        let [smtp, link] = place.listen;
        let data = role.data.display().to_string();
        let mut arguments = vec!["edge", "setup", "--hostname", hostname, "--data", &data];
        arguments.extend(as_user());
        let (at, link, names) = (smtp.to_string(), link.to_string(), name_server.to_string());
        arguments.extend(["--smtp", &at, "--link", &link, "--link-address", &link, "--dns", &names]);
        let code = code_in(&role.command_ok(&arguments, ""));
        role.configure(EVERYBODY_IS_LET_IN);
        role.configure(config);
        role.start();
        (MoreEdge { role, smtp }, code)
    }

    /// Waits until the home says that the link to the edge of this name is up.
    pub fn wait_for_edge(&self, hostname: &str) {
        until("the link to the edge is up", LINK_PATIENCE, || self.has_edge(hostname)?.then_some(()));
    }

    /// Waits until the home says that it is not.
    pub fn wait_for_no_edge(&self, hostname: &str) {
        until("the link to the edge is down", LINK_PATIENCE, || (!self.has_edge(hostname)?).then_some(()));
    }

    fn has_edge(&self, hostname: &str) -> Option<bool> {
        let status = self.home.status()?;
        let edges = status["edges"].as_array()?;
        Some(edges.iter().any(|edge| edge["name"] == hostname && edge["link"] == "up"))
    }

    /// Sets up one more home with a domain of its own, sending allowed, pairs it with the edge and starts it.
    ///
    /// # Panics
    /// When something does not work as it should for an operator.
    pub fn add_home(&self, domain: &str, user: &str, place: &MorePlace) -> MoreHome {
        let mut role = Role::new("home", &self.dir.path().join("second-home"), place.namespace.clone());
        let [submission, imap] = place.listen;
        let code = code_in(&self.edge.command_ok(&["edge", "pair"], ""));
        let data = role.data.display().to_string();
        let mut arguments = vec!["home", "setup", "--domain", domain, "--data", &data, "--outbound", "on"];
        arguments.extend(as_user());
        let (at, mailboxes) = (submission.to_string(), imap.to_string());
        arguments.extend(["--submission", &at, "--imap", &mailboxes, &code]);
        let setup_said = role.command_ok(&arguments, "");
        let address = format!("{user}@{domain}");
        role.command_ok(&["user", "add", &address, "--password-stdin"], &format!("{PASSWORD}\n"));
        role.start();
        let home = MoreHome { role, submission, setup_said, imap };
        home.wait_for_link();
        home
    }
}

impl MoreHome {
    /// Waits until it says that its link is up.
    pub fn wait_for_link(&self) {
        until("the second home's link is up", LINK_PATIENCE, || {
            (self.role.status()?["edges"][0]["link"] == "up").then_some(())
        });
    }
}
