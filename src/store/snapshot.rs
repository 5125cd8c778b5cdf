//! The copy of the database that is made before its schema is raised: an older program, or a person,
//! can go back to it. Whether to raise is not decided here.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::aside;
use super::error::StoreError;
use super::open::with_ending;

/// As many are kept: the newest.
const KEPT: usize = 2;

/// What must stay free besides the copy, bytes: the upgrade itself writes too.
const ROOM: u64 = 4 << 20;

/// Copies the database to `hub.db.before-<version>`, whole or not at all.
pub(super) fn take(conn: &Connection, path: &Path, version: i64) -> Result<(), StoreError> {
    let doing = "copying the database before its upgrade";
    let copy = with_ending(path, &format!(".before-{version}"));
    let part = with_ending(&copy, ".part");
    let fail = |source| StoreError::File {
        doing,
        path: copy.clone(),
        source,
    };
    match fs::remove_file(&part) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.map_err(fail)?,
    }
    let size = |ending: &str| fs::metadata(with_ending(path, ending)).map_or(0, |data| data.len());
    // The copy, and as much again for a table that is rewritten.
    let needed = 2 * (size("") + size("-wal")) + ROOM;
    let free = free_space(path.parent().unwrap_or(Path::new("."))).map_err(fail)?;
    if free < needed {
        return Err(StoreError::NoRoom {
            path: path.to_owned(),
            needed_mb: needed.div_ceil(1 << 20),
            free_mb: free >> 20,
        });
    }
    // Made first, so that it is never readable for others; SQLite fills an empty file.
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .map_err(fail)?;
    let name = part.to_string_lossy();
    if let Err(source) = conn.execute("VACUUM INTO ?1", [&name]) {
        let _ = fs::remove_file(&part);
        return Err(StoreError::Sql { doing, source });
    }
    fs::File::open(&part)
        .and_then(|file| {
            aside::leave_undated(&file)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&part, &copy))
        .and_then(|()| fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all())
        .map_err(fail)?;
    tracing::info!(copy = %copy.display(), "the database is upgraded; this copy is as it was before");
    prune(path);
    Ok(())
}

/// Takes away all but the newest.
fn prune(path: &Path) {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return;
    };
    let prefix = format!("{}.before-", name.to_string_lossy());
    let mut found: Vec<(i64, PathBuf)> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_string_lossy().strip_prefix(&prefix)?.parse().ok()?;
            Some((version, entry.path()))
        })
        .collect();
    found.sort();
    for (_, old) in found.iter().rev().skip(KEPT) {
        if let Err(error) = fs::remove_file(old) {
            tracing::warn!(%error, file = %old.display(), "an old copy of the database can't be deleted");
        }
    }
}

/// What the hub's user may still write on the file system of `dir`, bytes.
fn free_space(dir: &Path) -> io::Result<u64> {
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    let name = std::ffi::CString::new(dir.as_os_str().as_bytes())?;
    #[allow(unsafe_code)] // std has no statvfs
    // SAFETY: `name` ends with a zero and outlives the call; a statvfs is plain integers, for which
    // zero is a value, and the call only writes to it.
    let (answer, stat) = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(name.as_ptr(), &mut stat), stat)
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    #[allow(clippy::unnecessary_cast)] // 32 bits wide on some machines
    Ok(stat.f_bavail as u64 * stat.f_frsize as u64)
}
