//! The modules of one crate, and which file a path leads to. Only what the program is made of: what is built for tests
//! alone is left out.
//!
//! Names are looked up as the compiler does it, with less rigour: imports and re-exports are followed to the file
//! that defines, `use x::*` is looked through, macros that define items are not read, and a method has no path.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

use super::house::House;

/// Imports of imports that are followed; a crate has no need of more, and a loop ends here.
const DEPTH_MAX: u32 = 16;

/// A path, segment by segment.
pub(crate) type Path = Vec<String>;

/// The modules; the crate's root is the first.
pub(crate) struct Modules<'a> {
    pub(crate) all: Vec<Module<'a>>,
}

/// A module.
pub(crate) struct Module<'a> {
    /// Which of the house's files it is in.
    pub(crate) file: usize,
    pub(crate) items: &'a [Item],
    parent: usize,
    /// Where the files of its children lie.
    folder: String,
    names: BTreeMap<String, Vec<Named>>,
    /// What `use x::*` names.
    globs: Vec<Path>,
}

#[derive(Debug, Clone)]
enum Named {
    Item,
    Module(usize),
    Import(Path),
}

/// The target of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// To an item in this of the house's files.
    Item(usize),
    Module(usize),
}

/// What the last segment of a path is looked for as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Module,
    Item,
}

impl<'a> Modules<'a> {
    /// The modules below a root; none, if there is no such file.
    pub(crate) fn of(house: &'a House, root: &str) -> Self {
        let mut modules = Self { all: Vec::new() };
        if let (Some(file), Some((folder, _))) = (house.file(root), root.rsplit_once('/')) {
            modules.add(house, file, folder.to_owned(), 0, &house.files[file].syntax.items);
        }
        modules
    }

    fn add(
        &mut self,
        house: &'a House,
        file: usize,
        folder: String,
        parent: usize,
        items: &'a [Item],
    ) -> usize {
        let index = self.all.len();
        let mut imports = Imports::default();
        items.iter().for_each(|item| imports.visit_item(item));
        let mut names: BTreeMap<String, Vec<Named>> = BTreeMap::new();
        for (name, path) in imports.named {
            names.entry(name).or_default().push(Named::Import(path));
        }
        for name in items.iter().filter(|item| !is_for_tests(attributes(item))).filter_map(defined) {
            names.entry(name).or_default().push(Named::Item);
        }
        self.all.push(Module { file, items, parent, folder, names, globs: imports.globs });
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            if let Item::Mod(child) = item {
                self.add_child(house, index, child);
            }
        }
        index
    }

    fn add_child(&mut self, house: &'a House, parent: usize, child: &'a syn::ItemMod) {
        let name = child.ident.to_string();
        let folder = format!("{}/{name}", self.all[parent].folder);
        let index = if let Some((_, items)) = &child.content {
            self.add(house, self.all[parent].file, folder, parent, items)
        } else {
            let paths = [format!("{folder}.rs"), format!("{folder}/mod.rs")];
            let Some(file) = paths.iter().find_map(|path| house.file(path)) else { return };
            self.add(house, file, folder, parent, &house.files[file].syntax.items)
        };
        self.all[parent].names.entry(name).or_default().push(Named::Module(index));
    }

    /// Where a path that stands in a module leads; `None` for what is not of this crate.
    pub(crate) fn resolve(&self, module: usize, path: &[String]) -> Option<Target> {
        let item = self.follow(module, path, Wanted::Item, 0);
        item.or_else(|| self.follow(module, path, Wanted::Module, 0))
    }

    fn follow(&self, module: usize, path: &[String], wanted: Wanted, depth: u32) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        let wanted_of = |rest: &[String]| if rest.is_empty() { wanted } else { Wanted::Module };
        let mut target = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(module),
            "super" => Target::Module(self.all[module].parent),
            // Of a path with more segments, an enum or a trait may be the item: `Kind::Of`.
            name => self.look_up(module, name, wanted_of(rest), depth)?,
        };
        for (position, name) in rest.iter().enumerate() {
            let Target::Module(inside) = target else { break };
            target = match name.as_str() {
                "super" => Target::Module(self.all[inside].parent),
                name => self.look_up(inside, name, wanted_of(&rest[position + 1..]), depth)?,
            };
        }
        Some(target)
    }

    fn look_up(&self, module: usize, name: &str, wanted: Wanted, depth: u32) -> Option<Target> {
        if depth > DEPTH_MAX {
            return None;
        }
        let here = &self.all[module];
        let named = here.names.get(name).into_iter().flatten();
        let found: Vec<Target> = named
            .filter_map(|named| match named {
                Named::Item => Some(Target::Item(here.file)),
                Named::Module(child) => Some(Target::Module(*child)),
                Named::Import(path) if path.len() == 1 && path[0] == name => None,
                Named::Import(path) => self.follow(module, path, wanted, depth + 1),
            })
            .collect();
        let best =
            found.iter().find(|target| matches!(target, Target::Module(_)) == (wanted == Wanted::Module));
        best.or(found.first()).copied().or_else(|| {
            here.globs.iter().find_map(|glob| match self.follow(module, glob, Wanted::Module, depth + 1)? {
                Target::Module(inside) if inside != module => self.look_up(inside, name, wanted, depth + 1),
                _ => None,
            })
        })
    }

    /// A path with what its first segment was imported as: `Instant::now` becomes `std::time::Instant::now`.
    pub(crate) fn whole(&self, module: usize, path: &[String]) -> Path {
        let Some((first, rest)) = path.split_first() else { return Path::new() };
        let named = self.all[module].names.get(first).into_iter().flatten();
        let mut import = named.filter_map(|named| match named {
            Named::Import(path) => Some(path),
            _ => None,
        });
        let begin = import.next_back().cloned().unwrap_or_else(|| vec![first.clone()]);
        begin.into_iter().chain(rest.iter().cloned()).collect()
    }
}

