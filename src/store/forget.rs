//! Retention: what is older than `privacy.keep_days` goes, and with it people who have not been here
//! since. Sessions and the group's figures stay.
//!
//! Age is not read off wall times alone: a hub without a battery clock writes wrong ones, and would
//! forget the present or keep for ever. Each boot gets a cut in its own monotonic time, from whatever
//! proves age: the time lived since then, or a wall time known to be right.
//!
//! "Known" is not always right: a battery clock that was set wrong by years would make everything old
//! at one stroke. So a hub that seems to have been off for longer than [`PAUSE_BELIEVED_MS`] believes
//! it of a clock that is set over the network; of another, what was before the pause gets older only
//! by the time lived since. That keeps some rows too long and deletes none too early.

use rusqlite::{Connection, params};

use super::erase::keep_numbers_counting;
use super::moment::{Appended, DISORDER_MS, Moment, first_at_or_after};
use super::outbox;
use super::read::collect;
use super::write::blank_strap;
use crate::room::rows::Stamp;

/// So long a pause is believed of any clock that is known to be right.
const PAUSE_BELIEVED_MS: i64 = 30 * 86_400_000;

/// Pages given back to the file system at a time; new rows fill the others.
const PAGES_GIVEN_BACK: u32 = 4_000;

/// Deletes at most `rows_max` R-R, as many scores and as many pairs from before `before` (a moment of the present
/// boot, possibly negative; `by_network`: its wall time is set over the network); true while there is more to do. Call it outside of a transaction.
pub(super) fn forget(
    conn: &mut Connection,
    boot_no: i64,
    before: &Stamp,
    now: &Stamp,
    by_network: bool,
    rows_max: usize,
) -> rusqlite::Result<bool> {
    let tx = conn.transaction()?;
    keep_numbers_counting(&tx)?;
    let cuts = cuts(&boots(&tx)?, boot_no, before, by_network);
    // First: whose data waits is not forgotten.
    if outbox::forget(&tx, boot_no, now, &cuts)? {
        tx.commit()?;
        return Ok(true);
    }
    for (table, sql) in [
        (
            Appended::Rr,
            "DELETE FROM rr WHERE rr_id IN (SELECT rr_id FROM rr WHERE rr_id >= ?1 AND rr_id < ?2
             AND boot_no = ?3 AND mono_ms < ?4 ORDER BY rr_id LIMIT ?5)",
        ),
        (
            Appended::Score,
            "DELETE FROM score WHERE score_no IN (SELECT score_no FROM score WHERE score_no >= ?1 AND score_no < ?2
             AND boot_no = ?3 AND mono_ms < ?4 ORDER BY score_no LIMIT ?5)",
        ),
        (
            Appended::Pair,
            "DELETE FROM pair WHERE pair_no IN (SELECT pair_no FROM pair WHERE pair_no >= ?1 AND pair_no < ?2
             AND boot_no = ?3 AND mono_ms < ?4 ORDER BY pair_no LIMIT ?5)",
        ),
    ] {
        let mut left = rows_max;
        for cut in &cuts {
            let first = first_at_or_after(&tx, table, Moment { mono_ms: i64::MIN, ..*cut })?;
            let end = first_at_or_after(&tx, table, cut.later(DISORDER_MS))?;
            let limit = i64::try_from(left).unwrap_or(i64::MAX);
            left -= tx.prepare_cached(sql)?.execute(params![first, end, cut.boot_no, cut.mono_ms, limit])?;
            if left == 0 {
                outbox::numbers_were_freed(&tx)?;
                tx.commit()?;
                return Ok(true);
            }
        }
    }
    for cut in &cuts {
        forget_people(&tx, *cut)?;
        forget_straps(&tx, *cut)?;
        // Their waits are long over; the address of who tried once and never again is nobody's.
        tx.execute(
            "DELETE FROM guess WHERE last_boot_no = ?1 AND last_mono_ms < ?2",
            params![cut.boot_no, cut.mono_ms],
        )?;
    }
    outbox::numbers_were_freed(&tx)?;
    tx.commit()?;
    conn.execute_batch(&format!("PRAGMA incremental_vacuum({PAGES_GIVEN_BACK})"))?;
    Ok(false)
}

