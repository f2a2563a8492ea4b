//! What is made of the command line itself: completions for shells, and man pages.

use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use daemon::files;
use daemon::print;
use daemon::problem::{self, Problem};

/// Prints the completions of one shell for this command line.
pub(super) fn completions(mut line: Command, shell: Shell) -> Result<(), Problem> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut line, "postern", &mut text);
    print::text(String::from_utf8_lossy(&text).trim_end());
    Ok(())
}

/// Writes a man page for each command into a directory, which must be there: `postern.1`, `postern-edge-setup.1`.
pub(super) fn man_pages(line: Command, dir: &Path) -> Result<(), Problem> {
    let is_there = dir.is_dir();
    let missing = || Problem::setup(format!("there is no directory {}", dir.display()), "make it first");
    is_there.then_some(()).ok_or_else(missing)?;
    clap_mangen::generate_to(line, dir).map_err(|error| {
        let what = format!("can't write man pages to {}: {}", dir.display(), problem::io_words(&error));
        Problem::failed(what, files::whom_to_be(dir))
    })
}
