//! One name, one thing: a type's name that stands for more than three things in the program tells a reader nothing.

use std::collections::BTreeMap;

use syn::Item;

use super::finding::{Finding, Rule};
use super::house::House;
use super::modules::Modules;

/// Definitions of one name.
const OWNERS_MAX: usize = 3;

pub(crate) fn check(house: &House) -> Vec<Finding> {
    let mut owners: BTreeMap<String, Vec<(usize, usize)>> = BTreeMap::new();
    let packages = house.packages.iter().filter(|package| package.is_of_the_program());
    for root in packages.flat_map(|package| &package.roots) {
        for module in Modules::of(house, root).all {
            for name in module.items.iter().filter_map(defined_type) {
                owners.entry(name.to_string()).or_default().push((module.file, name.span().start().line));
            }
        }
    }
    let many = owners.into_iter().filter(|(_, places)| places.len() > OWNERS_MAX);
    many.map(|(name, places)| {
        let path = |place: usize| &house.files[place].path;
        let all: Vec<String> = places.iter().map(|(file, line)| format!("{}:{line}", path(*file))).collect();
        Finding {
            rule: Rule::Owners,
            key: name.clone(),
            amount: places.len(),
            path: path(places[0].0).clone(),
            line: places[0].1,
            what: format!(
                "'{name}' stands for {} types, and {OWNERS_MAX} is enough: {}",
                places.len(),
                all.join(", ")
            ),
        }
    })
    .collect()
}

fn defined_type(item: &Item) -> Option<&syn::Ident> {
    match item {
        Item::Enum(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::house::sketch;

    #[test]
    fn a_name_may_have_three_owners_and_not_one_more() {
        let three =
            "struct Parts; mod b { enum Parts {} trait Kept {} } #[cfg(test)] mod c { struct Parts; }";
        let found = |fourth| {
            let house = sketch::house(&[
                ("crates/a/src/lib.rs", three),
                ("crates/a/src/unused.rs", "struct Parts;"),
                ("crates/b/src/main.rs", fourth),
            ]);
            check(&house).into_iter().map(|finding| (finding.key, finding.amount)).collect::<Vec<_>>()
        };
        assert_eq!(found("type Parts = u8; fn parts() {}"), []);
        assert_eq!(found("type Parts = u8; mod d { struct Parts; }"), [("Parts".to_owned(), 4)]);
    }
}
