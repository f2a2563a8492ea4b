//! `postern import-postfix` on Debian's own file and on a host's directory, whose home then pairs and has its aliases.

use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::imap::json;
use testkit::pair::{PASSWORD, code_in};
use testkit::random::Random;
use testkit::{Pair, binary, process};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(60);
/// From the package postfix.
const STOCK: &str = "/usr/share/postfix/main.cf.debian";

fn import(dir: &Path) -> PathBuf {
    let out = dir.join("out");
    let mut command = process::command(None, binary::postern());
    command.arg("import-postfix").arg(dir).arg("--out").arg(&out);
    process::run_ok(command, b"", PATIENCE);
    out
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn debians_stock_file_is_understood_whole() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(STOCK, dir.path().join("main.cf")).unwrap();
    let report = text(&import(dir.path()).join("report.txt"));
    assert!(!report.contains("Not known") && report.contains("no domain was found"), "{report}");
}

#[test]
fn an_imported_home_pairs_and_has_the_accounts_and_aliases() {
    let _alone = alone();
    let pair = Pair::start();
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "main.cf",
        "mydestination = localhost\nvirtual_mailbox_domains = import.test\n\
         virtual_mailbox_maps = hash:/etc/postfix/vmailbox\nvirtual_alias_maps = hash:/etc/postfix/virtual\n\
         message_size_limit = 20000000\n",
    );
    write("vmailbox", "ann@import.test x\nben@import.test x\n");
    write(
        "virtual",
        "all@import.test info@import.test, ben@import.test, aunt@far.test\ninfo@import.test ann@import.test\n@import.test ben@import.test\n",
    );
    let out = import(dir.path());
    let config = out.join("home.toml");
    let data = dir.path().join("data").display().to_string();
    // A data directory of the test's own, and no port that others use.
    let listen = "[listen]\nsubmission = []\nimap = []\n";
    std::fs::write(&config, format!("data = {data:?}\n{}\n{listen}", text(&config))).unwrap();

    let printed = pair.edge.command_ok(&["edge", "pair"], "");
    let code = &code_in(&printed);
    let postern = |arguments: &[&str], input: &str| {
        let mut command = process::command(None, binary::postern());
        command.args(arguments).arg("--config").arg(&config);
        process::run_ok(command, input.as_bytes(), PATIENCE)
    };
    let paired = [&["home", "pair", code], testkit::pair::as_user()].concat();
    assert!(postern(&paired, "").contains("Paired"));
    let script = |error: bool| {
        let path = format!("{}:/usr/bin:/bin", binary::postern().parent().unwrap().display());
        let mut sh = process::command(None, "/usr/bin/setsid");
        // Without a terminal: nobody can be asked for a password.
        sh.args(["--wait", "/bin/sh"]).arg(out.join("accounts.sh")).arg(&config).env("PATH", path);
        let output = process::run(sh, b"", PATIENCE);
        assert_eq!(output.status.success(), !error, "{output:?}");
        String::from_utf8_lossy(if error { &output.stderr } else { &output.stdout }).into_owned()
    };
    let stopped = script(true);
    assert!(
        stopped.contains("no terminal to ask for a password at")
            && stopped.contains("Stopped at step 1 of 5"),
        "{stopped}"
    );
    postern(&["user", "add", "ann@import.test", "--password-stdin"], &format!("{PASSWORD}\n"));
    let stopped = script(true);
    assert!(
        stopped.contains("Stopped at step 2 of 5: postern user add")
            && stopped.contains("-- ben@import.test"),
        "{stopped}"
    );
    postern(&["user", "add", "ben@import.test", "--password-stdin"], &format!("{PASSWORD}\n"));
    for run in ["the first time", "again"] {
        let done = script(false);
        assert!(done.contains("5 of 5: postern alias add"), "{run}: {done}");
    }
    let aliases = json(&postern(&["alias", "list", "--json"], ""));
    assert_eq!(aliases.as_array().map(Vec::len), Some(3), "{aliases}");
    let all = &aliases[1];
    assert_eq!(all["alias"], "all@import.test", "{aliases}");
    assert_eq!(all["not_reached_until_outbound_is_on"], serde_json::json!(["aunt@far.test"]), "{aliases}");
}

/// Values of a main.cf, made of everything that postconf(5) says may stand in one.
struct Values(Random);

