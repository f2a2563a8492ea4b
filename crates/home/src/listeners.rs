//! The ports of Home: which of them are open, with which settings.

use std::sync::Arc;

use daemon::problem::Problem;
use daemon::process;
use net::port_places::Places;
use net::smtp_server::Port;
use net::tls::TlsAcceptor;
use serde_json::{Value, json};
use smtp::server::{Limits, Login, Mode, Settings};
use tokio::net::TcpListener;

use super::Home;
use super::foreign_edge::ForeignEdge;
use super::mailboxes::Accounts;
use super::service::{Accepting, ForeignEdgeService, ImapService, Serve, SubmissionService};
use super::submit::Submit;
use crate::config::{self, HomeConfig};

/// The places of each port.
pub(super) struct Ports {
    imap: Arc<Places>,
    submission: Arc<Places>,
    foreign_edge: Arc<Places>,
}

impl Ports {
    pub(super) fn new(limits: &config::Limits) -> Self {
        let places = || Places::new(limits.sessions, limits.sessions_per_address);
        Self { imap: places(), submission: places(), foreign_edge: places() }
    }

    /// As `status` shows them, of the ports that are open.
    pub(super) fn as_json(&self, config: &HomeConfig) -> Value {
        let open = [
            ("imap", &self.imap, config.deliver.is_none()),
            ("submission", &self.submission, true),
            ("foreign-edge", &self.foreign_edge, config.foreign_edge.is_some()),
        ];
        let rows = open.into_iter().filter(|(_, _, is_open)| *is_open).map(|(name, places, _)| {
            let mut row = json!(places.count().shown());
            row["port"] = json!(name);
            row
        });
        rows.collect()
    }
}

impl Home {
    fn acceptor(&self) -> Result<TlsAcceptor, Problem> {
        self.identity.acceptor().map_err(|error| Problem::failed(format!("TLS can't be set up: {error}"), ""))
    }

    pub(super) fn serve_imap(self: &Arc<Self>) -> Result<(), Problem> {
        // The mailboxes are another program's: it shows them.
        if self.config.deliver.is_some() {
            return Ok(());
        }
        let accounts = Accounts {
            store: Arc::clone(self.keeper.store()),
            drafts: self.config.data.join("drafts").into(),
            clock: Arc::clone(&self.clock),
            trainer: self.trainer.clone(),
        };
        let service = net::imap_server::Service::new(self.stop.clone());
        let service = service.map_err(|error| {
            Problem::failed(format!("can't start: {error}"), "see the system's limits on threads")
        })?;
        let imap = ImapService {
            acceptor: self.acceptor()?,
            accounts,
            logins: self.logins.clone(),
            append_octets_max: self.config.limits.message.0,
            service,
        };
        let listeners = process::listen(&self.config.listen.imap, "IMAP", "[listen] imap in home.toml")?;
        self.accept(listeners, &Arc::new(imap), &self.ports.imap);
        Ok(())
    }

    pub(super) fn serve_foreign_edge(
        self: &Arc<Self>,
        edge: Option<Arc<ForeignEdge>>,
    ) -> Result<(), Problem> {
        let (Some(edge), Some(config)) = (edge, &self.config.foreign_edge) else { return Ok(()) };
        let limits = Limits { message_octets: self.config.limits.message.0, ..Limits::default() };
        let login = if config.user.is_some() { Login::Offered } else { Login::NotOffered };
        let (hostname, mode) = (self.config.hostname(), Mode::Relay(login));
        let tls = self.identity.acceptor_that_asks();
        let tls = tls.map_err(|error| Problem::failed(format!("TLS can't be set up: {error}"), ""))?;
        let port = Port {
            settings: Arc::new(Settings { hostname, mode, starttls: false, limits }),
            tls: Some(tls),
            implicit_tls: true,
            stop: self.stop.clone(),
        };
        let key = "[foreign_edge] listen in home.toml";
        let listeners = process::listen(&config.listen, "the foreign edge", key)?;
        self.accept(listeners, &Arc::new(ForeignEdgeService { port, edge }), &self.ports.foreign_edge);
        Ok(())
    }

    pub(super) fn serve_submission(self: &Arc<Self>, submit: Arc<Submit>) -> Result<(), Problem> {
        let limits = Limits { message_octets: self.config.limits.message.0, ..Limits::default() };
        let settings = Settings {
            hostname: self.config.name_outside(),
            mode: Mode::Submission,
            starttls: false,
            limits,
        };
        let port = Port {
            settings: Arc::new(settings),
            tls: Some(self.acceptor()?),
            implicit_tls: true,
            stop: self.stop.clone(),
        };
        let key = "[listen] submission in home.toml";
        let listeners = process::listen(&self.config.listen.submission, "submission", key)?;
        self.accept(listeners, &Arc::new(SubmissionService { port, submit }), &self.ports.submission);
        Ok(())
    }

    fn accept(&self, listeners: Vec<TcpListener>, service: &Arc<impl Serve>, places: &Arc<Places>) {
        let told = Arc::default();
        for listener in listeners {
            let accepting = Accepting {
                service: Arc::clone(service),
                places: Arc::clone(places),
                logins: self.logins.clone(),
                told: Arc::clone(&told),
                clock: Arc::clone(&self.clock),
                sessions: self.sessions.clone(),
                stop: self.stop.clone(),
            };
            tokio::spawn(accepting.run(listener));
        }
    }
}
