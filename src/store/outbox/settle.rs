//! What the centre says back: rows that it has are deleted, rows that it refuses are kept aside,
//! erasures are confirmed; and the new epoch, for a database that was put back.

use rusqlite::{Connection, params};

use super::rows::{self, Quill};
use super::thin;
use super::{Acknowledged, OutboxState};
use crate::record::{Ack, GapRecord, GapWhy, Record, SeqRange, Study};
use crate::room::rows::Stamp;
use crate::store::read;

/// Rows deleted in one step.
const AT_A_TIME: u32 = 500;

/// Of what the centre says why it refuses, this many characters are kept.
const WHY_CHARS: usize = 200;

/// So many numbers are noted as handed out at a time, as far as they exist: not every message that leaves
/// may cost a write of its own.
const HANDED_AT_A_TIME: i64 = 256;

/// A gap record holds no more ranges.
const RANGES_MAX: usize = 4_000;

/// Takes a step of an acknowledgement; true while there is more of it.
pub fn acknowledge(
    conn: &mut Connection,
    boot_no: i64,
    ack: &Ack,
    now: &Stamp,
    done: &mut Acknowledged,
) -> rusqlite::Result<bool> {
    if ack.epoch != thin::epoch(conn)? {
        done.foreign_epoch = true;
        return Ok(false);
    }
    let handed_upto: i64 = conn
        .prepare_cached("SELECT handed_upto FROM uplink")?
        .query_row([], |row| row.get(0))?;
    let named = ack.also.iter().chain(ack.rejected.iter().map(|r| &r.seq));
    if named.chain([&ack.upto]).any(|seq| *seq > handed_upto) {
        done.ahead = true;
        return Ok(false);
    }
    let settled = settled(conn, ack)?;
    let is_new: bool = conn
        .prepare_cached("SELECT acked_upto < ?1 FROM uplink")?
        .query_row([ack.upto], |row| row.get(0))?;
    if settled.is_empty() && !is_new {
        return Ok(false);
    }
    let more = settled.len() >= AT_A_TIME as usize;

    let tx = conn.transaction()?;
    // Before anything is deleted: what is refused is within what is settled.
    for rejected in &ack.rejected {
        let why: String = rejected.why.chars().take(WHY_CHARS).collect();
        if rows::bury(&tx, rejected.seq, &why, boot_no, now)? {
            done.rejected.push(rejected.seq);
        }
    }
    rows::forget_dead_letters(&tx)?;
    for seq in settled {
        if rows::take_out(&tx, seq)? {
            done.deleted += 1;
        }
        done.confirmed_erasures += confirm(&tx, seq, boot_no, now)?;
    }
    if !more {
        tx.prepare_cached("UPDATE uplink SET acked_upto = max(acked_upto, ?1)")?
            .execute([ack.upto])?;
    }
    tx.commit()?;
    Ok(more)
}

/// The waiting numbers that the centre has settled, so many at a time.
fn settled(conn: &Connection, ack: &Ack) -> rusqlite::Result<Vec<i64>> {
    let mut settled: Vec<i64> = read::collect(
        conn,
        "SELECT seq FROM outbox WHERE seq <= ?1 ORDER BY seq LIMIT ?2",
        params![ack.upto, AT_A_TIME],
        |row| row.get(0),
    )?;
    let waits = |seq: i64| {
        conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM outbox WHERE seq = ?1)")?
            .query_row([seq], |row| row.get::<_, bool>(0))
    };
    for seq in ack.also.iter().chain(ack.rejected.iter().map(|r| &r.seq)) {
        if *seq > ack.upto && settled.len() < AT_A_TIME as usize && waits(*seq)? {
            settled.push(*seq);
        }
    }
    Ok(settled)
}

/// The centre has this erasure: the receipt says when it was known.
fn confirm(conn: &Connection, seq: i64, boot_no: i64, now: &Stamp) -> rusqlite::Result<u64> {
    let confirmed = conn
        .prepare_cached(
            "UPDATE erasure_told SET confirmed_boot_no = ?2, confirmed_mono_ms = ?3,
                 confirmed_wall_ms = ?4, confirmed_wall_synced = ?5
             WHERE seq = ?1 AND confirmed_mono_ms IS NULL
                 AND NOT EXISTS (SELECT 1 FROM dead_letter d WHERE d.seq = ?1)",
        )?
        .execute(params![seq, boot_no, now.mono_ms, now.wall_ms, now.synced])?;
    Ok(confirmed as u64)
}

