//! The evidence for the scores of a session: what was kept of them, and the R-R of which they were made.
//! Read without writing anything, beside a running hub or without one. What follows from it is for the
//! asker to say.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use rusqlite::{Connection, params};

use super::away::look_in;
use super::error::StoreError;
use super::moment::{Appended, DISORDER_MS, first_at_or_after};
use super::read::{self, session_span};
use super::registry;
use crate::room::rows::{RrRow, ScoreRow};
use crate::room::{HeartKey, StrapNo};

/// Of one session, boot after boot.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub boots: Vec<BootEvidence>,
    /// Labels of all straps.
    pub labels: HashMap<StrapNo, String>,
}

/// Of one boot: no window reaches over its beginning.
#[derive(Clone, Debug, Default)]
pub struct BootEvidence {
    /// In order of time.
    pub scores: Vec<ScoreRow>,
    /// What each heart sent, on the tachogram or not, in the order of arrival: from ten minutes before the
    /// first of the scores, as far as it is still kept.
    pub rr: HashMap<HeartKey, Vec<RrRow>>,
    /// The numbers of all these R-R rows. They count up by one, so one that is absent was kept once.
    pub rr_ids: BTreeSet<i64>,
}

/// The evidence of a session; `None` where this hub keeps no session of that id.
///
/// # Errors
/// There is no database, or it can't be read.
pub fn evidence(path: &Path, session_id: &str) -> Result<Option<Evidence>, StoreError> {
    // SQLite does not say what keeps it from opening its file.
    let data = std::fs::File::open(path).and_then(|file| file.metadata());
    let data = data.map_err(|source| StoreError::File {
        doing: "opening",
        path: path.to_owned(),
        source,
    })?;
    let not_there = |why: &str| StoreError::Damaged {
        why: format!("{}: {why}", path.display()),
    };
    if data.len() == 0 {
        return Err(not_there("no hub has begun in it"));
    }
    let conn = look_in(path)?
        .ok_or_else(|| not_there("it is of an older version: start the hub on it once"))?;
    // One state of the database, while a hub goes on writing.
    let tx = conn
        .unchecked_transaction()
        .map_err(StoreError::sql("opening"))?;
    gather(&tx, session_id).map_err(StoreError::sql("reading a session's scores"))
}

fn gather(conn: &Connection, session_id: &str) -> rusqlite::Result<Option<Evidence>> {
    if read::session(conn, session_id)?.is_none() {
        return Ok(None);
    }
    let straps = registry::straps(conn)?.into_iter();
    let mut evidence = Evidence {
        boots: Vec::new(),
        labels: straps.map(|row| (row.no, row.label)).collect(),
    };
    let Some((begin, end)) = session_span(conn, session_id)? else {
        return Ok(Some(evidence));
    };
    let first = first_at_or_after(conn, Appended::Score, begin.earlier(DISORDER_MS))?;
    let last = first_at_or_after(conn, Appended::Score, end.later(DISORDER_MS))?;
    let sql = read::score_sql("c.score_no >= ?1 AND c.score_no < ?2 AND s.session_id = ?3");
    let scores: Vec<(i64, ScoreRow)> =
        read::collect(conn, &sql, params![first, last, session_id], |row| {
            Ok((row.get(read::SCORE_BOOT_NO)?, read::score_row(row)?))
        })?;
    let first_rr = first_at_or_after(conn, Appended::Rr, begin.earlier(DISORDER_MS))?;
    for of_boot in scores.chunk_by(|(a, _), (b, _)| a == b) {
        let scores: Vec<ScoreRow> = of_boot.iter().map(|(_, row)| row.clone()).collect();
        let last_rr = scores.iter().filter_map(|row| row.last_rr).max();
        // A phone's person who is forgotten has no score any more.
        let rows = read::rr(
            conn,
            "WHERE r.rr_id BETWEEN ?1 AND ?2 AND r.boot_no = ?3
             AND (r.strap_no IS NOT NULL OR p.participant_id IS NOT NULL) ORDER BY r.rr_id",
            params![first_rr, last_rr, of_boot[0].0],
        )?;
        let rr_ids = rows.iter().map(|row| row.id).collect();
        let mut rr: HashMap<HeartKey, Vec<RrRow>> = HashMap::new();
        for row in rows {
            rr.entry(row.heart).or_default().push(row);
        }
        evidence.boots.push(BootEvidence { scores, rr, rr_ids });
    }
    Ok(Some(evidence))
}
