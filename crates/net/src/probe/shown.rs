//! The certificate that a server shows, and what public roots and its name make of it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::ServerCertVerifier as _;
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::client::TlsStream;

use crate::mta_tls::{RootCertStore, result_type};
use crate::tls;
use crate::verifier::provider;

/// What a server showed in a handshake that asked nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownCertificate {
    /// Its certificates in DER, its own first.
    pub chain: Vec<Vec<u8>>,
    /// Version and cipher suite of the session.
    pub session: String,
    /// Whether its certificate is for the name.
    pub names_host: bool,
    /// Whether the roots vouch for it under the name now; else why not.
    pub trusted: Result<(), String>,
}

/// Begins TLS with whoever is there, and gives what he showed for `name`, judged by these roots at this time, in
/// seconds since 1970.
///
/// # Errors
/// The handshake's error.
pub async fn show<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    name: &str,
    (roots, now): (Arc<RootCertStore>, u64),
) -> io::Result<(TlsStream<S>, ShownCertificate)> {
    let invalid =
        |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidInput, error.to_string());
    let name = ServerName::try_from(name.to_owned()).map_err(|error| invalid(&error))?;
    let connector = tls::opportunistic_connector().map_err(|error| invalid(&error))?;
    let stream = connector.connect(name.clone(), stream).await?;
    let (_, session) = stream.get_ref();
    let chain = session.peer_certificates().unwrap_or_default();
    let shown = ShownCertificate {
        chain: chain.iter().map(|certificate| certificate.to_vec()).collect(),
        session: tls::describe(session),
        names_host: names_host(chain, &name),
        trusted: trusted(chain, &name, roots, now),
    };
    Ok((stream, shown))
}

fn names_host(chain: &[CertificateDer<'_>], name: &ServerName<'_>) -> bool {
    let parsed = chain.first().and_then(|own| ParsedCertificate::try_from(own).ok());
    parsed.is_some_and(|own| verify_server_name(&own, name).is_ok())
}

fn trusted(
    chain: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    roots: Arc<RootCertStore>,
    now: u64,
) -> Result<(), String> {
    let (own, others) = chain.split_first().ok_or("no certificate was shown")?;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
    let verifier = verifier.map_err(|error| error.to_string())?;
    let verified = verifier.verify_server_cert(
        own,
        others,
        name,
        &[],
        UnixTime::since_unix_epoch(Duration::from_secs(now)),
    );
    verified.map(drop).map_err(|error| {
        let (kind, reason) = result_type(&error);
        let kind = format!("{kind:?}");
        if reason.is_empty() { kind } else { format!("{kind}: {reason}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mta_tls::{public_roots, roots_of};
    use crate::tls::{CertificateFiles, ServerIdentity, ensure_self_signed};

    /// Made today, and good from 1975 to 4096, as rcgen has it.
    const NOW: u64 = 1_800_000_000;

    #[tokio::test]
    async fn a_certificate_that_it_made_itself_is_shown_named_and_not_trusted_unless_it_is_a_root() {
        let dir = tempfile::tempdir().unwrap();
        let files = CertificateFiles { certificate: dir.path().join("c.pem"), key: dir.path().join("k.pem") };
        ensure_self_signed(&files, "mx.example.org").unwrap();
        let acceptor = ServerIdentity::load(&files).unwrap().acceptor().unwrap();
        let look = async |name: &str, roots| {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let acceptor = acceptor.clone();
            let serving = tokio::spawn(async move { acceptor.accept(theirs).await.map(drop) });
            let (_stream, shown) = show(ours, name, (roots, NOW)).await.unwrap();
            let _ = serving.await;
            shown
        };
        let shown = look("mx.example.org", public_roots(None).unwrap()).await;
        assert!(shown.names_host && shown.session.starts_with("TLS1.3"), "{shown:?}");
        assert!(shown.trusted.is_err() && shown.chain.len() == 1);
        let other = look("mx2.example.org", public_roots(None).unwrap()).await;
        assert!(!other.names_host);
        let own = look("mx.example.org", roots_of(&files.certificate).unwrap()).await;
        assert_eq!(own.trusted, Ok(()));
    }
}
