//! What went wrong inside, before it is told in the words of the store.

use rusqlite::ErrorCode;
use store::StoreError;

/// Stands for the name of the file in errors of statements.
const UNNAMED: &str = "the database";

/// A [`StoreError`] that statements of SQLite can fail with.
#[derive(Debug)]
pub(crate) struct Fault(StoreError);

impl Fault {
    /// What SQLite's `error` means for the database `file`.
    pub(crate) fn of(file: &str, error: &rusqlite::Error) -> Self {
        Self(match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::DiskFull(file.to_owned()),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::Damaged(file.to_owned())
            }
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::SystemIoFailure,
            ) => StoreError::Files { file: file.to_owned(), cause: error.to_string() },
            _ => StoreError::Database(error.to_string()),
        })
    }

    /// With the name of its file put into errors of the disk: statements don't know it.
    pub(crate) fn in_file(self, file: &std::path::Path) -> StoreError {
        let named = |name: String| if name == UNNAMED { file.display().to_string() } else { name };
        match self.0 {
            StoreError::DiskFull(name) => StoreError::DiskFull(named(name)),
            StoreError::Damaged(name) => StoreError::Damaged(named(name)),
            StoreError::Files { file, cause } => StoreError::Files { file: named(file), cause },
            other => other,
        }
    }
}

/// Errors of statements carry no file name; the writer or reader that ran them adds it.
impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::of(UNNAMED, &error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        fault.0
    }
}
