//! Another implementation that signs.

use std::path::PathBuf;
use std::time::Duration;

use testkit::process;

const PATIENCE: Duration = Duration::from_secs(60);
const SIGNER: &str = include_str!("dkim_sign.py");

/// A domain's key, and how Debian's python3-dkim signs with it.
pub(crate) struct Signer {
    dir: tempfile::TempDir,
}

impl Signer {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("sign.py"), SIGNER).unwrap();
        let key = dir.path().join("rsa.pem");
        let mut openssl = process::command(None, "openssl");
        openssl.args(["genrsa", "-traditional", "-out"]).arg(&key).arg("2048");
        process::run_ok(openssl, b"", PATIENCE);
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The key's record.
    pub(crate) fn record(&self) -> String {
        let mut openssl = process::command(None, "openssl");
        openssl.args(["rsa", "-pubout", "-in"]).arg(self.path("rsa.pem"));
        let pem = process::run_ok(openssl, b"", PATIENCE);
        let key: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        format!("v=DKIM1; k=rsa; p={key}")
    }

    pub(crate) fn sign(&self, domain: &str, forms: &str, message: &str) -> Vec<u8> {
        let mut python = process::command(None, "/usr/bin/python3");
        python
            .arg(self.path("sign.py"))
            .args([domain, "sel"])
            .arg(self.path("rsa.pem"))
            .args(["rsa-sha256", forms]);
        process::run_ok(python, message.as_bytes(), PATIENCE).into_bytes()
    }
}
