//! How what is kept is read back: rows as the room made them, the history of sessions, and all of one
//! person. Only SELECTs.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, ToSql, params};
use uuid::Uuid;

use super::erase;
use super::moment::{Appended, DISORDER_MS, Moment, first_at_or_after};
use super::write::known_participant_no;
use crate::room::rows::{
    ClaimRow, ConsentRow, GroupRow, ParticipantRow, ParticipationRow, RrMark, RrRow, ScoreRow,
    SessionRow, Stamp, SynchronyRow,
};
use crate::room::{HeartKey, ParticipantId, SettingsHash, StrapNo, Window};

/// A session of the past or the present, with its counts.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionKept {
    pub session: SessionRow,
    /// Most people present at once.
    pub participants: u32,
    /// Most hearts with a score at one grid point.
    pub scored: u32,
    /// Grid points with figures of the group.
    pub grid_points: u32,
}

/// All that is kept of one person.
#[derive(Clone, Debug, PartialEq)]
pub struct ParticipantData {
    pub participant: ParticipantRow,
    pub participations: Vec<ParticipationRow>,
    pub claims: Vec<ClaimRow>,
    /// Number and label of the straps in the claims.
    pub straps: Vec<(StrapNo, String)>,
    /// In the order in which they were given and withdrawn.
    pub consents: Vec<ConsentRow>,
    /// In order of time.
    pub scores: Vec<ScoreRow>,
    /// In order of time.
    pub in_step: Vec<InStep>,
    /// Of the own phone, and of straps while this person wore them; in the order of arrival.
    pub rr: Vec<RrRow>,
}

/// With how many other people one person's heart moved together before one grid point: who they are
/// is theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct InStep {
    pub session_id: String,
    pub at: Stamp,
    pub others: u32,
}

/// Of the session `s`, as `session_row` reads them.
pub(super) const SESSION_COLUMNS: &str = "s.session_id, s.start_wall_ms, s.end_wall_ms, \
     s.start_mono_ms, s.end_mono_ms, s.offset_ms, s.wall_synced";

pub(super) fn session_row(row: &SqlRow<'_>) -> rusqlite::Result<SessionRow> {
    Ok(SessionRow {
        id: row.get(0)?,
        starts_at_ms: row.get(1)?,
        ends_at_ms: row.get(2)?,
        start_mono_ms: row.get(3)?,
        end_mono_ms: row.get(4)?,
        offset_ms: row.get(5)?,
        synced: row.get(6)?,
    })
}

/// Newest first.
pub(super) fn sessions(conn: &Connection, limit: u32) -> rusqlite::Result<Vec<SessionKept>> {
    kept(
        conn,
        "ORDER BY boot_no DESC, start_mono_ms DESC LIMIT ?1",
        params![limit],
    )
}

pub(super) fn session(
    conn: &Connection,
    id: &str,
) -> rusqlite::Result<Option<(SessionKept, Vec<GroupRow>)>> {
    let Some(session) = kept(conn, "WHERE session_id = ?1", params![id])?.pop() else {
        return Ok(None);
    };
    let group = group_of(conn, id)?;
    Ok(Some((session, group)))
}

fn kept(
    conn: &Connection,
    which: &str,
    params: &[&dyn ToSql],
) -> rusqlite::Result<Vec<SessionKept>> {
    let sql = format!(
        "SELECT {SESSION_COLUMNS}, coalesce(max(g.participants), 0), coalesce(max(g.scored), 0), count(g.session_no)
         FROM (SELECT * FROM session {which}) s LEFT JOIN group_score g USING (session_no)
         GROUP BY session_no ORDER BY s.boot_no DESC, s.start_mono_ms DESC"
    );
    collect(conn, &sql, params, |row| {
        Ok(SessionKept {
            session: session_row(row)?,
            participants: row.get(7)?,
            scored: row.get(8)?,
            grid_points: row.get(9)?,
        })
    })
}

