//! Which crate knows which: the table in ARCHITECTURE.md and the manifests say the same.
//!
//! A row of the table is `| `crate` | what it holds | `one`, `other` |`; the third cell names all members of the workspace
//! that the first has under `[dependencies]`, or says `nothing of ours`.

use std::collections::BTreeSet;

use super::finding::{Finding, Rule};
use super::house::{House, Package, Page};

const PAGE: &str = "ARCHITECTURE.md";
/// What the table's first line says.
const HEADER: &str = "| crate | holds | knows |";
const NOTHING: &str = "nothing of ours";

struct Row {
    line: usize,
    knows: BTreeSet<String>,
}

pub(crate) fn check(house: &House) -> Vec<Finding> {
    let Some(page) = house.page(PAGE) else {
        return vec![finding(PAGE, 1, "there is no such page".to_owned())];
    };
    let rows = match rows(page) {
        Ok(rows) => rows,
        Err(finding) => return vec![finding],
    };
    let mut findings = Vec::new();
    for (name, row) in &rows {
        match house.packages.iter().find(|package| package.name == *name) {
            Some(package) => findings.extend(differences(package, row)),
            None => findings.push(finding(name, row.line, format!("there is no crate '{name}'"))),
        }
    }
    for package in &house.packages {
        if !rows.iter().any(|(name, _)| *name == package.name) {
            let what = format!("the crate '{}' has no row in the table of crates", package.name);
            findings.push(finding(&package.name, 1, what));
        }
    }
    findings
}

/// What only one of both says.
fn differences(package: &Package, row: &Row) -> Vec<Finding> {
    let name = &package.name;
    let more = package.knows.difference(&row.knows).map(|other| {
        let what = format!("'{name}' depends on '{other}', and the table does not say so");
        finding(&format!("{name} -> {other}"), row.line, what)
    });
    let less = row.knows.difference(&package.knows).map(|other| {
        let what = format!("the table lets '{name}' know '{other}', but it does not depend on it");
        finding(&format!("{name} -> {other}"), row.line, what)
    });
    more.chain(less).collect()
}

/// The table's rows. A first cell may name several crates that know the same.
fn rows(page: &Page) -> Result<Vec<(String, Row)>, Finding> {
    let lines = page.text.lines().enumerate().map(|(index, text)| (index + 1, text));
    let table = lines.skip_while(|(_, text)| *text != HEADER).skip(2);
    let mut rows = Vec::new();
    for (line, text) in table.take_while(|(_, text)| text.starts_with('|')) {
        let cells: Vec<&str> = text.trim_matches('|').split('|').map(str::trim).collect();
        let [crates, _, knows] = cells[..] else {
            return Err(finding(PAGE, line, "a row of the table of crates has three cells".to_owned()));
        };
        let knows = if knows == NOTHING { Some(BTreeSet::new()) } else { names(knows) };
        let (Some(crates), Some(knows)) = (names(crates), knows) else {
            let what = format!("this names no crates: `one`, `other`, or '{NOTHING}'");
            return Err(finding(PAGE, line, what));
        };
        rows.extend(crates.into_iter().map(|name| (name, Row { line, knows: knows.clone() })));
    }
    if rows.is_empty() {
        return Err(finding(PAGE, 1, format!("no table begins with '{HEADER}'")));
    }
    Ok(rows)
}

/// The names of a cell, all in backquotes; `None` when anything else is in it.
fn names(cell: &str) -> Option<BTreeSet<String>> {
    let name = |word: &str| {
        let name = word.trim().strip_prefix('`')?.strip_suffix('`')?;
        (!name.is_empty()).then(|| name.to_owned())
    };
    cell.split(',').map(name).collect()
}

fn finding(key: &str, line: usize, what: String) -> Finding {
    Finding { rule: Rule::Arrow, key: key.to_owned(), amount: 1, path: PAGE.to_owned(), line, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::house::sketch;

    /// What is found when `a` depends on `b`, and `b` on nothing.
    fn found(table: &str) -> Vec<String> {
        let page = format!("# House\n\n{HEADER}\n|---|---|---|\n{table}\n\nText | `c` | x |\n");
        let mut house =
            sketch::house(&[("crates/a/src/lib.rs", ""), ("crates/b/src/lib.rs", ""), (PAGE, &page)]);
        house.packages[0].knows.insert("b".to_owned());
        check(&house).iter().map(|finding| format!("{} {}", finding.line, finding.what)).collect()
    }

    #[test]
    fn a_table_that_says_what_the_manifests_say_holds() {
        assert_eq!(found("| `a` | things | `b` |\n| `b` | more | nothing of ours |"), [""; 0]);
    }

    #[test]
    fn a_difference_is_found_either_way_and_a_row_too_many_or_too_few() {
        let both = found("| `a`, `b` | things | nothing of ours |");
        assert_eq!(both, ["5 'a' depends on 'b', and the table does not say so"]);
        let too_much = found("| `a` | things | `b` |\n| `b` | more | `a` |");
        assert_eq!(too_much, ["6 the table lets 'b' know 'a', but it does not depend on it"]);
        let unknown = found("| `a` | things | `b` |\n| `b`, `c` | more | nothing of ours |");
        assert_eq!(unknown, ["6 there is no crate 'c'"]);
        assert_eq!(found("| `a` | things | `b` |"), ["1 the crate 'b' has no row in the table of crates"]);
    }

    #[test]
    fn a_row_that_can_not_be_read_is_found() {
        for row in [
            "| `a` | things | all |",
            "| `a` | things |",
            "| a | things | `b` |",
            "| `a` | things | `b` and more |",
        ] {
            assert_eq!(found(row).len(), 1, "{row}");
            assert!(found(row)[0].starts_with("5 "), "{row}");
        }
        assert_eq!(found(""), [format!("1 no table begins with '{HEADER}'")]);
    }
}
