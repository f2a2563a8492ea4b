//! TLS that takes any certificate and tells what the public roots say of it: for domains whose MTA-STS policy is
//! only being tested (RFC 8461 section 5).

use std::sync::{Mutex, PoisonError};

use super::*;

/// What was found wrong with a certificate that was taken all the same.
#[derive(Debug, Clone, Default)]
pub struct Objection(Arc<Mutex<Option<Error>>>);

impl Objection {
    /// The objection, once the handshake is over; `None` when there is none.
    #[must_use]
    pub fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A connector for one connection, and what it will have found.
///
/// # Errors
/// When the crypto provider lacks a protocol version, which a working build does not.
pub fn testing_connector(roots: Arc<RootCertStore>) -> Result<(TlsConnector, Objection), Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let inner = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let objection = Objection::default();
    let verifier = TestingVerifier { inner, objection: objection.clone() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), objection))
}

#[derive(Debug)]
struct TestingVerifier {
    inner: Arc<WebPkiServerVerifier>,
    objection: Objection,
}

impl ServerCertVerifier for TestingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        *self.objection.0.lock().unwrap_or_else(PoisonError::into_inner) = found.err();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
