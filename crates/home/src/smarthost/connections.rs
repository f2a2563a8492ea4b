//! Connections to the smarthost: how they are made, and what it means when they are not.

use std::path::Path;
use std::sync::Arc;

use daemon::clock::Clock;
use daemon::files;
use daemon::problem::Problem;
use mail::{Address, EnhancedCode, Outcome, Recipient};
use net::home_tls::{self, ClientIdentity, KnownBy};
use net::mta_tls;
use net::smtp_client::{CONNECT_PATIENCE, Connection, NoBody, OpenError};
use net::tls::{CertificateFiles, Hello, ShortHellos, TlsConnector};
use smtp::Secret;
use smtp::client::{Closed, Login, Settings, TlsUse, Transaction};
use tokio::net::TcpStream;

use crate::config::{SmarthostConfig, TlsStart};
use crate::reused::{Body, Reused};
use net::contents::Source;

pub(super) struct Connections {
    host: String,
    port: u16,
    /// What its certificate is looked at for.
    server_name: String,
    tls: TlsStart,
    settings: Settings,
    connector: TlsConnector,
    short_hellos: ShortHellos,
    reused: Reused,
    clock: Arc<dyn Clock>,
}

impl Connections {
    /// Reads what the configuration names.
    pub(super) fn new(
        config: &SmarthostConfig,
        ehlo_name: String,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Problem> {
        let (host, port) = config.host_and_port().unwrap_or_default();
        let login = login(config)?;
        let settings = Settings { tls: TlsUse::Required, login, ..Settings::new(ehlo_name) };
        Ok(Self {
            host: host.to_owned(),
            port,
            server_name: config.server_name.clone().unwrap_or_else(|| host.to_owned()),
            tls: config.tls,
            settings,
            connector: connector(config)?,
            short_hellos: ShortHellos::default(),
            reused: Reused::default(),
            clock,
        })
    }

    /// Gives it a message: one outcome per recipient.
    pub(super) async fn send(&self, transaction: Transaction, mut body: Source) -> Vec<Outcome> {
        let recipients = transaction.recipients.clone();
        match self.reused.send(self.open(), transaction, &mut body).await {
            Ok(result) if result.may_be_about_client() && !self.knows_us(recipients.first()).await => {
                result.outcomes.into_iter().map(about_us).collect()
            }
            Ok(result) => result.outcomes,
            Err(error) => vec![self.not_opened(&error); recipients.len()],
        }
    }

    /// Whether it takes mail for anybody from us, of the domain of somebody whom it has refused: its postmaster has to
    /// be there (RFC 5321 section 4.5.1), and who relays there may write to him.
    async fn knows_us(&self, refused: Option<&Recipient>) -> bool {
        let postmaster = refused.and_then(|refused| Address::at("postmaster", refused.address.domain()).ok());
        let Some(postmaster) = postmaster else { return false };
        let question = Transaction::question(postmaster.into());
        let asked = self.reused.send(self.open(), question, &mut NoBody).await;
        asked.is_ok_and(|asked| matches!(asked.outcomes.first(), Some(Outcome::Delivered(_))))
    }

    /// Connects, and once more with a short first message of TLS if nothing answered the long one.
    async fn open(&self) -> Result<Connection, OpenError> {
        let hello = self.short_hellos.for_host(&self.host, self.clock.now().as_secs());
        let opened = self.open_with(hello).await;
        if hello == Hello::Short || !matches!(opened, Err(OpenError::Unanswered(_))) {
            return opened;
        }
        let opened = self.open_with(Hello::Short).await;
        if opened.is_ok() {
            self.short_hellos.remember(&self.host, self.clock.now().as_secs());
        }
        opened
    }

    async fn open_with(&self, hello: Hello) -> Result<Connection, OpenError> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = tokio::time::timeout(CONNECT_PATIENCE, connecting).await;
        let stream = stream.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(OpenError::Connect)?;
        let (names, settings) = ((self.host.as_str(), self.server_name.as_str()), self.settings.clone());
        let connector = hello.of(&self.connector);
        match self.tls {
            TlsStart::Implicit => Connection::open_implicit(stream, names, settings, &connector).await,
            TlsStart::StartTls => Connection::open_as(stream, names, Arc::new(settings), &connector).await,
        }
    }

