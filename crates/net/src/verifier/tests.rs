//! Handshakes of two ends in memory.

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{AlwaysResolvesServerRawPublicKeys, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::*;

/// What one end shows: a certificate or raw key, and the key that it signs with.
#[derive(Debug, Clone)]
struct Own(Arc<CertifiedKey>);

fn private(pair: &KeyPair) -> Arc<dyn rustls::sign::SigningKey> {
    let der = PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
    provider().key_provider.load_private_key(der).unwrap()
}

fn pair() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

impl Own {
    fn certificate(of: &KeyPair, signs_with: &KeyPair) -> Self {
        let params = CertificateParams::new(vec!["mx.example.org".to_owned()]).unwrap();
        let certificate = params.self_signed(of).unwrap();
        Self(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], private(signs_with))))
    }

    fn raw_key(of: &KeyPair, signs_with: &KeyPair) -> Self {
        let spki = private(of).public_key().unwrap().to_vec();
        Self(Arc::new(CertifiedKey::new(vec![spki.into()], private(signs_with))))
    }
}

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

type Version = &'static SupportedProtocolVersion;

/// Both ends go on until neither has anything to say.
fn shake(mut client: ClientConnection, mut server: ServerConnection) -> Result<(), Error> {
    for _ in 0..10 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(())
}

fn with_certificates(version: Version, server: &Own, client: Option<&Own>) -> Result<(), Error> {
    let provider = provider();
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])?
        .dangerous()
        .with_custom_certificate_verifier(Verifier::of_certificates(&provider, Anybody));
    let config = match client {
        Some(own) => config.with_client_cert_resolver(Arc::new(own.clone())),
        None => config.with_no_client_auth(),
    };
    let name = ServerName::try_from("mx.example.org").unwrap();
    let near = ClientConnection::new(Arc::new(config), name)?;
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])?
        .with_client_cert_verifier(Verifier::of_certificates(&provider, Anybody))
        .with_cert_resolver(Arc::new(server.clone()));
    shake(near, ServerConnection::new(Arc::new(config))?)
}

fn with_raw_keys(server: &Own, client: Option<&Own>) -> Result<(), Error> {
    let provider = provider();
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Verifier::of_raw_keys(&provider, Anybody));
    let raw = |own: &Own| Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&own.0)));
    let config = match client {
        Some(own) => config.with_client_cert_resolver(raw(own)),
        None => config.with_no_client_auth(),
    };
    let near = ClientConnection::new(Arc::new(config), ServerName::try_from("mx.example.org").unwrap())?;
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Verifier::of_raw_keys(&provider, Anybody))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&server.0))));
    shake(near, ServerConnection::new(Arc::new(config))?)
}

#[test]
fn whoever_it_is_has_the_key_of_the_certificate_that_it_shows() {
    let (key, other) = (pair(), pair());
    let (own, stolen) = (Own::certificate(&key, &key), Own::certificate(&key, &other));
    let versions: [Version; 2] = [&TLS12, &TLS13];
    for version in versions {
        assert_eq!(with_certificates(version, &own, Some(&own)), Ok(()));
        assert!(with_certificates(version, &stolen, None).is_err(), "a server with another's certificate");
        assert!(
            with_certificates(version, &own, Some(&stolen)).is_err(),
            "a client with another's certificate"
        );
    }
}

#[test]
fn a_client_without_a_certificate_is_let_in_and_one_without_a_raw_key_is_not() {
    let key = pair();
    let own = Own::certificate(&key, &key);
    let versions: [Version; 2] = [&TLS12, &TLS13];
    for version in versions {
        assert_eq!(with_certificates(version, &own, None), Ok(()));
    }
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let raw = Own::raw_key(&key, &key);
    assert_eq!(with_raw_keys(&raw, Some(&raw)), Ok(()));
    assert!(with_raw_keys(&raw, None).is_err());
}

#[test]
fn whoever_it_is_has_the_private_half_of_the_raw_key_that_it_shows() {
    let [key, other] = [(); 2].map(|()| KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let (own, stolen) = (Own::raw_key(&key, &key), Own::raw_key(&key, &other));
    assert!(with_raw_keys(&stolen, Some(&own)).is_err(), "a server with another's key");
    assert!(with_raw_keys(&own, Some(&stolen)).is_err(), "a client with another's key");
}

#[test]
fn what_is_not_trusted_is_not_spoken_to_whatever_it_proves() {
    #[derive(Debug)]
    struct Nobody;
    impl Trust for Nobody {
        fn check(&self, _: &Presented<'_>) -> Result<(), Error> {
            Err(Error::General("nobody".to_owned()))
        }
    }
    let (provider, key) = (provider(), pair());
    let own = Own::certificate(&key, &key);
    let shown = own.0.cert.first().unwrap();
    let verifier = Verifier::of_certificates(&provider, Nobody);
    let name = ServerName::try_from("mx.example.org").unwrap();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1));
    assert!(verifier.verify_server_cert(shown, &[], &name, &[], now).is_err());
    assert!(verifier.verify_client_cert(shown, &[], now).is_err());
}
