//! The personal series of a minute: R-R and coherence of those who consented, under their pseudonyms.
//! Whose a value is, is decided by who wore the strap when it arrived; straps that nobody had claimed
//! are nobody's and stay here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::gate::{Admitted, Gate};
use super::times::{Calendar, Times};
use crate::record::{
    CoherenceSeries, Mark, Num, Origin, Pseudonym, Reason, RrSeries, SessionName, Settings,
    SignalStatus, known_word,
};
use crate::room::rows::Stamp;
use crate::store::moment::{DISORDER_MS, Moment};
use crate::store::read;

/// R-R rows that go into one message, and are read in one step: a room of two hundred sends fewer in a
/// minute.
pub const RR_AT_A_TIME: i64 = 20_000;

/// Evaluations that go into one message: what some four hundred people have in a minute.
const SCORES_AT_A_TIME: usize = 5_000;

/// Series of people, in the order of their pseudonyms, so that nothing is read from the order.
#[derive(Debug)]
pub struct Taken<S> {
    pub series: Vec<S>,
    pub people: BTreeSet<i64>,
    /// The last row that was looked at.
    pub last_id: i64,
}

/// Who wore which strap around a minute; read at the first question, because most minutes of a hub's
/// life are empty.
pub struct Claims<'a> {
    conn: &'a Connection,
    since: Moment,
    by_strap: Option<HashMap<i64, Vec<Claim>>>,
}

#[derive(Clone, Copy)]
struct Claim {
    participant_no: i64,
    from: Moment,
    until: Option<Moment>,
}

impl<'a> Claims<'a> {
    /// Those that held at or after `from`, and a while before: rows may come late.
    pub fn since(conn: &'a Connection, from: Moment) -> Self {
        Claims {
            conn,
            since: from.earlier(DISORDER_MS),
            by_strap: None,
        }
    }

    /// Who wore a strap when these bytes arrived, and since when.
    fn wearer(
        &mut self,
        strap_no: i64,
        arrived: Moment,
    ) -> rusqlite::Result<Option<(i64, Moment)>> {
        let by_strap = match self.by_strap.take() {
            Some(by_strap) => by_strap,
            None => self.read()?,
        };
        let worn = |claim: &&Claim| {
            claim.from <= arrived && claim.until.is_none_or(|until| arrived < until)
        };
        let wearer = by_strap
            .get(&strap_no)
            .and_then(|claims| claims.iter().rev().find(worn))
            .map(|claim| (claim.participant_no, claim.from));
        self.by_strap = Some(by_strap);
        Ok(wearer)
    }

    fn read(&self) -> rusqlite::Result<HashMap<i64, Vec<Claim>>> {
        let mut by_strap: HashMap<i64, Vec<Claim>> = HashMap::new();
        let mut query = self.conn.prepare_cached(
            "SELECT strap_no, participant_no, from_boot_no, from_mono_ms, until_boot_no, until_mono_ms FROM claim
             WHERE until_boot_no IS NULL OR (until_boot_no, until_mono_ms) >= (?1, ?2) ORDER BY claim_no",
        )?;
        let mut rows = query.query([self.since.boot_no, self.since.mono_ms])?;
        while let Some(row) = rows.next()? {
            let until_boot_no: Option<i64> = row.get(4)?;
            let until_mono_ms: Option<i64> = row.get(5)?;
            by_strap.entry(row.get(0)?).or_default().push(Claim {
                participant_no: row.get(1)?,
                from: Moment {
                    boot_no: row.get(2)?,
                    mono_ms: row.get(3)?,
                },
                until: until_boot_no
                    .zip(until_mono_ms)
                    .map(|(boot_no, mono_ms)| Moment { boot_no, mono_ms }),
            });
        }
        Ok(by_strap)
    }
}

/// An R-R row, as far as it is told.
struct RrRow {
    id: i64,
    strap_no: Option<i64>,
    phone_no: Option<i64>,
    rr_ms: f64,
    gap_ms: f64,
    begins: bool,
    mark: Mark,
    beat_mono_ms: f64,
    boot_no: i64,
    arrived: Stamp,
}

impl RrRow {
    fn read(row: &SqlRow<'_>) -> rusqlite::Result<RrRow> {
        let mark: String = row.get(6)?;
        Ok(RrRow {
            id: row.get(0)?,
            strap_no: row.get(1)?,
            phone_no: row.get(2)?,
            rr_ms: row.get(3)?,
            gap_ms: row.get(4)?,
            begins: row.get(5)?,
            mark: read::rr_mark(&mark)
                .ok_or_else(|| read::no_such_word(6))?
                .into(),
            beat_mono_ms: row.get(7)?,
            boot_no: row.get(8)?,
            arrived: read::stamp(row, 9)?,
        })
    }

