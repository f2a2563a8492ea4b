//! What pages point to is there: files and headings by their links, decisions by their numbers, sources by their names in
//! backquotes; and the book's table of contents has all of its pages. Pages elsewhere are not asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::{Finding, Rule};
use super::house::{House, Page};

const BOOK: &str = "docs/src/";
const SUMMARY: &str = "docs/src/SUMMARY.md";
const DECISIONS: &str = "docs/adr/";
/// They tell of their day, and what they name may be gone.
const OF_THE_PAST: [&str; 2] = [DECISIONS, "CHANGELOG.md"];

pub(crate) fn check(house: &House) -> Vec<Finding> {
    let sources = sources(house);
    let mut findings = Vec::new();
    for page in &house.pages {
        let of_the_past = OF_THE_PAST.iter().any(|past| page.path.starts_with(past));
        for (line, text) in prose(page) {
            let mut wrong = broken_links(house, page, &without_code(text));
            wrong.extend(unknown_decisions(house, text));
            if !of_the_past {
                wrong.extend(unknown_sources(&sources, text));
            }
            findings.extend(wrong.into_iter().map(|(key, what)| finding(page, line, &key, what)));
        }
    }
    findings.extend(left_out(house));
    findings.dedup_by(|one, other| one.key == other.key);
    findings
}

fn finding(page: &Page, line: usize, key: &str, what: String) -> Finding {
    let key = format!("{} {key}", page.path);
    Finding { rule: Rule::Links, key, amount: 1, path: page.path.clone(), line, what }
}

/// The lines of a page that are not examples, counted from 1.
fn prose(page: &Page) -> Vec<(usize, &str)> {
    let mut is_example = false;
    let lines = page.text.lines().enumerate().filter(|(_, text)| {
        let is_fence = text.trim_start().starts_with("```");
        is_example ^= is_fence;
        !is_example && !is_fence && !text.starts_with("    ")
    });
    lines.map(|(index, text)| (index + 1, text)).collect()
}

fn without_code(text: &str) -> String {
    text.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// Links of a line that lead nowhere.
fn broken_links(house: &House, page: &Page, text: &str) -> Vec<(String, String)> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let ours = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
    ours.filter(|target| !leads_somewhere(house, page, target))
        .map(|target| (target.to_owned(), format!("the link to {target} leads nowhere")))
        .collect()
}

fn leads_somewhere(house: &House, page: &Page, target: &str) -> bool {
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let Some(path) = (if path.is_empty() { Some(page.path.clone()) } else { joined(&page.path, path) })
    else {
        return false;
    };
    if !house.paths.contains(&path) {
        return false;
    }
    heading.is_empty() || house.page(&path).is_some_and(|page| anchors(page).contains(heading))
}

/// The path that a link in a page means; `None` when it leaves the repository.
fn joined(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// What headings are called in links.
fn anchors(page: &Page) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let lines = prose(page).into_iter().map(|(_, text)| text);
    let headings = lines.filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings
        .map(|heading| {
            let kept = heading
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .collect::<String>();
            let name = kept.replace(' ', "-");
            let count = seen.entry(name.clone()).or_default();
            *count += 1;
            if *count == 1 { name } else { format!("{name}-{}", *count - 1) }
        })
        .collect()
}

/// `ADR 7`, when there is none of that number.
fn unknown_decisions(house: &House, text: &str) -> Vec<(String, String)> {
    let numbers = text.split("ADR ").skip(1).map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    let numbers = numbers.filter_map(|digits| digits?.parse::<u32>().ok());
    numbers
        .filter(|number| {
            let begin = format!("{DECISIONS}{number:04}-");
            !house.paths.range(begin.clone()..).next().is_some_and(|path| path.starts_with(&begin))
        })
        .map(|number| (format!("ADR {number}"), format!("there is no ADR {number} in {DECISIONS}")))
        .collect()
}

