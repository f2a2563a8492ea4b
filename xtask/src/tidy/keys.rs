//! Each key of the configuration has its row in docs/src/configuration.md, and each row is a key.
//!
//! Keys are the fields of the structs that are read from a role's file, below its `…Config`. A row names them in its first cell:
//! `` `[table] one`, `two` ``; below a heading `### [[table]]` without the table. A row for a whole table says its keys in what it means.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use super::finding::{Finding, Rule};
use super::house::{House, Page};

const PAGE: &str = "docs/src/configuration.md";
/// The struct of a whole file, and the heading above its keys.
const FILES: [(&str, &str); 2] = [("EdgeConfig", "edge.toml"), ("HomeConfig", "home.toml")];
/// Tables in tables.
const DEPTH_MAX: u32 = 4;

/// A struct that is read from a file.
struct Table<'a> {
    /// The package that it is in.
    package: &'a str,
    file: &'a str,
    /// Key, type's name, line.
    keys: Vec<(String, String, usize)>,
}

type Tables<'a> = BTreeMap<String, Vec<Table<'a>>>;

/// A key, whole: `limits.sessions`.
struct Key<'a> {
    name: String,
    file: &'a str,
    line: usize,
}

pub(crate) fn check(house: &House) -> Vec<Finding> {
    let tables = tables(house);
    let Some(page) = house.page(PAGE) else { return Vec::new() };
    FILES.iter().flat_map(|(root, heading)| of_a_file(&tables, page, root, heading)).collect()
}

fn of_a_file(tables: &Tables<'_>, page: &Page, root: &str, heading: &str) -> Vec<Finding> {
    if !tables.contains_key(root) {
        let what = format!("no struct '{root}' is read from {heading}");
        return vec![finding(heading.to_owned(), "xtask/src/tidy/keys.rs", 1, what)];
    }
    let mut keys = Vec::new();
    for table in tables.get(root).into_iter().flatten() {
        gather(tables, table, "", 0, &mut keys);
    }
    let rows = rows(page, heading);
    let mut findings = Vec::new();
    for key in &keys {
        if !rows.iter().any(|row| row.name == key.name) {
            let what = format!("'{}' of {heading} has no row in {PAGE}", key.name);
            findings.push(finding(format!("{heading} {}", key.name), key.file, key.line, what));
        }
    }
    for row in rows.iter().filter(|row| row.is_said_to_be_one) {
        if !keys.iter().any(|key| is_or_is_in(&key.name, &row.name)) {
            let what = format!("{heading} has no key '{}'", row.name);
            findings.push(finding(format!("{heading} {}", row.name), PAGE, row.line, what));
        }
    }
    findings
}

fn is_or_is_in(key: &str, table: &str) -> bool {
    key.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The keys of a table and of those in it.
fn gather<'a>(tables: &Tables<'a>, table: &Table<'a>, above: &str, depth: u32, keys: &mut Vec<Key<'a>>) {
    for (key, kind, line) in &table.keys {
        let name = format!("{above}{key}");
        let inner = tables
            .get(kind)
            .and_then(|all| all.iter().find(|inner| inner.package == table.package).or_else(|| all.first()));
        match inner {
            Some(inner) if depth < DEPTH_MAX => gather(tables, inner, &format!("{name}."), depth + 1, keys),
            _ => keys.push(Key { name, file: table.file, line: *line }),
        }
    }
}

/// All structs that are read, in files of configuration, by name.
fn tables(house: &House) -> Tables<'_> {
    let mut tables = Tables::new();
    for file in house.files.iter().filter(|file| is_configuration(&file.path)) {
        let Some(package) = house.package_of(&file.path) else { continue };
        let mut structs = Structs(Vec::new());
        structs.visit_file(&file.syntax);
        for item in structs.0 {
            let keys = item.fields.iter().filter_map(key).collect();
            let table = Table { package: &package.name, file: &file.path, keys };
            tables.entry(item.ident.to_string()).or_default().push(table);
        }
    }
    tables
}

fn is_configuration(path: &str) -> bool {
    path.starts_with("crates/") && (path.ends_with("/src/config.rs") || path.contains("/src/config/"))
}

struct Structs<'a>(Vec<&'a syn::ItemStruct>);

impl<'a> Visit<'a> for Structs<'a> {
    fn visit_item_struct(&mut self, item: &'a syn::ItemStruct) {
        let is_read = item.attrs.iter().any(|attribute| {
            attribute.path().is_ident("derive") && tokens(attribute).iter().any(|word| word == "Deserialize")
        });
        if is_read {
            self.0.push(item);
        }
        visit::visit_item_struct(self, item);
    }
}

/// A field's key, the name of its type, and its line.
fn key(field: &syn::Field) -> Option<(String, String, usize)> {
    let ident = field.ident.as_ref()?;
    let serde = field.attrs.iter().filter(|attribute| attribute.path().is_ident("serde"));
    let words: Vec<String> = serde.flat_map(tokens).collect();
    let renamed = words.iter().position(|word| word == "rename").and_then(|place| words.get(place + 2));
    let name = renamed.map_or_else(|| ident.to_string(), |name| name.trim_matches('"').to_owned());
    Some((name, innermost(&field.ty), ident.span().start().line))
}

/// The words of an attribute's arguments.
fn tokens(attribute: &syn::Attribute) -> Vec<String> {
    let syn::Meta::List(list) = &attribute.meta else { return Vec::new() };
    list.tokens.clone().into_iter().map(|token| token.to_string()).collect()
}

/// `T` of `Option<Vec<T>>`.
fn innermost(kind: &syn::Type) -> String {
    let syn::Type::Path(path) = kind else { return String::new() };
    let Some(last) = path.path.segments.last() else { return String::new() };
    if let syn::PathArguments::AngleBracketed(arguments) = &last.arguments
        && let [syn::GenericArgument::Type(inner)] = arguments.args.iter().collect::<Vec<_>>()[..]
    {
        return innermost(inner);
    }
    last.ident.to_string()
}