/// The group's figures of a session, in order of time.
pub(super) fn group_of(conn: &Connection, session_id: &str) -> rusqlite::Result<Vec<GroupRow>> {
    collect(
        conn,
        "SELECT s.session_id, g.mono_ms, g.wall_ms, g.wall_synced, average, low, medium, high,
             participants, scored, hearts, suppressed, standard_error, algorithm, settings,
             synchrony, chance_high, synchrony_hearts
         FROM session s JOIN group_score g USING (session_no)
         WHERE s.session_id = ?1 ORDER BY g.boot_no, g.mono_ms",
        params![session_id],
        |row| {
            Ok(GroupRow {
                session_id: row.get(0)?,
                at: stamp(row, 1)?,
                average: row.get(4)?,
                low: row.get(5)?,
                medium: row.get(6)?,
                high: row.get(7)?,
                participants: row.get(8)?,
                scored: row.get(9)?,
                hearts: row.get(10)?,
                suppressed: row.get(11)?,
                standard_error: row.get(12)?,
                algorithm: row.get(13)?,
                settings: settings(row, 14)?,
                synchrony: synchrony(row, 15)?,
            })
        },
    )
}

/// Three columns from `first`: `synchrony`, `chance_high`, `synchrony_hearts`; all are filled or none.
pub(super) fn synchrony(row: &SqlRow<'_>, first: usize) -> rusqlite::Result<Option<SynchronyRow>> {
    let Some(index) = row.get(first)? else {
        return Ok(None);
    };
    Ok(Some(SynchronyRow {
        index,
        chance_high: row.get(first + 1)?,
        hearts: row.get(first + 2)?,
    }))
}

/// `which`: the rest of the statement, after the table.
pub(super) fn participants(
    conn: &Connection,
    which: &str,
    params: &[&dyn ToSql],
) -> rusqlite::Result<Vec<ParticipantRow>> {
    let sql = format!(
        "SELECT participant_id, name, intention, since_mono_ms, since_wall_ms, since_wall_synced, has_left
         FROM participant {which}"
    );
    collect(conn, &sql, params, |row| {
        Ok(ParticipantRow {
            id: participant_id(row, 0)?,
            name: row.get(1)?,
            intention: row.get(2)?,
            since: stamp(row, 3)?,
            has_left: row.get(6)?,
        })
    })
}

/// `which`: the rest of the statement; `s` is the session, `p` the participant.
pub(super) fn participations(
    conn: &Connection,
    which: &str,
    params: &[&dyn ToSql],
) -> rusqlite::Result<Vec<ParticipationRow>> {
    let sql = format!(
        "SELECT s.session_id, p.participant_id, joined_mono_ms, joined_wall_ms, joined_wall_synced,
             left_mono_ms, left_wall_ms, left_wall_synced
         FROM participation JOIN session s USING (session_no) JOIN participant p USING (participant_no) {which}"
    );
    collect(conn, &sql, params, |row| {
        Ok(ParticipationRow {
            session_id: row.get(0)?,
            participant: participant_id(row, 1)?,
            joined: stamp(row, 2)?,
            left: open_end(row, 5)?,
        })
    })
}

/// `which`: the rest of the statement; `p` is the participant.
pub(super) fn claims(
    conn: &Connection,
    which: &str,
    params: &[&dyn ToSql],
) -> rusqlite::Result<Vec<ClaimRow>> {
    let sql = format!(
        "SELECT claim_no, p.participant_id, strap_no, from_mono_ms, from_wall_ms, from_wall_synced,
             until_mono_ms, until_wall_ms, until_wall_synced
         FROM claim JOIN participant p USING (participant_no) {which}"
    );
    collect(conn, &sql, params, |row| {
        Ok(ClaimRow {
            no: row.get(0)?,
            participant: participant_id(row, 1)?,
            strap: StrapNo(row.get(2)?),
            from: stamp(row, 3)?,
            until: open_end(row, 6)?,
        })
    })
}

