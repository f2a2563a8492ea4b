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
    let provider = provider();
    let inner = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let objection = Objection::default();
    let testing = Testing { inner, objection: objection.clone() };
    let verifier = Verifier::of_certificates(&provider, testing);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), objection))
}

/// Takes whatever it is, and notes what the roots say.
#[derive(Debug)]
struct Testing {
    inner: Arc<WebPkiServerVerifier>,
    objection: Objection,
}

impl Trust for Testing {
    fn check(&self, shown: &Presented<'_>) -> Result<(), Error> {
        let Some(name) = shown.name else { return Ok(()) };
        let found = self.inner.verify_server_cert(shown.end_entity, shown.chain, name, shown.ocsp, shown.now);
        *self.objection.0.lock().unwrap_or_else(PoisonError::into_inner) = found.err();
        Ok(())
    }
}
