//! The book's page on configuration has each key that there is, and no other.

use std::collections::{BTreeMap, BTreeSet};

use edge::config::EdgeConfig;
use home::config::HomeConfig;
use serde::de::DeserializeOwned;

const PAGE: &str = include_str!("../../../docs/src/configuration.md");
const NOT_A_KEY: &str = "zzz-no-key";

type Keys = BTreeMap<String, BTreeSet<String>>;

/// The keys of each table that the page has behind this heading. The table of keys that stand before all tables is "".
fn documented(heading: &str) -> Keys {
    let mut keys = Keys::new();
    // Rows behind a heading that names no table are no keys.
    let (mut inside, mut of_section) = (false, Some(String::new()));
    for line in PAGE.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            (inside, of_section) = (title == heading, Some(String::new()));
        } else if let Some(title) = line.strip_prefix("### ") {
            of_section = title.starts_with('[').then(|| title.to_owned());
        } else if inside
            && line.starts_with("| `")
            && let Some(mut table) = of_section.clone()
        {
            let cell = line.trim_start_matches("| ").split(" | ").next().unwrap_or_default();
            for word in cell.split('`').skip(1).step_by(2) {
                let key = match word.rsplit_once("] ") {
                    Some((named, key)) => {
                        table = format!("{named}]");
                        key
                    }
                    None => word,
                };
                // A row for a table as a whole.
                if key.starts_with('[') {
                    keys.entry(key.to_owned()).or_default();
                } else {
                    keys.entry(table.clone()).or_default().insert(key.to_owned());
                }
            }
        }
    }
    keys
}

/// The keys that the program takes in a table, as it says when it is given another one. `None` for a table of free names.
fn taken<C: DeserializeOwned>(before: &str, table: &str) -> Option<BTreeSet<String>> {
    let text = format!("{before}\n{table}\n{NOT_A_KEY} = 1\n");
    let Err(error) = toml::from_str::<C>(&text) else { return None };
    let (_, expected) = error.message().split_once("expected ")?;
    Some(expected.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

fn compare<C: DeserializeOwned>(heading: &str, before: &str) {
    let pages = documented(heading);
    let tables: BTreeSet<String> = pages
        .keys()
        .filter(|table| !table.is_empty())
        .map(|table| table.trim_matches(['[', ']']).split('.').next().unwrap_or_default().to_owned())
        .collect();
    for (table, keys) in &pages {
        let Some(taken) = taken::<C>(before, table) else { continue };
        let mut has = keys.clone();
        if table.is_empty() {
            has.extend(tables.iter().cloned());
        }
        // A table within this one has rows of its own.
        let inner = format!("{}.", table.trim_end_matches(']'));
        has.extend(
            pages
                .keys()
                .filter_map(|other| Some(other.strip_prefix(&inner)?.trim_end_matches(']').to_owned())),
        );
        if keys.is_empty() && !table.is_empty() {
            continue;
        }
        assert_eq!(
            has, taken,
            "{heading} {table}: the page has the left ones, the program takes the right ones"
        );
    }
}

#[test]
fn the_page_has_each_key_of_edge() {
    compare::<EdgeConfig>("edge.toml", "hostname = \"mx.example.org\"");
}

#[test]
fn the_page_has_each_key_of_home() {
    compare::<HomeConfig>("home.toml", "domains = [\"example.org\"]");
}
