//! Certificates that clients show.
//!
//! The handshake proves that the client has the certificate's key, and nothing else: who vouches for it, and until
//! when, is not looked at. Whether that certificate may do anything is decided after it, by the role, from the
//! fingerprint.

use std::sync::Arc;

use rustls::server::ResolvesServerCert;
use rustls::{Error, ServerConfig};

use super::{ServerIdentity, TlsAcceptor};
use crate::verifier::{Anybody, Verifier, provider};

impl ServerIdentity {
    /// As [`ServerIdentity::acceptor`], and clients are asked for a certificate; they need not have one.
    ///
    /// # Errors
    /// When the crypto provider lacks a protocol version, which a working build does not.
    pub fn acceptor_that_asks(&self) -> Result<TlsAcceptor, Error> {
        let provider = provider();
        let verifier = Verifier::of_certificates(&provider, Anybody);
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>);
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
