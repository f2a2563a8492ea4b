//! What is read beside the code: the documentation of its items, and the operators' book. That the links of all pages lead
//! somewhere is for `tidy` to say.

use crate::step::{Failure, Plan};
use crate::tools::MDBOOK;

/// Where the book is laid, below the target directory.
const BOOK: &str = "book";

/// Builds both; a warning is an error.
pub(crate) fn build(plan: &mut Plan, target: &str) -> Result<(), Failure> {
    let doc = ["doc", "--workspace", "--no-deps", "--config", r#"build.rustdocflags=["-D","warnings"]"#];
    plan.cargo("documentation of items", &doc)?;
    let mdbook = MDBOOK.provide(plan, target)?;
    // Paths that are not whole are taken from the book's own folder.
    let folder = std::path::absolute(format!("{target}/{BOOK}"));
    let folder = folder.map_err(|error| Failure::new(error.to_string()))?.display().to_string();
    plan.program("the book", &mdbook, &["build", "--dest-dir", &folder, "docs"])
}
