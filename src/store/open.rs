//! How the database file is opened: made private, checked, brought to the present schema, given its
//! identity. What becomes of a file that is damaged or can't be opened: `aside`, `away`. What is in it afterwards is `memory`'s business.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use rusqlite_migration::{M, Migrations};
use uuid::Uuid;

use super::Boot;
use super::error::StoreError;
use super::snapshot;

/// Numbered by their place; SQLite's `user_version` says how many are done. Only ever appended to.
const STEPS: &[M<'static>] = &[
    M::up(include_str!("../../migrations/hub/0001_first.sql")),
    M::up(include_str!("../../migrations/hub/0002_hold_fast.sql")),
    M::up(include_str!("../../migrations/hub/0003_owed.sql")),
    M::up(include_str!("../../migrations/hub/0004_proof.sql")),
    M::up(include_str!("../../migrations/hub/0005_synchrony.sql")),
    M::up(include_str!("../../migrations/hub/0006_straps.sql")),
    M::up(include_str!("../../migrations/hub/0007_twins.sql")),
    M::up(include_str!("../../migrations/hub/0008_stage.sql")),
];

/// A writer elsewhere (`sqlite3` on the command line) is waited for this long; then the commit counts
/// as failed and is tried again.
const BUSY_TIMEOUT_MS: u32 = 2_000;

/// The log shrinks back to this size after a checkpoint, bytes.
const WAL_SIZE_LIMIT: i64 = 4 << 20;

/// Up to this size the file is checked whole at every start, bytes; a larger one only at the first
/// start after a boot. A process that dies can't tear a page, the system's fall can; and after a
/// mere restart the room waits for its scores.
const QUICK_CHECK_ALWAYS: u64 = 32 << 20;

/// An open database, ready to be written by its one thread.
#[derive(Debug)]
pub(super) struct Opened {
    pub conn: Connection,
    pub boot_no: i64,
    pub identity: Identity,
    /// The hub had no identity before.
    pub first_start: bool,
}

/// What makes this hub this hub.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub hub_id: Uuid,
    pub hub_key: [u8; 32],
    pub pin: String,
}

/// Key and PIN never get into a log.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("hub_id", &self.hub_id)
            .finish_non_exhaustive()
    }
}

/// Opens the file and enters this boot. `salvaged`: the identity for a database that has none yet.
pub(super) fn open(
    path: &Path,
    boot: &Boot,
    salvaged: Option<Identity>,
) -> Result<Opened, StoreError> {
    enter(open_sound(path, boot)?, boot, salvaged)
}

/// Enters this boot, and the identity where there is none.
pub(super) fn enter(
    mut conn: Connection,
    boot: &Boot,
    salvaged: Option<Identity>,
) -> Result<Opened, StoreError> {
    let tx = conn.transaction().map_err(StoreError::sql("opening"))?;
    let boot_no = enter_boot(&tx, boot).map_err(StoreError::sql("noting the boot"))?;
    let known = read_identity(&tx).map_err(StoreError::sql("reading the hub's identity"))?;
    let first_start = known.is_none() && salvaged.is_none();
    let identity = match known {
        Some(identity) => identity,
        None => {
            let identity = salvaged.map_or_else(Identity::random, Ok)?;
            write_identity(&tx, &identity, boot_no, boot)
                .map_err(StoreError::sql("writing the hub's identity"))?;
            identity
        }
    };
    tx.commit().map_err(StoreError::sql("noting the boot"))?;
    set_synchronous(&conn, Synchronous::Normal).map_err(StoreError::sql("opening"))?;
    Ok(Opened {
        conn,
        boot_no,
        identity,
        first_start,
    })
}

/// How much a commit waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Synchronous {
    /// Survives the death of the process at once, of the power after the next checkpoint.
    Normal,
    /// On the card before it is answered.
    Full,
}

/// Works between transactions only.
pub(super) fn set_synchronous(conn: &Connection, how: Synchronous) -> rusqlite::Result<()> {
    conn.pragma_update(
        None,
        "synchronous",
        match how {
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
        },
    )
}

