//! Who calls a public function that may fail reads in its doc comment when it does, under `# Errors`.

use super::finding::{Finding, Rule};
use super::functions::{self, Function};
use super::house::House;

const HEADING: &str = "# Errors";

pub(crate) fn check(house: &House) -> Vec<Finding> {
    let is_of_the_program = |path: &str| {
        let package = house.package_of(path).filter(|package| package.is_of_the_program());
        package.is_some_and(|package| path.starts_with(&format!("{}/src/", package.folder)))
    };
    let mut findings = Vec::new();
    for file in house.files.iter().filter(|file| is_of_the_program(&file.path)) {
        let silent = functions::of(file).into_iter().filter(is_silent);
        findings.extend(silent.map(|function| Finding {
            rule: Rule::Errors,
            key: format!("{} {}", file.path, function.name),
            amount: 1,
            path: file.path.clone(),
            line: function.line,
            what: format!("'{}' is public and may fail, and does not say when", function.name),
        }));
    }
    findings
}

/// Whether it may fail and does not say when.
fn is_silent(function: &Function<'_>) -> bool {
    let says = function.attributes.iter().filter_map(doc).any(|line| line.trim() == HEADING);
    function.is_public && !function.is_for_tests && gives_a_result(&function.signature.output) && !says
}

/// Whether the type is called `Result`, or a future's is.
fn gives_a_result(output: &syn::ReturnType) -> bool {
    let syn::ReturnType::Type(_, kind) = output else { return false };
    is_a_result(kind)
}

fn is_a_result(kind: &syn::Type) -> bool {
    match kind {
        syn::Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == "Result"),
        syn::Type::ImplTrait(kind) => kind.bounds.iter().any(|bound| {
            let syn::TypeParamBound::Trait(of) = bound else { return false };
            of.path.segments.last().is_some_and(|last| match &last.arguments {
                syn::PathArguments::AngleBracketed(arguments) => arguments.args.iter().any(
                    |argument| matches!(argument, syn::GenericArgument::AssocType(of) if is_a_result(&of.ty)),
                ),
                _ => false,
            })
        }),
        _ => false,
    }
}

/// A line of a doc comment.
fn doc(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
    let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value else { return None };
    pair.path.is_ident("doc").then(|| text.value())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::house::sketch;

    #[test]
    fn a_public_function_that_may_fail_says_when() {
        let text = "
            /// Does.
            pub fn silent() -> Result<(), E> {}
            /// Does.
            ///
            /// # Errors
            /// When it rains.
            pub fn says() -> io::Result<()> {}
            pub fn never() -> Option<()> {}
            pub(crate) fn inside() -> Result<(), E> {}
            impl X {
                pub fn silent() -> io::Result<()> {}
                pub fn future() -> impl Future<Output = Result<(), E>> + Send {}
                fn own() -> Result<(), E> {}
            }
            #[cfg(test)] mod tests { pub fn f() -> Result<(), E> {} }
        ";
        let house = sketch::house(&[
            ("crates/a/src/lib.rs", text),
            ("crates/a/tests/b.rs", "pub fn f() -> Result<(), E> {}"),
            ("testkit/src/lib.rs", "pub fn f() -> Result<(), E> {}"),
        ]);
        let keys: Vec<String> = check(&house).into_iter().map(|finding| finding.key).collect();
        let names = ["silent", "X::silent", "X::future"];
        assert_eq!(keys, names.map(|name| format!("crates/a/src/lib.rs {name}")));
    }
}
