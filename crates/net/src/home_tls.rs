//! TLS towards a home that is another program: who it is, is known beforehand, and Edge may show a certificate.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsConnector;

use crate::tls::{self, CertificateFiles, TlsError};

/// SHA-256 of a certificate (DER), as `openssl x509 -fingerprint -sha256` and Postfix write it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate.as_ref()).into())
    }
}

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    /// 64 hexadecimal digits in either case, with or without a colon after each two.
    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let digits: Vec<u8> = text
            .bytes()
            .filter(|octet| *octet != b':')
            .map(|octet| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or(NoFingerprint)?;
        let (pairs, rest) = digits.as_chunks::<2>();
        let octets: Vec<u8> = pairs.iter().map(|[high, low]| high * 16 + low).collect();
        if rest.is_empty() {
            octets.try_into().map(Self).map_err(|_| NoFingerprint)
        } else {
            Err(NoFingerprint)
        }
    }
}

/// The text is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a fingerprint is SHA-256 in 64 hexadecimal digits, as 'openssl x509 -noout -fingerprint -sha256' prints it"
)]
pub struct NoFingerprint;

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, octet) in self.0.iter().enumerate() {
            write!(f, "{}{octet:02X}", if place == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The proof that a server is the home: its certificate itself, or its name and who issued it.
#[derive(Debug, Clone)]
pub enum KnownBy {
    /// It has this certificate, whatever the certificate's names, dates and issuer are.
    Fingerprint(Fingerprint),
    /// Its certificate is for the name that the connector is given, by one of these roots.
    Roots(Arc<RootCertStore>),
}

/// A certificate to show, and what a home may know it by.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    certified: Arc<CertifiedKey>,
    /// The SHA-256 fingerprint of the certificate.
    pub fingerprint: Fingerprint,
}

impl ClientIdentity {
    /// Loads a certificate chain and key.
    ///
    /// # Errors
    /// [`TlsError`] naming the file.
    pub fn load(files: &CertificateFiles) -> Result<Self, TlsError> {
        let certified = tls::load(files)?;
        let leaf = certified.cert.first().ok_or_else(|| TlsError::Content {
            path: files.certificate.clone(),
            cause: "it holds no PEM certificate".to_owned(),
        })?;
        let fingerprint = Fingerprint::of(leaf);
        Ok(Self { certified: Arc::new(certified), fingerprint })
    }
}

#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    /// Whatever authorities the server names: it knows a self-made certificate by its fingerprint, and by no issuer.
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A connector for that home and no other.
///
/// # Errors
/// When the crypto provider lacks a protocol version, which a working build does not, or there are no roots.
pub fn connector(known_by: KnownBy, identity: Option<&ClientIdentity>) -> Result<TlsConnector, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match known_by {
        KnownBy::Fingerprint(fingerprint) => {
            Arc::new(Pinned { provider: Arc::clone(&provider), fingerprint })
        }
        KnownBy::Roots(roots) => {
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            verifier.map_err(|error| Error::General(error.to_string()))?
        }
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match identity {
        Some(identity) => config.with_client_cert_resolver(Arc::new(Shown(Arc::clone(&identity.certified)))),
        None => config.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Takes one certificate. That the server has its key, the handshake proves.
#[derive(Debug)]
struct Pinned {
    provider: Arc<CryptoProvider>,
    fingerprint: Fingerprint,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = Fingerprint::of(end_entity);
        if found == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        let other = OtherCertificate { found };
        Err(Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(Arc::new(other)))))
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

/// Why a handshake failed, for the operator.
#[must_use]
pub fn reason(error: &std::io::Error) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    match cause {
        // What rustls makes of it is not for people.
        Some(Error::InvalidCertificate(CertificateError::Other(other))) => other.0.to_string(),
        _ => error.to_string(),
    }
}

/// The server has another certificate than the one that is known.
#[derive(Debug, thiserror::Error)]
#[error("it shows a certificate with the fingerprint {found}, which is not the one configured")]
struct OtherCertificate {
    found: Fingerprint,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_openssl_and_postfix_write_them() {
        let digits = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
        let plain: Fingerprint = digits.parse().unwrap();
        let written = plain.to_string();
        assert!(written.starts_with("00:11:22:") && written.ends_with(":EE:FF"), "{written}");
        assert_eq!(written.parse::<Fingerprint>(), Ok(plain));
        for bad in ["", &digits[1..], &digits[2..], "zz", &format!("{digits}00")] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(NoFingerprint), "{bad}");
        }
    }
}
