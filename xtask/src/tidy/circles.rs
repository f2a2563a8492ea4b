//! No circle of files: whoever reads one file from the ground up never comes back to it. A file that names what
//! another file defines draws an arrow to it, wherever the name was re-exported; `mod x;` alone, or the name of a module,
//! draws none. What a method call leads to is not seen.
//!
//! There are two kinds. A circle among neighbours ties rooms together that have nothing to do with each other. In a family, it is
//! closed only by what a child takes from the module that it lies in: one room with inner walls, and still one that can't be read
//! from the ground up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::finding::{Finding, Rule};
use super::house::{House, is_below};
use super::modules::{Modules, Target};
use super::uses::{self, Kind};

/// The uses of one file by another, by their indices.
type Arrows = BTreeMap<(usize, usize), Used>;

/// What one file takes of another.
#[derive(Clone)]
struct Used {
    /// The line of the first use.
    line: usize,
    names: BTreeSet<String>,
}

pub(crate) fn check(house: &House) -> Vec<Finding> {
    let roots = house.packages.iter().flat_map(|package| &package.roots);
    roots.flat_map(|root| of_a_crate(house, root)).collect()
}

fn of_a_crate(house: &House, root: &str) -> Vec<Finding> {
    let arrows = arrows(&Modules::of(house, root));
    let path = |file: usize| house.files[file].path.as_str();
    let is_to_the_parent = |from: usize, to: usize| is_inside(path(from), path(to));
    let mut others = arrows.clone();
    others.retain(|(from, to), _| !is_to_the_parent(*from, *to));
    let circles = circles(&others);
    let mut findings = Vec::new();
    for (&(from, to), used) in &arrows {
        if circles.iter().any(|circle| circle.contains(&from) && circle.contains(&to)) {
            let back = way(&others, to, from).or_else(|| way(&arrows, to, from));
            findings.extend(back.map(|back| finding(house, Rule::Circle, (from, to), used, &back)));
        } else if is_to_the_parent(from, to)
            && let Some(back) = way(&arrows, to, from)
        {
            findings.push(finding(house, Rule::Family, (from, to), used, &back));
        }
    }
    findings
}

fn finding(house: &House, rule: Rule, (from, to): (usize, usize), used: &Used, back: &[usize]) -> Finding {
    let path = |file: usize| house.files[file].path.clone();
    let back: Vec<String> = back.iter().map(|file| path(*file)).collect();
    let names: Vec<&str> = used.names.iter().map(String::as_str).collect();
    Finding {
        rule,
        key: format!("{} -> {}", path(from), path(to)),
        amount: 1,
        path: path(from),
        line: used.line,
        what: format!(
            "takes {} from {}, which leads back: {}",
            names.join(", "),
            path(to),
            back.join(" -> ")
        ),
    }
}

/// Whether a file's module lies inside that of another.
fn is_inside(file: &str, other: &str) -> bool {
    let other = other.strip_suffix("/lib.rs").or_else(|| other.strip_suffix("/main.rs")).unwrap_or(other);
    file != other && is_below(file, other.strip_suffix(".rs").unwrap_or(other))
}

/// Which file names what of which.
fn arrows(modules: &Modules<'_>) -> Arrows {
    let mut arrows = Arrows::new();
    for used in uses::of(modules) {
        let from = modules.all[used.module].file;
        let to = match modules.resolve(used.module, &used.path) {
            Some(Target::Item(file)) => file,
            // All its names at once.
            Some(Target::Module(module)) if used.kind == Kind::Glob => modules.all[module].file,
            _ => continue,
        };
        if from == to {
            continue;
        }
        let arrow = arrows.entry((from, to)).or_insert(Used { line: used.line, names: BTreeSet::new() });
        arrow.line = used.line.min(arrow.line);
        arrow.names.insert(used.path.join("::"));
    }
    arrows
}

/// The files that lead to each other, two and more together.
fn circles(arrows: &Arrows) -> Vec<BTreeSet<usize>> {
    let files: BTreeSet<usize> = arrows.keys().flat_map(|(from, to)| [*from, *to]).collect();
    let reach: BTreeMap<usize, BTreeSet<usize>> =
        files.iter().map(|file| (*file, reached(arrows, *file))).collect();
    let mut circles: Vec<BTreeSet<usize>> = Vec::new();
    for file in files {
        let circle: BTreeSet<usize> =
            reach[&file].iter().copied().filter(|other| reach[other].contains(&file)).collect();
        if circle.len() > 1 && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

/// What arrows lead to from a file, however far.
fn reached(arrows: &Arrows, from: usize) -> BTreeSet<usize> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        let to = arrows.range((file, 0)..=(file, usize::MAX)).map(|((_, to), _)| *to);
        next.extend(to.filter(|to| reached.insert(*to)));
    }
    reached
}

