//! When a minute closes: which one is next, and everything that is told of it, in one transaction with
//! the mark of how far it got.
//!
//! A minute is 60 s of monotonic time of one boot, so that no clock that is set can make one twice. R-R
//! and scores are taken in the order of their numbers: one that is written late, for whatever reason,
//! is told with a later minute, and none is told twice.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, TransactionBehavior, params};

use super::gate::{self, Gate};
use super::personal::{self, Claims};
use super::rows::{Ended, Quill};
use super::times::{Calendar, Times};
use super::{Queued, Upstream, facts, group, thin};
use crate::record::{CoherenceRecord, GroupRecord, HubEvent, Minute, Record, RrRecord};
use crate::room::rows::Stamp;
use crate::store::moment::Moment;
use crate::store::read;

const MINUTE_MS: i64 = 60_000;

/// A minute is closed when it lies this far back: what the room and the radio still hold has arrived.
const SETTLED_MS: i64 = 15_000;

/// Minutes without content that are passed over in one step.
const EMPTY_AT_A_TIME: usize = 120;

/// How far everything was queued.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Minutes before this moment are queued.
    until: Moment,
    rr_id: i64,
    score_no: i64,
    session_no: i64,
    consent_no: i64,
}

/// What the thread knows and the database does not.
#[derive(Clone, Copy, Debug)]
pub struct Present {
    pub boot_no: i64,
    pub now: Stamp,
    /// The disk has not taken all that was handed in: beats may wait in memory, or who wears a strap.
    pub is_behind: bool,
}

/// One step. `news`: what happened to the hub and was not told yet; emptied when it was.
pub fn queue(
    conn: &mut Connection,
    rules: &Upstream,
    present: &Present,
    news: &mut Vec<(Stamp, HubEvent)>,
) -> rusqlite::Result<Queued> {
    let mut queued = Queued::default();
    if facts::named_with_another_key(conn, rules)? {
        queued.other_key = true;
        return Ok(queued);
    }
    let times = Times::of(conn, present.boot_no)?;
    let knows_time = times.known_offset_ms.is_some();
    let known_mark = read_mark(conn)?;
    let is_first = known_mark.is_none();
    let mut mark = match known_mark {
        Some(mark) => mark,
        None => first_mark(conn, present)?,
    };
    let mut due = match next_minute(conn, &mark)? {
        Some(from) if from.boot_no == present.boot_no && !knows_time => {
            queued.waiting_for_clock = true;
            None
        }
        next => next.filter(|from| is_closed(*from, present)),
    };
    let has_news = knows_time
        && (!news.is_empty() || facts::unfixed_by_ms(conn, present.boot_no, &times)?.is_some());
    let must_thin = thin::is_due(conn, rules, present.boot_no, &present.now)?;
    // Asked every few seconds: most times there is nothing to write.
    if !is_first && due.is_none() && !has_news && !must_thin {
        return Ok(queued);
    }

    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut calendar = Calendar::new(&tx);
    let mut quill = Quill::new(&tx, present.boot_no, present.now);
    tx.prepare_cached("UPDATE uplink SET study = ?1")?
        .execute([rules.study.as_str()])?;
    if has_news {
        for (at, event) in news.iter() {
            facts::event(&mut quill, &rules.study, &times, at, event.clone())?;
        }
        facts::clock_fixed(&mut quill, &rules.study, &times)?;
    }
    let before = quill.written;
    for _ in 0..EMPTY_AT_A_TIME {
        let Some(from) = due else {
            break;
        };
        mark = close(&mut quill, rules, &mut calendar, mark, from)?;
        due = next_minute(&tx, &mark)?
            .filter(|from| from.boot_no != present.boot_no || knows_time)
            .filter(|from| is_closed(*from, present));
        if quill.written > before {
            break;
        }
    }
    queued.more = due.is_some();
    write_mark(&tx, &mark, &calendar.boot(mark.until.boot_no)?)?;
    queued.thinned = thin::thin(&mut quill, rules)?;
    queued.messages = quill.written;
    tx.commit()?;
    if has_news {
        news.clear();
    }
    Ok(queued)
}