fn forget_people(conn: &Connection, cut: Moment) -> rusqlite::Result<()> {
    let cut = params![cut.boot_no, cut.mono_ms];
    // Who is in the newest session is here now, however short the retention.
    conn.execute(
        "DELETE FROM participation WHERE joined_boot_no = ?1 AND joined_mono_ms < ?2
         AND (left_boot_no IS NULL OR (left_boot_no = ?1 AND left_mono_ms < ?2))
         AND session_no <> (SELECT session_no FROM session ORDER BY boot_no DESC, start_mono_ms DESC LIMIT 1)",
        cut,
    )?;
    conn.execute(
        "DELETE FROM claim WHERE until_boot_no = ?1 AND until_mono_ms < ?2",
        cut,
    )?;
    // Whose data waits to go upstream stays: with them their consent would go, and with it the data. Of
    // a group that they were in nothing more is told then.
    conn.execute(
        "DELETE FROM participant WHERE since_boot_no = ?1 AND since_mono_ms < ?2
         AND NOT EXISTS (SELECT 1 FROM participation p WHERE p.participant_no = participant.participant_no)
         AND NOT EXISTS (SELECT 1 FROM claim c WHERE c.participant_no = participant.participant_no AND until_mono_ms IS NOT NULL)
         AND participant_no NOT IN (SELECT participant_no FROM outbox_subject
             WHERE seq NOT IN (SELECT seq FROM outbox WHERE stream = 'group'))",
        cut,
    )?;
    Ok(())
}

/// Straps that were not heard since and that nobody labelled; and numbers of forgotten straps that no row
/// names any more. R-R and scores from before the cut are gone, and later ones a strap that was not heard
/// can't have.
fn forget_straps(conn: &Connection, cut: Moment) -> rusqlite::Result<()> {
    let cut = params![cut.boot_no, cut.mono_ms];
    conn.execute(
        concat!(
            "UPDATE strap SET forgotten_boot_no = last_seen_boot_no, forgotten_mono_ms = last_seen_mono_ms,
                 forgotten_wall_ms = last_seen_wall_ms, forgotten_wall_synced = last_seen_wall_synced, ",
            blank_strap!(),
            " WHERE identity <> '' AND label = 'strap ' || strap_no AND last_seen_boot_no = ?1 AND last_seen_mono_ms < ?2
                 AND NOT EXISTS (SELECT 1 FROM claim c WHERE c.strap_no = strap.strap_no AND until_boot_no IS NULL)"
        ),
        cut,
    )?;
    conn.execute(
        "DELETE FROM twins WHERE EXISTS
             (SELECT 1 FROM strap s WHERE s.strap_no IN (low_strap_no, high_strap_no) AND s.identity = '')",
        [],
    )?;
    conn.execute(
        "UPDATE strap SET label = '', forgotten_boot_no = NULL, forgotten_mono_ms = NULL, forgotten_wall_ms = NULL, forgotten_wall_synced = NULL
         WHERE identity = '' AND forgotten_boot_no = ?1 AND forgotten_mono_ms < ?2
             AND NOT EXISTS (SELECT 1 FROM claim c WHERE c.strap_no = strap.strap_no)
             AND NOT EXISTS (SELECT 1 FROM subject_strap s WHERE s.strap_no = strap.strap_no)",
        cut,
    )?;
    Ok(())
}

/// What is known of the time of a boot.
#[derive(Clone, Copy, Debug)]
pub(super) struct BootTime {
    pub boot_no: i64,
    /// Wall minus monotonic time, where it was ever known to be right.
    pub synced_offset_ms: Option<i64>,
    /// It lasted at least this long.
    pub lived_ms: i64,
}

pub(super) fn boots(conn: &Connection) -> rusqlite::Result<Vec<BootTime>> {
    collect(
        conn,
        "SELECT boot_no, synced_offset_ms, max(start_mono_ms,
             coalesce((SELECT max(s.start_mono_ms) FROM session s WHERE s.boot_no = boot.boot_no), 0))
         FROM boot ORDER BY boot_no",
        params![],
        |row| Ok(BootTime { boot_no: row.get(0)?, synced_offset_ms: row.get(1)?, lived_ms: row.get(2)? }),
    )
}