/// A shortest way from one file to another.
fn way(arrows: &Arrows, from: usize, to: usize) -> Option<Vec<usize>> {
    let mut ways = VecDeque::from([vec![from]]);
    let mut seen = BTreeSet::from([from]);
    while let Some(way) = ways.pop_front() {
        let last = way[way.len() - 1];
        if last == to {
            return Some(way);
        }
        for ((_, next), _) in arrows.range((last, 0)..=(last, usize::MAX)) {
            if seen.insert(*next) {
                ways.push_back([&way[..], &[*next]].concat());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::house::sketch;

    fn keys(files: &[(&str, &str)]) -> Vec<String> {
        check(&sketch::house(files)).into_iter().map(|finding| finding.key).collect()
    }

    #[test]
    fn a_child_that_uses_its_parent_which_uses_the_child_is_a_circle_in_the_family() {
        let files = [
            ("crates/a/src/lib.rs", "mod b; pub const MAX: u8 = 1;\nfn f() { b::g() }"),
            ("crates/a/src/b.rs", "use super::MAX; pub fn g() -> u8 { MAX }"),
        ];
        let findings = check(&sketch::house(&files));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].rule, Rule::Family);
        assert_eq!(findings[0].key, "crates/a/src/b.rs -> crates/a/src/lib.rs");
        let what = "takes MAX, super::MAX from crates/a/src/lib.rs, which leads back: crates/a/src/lib.rs -> crates/a/src/b.rs";
        assert_eq!((findings[0].what.as_str(), findings[0].line), (what, 1));
    }

    #[test]
    fn neighbours_that_meet_through_a_parent_are_a_circle() {
        let files = [
            ("crates/a/src/lib.rs", "mod b; mod e;"),
            ("crates/a/src/b.rs", "mod c; use c::C; pub struct B(C); pub const MAX: u8 = 1;"),
            ("crates/a/src/b/c.rs", "use crate::e::E; use super::MAX; pub struct C(E);"),
            ("crates/a/src/e.rs", "use crate::b::B; pub struct E(Box<B>);"),
        ];
        let findings = check(&sketch::house(&files));
        let rules: Vec<(Rule, &str)> =
            findings.iter().map(|finding| (finding.rule, &finding.key[..])).collect();
        let arrow = |arrow| (Rule::Circle, arrow);
        let expected = [
            arrow("crates/a/src/b.rs -> crates/a/src/b/c.rs"),
            arrow("crates/a/src/b/c.rs -> crates/a/src/b.rs"),
            arrow("crates/a/src/b/c.rs -> crates/a/src/e.rs"),
            arrow("crates/a/src/e.rs -> crates/a/src/b.rs"),
        ];
        assert_eq!(rules, expected);
    }

    #[test]
    fn a_circle_is_found_through_reexports_and_three_files() {
        let files = [
            ("crates/a/src/main.rs", "mod b; mod c; mod d; use b::B;"),
            ("crates/a/src/b.rs", "use crate::c::D; pub struct B(D);"),
            ("crates/a/src/c.rs", "pub use crate::d::D; use crate::b::B; fn f(b: B) {}"),
            ("crates/a/src/d.rs", "pub struct D; fn f() { crate::c::f() }"),
        ];
        let expected = [
            "b.rs -> crates/a/src/d.rs",
            "c.rs -> crates/a/src/b.rs",
            "c.rs -> crates/a/src/d.rs",
            "d.rs -> crates/a/src/c.rs",
        ];
        assert_eq!(keys(&files), expected.map(|arrow| format!("crates/a/src/{arrow}")));
    }

    #[test]
    fn a_module_declared_or_named_is_no_arrow_nor_is_what_tests_use() {
        let files = [
            ("crates/a/src/lib.rs", "mod b; mod c; pub const MAX: u8 = 1; use b as other;"),
            ("crates/a/src/b.rs", "use super::{MAX, c}; fn f() { c::g(MAX) }"),
            ("crates/a/src/c.rs", "pub fn g(_: u8) {} #[cfg(test)] mod tests { use crate::b::f; }"),
        ];
        assert_eq!(keys(&files), [""; 0]);
    }
}
