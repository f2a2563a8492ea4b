//! All functions of a file, however deep they are, with what they belong to.

use syn::visit::{self, Visit};

use super::house::File;
use super::modules::{attributes, is_for_tests};

/// A function with a body.
pub(crate) struct Function<'a> {
    /// `name`, or `Type::name`.
    pub(crate) name: String,
    pub(crate) signature: &'a syn::Signature,
    pub(crate) attributes: &'a [syn::Attribute],
    /// Whether it is `pub`, and no further word; what a trait has is as public as the trait, and is not counted here.
    pub(crate) is_public: bool,
    pub(crate) is_for_tests: bool,
    /// The line of its signature.
    pub(crate) line: usize,
    /// The line of its closing brace.
    pub(crate) end: usize,
}

/// All functions of a file.
pub(crate) fn of(file: &File) -> Vec<Function<'_>> {
    let mut finder = Finder { owner: None, is_for_tests: false, found: Vec::new() };
    finder.visit_file(&file.syntax);
    finder.found
}

struct Finder<'a> {
    /// The type or trait that it is in.
    owner: Option<String>,
    is_for_tests: bool,
    found: Vec<Function<'a>>,
}

impl<'a> Finder<'a> {
    fn add(
        &mut self,
        signature: &'a syn::Signature,
        attributes: &'a [syn::Attribute],
        is_public: bool,
        block: &syn::Block,
    ) {
        let name = &signature.ident;
        self.found.push(Function {
            name: self.owner.as_ref().map_or_else(|| name.to_string(), |owner| format!("{owner}::{name}")),
            signature,
            attributes,
            is_public,
            is_for_tests: self.is_for_tests || is_for_tests(attributes),
            line: signature.fn_token.span.start().line,
            end: block.brace_token.span.close().end().line,
        });
    }
}

impl<'a> Visit<'a> for Finder<'a> {
    fn visit_item(&mut self, item: &'a syn::Item) {
        let outside = (self.owner.take(), self.is_for_tests);
        self.is_for_tests |= is_for_tests(attributes(item));
        self.owner = match item {
            syn::Item::Impl(item) => name_of(&item.self_ty),
            syn::Item::Trait(item) => Some(item.ident.to_string()),
            _ => None,
        };
        visit::visit_item(self, item);
        (self.owner, self.is_for_tests) = outside;
    }

    fn visit_item_fn(&mut self, function: &'a syn::ItemFn) {
        self.add(&function.sig, &function.attrs, is_public(&function.vis), &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        self.add(&function.sig, &function.attrs, is_public(&function.vis), &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'a syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, &function.attrs, false, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

const fn is_public(visibility: &syn::Visibility) -> bool {
    matches!(visibility, syn::Visibility::Public(_))
}

fn name_of(kind: &syn::Type) -> Option<String> {
    match kind {
        syn::Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        syn::Type::Reference(reference) => name_of(&reference.elem),
        _ => None,
    }
}
