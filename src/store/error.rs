//! What can go wrong in the store, in one place. No policy: who retries and who gives up is decided
//! where the error arrives.

use std::io;
use std::path::{Path, PathBuf};

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

    /// The command line asks for it while no hub runs.
    #[error("the PIN can't be read from {}: {source}. {}", path.display(), pin_advice(source))]
    Pin {
        path: PathBuf,
        source: rusqlite::Error,
    },

    /// The file is not what the hub wrote: it is set aside.
    #[error("{why}")]
    Damaged { why: String },

    #[error("{} can only be read", path.display())]
    ReadOnly { path: PathBuf },

    /// An upgrade that could not be undone is not begun.
    #[error(
        "upgrading {} takes a copy of it first: {needed_mb} MB must be free, {free_mb} MB are",
        path.display()
    )]
    NoRoom {
        path: PathBuf,
        needed_mb: u64,
        free_mb: u64,
    },

    /// The file can't be opened; the hub goes on without and tries again.
    #[error("the database can't be used: {0}")]
    Away(String),

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
        matches!(self, StoreError::Damaged { .. })
            || matches!(self.sqlite_code(), Some(DatabaseCorrupt | NotADatabase))
    }

    /// Whether the disk, the lock or the rights may be better in a moment, without a new start.
    pub(super) fn may_pass(&self) -> bool {
        !matches!(
            self,
            StoreError::NewerSchema { .. } | StoreError::Thread(_) | StoreError::Random(_)
        )
    }

    /// What a person can do about it; `dir` is the data directory.
    pub(super) fn advice(&self, dir: &Path) -> String {
        use rusqlite::ErrorCode;
        let file = match self {
            StoreError::File { source, .. } => Some(source.kind()),
            _ => None,
        };
        let no_space = "Free some space on the disk of the data directory.";
        let read_only = "Make the disk of the data directory writable: if it became read-only by itself, \
            `journalctl -k` says why, and a worn card has to be replaced.";
        let rights = format!(
            "The data directory and all in it must belong to the hub's user, who may write there: \
             `chown -R coherence-hub: {dir} && chmod -R u+rwX {dir}`.",
            dir = dir.display()
        );
        let advice = match (self, self.sqlite_code(), file) {
            (StoreError::NoRoom { .. }, ..)
            | (_, Some(ErrorCode::DiskFull), _)
            | (_, _, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) => no_space,
            (StoreError::ReadOnly { .. }, ..)
            | (_, Some(ErrorCode::ReadOnly), _)
            | (_, _, Some(io::ErrorKind::ReadOnlyFilesystem)) => read_only,
            (_, Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen), _)
            | (_, _, Some(io::ErrorKind::PermissionDenied)) => &rights,
            (_, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => {
                "Another program holds the database: close it (`fuser` on the file names it)."
            }
            (_, Some(ErrorCode::SystemIoFailure), _) => {
                "The disk fails: see `journalctl -k`, and replace the card."
            }
            _ => "",
        };
        advice.to_owned()
    }

    fn sqlite_code(&self) -> Option<rusqlite::ErrorCode> {
        let source = match self {
            StoreError::Sql { source, .. } => source,
            StoreError::Migration(rusqlite_migration::Error::RusqliteError { err, .. }) => err,
            _ => return None,
        };
        source.sqlite_error_code()
    }
}

fn pin_advice(error: &rusqlite::Error) -> &'static str {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    match error.sqlite_error_code() {
        Some(DatabaseBusy | DatabaseLocked) => {
            "Another program holds the database: close it (`fuser` on the file names it)."
        }
        _ => {
            "If the file is whole, this is a matter of rights (try it with sudo); if it is damaged, start the hub: it sets it aside and keeps the PIN where that can still be read."
        }
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
