//! Erasure of one person: what is deleted from the file, and what must not slip in afterwards. The
//! group's figures stay: nobody can be read from them.

use std::collections::HashMap;

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::moment::{Appended, DISORDER_MS, Moment, first_at_or_after};
use super::outbox;
use super::write::known_participant_no;
use crate::room::rows::{ClaimRow, Row, Stamp};
use crate::room::{HeartKey, ParticipantId, StrapNo};

/// A strap worn by one person for a time: the half-open interval from … until.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Worn {
    pub strap: StrapNo,
    pub from: Moment,
    pub until: Moment,
}

/// What a person wore; a claim that is still open ends at `now`.
pub(super) fn worn_by(
    conn: &Connection,
    participant_no: i64,
    now: Moment,
) -> rusqlite::Result<Vec<Worn>> {
    let mut query = conn.prepare_cached(
        "SELECT strap_no, from_boot_no, from_mono_ms, until_boot_no, until_mono_ms
         FROM claim WHERE participant_no = ?1 ORDER BY claim_no",
    )?;
    let rows = query.query_map([participant_no], |row| {
        let until_boot_no: Option<i64> = row.get(3)?;
        let until_mono_ms: Option<i64> = row.get(4)?;
        let until = until_boot_no
            .zip(until_mono_ms)
            .map(|(boot_no, mono_ms)| Moment { boot_no, mono_ms });
        Ok(Worn {
            strap: StrapNo(row.get(0)?),
            from: Moment {
                boot_no: row.get(1)?,
                mono_ms: row.get(2)?,
            },
            until: until.unwrap_or(now),
        })
    })?;
    rows.collect()
}

/// As [`worn_by`], and the same straps as other radios heard them: what came over those before they were
/// known as one stands under their own numbers. Not where somebody else wore such a number meanwhile.
pub(super) fn worn_over_all_radios(
    conn: &Connection,
    participant_no: i64,
    now: Moment,
) -> rusqlite::Result<Vec<Worn>> {
    let mut twins = conn.prepare_cached(
        "SELECT iif(low_strap_no = ?1, high_strap_no, low_strap_no) AS other FROM twins
         WHERE one = 1 AND ?1 IN (low_strap_no, high_strap_no) AND NOT EXISTS (
             SELECT 1 FROM claim WHERE strap_no = other AND participant_no <> ?2
             AND (from_boot_no, from_mono_ms) < (?5, ?6)
             AND (until_boot_no IS NULL OR (until_boot_no, until_mono_ms) > (?3, ?4)))",
    )?;
    let mut worn = worn_by(conn, participant_no, now)?;
    for own in worn.clone() {
        let (from, until) = (own.from, own.until);
        let others = twins.query_map(
            params![
                own.strap.0,
                participant_no,
                from.boot_no,
                from.mono_ms,
                until.boot_no,
                until.mono_ms
            ],
            |row| row.get(0),
        )?;
        for other in others {
            let strap = StrapNo(other?);
            worn.push(Worn { strap, ..own });
        }
    }
    Ok(worn)
}

/// The first moment at which anything of this person can have been written.
pub(super) fn since(conn: &Connection, participant_no: i64) -> rusqlite::Result<Moment> {
    conn.query_row(
        "SELECT boot_no, mono_ms FROM (
             SELECT since_boot_no AS boot_no, since_mono_ms AS mono_ms FROM participant WHERE participant_no = ?1
             UNION ALL SELECT from_boot_no, from_mono_ms FROM claim WHERE participant_no = ?1
             UNION ALL SELECT joined_boot_no, joined_mono_ms FROM participation WHERE participant_no = ?1
         ) ORDER BY boot_no, mono_ms LIMIT 1",
        [participant_no],
        |row| Ok(Moment { boot_no: row.get(0)?, mono_ms: row.get(1)? }),
    )
}

