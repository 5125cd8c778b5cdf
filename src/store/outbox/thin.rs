//! What is dropped when too much waits, or for too long: the oldest R-R first, then the oldest series of
//! scores, then the group; never sessions, consents, erasures, gaps and events. What was dropped is told
//! in a gap record, in the same transaction.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::Upstream;
use super::rows::{self, Quill};
use crate::record::{self, GapRecord, GapWhy, Lost, Record, SeqRange, Stream, Study};
use crate::room::rows::Stamp;
use crate::store::moment::Moment;
use crate::store::{forget, read};

/// In the order in which they go.
const EXPENDABLE: [Stream; 3] = [Stream::Rr, Stream::Coherence, Stream::Group];

/// Messages dropped in one step.
const AT_A_TIME: usize = 2_000;

/// So much below the cap is aimed at, so that not every minute drops something and tells of it.
const SLACK: u64 = 64;

/// A gap record with more ranges is left as it is, and another one begun.
const RANGES_MAX: usize = 4_000;

/// Whether anything must go.
pub fn is_due(
    conn: &Connection,
    rules: &Upstream,
    boot_no: i64,
    now: &Stamp,
) -> rusqlite::Result<bool> {
    if waiting_bytes(conn)? > rules.outbox_bytes_max {
        return Ok(true);
    }
    let cuts = cuts(conn, boot_no, now, rules.outbox_age_max_ms)?;
    for stream in EXPENDABLE {
        if !too_old(conn, stream, &cuts, 1)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Drops what must go; gives how many messages that were.
pub fn thin(quill: &mut Quill<'_>, rules: &Upstream) -> rusqlite::Result<u64> {
    let (conn, boot_no, now) = (quill.conn, quill.boot_no, quill.now);
    if !is_due(conn, rules, boot_no, &now)? {
        return Ok(0);
    }
    let mut dropped: BTreeMap<i64, Stream> = BTreeMap::new();
    let age_max_ms = rules.outbox_age_max_ms - rules.outbox_age_max_ms / SLACK as i64;
    let cuts = cuts(conn, boot_no, &now, age_max_ms)?;
    drop_old(conn, &EXPENDABLE, &cuts, &mut dropped)?;
    if waiting_bytes(conn)? > rules.outbox_bytes_max {
        let bytes_max = rules.outbox_bytes_max - rules.outbox_bytes_max / SLACK;
        for stream in EXPENDABLE {
            while dropped.len() < AT_A_TIME
                && waiting_bytes(conn)? > bytes_max
                && let Some(oldest) = oldest(conn, stream)?
            {
                rows::take_out(conn, oldest)?;
                dropped.insert(oldest, stream);
            }
        }
    }
    if dropped.is_empty() {
        return Ok(0);
    }
    count_and_tell(quill, &rules.study, dropped)
}

/// Retention: what is personal and tells of what lies before these moments goes, and so do such dead
/// letters, whether there is a broker or not; true while there is more.
pub fn forget(
    conn: &Connection,
    boot_no: i64,
    now: &Stamp,
    cuts: &[Moment],
) -> rusqlite::Result<bool> {
    rows::forget_old_dead_letters(conn, cuts)?;
    let mut dropped = BTreeMap::new();
    drop_old(conn, &[Stream::Rr, Stream::Coherence], cuts, &mut dropped)?;
    let more = dropped.len() >= AT_A_TIME;
    let study: Option<String> = conn.query_row("SELECT study FROM uplink", [], |row| row.get(0))?;
    if let Some(study) = study.as_deref().and_then(Study::of)
        && !dropped.is_empty()
    {
        count_and_tell(&mut Quill::new(conn, boot_no, *now), &study, dropped)?;
    }
    Ok(more)
}

/// Counts what was dropped and tells of it; gives how many messages that were.
fn count_and_tell(
    quill: &mut Quill<'_>,
    study: &Study,
    dropped: BTreeMap<i64, Stream>,
) -> rusqlite::Result<u64> {
    let thinned = dropped.len() as u64;
    quill
        .conn
        .prepare_cached("UPDATE uplink SET thinned = thinned + ?1")?
        .execute([dropped.len() as i64])?;
    tell(quill, study, GapWhy::Thinned, dropped)?;
    Ok(thinned)
}

fn drop_old(
    conn: &Connection,
    streams: &[Stream],
    cuts: &[Moment],
    dropped: &mut BTreeMap<i64, Stream>,
) -> rusqlite::Result<()> {
    for stream in streams {
        for seq in too_old(conn, *stream, cuts, AT_A_TIME - dropped.len())? {
            rows::take_out(conn, seq)?;
            dropped.insert(seq, *stream);
        }
    }
    Ok(())
}

/// Tells that these messages will never come. A gap record that still waits is taken back and its
/// ranges, and its own number, are told again with the new one: they stay few.
pub fn tell(
    quill: &mut Quill<'_>,
    study: &Study,
    why: GapWhy,
    mut dropped: BTreeMap<i64, Stream>,
) -> rusqlite::Result<()> {
    let conn = quill.conn;
    let of_epoch = epoch(conn)?;
    let mut lost: BTreeMap<Stream, u64> = BTreeMap::new();
    for stream in dropped.values() {
        *lost.entry(*stream).or_default() += 1;
    }
    let mut ranges = Vec::new();
    if let Some((seq, older)) = newest_gap(conn)?
        && older.of_epoch == of_epoch
        && older.why == why
        && older.ranges.len() < RANGES_MAX
    {
        rows::take_out(conn, seq)?;
        dropped.insert(seq, Stream::Gap);
        ranges = older.ranges;
        for older in older.lost {
            *lost.entry(older.stream).or_default() += older.messages;
        }
    }
    ranges.extend(dropped.into_keys().map(|seq| SeqRange {
        first: seq,
        last: seq,
    }));
    let record = Record::Gap(GapRecord {
        of_epoch,
        why,
        ranges: joined(ranges),
        lost: lost
            .into_iter()
            .map(|(stream, messages)| Lost { stream, messages })
            .collect(),
    });
    quill.queue(study, &record, []).map(drop)
}

/// In rising order, with those that touch made one.
fn joined(mut ranges: Vec<SeqRange>) -> Vec<SeqRange> {
    ranges.sort_by_key(|range| range.first);
    let mut joined: Vec<SeqRange> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(before) if range.first <= before.last + 1 => {
                before.last = before.last.max(range.last);
            }
            _ => joined.push(range),
        }
    }
    joined
}

