//! Connections to the smarthost: how they are made, and what it means when they are not.

use std::path::Path;
use std::sync::Arc;

use mail::{EnhancedCode, Outcome};
use net::home_tls::{self, ClientIdentity, KnownBy};
use net::mta_tls;
use net::smtp_client::{CONNECT_PATIENCE, Connection, OpenError};
use net::tls::{CertificateFiles, TlsConnector};
use smtp::Secret;
use smtp::client::{Closed, Login, Settings, TlsUse, Transaction};
use tokio::net::TcpStream;

use super::Queued;
use crate::config::{SmarthostConfig, TlsStart};
use crate::files;
use crate::home::reused::Reused;
use crate::problem::Problem;

pub(super) struct Connections {
    host: String,
    port: u16,
    /// What its certificate is looked at for.
    server_name: String,
    tls: TlsStart,
    settings: Settings,
    connector: TlsConnector,
    reused: Reused,
}

impl Connections {
    /// Reads what the configuration names.
    pub(super) fn new(config: &SmarthostConfig, ehlo_name: String) -> Result<Self, Problem> {
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
            reused: Reused::default(),
        })
    }

    /// Gives it a message: one outcome per recipient.
    pub(super) async fn send(&self, transaction: Transaction, mut body: Queued) -> Vec<Outcome> {
        let recipients = transaction.recipients.len();
        match self.reused.send(self.open(), transaction, &mut body).await {
            Ok(result) => result.outcomes.into_iter().map(unless_it_is_about_us).collect(),
            Err(error) => vec![self.not_opened(&error); recipients],
        }
    }

    async fn open(&self) -> Result<Connection, OpenError> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = tokio::time::timeout(CONNECT_PATIENCE, connecting).await;
        let stream = stream.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(OpenError::Connect)?;
        let (names, settings) = ((self.host.as_str(), self.server_name.as_str()), self.settings.clone());
        match self.tls {
            TlsStart::Implicit => Connection::open_implicit(stream, names, settings, &self.connector).await,
            TlsStart::StartTls => {
                Connection::open_as(stream, names, Arc::new(settings), &self.connector).await
            }
        }
    }

    /// What it means that there is no connection. Whatever it is, it is no word on a message: all of it is temporary.
    fn not_opened(&self, error: &OpenError) -> Outcome {
        let what_to_do = match error {
            OpenError::Closed(Closed::LoginRefused(_) | Closed::LoginNotOffered) => {
                "see [smarthost] user and password_file in home.toml"
            }
            OpenError::Tls(_) | OpenError::Closed(Closed::TlsNotOffered | Closed::TlsRefused(_)) => {
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
            OpenError::Tls(_) => Outcome::deferred(EnhancedCode(4, 7, 5), format!("no TLS: {error_text}")),
            OpenError::Closed(reason) => match reason.outcome(Some(&self.host)) {
                Outcome::Failed(why) => Outcome::Deferred(why),
                outcome => outcome,
            },
        }
    }
}

/// A 530 is about the smarthost and Home (RFC 4954 section 6), not about a message: that waits until it is mended.
fn unless_it_is_about_us(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Failed(why) if why.reply.as_ref().is_some_and(|reply| reply.code == 530) => {
            tracing::error!(%why, "the smarthost wants to know who Home is: see [smarthost] in home.toml; the mail waits");
            Outcome::Deferred(why)
        }
        outcome => outcome,
    }
}

fn login(config: &SmarthostConfig) -> Result<Option<Login>, Problem> {
    let (Some(user), Some(path)) = (&config.user, &config.password_file) else { return Ok(None) };
    let advice = "put the password there, on one line; see [smarthost] password_file in home.toml";
    let text = files::read_text(path, advice)?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() || password.contains('\0') {
        let what = format!("{}: there is no password on the first line", path.display());
        return Err(Problem::setup(what, advice));
    }
    Ok(Some(Login { user: user.clone(), password: Secret::new(password.to_owned()) }))
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

#[cfg(test)]
mod tests {
    use mail::Reply;

    use super::*;

    #[test]
    fn a_refusal_of_home_itself_is_temporary_and_one_of_a_recipient_is_not() {
        let outcome = |code, enhanced| {
            unless_it_is_about_us(Outcome::from_reply(None, &Reply::new(code, enhanced, "x")))
        };
        assert!(matches!(outcome(530, (5, 7, 0)), Outcome::Deferred(_)));
        assert!(matches!(outcome(550, (5, 1, 1)), Outcome::Failed(_)));
        assert!(matches!(outcome(250, (2, 0, 0)), Outcome::Delivered(_)));
    }
}