    /// What it means that there is no connection. Whatever it is, it is no word on a message: all of it is temporary.
    fn not_opened(&self, error: &OpenError) -> Outcome {
        let what_to_do = match error {
            OpenError::Closed(Closed::LoginRefused(_) | Closed::LoginNotOffered) => {
                "see [smarthost] user and password_file in home.toml"
            }
            OpenError::Tls(_)
            | OpenError::Unanswered(_)
            | OpenError::Closed(Closed::TlsNotOffered | Closed::TlsRefused(_)) => {
                "see [smarthost] tls, fingerprint, server_name and roots in home.toml"
            }
            OpenError::Connect(_) | OpenError::Closed(_) => "is it running, and is the way to it open?",
        };
        let error_text = match error {
            OpenError::Tls(cause) => home_tls::reason(cause),
            other => other.to_string(),
        };
        tracing::error!(smarthost = %self.host, error = error_text, what_to_do,
            "the smarthost takes no mail now; the mail stays in the queue and is tried again");
        match error {
            OpenError::Connect(cause) => {
                Outcome::deferred(EnhancedCode(4, 4, 1), format!("no connection: {cause}"))
            }
            OpenError::Tls(_) | OpenError::Unanswered(_) => {
                Outcome::deferred(EnhancedCode(4, 7, 5), format!("no TLS: {error_text}"))
            }
            OpenError::Closed(reason) => match reason.outcome(Some(&self.host)) {
                Outcome::Failed(why) => Outcome::Deferred(why),
                outcome => outcome,
            },
        }
    }
}

/// A refusal that is no word on a recipient: the mail waits until the operator has mended what it is about.
fn about_us(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Failed(why) => {
            tracing::error!(cause = %why,
                what_to_do = "see [smarthost] user or certificate in home.toml, and at the smarthost who may send through it",
                "the smarthost refuses Home, not the recipient; the mail stays in the queue and is tried again");
            Outcome::Deferred(why)
        }
        outcome => outcome,
    }
}

impl Body for NoBody {
    fn has_begun(&self) -> bool {
        false
    }
}

fn login(config: &SmarthostConfig) -> Result<Option<Login>, Problem> {
    let (Some(user), Some(path)) = (&config.user, &config.password_file) else { return Ok(None) };
    let advice = "put the password there, on one line; see [smarthost] password_file in home.toml";
    let password = Secret::new(files::read_password(path, advice)?);
    Ok(Some(Login { user: user.clone(), password }))
}

fn connector(config: &SmarthostConfig) -> Result<TlsConnector, Problem> {
    let problem = |error: &dyn std::fmt::Display| Problem::setup(error, "correct [smarthost] in home.toml");
    let roots = |path: Option<&Path>| match path {
        Some(path) => mta_tls::roots_of(path),
        None => mta_tls::public_roots(None),
    };
    let known_by = match config.fingerprint {
        Some(fingerprint) => KnownBy::Fingerprint(fingerprint),
        None => KnownBy::Roots(roots(config.roots.as_deref()).map_err(|error| problem(&error))?),
    };
    let identity = match (&config.certificate, &config.key) {
        (Some(certificate), Some(key)) => {
            let files = CertificateFiles { certificate: certificate.clone(), key: key.clone() };
            Some(ClientIdentity::load(&files).map_err(|error| problem(&error))?)
        }
        _ => None,
    };
    home_tls::connector(known_by, identity.as_ref())
        .map_err(|error| Problem::failed(format!("TLS can't be set up: {error}"), ""))
}
