//! `postern import-postfix`: what a Postfix does, said in Postern's words as far as that goes.
//!
//! Reads `main.cf` and the text files of its maps, and makes a `home.toml`, a script of commands for accounts and
//! aliases, and a report that names every setting: taken over, without need of a counterpart, or without one and why.
//! Nothing is changed on the Postfix, and nothing is guessed: what can't be known is in the report.

mod main_cf;
mod maps;
mod members;
mod postfix;

use std::path::{Path, PathBuf};

use daemon::config;
use daemon::files;
use daemon::problem::Problem;
use home::config::HomeConfig;

/// The texts that an import makes.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    /// The configuration of Home, without edges.
    pub home: String,
    /// Commands that add accounts and aliases.
    pub commands: String,
    /// The report: each setting, and what became of it.
    pub report: String,
}

/// The files that an import writes.
const FILES: [&str; 3] = ["home.toml", "accounts.sh", "report.txt"];

/// The daemon has to get to its configuration there; the files are closed themselves.
fn make_open_dir(out: &Path) -> Result<(), Problem> {
    let problem = |error: std::io::Error| files::write_problem(out, &error);
    if out.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(out).map_err(problem)?;
    std::fs::set_permissions(out, std::os::unix::fs::PermissionsExt::from_mode(0o755)).map_err(problem)
}

/// Reads the directory of a Postfix and writes three files into `out`, none of which may be there. Gives their
/// names.
///
/// # Errors
/// When the directory holds no `main.cf`, or a file is there already.
pub(crate) fn import(dir: &Path, out: &Path) -> Result<Vec<PathBuf>, Problem> {
    let paths: Vec<PathBuf> = FILES.iter().map(|name| out.join(name)).collect();
    if let Some(there) = paths.iter().find(|path| path.exists()) {
        return Err(Problem::setup(
            format!("{} is there already", there.display()),
            "name another directory with --out, or move the file away",
        ));
    }
    let main =
        files::read_text(&dir.join("main.cf"), "name the directory of a Postfix, such as /etc/postfix")?;
    let imported = postfix::translate(&main, &maps::Files::new(dir));
    make_open_dir(out)?;
    let texts = [&imported.home, &imported.commands, &imported.report];
    for (path, text) in paths.iter().zip(texts) {
        files::replace(path, text.as_bytes()).map_err(|error| files::write_problem(path, &error))?;
    }
    // What is written has to be what Home reads.
    if imported.home.contains("\ndomains") {
        config::load::<HomeConfig>(&out.join("home.toml"))?;
    }
    Ok(paths)
}
