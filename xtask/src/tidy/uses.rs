//! All paths that the code of a crate names, outside its tests: imports, types, calls, and what stands in the
//! arguments of macros and attributes. Visibilities (`pub(super)`) name a module and use nothing.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{ImplItem, Item, Stmt};

use super::modules::{Modules, Path, attributes, is_for_tests, leaves};

/// A path that is named.
#[derive(Debug)]
pub(crate) struct Use {
    /// The module that it stands in.
    pub(crate) module: usize,
    pub(crate) path: Path,
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

/// The kind of place where the path is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Import,
    /// `use x::*`.
    Glob,
    Code,
}

/// All uses of a crate.
pub(crate) fn of(modules: &Modules<'_>) -> Vec<Use> {
    let mut found = Vec::new();
    for (module, here) in modules.all.iter().enumerate() {
        let mut finder = Finder { module, found: &mut found };
        here.items.iter().for_each(|item| finder.visit_item(item));
    }
    found
}

struct Finder<'f> {
    module: usize,
    found: &'f mut Vec<Use>,
}

impl Finder<'_> {
    fn add(&mut self, path: Path, line: usize, kind: Kind) {
        self.found.push(Use { module: self.module, path, line, kind });
    }

    /// Paths of two segments and more in tokens that are not parsed. A single name may be anything there.
    fn read(&mut self, tokens: TokenStream) {
        let (mut path, mut line) = (Path::new(), 0);
        // How many colons stand behind the path.
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if colons == 2 => {
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() && colons < 2 => {
                    colons += 1
                }
                other => {
                    self.end(&mut path, line);
                    colons = 0;
                    match other {
                        TokenTree::Ident(ident) => {
                            line = ident.span().start().line;
                            path.push(ident.to_string());
                        }
                        TokenTree::Group(group) => self.read(group.stream()),
                        _ => {}
                    }
                }
            }
        }
        self.end(&mut path, line);
    }

    fn end(&mut self, path: &mut Path, line: usize) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.add(path, line, Kind::Code);
        }
    }
}

impl<'a> Visit<'a> for Finder<'_> {
    fn visit_item(&mut self, item: &'a Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'a ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs[..],
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !is_for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_stmt(&mut self, statement: &'a Stmt) {
        let attributes = match statement {
            Stmt::Local(local) => &local.attrs[..],
            Stmt::Macro(named) => &named.attrs,
            _ => &[],
        };
        if !is_for_tests(attributes) {
            visit::visit_stmt(self, statement);
        }
    }

    /// Each module is looked at by itself.
    fn visit_item_mod(&mut self, _: &'a syn::ItemMod) {}

    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        for leaf in leaves(&item.tree) {
            let kind = if leaf.name.is_some() { Kind::Import } else { Kind::Glob };
            self.add(leaf.path, leaf.line, kind);
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        if let (Some(first), None) = (path.segments.first(), &path.leading_colon) {
            let line = first.ident.span().start().line;
            self.add(
                path.segments.iter().map(|segment| segment.ident.to_string()).collect(),
                line,
                Kind::Code,
            );
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, named: &'a syn::Macro) {
        self.visit_path(&named.path);
        self.read(named.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'a syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.read(list.tokens.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::house::sketch;

    #[test]
    fn paths_are_found_wherever_they_stand_but_not_in_tests() {
        let text = "
            use a::b;
            pub(super) fn f(x: c::X<d::Y>) -> e::Z { g::run(); println!(\"{}\", [h::i(), j.k]) }
            #[derive(l::M)] struct S { #[arg(value_parser = n::o)] t: u8 }
            impl S { #[cfg(test)] fn p() { q::r() } }
            #[cfg(test)] mod tests { use s::t; }
            fn u() { use v::*; #[cfg(test)] w::x!(); }
        ";
        let house = sketch::house(&[("crates/a/src/lib.rs", text)]);
        let modules = Modules::of(&house, "crates/a/src/lib.rs");
        let found = of(&modules);
        let mut paths: Vec<String> = found
            .iter()
            .map(|found| found.path.join("::"))
            .filter(|path| path.contains("::") || path == "v")
            .collect();
        paths.sort();
        assert_eq!(paths, ["a::b", "c::X", "d::Y", "e::Z", "g::run", "h::i", "l::M", "n::o", "v"]);
        assert_eq!(found.iter().find(|found| found.path == ["g", "run"]).unwrap().line, 3);
    }
}
