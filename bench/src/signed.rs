//! A message of 4 KiB as honest senders send it: signed with RSA-2048, with SPF and DMARC records behind it.
//!
//! openssl makes the key and python3-dkim signs: neither system under test has a hand in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use testkit::dns::Record;
use testkit::process;

const PATIENCE: Duration = Duration::from_secs(60);
const OCTETS: usize = 4096;
const SIGN: &str = "import sys, dkim
message = sys.stdin.buffer.read()
key = open(sys.argv[1], 'rb').read()
fields = [b'from', b'to', b'subject', b'date', b'message-id']
sys.stdout.buffer.write(dkim.sign(message, b'bench', b'remote.test', key,
    canonicalize=(b'relaxed', b'relaxed'), include_headers=fields) + message)
";

/// The message as a file for `smtp-source -F`, and the records that vouch for it.
pub(crate) struct SignedMessage {
    dir: TempDir,
    key_record: String,
}

impl SignedMessage {
    pub(crate) fn make() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let key = dir.path().join("key.pem");
        let mut openssl = process::command(None, "openssl");
        openssl.args(["genrsa", "-traditional", "-out"]).arg(&key).arg("2048");
        process::run_ok(openssl, b"", PATIENCE);
        let mut openssl = process::command(None, "openssl");
        openssl.args(["rsa", "-pubout", "-in"]).arg(&key);
        let pem = process::run_ok(openssl, b"", PATIENCE);
        let public: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let mut python = process::command(None, "/usr/bin/python3");
        python.args(["-c", SIGN]).arg(&key);
        let signed = process::run_ok(python, message().as_bytes(), PATIENCE);
        // smtp-source puts the carriage returns in itself.
        std::fs::write(dir.path().join("message"), signed.replace("\r\n", "\n")).expect("a file");
        Self { dir, key_record: format!("v=DKIM1; k=rsa; p={public}") }
    }

    pub(crate) fn file(&self) -> PathBuf {
        Path::join(self.dir.path(), "message")
    }

    pub(crate) fn records(&self) -> Vec<(&'static str, Record)> {
        vec![
            ("bench._domainkey.remote.test", Record::Txt(self.key_record.clone())),
            ("_dmarc.remote.test", Record::Txt("v=DMARC1; p=reject".to_owned())),
            ("remote.test", Record::Txt("v=spf1 ip4:127.0.0.1 -all".to_owned())),
        ]
    }
}

fn message() -> String {
    let head = "From: A <a@remote.test>\r\nTo: bob@example.org\r\nSubject: signed\r\n\
        Date: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <bench@remote.test>\r\n\r\n";
    let line = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqr\r\n";
    // The signature takes some 600 octets.
    let lines = (OCTETS - 600 - head.len()) / line.len();
    format!("{head}{}", line.repeat(lines))
}