/// The imports of a module, those inside its functions too.
#[derive(Default)]
struct Imports {
    /// Under which name what is known.
    named: Vec<(String, Path)>,
    globs: Vec<Path>,
}

impl<'a> Visit<'a> for Imports {
    fn visit_item(&mut self, item: &'a Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, _: &'a syn::ItemMod) {}

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        for leaf in leaves(&item.tree) {
            match leaf.name {
                Some(name) => self.named.push((name, leaf.path)),
                None => self.globs.push(leaf.path),
            }
        }
    }
}

/// One name of a `use`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) path: Path,
    /// What it is called here; none for a `*`.
    pub(crate) name: Option<String>,
    pub(crate) line: usize,
}

/// The names of a `use`.
pub(crate) fn leaves(tree: &UseTree) -> Vec<Leaf> {
    let mut found = Vec::new();
    gather(tree, &mut Path::new(), &mut found);
    found
}

fn gather(tree: &UseTree, above: &mut Path, found: &mut Vec<Leaf>) {
    let with = |above: &Path, name: &syn::Ident| {
        let mut path = above.clone();
        // `{self, Name}` is the module itself.
        if name != "self" || path.is_empty() {
            path.push(name.to_string());
        }
        path
    };
    match tree {
        UseTree::Path(path) => {
            above.push(path.ident.to_string());
            gather(&path.tree, above, found);
            above.pop();
        }
        UseTree::Name(name) => {
            let path = with(above, &name.ident);
            found.push(Leaf { name: path.last().cloned(), path, line: name.ident.span().start().line });
        }
        UseTree::Rename(rename) => {
            let (path, name) = (with(above, &rename.ident), rename.rename.to_string());
            found.push(Leaf { name: Some(name), path, line: rename.ident.span().start().line });
        }
        UseTree::Glob(glob) => {
            let line = glob.star_token.spans[0].start().line;
            found.push(Leaf { name: None, path: above.clone(), line });
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| gather(tree, above, found)),
    }
}