/// Deletes all of a person up to `now`; false when there is nobody of that id.
pub(super) fn delete(
    conn: &Connection,
    participant: ParticipantId,
    now: Moment,
) -> rusqlite::Result<bool> {
    let Some(participant_no) = known_participant_no(conn, participant)? else {
        return Ok(false);
    };
    keep_numbers_counting(conn)?;
    for worn in worn_over_all_radios(conn, participant_no, now)? {
        let (from, until) = (worn.from, worn.until);
        for (table, sql) in [
            (
                Appended::Rr,
                "DELETE FROM rr WHERE rr_id >= ?1 AND rr_id < ?2 AND strap_no = ?3
                 AND (boot_no, mono_ms) >= (?4, ?5) AND (boot_no, mono_ms) < (?6, ?7)",
            ),
            (
                Appended::Score,
                "DELETE FROM score WHERE score_no >= ?1 AND score_no < ?2 AND strap_no = ?3 AND participant_no IS NULL
                 AND (boot_no, mono_ms) >= (?4, ?5) AND (boot_no, mono_ms) < (?6, ?7)",
            ),
        ] {
            let first = first_at_or_after(conn, table, from.earlier(DISORDER_MS))?;
            let end = first_at_or_after(conn, table, until.later(DISORDER_MS))?;
            conn.prepare_cached(sql)?.execute(params![
                first, end, worn.strap.0, from.boot_no, from.mono_ms, until.boot_no, until.mono_ms
            ])?;
        }
    }
    let since = since(conn, participant_no)?.earlier(DISORDER_MS);
    conn.execute(
        "DELETE FROM rr WHERE rr_id >= ?1 AND phone_no = ?2",
        params![
            first_at_or_after(conn, Appended::Rr, since)?,
            participant_no
        ],
    )?;
    conn.execute(
        "DELETE FROM score WHERE score_no >= ?1 AND (participant_no = ?2 OR phone_no = ?2)",
        params![
            first_at_or_after(conn, Appended::Score, since)?,
            participant_no
        ],
    )?;
    // A pair is of both: with either it goes.
    conn.execute(
        "DELETE FROM pair WHERE pair_no >= ?1 AND (a_participant_no = ?2 OR b_participant_no = ?2)",
        params![
            first_at_or_after(conn, Appended::Pair, since)?,
            participant_no
        ],
    )?;
    // Participations, claims and consents go with it (ON DELETE CASCADE).
    conn.execute(
        "DELETE FROM participant WHERE participant_no = ?1",
        [participant_no],
    )?;
    outbox::numbers_were_freed(conn)?;
    Ok(true)
}

/// Before rows with the highest numbers go: no number is ever given twice.
pub(super) fn keep_numbers_counting(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute(
        "UPDATE meta SET
             high_rr_id = max(high_rr_id, (SELECT coalesce(max(rr_id), 0) FROM rr)),
             high_claim_no = max(high_claim_no, (SELECT coalesce(max(claim_no), 0) FROM claim))",
        [],
    )?;
    Ok(())
}

/// That it was done, and when; nothing of whom. Gives the receipt's number.
pub(super) fn write_receipt(
    conn: &Connection,
    boot_no: i64,
    at: &Stamp,
) -> rusqlite::Result<String> {
    let erasure_id = Uuid::new_v4().to_string();
    conn.execute(
        "INSERT INTO erasure (erasure_id, boot_no, mono_ms, wall_ms, wall_synced) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![erasure_id, boot_no, at.mono_ms, at.wall_ms, at.synced],
    )?;
    Ok(erasure_id)
}

/// The erased of this process, so that what was still on its way when they went is not written after
/// them: the room holds R-R up to the next grid point, the store holds rows while the disk is full.
#[derive(Debug, Default)]
pub(super) struct Erased {
    /// With the moment of the erasure, monotonic ms.
    people: HashMap<ParticipantId, i64>,
    worn: Vec<ErasedWorn>,
}

/// As [`Worn`], in this boot's monotonic time.
#[derive(Debug)]
struct ErasedWorn {
    strap: StrapNo,
    from_mono_ms: i64,
    until_mono_ms: i64,
}

impl Erased {
    /// Remembers a person; `worn` as it stood in the file just before.
    pub fn add(&mut self, participant: ParticipantId, at: &Stamp, boot_no: i64, worn: &[Worn]) {
        self.people.entry(participant).or_insert(at.mono_ms);
        for worn in worn.iter().filter(|worn| worn.until.boot_no >= boot_no) {
            let from_mono_ms = if worn.from.boot_no < boot_no {
                i64::MIN
            } else {
                worn.from.mono_ms
            };
            let until_mono_ms = worn.until.mono_ms.min(at.mono_ms);
            self.add_worn(worn.strap, from_mono_ms, until_mono_ms);
        }
        // Nothing is on its way for that long, except in the backlog, which is purged at once.
        let long_ago_ms = at.mono_ms.saturating_sub(DISORDER_MS);
        self.worn.retain(|worn| worn.until_mono_ms >= long_ago_ms);
        self.people.retain(|_, gone_ms| *gone_ms >= long_ago_ms);
    }

    /// Learns what an erased person wore from a claim that comes too late to be written.
    pub fn learn(&mut self, row: &Row) {
        let Row::Claim(ClaimRow {
            participant,
            strap,
            from,
            until,
            ..
        }) = row
        else {
            return;
        };
        if let Some(&gone_mono_ms) = self.people.get(participant) {
            let until_mono_ms = until.map_or(gone_mono_ms, |until| until.mono_ms.min(gone_mono_ms));
            self.add_worn(*strap, from.mono_ms, until_mono_ms);
        }
    }