/// `which`: the rest of the statement; the table is `r`.
pub(super) fn rr(
    conn: &Connection,
    which: &str,
    params: &[&dyn ToSql],
) -> rusqlite::Result<Vec<RrRow>> {
    let sql = format!(
        "SELECT r.rr_id, r.strap_no, p.participant_id, r.rr_ms, r.gap_ms, r.mark, r.beat_mono_ms, r.mono_ms, r.wall_ms, r.wall_synced, r.begins, r.via_strap_no
         FROM rr r LEFT JOIN participant p ON p.participant_no = r.phone_no {which}"
    );
    collect(conn, &sql, params, |row| {
        let mark: String = row.get(5)?;
        Ok(RrRow {
            id: row.get(0)?,
            heart: heart(row, 1, 2)?,
            via: row.get::<_, Option<u32>>(11)?.map(StrapNo),
            rr_ms: row.get(3)?,
            gap_ms: row.get(4)?,
            begins: row.get(10)?,
            mark: rr_mark(&mark).ok_or_else(|| no_such_word(5))?,
            beat_mono_ms: row.get(6)?,
            arrived: stamp(row, 7)?,
        })
    })
}

/// Everything of one person up to `now`.
pub(super) fn participant_data(
    conn: &Connection,
    id: ParticipantId,
    now: Moment,
    with_rr: bool,
) -> rusqlite::Result<Option<ParticipantData>> {
    let Some(participant_no) = known_participant_no(conn, id)? else {
        return Ok(None);
    };
    let of_this = params![participant_no];
    let participant = participants(conn, "WHERE participant_no = ?1", of_this)?
        .pop()
        .ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let straps = collect(
        conn,
        "SELECT strap_no, label FROM strap
         WHERE strap_no IN (SELECT strap_no FROM claim WHERE participant_no = ?1) ORDER BY strap_no",
        of_this,
        |row| Ok((StrapNo(row.get(0)?), row.get(1)?)),
    )?;
    let consents = collect(
        conn,
        "SELECT scope, granted, text_version, mono_ms, wall_ms, wall_synced FROM consent
         WHERE participant_no = ?1 ORDER BY consent_no",
        of_this,
        |row| {
            Ok(ConsentRow {
                participant: id,
                scope: row.get(0)?,
                granted: row.get(1)?,
                text_version: row.get(2)?,
                at: stamp(row, 3)?,
            })
        },
    )?;
    let since = erase::since(conn, participant_no)?.earlier(DISORDER_MS);
    let first_score = first_at_or_after(conn, Appended::Score, since)?;
    let rr = if with_rr {
        intervals(conn, participant_no, since, now)?
    } else {
        Vec::new()
    };
    Ok(Some(ParticipantData {
        participant,
        participations: participations(
            conn,
            "WHERE participant_no = ?1 ORDER BY joined_boot_no, joined_mono_ms",
            of_this,
        )?,
        claims: claims(conn, "WHERE participant_no = ?1 ORDER BY claim_no", of_this)?,
        straps,
        consents,
        scores: scores(conn, first_score, participant_no)?,
        in_step: in_step(conn, since, participant_no)?,
        rr,
    }))
}

/// The R-R of one person, in the order of arrival.
fn intervals(
    conn: &Connection,
    participant_no: i64,
    since: Moment,
    now: Moment,
) -> rusqlite::Result<Vec<RrRow>> {
    let first_rr = first_at_or_after(conn, Appended::Rr, since)?;
    let mut intervals = rr(
        conn,
        "WHERE r.rr_id >= ?1 AND r.phone_no = ?2",
        params![first_rr, participant_no],
    )?;
    for worn in erase::worn_by(conn, participant_no, now)? {
        let (from, until) = (worn.from, worn.until);
        intervals.extend(rr(
            conn,
            "WHERE r.rr_id >= ?1 AND r.rr_id < ?2 AND r.strap_no = ?3
             AND (r.boot_no, r.mono_ms) >= (?4, ?5) AND (r.boot_no, r.mono_ms) < (?6, ?7)",
            params![
                first_at_or_after(conn, Appended::Rr, from.earlier(DISORDER_MS))?,
                first_at_or_after(conn, Appended::Rr, until.later(DISORDER_MS))?,
                worn.strap.0,
                from.boot_no,
                from.mono_ms,
                until.boot_no,
                until.mono_ms
            ],
        )?);
    }
    intervals.sort_by_key(|row| row.id);
    Ok(intervals)
}

