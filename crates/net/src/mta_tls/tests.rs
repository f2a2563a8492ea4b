use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::tls::TlsAcceptor;

/// A certificate chain, leaf first, and the leaf's key.
struct Chain {
    certificates: Vec<CertificateDer<'static>>,
    key: KeyPair,
    /// Its last certificate.
    issuer_pem: String,
}

impl Chain {
    /// One that a certification authority of its own signed for `name`.
    fn new(name: &str, expired: bool) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        }
        let leaf = params.signed_by(&key, &issuer).unwrap();
        let certificates = vec![leaf.der().clone(), issuer.der().clone()];
        Self { certificates, key, issuer_pem: issuer.pem() }
    }

    fn record(&self, usage: u8, selector: u8, place: usize) -> Tlsa {
        let certificate = &self.certificates[place];
        let octets = match selector {
            0 => certificate.as_ref(),
            _ => tlspolicy::certificate::subject_public_key_info(certificate).unwrap(),
        };
        Tlsa { usage, selector, matching: 1, data: Sha256::digest(octets).to_vec() }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.certificates.clone(), self.key.serialize_der().try_into().unwrap())
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Whether a client that connects to the host `mx.a.test` is content.
    async fn contents(&self, connector: TlsConnector) -> bool {
        self.failure(connector).await.is_none()
    }

    /// How it fails for such a client.
    async fn failure(&self, connector: TlsConnector) -> Option<std::io::Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = self.acceptor();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = acceptor.accept(stream).await;
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("mx.a.test").unwrap();
        let failure = connector.connect(name, stream).await.err();
        server.await.unwrap();
        failure
    }

    async fn passes(&self, records: Vec<Tlsa>) -> bool {
        self.contents(dane_connector(records, "a.test").unwrap()).await
    }
}

#[tokio::test]
async fn a_record_of_the_hosts_own_certificate_asks_for_neither_name_nor_date() {
    let chain = Chain::new("elsewhere.test", true);
    for selector in [0, 1] {
        assert!(chain.passes(vec![chain.record(3, selector, 0)]).await, "selector {selector}");
    }
    let other = Chain::new("mx.a.test", false);
    assert!(!chain.passes(vec![other.record(3, 1, 0)]).await, "another key");
    assert!(chain.passes(vec![other.record(3, 1, 0), chain.record(3, 1, 0)]).await, "one of two is enough");
    assert!(!chain.passes(vec![chain.record(3, 1, 1)]).await, "the issuer is not the host");
}

#[tokio::test]
async fn a_trust_anchor_vouches_for_certificates_that_are_valid_and_name_the_host_or_the_domain() {
    for (name, expired, wanted) in [
        ("mx.a.test", false, true),
        ("a.test", false, true),
        ("mx.b.test", false, false),
        ("mx.a.test", true, false),
    ] {
        let chain = Chain::new(name, expired);
        for selector in [0, 1] {
            let records = vec![chain.record(2, selector, 1)];
            assert_eq!(chain.passes(records).await, wanted, "{name} {expired} selector {selector}");
        }
        let whole = Tlsa { usage: 2, selector: 0, matching: 0, data: chain.certificates[1].to_vec() };
        assert_eq!(chain.passes(vec![whole]).await, wanted, "{name} {expired}");
        let other = Chain::new(name, expired);
        assert!(!chain.passes(vec![other.record(2, 1, 1)]).await, "another anchor");
    }
}

#[tokio::test]
async fn a_public_root_vouches_for_the_hosts_name_only() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("roots.pem");
    for (name, expired, wanted) in
        [("mx.a.test", false, true), ("a.test", false, false), ("mx.a.test", true, false)]
    {
        let chain = Chain::new(name, expired);
        let unknown = verifying_connector(public_roots(None).unwrap()).unwrap();
        assert!(!chain.contents(unknown).await, "nobody vouches for {name}");
        std::fs::write(&file, &chain.issuer_pem).unwrap();
        let known = verifying_connector(public_roots(Some(&file)).unwrap()).unwrap();
        assert_eq!(chain.contents(known).await, wanted, "{name} {expired}");
    }
    std::fs::write(&file, "nothing").unwrap();
    let error = public_roots(Some(&file)).unwrap_err().to_string();
    assert!(error.contains("roots.pem: it holds no PEM certificate"), "{error}");
}

#[tokio::test]
async fn a_policy_under_test_takes_any_certificate_and_tells_what_is_wrong_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("roots.pem");
    for (name, expired, known, wanted) in [
        ("mx.a.test", false, true, None),
        ("mx.b.test", false, true, Some(ResultType::CertificateHostMismatch)),
        ("mx.a.test", true, true, Some(ResultType::CertificateExpired)),
        ("mx.a.test", false, false, Some(ResultType::CertificateNotTrusted)),
    ] {
        let chain = Chain::new(name, expired);
        std::fs::write(&file, &chain.issuer_pem).unwrap();
        let roots = public_roots(Some(&file).filter(|_| known).map(|file| file.as_path())).unwrap();
        let (connector, objection) = testing_connector(Arc::clone(&roots)).unwrap();
        assert!(chain.contents(connector).await, "{name} {expired} {known}");
        assert_eq!(
            objection.take().as_ref().map(|error| result_type(error).0),
            wanted,
            "{name} {expired} {known}"
        );
        let failed = chain.failure(verifying_connector(roots).unwrap()).await;
        assert_eq!(
            failed.as_ref().map(|error| result_type_of_handshake(error).0),
            wanted,
            "{name} {expired} {known}"
        );
    }
}
