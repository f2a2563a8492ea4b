//! The key pair that is a role's identity on the link (RFC 7250 raw public keys, Ed25519).

use std::fmt;
use std::sync::Arc;

use rcgen::{KeyPair, PKCS_ED25519};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};

/// A private key and its public half. `Debug` shows the fingerprint only.
#[derive(Clone)]
pub struct LinkKey {
    pem: String,
    certified: Arc<CertifiedKey>,
    spki: Vec<u8>,
}

/// The text is no usable private key: the operator has to restore the key file or pair anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a private key that the link can use: {0}")]
pub struct LinkKeyError(String);

impl LinkKeyError {
    fn new(cause: impl fmt::Display) -> Self {
        Self(cause.to_string())
    }
}

impl LinkKey {
    /// Draws a new key.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, LinkKeyError> {
        let pair = KeyPair::generate_for(&PKCS_ED25519).map_err(LinkKeyError::new)?;
        Self::from_pem(&pair.serialize_pem())
    }

    /// Reads a PKCS #8 private key in PEM.
    ///
    /// # Errors
    /// [`LinkKeyError`].
    pub fn from_pem(pem: &str) -> Result<Self, LinkKeyError> {
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(LinkKeyError::new)?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(der).map_err(LinkKeyError::new)?;
        let spki = key.public_key().ok_or_else(|| LinkKeyError::new("it has no public half"))?.to_vec();
        let certified = CertifiedKey::new(vec![CertificateDer::from(spki.clone())], key);
        Ok(Self { pem: pem.to_owned(), certified: Arc::new(certified), spki })
    }

    /// The private key in PEM, for the key file.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The public key as SubjectPublicKeyInfo (DER).
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of [`LinkKey::spki`]: what the other side pins.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.spki)
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

pub(crate) fn fingerprint(spki: &[u8]) -> [u8; 32] {
    Sha256::digest(spki).into()
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkKey({:02x?}…)", &self.fingerprint()[..4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_file_and_debug_hides_it() {
        let key = LinkKey::generate().unwrap();
        let again = LinkKey::from_pem(key.pem()).unwrap();
        assert_eq!(key.spki(), again.spki());
        assert!(!format!("{key:?}").contains("PRIVATE"));
        assert!(LinkKey::from_pem("hello").is_err());
    }
}
