//! The rows that wait, and the dead letters: the only place that writes to their tables, so that the sums
//! in `uplink` stay true. What is in a message is decided elsewhere.

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use crate::record::{self, Pseudonym, Record, Stream, Study};
use crate::room::rows::Stamp;
use crate::store::moment::Moment;
use crate::store::read;

/// Dead letters that are kept, the newest.
const DEAD_LETTERS_MAX: u32 = 1_000;

/// A waiting row.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub seq: i64,
    pub stream: Stream,
    pub body: Vec<u8>,
    pub queued_boot_no: i64,
    pub queued: Stamp,
}

impl Waiting {
    /// When it was queued.
    pub fn moment(&self) -> Moment {
        Moment {
            boot_no: self.queued_boot_no,
            mono_ms: self.queued.mono_ms,
        }
    }
}

/// The end of a minute.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub boot_no: i64,
    pub at: Stamp,
}

/// The pen for waiting rows: the moment at which it writes, and how often it did.
pub struct Quill<'a> {
    pub conn: &'a Connection,
    pub boot_no: i64,
    pub now: Stamp,
    pub written: u64,
}

impl<'a> Quill<'a> {
    pub fn new(conn: &'a Connection, boot_no: i64, now: Stamp) -> Self {
        Quill {
            conn,
            boot_no,
            now,
            written: 0,
        }
    }

    /// Queues a record; `subjects`: whose series it holds. Gives its number.
    pub fn queue(
        &mut self,
        study: &Study,
        record: &Record,
        subjects: impl IntoIterator<Item = i64>,
    ) -> rusqlite::Result<i64> {
        self.put_new(study, record, subjects, None)
    }

    /// As [`Quill::queue`], of a minute that ended then: it ages from there.
    pub fn queue_of_minute(
        &mut self,
        study: &Study,
        record: &Record,
        subjects: impl IntoIterator<Item = i64>,
        until: &Ended,
    ) -> rusqlite::Result<i64> {
        self.put_new(study, record, subjects, Some(until))
    }

    fn put_new(
        &mut self,
        study: &Study,
        record: &Record,
        subjects: impl IntoIterator<Item = i64>,
        until: Option<&Ended>,
    ) -> rusqlite::Result<i64> {
        let seq = self.put(None, record.stream(), &record::pack(study, record), until)?;
        let mut subject = self
            .conn
            .prepare_cached("INSERT INTO outbox_subject (seq, participant_no) VALUES (?1, ?2)")?;
        for participant_no in subjects {
            subject.execute([seq, participant_no])?;
        }
        self.written += 1;
        Ok(seq)
    }

    /// As [`Quill::queue`], under a number that was given before and is free again.
    pub fn queue_as(&mut self, seq: i64, study: &Study, record: &Record) -> rusqlite::Result<i64> {
        self.written += 1;
        self.put(
            Some(seq),
            record.stream(),
            &record::pack(study, record),
            None,
        )
    }

    fn put(
        &self,
        seq: Option<i64>,
        stream: Stream,
        body: &[u8],
        until: Option<&Ended>,
    ) -> rusqlite::Result<i64> {
        let now = &self.now;
        self.conn
            .prepare_cached(
                "INSERT INTO outbox (seq, stream, body, boot_no, mono_ms, wall_ms, wall_synced,
                     until_boot_no, until_mono_ms, until_wall_ms, until_wall_synced)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                seq,
                stream.word(),
                body,
                self.boot_no,
                now.mono_ms,
                now.wall_ms,
                now.synced,
                until.map(|until| until.boot_no),
                until.map(|until| until.at.mono_ms),
                until.map(|until| until.at.wall_ms),
                until.map(|until| until.at.synced)
            ])?;
        count(self.conn, 1, body.len() as i64)?;
        Ok(self.conn.last_insert_rowid())
    }
}

/// Changes the sums by this much.
fn count(conn: &Connection, rows: i64, bytes: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE uplink SET waiting = waiting + ?1, waiting_bytes = waiting_bytes + ?2",
    )?
    .execute([rows, bytes])?;
    Ok(())
}

/// Takes a row out; false where it was not there any more.
pub fn take_out(conn: &Connection, seq: i64) -> rusqlite::Result<bool> {
    let taken = remove(conn, seq)?;
    if taken {
        conn.prepare_cached("DELETE FROM outbox_subject WHERE seq = ?1")?
            .execute([seq])?;
    }
    Ok(taken)
}

/// Makes a dead letter of a row, which keeps its subjects; false where it was not there any more.
pub fn bury(
    conn: &Connection,
    seq: i64,
    why: &str,
    boot_no: i64,
    now: &Stamp,
) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO dead_letter (seq, stream, body, why, boot_no, mono_ms, wall_ms, wall_synced,
             until_boot_no, until_mono_ms, until_wall_ms, until_wall_synced)
         SELECT seq, stream, body, ?2, ?3, ?4, ?5, ?6,
             until_boot_no, until_mono_ms, until_wall_ms, until_wall_synced FROM outbox WHERE seq = ?1",
    )?
    .execute(params![seq, why, boot_no, now.mono_ms, now.wall_ms, now.synced])?;
    remove(conn, seq)
}