/// Whether the minute that begins then lies far enough back.
fn is_closed(from: Moment, present: &Present) -> bool {
    let until = from.later(MINUTE_MS);
    until.boot_no < present.boot_no
        || !present.is_behind && until.mono_ms <= present.now.mono_ms - SETTLED_MS
}

/// Queues one minute, and says how far everything is then.
fn close(
    quill: &mut Quill<'_>,
    rules: &Upstream,
    calendar: &mut Calendar<'_>,
    mark: Mark,
    from: Moment,
) -> rusqlite::Result<Mark> {
    let conn = quill.conn;
    let until = from.later(MINUTE_MS);
    let mut gate = Gate::new(conn, rules);
    let mut claims = Claims::since(conn, from);
    let mut told = HashMap::new();
    let (rr, is_all) = personal::rr(conn, &mut gate, calendar, &mut claims, mark.rr_id, until)?;
    let mut next = Mark {
        rr_id: rr.last_id,
        ..mark
    };
    let coherence = if is_all {
        let no = mark.score_no;
        Some(personal::coherence(
            conn, &mut gate, calendar, no, until, &mut told,
        )?)
    } else {
        None // what else there is of the minute comes with its last R-R
    };

    let (newly, consent_no) = facts::grants(conn, mark.consent_no, until)?;
    next.consent_no = consent_no;
    let scored = coherence.iter().flat_map(|taken| &taken.people);
    let people: BTreeSet<i64> = rr.people.iter().chain(scored).copied().collect();
    facts::tell_grants(quill, rules, &mut gate, calendar, &newly, &people)?;

    let times = calendar.boot(from.boot_no)?;
    let minute = Minute {
        from: times.about(from.mono_ms),
        until: times.about(until.mono_ms),
        clock: times.known(),
    };
    let ended = Ended {
        boot_no: until.boot_no,
        at: Stamp {
            mono_ms: until.mono_ms,
            wall_ms: minute.until,
            synced: times.known_offset_ms.is_some(),
        },
    };
    if !rr.series.is_empty() {
        let record = Record::Rr(RrRecord {
            minute,
            series: rr.series,
        });
        quill.queue_of_minute(&rules.study, &record, rr.people, &ended)?;
    }
    let Some(coherence) = coherence else {
        return Ok(next);
    };
    next.score_no = coherence.last_id;
    for series in personal::by_message(coherence.series) {
        let record = Record::Coherence(CoherenceRecord { minute, series });
        // Whoever is in any of them: emptying one in which somebody is not does no harm.
        let people = coherence.people.iter().copied();
        quill.queue_of_minute(&rules.study, &record, people, &ended)?;
    }
    let rule = rules.suppression;
    let series = group::group(
        conn,
        calendar,
        rule,
        mark.session_no,
        mark.until,
        until,
        &told,
    )?;
    if !series.is_empty() {
        let record = Record::Group(GroupRecord { minute, series });
        // With the series of one of them gone, what remains and the mean would tell their score.
        let people = coherence.people.iter().copied();
        quill.queue_of_minute(&rules.study, &record, people, &ended)?;
    }
    let (sessions, session_no) =
        group::ended(conn, &mut gate, calendar, rule, mark.session_no, until)?;
    for session in sessions {
        quill.queue(&rules.study, &Record::Session(session), [])?;
    }
    next.session_no = session_no;
    next.until = until;
    Ok(next)
}