/// Opens a file that is sound and of the present schema; leaves `synchronous` at FULL.
fn open_sound(path: &Path, boot: &Boot) -> Result<Connection, StoreError> {
    let was_empty = whole(path)?;
    make_private(path).map_err(|source| StoreError::File {
        doing: "opening",
        path: path.to_owned(),
        source,
    })?;
    let mut conn = Connection::open(path).map_err(StoreError::sql("opening"))?;
    let busy = Duration::from_millis(BUSY_TIMEOUT_MS.into());
    conn.busy_timeout(busy)
        .map_err(StoreError::sql("opening"))?;
    let found = version(&conn)?;
    let known = known_version();
    if found > known {
        return Err(StoreError::NewerSchema {
            path: path.to_owned(),
            found,
            known,
        });
    }
    // SQLite opens what it may not write all the same, for reading, and stays at that.
    if conn
        .is_readonly("main")
        .map_err(StoreError::sql("opening"))?
    {
        return Err(StoreError::ReadOnly {
            path: path.to_owned(),
        });
    }
    set_up(&conn).map_err(StoreError::sql("setting up"))?;
    if found > 0 && (!is_large(path) || !ran_in(&conn, boot)) {
        tell_if_long(path, "checking the database");
        quick_check(&conn).map_err(StoreError::sql("checking the file"))?;
    }
    if (1..known).contains(&found) {
        tell_if_long(path, "copying the database before its upgrade");
        snapshot::take(&conn, path, known)?;
    }
    migrate(&mut conn)?;
    if was_empty {
        tracing::warn!(file = %path.display(), "the database was an empty file: a new one has begun in it");
    }
    Ok(conn)
}

/// How many migrations the database has seen.
pub(super) fn version(conn: &Connection) -> Result<i64, StoreError> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(StoreError::sql("reading the schema's version"))
}

/// How many migrations this program knows.
pub(super) fn known_version() -> i64 {
    i64::try_from(STEPS.len()).expect("a program has few migrations")
}

/// Brings a database to the present schema; each step whole or not at all.
pub(super) fn migrate(conn: &mut Connection) -> Result<(), StoreError> {
    Ok(Migrations::from_slice(STEPS).to_latest(conn)?)
}

/// Finds what SQLite would take for a database that is yet to begin, and is none. True for an empty file.
fn whole(path: &Path) -> Result<bool, StoreError> {
    let data = fs::metadata(path);
    let damaged = |why: &str| {
        Err(StoreError::Damaged {
            why: format!("{}: {why}", path.display()),
        })
    };
    if data.as_ref().is_ok_and(fs::Metadata::is_dir) {
        return damaged("a directory is in its place");
    }
    let empty = match &data {
        Ok(data) => data.len() == 0,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    let log = fs::metadata(with_ending(path, "-wal"));
    if empty && log.is_ok_and(|log| log.is_file() && log.len() > 0) {
        return damaged("the file is gone or empty, only its log is there");
    }
    Ok(empty && data.is_ok())
}

/// The database, and with it its log, is for the hub's user only. A file that is there is not opened:
/// closing it again would take away the locks that SQLite may hold on it.
fn make_private(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(data) if data.permissions().mode() & 0o777 == 0o600 => Ok(()),
        Ok(_) => fs::set_permissions(path, fs::Permissions::from_mode(0o600)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map(drop),
        Err(error) => Err(error),
    }
}

fn set_up(conn: &Connection) -> rusqlite::Result<()> {
    // Takes effect in a new file only, and only before anything is written to it.
    conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    conn.pragma_update(None, "busy_timeout", BUSY_TIMEOUT_MS)?;
    // The pragma answers with the mode that holds afterwards; a file system without shared memory
    // keeps another, which is slower and as safe.
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    set_synchronous(conn, Synchronous::Full)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "secure_delete", true)?;
    conn.pragma_update(None, "journal_size_limit", WAL_SIZE_LIMIT)?;
    // A card that fails under a memory map ends the process by SIGBUS instead of an error.
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "trusted_schema", false)
}

/// Whoever waits for the hub sees what it does meanwhile.
fn tell_if_long(path: &Path, doing: &str) {
    if is_large(path) {
        let mb = fs::metadata(path).map_or(0, |data| data.len() >> 20);
        tracing::info!("{doing}, {mb} MB: this may take minutes");
    }
}

fn is_large(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.len() > QUICK_CHECK_ALWAYS)
}

/// Whether the hub last ran in this same boot.
fn ran_in(conn: &Connection, boot: &Boot) -> bool {
    conn.query_row(
        "SELECT os_boot_id FROM boot ORDER BY boot_no DESC LIMIT 1",
        [],
        |row| row.get::<_, String>(0),
    )
    .is_ok_and(|id| id == boot.boot_id)
}

fn quick_check(conn: &Connection) -> rusqlite::Result<()> {
    let verdict: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        return Ok(());
    }
    let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(corrupt, Some(verdict)))
}