/// Lets the oldest dead letters go, beyond those that are kept.
pub fn forget_dead_letters(conn: &Connection) -> rusqlite::Result<()> {
    let old: Vec<i64> = read::collect(
        conn,
        "SELECT seq FROM dead_letter ORDER BY seq DESC LIMIT -1 OFFSET ?1",
        params![DEAD_LETTERS_MAX],
        |row| row.get(0),
    )?;
    delete_dead_letters(conn, &old)
}

/// Lets the dead letters go that tell of what lies before these moments, or were refused before them.
pub fn forget_old_dead_letters(conn: &Connection, cuts: &[Moment]) -> rusqlite::Result<()> {
    for cut in cuts {
        let old: Vec<i64> = read::collect(
            conn,
            "SELECT seq FROM dead_letter
             WHERE coalesce(until_boot_no, boot_no) = ?1 AND coalesce(until_mono_ms, mono_ms) < ?2",
            params![cut.boot_no, cut.mono_ms],
            |row| row.get(0),
        )?;
        delete_dead_letters(conn, &old)?;
    }
    Ok(())
}

fn delete_dead_letters(conn: &Connection, seqs: &[i64]) -> rusqlite::Result<()> {
    for seq in seqs {
        conn.execute("DELETE FROM dead_letter WHERE seq = ?1", [seq])?;
        conn.execute("DELETE FROM outbox_subject WHERE seq = ?1", [seq])?;
    }
    Ok(())
}

fn remove(conn: &Connection, seq: i64) -> rusqlite::Result<bool> {
    let bytes: Option<i64> = conn
        .prepare_cached("SELECT length(body) FROM outbox WHERE seq = ?1")?
        .query_row([seq], |row| row.get(0))
        .optional()?;
    let Some(bytes) = bytes else {
        return Ok(false);
    };
    conn.prepare_cached("DELETE FROM outbox WHERE seq = ?1")?
        .execute([seq])?;
    count(conn, -1, -bytes)?;
    Ok(true)
}

/// The waiting rows with a number above `seq`, in their order.
pub fn after(conn: &Connection, seq: i64, limit: u32) -> rusqlite::Result<Vec<Waiting>> {
    read::collect(
        conn,
        "SELECT seq, stream, body, boot_no, mono_ms, wall_ms, wall_synced FROM outbox WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        params![seq, limit],
        waiting,
    )
}

fn waiting(row: &SqlRow<'_>) -> rusqlite::Result<Waiting> {
    Ok(Waiting {
        seq: row.get(0)?,
        stream: stream(row, 1)?,
        body: row.get(2)?,
        queued_boot_no: row.get(3)?,
        queued: read::stamp(row, 4)?,
    })
}

fn stream(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Stream> {
    let word: String = row.get(column)?;
    Stream::of_word(&word).ok_or_else(|| read::no_such_word(column))
}

/// Whose series a message holds.
pub fn subjects(conn: &Connection, seq: i64) -> rusqlite::Result<Vec<i64>> {
    read::collect(
        conn,
        "SELECT participant_no FROM outbox_subject WHERE seq = ?1",
        params![seq],
        |row| row.get(0),
    )
}

/// Takes a person's series out of one message, which keeps its number; gives what remains of a waiting one. A dead letter is
/// not worth the surgery and goes whole, as does what can't be read any more.
pub fn empty(
    conn: &Connection,
    seq: i64,
    participant_no: i64,
    gone: &[Pseudonym],
) -> rusqlite::Result<Option<Vec<u8>>> {
    conn.prepare_cached("DELETE FROM outbox_subject WHERE seq = ?1 AND participant_no = ?2")?
        .execute([seq, participant_no])?;
    let buried = conn
        .prepare_cached("DELETE FROM dead_letter WHERE seq = ?1")?
        .execute([seq])?;
    let lying: Option<(Stream, Vec<u8>)> = conn
        .prepare_cached("SELECT stream, body FROM outbox WHERE seq = ?1")?
        .query_row([seq], |row| Ok((stream(row, 0)?, row.get(1)?)))
        .optional()?;
    let Some((stream, body)) = lying else {
        if buried > 0 {
            conn.prepare_cached("DELETE FROM outbox_subject WHERE seq = ?1")?
                .execute([seq])?;
        }
        return Ok(None);
    };
    let rest = match record::unpack(stream, &body) {
        Ok((study, mut record)) => {
            record.leave_out(gone);
            record::pack(&study, &record)
        }
        Err(_) => Vec::new(),
    };
    conn.prepare_cached("UPDATE outbox SET body = ?2 WHERE seq = ?1")?
        .execute(params![seq, rest])?;
    count(conn, 0, rest.len() as i64 - body.len() as i64)?;
    Ok(Some(rest))
}
