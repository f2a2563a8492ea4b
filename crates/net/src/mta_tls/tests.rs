//! Certificates of other MTAs against what DANE and MTA-STS demand, in handshakes over loopback.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::tls::TlsAcceptor;

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params
}

/// A certificate chain, leaf first, and the leaf's key.
struct Chain {
    certificates: Vec<CertificateDer<'static>>,
    /// How many of them the server sends.
    sent: usize,
    key: KeyPair,
    /// Its last certificate.
    issuer_pem: String,
}

impl Chain {
    /// One that a certification authority of its own signed for `name`.
    fn new(name: &str, expired: bool) -> Self {
        let issuer = CertifiedIssuer::self_signed(authority("root"), KeyPair::generate().unwrap()).unwrap();
        Self::signed_by(&issuer, name, expired)
    }

    /// One with an authority between it and the root.
    fn long(name: &str) -> Self {
        let root = CertifiedIssuer::self_signed(authority("root"), KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let between = CertifiedIssuer::signed_by(authority("between"), key, &root).unwrap();
        let mut chain = Self::signed_by(&between, name, false);
        chain.certificates.push(root.der().clone());
        chain.sent = 3;
        chain
    }

    /// As many servers send it: the root is what its clients have.
    fn without_root(self) -> Self {
        Self { sent: self.certificates.len() - 1, ..self }
    }

    fn signed_by(issuer: &CertifiedIssuer<'_, KeyPair>, name: &str, expired: bool) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        }
        let leaf = params.signed_by(&key, issuer).unwrap();
        let certificates = vec![leaf.der().clone(), issuer.der().clone()];
        Self { certificates, sent: 2, key, issuer_pem: issuer.pem() }
    }

    fn record(&self, usage: u8, selector: u8, place: usize) -> Tlsa {
        let certificate = &self.certificates[place];
        let octets = match selector {
            0 => certificate.as_ref(),
            _ => tlspolicy::certificate::subject_public_key_info(certificate).unwrap(),
        };
        Tlsa { usage, selector, matching: 1, data: Sha256::digest(octets).to_vec() }
    }

    /// As [`Self::record`], with the thing itself instead of its digest.
    fn whole(&self, usage: u8, selector: u8, place: usize) -> Tlsa {
        let certificate = &self.certificates[place];
        let data = match selector {
            0 => certificate.to_vec(),
            _ => tlspolicy::certificate::subject_public_key_info(certificate).unwrap().to_vec(),
        };
        Tlsa { usage, selector, matching: 0, data }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                self.certificates[..self.sent].to_vec(),
                self.key.serialize_der().try_into().unwrap(),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Whether a client that connects to the host `mx.a.test` is content.
    async fn contents(&self, connector: TlsConnector) -> bool {
        self.failure(connector).await.is_none()
    }

    /// The error of a handshake with this client; `None` when it succeeds.
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
        assert_eq!(chain.passes(vec![chain.whole(2, 0, 1)]).await, wanted, "{name} {expired}");
        let other = Chain::new(name, expired);
        assert!(!chain.passes(vec![other.record(2, 1, 1)]).await, "another anchor");
    }
}

/// Symptom: mail for a host with `TLSA 2 1 0` waited for ever, and Postfix delivered it. Cause: a trust anchor was looked
/// for among the certificates that the host sends, and the root is not. Analysis: the key is in the record as a whole, and
/// what it signed can be verified with it (RFC 7671 section 5.2.2); of a digest that can't be said.
#[tokio::test]
async fn an_anchor_that_is_in_the_record_need_not_be_sent() {
    for chain in [Chain::new("mx.a.test", false).without_root(), Chain::long("mx.a.test").without_root()] {
        let root = chain.certificates.len() - 1;
        for selector in [0, 1] {
            assert!(chain.passes(vec![chain.whole(2, selector, root)]).await, "2 {selector} 0");
            assert!(!chain.passes(vec![chain.record(2, selector, root)]).await, "2 {selector} 1");
        }
    }
    // With the root sent it is the same, and so for one in the middle.
    let chain = Chain::long("a.test");
    for (selector, place) in [(0, 1), (1, 1), (0, 2), (1, 2)] {
        assert!(chain.passes(vec![chain.whole(2, selector, place)]).await, "2 {selector} 0 of {place}");
    }
}

#[tokio::test]
async fn an_anchors_key_vouches_for_what_it_signed_that_is_valid_and_names_the_host() {
    let other = Chain::new("mx.a.test", false);
    for (name, expired) in [("mx.b.test", false), ("mx.a.test", true)] {
        let chain = Chain::new(name, expired).without_root();
        assert!(!chain.passes(vec![chain.whole(2, 1, 1)]).await, "{name} {expired}");
    }
    let chain = Chain::new("mx.a.test", false).without_root();
    assert!(!chain.passes(vec![other.whole(2, 1, 1)]).await, "another key, under the same name");
    assert!(!chain.passes(vec![chain.whole(2, 1, 0)]).await, "its own key signed nothing");
    let cut = |octets: usize| {
        let mut record = chain.whole(2, 1, 1);
        record.data.truncate(octets);
        record
    };
    assert!(!chain.passes(vec![cut(40)]).await && !chain.passes(vec![cut(1)]).await);
    assert!(chain.passes(vec![cut(40), chain.whole(2, 1, 1)]).await, "one that is broken spoils no other");
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
