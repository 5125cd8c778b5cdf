//! Damaged databases: set aside under another name with the reason beside them, a few kept. What
//! counts as damage is `error`'s to say, what begins in their place `open`'s.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OpenFlags};

use super::Boot;
use super::error::StoreError;
use super::open::{Identity, read_identity, with_ending};
use crate::clock::RELEASED_MS;

/// As many are kept: the newest. A card that dies slowly must not be filled by them.
const KEPT: usize = 3;

/// What a database consists of on disk.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// The date of a copy whose age nobody knows yet: whatever clock it was made by may have been wrong. It
/// gets the day on which a clock set over the network first sees it, and its time from then on.
const UNDATED: SystemTime = SystemTime::UNIX_EPOCH;

/// Beside the database: it was found damaged while the hub ran, and why.
const WORD: &str = ".damaged";

/// Leaves word for the next start that the file is damaged.
pub(super) fn leave_word(path: &Path, damage: &StoreError) -> io::Result<()> {
    write_note(&with_ending(path, WORD), &damage.to_string())
}

/// The word that was left, if any.
pub(super) fn word_left(path: &Path) -> Option<StoreError> {
    let why = fs::read_to_string(with_ending(path, WORD)).ok()?;
    Some(StoreError::Damaged { why })
}

/// Renames a damaged file and its log, and writes the reason beside them. Gives the new name and,
/// where it can still be read, the identity: the hub stays the same hub.
pub(super) fn set_aside(
    path: &Path,
    boot: &Boot,
    damage: &StoreError,
) -> Result<(PathBuf, Option<Identity>), StoreError> {
    let fail = |path: PathBuf| {
        move |source| StoreError::File {
            doing: "setting aside",
            path,
            source,
        }
    };
    let identity = salvage(path);
    let aside = free_name(path, boot);
    let mut moved = false;
    for ending in PARTS {
        let from = with_ending(path, ending);
        // Before it has its new name: whoever is killed in between leaves no copy that looks old.
        let _ = date(&from, UNDATED);
        match fs::rename(&from, with_ending(&aside, ending)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => {
                renamed.map_err(fail(from))?;
                moved = true;
            }
        }
    }
    if moved {
        let note = format!(
            "coherence-hub {} set this database aside and began a new one.\n\
             Reason: {damage}\n\
             It is for whoever can repair it (sqlite3 FILE .recover). Copy it away first: only the newest \
             {KEPT} such files are kept, and each is deleted after a week.\n",
            env!("CARGO_PKG_VERSION")
        );
        // Without the note the log still says why.
        let _ = write_note(&with_ending(&aside, ".txt"), &note);
        let _ = date(&with_ending(&aside, ".txt"), UNDATED);
    }
    // Last: whoever is killed before begins again here.
    match fs::remove_file(with_ending(path, WORD)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.map_err(fail(with_ending(path, WORD)))?,
    }
    prune(path, &aside);
    let identity = identity.or_else(|| salvage_older(path));
    tracing::error!(error = %damage, aside = %aside.display(), "the database is damaged: set aside, a new one begins");
    Ok((aside, identity))
}

/// The identity in a file that may be damaged.
pub(super) fn salvage(path: &Path) -> Option<Identity> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    read_identity(&conn).ok()?
}

/// The identity in the newest file set aside that still tells it: for a hub that was killed after
/// setting aside and before it had begun anew.
pub(super) fn salvage_older(path: &Path) -> Option<Identity> {
    asides(path).iter().find_map(|aside| salvage(aside))
}

fn free_name(path: &Path, boot: &Boot) -> PathBuf {
    let name = format!(".corrupt-{}", boot.start.wall_ms);
    let again = (2..).map(|n| format!("{name}-{n}"));
    // A hub that does not know the time may give the same name twice.
    std::iter::once(name.clone())
        .chain(again)
        .map(|ending| with_ending(path, &ending))
        .find(|aside| PARTS.iter().all(|part| !with_ending(aside, part).exists()))
        .expect("some number is free")
}