/// The path with something behind its name.
pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

/// The number of this boot; a new one unless the newest is the same.
fn enter_boot(conn: &Connection, boot: &Boot) -> rusqlite::Result<i64> {
    let newest = conn
        .query_row(
            "SELECT boot_no, os_boot_id FROM boot ORDER BY boot_no DESC LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get::<_, String>(1)?)),
        )
        .optional()?;
    if let Some((boot_no, _)) = newest.filter(|(_, id)| *id == boot.boot_id) {
        return Ok(boot_no);
    }
    let start = &boot.start;
    conn.query_row(
        "INSERT INTO boot (os_boot_id, start_mono_ms, start_wall_ms, start_wall_synced)
         VALUES (?1, ?2, ?3, ?4) RETURNING boot_no",
        params![boot.boot_id, start.mono_ms, start.wall_ms, start.synced],
        |row| row.get(0),
    )
}

pub(super) fn read_identity(conn: &Connection) -> rusqlite::Result<Option<Identity>> {
    conn.query_row("SELECT hub_id, hub_key, pin FROM meta", [], |row| {
        Ok(Identity {
            hub_id: super::read::uuid(row, 0)?,
            hub_key: row.get(1)?,
            pin: row.get(2)?,
        })
    })
    .optional()
}

fn write_identity(
    conn: &Connection,
    identity: &Identity,
    boot_no: i64,
    boot: &Boot,
) -> rusqlite::Result<()> {
    let start = &boot.start;
    conn.execute(
        "INSERT INTO meta (only_row, hub_id, hub_key, pin, created_boot_no, created_mono_ms, created_wall_ms, created_wall_synced)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            identity.hub_id.to_string(),
            identity.hub_key,
            identity.pin,
            boot_no,
            start.mono_ms,
            start.wall_ms,
            start.synced
        ],
    )?;
    Ok(())
}

impl Identity {
    fn random() -> Result<Identity, StoreError> {
        let mut hub_key = [0; 32];
        getrandom::fill(&mut hub_key)?;
        Ok(Identity {
            hub_id: Uuid::new_v4(),
            hub_key,
            pin: random_pin()?,
        })
    }
}

/// Six digits.
pub fn random_pin() -> Result<String, getrandom::Error> {
    // Drawn again above the last whole multiple: every PIN is as likely as any other.
    const PINS: u32 = 1_000_000;
    loop {
        let drawn = getrandom::u32()?;
        if drawn < u32::MAX - u32::MAX % PINS {
            return Ok(format!("{:06}", drawn % PINS));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_migrations_are_valid() {
        Migrations::from_slice(STEPS).validate().unwrap();
    }

    #[test]
    fn every_moment_in_the_schema_has_its_boot_and_both_clocks() {
        let mut conn = Connection::open_in_memory().unwrap();
        Migrations::from_slice(STEPS).to_latest(&mut conn).unwrap();
        let mut query = conn
            .prepare(
                "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c
                 WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'",
            )
            .unwrap();
        let columns: Vec<(String, String)> = query
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let has =
            |table: &str, column: String| columns.iter().any(|(t, c)| t == table && *c == column);
        let mut moments = 0;
        for (table, column) in &columns {
            // By the chain of intervals, in the boot of their row.
            let by_beats = ["beat_", "window_start_", "window_end_"];
            let prefix = column.strip_suffix("mono_ms");
            let Some(prefix) = prefix.filter(|prefix| !by_beats.contains(prefix)) else {
                continue;
            };
            // A session's start and end share one boot and one "synced"; so does the start of a boot.
            let shared = table == "session" || table == "boot";
            moments += 1;
            assert!(has(table, format!("{prefix}wall_ms")), "{table}.{prefix}");
            assert!(
                shared || has(table, format!("{prefix}boot_no")),
                "{table}.{prefix}"
            );
            assert!(
                shared || has(table, format!("{prefix}wall_synced")),
                "{table}.{prefix}"
            );
        }
        assert_eq!(moments, 31);
        assert!(
            columns
                .iter()
                .all(|(table, column)| table != "group_score" || column != "participant_no")
        );
    }

    #[test]
    fn a_random_identity_has_six_digits_and_shows_no_secret() {
        let identity = Identity::random().unwrap();
        assert_eq!(identity.pin.len(), 6);
        assert!(identity.pin.bytes().all(|b| b.is_ascii_digit()));
        assert_ne!(identity.hub_key, [0; 32]);
        assert!(!format!("{identity:?}").contains(&identity.pin));
    }
}