    fn arrived(&self) -> Moment {
        Moment {
            boot_no: self.boot_no,
            mono_ms: self.arrived.mono_ms,
        }
    }

    /// When the heart beat: what only arrived in somebody's time is not theirs.
    fn beat(&self) -> Moment {
        Moment {
            boot_no: self.boot_no,
            mono_ms: self.beat_mono_ms.floor() as i64,
        }
    }
}

/// The R-R after `after_id` that arrived before `until`, and whether that is all of it: more than goes
/// into one message comes with the next step.
pub fn rr(
    conn: &Connection,
    gate: &mut Gate<'_>,
    calendar: &mut Calendar<'_>,
    claims: &mut Claims<'_>,
    after_id: i64,
    until: Moment,
) -> rusqlite::Result<(Taken<RrSeries>, bool)> {
    let mut hearts: BTreeMap<(Pseudonym, Origin, u32), RrSeries> = BTreeMap::new();
    let mut people = BTreeSet::new();
    let mut sources = Sources::new(conn);
    let mut last_id = after_id;
    let mut seen: i64 = 0;
    let mut query = conn.prepare_cached(
        "SELECT rr_id, strap_no, phone_no, rr_ms, gap_ms, begins, mark, beat_mono_ms, boot_no, mono_ms, wall_ms, wall_synced
         FROM rr WHERE rr_id > ?1 ORDER BY rr_id LIMIT ?2",
    )?;
    let mut rows = query.query([after_id, RR_AT_A_TIME])?;
    while let Some(row) = rows.next()? {
        let row = RrRow::read(row)?;
        if row.arrived() >= until {
            break;
        }
        last_id = row.id;
        seen += 1;
        let Some(person) = owner(gate, claims, &row)? else {
            continue;
        };
        let (Some(rr), Some(gap)) = (Num::exact(row.rr_ms), Num::exact(row.gap_ms)) else {
            continue;
        };
        let (origin, source) = sources.of(person.participant_no, row.strap_no)?;
        let end = beat_wall_ms(&calendar.boot(row.boot_no)?, row.beat_mono_ms, &row.arrived);
        people.insert(person.participant_no);
        let series = hearts
            .entry((person.pseudonym.clone(), origin, source))
            .or_insert_with(|| RrSeries {
                pseudonym: person.pseudonym.clone(),
                origin,
                source,
                t0: end,
                t: Vec::new(),
                rr: Vec::new(),
                gap: Vec::new(),
                mark: Vec::new(),
                begins: Vec::new(),
            });
        if row.begins {
            series.begins.push(series.t.len() as u32);
        }
        series.t.push(end - series.t0);
        series.rr.push(rr);
        series.gap.push(gap);
        series.mark.push(row.mark);
    }
    let series = hearts.into_values().map(|mut series| {
        series.leave_out_t();
        leave_out_if(&mut series.gap, |gap| *gap == Num::ZERO);
        leave_out_if(&mut series.mark, |mark| *mark == Mark::Accepted);
        series
    });
    let taken = Taken {
        series: series.collect(),
        people,
        last_id,
    };
    Ok((taken, seen < RR_AT_A_TIME))
}

/// Whose a beat is, if they consented when it was made.
fn owner(
    gate: &mut Gate<'_>,
    claims: &mut Claims<'_>,
    row: &RrRow,
) -> rusqlite::Result<Option<Rc<Admitted>>> {
    let participant_no = match (row.strap_no, row.phone_no) {
        (Some(strap_no), _) => match claims.wearer(strap_no, row.arrived())? {
            Some((participant_no, from)) if row.beat() >= from => participant_no,
            _ => return Ok(None),
        },
        (None, Some(phone_no)) => phone_no,
        (None, None) => return Ok(None),
    };
    let admitted = gate.admit(participant_no)?;
    Ok(admitted.filter(|person| person.covers(row.arrived()) && person.covers(row.beat())))
}

/// End of an interval in Unix milliseconds; the same for R-R and for the scores that name it.
fn beat_wall_ms(times: &Times, beat_mono_ms: f64, arrived: &Stamp) -> i64 {
    beat_mono_ms.round() as i64 + times.offset_ms(arrived)
}

