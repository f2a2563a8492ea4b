//! Where the programs under test are. They are built when a test is run without `cargo xtask`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{OnceLock, RwLock};

static GIVEN: RwLock<Option<&'static Path>> = RwLock::new(None);

/// Says which program it is, instead of building it. What is running goes on with the one that it was.
///
/// # Panics
/// Never, unless another thread did meanwhile.
pub fn set_postern(program: PathBuf) {
    *GIVEN.write().expect("the program") = Some(Box::leak(program.into_boxed_path()));
}

/// The program.
///
/// # Panics
/// When it can't be built.
#[must_use]
pub fn postern() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(given) = *GIVEN.read().expect("the program") {
        return given;
    }
    BUILT.get_or_init(|| {
        if let Some(given) = std::env::var_os("POSTERN_TEST_BINARY") {
            return given.into();
        }
        build(&["--package", "postern"], "postern")
    })
}

/// The store's example that is killed at every system call.
#[must_use]
pub fn store_crash() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        build(&["--package", "store-sqlite", "--example", "store_crash"], "examples/store_crash")
    })
}

/// Builds it, which costs nothing when that is done, and gives its path. A stale program would test the past.
fn build(arguments: &[&str], name: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "--quiet"]).args(arguments).status().expect("cargo");
    assert!(status.success(), "cargo build {arguments:?} failed");
    let test = std::env::current_exe().expect("the test's own path");
    let built = test.ancestors().skip(1).map(|dir| dir.join(name)).find(|path| path.is_file());
    built.unwrap_or_else(|| panic!("no {name} above {}", test.display()))
}
