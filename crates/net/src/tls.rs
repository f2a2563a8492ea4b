//! TLS with certificates: for SMTP, submission and IMAP clients, and towards other MTAs.

mod client_certificate;
mod hello;

use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, ServerConfig};
use tokio::net::TcpStream;
pub use tokio_rustls::{TlsAcceptor, TlsConnector};

pub use hello::{Hello, ShortHellos};

use crate::verifier::{Anybody, Verifier, provider};

/// Certificate and key can't be used. The operator mends the file named.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read or written.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {cause}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The fault of the content, in words.
        cause: String,
    },
}

/// Where a certificate chain and its key are, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The file with the PEM chain, leaf first.
    pub certificate: PathBuf,
    /// The file with the PEM private key.
    pub key: PathBuf,
}

/// The certificate that a role shows. It can be replaced while sessions run.
#[derive(Clone)]
pub struct ServerIdentity {
    current: Arc<Current>,
}

struct Current(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl ServerIdentity {
    /// Loads a certificate chain and key.
    ///
    /// # Errors
    /// [`TlsError`] naming the file.
    pub fn load(files: &CertificateFiles) -> Result<Self, TlsError> {
        let certified = load(files)?;
        Ok(Self { current: Arc::new(Current(RwLock::new(Arc::new(certified)))) })
    }

    /// Reads the files again; sessions that begin later show what they hold now.
    ///
    /// # Errors
    /// [`TlsError`]; the certificate in use stays.
    pub fn reload(&self, files: &CertificateFiles) -> Result<(), TlsError> {
        let certified = load(files)?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
        Ok(())
    }

    /// The certificate that sessions are shown which begin now, in DER.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        let current = self.current.0.read().unwrap_or_else(PoisonError::into_inner);
        current.cert.first().map(|certificate| certificate.to_vec()).unwrap_or_default()
    }

    /// The acceptor for sessions: TLS 1.2 and 1.3 (RFC 8996 forbids less).
    ///
    /// # Errors
    /// When the crypto provider lacks a protocol version, which a working build does not.
    pub fn acceptor(&self) -> Result<TlsAcceptor, Error> {
        let provider = provider();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>);
        config.max_fragment_size = None;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

pub(crate) fn load(files: &CertificateFiles) -> Result<CertifiedKey, TlsError> {
    let certificate = read(&files.certificate)?;
    let key = read(&files.key)?;
    let content = |path: &Path, cause: String| TlsError::Content { path: path.to_owned(), cause };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| content(&files.certificate, format!("not a PEM certificate: {error}")))?;
    if chain.is_empty() {
        return Err(content(&files.certificate, "it holds no PEM certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|error| content(&files.key, format!("it holds no PEM private key: {error}")))?;
    let provider = provider();
    CertifiedKey::from_der(chain, key, &provider)
        .map_err(|error| content(&files.key, format!("the key does not fit the certificate: {error}")))
}

/// The first certificate of a PEM file, in DER: a server's own comes first.
///
/// # Errors
/// [`TlsError`] naming the file.
pub fn first_certificate(path: &Path) -> Result<Vec<u8>, TlsError> {
    let content = |cause: String| TlsError::Content { path: path.to_owned(), cause };
    match CertificateDer::pem_slice_iter(&read(path)?).next() {
        Some(Ok(certificate)) => Ok(certificate.to_vec()),
        Some(Err(error)) => Err(content(format!("not a PEM certificate: {error}"))),
        None => Err(content("it holds no PEM certificate".to_owned())),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|cause| TlsError::File { path: path.to_owned(), cause })
}

/// Makes a certificate for `name`, signed by itself, unless there is one of this name. It names nothing but `name`. Where there is one
/// of another name its key is kept, so that who pinned the key (TLSA) goes on.
///
/// # Errors
/// [`TlsError::File`] when a file can't be written.
pub fn ensure_self_signed(files: &CertificateFiles, name: &str) -> Result<(), TlsError> {
    let both = files.certificate.exists() && files.key.exists();
    if both && names(&files.certificate, name) {
        return Ok(());
    }
    let content = |cause: rcgen::Error| TlsError::Content {
        path: files.certificate.clone(),
        cause: format!("can't make a certificate for {name}: {cause}"),
    };
    let kept = std::fs::read_to_string(&files.key).ok().filter(|_| both);
    let kept = kept.and_then(|pem| KeyPair::from_pem(&pem).ok());
    let is_kept = kept.is_some();
    let pair = match kept {
        Some(pair) => pair,
        None => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(content)?,
    };
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(content)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.self_signed(&pair).map_err(content)?;
    if !is_kept {
        write_private(&files.key, &pair.serialize_pem())?;
    }
    write_private(&files.certificate, &certificate.pem())
}

/// Whether a certificate is for this name. Of one that can't be read whoever loads it says what is wrong.
fn names(certificate: &Path, name: &str) -> bool {
    let Ok(wanted) = ServerName::try_from(name) else { return true };
    let Ok(der) = CertificateDer::from_pem_file(certificate) else { return true };
    let Ok(parsed) = ParsedCertificate::try_from(&der) else { return true };
    verify_server_name(&parsed, &wanted).is_ok()
}

/// What was there stays until all of the new is on the disk.
fn write_private(path: &Path, text: &str) -> Result<(), TlsError> {
    let draft = path.with_extension("draft");
    let write = || {
        let mut options = std::fs::OpenOptions::new();
        let mut opened = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        opened.write_all(text.as_bytes())?;
        opened.sync_all()?;
        std::fs::rename(&draft, path)
    };
    write().map_err(|cause| {
        let _ = std::fs::remove_file(&draft);
        TlsError::File { path: path.to_owned(), cause }
    })
}

/// The version and cipher suite of a session, for `Received` fields and logs.
#[must_use]
pub fn describe(session: &rustls::CommonState) -> String {
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS1.2",
        _ => "TLS",
    };
    match session.negotiated_cipher_suite() {
        Some(suite) => {
            let name = format!("{:?}", suite.suite());
            format!("{version} {}", name.trim_start_matches("TLS13_").trim_start_matches("TLS_"))
        }
        None => version.to_owned(),
    }
}

/// The connector for opportunistic TLS towards other MTAs: any certificate is good. Policies that prove more (DANE, MTA-STS)
/// have connectors of their own where they hold.
///
/// # Errors
/// When the crypto provider lacks a protocol version, which a working build does not.
pub fn opportunistic_connector() -> Result<TlsConnector, Error> {
    let provider = provider();
    let verifier = Verifier::of_certificates(&provider, Anybody);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Begins TLS on a connection to an address that has no name.
///
/// # Errors
/// The handshake's error.
pub async fn connect(
    connector: &TlsConnector,
    remote: SocketAddr,
    stream: TcpStream,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    connector.connect(ServerName::IpAddress(remote.ip().into()), stream).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> CertificateFiles {
        CertificateFiles { certificate: dir.join("cert.pem"), key: dir.join("key.pem") }
    }

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        ensure_self_signed(&files, "mx.example.org").unwrap();
        let first = std::fs::read(&files.certificate).unwrap();
        ensure_self_signed(&files, "mx.example.org").unwrap();
        assert_eq!(std::fs::read(&files.certificate).unwrap(), first);
        assert_eq!(std::fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
        let identity = ServerIdentity::load(&files).unwrap();
        identity.reload(&files).unwrap();
        // Under another name it is made anew, with the key that others may have pinned.
        let key = std::fs::read(&files.key).unwrap();
        ensure_self_signed(&files, "mail.example.org").unwrap();
        assert_ne!(std::fs::read(&files.certificate).unwrap(), first);
        assert_eq!(std::fs::read(&files.key).unwrap(), key);
        assert!(
            names(&files.certificate, "mail.example.org") && !names(&files.certificate, "mx.example.org")
        );
        identity.reload(&files).unwrap();
    }

    #[test]
    fn unusable_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        let error = ServerIdentity::load(&files).err().unwrap().to_string();
        assert!(error.contains("cert.pem"), "{error}");
        ensure_self_signed(&files, "mx.example.org").unwrap();
        std::fs::write(&files.key, "nothing").unwrap();
        let error = ServerIdentity::load(&files).err().unwrap().to_string();
        assert!(error.contains("key.pem") && error.contains("no PEM private key"), "{error}");
        std::fs::write(&files.certificate, "nothing").unwrap();
        let error = ServerIdentity::load(&files).err().unwrap().to_string();
        assert!(error.contains("cert.pem: it holds no PEM certificate"), "{error}");
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path());
        ensure_self_signed(&files, "mx.example.org").unwrap();
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        std::fs::write(&files.key, other.serialize_pem()).unwrap();
        let error = ServerIdentity::load(&files).err().unwrap().to_string();
        assert!(error.contains("does not fit"), "{error}");
    }
}
