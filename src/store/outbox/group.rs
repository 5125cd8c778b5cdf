//! The group's figures of a minute, and the sessions that have ended. What the room did not show stays
//! here, and also what would show somebody who did not consent: beside the scores of those who did, the
//! mean tells the rest.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};

use super::gate::Gate;
use super::personal::leave_out_if;
use super::times::Calendar;
use crate::record::{GroupSeries, Num, SessionName, SessionRecord};
use crate::room::Suppression;
use crate::room::rows::Stamp;
use crate::store::moment::Moment;
use crate::store::read;

/// The grid points from `from` to before `until`, of sessions after `after_session_no`; nothing where
/// all of them are suppressed. `told`: the scores of single people that leave, by grid point.
pub fn group(
    conn: &Connection,
    calendar: &mut Calendar<'_>,
    rule: Suppression,
    after_session_no: i64,
    from: Moment,
    until: Moment,
    told: &HashMap<Moment, u32>,
) -> rusqlite::Result<Vec<GroupSeries>> {
    let mut sessions: BTreeMap<SessionName, GroupSeries> = BTreeMap::new();
    let mut query = conn.prepare_cached(
        "SELECT s.session_id, g.boot_no, g.mono_ms, g.wall_ms, g.wall_synced, average, low, medium, high,
             participants, scored, hearts, suppressed, synchrony, chance_high, synchrony_hearts
         FROM group_score g JOIN session s USING (session_no)
         WHERE g.session_no > ?1 AND (g.boot_no, g.mono_ms) >= (?2, ?3) AND (g.boot_no, g.mono_ms) < (?4, ?5)
         ORDER BY g.session_no, g.boot_no, g.mono_ms",
    )?;
    let mut rows = query.query(params![
        after_session_no,
        from.boot_no,
        from.mono_ms,
        until.boot_no,
        until.mono_ms
    ])?;
    while let Some(row) = rows.next()? {
        let session: String = row.get(0)?;
        let Some(session) = SessionName::of(&session) else {
            continue;
        };
        let boot_no: i64 = row.get(1)?;
        let at: Stamp = read::stamp(row, 2)?;
        let point = Moment {
            boot_no,
            mono_ms: at.mono_ms,
        };
        let scored: u32 = row.get(10)?;
        let hearts: u32 = row.get(11)?;
        // Several phones of one address are one heart and as many scores.
        let told = told.get(&point).copied().unwrap_or(0);
        let all_are_told = scored == told;
        let others = if all_are_told {
            0
        } else {
            hearts.saturating_sub(told).max(1)
        };
        let is_shown = !row.get::<_, bool>(12)?
            && hearts >= rule.min_group
            && !tells_the_rest(others, rule.min_group);
        let by_level = is_shown
            && hearts >= rule.min_distribution
            && !tells_the_rest(others, rule.min_distribution);
        let series = sessions
            .entry(session.clone())
            .or_insert_with(|| GroupSeries {
                session,
                at: Vec::new(),
                suppressed: Vec::new(),
                average: Vec::new(),
                low: Vec::new(),
                medium: Vec::new(),
                high: Vec::new(),
                participants: Vec::new(),
                scored: Vec::new(),
                synchrony: Vec::new(),
                chance_high: Vec::new(),
            });
        let level = |column| -> rusqlite::Result<Option<u32>> {
            by_level.then(|| row.get(column)).transpose()
        };
        let average: Option<f64> = row.get(5)?;
        series.at.push(calendar.boot(boot_no)?.wall_ms(&at));
        series.suppressed.push(!is_shown);
        series.average.push(
            average
                .filter(|_| is_shown)
                .and_then(|average| Num::rounded(average, 2)),
        );
        series.low.push(level(6)?);
        series.medium.push(level(7)?);
        series.high.push(level(8)?);
        let participants: u32 = row.get(9)?;
        series.participants.push(is_shown.then_some(participants));
        series.scored.push(is_shown.then_some(scored));
        // Which of the hearts that are told were in it is not known: as if all were.
        let synchrony = read::synchrony(row, 13)?.filter(|synchrony| {
            let others = synchrony.hearts.saturating_sub(told);
            is_shown
                && synchrony.hearts >= rule.min_group
                && (all_are_told || others >= rule.min_group)
        });
        let figure = |figure: Option<f64>| figure.and_then(|figure| Num::rounded(figure, 2));
        series
            .synchrony
            .push(figure(synchrony.map(|synchrony| synchrony.index)));
        series
            .chance_high
            .push(figure(synchrony.map(|synchrony| synchrony.chance_high)));
    }
    if sessions
        .values()
        .all(|series| series.suppressed.iter().all(|hidden| *hidden))
    {
        return Ok(Vec::new());
    }
    let mut series: Vec<GroupSeries> = sessions.into_values().collect();
    for series in &mut series {
        leave_out_if(&mut series.suppressed, |hidden| !hidden);
        leave_out_if(&mut series.synchrony, Option::is_none);
        leave_out_if(&mut series.chance_high, Option::is_none);
    }
    Ok(series)
}