fn scores(conn: &Connection, first: i64, participant_no: i64) -> rusqlite::Result<Vec<ScoreRow>> {
    let sql = score_sql("c.score_no >= ?1 AND (c.participant_no = ?2 OR c.phone_no = ?2)");
    collect(conn, &sql, params![first, participant_no], score_row)
}

/// When the first and the last of a session's grid points were scored. Scores lie by time, not by session.
pub(super) fn session_span(
    conn: &Connection,
    session_id: &str,
) -> rusqlite::Result<Option<(Moment, Moment)>> {
    let points: Vec<Moment> = collect(
        conn,
        "SELECT g.boot_no, g.mono_ms FROM group_score g JOIN session USING (session_no)
         WHERE session_id = ?1 ORDER BY g.boot_no, g.mono_ms",
        params![session_id],
        |row| {
            Ok(Moment {
                boot_no: row.get(0)?,
                mono_ms: row.get(1)?,
            })
        },
    )?;
    Ok(points.first().copied().zip(points.last().copied()))
}

/// The column of the boot's number in what [`score_sql`] asks for.
pub(super) const SCORE_BOOT_NO: usize = 30;

/// Scores as [`score_row`] reads them, in order of time; `which`: the condition, on the score `c` and the
/// session `s`.
pub(super) fn score_sql(which: &str) -> String {
    format!(
        "SELECT s.session_id, c.mono_ms, c.wall_ms, c.wall_synced, c.strap_no, phone.participant_id, wearer.participant_id,
             score, level, reason, status, last_rr_id, beats, coverage, artefact_pct, age_ms, peak_hz, mean_hr_bpm,
             sdnn_ms, rmssd_ms, pnn50_pct, lf_ms2, hf_ms2, lf_hf, total_ms2, algorithm,
             standard_error, window_start_mono_ms, window_end_mono_ms, settings, c.boot_no
         FROM score c JOIN session s USING (session_no)
             LEFT JOIN participant phone ON phone.participant_no = c.phone_no
             LEFT JOIN participant wearer ON wearer.participant_no = c.participant_no
         WHERE {which} ORDER BY c.score_no"
    )
}

pub(super) fn score_row(row: &SqlRow<'_>) -> rusqlite::Result<ScoreRow> {
    let participant: Option<String> = row.get(6)?;
    let window: (Option<f64>, Option<f64>) = (row.get(27)?, row.get(28)?);
    Ok(ScoreRow {
        session_id: row.get(0)?,
        at: stamp(row, 1)?,
        heart: heart(row, 4, 5)?,
        participant: participant
            .is_some()
            .then(|| participant_id(row, 6))
            .transpose()?,
        score: row.get(7)?,
        standard_error: row.get(26)?,
        level: word(row, 8)?,
        reason: word(row, 9)?,
        status: word(row, 10)?,
        last_rr: row.get(11)?,
        window: window
            .0
            .zip(window.1)
            .map(|(start_mono_ms, end_mono_ms)| Window {
                start_mono_ms,
                end_mono_ms,
            }),
        beats: row.get(12)?,
        coverage: row.get(13)?,
        artefact_pct: row.get(14)?,
        age_ms: row.get(15)?,
        peak_hz: row.get(16)?,
        mean_hr_bpm: row.get(17)?,
        sdnn_ms: row.get(18)?,
        rmssd_ms: row.get(19)?,
        pnn50_pct: row.get(20)?,
        lf_ms2: row.get(21)?,
        hf_ms2: row.get(22)?,
        lf_hf: row.get(23)?,
        total_ms2: row.get(24)?,
        algorithm: row.get(25)?,
        settings: settings(row, 29)?,
    })
}