/// The scores after `after_no` of grid points before `until`, all of them at once: `told` counts, for
/// each grid point, the scores that leave, and the group is judged by it.
pub fn coherence(
    conn: &Connection,
    gate: &mut Gate<'_>,
    calendar: &mut Calendar<'_>,
    after_no: i64,
    until: Moment,
    told: &mut HashMap<Moment, u32>,
) -> rusqlite::Result<Taken<CoherenceSeries>> {
    type Definition = (Option<u32>, Option<Settings>);
    type Heart = (Pseudonym, Origin, u32, SessionName, Definition);
    let mut hearts: BTreeMap<Heart, CoherenceSeries> = BTreeMap::new();
    let mut people = BTreeSet::new();
    let mut sources = Sources::new(conn);
    let mut last_id = after_no;
    let mut query = conn.prepare_cached(
        "SELECT c.score_no, s.session_id, c.strap_no, coalesce(c.phone_no, c.participant_no), c.boot_no, c.mono_ms, c.wall_ms, c.wall_synced,
             algorithm, score, reason, status, last_rr_id, beats, coverage, artefact_pct, age_ms, peak_hz, mean_hr_bpm,
             sdnn_ms, rmssd_ms, pnn50_pct, lf_ms2, hf_ms2, lf_hf, total_ms2, standard_error, settings
         FROM score c JOIN session s USING (session_no) WHERE c.score_no > ?1 ORDER BY c.score_no",
    )?;
    let mut rows = query.query([after_no])?;
    while let Some(row) = rows.next()? {
        let at = read::stamp(row, 5)?;
        let boot_no: i64 = row.get(4)?;
        let point = Moment {
            boot_no,
            mono_ms: at.mono_ms,
        };
        if point >= until {
            break;
        }
        last_id = row.get(0)?;
        let session: String = row.get(1)?;
        let (Some(participant_no), Some(session)) =
            (row.get::<_, Option<i64>>(3)?, SessionName::of(&session))
        else {
            continue;
        };
        let Some(person) = gate
            .admit(participant_no)?
            .filter(|person| person.covers(point))
        else {
            continue;
        };
        let (origin, source) = sources.of(participant_no, row.get(2)?)?;
        let algorithm: Option<u32> = row.get(8)?;
        let settings: Option<String> = row.get(27)?;
        let settings = settings.as_deref().and_then(Settings::of);
        people.insert(participant_no);
        let key = (
            person.pseudonym.clone(),
            origin,
            source,
            session.clone(),
            (algorithm, settings.clone()),
        );
        let series = hearts.entry(key).or_insert_with(|| CoherenceSeries {
            pseudonym: person.pseudonym.clone(),
            origin,
            source,
            session,
            algorithm,
            settings,
            at: Vec::new(),
            score: Vec::new(),
            standard_error: Vec::new(),
            reason: Vec::new(),
            status: Vec::new(),
            last_rr_at: Vec::new(),
            beats: Vec::new(),
            coverage: Vec::new(),
            artefact_pct: Vec::new(),
            age_ms: Vec::new(),
            peak_hz: Vec::new(),
            mean_hr_bpm: Vec::new(),
            sdnn_ms: Vec::new(),
            rmssd_ms: Vec::new(),
            pnn50_pct: Vec::new(),
            lf_ms2: Vec::new(),
            hf_ms2: Vec::new(),
            lf_hf: Vec::new(),
            total_ms2: Vec::new(),
        });
        let score = number(row, 9, 2)?;
        if score.is_some() {
            *told.entry(point).or_default() += 1;
        }
        let last_rr_at = match row.get::<_, Option<i64>>(12)? {
            Some(rr_id) => last_rr(conn, calendar, rr_id, &person)?,
            None => None,
        };
        series.at.push(calendar.boot(boot_no)?.wall_ms(&at));
        series.score.push(score);
        series.standard_error.push(number(row, 26, 2)?);
        series.reason.push(word::<Reason>(row, 10)?);
        series.status.push(word::<SignalStatus>(row, 11)?);
        series.last_rr_at.push(last_rr_at);
        series.beats.push(row.get(13)?);
        series
            .coverage
            .push(number(row, 14, 3)?.unwrap_or(Num::ZERO));
        series.artefact_pct.push(number(row, 15, 1)?);
        series.age_ms.push(row.get(16)?);
        series.peak_hz.push(number(row, 17, 4)?);
        series.mean_hr_bpm.push(number(row, 18, 1)?);
        series.sdnn_ms.push(number(row, 19, 1)?);
        series.rmssd_ms.push(number(row, 20, 1)?);
        series.pnn50_pct.push(number(row, 21, 1)?);
        series.lf_ms2.push(number(row, 22, 1)?);
        series.hf_ms2.push(number(row, 23, 1)?);
        series.lf_hf.push(number(row, 24, 2)?);
        series.total_ms2.push(number(row, 25, 1)?);
    }
    Ok(Taken {
        series: hearts.into_values().map(without_empty_columns).collect(),
        people,
        last_id,
    })
}