pub fn epoch(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("SELECT epoch FROM uplink")?
        .query_row([], |row| row.get(0))
}

fn waiting_bytes(conn: &Connection) -> rusqlite::Result<u64> {
    conn.prepare_cached("SELECT waiting_bytes FROM uplink")?
        .query_row([], |row| row.get::<_, i64>(0).map(i64::unsigned_abs))
}

fn newest_gap(conn: &Connection) -> rusqlite::Result<Option<(i64, GapRecord)>> {
    let newest: Option<(i64, Vec<u8>)> = read::first(
        conn,
        "SELECT seq, body FROM outbox WHERE stream = ?1 ORDER BY seq DESC LIMIT 1",
        params![Stream::Gap.word()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(
        newest.and_then(|(seq, body)| match record::unpack(Stream::Gap, &body) {
            Ok((_, Record::Gap(gap))) => Some((seq, gap)),
            _ => None,
        }),
    )
}

/// The first message of a stream.
fn oldest(conn: &Connection, stream: Stream) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT seq FROM outbox WHERE stream = ?1 ORDER BY seq LIMIT 1")?
        .query_row([stream.word()], |row| row.get(0))
        .optional()
}

/// Before which everything is older than this, as far as it can be proved. Whether the time comes over
/// the network is not known here, so a long pause is not believed: nothing goes too early.
fn cuts(
    conn: &Connection,
    boot_no: i64,
    now: &Stamp,
    age_max_ms: i64,
) -> rusqlite::Result<Vec<Moment>> {
    let before = Stamp {
        mono_ms: now.mono_ms - age_max_ms,
        wall_ms: now.wall_ms - age_max_ms,
        ..*now
    };
    let boots = forget::boots(conn)?;
    Ok(forget::cuts(&boots, boot_no, &before, false))
}

/// The messages of a stream that tell of minutes before these moments.
fn too_old(
    conn: &Connection,
    stream: Stream,
    cuts: &[Moment],
    limit: usize,
) -> rusqlite::Result<Vec<i64>> {
    let mut found = Vec::new();
    for cut in cuts {
        let left = (limit - found.len()) as i64;
        if left == 0 {
            break;
        }
        let of_boot: Vec<i64> = read::collect(
            conn,
            "SELECT seq FROM outbox WHERE stream = ?1 AND until_boot_no = ?2 AND until_mono_ms < ?3
             ORDER BY until_mono_ms LIMIT ?4",
            params![stream.word(), cut.boot_no, cut.mono_ms, left],
            |row| row.get(0),
        )?;
        found.extend(of_boot);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(pairs: &[(i64, i64)]) -> Vec<SeqRange> {
        pairs
            .iter()
            .map(|&(first, last)| SeqRange { first, last })
            .collect()
    }

    #[test]
    fn ranges_that_touch_or_overlap_become_one() {
        assert_eq!(joined(Vec::new()), []);
        assert_eq!(
            joined(ranges(&[(9, 9), (1, 3), (4, 4), (2, 3), (6, 7)])),
            ranges(&[(1, 4), (6, 7), (9, 9)])
        );
    }
}
