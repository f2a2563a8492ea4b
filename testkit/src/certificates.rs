//! A certification authority for tests, and a web server that has one of its certificates.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{self, Process};
use crate::{ports, until};

const PATIENCE: Duration = Duration::from_secs(60);
const POLICY_SERVER: &str = include_str!("policy_server.py");
/// An elliptic curve that everybody knows.
const CURVE: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

/// An authority that nobody knows, and its files.
#[derive(Debug)]
pub struct Authority {
    dir: TempDir,
}

/// A certificate and its key, as files in PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate, and the authority's.
    pub chain: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When `openssl` fails.
    #[must_use]
    pub fn new() -> Self {
        let dir = crate::leavings::dir("authority");
        let authority = Self { dir };
        let mut command = process::command(None, "openssl");
        command.args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=Authority"]).args(CURVE);
        command.args(["-addext", "keyUsage=critical,keyCertSign"]);
        command.arg("-keyout").arg(authority.path("authority.key")).arg("-out").arg(authority.root());
        process::run_ok(command, b"", PATIENCE);
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The file with its own certificate, which it signed itself.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.path("authority.pem")
    }

    /// Its public key in DER, as hexadecimal digits.
    ///
    /// # Panics
    /// When `openssl` fails.
    #[must_use]
    pub fn key(&self) -> String {
        let mut command = process::command(None, "openssl");
        command.args(["pkey", "-pubout", "-outform", "DER", "-in"]).arg(self.path("authority.key"));
        let key = process::run(command, b"", PATIENCE).stdout;
        key.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// A certificate for these names.
    ///
    /// # Panics
    /// When `openssl` fails.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Certificate {
        let (request, leaf) = (self.path("request.pem"), self.path("leaf.pem"));
        let certificate = Certificate {
            chain: self.path(&format!("{}.pem", names[0])),
            key: self.path(&format!("{}.key", names[0])),
        };
        let mut command = process::command(None, "openssl");
        command.args(["req", "-new", "-nodes", "-subj", "/CN=host"]).args(CURVE);
        command.arg("-keyout").arg(&certificate.key).arg("-out").arg(&request);
        process::run_ok(command, b"", PATIENCE);
        let alternative = names.iter().map(|name| format!("DNS:{name}")).collect::<Vec<_>>().join(",");
        let extensions = self.path("extensions");
        std::fs::write(&extensions, format!("subjectAltName={alternative}\n")).expect("a file");
        let mut command = process::command(None, "openssl");
        command.args(["x509", "-req", "-days", "2", "-CAcreateserial"]);
        command.arg("-in").arg(&request).arg("-CA").arg(self.root()).arg("-CAkey");
        command.arg(self.path("authority.key")).arg("-extfile").arg(extensions).arg("-out").arg(&leaf);
        process::run_ok(command, b"", PATIENCE);
        let chain = [&leaf, &self.root()].map(|path| std::fs::read(path).expect("a certificate")).concat();
        std::fs::write(&certificate.chain, chain).expect("a file");
        certificate
    }
}

impl Certificate {
    /// The same without the authority's.
    ///
    /// # Panics
    /// When the file can't be read or written.
    #[must_use]
    pub fn alone(self) -> Self {
        let chain = std::fs::read_to_string(&self.chain).expect("a certificate");
        let end = "-----END CERTIFICATE-----\n";
        let (leaf, _) = chain.split_once(end).expect("a certificate in PEM");
        std::fs::write(&self.chain, format!("{leaf}{end}")).expect("a file");
        self
    }

    /// The data of a TLSA record that vouches for its key: `3 1 1` and a digest.
    ///
    /// # Panics
    /// When `openssl` fails.
    #[must_use]
    pub fn tlsa(&self) -> String {
        let mut command = process::command(None, "openssl");
        command.args(["pkey", "-pubout", "-outform", "DER", "-in"]).arg(&self.key);
        let key = process::run(command, b"", PATIENCE).stdout;
        let mut command = process::command(None, "openssl");
        command.args(["dgst", "-sha256", "-r"]);
        let printed = process::run_ok(command, &key, PATIENCE);
        format!("3 1 1 {}", printed.split_whitespace().next().expect("a digest"))
    }
}

impl Certificate {
    /// Its SHA-256, as `openssl` prints it.
    ///
    /// # Panics
    /// When `openssl` fails.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut command = process::command(None, "openssl");
        command.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&self.chain);
        let printed = process::run_ok(command, b"", PATIENCE);
        printed.trim().split_once('=').expect("a fingerprint").1.to_owned()
    }
}

/// A web server with MTA-STS policies, which takes what is posted. It ends when it is dropped.
#[derive(Debug)]
pub struct PolicyServer {
    process: Process,
    address: SocketAddr,
    dir: TempDir,
}

impl PolicyServer {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(certificate: &Certificate) -> Self {
        let dir = crate::leavings::dir("policies");
        let address = ports::free();
        let mut python = process::command(None, "/usr/bin/python3");
        python.args(["-c", POLICY_SERVER, &address.ip().to_string(), &address.port().to_string()]);
        python.arg(&certificate.chain).arg(&certificate.key).arg(dir.path().join("hosts"));
        std::fs::create_dir(dir.path().join("hosts")).expect("a directory");
        let log = dir.path().join("log");
        let process = Process::start(python, &log);
        let server = Self { process, address, dir };
        until("the web server is there", PATIENCE, || server.log().contains("ready").then_some(()));
        server
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a host is to give as its policy.
    ///
    /// # Panics
    /// When the file can't be written.
    pub fn publish(&self, host: &str, policy: &str) {
        std::fs::write(self.dir.path().join("hosts").join(host), policy).expect("a file");
    }

    /// What was posted to it, in the order it came.
    ///
    /// # Panics
    /// When a file can't be read.
    #[must_use]
    pub fn posted(&self) -> Vec<Vec<u8>> {
        let entries = std::fs::read_dir(self.dir.path().join("hosts")).expect("a directory");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.retain(|path| {
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"posted-"))
        });
        paths.sort();
        paths.iter().map(|path| std::fs::read(path).expect("a file")).collect()
    }

    /// The log of the requests that it got.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}
