//! Rooms that one can see across: functions, files, and crates.

use std::collections::BTreeMap;

use super::finding::{Finding, Rule};
use super::functions::{self, Function};
use super::house::{File, House};

/// Lines of a function, from its signature to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Lines of a file.
const FILE_LINES_MAX: usize = 600;
/// Of all lines of Rust, in percent, how many one package may have.
const PACKAGE_PERCENT_MAX: usize = 16;

pub(crate) fn check(house: &House) -> Vec<Finding> {
    let mut findings = biggest(house);
    for file in &house.files {
        findings.extend(long_file(file));
        findings.extend(functions::of(file).iter().filter_map(|function| long_function(file, function)));
    }
    findings
}

fn long_file(file: &File) -> Option<Finding> {
    let lines = file.text.lines().count();
    (lines > FILE_LINES_MAX).then(|| Finding {
        rule: Rule::FileLines,
        key: file.path.clone(),
        amount: lines,
        path: file.path.clone(),
        line: FILE_LINES_MAX + 1,
        what: format!("{lines} lines; a file has {FILE_LINES_MAX} at most"),
    })
}

fn long_function(file: &File, function: &Function<'_>) -> Option<Finding> {
    let lines = function.end + 1 - function.line;
    (lines > FUNCTION_LINES_MAX).then(|| Finding {
        rule: Rule::FunctionLines,
        key: format!("{} {}", file.path, function.name),
        amount: lines,
        path: file.path.clone(),
        line: function.line,
        what: format!("'{}' has {lines} lines; a function has {FUNCTION_LINES_MAX} at most", function.name),
    })
}

/// Packages that hold too much of the house. Its fuzz targets have a workspace of their own and do not count.
fn biggest(house: &House) -> Vec<Finding> {
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for file in &house.files {
        if let Some(package) = house.package_of(&file.path) {
            *lines.entry(&package.folder).or_default() += file.text.lines().count();
        }
    }
    let all: usize = lines.values().sum();
    let too_big = lines.into_iter().filter(|(_, lines)| lines * 100 > all * PACKAGE_PERCENT_MAX);
    too_big.map(|(folder, lines)| {
        // Rounded up, so that what is above the limit reads so.
        let percent = (lines * 100).div_ceil(all);
        Finding {
            rule: Rule::Biggest,
            key: folder.to_owned(),
            amount: percent,
            path: format!("{folder}/Cargo.toml"),
            line: 1,
            what: format!("{lines} of {all} lines of Rust, {percent} %; a package has {PACKAGE_PERCENT_MAX} % at most"),
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::house::sketch;

    fn found(files: &[(&str, &str)], rule: Rule) -> Vec<(String, usize)> {
        let findings = check(&sketch::house(files)).into_iter().filter(|finding| finding.rule == rule);
        findings.map(|finding| (finding.key, finding.amount)).collect()
    }

    #[test]
    fn a_function_may_have_seventy_lines_and_not_one_more() {
        for (lines, expected) in [(70, vec![]), (71, vec![("crates/a/src/lib.rs f".to_owned(), 71)])] {
            let function = format!("/// Does.\n#[inline]\nfn f() {{\n{}}}\n", "g();\n".repeat(lines - 2));
            assert_eq!(found(&[("crates/a/src/lib.rs", &function)], Rule::FunctionLines), expected);
            let of_a_type = format!(
                "impl T for X {{\n{function}}}\ntrait T {{\n{function}}}\nmod m {{ impl &X {{ {function} }} }}"
            );
            let names = found(&[("crates/a/src/lib.rs", &of_a_type)], Rule::FunctionLines);
            let names: Vec<&str> = names.iter().map(|(name, _)| &name[20..]).collect();
            let owners = ["X::f", "T::f", "X::f"];
            assert_eq!(names, &owners[..3 * expected.len()]);
        }
    }

    #[test]
    fn a_file_may_have_six_hundred_lines_and_not_one_more() {
        for (lines, expected) in [(600, vec![]), (601, vec![("tests/a.rs".to_owned(), 601)])] {
            assert_eq!(found(&[("tests/a.rs", &"//\n".repeat(lines))], Rule::FileLines), expected);
        }
    }

    #[test]
    fn a_package_may_have_sixteen_in_a_hundred_lines_and_not_one_more() {
        for (lines, expected) in [([16, 14], vec![]), ([17, 13], vec![("crates/c0".to_owned(), 17)])] {
            let texts: Vec<(String, String)> = lines
                .into_iter()
                .chain([14; 5])
                .enumerate()
                .map(|(place, lines)| (format!("crates/c{place}/src/lib.rs"), "//\n".repeat(lines)))
                .collect();
            let files: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (&path[..], &text[..])).collect();
            assert_eq!(found(&files, Rule::Biggest), expected);
        }
    }
}