/// All ends of paths that a source may be named by: `crates/edge/src/door.rs` also as `edge/door.rs`, and so on.
fn sources(house: &House) -> BTreeSet<String> {
    let mut sources = BTreeSet::new();
    for path in house.paths.iter().filter(|path| path.ends_with(".rs")) {
        for path in [path.clone(), path.replace("/src/", "/")] {
            let starts = path.match_indices('/').map(|(place, _)| place + 1);
            sources.extend(std::iter::once(0).chain(starts).map(|start| path[start..].to_owned()));
        }
    }
    sources
}

/// Sources in backquotes that are not there.
fn unknown_sources(sources: &BTreeSet<String>, text: &str) -> Vec<(String, String)> {
    let quoted =
        text.split('`').skip(1).step_by(2).filter(|word| word.ends_with(".rs") && !word.contains(' '));
    let unknown = quoted.filter(|word| !word.contains('*') && !sources.contains(*word));
    unknown.map(|word| (word.to_owned(), format!("there is no source '{word}'"))).collect()
}

/// Pages of the book that its table of contents does not have.
fn left_out(house: &House) -> Vec<Finding> {
    let Some(summary) = house.page(SUMMARY) else { return Vec::new() };
    let pages = house
        .pages
        .iter()
        .filter_map(|page| page.path.strip_prefix(BOOK))
        .filter(|name| *name != "SUMMARY.md");
    let missing = pages.filter(|name| !summary.text.contains(&format!("]({name})")));
    missing
        .map(|name| finding(summary, 1, name, format!("the page {name} is not in the table of contents")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::house::sketch;

    fn found(text: &str) -> Vec<String> {
        let house = sketch::house(&[
            ("crates/edge/src/door.rs", ""),
            ("docs/adr/0002-roles.md", "as [this](0009-gone.md), `gone.rs`"),
            ("docs/src/other.md", "# Other\n\n## What it is, & why\n\n## Twice\n\n## Twice\n"),
            ("docs/src/page.md", text),
            (SUMMARY, "- [Page](page.md)\n- [Other](other.md)\n"),
        ]);
        let findings = check(&house).into_iter().filter(|finding| finding.path != "docs/adr/0002-roles.md");
        findings.map(|finding| format!("{} {}", finding.line, finding.what)).collect()
    }

    #[test]
    fn links_that_lead_somewhere_pass_whatever_they_lead_to() {
        let text = "# Here\n[a](other.md), [b](other.md#what-it-is--why), [c](#here), [d](../adr/0002-roles.md), [e](..)\n\
            [f](https://example.org/x#y) `[g](nothing.md)` [h](other.md#twice-1) ADR 2\n\n    [i](nothing.md)\n\n\
            ```\n[j](nothing.md)\n```\n`door.rs`, `edge/door.rs`, `crates/edge/src/door.rs`, `*.rs`\n";
        assert_eq!(found(text), [""; 0]);
    }

    #[test]
    fn what_leads_nowhere_is_found() {
        assert_eq!(found("[a](nothing.md)"), ["1 the link to nothing.md leads nowhere"]);
        assert_eq!(found("\n[a](other.md#nothing)"), ["2 the link to other.md#nothing leads nowhere"]);
        assert_eq!(found("[a](#twice)"), ["1 the link to #twice leads nowhere"]);
        assert_eq!(found("[a](../../../x)"), ["1 the link to ../../../x leads nowhere"]);
        assert_eq!(found("See ADR 3."), ["1 there is no ADR 3 in docs/adr/"]);
        assert_eq!(found("`oor.rs`, `home/door.rs`").len(), 2);
    }

    #[test]
    fn decisions_may_name_what_is_gone_but_their_links_lead_somewhere_and_the_contents_are_whole() {
        let house = sketch::house(&[
            ("docs/adr/0002-roles.md", "`gone.rs` [this](0009-gone.md)"),
            ("docs/src/page.md", ""),
            (SUMMARY, "# Summary"),
        ]);
        let keys: Vec<String> = check(&house).into_iter().map(|finding| finding.key).collect();
        assert_eq!(keys, ["docs/adr/0002-roles.md 0009-gone.md", "docs/src/SUMMARY.md page.md"]);
    }
}
