//! Values that are kept as JSON, and the number of the format that each file has.
//!
//! A file with fields has the number among them, as `format`. One without it is of the first format: those of the versions
//! before had none, and a file that is a bare value (a list, a text, a map) has no place for one as long as its format is the
//! first. A later format of such a file is an object with a number. Whoever reads a file looks at the number first, so
//! that what a newer version wrote is neither misread nor written over.

use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::files;
use crate::problem::Problem;

/// The format of all files so far.
const FORMAT: u64 = 1;

#[derive(Serialize)]
struct Numbered<'a, T> {
    format: u64,
    #[serde(flatten)]
    value: &'a T,
}

#[derive(Deserialize)]
struct Number {
    #[serde(default)]
    format: Option<u64>,
}

/// The octets of a value with fields, with its format before them.
///
/// # Errors
/// When the value has no fields, or can't be written as JSON.
pub fn numbered(value: &impl Serialize) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec_pretty(&Numbered { format: FORMAT, value })?)
}

/// [`files::replace`] for a value with fields that is kept as JSON.
///
/// # Errors
/// As [`files::replace`] and [`numbered`].
pub fn replace(path: &Path, value: &impl Serialize) -> io::Result<()> {
    files::replace(path, &numbered(value)?)
}

/// [`files::replace`] for a bare value that is kept as JSON: the version before could not read it with anything beside it.
///
/// # Errors
/// As [`files::replace`], and when the value can't be written as JSON.
pub fn replace_plain(path: &Path, value: &impl Serialize) -> io::Result<()> {
    files::replace(path, &serde_json::to_vec_pretty(value)?)
}

/// Reads a value that is kept as JSON; `None` when there is no such file.
///
/// # Errors
/// When the file can't be read, was written by a newer version, or does not hold such a value.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Problem> {
    let advice = "restore the file from a backup, or move it away to begin anew";
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(files::read_problem(path, &error, advice)),
    };
    check_format(path, &content)?;
    let damaged = |error| Problem::setup(format!("{} is damaged: {error}", path.display()), advice);
    serde_json::from_slice(&content).map(Some).map_err(damaged)
}

/// Whether the content of a file is of a format that this version knows.
///
/// # Errors
/// When a newer version wrote it: then it must not be written over.
pub fn check_format(path: &Path, content: &[u8]) -> Result<(), Problem> {
    // What is no object, or has something else under that name, has no number.
    let number = serde_json::from_slice::<Number>(content).ok().and_then(|number| number.format);
    if number.unwrap_or(FORMAT) <= FORMAT {
        return Ok(());
    }
    Err(Problem::setup(
        format!("{} was written by a newer version", path.display()),
        "install that version again, or restore an older backup",
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Pin {
        key: String,
    }

    fn pin() -> Pin {
        Pin { key: "ab".to_owned() }
    }

    #[test]
    fn a_file_says_its_format_and_one_of_a_version_before_without_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin.json");
        assert_eq!(read::<Pin>(&path).unwrap(), None);
        replace(&path, &pin()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\n  \"format\": 1,\n  \"key\": \"ab\"\n}");
        assert_eq!(read(&path).unwrap(), Some(pin()));
        std::fs::write(&path, r#"{"key":"ab"}"#).unwrap();
        assert_eq!(read(&path).unwrap(), Some(pin()));
    }

    #[test]
    fn a_file_of_a_newer_version_is_refused_in_words_that_do_not_tell_to_remove_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin.json");
        // It may look as if it could be read, or be of another shape.
        for text in [r#"{"format":2,"key":"ab"}"#, r#"{"format":2,"keys":["ab"]}"#] {
            std::fs::write(&path, text).unwrap();
            let told = read::<Pin>(&path).unwrap_err().to_string();
            assert!(told.contains("pin.json was written by a newer version"), "{told}");
            assert!(told.contains("install that version again, or restore an older backup"), "{told}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert!(read::<String>(&path).unwrap_err().to_string().contains("newer"), "a bare value became one");
        std::fs::write(&path, r#"{"format":1,"key":3}"#).unwrap();
        assert!(read::<Pin>(&path).unwrap_err().to_string().contains("is damaged"));
    }

    #[test]
    fn a_bare_value_is_of_the_first_format_whatever_it_has_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("map.json");
        let map =
            BTreeMap::from([("format".to_owned(), "x".to_owned()), ("a.example".to_owned(), "y".to_owned())]);
        replace_plain(&path, &map).unwrap();
        assert_eq!(read(&path).unwrap(), Some(map));
        for text in ["7", "\"mx.example.org:443\"", "[1,2]"] {
            std::fs::write(&path, text).unwrap();
            assert!(read::<serde_json::Value>(&path).unwrap().is_some(), "{text}");
        }
        assert!(numbered(&7).is_err(), "a number has no fields");
    }
}