fn settings(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Option<SettingsHash>> {
    let Some(text) = row.get::<_, Option<String>>(column)? else {
        return Ok(None);
    };
    let read = SettingsHash::read(&text);
    read.map(Some).ok_or_else(|| no_such_word(column))
}

fn in_step(conn: &Connection, since: Moment, participant_no: i64) -> rusqlite::Result<Vec<InStep>> {
    collect(
        conn,
        "SELECT s.session_id, p.mono_ms, p.wall_ms, p.wall_synced, count(*)
         FROM pair p JOIN session s USING (session_no)
         WHERE p.pair_no >= ?1 AND (p.a_participant_no = ?2 OR p.b_participant_no = ?2)
         GROUP BY p.session_no, p.boot_no, p.mono_ms ORDER BY min(p.pair_no)",
        params![
            first_at_or_after(conn, Appended::Pair, since)?,
            participant_no
        ],
        |row| {
            Ok(InStep {
                session_id: row.get(0)?,
                at: stamp(row, 1)?,
                others: row.get(4)?,
            })
        },
    )
}

/// The words that a score row may hold; `ScoreRow` has them without an allocation.
const WORDS: [&str; 13] = [
    "low",
    "medium",
    "high",
    "warming_up",
    "poor_signal",
    "flat",
    "silent",
    "off_body",
    "no_strap",
    "warmup",
    "good",
    "fair",
    "poor",
];

fn word(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Option<&'static str>> {
    let Some(text) = row.get::<_, Option<String>>(column)? else {
        return Ok(None);
    };
    match WORDS.into_iter().find(|word| *word == text) {
        Some(word) => Ok(Some(word)),
        None => Err(no_such_word(column)),
    }
}

/// A text that is in no list of words.
pub(super) fn no_such_word(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, "no such word".into())
}

pub(super) fn rr_mark(word: &str) -> Option<RrMark> {
    RrMark::ALL.into_iter().find(|mark| mark.word() == word)
}

fn heart(row: &SqlRow<'_>, strap_column: usize, phone_column: usize) -> rusqlite::Result<HeartKey> {
    match row.get(strap_column)? {
        Some(no) => Ok(HeartKey::Strap(StrapNo(no))),
        None => Ok(HeartKey::Phone(participant_id(row, phone_column)?)),
    }
}

/// Three columns from `first`: `mono_ms`, `wall_ms`, `wall_synced`.
pub(super) fn stamp(row: &SqlRow<'_>, first: usize) -> rusqlite::Result<Stamp> {
    Ok(Stamp {
        mono_ms: row.get(first)?,
        wall_ms: row.get(first + 1)?,
        synced: row.get(first + 2)?,
    })
}

fn open_end(row: &SqlRow<'_>, first: usize) -> rusqlite::Result<Option<Stamp>> {
    let mono_ms: Option<i64> = row.get(first)?;
    mono_ms.is_some().then(|| stamp(row, first)).transpose()
}

pub(super) fn participant_id(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<ParticipantId> {
    uuid(row, column).map(ParticipantId)
}

pub(super) fn uuid(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Uuid> {
    let text: String = row.get(column)?;
    Uuid::parse_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    })
}

pub(super) fn first<T>(
    conn: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    read: impl FnOnce(&SqlRow<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    conn.prepare_cached(sql)?.query_row(params, read).optional()
}

pub(super) fn collect<T>(
    conn: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    read: impl FnMut(&SqlRow<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    conn.prepare_cached(sql)?.query_map(params, read)?.collect()
}