/// Some hearts are in the group's figure and in no series, but too few to hide each other.
fn tells_the_rest(others: u32, min: u32) -> bool {
    (1..min).contains(&others)
}

/// The sessions after `after_session_no` that ended before `until`, those of which nobody may know left
/// out; with the number of the last.
pub fn ended(
    conn: &Connection,
    gate: &mut Gate<'_>,
    calendar: &mut Calendar<'_>,
    rule: Suppression,
    after_session_no: i64,
    until: Moment,
) -> rusqlite::Result<(Vec<SessionRecord>, i64)> {
    let mut last = after_session_no;
    let mut told = Vec::new();
    let mut query = conn.prepare_cached(
        "SELECT session_no, boot_no, session_id, start_mono_ms, end_mono_ms, start_wall_ms, end_wall_ms, offset_ms, wall_synced
         FROM session WHERE session_no > ?1 ORDER BY session_no LIMIT 16",
    )?;
    let mut rows = query.query([after_session_no])?;
    while let Some(row) = rows.next()? {
        let boot_no: i64 = row.get(1)?;
        let end_mono_ms: i64 = row.get(4)?;
        let end = Moment {
            boot_no,
            mono_ms: end_mono_ms,
        };
        if end >= until {
            break;
        }
        last = row.get(0)?;
        let (participants, scored, grid_points) = counts(conn, last, rule)?;
        let name: String = row.get(2)?;
        let Some(session) = SessionName::of(&name) else {
            continue;
        };
        if grid_points == 0 && !somebody_consented(conn, gate, last)? {
            continue;
        }
        let synced: bool = row.get(8)?;
        let stamp = |mono_ms, wall_ms| Stamp {
            mono_ms,
            wall_ms,
            synced,
        };
        let times = calendar.boot(boot_no)?;
        let end = stamp(end_mono_ms, row.get(6)?);
        let (ends_at, clock) = times.told(&end);
        told.push(SessionRecord {
            session,
            starts_at: times.wall_ms(&stamp(row.get(3)?, row.get(5)?)),
            ends_at,
            offset_ms: times.offset_ms(&end),
            clock,
            suppressed: grid_points == 0,
            participants: participants.filter(|_| grid_points > 0),
            scored: scored.filter(|_| grid_points > 0),
            grid_points,
        });
    }
    Ok((told, last))
}

/// Most people, most scores and number of the grid points that the room showed.
fn counts(
    conn: &Connection,
    session_no: i64,
    rule: Suppression,
) -> rusqlite::Result<(Option<u32>, Option<u32>, u32)> {
    conn.prepare_cached(
        "SELECT max(participants), max(scored), count(*) FROM group_score
         WHERE session_no = ?1 AND suppressed = 0 AND hearts >= ?2",
    )?
    .query_row(params![session_no, rule.min_group], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })
}

fn somebody_consented(
    conn: &Connection,
    gate: &mut Gate<'_>,
    session_no: i64,
) -> rusqlite::Result<bool> {
    let people: Vec<i64> = read::collect(
        conn,
        "SELECT participant_no FROM participation WHERE session_no = ?1",
        params![session_no],
        |row| row.get(0),
    )?;
    for participant_no in people {
        if gate.admit(participant_no)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
