//! The rules after a reboot: what was confirmed lies in a file that a unit loads before the network is up.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use daemon::files;
use daemon::problem::Problem;

/// What was loaded last, until it is confirmed. In the directory of the loads that wait, which a reboot takes away.
const LOADED: &str = "/run/postern-firewall/loaded.nft";
/// The session of ssh that loaded it.
const SESSION: &str = "/run/postern-firewall/loaded.session";
/// What the unit loads.
pub(crate) const AT_BOOT: &str = "/etc/postern/firewall.nft";

/// Notes the rules that were just loaded, and the session in which they were.
///
/// # Errors
/// When they can't be written.
pub(crate) fn note(ruleset: &str, session: Option<&str>) -> Result<(), Problem> {
    let path = Path::new(SESSION);
    files::replace(path, session.unwrap_or_default().as_bytes())
        .map_err(|error| files::write_problem(path, &error))?;
    if !is_of_the_host() {
        return Ok(());
    }
    let path = Path::new(LOADED);
    files::replace(path, ruleset.as_bytes()).map_err(|error| files::write_problem(path, &error))
}

/// Whether the rules were loaded in this session.
pub(crate) fn loaded_in(session: &str) -> bool {
    std::fs::read_to_string(SESSION).is_ok_and(|noted| noted == session)
}

/// Puts what was noted where the unit finds it. `false` where the rules are not those that this host has when it starts: in a
/// network namespace of its own.
///
/// # Errors
/// When the file can't be written. The rules stay as long as the host runs.
pub(crate) fn keep() -> Result<bool, Problem> {
    let loaded = Path::new(LOADED);
    if !is_of_the_host() || !loaded.exists() {
        return Ok(false);
    }
    let rules = files::read_text(loaded, "load the rules again with --apply")?;
    write(Path::new(AT_BOOT), &rules)?;
    std::fs::remove_file(loaded).map_err(|error| files::write_problem(loaded, &error))?;
    Ok(true)
}

fn write(path: &Path, rules: &str) -> Result<(), Problem> {
    let failed = |error: std::io::Error| files::write_problem(path, &error);
    if let Some(dir) = path.parent() {
        // As the package makes it: a Postfix home has no configuration of ours.
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(failed)?;
    }
    files::replace(path, rules.as_bytes()).map_err(failed)
}

/// Whether the first process has the same network: rules are the network namespace's.
fn is_of_the_host() -> bool {
    let network = |process: &str| std::fs::metadata(format!("/proc/{process}/ns/net")).map(|of| of.ino());
    matches!((network("1"), network("self")), (Ok(first), Ok(own)) if first == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_its_owners_alone_and_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etc/firewall.nft");
        for rules in ["first", "second"] {
            write(&path, rules).unwrap_or_else(|problem| panic!("{problem}"));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), rules);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