impl Values {
    const NAMES: [&str; 8] = [
        "myhostname",
        "mydomain",
        "one",
        "two",
        "three",
        "never_set",
        "queue_directory",
        "compatibility_level",
    ];

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.below(end as u64)).unwrap()
    }

    fn pick(&mut self, choices: &[&str]) -> String {
        let place = self.below(choices.len());
        choices[place].to_owned()
    }

    fn name(&mut self) -> String {
        self.pick(&Self::NAMES)
    }

    fn text(&mut self, depth: usize) -> String {
        let parts = 1 + self.below(3);
        let parts: Vec<String> = (0..parts).map(|_| self.part(depth)).collect();
        parts.join(&self.pick(&["", " ", ", "]))
    }

    fn part(&mut self, depth: usize) -> String {
        let plain = self.pick(&[
            "a",
            "b.example",
            "hash:/etc/x",
            "10",
            "9",
            "$$",
            "x y",
            "[192.0.2.1]:25",
            "=",
            "a:b?c",
        ]);
        if depth == 0 {
            return plain;
        }
        let name = self.name();
        match self.below(12) {
            0..3 => plain,
            3 => format!("${name}"),
            4 => format!("${{{name}}}"),
            5 => format!("$({name})"),
            6 => format!("${{{name}?{}}}", self.text(depth - 1)),
            7 => format!("${{{name}:{}}}", self.text(depth - 1)),
            8 => format!("${{{name}?{{{}}}:{{{}}}}}", self.text(depth - 1), self.text(depth - 1)),
            9 => format!("${{ {name} ? {{{}}} }}", self.text(depth - 1)),
            10 => format!("${{{name}: {{ {} }}}}", self.text(depth - 1)),
            _ => {
                let operator = self.pick(&["==", "!=", "<", "<=", ">", ">=", "<level", ">=level"]);
                let (left, right) = if operator.ends_with("level") {
                    ("$compatibility_level".to_owned(), self.pick(&["1", "3.6", "3.10"]))
                } else {
                    (self.text(0), self.text(0))
                };
                format!(
                    "${{{{{left}}} {operator} {{{right}}} ? {{{}}} : {{{}}}}}",
                    self.text(depth - 1),
                    self.text(depth - 1)
                )
            }
        }
    }

    fn main_cf(&mut self) -> String {
        let mut text = format!("compatibility_level = {}\n", self.pick(&["0", "2", "3.6", "3.10"]));
        text.push_str("myhostname = mail.example.org\n");
        for name in ["one", "two"] {
            text.push_str(&format!("{name} = {}\n", self.text(0)));
        }
        text.push_str(&format!("three = {}\n", self.pick(&["", "$one", "${two}x", "$never_set"])));
        for name in [
            "mydestination",
            "virtual_mailbox_domains",
            "relay_domains",
            "virtual_alias_maps",
            "myorigin",
            "relayhost",
            "mynetworks",
            "smtpd_recipient_restrictions",
            "transport_maps",
            "alias_maps",
            "delay_warning_time",
            "local_recipient_maps",
            "local_transport",
            "mailbox_transport",
            "maximal_queue_lifetime",
            "message_size_limit",
            "milter_default_action",
            "recipient_delimiter",
            "relay_recipient_maps",
            "relay_transport",
            "smtp_sasl_auth_enable",
            "smtp_sasl_password_maps",
            "smtp_tls_CAfile",
            "smtp_tls_cert_file",
            "smtp_tls_key_file",
            "smtp_tls_security_level",
            "smtp_tls_wrappermode",
            "smtpd_milters",
            "smtpd_tls_cert_file",
            "smtpd_tls_key_file",
            "virtual_alias_domains",
            "virtual_mailbox_maps",
            "virtual_transport",
        ] {
            if self.below(3) > 0 {
                let value = self
                    .text(2)
                    .replace(' ', self.pick(&[" ", "\n  ", "\n# a comment\n\t", " \n "]).as_str());
                text.push_str(&format!("{name} = {value}\n"));
            }
        }
        text
    }
}

/// The values that a report names.
fn values_read(report: &str) -> Vec<(&str, &str)> {
    let (_, rest) = report.split_once("as 'postconf -x' shows them\n").unwrap();
    let lines = rest.lines().take_while(|line| !line.is_empty());
    lines
        .map(|line| line.trim().split_once(" =").unwrap())
        .map(|(name, value)| (name, value.trim()))
        .collect()
}

fn postconf(dir: &Path) -> std::collections::HashMap<String, String> {
    let mut command = process::command(None, "/usr/sbin/postconf");
    command.arg("-c").arg(dir).arg("-x");
    let output = process::run(command, b"", PATIENCE);
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    let pairs = shown.lines().filter_map(|line| line.split_once(" ="));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

#[test]
fn every_value_that_is_read_is_what_postconf_shows() {
    let mut values = Values(Random::new(14));
    let mut compared = 0;
    for round in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        let main = values.main_cf();
        std::fs::write(dir.path().join("main.cf"), &main).unwrap();
        std::fs::write(dir.path().join("master.cf"), "").unwrap();
        let shown = postconf(dir.path());
        let report = text(&import(dir.path()).join("report.txt"));
        for (name, value) in values_read(&report) {
            let Some(expected) = shown.get(name) else { continue };
            let expected = expected.replace(&dir.path().display().to_string(), "/etc/postfix");
            // postconf shows each run of blanks as one.
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(words(value), words(&expected), "round {round}: {name}\n\n{main}");
            compared += 1;
        }
    }
    assert!(compared > 60 * 15, "{compared}");
}