/// For each boot, the monotonic time before which everything is old for certain.
pub(super) fn cuts(
    boots: &[BootTime],
    present: i64,
    before: &Stamp,
    by_network: bool,
) -> Vec<Moment> {
    let mut cuts = Vec::with_capacity(boots.len());
    let mut lived_since_ms: i64 = 0;
    let mut believed = before.synced;
    let mut next_start_wall_ms = before.synced.then_some(before.wall_ms - before.mono_ms);
    for boot in boots.iter().rev() {
        let mut cut = if boot.boot_no == present {
            before.mono_ms
        } else {
            // Time passed while the hub was off is not in it: a lower bound of the age.
            let by_life = boot
                .lived_ms
                .saturating_add(lived_since_ms)
                .saturating_add(before.mono_ms);
            lived_since_ms = lived_since_ms.saturating_add(boot.lived_ms);
            by_life
        };
        if let (Some(offset_ms), Some(next_ms)) = (boot.synced_offset_ms, next_start_wall_ms)
            && boot.boot_no != present
        {
            let pause_ms = next_ms.saturating_sub(offset_ms.saturating_add(boot.lived_ms));
            believed &= by_network || pause_ms <= PAUSE_BELIEVED_MS;
        }
        if believed && boot.boot_no != present {
            if next_start_wall_ms.is_some_and(|start_ms| start_ms <= before.wall_ms) {
                cut = i64::MAX; // it had ended before
            }
            if let Some(offset_ms) = boot.synced_offset_ms {
                cut = cut.max(before.wall_ms - offset_ms);
                next_start_wall_ms = Some(offset_ms);
            }
        }
        cuts.push(Moment {
            boot_no: boot.boot_no,
            mono_ms: cut,
        });
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    fn boot(boot_no: i64, synced_offset_ms: Option<i64>, lived_ms: i64) -> BootTime {
        BootTime {
            boot_no,
            synced_offset_ms,
            lived_ms,
        }
    }

    fn cut_of(cuts: &[Moment], boot_no: i64) -> i64 {
        cuts.iter()
            .find(|cut| cut.boot_no == boot_no)
            .unwrap()
            .mono_ms
    }

    /// "30 days ago", asked `now_mono_ms` after the present boot began on day 100.
    fn thirty_days_ago(now_mono_ms: i64, synced: bool) -> Stamp {
        let mono_ms = now_mono_ms - 30 * DAY_MS;
        Stamp {
            mono_ms,
            wall_ms: 100 * DAY_MS + mono_ms,
            synced,
        }
    }

    #[test]
    fn a_known_clock_cuts_each_boot_at_the_same_wall_time() {
        let boots = [
            boot(1, Some(65 * DAY_MS), DAY_MS),
            boot(2, Some(69 * DAY_MS), DAY_MS),
            boot(3, None, 0),
        ];
        let cuts = cuts(&boots, 3, &thirty_days_ago(DAY_MS, true), false);
        assert_eq!(cut_of(&cuts, 1), i64::MAX); // over before day 69, which is before day 71
        assert_eq!(cut_of(&cuts, 2), 2 * DAY_MS);
        assert_eq!(cut_of(&cuts, 3), -29 * DAY_MS);
    }

    #[test]
    fn a_boot_that_never_knew_the_time_is_as_old_as_the_next_that_did() {
        let boots = [
            boot(1, None, 0),
            boot(2, Some(60 * DAY_MS), 0),
            boot(3, None, 0),
            boot(4, None, 0),
        ];
        let cuts = cuts(&boots, 4, &thirty_days_ago(0, true), true);
        assert_eq!(cut_of(&cuts, 1), i64::MAX);
        assert_eq!(cut_of(&cuts, 2), 10 * DAY_MS);
        assert!(cut_of(&cuts, 3) <= 0, "it may have run yesterday");
    }

    #[test]
    fn a_hub_that_never_knows_the_time_forgets_by_the_time_it_has_lived() {
        let boots = [
            boot(1, None, 20 * DAY_MS),
            boot(2, None, 25 * DAY_MS),
            boot(3, None, 0),
        ];
        let cuts = cuts(&boots, 3, &thirty_days_ago(2 * DAY_MS, false), false);
        // 2 days in this boot and 25 in the last are 27: of the first, all but its last 3 days.
        assert_eq!(cut_of(&cuts, 1), 17 * DAY_MS);
        assert_eq!(cut_of(&cuts, 2), -3 * DAY_MS);
    }

    #[test]
    fn a_battery_clock_that_jumped_by_years_makes_nothing_old_and_the_network_is_believed() {
        let boots = [
            boot(1, Some(60 * DAY_MS), DAY_MS),
            boot(2, Some(90 * DAY_MS), 5 * DAY_MS),
            boot(3, None, 0),
        ];
        // The present boot began on day 100, or so says the clock that shows 56 years more.
        let mut before = thirty_days_ago(DAY_MS, true);
        before.wall_ms += 56 * 365 * DAY_MS;
        let by_battery = cuts(&boots, 3, &before, false);
        assert_eq!(
            cut_of(&by_battery, 2),
            -24 * DAY_MS,
            "lived for 6 of 30 days"
        );
        assert_eq!(cut_of(&by_battery, 1), -23 * DAY_MS);
        let by_network = cuts(&boots, 3, &before, true);
        assert!(cut_of(&by_network, 2) > 5 * DAY_MS, "all of it");
        assert_eq!(cut_of(&by_network, 1), i64::MAX);
    }

    #[test]
    fn a_battery_clock_is_believed_a_holiday() {
        let boots = [boot(1, Some(75 * DAY_MS), DAY_MS), boot(2, None, 0)];
        // Off from day 76 to day 100; today is day 101.
        let cuts = cuts(&boots, 2, &thirty_days_ago(DAY_MS, true), false);
        assert_eq!(cut_of(&cuts, 1), -4 * DAY_MS);
    }
}
