//! An edge without a paired home.

use std::net::SocketAddr;

use tempfile::TempDir;

use super::{EDGE_NAME, EVERYBODY_IS_LET_IN, Role, as_user};
use crate::dns::NameServer;
use crate::ports;

/// The edge, running, with a name server of its own.
#[derive(Debug)]
pub struct LoneEdge {
    /// Its files and its process.
    pub role: Role,
    /// The address where it takes mail.
    pub smtp: SocketAddr,
    _name_server: NameServer,
    _dir: TempDir,
}

impl LoneEdge {
    /// Starts one with this in its configuration. `name_server` knows what it has to know.
    ///
    /// # Panics
    /// When something does not work as it should for an operator.
    #[must_use]
    pub fn start(config: &str, name_server: NameServer) -> Self {
        let dir = crate::leavings::dir("edge");
        let role = Role::new("edge", &dir.path().join("edge"), None);
        let (smtp, link) = (ports::free(), ports::free());
        let data = role.data.display().to_string();
        let (at, link, names) = (smtp.to_string(), link.to_string(), name_server.address().to_string());
        let mut arguments = vec!["edge", "setup", "--hostname", EDGE_NAME, "--data", &data];
        arguments.extend(as_user());
        arguments.extend(["--smtp", &at, "--link", &link, "--dns", &names]);
        role.command_ok(&arguments, "");
        role.configure(EVERYBODY_IS_LET_IN);
        role.configure(config);
        let mut edge = Self { role, smtp, _name_server: name_server, _dir: dir };
        edge.role.start();
        edge
    }
}

impl Drop for LoneEdge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- the edge's log\n{}", self.role.log());
        }
    }
}
