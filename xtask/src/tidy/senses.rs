//! Protocol crates have no senses: their sources name no file, no socket, no process, no thread. Addresses are words, and pass.
//! (The clock is looked for everywhere: `clock.rs`.)

use super::builds::PROTOCOLS;
use super::finding::{Finding, Rule};
use super::house::House;
use super::modules::Modules;
use super::uses;

/// Modules of the standard library through which a program reaches the world.
const WORLD: [&str; 6] = ["env", "fs", "os", "process", "thread", "net"];
/// Begins of names in `std::net` that are words only.
const ADDRESSES: [&str; 5] = ["AddrParseError", "IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr"];

pub(crate) fn check(house: &House) -> Vec<Finding> {
    let protocols = house.packages.iter().filter(|package| PROTOCOLS.contains(&package.name.as_str()));
    let mut findings: Vec<Finding> = Vec::new();
    for root in protocols.flat_map(|package| &package.roots) {
        let modules = Modules::of(house, root);
        for used in uses::of(&modules) {
            let path = modules.whole(used.module, &used.path);
            let file = &house.files[modules.all[used.module].file].path;
            let Some(sense) = sense(&path) else { continue };
            let key = format!("{file} {sense}");
            if !findings.iter().any(|finding| finding.key == key) {
                let what = format!("a protocol does no I/O, and this names {sense}");
                findings.push(Finding {
                    rule: Rule::Senses,
                    key,
                    amount: 1,
                    path: file.clone(),
                    line: used.line,
                    what,
                });
            }
        }
    }
    findings
}

/// What of the world a path names.
fn sense(path: &[String]) -> Option<String> {
    let [first, module, rest @ ..] = path else { return None };
    if first != "std" || !WORLD.contains(&module.as_str()) {
        return None;
    }
    match rest {
        // `use std::net;` alone: what it is used for is looked at where it is.
        [] if module == "net" => None,
        [name, ..] if module == "net" && ADDRESSES.iter().any(|word| name.starts_with(word)) => None,
        _ => Some(format!("std::{module}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::house::sketch;

    #[test]
    fn a_protocol_that_names_files_sockets_or_processes_is_found_and_addresses_pass() {
        let text = "
            use std::net::{IpAddr, SocketAddrV4}; use std::{fs, net};
            fn f(_: net::Ipv4Addr) { net::TcpStream::connect(x) }
            fn g() { std::process::exit(1) }
            #[cfg(test)] mod tests { use std::env; }
        ";
        let house = sketch::house(&[("crates/smtp/src/lib.rs", text), ("crates/net/src/lib.rs", text)]);
        let keys: Vec<String> = check(&house).into_iter().map(|finding| finding.key).collect();
        let senses = ["std::fs", "std::net", "std::process"];
        assert_eq!(keys, senses.map(|sense| format!("crates/smtp/src/lib.rs {sense}")));
    }
}
