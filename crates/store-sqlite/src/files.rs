//! The files of the store's directory: their names, and how they come and go durably.

use std::fs;
use std::path::{Path, PathBuf};

use store::StoreError;

/// The database of an account whose name was checked.
pub(crate) fn account_file(directory: &Path, account: &str) -> PathBuf {
    directory.join(format!("{account}.db"))
}

pub(crate) fn file_names(directory: &Path) -> Result<Vec<String>, StoreError> {
    let error = |error: std::io::Error| StoreError::from_io(directory, &error);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(error)? {
        names.extend(entry.map_err(error)?.file_name().into_string());
    }
    Ok(names)
}

pub(crate) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

pub(crate) fn remove_if_there(file: &Path) -> Result<(), StoreError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::from_io(file, &error)),
        _ => Ok(()),
    }
}

/// Makes names in the file's directory durable.
pub(crate) fn sync_parent(file: &Path) -> Result<(), StoreError> {
    let directory = file.parent().unwrap_or(Path::new("."));
    let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| StoreError::from_io(directory, &error))
}
