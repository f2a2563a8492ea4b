//! The text files that Postfix' lookup tables are made of (DATABASE_README, virtual(5), aliases(5)).

use std::path::{Path, PathBuf};

use super::main_cf::{balanced, elements, is_comment};

/// Most octets of one file.
const FILE_OCTETS_MAX: u64 = 64 << 20;

/// The files of a Postfix, wherever its directory was copied to.
pub(super) struct Files {
    dir: PathBuf,
}

/// An entry of a table: what is looked up, and what is found.
pub(super) type Entry = (String, String);

/// How the text of a table is written. Its parameter decides that: the same file is read as one or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A key, blanks, a value: postmap(1).
    Blank,
    /// A name, a colon, a value: aliases(5).
    Aliases,
}

impl Format {
    /// That of the tables that a parameter names.
    pub(super) fn of(parameter: &str) -> Self {
        if matches!(parameter, "alias_maps" | "alias_database") { Self::Aliases } else { Self::Blank }
    }
}

impl Files {
    /// Those below the directory that holds `main.cf`.
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The entries of a table that is named as `TYPE:PATH`, and its lines that are none.
    ///
    /// # Errors
    /// The type is none that can be read here, or [`Self::read`] fails.
    pub(super) fn table(&self, name: &str, format: Format) -> Result<(Vec<Entry>, Vec<String>), String> {
        let name = name.strip_prefix("proxy:").unwrap_or(name);
        let Some((kind, path)) = name.split_once(':') else { return Err(format!("{name} is no table")) };
        let entries: Vec<(String, Option<Entry>)> = match kind {
            "hash" | "btree" | "lmdb" | "cdb" | "dbm" | "sdbm" | "texthash" => {
                let text = self.read(path)?;
                lines(&text).map(|line| (line.clone(), entry(&line, format))).collect()
            }
            "inline" => inline(path)?,
            _ => return Err(format!("{name} is no list of entries that could be read")),
        };
        let mut good = Vec::new();
        let mut bad = Vec::new();
        for (line, entry) in entries {
            match entry {
                Some(entry) => good.push(entry),
                None => bad.push(line),
            }
        }
        Ok((good, bad))
    }

    /// The words of a file that a list names in place of its elements.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn words(&self, path: &str) -> Result<Vec<String>, String> {
        Ok(lines(&self.read(path)?).flat_map(|line| elements(&line)).collect())
    }

    /// A file, by the path that Postfix knows it under.
    ///
    /// # Errors
    /// The file is not there, too large, or not UTF-8.
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

/// Lines without comments, put together where one goes on with a blank.
fn lines(text: &str) -> impl Iterator<Item = String> {
    let mut logical: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !is_comment(line)) {
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

/// `{ key=value, { key = words } }`, what stands behind `inline:`.
fn inline(text: &str) -> Result<Vec<(String, Option<Entry>)>, String> {
    let wrong = || format!("inline:{text} has not the form inline:{{ key=value }}");
    let (inner, rest) = balanced(text.trim()).ok_or_else(wrong)?;
    let is_whole = text.trim().starts_with('{') && rest.is_empty();
    let parts = is_whole.then(|| elements(inner)).ok_or_else(wrong)?;
    let pair = |part: String| {
        let bare = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')).unwrap_or(&part);
        let (key, value) = bare.split_once('=').unwrap_or((bare, ""));
        let key = key.trim().to_ascii_lowercase();
        let entry = (!key.is_empty() && bare.contains('=')).then(|| (key, value.trim().to_owned()));
        (part, entry)
    };
    Ok(parts.into_iter().map(pair).collect())
}

fn entry(line: &str, format: Format) -> Option<Entry> {
    let (name, value) = match format {
        Format::Aliases => {
            let colon = outside_of_quotes(line, |c| c == ':')?;
            (line.get(..colon)?, line.get(colon + 1..)?)
        }
        Format::Blank => match outside_of_quotes(line, |c| c == ' ' || c == '\t') {
            Some(blank) => (line.get(..blank)?, line.get(blank..)?),
            None => (line, ""),
        },
    };
    // Aliases are looked up without their quotes, keys of other tables as an address is written.
    let name = name.trim();
    let name = if format == Format::Aliases { name.trim_matches('"') } else { name };
    (!name.is_empty()).then(|| (name.to_ascii_lowercase(), value.trim().to_owned()))
}

fn outside_of_quotes(line: &str, is_end: impl Fn(char) -> bool) -> Option<usize> {
    let mut quoted = false;
    line.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (!quoted && is_end(c)).then_some(at)
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
        write("aliases", "root: alice\n\"a:b\": bob\npostmaster:root\nno colon here\n");
        let files = Files::new(dir.path());
        let virtuals = files.table("proxy:hash:/etc/postfix/virtual", Format::Blank).unwrap();
        let entry = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            virtuals,
            (vec![entry("info@example.org", "bob, alice@example.org"), entry("@example.org", "bob")], vec![])
        );
        let aliases = files.table("hash:/etc/aliases", Format::of("alias_maps")).unwrap();
        let entries = vec![entry("root", "alice"), entry("a:b", "bob"), entry("postmaster", "root")];
        assert_eq!(aliases, (entries, vec!["no colon here".to_owned()]));
        let error = |name: &str| files.table(name, Format::Blank).unwrap_err();
        assert!(error("hash:/etc/postfix/gone").contains("copy it"));
        assert!(error("pgsql:/etc/postfix/virtual").contains("pgsql:/etc/postfix/virtual is no list"));
        assert!(error("nonsense").contains("no table"));
    }

    /// Symptom: `aliases.virtual`, a table of virtual_alias_maps, was read as aliases(5), and "root" of a file with
    /// another name as "root:". Cause: the name of the file decided.
    #[test]
    fn the_parameter_decides_how_a_table_is_written_and_not_its_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("aliases.virtual"), "info@example.org x:y@example.org\n").unwrap();
        let read = |format| Files::new(dir.path()).table("hash:/etc/aliases.virtual", format).unwrap().0;
        assert_eq!(
            read(Format::of("virtual_alias_maps")),
            [("info@example.org".into(), "x:y@example.org".into())]
        );
        assert_eq!(read(Format::of("alias_maps")), [("info@example.org x".into(), "y@example.org".into())]);
    }

    #[test]
    fn tables_that_stand_in_the_parameter_itself_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str| Files::new(dir.path()).table(name, Format::Blank);
        let entry = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("inline:{ {A@example.org = b@example.org, c}, d=e nothing }").unwrap(),
            (vec![entry("a@example.org", "b@example.org, c"), entry("d", "e")], vec!["nothing".to_owned()])
        );
        for wrong in ["inline:{", "inline:a=b", "inline:{a=b} c"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    /// Symptom: mail for a domain that had moved away was taken. Cause: the words of a comment in a list of domains
    /// became domains.
    #[test]
    fn comments_in_a_file_of_domains_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            "# customers since 2019\nhome.example\n  # gone.example moved\n\nshop.example, a.example\n";
        std::fs::write(dir.path().join("vhosts"), text).unwrap();
        let words = Files::new(dir.path()).words("/etc/postfix/vhosts").unwrap();
        assert_eq!(words, ["home.example", "shop.example", "a.example"]);
    }
}
