//! Keys of domains, as they are published, and Debian's python3-dkim, which signs with them and verifies.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::process;

const PATIENCE: Duration = Duration::from_secs(60);
const SIGN: &str = include_str!("dkim_sign.py");

const VERIFY: &str = include_str!("dkim_verify.py");

/// What python3-dkim says of each signature of a message, from the top: `DOMAIN SELECTOR pass`, or why not. The
/// records are those of DNS: name and text.
#[must_use]
pub fn verify(message: &[u8], records: &[(String, String)]) -> Vec<String> {
    let mut python = process::command(None, "/usr/bin/python3");
    python.arg("-c").arg(VERIFY);
    python.args(records.iter().map(|(name, text)| format!("{name}={text}")));
    process::run_ok(python, message, PATIENCE).lines().map(str::to_owned).collect()
}

/// The kind of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA of so many bits.
    Rsa(u32),
    /// Ed25519 (RFC 8463).
    Ed25519,
}

/// A private key and what is published of it.
#[derive(Debug)]
pub struct DkimKey {
    kind: KeyKind,
    dir: TempDir,
}

impl DkimKey {
    /// A new one.
    ///
    /// # Panics
    /// When OpenSSL does not make it.
    #[must_use]
    pub fn new(kind: KeyKind) -> Self {
        let key = Self { kind, dir: tempfile::tempdir().expect("a directory") };
        std::fs::write(key.path("sign.py"), SIGN).expect("a file");
        match kind {
            KeyKind::Rsa(bits) => {
                key.openssl(&["genrsa", "-traditional", "-out", "key.pem", &bits.to_string()], b"");
            }
            KeyKind::Ed25519 => {
                key.openssl(&["genpkey", "-algorithm", "ed25519", "-out", "key.pem"], b"");
                let der = key.openssl(&["pkey", "-in", "key.pem", "-outform", "DER"], b"");
                std::fs::write(key.path("seed"), key.base64(last_32(&der))).expect("a file");
            }
        }
        key
    }

    /// The private key's file, as PEM.
    #[must_use]
    pub fn pem(&self) -> PathBuf {
        self.path("key.pem")
    }

    /// The record to publish.
    #[must_use]
    pub fn record(&self) -> String {
        let der = self.openssl(&["pkey", "-in", "key.pem", "-pubout", "-outform", "DER"], b"");
        match self.kind {
            KeyKind::Rsa(_) => format!("v=DKIM1; k=rsa; p={}", self.base64(&der)),
            KeyKind::Ed25519 => format!("v=DKIM1; k=ed25519; p={}", self.base64(last_32(&der))),
        }
    }

    /// The message with a signature above it that has these tags, each `NAME=VALUE`: at least `d=`, and others
    /// than the usual ones as they are. `l=` is true whatever it says.
    #[must_use]
    pub fn sign(&self, tags: &[&str], message: &[u8]) -> Vec<u8> {
        let (algorithm, key) = match self.kind {
            KeyKind::Rsa(_) => ("a=rsa-sha256", "key.pem"),
            KeyKind::Ed25519 => ("a=ed25519-sha256", "seed"),
        };
        let mut python = process::command(None, "/usr/bin/python3");
        python.arg(self.path("sign.py")).arg(self.path(key));
        // What comes later counts.
        python.args([algorithm, "s=sel", "c=relaxed/relaxed"]).args(tags);
        process::run_ok(python, message, PATIENCE).into_bytes()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn base64(&self, octets: &[u8]) -> String {
        String::from_utf8(self.openssl(&["base64", "-A"], octets)).expect("ASCII")
    }

    fn openssl(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut command = process::command(None, "openssl");
        command.current_dir(self.dir.path()).args(arguments);
        let output = process::run(command, input, PATIENCE);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments:?}: {said}");
        output.stdout
    }
}

/// The key within its DER: both halves of Ed25519 are 32 octets at the end (RFC 8410).
fn last_32(der: &[u8]) -> &[u8] {
    der.get(der.len().saturating_sub(32)..).unwrap_or_default()
}