    fn add_worn(&mut self, strap: StrapNo, from_mono_ms: i64, until_mono_ms: i64) {
        if from_mono_ms < until_mono_ms {
            self.worn.push(ErasedWorn {
                strap,
                from_mono_ms,
                until_mono_ms,
            });
        }
    }

    /// Whether a row tells of somebody who was erased.
    pub fn covers(&self, row: &Row) -> bool {
        let was_worn = |strap: StrapNo, at: &Stamp| {
            self.worn.iter().any(|worn| {
                worn.strap == strap && (worn.from_mono_ms..worn.until_mono_ms).contains(&at.mono_ms)
            })
        };
        match row {
            Row::Participant(row) => self.people.contains_key(&row.id),
            Row::Participation(row) => self.people.contains_key(&row.participant),
            Row::Claim(row) => self.people.contains_key(&row.participant),
            Row::Consent(row) => self.people.contains_key(&row.participant),
            Row::Rr(row) => match row.heart {
                HeartKey::Strap(strap) => was_worn(strap, &row.arrived),
                HeartKey::Phone(id) => self.people.contains_key(&id),
            },
            Row::Score(row) => match (row.participant, row.heart) {
                (Some(id), _) | (None, HeartKey::Phone(id)) => self.people.contains_key(&id),
                (None, HeartKey::Strap(strap)) => was_worn(strap, &row.at),
            },
            Row::Pair(row) => [row.a, row.b].iter().any(|id| self.people.contains_key(id)),
            // The one who leads in their place comes in the next.
            Row::Stage(row) => row.leader.is_some_and(|id| self.people.contains_key(&id)),
            Row::Session(_)
            | Row::Strap(_)
            | Row::Twins(_)
            | Row::Group(_)
            | Row::StageFreed { .. }
            | Row::ForgetStrap { .. }
            | Row::Erase { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    const BOOT: i64 = 2;

    fn moment(boot_no: i64, mono_ms: i64) -> Moment {
        Moment { boot_no, mono_ms }
    }

    #[test]
    fn only_what_arrived_while_the_erased_wore_the_strap_is_held_back() {
        let who = samples::person(1);
        let mut erased = Erased::default();
        let worn = Worn {
            strap: StrapNo(3),
            from: moment(BOOT, 1_000),
            until: moment(BOOT, 9_000),
        };
        erased.add(who, &samples::at(5_000), BOOT, &[worn]);
        for (strap, mono_ms, covered) in [
            (3, 999, false),
            (3, 1_000, true),
            (3, 4_999, true),
            (3, 5_000, false),
            (4, 2_000, false),
        ] {
            assert_eq!(
                erased.covers(&samples::rr(1, strap, mono_ms)),
                covered,
                "{strap} {mono_ms}"
            );
            assert_eq!(
                erased.covers(&samples::score("s", strap, None, mono_ms)),
                covered,
                "{strap} {mono_ms}"
            );
        }
        // Somebody else's score on the same strap is somebody else's.
        assert!(!erased.covers(&samples::score("s", 3, Some(samples::person(2)), 2_000)));
        assert!(erased.covers(&samples::score("s", 9, Some(who), 99_000)));
    }

    #[test]
    fn a_claim_from_the_boot_before_covers_this_boot_from_its_start() {
        let mut erased = Erased::default();
        let worn = Worn {
            strap: StrapNo(3),
            from: moment(BOOT - 1, 800_000),
            until: moment(BOOT, 9_000),
        };
        erased.add(samples::person(1), &samples::at(9_000), BOOT, &[worn]);
        assert!(erased.covers(&samples::rr(1, 3, 10)));
    }

    #[test]
    fn a_claim_that_comes_after_the_erasure_still_tells_whose_beats_they_were() {
        let who = samples::person(1);
        let mut erased = Erased::default();
        erased.add(who, &samples::at(5_000), BOOT, &[]);
        let claim = samples::claim(7, who, 3, 1_000, None);
        assert!(erased.covers(&claim));
        assert!(!erased.covers(&samples::rr(1, 3, 2_000)));
        erased.learn(&claim);
        assert!(erased.covers(&samples::rr(1, 3, 2_000)));
        assert!(!erased.covers(&samples::rr(1, 3, 5_000)));
    }

    #[test]
    fn an_erasure_of_long_ago_is_not_remembered_for_ever() {
        let mut erased = Erased::default();
        for n in 1..=200 {
            let at = samples::at(i64::from(n) * 60_000);
            erased.add(samples::person(n), &at, BOOT, &[]);
        }
        assert_eq!(erased.people.len(), 11, "those of the last ten minutes");
        assert!(erased.covers(&samples::participant(195, "Bo")));
    }
}