/// What was set aside, newest first: what has no date yet is newer than what has.
fn asides(path: &Path) -> Vec<PathBuf> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Vec::new();
    };
    let prefix = format!("{}.corrupt-", name.to_string_lossy());
    let is_aside = |name: &str| {
        name.strip_prefix(&prefix)
            .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
    };
    let mut found: Vec<(bool, SystemTime, PathBuf)> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| is_aside(&entry.file_name().to_string_lossy()))
        .filter_map(|entry| {
            let data = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            let made = data.modified().ok()?;
            Some((made < released(), made, entry.path()))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(.., path)| path).collect()
}

/// Takes away the oldest; never the one just made, whatever the clock says.
fn prune(path: &Path, newest: &Path) {
    let older = asides(path).into_iter().filter(|aside| aside != newest);
    for aside in older.skip(KEPT - 1) {
        for ending in PARTS.into_iter().chain([".txt"]) {
            let file = with_ending(&aside, ending);
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, file = %file.display(), "an old damaged database can't be deleted");
                }
                _ => {}
            }
        }
    }
}

/// Takes away copies of the database that are older than `before`, damaged ones and those from before an
/// upgrade: there are people in them who may have been forgotten or erased since. `now`, and with it
/// `before`, comes from a clock that is set over the network. Returns the names of the files that went.
pub(super) fn forget_copies(path: &Path, before: SystemTime, now: SystemTime) -> Vec<String> {
    let mut gone = Vec::new();
    for parts in copies(path).into_values() {
        let undated = |(_, made): &(PathBuf, SystemTime)| *made < released() || *made > now;
        let needs_date = parts.iter().any(undated);
        for (file, made) in &parts {
            let old = parts.iter().all(|(_, made)| *made < before);
            let done = match (needs_date, old) {
                (true, _) => date(file, now),
                (false, true) => fs::remove_file(file),
                (false, false) => continue,
            };
            match done {
                Ok(()) if needs_date => {
                    tracing::debug!(file = %file.display(), ?made, "a copy of the database has a date now")
                }
                Ok(()) => gone.extend(
                    file.file_name()
                        .map(|name| name.to_string_lossy().into_owned()),
                ),
                Err(error) => {
                    tracing::warn!(%error, file = %file.display(), "an old copy of the database can't be deleted, or its age not be noted");
                }
            }
        }
    }
    gone
}

/// The copies with their parts and when each was changed. Only names that the hub gives: what people
/// put beside them is theirs, and so is a directory.
fn copies(path: &Path) -> BTreeMap<String, Vec<(PathBuf, SystemTime)>> {
    let mut copies = BTreeMap::<_, Vec<_>>::new();
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return copies;
    };
    let name = name.to_string_lossy();
    let kinds = [format!("{name}.corrupt-"), format!("{name}.before-")];
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let copy = ["-wal", "-shm", ".txt", ".part"]
            .iter()
            .find_map(|ending| name.strip_suffix(ending))
            .unwrap_or(&name);
        let number = kinds
            .iter()
            .find_map(|kind| copy.strip_prefix(kind.as_str()));
        let is_ours = number.is_some_and(|number| {
            number.starts_with(|c: char| c.is_ascii_digit())
                && number.bytes().all(|b| b.is_ascii_digit() || b == b'-')
        });
        // Not following links: only a file of the hub's own.
        let data = entry
            .metadata()
            .ok()
            .filter(|data| is_ours && data.is_file());
        if let Some(made) = data.and_then(|data| data.modified().ok()) {
            let parts = copies.entry(copy.to_owned()).or_default();
            parts.push((entry.path(), made));
        }
    }
    copies
}

/// No clock that is right shows an earlier moment.
fn released() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(RELEASED_MS.unsigned_abs())
}

fn date(file: &Path, made: SystemTime) -> io::Result<()> {
    fs::File::open(file)?.set_modified(made)
}

/// A new copy whose age will be counted from when a clock is known to be right.
pub(super) fn leave_undated(copy: &fs::File) -> io::Result<()> {
    copy.set_modified(UNDATED)
}

fn write_note(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
