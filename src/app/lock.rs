//! One hub per data directory. The lock is on the directory itself: no file is made for it, so that a
//! card that takes no writes changes nothing about it, and root, who asks while no hub runs, opens
//! nothing that the hub's user could have put there.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::AppError;

/// Locks the directory, making it where there is none; the lock is held as long as the file is open.
///
/// # Errors
/// Another hub runs on it. A directory that is not there and can't be made is a matter of configuration.
pub(super) fn lock(data_dir: &Path) -> Result<File, AppError> {
    let fail = |error| AppError::DataDir {
        path: data_dir.to_owned(),
        error,
    };
    std::fs::create_dir_all(data_dir).map_err(fail)?;
    let directory = File::open(data_dir).map_err(fail)?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(AppError::InUse {
            path: data_dir.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(fail(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hubs_never_share_a_directory_whatever_becomes_of_the_files_in_it() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let held = lock(dir.path()).expect("nobody holds it");
        // Where a lock file could be, something that can't be opened.
        std::fs::create_dir(dir.path().join("lock")).expect("the directory is ours");
        assert!(matches!(lock(dir.path()), Err(AppError::InUse { .. })));
        drop(held);
        assert!(lock(dir.path()).is_ok());
    }

    #[test]
    fn a_planted_link_is_neither_followed_nor_made_anything_of() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let elsewhere = dir.path().join("elsewhere");
        let data = dir.path().join("data");
        std::fs::create_dir(&data).expect("the directory is ours");
        std::os::unix::fs::symlink(&elsewhere, data.join("lock")).expect("links can be made");
        let _held = lock(&data).expect("nobody holds it");
        assert!(!elsewhere.exists());
    }
}
