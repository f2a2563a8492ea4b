//! The secrets of rewritten reverse-paths: `srs.secret` in the data directory, a line each, drawn at the first start.
//!
//! The file is written as postsrsd's is, so that whoever comes from there brings his along.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::files;
use daemon::problem::Problem;
use daemon::system;
use link::{SrsError, SrsSecrets};
use mail::{Address, Domain, ReversePath, UnixTime};

/// The file in the data directory.
const FILE: &str = "srs.secret";

/// Rewrites reverse-paths, and opens them. Cloning shares nothing that changes.
#[derive(Clone)]
pub(crate) struct Srs(SrsSecrets);

impl Srs {
    /// Reads the secrets, or draws one.
    pub(crate) fn open(data: &Path) -> Result<Self, Problem> {
        let path = data.join(FILE);
        if !path.exists() {
            let secret = format!("{}\n", STANDARD.encode(system::random::<32>()));
            files::replace(&path, secret.as_bytes()).map_err(|error| files::write_problem(&path, &error))?;
        }
        let advice =
            "restore it from a backup, or remove it: then bounces of mail forwarded so far are refused";
        let text = files::read_text(&path, advice)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let secrets: Vec<String> = lines.map(str::to_owned).collect();
        let secrets = SrsSecrets::try_from(secrets)
            .map_err(|error| Problem::setup(format!("{}: {error}", path.display()), advice))?;
        Ok(Self(secrets))
    }

    /// The secrets, with which an edge checks rewritten addresses.
    pub(crate) fn secrets(&self) -> SrsSecrets {
        self.0.clone()
    }

    /// See [`SrsSecrets::open`].
    pub(crate) fn open_path(&self, address: &Address, now: UnixTime) -> Option<Result<Address, SrsError>> {
        self.0.open(address, now)
    }

    /// The reverse-path under which a message leaves again. When its sender is not proven, or does not fit in, what
    /// comes back goes to the operator: nobody is told of mail that he may not have sent.
    pub(crate) fn rewrite(
        &self,
        sender: &ReversePath,
        proven: bool,
        ours: &Domain,
        now: UnixTime,
    ) -> ReversePath {
        let Some(address) = sender.address() else { return ReversePath::Null };
        let rewritten =
            Some(address).filter(|_| proven).and_then(|address| self.0.rewrite(address, ours, now));
        let to_us = || self.0.rewrite(&Address::at("postmaster", ours).ok()?, ours, now);
        rewritten.or_else(to_us).map_or(ReversePath::Null, ReversePath::Address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);

    fn path(text: &str) -> ReversePath {
        ReversePath::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn only_a_proven_sender_is_told_what_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let srs = Srs::open(dir.path()).unwrap();
        let ours = Domain::parse("example.org").unwrap();
        let back = |sender: &str, proven| {
            let rewritten = srs.rewrite(&path(sender), proven, &ours, NOW);
            rewritten.address().map(|address| {
                assert_eq!(address.domain(), &ours);
                srs.open_path(address, NOW).unwrap().unwrap().to_string()
            })
        };
        assert_eq!(back("a@example.net", true).as_deref(), Some("a@example.net"));
        assert_eq!(back("a@example.net", false).as_deref(), Some("postmaster@example.org"));
        let long = format!("{}@example.net", "a".repeat(60));
        assert_eq!(back(&long, true).as_deref(), Some("postmaster@example.org"));
        assert_eq!(back("", true), None);
    }

    #[test]
    fn the_secret_is_drawn_once_and_others_may_be_added() {
        let dir = tempfile::tempdir().unwrap();
        let ours = Domain::parse("example.org").unwrap();
        let first = Srs::open(dir.path()).unwrap();
        let rewritten = first.rewrite(&path("a@example.net"), true, &ours, NOW);
        let file = dir.path().join(FILE);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("another secret, newer\n\n{text}")).unwrap();
        let second = Srs::open(dir.path()).unwrap();
        assert!(second.open_path(rewritten.address().unwrap(), NOW).unwrap().is_ok());
        assert_ne!(second.rewrite(&path("a@example.net"), true, &ours, NOW), rewritten);
        std::fs::write(&file, "short\n").unwrap();
        assert!(Srs::open(dir.path()).is_err());
    }
}
