//! Time is a value: only the crate `daemon` asks the machine what time it is. tokio's own `Instant` is let pass, since a
//! test can stop and set that clock.

use std::collections::BTreeMap;

use super::finding::{Finding, Rule};
use super::house::{House, Package};
use super::modules::Modules;
use super::uses::{self, Kind};

/// The crate that has the clock.
const OWNER: &str = "daemon";

pub(crate) fn check(house: &House) -> Vec<Finding> {
    let packages =
        house.packages.iter().filter(|package| package.is_of_the_program() && package.name != OWNER);
    packages.flat_map(|package| of_a_package(house, package)).collect()
}

fn of_a_package(house: &House, package: &Package) -> Vec<Finding> {
    let mut readings: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for root in &package.roots {
        let modules = Modules::of(house, root);
        for used in uses::of(&modules).into_iter().filter(|used| used.kind == Kind::Code) {
            if reads_a_clock(&modules.whole(used.module, &used.path)) {
                readings.entry(modules.all[used.module].file).or_default().push(used.line);
            }
        }
    }
    let finding = |(file, lines): (usize, Vec<usize>)| {
        let path = house.files[file].path.clone();
        let all: Vec<String> = lines.iter().map(usize::to_string).collect();
        Finding {
            rule: Rule::Clock,
            key: path.clone(),
            amount: lines.len(),
            path,
            line: lines[0],
            what: format!("the machine's clock is read outside of '{OWNER}', in line {}", all.join(", ")),
        }
    };
    readings.into_iter().map(finding).collect()
}

/// `system::now`, `SystemTime::now`, `Instant::now`, and whatever else is called so.
fn reads_a_clock(path: &[String]) -> bool {
    let [first, .., last] = path else { return false };
    last == "now" && first != "tokio" && first != "Self" && first != "self"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::house::sketch;

    #[test]
    fn readings_of_the_clock_are_counted_but_not_tokios_nor_those_of_tests_nor_of_the_owner() {
        let text = "
            use std::time::Instant; use crate::system; use other::time::now as clock; mod b;
            fn f() { Instant::now(); std::time::SystemTime::now(); }
            fn g() { later(system::now); println!(\"{}\", crate::system::now()); clock() }
            #[cfg(test)] mod tests { fn f() { Instant::now(); } }
        ";
        let tokios = "use tokio::time::Instant; fn f(now: u8) { Instant::now(); Self::now(); now; }";
        let house = sketch::house(&[
            ("crates/a/src/lib.rs", text),
            ("crates/a/src/b.rs", tokios),
            ("crates/daemon/src/lib.rs", "fn f() { std::time::Instant::now(); }"),
        ]);
        let found = check(&house);
        let found: Vec<(&str, usize)> =
            found.iter().map(|finding| (&finding.key[..], finding.amount)).collect();
        assert_eq!(found, [("crates/a/src/lib.rs", 5)]);
    }
}
