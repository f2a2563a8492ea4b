//! Facts of the build: what is below a crate when it is built, by `cargo tree`, and who may name a library. A new crate
//! that makes a promise gets its row here.

use super::finding::{Finding, Rule};
use super::house::{House, Package};

/// Crates of words and protocols: no file, no socket, no clock, no runtime, no thread.
pub(crate) const PROTOCOLS: [&str; 8] =
    ["imap", "link", "mail", "mailauth", "mailbox", "milter", "smtp", "tlspolicy"];

/// Crates whose sources do not have to be looked at to see that they reach the world.
const WORLDLY: [&str; 9] =
    ["age", "hickory-resolver", "mio", "quinn", "rusqlite", "rustix", "rustls", "socket2", "tokio"];

/// Of a crate, what is not below it, however far down, and why.
const WITHOUT: &[(&str, &[&str], &str)] = &[
    (
        "edge",
        &[
            "argon2",
            "directory",
            "home",
            "imap",
            "libsqlite3-sys",
            "milter",
            "outbound",
            "rusqlite",
            "store",
            "store-sqlite",
        ],
        "a public host has no mailboxes, passwords or filters (ADR 2)",
    ),
    (
        "directory",
        &["edge", "home", "imap", "rusqlite", "store-sqlite"],
        "people are looked up in a table, not in SQL",
    ),
    ("home", &["edge"], "each is of use without the other"),
    (
        "outbound",
        &["edge", "home", "rusqlite", "store", "store-sqlite"],
        "the dispatcher has ports in their place",
    ),
    ("spool", &["libsqlite3-sys", "tokio"], "segments are plain files, and threads write them"),
    ("content", &["libsqlite3-sys", "rusqlite", "rustls"], "octets have no place of their own"),
    ("store", &["tokio", "rustls", "rusqlite"], "the seam names nobody behind it"),
    ("store-sqlite", &["tokio", "rustls"], "mailboxes never see a socket"),
    ("daemon", &["rusqlite", "store", "spool", "age", "argon2"], "a process is no role"),
];

/// Who alone has a library among its dependencies.
const ONLY: &[(&str, &[&str])] = &[
    ("age", &["seal"]),
    ("argon2", &["directory"]),
    ("dialoguer", &["postern"]),
    ("hickory-resolver", &["net"]),
    ("quinn", &["net"]),
    ("ratatui", &["postern"]),
    ("rusqlite", &["store-sqlite"]),
    ("rustls", &["net"]),
    ("sd-notify", &["daemon"]),
];

pub(crate) fn check(house: &House) -> Vec<Finding> {
    let protocols = PROTOCOLS.iter().map(|name| (*name, &WORLDLY[..], "a protocol does no I/O"));
    let without = WITHOUT.iter().copied().chain(protocols);
    let mut findings: Vec<Finding> =
        without.flat_map(|(name, others, why)| below(house, name, others, why)).collect();
    for package in house.packages.iter().filter(|package| package.is_of_the_program()) {
        findings.extend(ONLY.iter().filter_map(|(library, owners)| named(package, library, owners)));
    }
    findings
}

/// What a crate has below it and may not.
fn below(house: &House, name: &str, others: &[&str], why: &str) -> Vec<Finding> {
    let Some(package) = house.packages.iter().find(|package| package.name == name) else {
        let what = format!("there is no crate '{name}', of which this file promises something");
        return vec![finding(name.to_owned(), "xtask/src/tidy/builds.rs", what)];
    };
    let reached = others.iter().filter(|other| package.reaches.contains(**other));
    let finding = |other: &&str| {
        let what = format!("'{name}' builds '{other}': cargo tree -p {name} -e normal -i {other}; {why}");
        finding(format!("{name} => {other}"), &manifest(package), what)
    };
    reached.map(finding).collect()
}

/// A library that the package names and another owns.
fn named(package: &Package, library: &str, owners: &[&str]) -> Option<Finding> {
    let name = &package.name;
    let may = owners.contains(&name.as_str());
    (!may && package.libraries.contains(library)).then(|| {
        let what = format!("'{name}' names '{library}', which only {} does", owners.join(", "));
        finding(format!("{name} = {library}"), &manifest(package), what)
    })
}

fn manifest(package: &Package) -> String {
    format!("{}/Cargo.toml", package.folder)
}

fn finding(key: String, path: &str, what: String) -> Finding {
    Finding { rule: Rule::Build, key, amount: 1, path: path.to_owned(), line: 1, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::house::sketch;

    /// A house with every crate of which something is promised, in order but for what `change` does to one.
    fn found<T>(of: &str, change: fn(&mut Package) -> T) -> Vec<String> {
        let promised = WITHOUT.iter().map(|(name, ..)| *name).chain(PROTOCOLS).chain(["postern"]);
        let paths: Vec<String> = promised.map(|name| format!("crates/{name}/src/lib.rs")).collect();
        let files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "")).collect();
        let mut house = sketch::house(&files);
        house
            .packages
            .iter_mut()
            .filter(|package| package.name == of)
            .for_each(|package| drop(change(package)));
        check(&house).into_iter().map(|finding| finding.key).collect()
    }

    #[test]
    fn what_a_crate_must_not_build_is_found_however_deep() {
        assert_eq!(found("", |_| ()), [""; 0]);
        assert_eq!(found("edge", |edge| edge.reaches.insert("argon2".to_owned())), ["edge => argon2"]);
        assert_eq!(found("imap", |imap| imap.reaches.insert("tokio".to_owned())), ["imap => tokio"]);
        assert_eq!(found("postern", |postern| postern.reaches.insert("tokio".to_owned())), [""; 0]);
    }

    #[test]
    fn a_library_that_another_crate_owns_is_found_and_so_is_a_promise_of_no_crate() {
        let name = |package: &mut Package| package.libraries.insert("rusqlite".to_owned());
        assert_eq!(found("postern", name), ["postern = rusqlite"]);
        assert_eq!(found("store-sqlite", name), [""; 0]);
        assert_eq!(found("smtp", |smtp| "smpt".clone_into(&mut smtp.name)), ["smtp"]);
    }
}
