//! How the database file is opened: made private, checked, set aside when damaged, brought to the
//! present schema, given its identity. What is in it afterwards is `memory`'s business.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use rusqlite_migration::{M, Migrations};
use uuid::Uuid;

use super::Boot;
use super::error::StoreError;

/// Numbered by their place; SQLite's `user_version` says how many are done. Only ever appended to.
const STEPS: &[M<'static>] = &[
    M::up(include_str!("../../migrations/hub/0001_first.sql")),
    M::up(include_str!("../../migrations/hub/0002_hold_fast.sql")),
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
    let mut conn = open_sound(path, boot)?;
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
    make_private(path).map_err(|source| StoreError::File {
        doing: "opening",
        path: path.to_owned(),
        source,
    })?;
    let mut conn = Connection::open(path).map_err(StoreError::sql("opening"))?;
    let found: i64 = conn
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(StoreError::sql("reading the schema's version"))?;
    let known = i64::try_from(STEPS.len()).expect("a program has few migrations");
    if found > known {
        return Err(StoreError::NewerSchema {
            path: path.to_owned(),
            found,
            known,
        });
    }
    set_up(&conn).map_err(StoreError::sql("setting up"))?;
    if found > 0 && (!is_large(path) || !ran_in(&conn, boot)) {
        quick_check(&conn).map_err(StoreError::sql("checking the file"))?;
    }
    Migrations::from_slice(STEPS).to_latest(&mut conn)?;
    Ok(conn)
}

/// The database, and with it its log, is for the hub's user only. A file that is there is not opened:
/// closing it again would take away the locks that SQLite may hold on it.
fn make_private(path: &Path) -> io::Result<()> {
    match fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        }
        made => made.map(drop),
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

/// Renames a damaged file and its log. Gives the new name and, where it can still be read, the
/// identity: the hub stays the same hub.
pub(super) fn set_aside(
    path: &Path,
    boot: &Boot,
    damage: &StoreError,
) -> Result<(PathBuf, Option<Identity>), StoreError> {
    let identity = salvage(path);
    let name = format!(".corrupt-{}", boot.start.wall_ms);
    // A hub that does not know the time may give the same name twice.
    let aside = (1..)
        .map(|n| {
            with_ending(
                path,
                &if n == 1 {
                    name.clone()
                } else {
                    format!("{name}-{n}")
                },
            )
        })
        .find(|aside| !aside.exists())
        .expect("some number is free");
    for ending in ["", "-wal", "-shm"] {
        let from = with_ending(path, ending);
        match fs::rename(&from, with_ending(&aside, ending)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed.map_err(|source| StoreError::File {
                doing: "setting aside",
                path: from,
                source,
            })?,
        }
    }
    tracing::error!(error = %damage, aside = %aside.display(), "the database is damaged: set aside, a new one begins");
    Ok((aside, identity))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

fn salvage(path: &Path) -> Option<Identity> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    read_identity(&conn).ok()?
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

fn read_identity(conn: &Connection) -> rusqlite::Result<Option<Identity>> {
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
            let Some(prefix) = column.strip_suffix("mono_ms").filter(|p| *p != "beat_") else {
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
        assert_eq!(moments, 23);
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