/// A key that the page names.
struct Row {
    name: String,
    line: usize,
    /// Else it is a word in what the row of its table means.
    is_said_to_be_one: bool,
}

/// The keys that the page has below a heading.
fn rows(page: &Page, heading: &str) -> Vec<Row> {
    let (mut rows, mut is_inside, mut is_of_keys, mut table) = (Vec::new(), false, false, String::new());
    for (index, text) in page.text.lines().enumerate() {
        if let Some(title) = text.strip_prefix("## ") {
            (is_inside, table) = (title == heading, String::new());
        } else if let Some(title) = text.strip_prefix("### ") {
            table = title.trim_matches(['[', ']']).to_owned();
        } else if !text.starts_with('|') {
            is_of_keys = false;
        } else if text.starts_with("| key |") {
            is_of_keys = true;
        } else if is_inside && is_of_keys {
            let cells: Vec<&str> = text.trim_matches('|').splitn(3, " | ").collect();
            let named = cells.first().map(|cell| keys_of_a_cell(cell, &table)).unwrap_or_default();
            let means = cells.get(2).copied().unwrap_or_default();
            for (name, is_a_table) in named {
                if is_a_table {
                    let words = quoted(means).map(|word| format!("{name}.{word}"));
                    rows.extend(words.map(|name| Row { name, line: index + 1, is_said_to_be_one: false }));
                }
                rows.push(Row { name, line: index + 1, is_said_to_be_one: true });
            }
        }
    }
    rows
}

/// The keys that a first cell names, and whether each is a whole table.
fn keys_of_a_cell(cell: &str, table: &str) -> BTreeSet<(String, bool)> {
    let mut table = table.to_owned();
    let mut keys = BTreeSet::new();
    for word in quoted(cell) {
        let key = if word.starts_with('[') {
            let (name, key) = word.split_once(' ').unwrap_or((word, ""));
            name.trim_matches(['[', ']']).clone_into(&mut table);
            key
        } else {
            word
        };
        match (table.as_str(), key) {
            (table, "") => keys.insert((table.to_owned(), true)),
            ("", key) => keys.insert((key.to_owned(), false)),
            (table, key) => keys.insert((format!("{table}.{key}"), false)),
        };
    }
    keys
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn finding(key: String, path: &str, line: usize, what: String) -> Finding {
    Finding { rule: Rule::Keys, key, amount: 1, path: path.to_owned(), line, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::house::sketch;

    const EDGE: &str = "
        #[derive(Debug, Deserialize)] pub struct EdgeConfig {
            pub hostname: String,
            #[serde(default)] pub limits: Limits,
            #[serde(default, rename = \"list\")] pub lists: Vec<ListConfig>,
            pub pin: Option<Pin>,
            not_here: TlsConfig,
        }
        #[derive(Deserialize)] pub struct Limits { sessions: usize, spool: Octets }
        #[derive(Deserialize)] pub struct ListConfig { zone: String }
        #[derive(Deserialize)] pub struct Pin { name: String, address: String }
        pub struct Unread { other: u8 }
    ";
    const OTHER: &str = "#[derive(Deserialize)] pub struct TlsConfig { key: u8 } #[derive(Deserialize)] struct Limits { no: u8 }";
    const PAGE_TEXT: &str = "## edge.toml\n\n| key | default | meaning |\n|---|---|---|\n\
        | `hostname` | none | a name |\n| `[limits] sessions`, `spool` | 1 | some |\n| `[not_here] key` | x | y |\n\
        | `[[pin]]` | by pairing | `name`, `address` of each |\n\n### [[list]]\n\n| key | default | meaning |\n|---|---|---|\n\
        | `zone` | none | `word` |\n\n| sign | points |\n|---|---|\n| `no-key` | 1 |\n\n## home.toml\n";

    fn found(edge: &str, page: &str) -> Vec<String> {
        let house = sketch::house(&[
            ("crates/daemon/src/config.rs", OTHER),
            ("crates/edge/src/config.rs", edge),
            ("crates/home/src/config.rs", "#[derive(Deserialize)] struct HomeConfig {}"),
            (
                "crates/edge/src/lib.rs",
                "#[derive(Deserialize)] struct HomeConfig { not_in_a_file_of_configuration: u8 }",
            ),
            (PAGE, page),
        ]);
        check(&house).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_page_with_a_row_for_each_key_holds() {
        assert_eq!(found(EDGE, PAGE_TEXT), [""; 0]);
    }

    #[test]
    fn a_key_without_a_row_and_a_row_without_a_key_are_found() {
        let more = EDGE.replace("zone: String", "zone: String, points: f32");
        assert_eq!(
            found(&more, PAGE_TEXT),
            ["'list.points' of edge.toml has no row in docs/src/configuration.md"]
        );
        let less = EDGE.replace("pub hostname: String,", "");
        assert_eq!(found(&less, PAGE_TEXT), ["edge.toml has no key 'hostname'"]);
        let short = PAGE_TEXT.replace(", `address` of", " of");
        assert_eq!(
            found(EDGE, &short),
            ["'pin.address' of edge.toml has no row in docs/src/configuration.md"]
        );
        let elsewhere = PAGE_TEXT.replace("## edge.toml", "## edge").replace("| `hostname`", "| `host`");
        assert_eq!(found(EDGE, &elsewhere).len(), 7);
        let renamed = EDGE.replace("EdgeConfig", "Config");
        assert_eq!(found(&renamed, PAGE_TEXT), ["no struct 'EdgeConfig' is read from edge.toml"]);
    }
}
