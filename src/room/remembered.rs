//! What a restarted hub knows of the room. Who reads it is the store's business, what follows from it
//! the room's.

use std::collections::BTreeSet;

use super::rows::{
    ClaimRow, GroupRow, ParticipantRow, ParticipationRow, RrRow, SessionRow, StageRow, Stamp,
    StrapRow, TwinsRow,
};
use super::{ParticipantId, StrapNo};
use crate::signal::course::Point;

/// What a restarted hub remembers, as the store found it.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// The newest session, if it is of this same boot: its offset is to be used again.
    pub session: Option<SessionRow>,
    /// Ids that no other session may have. The newest session of an earlier boot is not among them:
    /// it may be the one that goes on.
    pub session_ids: BTreeSet<String>,
    /// By number.
    pub straps: Vec<StrapRow>,
    /// Numbers of forgotten straps that rows still name.
    pub resting: BTreeSet<StrapNo>,
    /// Which of them are one strap with two radios, and which are not.
    pub twins: Vec<TwinsRow>,
    pub participants: Vec<ParticipantRow>,
    /// Those of the newest session.
    pub participations: Vec<ParticipationRow>,
    /// Those that still hold, by number.
    pub claims: Vec<ClaimRow>,
    /// Each participant's latest claim, whether it holds or not, by number.
    pub last_claims: Vec<(ParticipantId, StrapNo)>,
    /// What arrived in the last two minutes of this boot, on the tachogram or not, in order of arrival.
    pub recent_rr: Vec<RrRow>,
    /// Above every id that was ever stored.
    pub next_rr_id: i64,
    /// Above every number that was ever stored.
    pub next_claim_no: i64,
    /// The group's figures of the newest session, in order of time.
    pub group: Vec<GroupRow>,
    /// The scores that the hub made of each person's heart in the newest session, in order of time.
    pub own_scores: Vec<(ParticipantId, Point)>,
    /// With their anchors in this boot's monotonic time.
    pub stages: Vec<StageRow>,
}

impl Remembered {
    /// How long the hub was off before this session, as far as can be told; 0 if it ran in it already.
    pub(super) fn off_ms(&self, session_id: &str, now: Stamp) -> i64 {
        let newest = self.group.last();
        let scored = newest.map(|row| (&row.session_id, row.at.wall_ms));
        let begun = self.session.as_ref().map(|row| (&row.id, row.starts_at_ms));
        match scored.or(begun) {
            Some((id, _)) if id == session_id => 0,
            // By hub time: the monotonic clock may have begun anew. Backwards is as long ago.
            Some((_, wall_ms)) => (now.wall_ms - wall_ms).abs(),
            None => i64::MAX,
        }
    }
}