/// What an item defines.
fn defined(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// The attributes of an item.
pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether something is built for tests alone: `#[cfg(test)]`, and what is a test itself.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Meta>().is_ok_and(|meta| needs_test(&meta))
    })
}

fn needs_test(meta: &syn::Meta) -> bool {
    let parts = |list: &syn::MetaList| {
        list.parse_args_with(syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated)
    };
    match meta {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) if list.path.is_ident("all") => {
            parts(list).is_ok_and(|parts| parts.iter().any(needs_test))
        }
        syn::Meta::List(list) if list.path.is_ident("any") => {
            parts(list).is_ok_and(|parts| parts.iter().all(needs_test))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::house::sketch;

    fn path(text: &str) -> Path {
        text.split("::").map(str::to_owned).collect()
    }

    /// The file that a path in the crate's root leads to.
    fn leads_to(house: &House, text: &str) -> Option<String> {
        match Modules::of(house, "crates/a/src/lib.rs").resolve(0, &path(text))? {
            Target::Item(file) => Some(house.files[file].path.clone()),
            Target::Module(module) => Some(format!("module {module}")),
        }
    }

    #[test]
    fn a_path_leads_to_the_file_that_defines_through_all_reexports() {
        let house = sketch::house(&[
            (
                "crates/a/src/lib.rs",
                "mod outer; pub use outer::Thing as Other; use outer::*; mod here { pub fn f() {} }",
            ),
            (
                "crates/a/src/outer.rs",
                "mod inner; pub use self::inner::{Thing, self as renamed}; pub enum Kind { Of }",
            ),
            ("crates/a/src/outer/inner.rs", "pub struct Thing; pub fn make() {}"),
        ]);
        let inner = Some("crates/a/src/outer/inner.rs".to_owned());
        let outer = Some("crates/a/src/outer.rs".to_owned());
        for thing in ["Other", "Thing", "outer::Thing", "crate::outer::inner::Thing", "self::Other::new"] {
            assert_eq!(leads_to(&house, thing), inner, "{thing}");
        }
        assert_eq!(leads_to(&house, "renamed::make"), inner);
        assert_eq!(leads_to(&house, "outer::Kind::Of"), outer);
        assert_eq!(leads_to(&house, "here::f"), Some("crates/a/src/lib.rs".to_owned()));
        assert_eq!(leads_to(&house, "outer"), Some("module 1".to_owned()));
        for foreign in ["std::fs::read", "String", "outer::nothing"] {
            assert_eq!(leads_to(&house, foreign), None, "{foreign}");
        }
    }

    #[test]
    fn imports_that_name_each_other_end() {
        let house = sketch::house(&[
            ("crates/a/src/lib.rs", "mod b; pub use b::X; pub use b::*;"),
            ("crates/a/src/b.rs", "pub use super::X; pub use super::*;"),
        ]);
        assert_eq!(leads_to(&house, "X"), None);
    }

    #[test]
    fn what_is_for_tests_is_no_module() {
        let house = sketch::house(&[
            (
                "crates/a/src/lib.rs",
                "#[cfg(test)] mod b; #[cfg(all(test, unix))] mod c {} #[cfg(unix)] mod d {}",
            ),
            ("crates/a/src/b.rs", "pub struct X;"),
        ]);
        assert_eq!(Modules::of(&house, "crates/a/src/lib.rs").all.len(), 2);
    }

    #[test]
    fn a_path_is_made_whole_by_its_import() {
        let house = sketch::house(&[("crates/a/src/lib.rs", "use std::time::{self, Instant as Then};")]);
        let modules = Modules::of(&house, "crates/a/src/lib.rs");
        assert_eq!(modules.whole(0, &path("Then::now")), path("std::time::Instant::now"));
        assert_eq!(modules.whole(0, &path("time::SystemTime::now")), path("std::time::SystemTime::now"));
        assert_eq!(modules.whole(0, &path("x::now")), path("x::now"));
    }
}
