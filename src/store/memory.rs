//! What a restarted hub must know, read once at the start.

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::Boot;
use super::doors;
use super::moment::{Appended, DISORDER_MS, Moment, first_at_or_after};
use super::open::Opened;
use super::stages;
use super::{read, registry};
use crate::access::{Door, Scoped, Tries};
use crate::room::rows::{RrRow, SessionRow};
use crate::room::{ParticipantId, Remembered, StrapNo};
use crate::signal::course::Point;

/// How far back R-R is handed over, ms: the window of a score, what lies before it that the cleaner
/// looks at, and room to spare.
const RECENT_RR_MS: i64 = 120_000;

/// What a restarted hub must know. A stamp from an earlier boot keeps its own monotonic time, which
/// says nothing in this boot; its wall time does.
pub struct Memory {
    pub hub_id: Uuid,
    /// The number of this start of the operating system.
    pub boot_no: i64,
    /// Key of the phones' tokens.
    pub hub_key: [u8; 32],
    /// The facilitator's, six digits.
    pub pin: String,
    /// Wrong tries, in this boot's monotonic time.
    pub tries: Vec<(Door, Tries)>,
    /// The tokens of programs.
    pub tokens: Vec<Scoped>,
    /// The hub had no identity before: the PIN is to be shown.
    pub first_start: bool,
    /// Where a damaged database was moved to; then all but the identity begins anew, and the identity
    /// too where it could not be read any more.
    pub set_aside: Option<String>,
    /// What was wrong with it.
    pub damage: Option<String>,
    /// The room as it was.
    pub past: Remembered,
}

impl Memory {
    /// What became of a damaged database: where it is and what was wrong.
    pub fn aside_in_words(&self) -> Option<String> {
        let file = self.set_aside.as_ref()?;
        let why = self.damage.as_deref().unwrap_or("unknown");
        Some(format!("{file} ({why})"))
    }
}

/// Key and PIN never get into a log.
impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory")
            .field("hub_id", &self.hub_id)
            .field("participants", &self.past.participants.len())
            .field("recent_rr", &self.past.recent_rr.len())
            .finish_non_exhaustive()
    }
}

pub(super) fn read(opened: &Opened, boot: &Boot) -> rusqlite::Result<Memory> {
    let conn = &opened.conn;
    let newest = newest_session(conn)?;
    let newest_session_id = newest.as_ref().map(|(_, session)| session.id.clone());
    let may_go_on = newest
        .as_ref()
        .filter(|(boot_no, _)| *boot_no != opened.boot_no)
        .map(|(_, session)| &session.id);
    let session_ids = read::collect(conn, "SELECT session_id FROM session", &[], |row| {
        row.get::<_, String>(0)
    })?
    .into_iter()
    .filter(|id| Some(id) != may_go_on)
    .collect();
    let (participations, group) = match &newest_session_id {
        Some(id) => (
            read::participations(
                conn,
                "WHERE s.session_id = ?1 ORDER BY joined_boot_no, joined_mono_ms, participant_no",
                params![id],
            )?,
            read::group_of(conn, id)?,
        ),
        None => (Vec::new(), Vec::new()),
    };
    Ok(Memory {
        hub_id: opened.identity.hub_id,
        boot_no: opened.boot_no,
        hub_key: opened.identity.hub_key,
        pin: opened.identity.pin.clone(),
        tries: doors::tries(conn, opened.boot_no, &boot.start)?,
        tokens: doors::tokens(conn, opened.boot_no)?,
        first_start: opened.first_start,
        set_aside: None,
        damage: None,
        past: Remembered {
            session: newest
                .filter(|(boot_no, _)| *boot_no == opened.boot_no)
                .map(|(_, session)| session),
            session_ids,
            straps: registry::straps(conn)?,
            resting: registry::resting_straps(conn)?,
            twins: registry::twins(conn)?,
            participants: read::participants(conn, "ORDER BY participant_no", &[])?,
            participations,
            claims: read::claims(conn, "WHERE until_mono_ms IS NULL ORDER BY claim_no", &[])?,
            last_claims: last_claims(conn)?,
            recent_rr: recent_rr(conn, opened.boot_no, boot)?,
            next_rr_id: next(
                conn,
                "SELECT max(high_rr_id, (SELECT coalesce(max(rr_id), 0) FROM rr)) FROM meta",
            )?,
            next_claim_no: next(
                conn,
                "SELECT max(high_claim_no, (SELECT coalesce(max(claim_no), 0) FROM claim)) FROM meta",
            )?,
            own_scores: match &newest_session_id {
                Some(id) => own_scores(conn, id)?,
                None => Vec::new(),
            },
            group,
            stages: stages::read(conn, opened.boot_no, boot)?,
        },
    })
}

/// With its boot.
fn newest_session(conn: &Connection) -> rusqlite::Result<Option<(i64, SessionRow)>> {
    let sql = format!(
        "SELECT {}, boot_no FROM session s ORDER BY boot_no DESC, start_mono_ms DESC LIMIT 1",
        read::SESSION_COLUMNS
    );
    read::first(conn, &sql, &[], |row| {
        Ok((row.get(7)?, read::session_row(row)?))
    })
}

fn last_claims(conn: &Connection) -> rusqlite::Result<Vec<(ParticipantId, StrapNo)>> {
    read::collect(
        conn,
        "SELECT p.participant_id, c.strap_no FROM claim c JOIN participant p USING (participant_no)
         WHERE c.claim_no = (SELECT max(claim_no) FROM claim WHERE participant_no = p.participant_no)
         ORDER BY c.claim_no",
        &[],
        |row| Ok((read::participant_id(row, 0)?, StrapNo(row.get(1)?))),
    )
}

/// The scores that the hub itself made of people's hearts in a session, in order of time.
fn own_scores(
    conn: &Connection,
    session_id: &str,
) -> rusqlite::Result<Vec<(ParticipantId, Point)>> {
    let Some((begin, _)) = read::session_span(conn, session_id)? else {
        return Ok(Vec::new());
    };
    let first = first_at_or_after(conn, Appended::Score, begin.earlier(DISORDER_MS))?;
    read::collect(
        conn,
        "SELECT p.participant_id, c.wall_ms, c.score FROM score c
             JOIN session s USING (session_no)
             JOIN participant p ON p.participant_no = coalesce(c.participant_no, c.phone_no)
         WHERE c.score_no >= ?1 AND s.session_id = ?2 AND c.score IS NOT NULL AND c.algorithm IS NOT NULL
         ORDER BY c.score_no",
        params![first, session_id],
        |row| {
            let point = Point {
                at_ms: row.get(1)?,
                score: row.get(2)?,
            };
            Ok((read::participant_id(row, 0)?, point))
        },
    )
}

fn recent_rr(conn: &Connection, boot_no: i64, boot: &Boot) -> rusqlite::Result<Vec<RrRow>> {
    let since = Moment {
        boot_no,
        mono_ms: boot.start.mono_ms,
    }
    .earlier(RECENT_RR_MS);
    let first = first_at_or_after(conn, Appended::Rr, since.earlier(DISORDER_MS))?;
    read::rr(
        conn,
        "WHERE r.rr_id >= ?1 AND r.boot_no = ?2 AND r.mono_ms >= ?3 ORDER BY r.rr_id",
        params![first, boot_no, since.mono_ms],
    )
}

fn next(conn: &Connection, highest: &str) -> rusqlite::Result<i64> {
    conn.query_row(highest, [], |row| row.get::<_, i64>(0))
        .map(|highest| highest + 1)
}
