//! TLS 1.3 with raw public keys on both sides.
//!
//! The handshake proves possession of a key; whether that key may do anything is decided after it, by the
//! role, from the fingerprint. Home pins Edge's key already here, so that it never speaks to anyone else.

use std::sync::Arc;

use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, Error, ServerConfig};

use crate::link_key::{LinkKey, fingerprint};
use crate::verifier::{Anybody, Presented, Trust, Verifier, provider};

/// Accepts exactly one server key.
#[derive(Debug)]
struct PinnedKey([u8; 32]);

impl Trust for PinnedKey {
    fn check(&self, shown: &Presented<'_>) -> Result<(), Error> {
        if fingerprint(shown.end_entity) == self.0 {
            Ok(())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }
}

/// Home's side: shows `key`, accepts only the server key with the fingerprint `pinned`.
pub(crate) fn client_config(key: &LinkKey, pinned: [u8; 32], alpn: &[u8]) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier = Verifier::of_raw_keys(&provider, PinnedKey(pinned));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key.certified())));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

/// Edge's side: shows `key`, asks for a client key, speaks any of `alpns`.
pub(crate) fn server_config(key: &LinkKey, alpns: &[&[u8]]) -> Result<ServerConfig, Error> {
    let provider = provider();
    // Any key that signs; see the module's words on authority.
    let verifier = Verifier::of_raw_keys(&provider, Anybody);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key.certified())));
    config.alpn_protocols = alpns.iter().map(|alpn| alpn.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
