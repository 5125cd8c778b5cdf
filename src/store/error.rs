//! What can go wrong in the store, in one place. No policy: who retries and who gives up is decided
//! where the error arrives.

use std::io;
use std::path::PathBuf;

/// The store's errors.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database was written by a newer program: starting again will not help (exit 78).
    #[error(
        "{} has schema {found}, this program knows up to {known}: install the newer version again, \
         or put back the copy from before the upgrade",
        path.display()
    )]
    NewerSchema {
        path: PathBuf,
        found: i64,
        known: i64,
    },

    #[error("{doing} {}: {source}", path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },

    #[error("database, while {doing}: {source}")]
    Sql {
        doing: &'static str,
        source: rusqlite::Error,
    },

    #[error("database schema: {0}")]
    Migration(#[from] rusqlite_migration::Error),

    #[error(
        "{} does not hold a facility's key: it must be 32 random bytes or 64 hexadecimal digits, as \
         `openssl rand -hex 32` makes them",
        path.display()
    )]
    FacilityKey { path: PathBuf },

    #[error("starting the store's thread: {0}")]
    Thread(io::Error),

    #[error("no random numbers from the system: {0}")]
    Random(#[from] getrandom::Error),

    /// A row that can't be kept, however often it is tried: it names something that is not there.
    #[error("not kept, it does not fit what is stored: {0}")]
    Refused(String),

    /// The inbox is full: nothing was done.
    #[error("the store is busy")]
    Busy,

    /// The store's thread has ended.
    #[error("the store is closed")]
    Closed,

    /// At the end, rows were still waiting for a disk that takes them.
    #[error("{rows} rows could not be written before the end")]
    Unwritten { rows: usize },
}

impl StoreError {
    /// For `map_err`: names what was being done.
    pub(super) fn sql(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
        move |source| StoreError::Sql { doing, source }
    }

    /// The file is not a database, or a damaged one.
    pub(super) fn is_corrupt(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let source = match self {
            StoreError::Sql { source, .. } => source,
            StoreError::Migration(rusqlite_migration::Error::RusqliteError { err, .. }) => err,
            _ => return false,
        };
        matches!(
            source.sqlite_error_code(),
            Some(DatabaseCorrupt | NotADatabase)
        )
    }
}

/// Whether a row itself is at fault, so that trying it again is in vain; otherwise it is the disk,
/// the lock, the file.
pub(super) fn is_the_rows_fault(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    matches!(
        error.sqlite_error_code(),
        Some(ConstraintViolation | TooBig | TypeMismatch)
    ) || matches!(
        error,
        rusqlite::Error::ToSqlConversionFailure(_) | rusqlite::Error::QueryReturnedNoRows
    )
}
