//! The store while its file can't be opened: what the hub knows all the same, and when to try again.
//! Rows are held by the keeper; this says only whether the file that opens at last is the one the hub
//! has been living by.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::Boot;
use super::aside;
use super::error::StoreError;
use super::memory::{self, Memory};
use super::open::{self, Identity, Opened};

/// Between two tries to open the file: there is a commit every 5 s.
const TRY_EVERY: Duration = Duration::from_secs(4);

/// A file of an older schema is copied into memory up to this size, to be read there as the present one.
const COPIED_MAX: u64 = 64 << 20;

/// What it takes to come back.
pub(super) struct Away {
    pub path: PathBuf,
    pub boot: Boot,
    pub identity: Identity,
    /// What the room was told, and counts on from.
    basis: Basis,
    /// Why the file can't be opened.
    pub why: String,
    next_try: Instant,
}

/// A database that agrees in these is the one whose past the room has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Basis {
    hub_id: uuid::Uuid,
    next_rr_id: i64,
    next_claim_no: i64,
    straps: usize,
    people: usize,
}

impl Basis {
    fn of(memory: &Memory) -> Basis {
        Basis {
            hub_id: memory.hub_id,
            next_rr_id: memory.past.next_rr_id,
            next_claim_no: memory.past.next_claim_no,
            straps: memory.past.straps.len(),
            people: memory.past.participants.len(),
        }
    }
}

impl Away {
    /// Whether it is time for another try; then the next is some seconds off.
    pub fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = now >= self.next_try;
        if due {
            self.next_try = now + TRY_EVERY;
        }
        due
    }

    /// Whether what the room knows is what this database says.
    pub fn lived_by(&self, memory: &Memory) -> bool {
        self.basis == Basis::of(memory)
    }
}

/// What stands in for a file that can't be opened: its past as far as it can be read without writing,
/// else its identity, else a new one for the time being.
pub(super) fn stand_in(
    path: &Path,
    boot: &Boot,
    why: &StoreError,
) -> Result<(Opened, Memory, Away), StoreError> {
    let damaged = why.is_corrupt() || aside::word_left(path).is_some();
    let past = if damaged { Ok(None) } else { look_in(path) };
    let read = match past {
        Err(newer @ StoreError::NewerSchema { .. }) => return Err(newer),
        Ok(Some(conn)) => in_this_boot(conn, boot).and_then(|opened| {
            let memory =
                memory::read(&opened, boot).map_err(StoreError::sql("reading what was"))?;
            Ok((opened, memory))
        }),
        Ok(None) => Err(StoreError::Away("it holds nothing".to_owned())),
        Err(error) => Err(error),
    };
    let (mut opened, memory) = match read {
        Ok(read) => read,
        Err(error) => {
            tracing::warn!(%error, "what was before can't be read: nobody and no strap is known");
            nothing_known(path, boot)?
        }
    };
    // Nothing is read from what stands in: a file that is not held open can be unmounted and mended.
    opened.conn = Connection::open_in_memory().map_err(StoreError::sql("standing in"))?;
    let away = Away {
        path: path.to_owned(),
        boot: boot.clone(),
        identity: opened.identity.clone(),
        basis: Basis::of(&memory),
        why: why.to_string(),
        next_try: Instant::now() + TRY_EVERY,
    };
    Ok((opened, memory, away))
}

/// The hub without a past.
fn nothing_known(path: &Path, boot: &Boot) -> Result<(Opened, Memory), StoreError> {
    let salvaged = aside::salvage(path).or_else(|| aside::salvage_older(path));
    let is_new = salvaged.is_none();
    if is_new {
        tracing::warn!(
            "the hub's identity can't be read: it goes by a new one for the time being, with another PIN; \
             who joins now may have to join again later"
        );
    }
    let mut conn = Connection::open_in_memory().map_err(StoreError::sql("standing in"))?;
    open::migrate(&mut conn)?;
    let mut opened = open::enter(conn, boot, salvaged)?;
    // Which PIN holds in the end is known when the file opens.
    opened.first_start = false;
    let memory = memory::read(&opened, boot).map_err(StoreError::sql("reading what was"))?;
    if is_new {
        tracing::warn!(pin = %memory.pin, "for the time being this is the facilitator's PIN, until the database opens");
    }
    Ok((opened, memory))
}

/// The database, read and never written, in the present schema; none where there is nothing in it.
pub(super) fn look_in(path: &Path) -> Result<Option<Connection>, StoreError> {
    // Where the log's index can't be opened, the file alone is read, as it was at its last checkpoint.
    let conn = read_only(path, "mode=ro")
        .or_else(|_| read_only(path, "immutable=1"))
        .map_err(StoreError::sql("looking into the file"))?;
    let version = open::version(&conn)?;
    let known = open::known_version();
    if version > known {
        return Err(StoreError::NewerSchema {
            path: path.to_owned(),
            found: version,
            known,
        });
    }
    if version == 0 {
        return Ok(None);
    }
    if version == known {
        return Ok(Some(conn));
    }
    let size = std::fs::metadata(path).map_or(u64::MAX, |data| data.len());
    if size > COPIED_MAX {
        return Ok(None);
    }
    let mut copy = Connection::open_in_memory().map_err(StoreError::sql("standing in"))?;
    Backup::new(&conn, &mut copy)
        .and_then(|backup| backup.run_to_completion(1_000, Duration::ZERO, None))
        .map_err(StoreError::sql("looking into the file"))?;
    open::migrate(&mut copy)?;
    Ok(Some(copy))
}

fn read_only(path: &Path, how: &str) -> rusqlite::Result<Connection> {
    let name: String = path
        .to_string_lossy()
        .chars()
        .map(|c| match c {
            '?' | '#' | '%' => format!("%{:02x}", u32::from(c)),
            c => c.to_string(),
        })
        .collect();
    let conn = Connection::open_with_flags(
        format!("file:{name}?{how}"),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
    )?;
    // Only the first statement opens the log.
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(conn)
}

/// The boot is not entered: its number is the one that it has or will have.
fn in_this_boot(conn: Connection, boot: &Boot) -> Result<Opened, StoreError> {
    let doing = "looking into the file";
    let newest: Option<(i64, String)> = conn
        .query_row(
            "SELECT boot_no, os_boot_id FROM boot ORDER BY boot_no DESC LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(StoreError::sql(doing))?;
    let boot_no = match newest {
        Some((boot_no, id)) if id == boot.boot_id => boot_no,
        Some((boot_no, _)) => boot_no + 1,
        None => 1,
    };
    let identity = open::read_identity(&conn)
        .map_err(StoreError::sql(doing))?
        .ok_or(StoreError::Away("it names no hub".to_owned()))?;
    Ok(Opened {
        conn,
        boot_no,
        identity,
        first_start: false,
    })
}
