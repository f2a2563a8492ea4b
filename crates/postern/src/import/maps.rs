//! The text files that Postfix' lookup tables are made of (DATABASE_README, virtual(5), aliases(5)).

use std::path::{Path, PathBuf};

/// Octets of one file.
const FILE_OCTETS_MAX: u64 = 64 << 20;

/// The files of a Postfix, wherever its directory was copied to.
pub(super) struct Files {
    dir: PathBuf,
}

/// An entry of a table: what is looked up, and what is found.
pub(super) type Entry = (String, String);

impl Files {
    /// Those below the directory that holds `main.cf`.
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The entries of a table that is named as `TYPE:PATH`.
    ///
    /// # Errors
    /// Why they can't be had.
    pub(super) fn table(&self, name: &str) -> Result<Vec<Entry>, String> {
        let name = name.strip_prefix("proxy:").unwrap_or(name);
        let Some((kind, path)) = name.split_once(':') else { return Err(format!("{name} is no table")) };
        match kind {
            "hash" | "btree" | "lmdb" | "cdb" | "dbm" | "sdbm" | "texthash" => {
                let text = self.read(path)?;
                Ok(lines(&text).filter_map(|line| entry(&line, is_aliases(path))).collect())
            }
            _ => Err(format!("{name} is no list of entries that could be read")),
        }
    }

    /// A file, by the path that Postfix knows it under.
    ///
    /// # Errors
    /// Why it can't be read.
    pub(super) fn read(&self, path: &str) -> Result<String, String> {
        let local = Path::new(path).strip_prefix("/etc/postfix").map(|below| self.dir.join(below));
        let beside = Path::new(path).file_name().map(|name| self.dir.join(name));
        // A copied directory holds its own files, and those of this host are not its.
        let candidates = [local.ok(), beside, Some(PathBuf::from(path)).filter(|_| self.is_live())];
        let found = candidates.into_iter().flatten().find(|candidate| candidate.is_file());
        let found =
            found.ok_or_else(|| format!("{path} is not there; copy it into {}", self.dir.display()))?;
        let octets = found.metadata().map_or(0, |metadata| metadata.len());
        if octets > FILE_OCTETS_MAX {
            return Err(format!("{path} is larger than {FILE_OCTETS_MAX} octets"));
        }
        std::fs::read_to_string(&found).map_err(|error| format!("{path}: {error}"))
    }

    fn is_live(&self) -> bool {
        self.dir.canonicalize().is_ok_and(|dir| dir == Path::new("/etc/postfix"))
    }
}

/// `aliases` files have a colon behind the name.
fn is_aliases(path: &str) -> bool {
    Path::new(path).file_name().is_some_and(|name| name.to_string_lossy().contains("aliases"))
}

/// Lines without comments, put together where one goes on with a blank.
fn lines(text: &str) -> impl Iterator<Item = String> {
    let mut logical: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        match logical.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => logical.push(line.trim().to_owned()),
        }
    }
    logical.into_iter()
}

fn entry(line: &str, is_aliases: bool) -> Option<Entry> {
    let (name, value) = if is_aliases && let Some(colon) = colon(line) {
        (line.get(..colon)?, line.get(colon + 1..)?)
    } else {
        line.split_once([' ', '\t']).unwrap_or((line, ""))
    };
    let name = name.trim().trim_matches('"');
    (!name.is_empty()).then(|| (name.to_ascii_lowercase(), value.trim().to_owned()))
}

/// The colon that ends the name: not one within quotes.
fn colon(line: &str) -> Option<usize> {
    let mut quoted = false;
    line.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == ':' && !quoted).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_from_a_copied_directory() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("virtual", "# c\nInfo@example.org  bob, \n  alice@example.org\n@example.org bob\n");
        write("aliases", "root: alice\n\"a:b\": bob\npostmaster:root\n");
        let files = Files::new(dir.path());
        let virtuals = files.table("proxy:hash:/etc/postfix/virtual").unwrap();
        let entry = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            virtuals,
            [entry("info@example.org", "bob, alice@example.org"), entry("@example.org", "bob")]
        );
        let aliases = files.table("hash:/etc/aliases").unwrap();
        assert_eq!(aliases, [entry("root", "alice"), entry("a:b", "bob"), entry("postmaster", "root")]);
        assert!(files.table("hash:/etc/postfix/gone").unwrap_err().contains("copy it"));
        assert!(
            files
                .table("pgsql:/etc/postfix/virtual")
                .unwrap_err()
                .contains("pgsql:/etc/postfix/virtual is no list")
        );
        assert!(files.table("nonsense").is_err());
    }
}
