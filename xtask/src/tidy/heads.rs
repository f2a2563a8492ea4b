//! Each file opens with `//!`: what it is, what it is not, where its data goes.

use syn::AttrStyle;

use super::finding::{Finding, Rule};
use super::house::House;

pub(crate) fn check(house: &House) -> Vec<Finding> {
    let without = house.files.iter().filter(|file| {
        let mut attributes = file.syntax.attrs.iter();
        !attributes.any(|attribute| {
            matches!(attribute.style, AttrStyle::Inner(_)) && attribute.path().is_ident("doc")
        })
    });
    without
        .map(|file| Finding {
            rule: Rule::Head,
            key: file.path.clone(),
            amount: 1,
            path: file.path.clone(),
            line: 1,
            what: "no comment says what this file is".to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::house::sketch;

    #[test]
    fn a_file_without_a_head_is_found() {
        let house = sketch::house(&[
            ("crates/a/src/lib.rs", "#![allow(dead_code)]\n//! Things.\nfn f() {}"),
            ("crates/a/src/b.rs", "// Things.\n\n/// One.\nfn f() {}"),
            ("crates/a/src/c.rs", "#![allow(dead_code)]\nfn f() {}"),
        ]);
        let keys: Vec<String> = check(&house).into_iter().map(|finding| finding.key).collect();
        assert_eq!(keys, ["crates/a/src/b.rs", "crates/a/src/c.rs"]);
    }
}