/// The beginning of the first minute of which something is stored and not queued.
fn next_minute(conn: &Connection, mark: &Mark) -> rusqlite::Result<Option<Moment>> {
    let first = |sql: &str, params: &[&dyn rusqlite::ToSql]| {
        read::first(conn, sql, params, |row| {
            Ok(Moment {
                boot_no: row.get(0)?,
                mono_ms: row.get(1)?,
            })
        })
    };
    let found = [
        first(
            "SELECT boot_no, mono_ms FROM rr WHERE rr_id > ?1 ORDER BY rr_id LIMIT 1",
            params![mark.rr_id],
        )?,
        first(
            "SELECT boot_no, mono_ms FROM score WHERE score_no > ?1 ORDER BY score_no LIMIT 1",
            params![mark.score_no],
        )?,
        first(
            "SELECT boot_no, mono_ms FROM group_score WHERE session_no > ?1 AND (boot_no, mono_ms) >= (?2, ?3)
             ORDER BY session_no, boot_no, mono_ms LIMIT 1",
            params![mark.session_no, mark.until.boot_no, mark.until.mono_ms],
        )?,
        first(
            "SELECT boot_no, end_mono_ms FROM session WHERE session_no > ?1 ORDER BY session_no LIMIT 1",
            params![mark.session_no],
        )?,
        first(
            "SELECT boot_no, mono_ms FROM consent WHERE consent_no > ?1 AND scope = ?2 AND granted = 1 ORDER BY consent_no LIMIT 1",
            params![mark.consent_no, gate::SCOPE],
        )?,
    ];
    // What is older than the mark came late and goes with the minute that is next.
    let next = found
        .into_iter()
        .flatten()
        .min()
        .map(|at| at.max(mark.until));
    Ok(next.map(minute_of))
}

fn minute_of(at: Moment) -> Moment {
    Moment {
        mono_ms: at.mono_ms.div_euclid(MINUTE_MS) * MINUTE_MS,
        ..at
    }
}

fn read_mark(conn: &Connection) -> rusqlite::Result<Option<Mark>> {
    read::first(
        conn,
        "SELECT built_boot_no, built_mono_ms, built_rr_id, built_score_no, built_session_no, built_consent_no
         FROM uplink WHERE built_boot_no IS NOT NULL",
        &[],
        |row| {
            Ok(Mark {
                until: Moment {
                    boot_no: row.get(0)?,
                    mono_ms: row.get(1)?,
                },
                rr_id: row.get(2)?,
                score_no: row.get(3)?,
                session_no: row.get(4)?,
                consent_no: row.get(5)?,
            })
        },
    )
}

/// Where the telling begins: with the oldest R-R or score that is still stored; of sessions and the
/// group, which are kept for ever, with the same minute.
fn first_mark(conn: &Connection, present: &Present) -> rusqlite::Result<Mark> {
    let now = Moment {
        boot_no: present.boot_no,
        mono_ms: present.now.mono_ms,
    };
    let oldest = read::first(
        conn,
        "SELECT boot_no, mono_ms FROM (
             SELECT * FROM (SELECT boot_no, mono_ms FROM rr ORDER BY rr_id LIMIT 1)
             UNION ALL SELECT * FROM (SELECT boot_no, mono_ms FROM score ORDER BY score_no LIMIT 1)
         ) ORDER BY boot_no, mono_ms LIMIT 1",
        &[],
        |row| {
            Ok(Moment {
                boot_no: row.get(0)?,
                mono_ms: row.get(1)?,
            })
        },
    )?;
    let until = minute_of(oldest.unwrap_or(now));
    let session_no = conn.query_row(
        "SELECT coalesce(max(session_no), 0) FROM session WHERE (boot_no, end_mono_ms) < (?1, ?2)",
        [until.boot_no, until.mono_ms],
        |row| row.get(0),
    )?;
    Ok(Mark {
        until,
        rr_id: 0,
        score_no: 0,
        session_no,
        consent_no: 0,
    })
}

fn write_mark(conn: &Connection, mark: &Mark, times: &Times) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE uplink SET built_boot_no = ?1, built_mono_ms = ?2, built_wall_ms = ?3, built_wall_synced = ?4,
             built_rr_id = ?5, built_score_no = ?6, built_session_no = ?7, built_consent_no = ?8",
    )?
    .execute(params![
        mark.until.boot_no,
        mark.until.mono_ms,
        times.about(mark.until.mono_ms),
        times.known_offset_ms.is_some(),
        mark.rr_id,
        mark.score_no,
        mark.session_no,
        mark.consent_no
    ])?;
    Ok(())
}

/// After rows went: scores and consents may get their numbers again, and must be told all the same.
pub fn numbers_were_freed(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute(
        "UPDATE uplink SET
             built_score_no = min(built_score_no, (SELECT coalesce(max(score_no), 0) FROM score)),
             built_consent_no = min(built_consent_no, (SELECT coalesce(max(consent_no), 0) FROM consent))",
        [],
    )?;
    Ok(())
}
