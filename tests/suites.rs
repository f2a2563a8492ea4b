//! Others' judgement: a public suite, and chains that another implementation sealed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use testkit::dkim::{DkimKey, KeyKind};
use testkit::dns::{NameServer, Record};
use testkit::{binary, process};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(300);

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn python(script: &str) -> std::process::Command {
    // Debian's own: the modules are its packages.
    let mut python = process::command(None, "/usr/bin/python3");
    python.arg(file(script));
    python
}

#[test]
fn every_case_of_the_public_spf_suite() {
    let _alone = alone();
    let mut suite = python("openspf/run.py");
    suite.arg(binary::postern()).arg(file("openspf/rfc7208-tests.yml"));
    let output = process::run(suite, b"", PATIENCE);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), "203 cases, 0 differ");
}

#[test]
fn chains_that_python3_dkim_sealed() {
    let _alone = alone();
    let key = DkimKey::new(KeyKind::Rsa(2048));
    let name_server = NameServer::start(&[("sel._domainkey.sealer.test", Record::Txt(key.record()))]);
    let mut seal = python("arc_chain.py");
    seal.arg(key.pem()).arg("3");
    let message = "From: ann@signed.test\r\nTo: bob@home.test\r\nSubject: chain\r\n\r\nhello\r\n";
    let chains = process::run_ok(seal, message.as_bytes(), PATIENCE);
    let chains: Vec<String> = serde_json::from_str(&chains).unwrap();
    assert_eq!(chains.len(), 3);

    let arc = |message: &str| {
        let mut check = process::command(None, binary::postern());
        check.args(["check", "message", "-", "--json", "--ip", "192.0.2.1", "--helo", "mail.test"]);
        check.args(["--mail-from", "", "--resolver", &name_server.address().to_string()]);
        let said: Value =
            serde_json::from_str(&process::run_ok(check, message.as_bytes(), PATIENCE)).unwrap();
        said["arc"]["result"].as_str().unwrap().to_owned()
    };
    for chain in &chains {
        assert_eq!(arc(chain), "pass", "{chain}");
    }
    let whole = &chains[2];
    let broken = [
        ("the body", whole.replacen("hello", "hullo", 1)),
        ("a signed field", whole.replacen("Subject: chain", "Subject: chained", 1)),
        ("what the second said", whole.replacen("i=2; host.sealer.test", "i=2; other.sealer.test", 1)),
        ("a number", whole.replacen("ARC-Seal: i=2", "ARC-Seal: i=4", 1)),
        ("a verdict", whole.replacen("cv=pass", "cv=none", 1)),
    ];
    for (what, message) in broken {
        assert_ne!(&message, whole, "{what} was to be changed");
        assert_eq!(arc(&message), "fail", "{what}: {message}");
    }
    assert_eq!(arc(message), "none");
}