/// Series as they go into messages, none of them too large for a broker.
pub fn by_message(series: Vec<CoherenceSeries>) -> Vec<Vec<CoherenceSeries>> {
    let mut messages: Vec<Vec<CoherenceSeries>> = Vec::new();
    let mut room = 0;
    for series in series {
        let scores = series.at.len();
        match messages.last_mut() {
            Some(message) if scores <= room => message.push(series),
            _ => {
                messages.push(vec![series]);
                room = SCORES_AT_A_TIME;
            }
        }
        room = room.saturating_sub(scores);
    }
    messages
}

fn without_empty_columns(mut series: CoherenceSeries) -> CoherenceSeries {
    leave_out_if(&mut series.reason, Option::is_none);
    leave_out_if(&mut series.status, Option::is_none);
    leave_out_if(&mut series.last_rr_at, Option::is_none);
    leave_out_if(&mut series.age_ms, Option::is_none);
    for column in [
        &mut series.standard_error,
        &mut series.artefact_pct,
        &mut series.peak_hz,
        &mut series.mean_hr_bpm,
        &mut series.sdnn_ms,
        &mut series.rmssd_ms,
        &mut series.pnn50_pct,
        &mut series.lf_ms2,
        &mut series.hf_ms2,
        &mut series.lf_hf,
        &mut series.total_ms2,
    ] {
        leave_out_if(column, Option::is_none);
    }
    series
}

/// Empties a column in which all entries say nothing.
pub fn leave_out_if<T>(column: &mut Vec<T>, says_nothing: impl FnMut(&T) -> bool) {
    if column.iter().all(says_nothing) {
        column.clear();
    }
}

/// End of the last interval of a window, unless it lies before the consent.
fn last_rr(
    conn: &Connection,
    calendar: &mut Calendar<'_>,
    rr_id: i64,
    person: &Admitted,
) -> rusqlite::Result<Option<i64>> {
    let found = conn
        .prepare_cached(
            "SELECT rr_id, strap_no, phone_no, rr_ms, gap_ms, begins, mark, beat_mono_ms, boot_no, mono_ms, wall_ms, wall_synced
             FROM rr WHERE rr_id = ?1",
        )?
        .query_row([rr_id], RrRow::read)
        .optional()?
        .filter(|row| person.covers(row.arrived()) && person.covers(row.beat()));
    match found {
        Some(row) => {
            let times = calendar.boot(row.boot_no)?;
            Ok(Some(beat_wall_ms(&times, row.beat_mono_ms, &row.arrived)))
        }
        None => Ok(None),
    }
}

fn number(row: &SqlRow<'_>, column: usize, decimals: i32) -> rusqlite::Result<Option<Num>> {
    let value: Option<f64> = row.get(column)?;
    Ok(value.and_then(|value| Num::rounded(value, decimals)))
}

fn word<T: for<'de> serde::Deserialize<'de>>(
    row: &SqlRow<'_>,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    match row.get_ref(column)?.as_str_or_null()? {
        Some(text) => known_word(text)
            .map(Some)
            .ok_or_else(|| read::no_such_word(column)),
        None => Ok(None),
    }
}

/// By which number a person's straps are told apart; given at the first need and kept.
struct Sources<'a> {
    conn: &'a Connection,
    known: HashMap<(i64, i64), u32>,
}

impl<'a> Sources<'a> {
    fn new(conn: &'a Connection) -> Self {
        Sources {
            conn,
            known: HashMap::new(),
        }
    }

    fn of(
        &mut self,
        participant_no: i64,
        strap_no: Option<i64>,
    ) -> rusqlite::Result<(Origin, u32)> {
        let Some(strap_no) = strap_no else {
            return Ok((Origin::Phone, 0));
        };
        if let Some(source) = self.known.get(&(participant_no, strap_no)) {
            return Ok((Origin::Strap, *source));
        }
        self.conn
            .prepare_cached(
                "INSERT INTO subject_strap (participant_no, strap_no, source)
                 SELECT ?1, ?2, coalesce(max(source), 0) + 1 FROM subject_strap WHERE participant_no = ?1
                 ON CONFLICT (participant_no, strap_no) DO NOTHING",
            )?
            .execute([participant_no, strap_no])?;
        let source = self
            .conn
            .prepare_cached(
                "SELECT source FROM subject_strap WHERE participant_no = ?1 AND strap_no = ?2",
            )?
            .query_row(params![participant_no, strap_no], |row| row.get(0))?;
        self.known.insert((participant_no, strap_no), source);
        Ok((Origin::Strap, source))
    }
}
