//! Who wears which strap: asking which one it is, putting it on, passing it on, taking it off. A claim is
//! an interval in time: what was kept before it stays whose it was. Not here: how well a strap fits
//! (`my_heart`).

use std::collections::BTreeMap;

use super::command::{HeartSign, Refusal, RefusalCode, Reply};
use super::my_heart::sensed::{self, Watched};
use super::my_heart::taps::{self, Beat};
use super::my_heart::{Fit, Match, proposed};
use super::rows::Stamp;
use super::view::{CandidateView, HeartFoundView};
use super::{HeartKey, Outcome, ParticipantId, Room, StrapNo};

/// So long after the hub has proposed a strap its taps still count as proof, ms.
const PROOF_MS: i64 = 60_000;
/// Touches older than this are not compared: a heart's beats are kept for 80 s.
const OLDEST_TAP_MS: f64 = 60_000.0;
/// A phone's measure of the hub's clock may be off by so much, ms.
const AHEAD_MS: f64 = 1_000.0;
/// How long the hub watches for a strap that is lifted, ms.
const LIFT_MS: i64 = 8_000;
/// Candidates that are shown at most.
const SHOWN: usize = 5;

impl Room {
    /// Compares what somebody does with every strap that beats. Straps that others wear are compared too,
    /// so that a free one is not proposed where another's fits better; they are named only where they are
    /// proposed, because "fits a little" would tell about another's heart.
    pub(super) fn find_heart(
        &mut self,
        id: ParticipantId,
        sign: HeartSign,
        now_ms: i64,
    ) -> Result<Outcome, Refusal> {
        self.take_part(id, now_ms)?;
        let allowed = self
            .people
            .get_mut(id)
            .is_some_and(|person| person.may_ask_for_heart(now_ms));
        if !allowed {
            return Err(Refusal::new(
                RefusalCode::RateLimited,
                "Asked too often. Tap on for a few beats, then ask again.",
            ));
        }
        let mut left_ms = None;
        let compared = match sign {
            HeartSign::Tapped { at_ms } => self.compare_taps(&at_ms, now_ms)?,
            HeartSign::Lifted => {
                let since_ms = self.lifts_since(id, now_ms);
                left_ms = Some(since_ms + LIFT_MS - now_ms).filter(|left_ms| *left_ms > 0);
                self.watch_lifted(since_ms, now_ms)
            }
            HeartSign::Held => self.compare_signals(now_ms),
        };
        let mut found = self.found(id, &compared, now_ms);
        found.left_ms = left_ms;
        Ok(Outcome::of(Reply::HeartFound(found)))
    }

    /// When they began to lift it: now, where nothing is being watched for them.
    fn lifts_since(&mut self, id: ParticipantId, now_ms: i64) -> i64 {
        let Some(person) = self.people.get_mut(id) else {
            return now_ms;
        };
        let watching = person
            .lifts_since_ms
            .filter(|since_ms| now_ms - since_ms < 2 * LIFT_MS);
        let since_ms = watching.unwrap_or(now_ms);
        let over = now_ms - since_ms >= LIFT_MS;
        person.lifts_since_ms = (!over).then_some(since_ms);
        since_ms
    }

    fn watch_lifted(&self, since_ms: i64, now_ms: i64) -> Vec<(StrapNo, Match)> {
        let watched = self.hearts.iter().filter_map(|(key, heart)| match key {
            HeartKey::Strap(no) => Some((*no, heart.watched(since_ms, now_ms)?)),
            HeartKey::Phone(_) => None,
        });
        let (straps, watched): (Vec<StrapNo>, Vec<Watched>) = watched.unzip();
        straps.into_iter().zip(sensed::lifted(&watched)).collect()
    }

    fn compare_signals(&self, now_ms: i64) -> Vec<(StrapNo, Match)> {
        let mut heard: BTreeMap<StrapNo, Option<f64>> = BTreeMap::new();
        for strap in self.straps.iter() {
            let dbm = heard.entry(self.radios.lead(strap.row.no)).or_default();
            // Of two radios, the one that tells.
            *dbm = dbm.or(strap.signal_dbm(now_ms));
        }
        let (straps, dbm): (Vec<StrapNo>, Vec<Option<f64>>) = heard.into_iter().unzip();
        straps.into_iter().zip(sensed::held(&dbm)).collect()
    }

    fn compare_taps(&self, at_ms: &[f64], now_ms: i64) -> Result<Vec<(StrapNo, Match)>, Refusal> {
        let bad = |message: &str| Err(Refusal::new(RefusalCode::BadValue, message));
        let offset_ms = self.offset_ms() as f64;
        let taps_ms: Vec<f64> = at_ms.iter().map(|at| at - offset_ms).collect();
        if taps_ms.windows(2).any(|pair| pair[1] <= pair[0]) {
            return bad("taps: each must be later than the one before.");
        }
        let now = now_ms as f64;
        if taps_ms.iter().any(|at| *at > now + AHEAD_MS) {
            return bad("taps: one is in the future. Measure the hub's clock anew (sync_request).");
        }
        let fresh = taps_ms.iter().position(|at| *at > now - OLDEST_TAP_MS);
        let taps_ms = &taps_ms[fresh.unwrap_or(taps_ms.len())..];
        if taps_ms.len() < taps::FEWEST {
            return bad(
                "taps: at least 8 of the last minute are needed, in Unix ms of the hub's clock.",
            );
        }
        let (straps, beats): (Vec<StrapNo>, Vec<Vec<Beat>>) = self
            .hearts
            .iter()
            .filter_map(|(key, heart)| match key {
                HeartKey::Strap(no) if !heart.silent(now_ms) && !heart.off_body(now_ms) => {
                    Some((*no, heart.beats_placed()))
                }
                HeartKey::Strap(_) | HeartKey::Phone(_) => None,
            })
            .unzip();
        Ok(straps
            .into_iter()
            .zip(taps::compare(taps_ms, &beats))
            .collect())
    }

