//! What packing does with files and other programs, with errors that name them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::step::Failure;

/// A path of the workspace.
pub(super) fn from_here(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path).display().to_string()
}

pub(super) fn told(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(format!("{what}: {error}"))
}

pub(super) fn make_anew(path: &Path) -> Result<(), Failure> {
    let _ = fs::remove_dir_all(path);
    fs::create_dir_all(path).map_err(|error| told(&path.display().to_string(), &error))
}

pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::copy(from, to).map(drop).map_err(|error| told(&from.display().to_string(), &error))
}

pub(super) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| told(&path.display().to_string(), &error))
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| told(&path.display().to_string(), &error))
}

pub(super) fn run_in(folder: &Path, program: &str, arguments: &[&str]) -> Result<(), Failure> {
    output_in(folder, program, arguments).map(drop)
}

/// What it prints. What it says when it fails is part of the failure.
pub(super) fn output_in(folder: &Path, program: &str, arguments: &[&str]) -> Result<String, Failure> {
    let line = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.map_err(|error| told(&line, &error))?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(Failure::new(format!("{line}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))))
}