/// Notes, before they leave, that messages up to this number were handed out. An acknowledgement of a
/// higher one speaks of another life of this database: it was put back, and has used numbers anew since.
pub fn hand_out(conn: &Connection, upto: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE uplink SET handed_upto = max(?1, min(?1 + ?2, (SELECT seq FROM sqlite_sequence WHERE name = 'outbox')))
         WHERE handed_upto < ?1",
    )?
    .execute([upto, HANDED_AT_A_TIME])?;
    Ok(())
}

/// The last number that was ever given.
fn last_seq(conn: &Connection) -> rusqlite::Result<i64> {
    let last = read::first(
        conn,
        "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'",
        &[],
        |row| row.get(0),
    )?;
    Ok(last.unwrap_or(0))
}

/// Begins a new epoch. Numbers stay with their messages; the numbers between them, which the centre
/// will never get in this epoch, are told in gap records that take the place of such numbers
/// themselves: the first of them comes before everything else.
pub fn new_epoch(conn: &mut Connection, boot_no: i64, now: Stamp) -> rusqlite::Result<i64> {
    let tx = conn.transaction()?;
    let epoch: i64 = tx.query_row(
        "UPDATE uplink SET acked_upto = 0, handed_upto = 0,
             epoch = 1 + (random() & 9007199254740990)
         RETURNING epoch",
        [],
        |row| row.get(0),
    )?;
    let study: Option<String> = tx.query_row("SELECT study FROM uplink", [], |row| row.get(0))?;
    if let Some(study) = study.as_deref().and_then(Study::of) {
        let mut quill = Quill::new(&tx, boot_no, now);
        for ranges in missing(&tx)?.chunks_mut(RANGES_MAX) {
            // The last number of the first range: in front of it nothing of these ranges waits.
            let place = ranges[0].last;
            ranges[0].last -= 1;
            let ranges = ranges.iter().copied().filter(|r| r.first <= r.last);
            let record = Record::Gap(GapRecord {
                of_epoch: epoch,
                why: GapWhy::NewEpoch,
                ranges: ranges.collect(),
                lost: Vec::new(),
            });
            quill.queue_as(place, &study, &record)?;
        }
    }
    tx.commit()?;
    Ok(epoch)
}

/// Numbers that were given and do not wait.
fn missing(conn: &Connection) -> rusqlite::Result<Vec<SeqRange>> {
    let last_seq = last_seq(conn)?;
    let mut missing = Vec::new();
    let mut next = 1;
    let mut query = conn.prepare("SELECT seq FROM outbox ORDER BY seq")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        if next < seq {
            missing.push(SeqRange {
                first: next,
                last: seq - 1,
            });
        }
        next = seq + 1;
    }
    if next <= last_seq {
        missing.push(SeqRange {
            first: next,
            last: last_seq,
        });
    }
    Ok(missing)
}

pub fn state(conn: &Connection) -> rusqlite::Result<OutboxState> {
    let last_seq = last_seq(conn)?;
    conn.prepare_cached(
        "SELECT epoch, waiting, waiting_bytes, (SELECT wall_ms FROM outbox ORDER BY seq LIMIT 1), acked_upto,
             (SELECT count(*) FROM dead_letter), thinned,
             (SELECT count(*) FROM erasure_told WHERE confirmed_mono_ms IS NULL)
         FROM uplink",
    )?
    .query_row([], |row| {
        let count = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok(OutboxState {
            epoch: row.get(0)?,
            rows: count(1)?,
            bytes: count(2)?,
            oldest_wall_ms: row.get(3)?,
            acked_upto: row.get(4)?,
            last_seq,
            dead_letters: count(5)?,
            thinned: count(6)?,
            erasures_unconfirmed: count(7)?,
        })
    })
}
