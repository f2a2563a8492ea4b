//! The beginning of a session with a mail host: the TLS that is demanded of it, and what is tried when that fails.

use std::sync::Arc;

use net::mta_tls::Objection;
use net::smtp_client::{self, Connection, OpenError};
use net::tls::Hello;
use smtp::client::{Settings, TlsUse};
use tlspolicy::Demand;
use tokio::net::TcpStream;

use super::Router;
use super::trial::{self, Failure, Trial};

impl Router {
    /// Begins the session, with no less TLS than is demanded. A failure beside it is one that nobody minds: then it is a
    /// session without TLS, or one whose certificate only a policy under test objects to.
    pub(super) async fn session(
        &self,
        stream: TcpStream,
        trial: Trial<'_>,
        demand: &Demand,
    ) -> Result<(Connection, Option<Failure>), OpenError> {
        let remote = stream.peer_addr().map_err(OpenError::Connect)?;
        match self.session_with_some_hello(stream, trial, demand).await {
            // RFC 7435: a new connection to the same address, in the clear.
            Err(failed) if failed.is_of_tls() && *demand == Demand::Opportunistic => {
                let plain = Arc::new(Settings { tls: TlsUse::Never, ..self.settings.clone() });
                let opened = Connection::open(remote, trial.host, plain, &self.any_certificate).await;
                opened.map(|connection| (connection, trial::failure_of(&failed)))
            }
            other => other,
        }
    }

    /// A handshake whose first message nobody answered is tried once more with a short one, under the same demand. Where
    /// that works the host is remembered.
    async fn session_with_some_hello(
        &self,
        stream: TcpStream,
        trial: Trial<'_>,
        demand: &Demand,
    ) -> Result<(Connection, Option<Failure>), OpenError> {
        let remote = stream.peer_addr().map_err(OpenError::Connect)?;
        let hello = self.short_hellos.for_host(trial.host, self.map.clock.now().as_secs());
        let opened = self.session_with(stream, trial, (demand, hello)).await;
        if hello == Hello::Short || !matches!(opened, Err(OpenError::Unanswered(_))) {
            return opened;
        }
        let stream = smtp_client::connect(remote).await?;
        let opened = self.session_with(stream, trial, (demand, Hello::Short)).await;
        if opened.as_ref().is_ok_and(|(connection, _)| connection.tls().is_some()) {
            tracing::info!(host = trial.host, %remote, "TLS works with a short first message only: so it is begun for a day");
            self.short_hellos.remember(trial.host, self.map.clock.now().as_secs());
        }
        opened
    }

    async fn session_with(
        &self,
        stream: TcpStream,
        trial: Trial<'_>,
        (demand, hello): (&Demand, Hello),
    ) -> Result<(Connection, Option<Failure>), OpenError> {
        let connector = match demand {
            Demand::Opportunistic => return self.opportunistic_session(stream, trial, hello).await,
            Demand::Encrypted => self.any_certificate.clone(),
            Demand::PublicRoots => self.public_roots.clone(),
            Demand::Dane(records) => {
                let made = net::mta_tls::dane_connector(records.clone(), trial.domain.as_str());
                made.map_err(|error| OpenError::Tls(std::io::Error::other(error)))?
            }
        };
        let settings = Settings { tls: TlsUse::Required, ..self.settings.clone() };
        // DANE's certificate is for the name that has the records (RFC 7672 section 3.2.2).
        let tls_name = if matches!(demand, Demand::Dane(_)) { trial.tlsa_base } else { trial.host };
        let names = (trial.host, tls_name);
        let opened = Connection::open_as(stream, names, Arc::new(settings), &hello.of(&connector)).await;
        opened.map(|connection| (connection, None))
    }

    /// TLS if it is there, with any certificate; under a policy that is being tested it is looked at all the same.
    async fn opportunistic_session(
        &self,
        stream: TcpStream,
        trial: Trial<'_>,
        hello: Hello,
    ) -> Result<(Connection, Option<Failure>), OpenError> {
        let made = if trial.is_test() {
            net::mta_tls::testing_connector(Arc::clone(&self.roots))
        } else {
            Ok((self.any_certificate.clone(), Objection::default()))
        };
        let (connector, objection) = made.map_err(|error| OpenError::Tls(std::io::Error::other(error)))?;
        let settings = Arc::new(self.settings.clone());
        let connection = Connection::open_on(stream, trial.host, settings, &hello.of(&connector)).await?;
        let failure = match connection.tls() {
            None => Some(trial::not_offered()),
            Some(_) => objection.take().as_ref().map(net::mta_tls::result_type).or_else(|| trial.objection()),
        };
        Ok((connection, failure))
    }
}