    /// What the asker may know of it; a proposal is remembered as proof.
    fn found(
        &mut self,
        id: ParticipantId,
        compared: &[(StrapNo, Match)],
        now_ms: i64,
    ) -> HeartFoundView {
        let matches: Vec<Match> = compared.iter().map(|(_, one)| *one).collect();
        let proposal = proposed(&matches).map(|place| compared[place].0);
        if let Some(person) = self.people.get_mut(id) {
            person.shown = proposal.map(|no| (no, now_ms));
        }
        let label = |no: StrapNo| self.straps.get(no).map(|strap| strap.row.label.clone());
        let open = |no: StrapNo| {
            let wearer = self.people.wearer(no);
            proposal == Some(no) || wearer.is_none_or(|wearer| wearer == id)
        };
        let mut shown: Vec<&(StrapNo, Match)> = compared
            .iter()
            .filter(|(no, one)| one.fit > Fit::DoesNotFit && open(*no))
            .collect();
        shown.sort_by(|(_, a), (_, b)| b.certainty.total_cmp(&a.certainty));
        let candidate = |(no, one): &&(StrapNo, Match)| {
            Some(CandidateView {
                label: label(*no)?,
                fit: one.fit,
                certainty: (one.certainty * 100.0).round() / 100.0,
            })
        };
        HeartFoundView {
            candidates: shown.iter().take(SHOWN).filter_map(candidate).collect(),
            proposal: proposal.and_then(label),
            left_ms: None,
        }
    }

    pub(super) fn claim_strap(
        &mut self,
        id: ParticipantId,
        label: &str,
        now_ms: i64,
    ) -> Result<Outcome, Refusal> {
        self.take_part(id, now_ms)?;
        let no = self.strap_called(label)?;
        let wearer = self.people.wearer(no).filter(|wearer| *wearer != id);
        let proved = self
            .people
            .get(id)
            .and_then(|person| person.shown)
            .is_some_and(|(shown, at_ms)| shown == no && now_ms - at_ms <= PROOF_MS);
        if wearer.is_some() && !proved {
            return Err(Refusal::new(
                RefusalCode::StrapTaken,
                format!(
                    "Somebody else wears {label:?}. If it is on your chest, show it: tap along with your pulse (find_my_heart), then claim it."
                ),
            ));
        }
        let now = self.clock.stamp(now_ms);
        if let Some(wearer) = wearer {
            self.people.take_off(wearer, now, &mut self.facts);
        }
        self.wear(id, no, now);
        self.changes.links = true;
        let strap = self
            .straps
            .get(no)
            .map_or_else(|| label.to_owned(), |strap| strap.row.label.clone());
        let mut outcome = Outcome::of(Reply::Claimed {
            strap: strap.clone(),
        });
        outcome.bereft = wearer.map(|wearer| (wearer, strap));
        Ok(outcome)
    }

    pub(super) fn release_strap(
        &mut self,
        id: ParticipantId,
        now_ms: i64,
    ) -> Result<Outcome, Refusal> {
        self.take_part(id, now_ms)?;
        let now = self.clock.stamp(now_ms);
        self.people.take_off(id, now, &mut self.facts);
        self.changes.links = true;
        Ok(Outcome::of(Reply::Done))
    }

    /// From now on they wear it. What is still held of its beats was the last one's.
    pub(super) fn wear(&mut self, id: ParticipantId, no: StrapNo, now: Stamp) {
        if self.people.was_anothers(no, id) {
            self.begin_anew(HeartKey::Strap(no));
        }
        self.people.claim(id, no, now, &mut self.facts);
    }

    pub(super) fn begin_anew(&mut self, key: HeartKey) {
        let mut placed = std::mem::take(&mut self.placed);
        if let Some(heart) = self.hearts.get_mut(&key) {
            heart.settle(i64::MAX, &mut placed);
        }
        self.keep(key, placed);
        if let Some(heart) = self.hearts.get_mut(&key) {
            heart.begin_anew();
        }
        if let HeartKey::Strap(no) = key {
            self.radios.tear_all(no);
        }
    }

    pub(super) fn free_strap(&self, label: &str, id: ParticipantId) -> Result<StrapNo, Refusal> {
        let no = self.strap_called(label)?;
        match self.people.wearer(no) {
            Some(wearer) if wearer != id => Err(Refusal::new(
                RefusalCode::StrapTaken,
                format!(
                    "Somebody else wears {label:?}. Choose the strap whose number is on your chest."
                ),
            )),
            _ => Ok(no),
        }
    }

    /// The strap of a label, or of a label that it has over its other radio.
    pub(super) fn strap_called(&self, label: &str) -> Result<StrapNo, Refusal> {
        let no = self.straps.by_label(label);
        no.map(|no| self.radios.lead(no)).ok_or_else(|| {
            Refusal::new(
                RefusalCode::UnknownStrap,
                format!("The hub knows no strap {label:?}. GET /api/straps lists the labels."),
            )
        })
    }
}
