//! TLS towards other MTAs that proves something: a certificate of the host's name from a public root, or one
//! that DANE vouches for (RFC 7672 section 3.1). Opportunistic TLS, which proves nothing, is in [`crate::tls`].

mod testing;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tlspolicy::certificate::{issuer, key_content};
use tlspolicy::report::ResultType;
use tlspolicy::tlsa::{Tlsa, Usage, WholeAnchor};
use tokio_rustls::TlsConnector;

use crate::tls::TlsError;

pub use rustls::{Error, RootCertStore};
pub use testing::{Objection, testing_connector};

/// The roots that browsers trust, as they were when this program was built, and those of a file.
///
/// # Errors
/// [`TlsError`] naming the file, when it can't be read or holds no certificate.
pub fn public_roots(more: Option<&Path>) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = more {
        add_roots(&mut roots, path)?;
    }
    Ok(Arc::new(roots))
}

/// The roots of a file and no others.
///
/// # Errors
/// As [`public_roots`].
pub fn roots_of(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    add_roots(&mut roots, path)?;
    Ok(Arc::new(roots))
}

fn add_roots(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    let pem = std::fs::read(path).map_err(|cause| TlsError::File { path: path.to_owned(), cause })?;
    let content = |cause: String| TlsError::Content { path: PathBuf::from(path), cause };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| content(format!("not a PEM certificate: {error}")))?;
    if certificates.is_empty() {
        return Err(content("it holds no PEM certificate".to_owned()));
    }
    certificates
        .into_iter()
        .try_for_each(|certificate| roots.add(certificate))
        .map_err(|error| content(error.to_string()))
}

/// A connector that wants a certificate of the name it is given from one of these roots.
///
/// # Errors
/// When the crypto provider lacks a protocol version, which a working build does not.
pub fn verifying_connector(roots: Arc<RootCertStore>) -> Result<TlsConnector, Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A connector that wants a certificate that one of the records vouches for. `domain` is where the mail goes:
/// a certificate by a trust anchor may name it instead of the host (RFC 7672 section 3.2.2).
///
/// # Errors
/// When the crypto provider lacks a protocol version, which a working build does not.
pub fn dane_connector(records: Vec<Tlsa>, domain: &str) -> Result<TlsConnector, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let domain = ServerName::try_from(domain.to_owned()).ok();
    let verifier = DaneVerifier { provider: Arc::clone(&provider), records, domain };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The word of RFC 8460 section 4.3 for what was wrong with a handshake, and the reason where the word does not
/// say it: the same for the same fault, so that sessions can be counted by it.
#[must_use]
pub fn result_type(error: &Error) -> (ResultType, String) {
    use CertificateError as Bad;
    match error {
        Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            (ResultType::CertificateExpired, String::new())
        }
        Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            (ResultType::CertificateHostMismatch, String::new())
        }
        // The DANE verifier's error for a certificate that no TLSA record matches.
        Error::InvalidCertificate(Bad::ApplicationVerificationFailure) => {
            (ResultType::CertificateNotTrusted, "no TLSA record matches".to_owned())
        }
        Error::InvalidCertificate(bad) => (ResultType::CertificateNotTrusted, format!("{bad:?}")),
        other => (ResultType::ValidationFailure, other.to_string()),
    }
}

/// As [`result_type`], of a handshake as it ended.
#[must_use]
pub fn result_type_of_handshake(error: &std::io::Error) -> (ResultType, String) {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    cause.map_or_else(|| (ResultType::ValidationFailure, error.to_string()), result_type)
}

#[derive(Debug)]
struct DaneVerifier {
    provider: Arc<CryptoProvider>,
    records: Vec<Tlsa>,
    domain: Option<ServerName<'static>>,
}

impl DaneVerifier {
    /// The certificates of the chain that a record names as trust anchors, and those that are in a record.
    fn anchors(&self, end_entity: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let records = self.records.iter().filter(|record| record.usable() == Some(Usage::TrustAnchor));
        for record in records {
            for certificate in chain.iter().filter(|certificate| record.matches(certificate)) {
                // One that can't be read vouches for nothing.
                let _ = roots.add(certificate.clone().into_owned());
            }
            match record.whole_anchor() {
                None => {}
                Some(WholeAnchor::Certificate(certificate)) => {
                    let _ = roots.add(CertificateDer::from(certificate.to_vec()));
                }
                Some(WholeAnchor::Key(key)) => {
                    roots.roots.extend(
                        std::iter::once(end_entity).chain(chain).filter_map(|signed| bare_key(key, signed)),
                    );
                }
            }
        }
        roots
    }
}

/// A key as the trust anchor of a certificate. Its owner's certificate may not have been sent, so that the name is not
/// known: it is the one that the certificate itself says. Only what the key signed is verified by it.
fn bare_key(key: &[u8], signed: &CertificateDer<'_>) -> Option<TrustAnchor<'static>> {
    let anchor = TrustAnchor {
        subject: issuer(signed)?.into(),
        subject_public_key_info: key_content(key)?.into(),
        name_constraints: None,
    };
    Some(anchor.to_owned())
}

impl ServerCertVerifier for DaneVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let own = |record: &&Tlsa| record.usable() == Some(Usage::EndEntity);
        if self.records.iter().filter(own).any(|record| record.matches(end_entity)) {
            // Neither names nor dates count: the record has both (RFC 7672 section 3.1.1).
            return Ok(ServerCertVerified::assertion());
        }
        let roots = self.anchors(end_entity, intermediates);
        if roots.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
                .build()
                .map_err(|error| Error::General(error.to_string()))?;
        let verify = |name: &ServerName<'_>| {
            verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
        };
        let by_host = verify(server_name);
        match &self.domain {
            Some(domain) if by_host.is_err() => verify(domain).or(by_host),
            _ => by_host,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
