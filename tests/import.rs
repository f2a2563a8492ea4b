//! `postern import-postfix` on Debian's own file and on a host's directory, whose home then pairs and has its aliases.

use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::imap::json;
use testkit::pair::{PASSWORD, code_in};
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
        "all@import.test info@import.test, ben@import.test\ninfo@import.test ann@import.test\n@import.test ben\n",
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
    let commands = text(&out.join("accounts.sh"));
    let users =
        commands.lines().filter_map(|line| line.strip_prefix("postern user add '")?.split('\'').next());
    let users: Vec<&str> = users.collect();
    assert_eq!(users, ["ann@import.test", "ben@import.test"]);
    for user in users {
        postern(&["user", "add", user, "--password-stdin"], &format!("{PASSWORD}\n"));
    }
    // The rest of the script, as it is: passwords are asked for at a terminal.
    let rest: Vec<&str> = commands.lines().filter(|line| !line.starts_with("postern user")).collect();
    let mut sh = process::command(None, "/bin/sh");
    let path = format!("{}:/usr/bin:/bin", binary::postern().parent().unwrap().display());
    sh.args(["-c", &rest.join("\n"), "accounts.sh"]).arg(&config).env("PATH", path);
    process::run_ok(sh, b"", PATIENCE);
    let aliases = json(&postern(&["alias", "list", "--json"], ""));
    assert_eq!(aliases.as_array().map(Vec::len), Some(3), "{aliases}");
}
