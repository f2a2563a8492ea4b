//! The one verifier of what peers show in a TLS handshake, certificates and raw public keys, of servers and of clients.
//!
//! That a peer has the key of what it shows is proven by its signature, the same way for all; whether it is who it has to be
//! is a [`Trust`]'s to say, and that is all in which the users of TLS differ.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme};

/// What a peer shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Presented<'a> {
    /// Its own certificate, or its raw key.
    pub(crate) end_entity: &'a CertificateDer<'a>,
    /// Certificates that it sent besides.
    pub(crate) chain: &'a [CertificateDer<'a>],
    /// The name under which it was called. None for a client.
    pub(crate) name: Option<&'a ServerName<'a>>,
    /// What it says of the revocation of its certificate; empty as a rule.
    pub(crate) ocsp: &'a [u8],
    /// The time of the handshake.
    pub(crate) now: UnixTime,
}

/// Whether a peer that has the key of what it shows is to be spoken to.
pub(crate) trait Trust: fmt::Debug + Send + Sync + 'static {
    /// Says so.
    ///
    /// # Errors
    /// Why it is not; the handshake ends.
    fn check(&self, shown: &Presented<'_>) -> Result<(), Error>;
}

/// Whoever it is: encryption against listeners that proves nothing (RFC 7435), or a client of which is decided later.
#[derive(Debug)]
pub(crate) struct Anybody;

impl Trust for Anybody {
    fn check(&self, _shown: &Presented<'_>) -> Result<(), Error> {
        Ok(())
    }
}

/// In what form a peer shows its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyForm {
    /// X.509; TLS 1.2 or 1.3. A client need not have one.
    Certificate,
    /// RFC 7250; TLS 1.3 alone. A client has one.
    RawKey,
}

/// Verifies what peers show, by a [`Trust`].
#[derive(Debug)]
pub(crate) struct Verifier<T> {
    provider: Arc<CryptoProvider>,
    form: KeyForm,
    trust: T,
}

/// The cryptography of everything that speaks TLS here.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

impl<T: Trust> Verifier<T> {
    /// Of certificates.
    pub(crate) fn of_certificates(provider: &Arc<CryptoProvider>, trust: T) -> Arc<Self> {
        Arc::new(Self { provider: Arc::clone(provider), form: KeyForm::Certificate, trust })
    }

    /// Of raw public keys.
    pub(crate) fn of_raw_keys(provider: &Arc<CryptoProvider>, trust: T) -> Arc<Self> {
        Arc::new(Self { provider: Arc::clone(provider), form: KeyForm::RawKey, trust })
    }

    fn tls12_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match self.form {
            KeyForm::Certificate => verify_tls12_signature(message, key, signature, algorithms),
            KeyForm::RawKey => Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)),
        }
    }

    fn tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match self.form {
            KeyForm::Certificate => verify_tls13_signature(message, key, signature, algorithms),
            KeyForm::RawKey => {
                let spki = SubjectPublicKeyInfoDer::from(key.as_ref());
                verify_tls13_signature_with_raw_key(message, &spki, signature, algorithms)
            }
        }
    }
}

impl<T: Trust> ServerCertVerifier for Verifier<T> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.trust.check(&Presented { end_entity, chain, name: Some(name), ocsp, now })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls12_signature(message, key, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls13_signature(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.form == KeyForm::RawKey
    }
}

impl<T: Trust> ClientCertVerifier for Verifier<T> {
    fn client_auth_mandatory(&self) -> bool {
        // Who has no certificate is told so in SMTP, where people look.
        self.form == KeyForm::RawKey
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.trust.check(&Presented { end_entity, chain, name: None, ocsp: &[], now })?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls12_signature(message, key, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls13_signature(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.form == KeyForm::RawKey
    }
}

#[cfg(test)]
mod tests;
