//! The grid point: every 5 s all windows leave for the compute thread and come back as scores.
//! Between the two the room may have changed, so the job carries what it was asked with.

use super::group::{self, Group};
use super::heart::{Ask, HeartJob, LastRr, Reason, Scored};
use super::people::Person;
use super::proof::SettingsHash;
use super::rows::{PairRow, Row, ScoreRow, Stamp, SynchronyRow};
use super::view::{FeedbackView, ProofView, Quality};
use super::{HeartKey, ParticipantId, Room};
use crate::signal::course::{self, Point};
use crate::signal::synchrony::{Pair, Synchrony, pairs};
use crate::signal::{Interval, Scorer, Version, breaths_per_min};

/// An unclaimed heart that was silent for longer is not there.
const ROW_MS: i64 = 120_000;

/// Pairs are looked for so often. Their windows are a minute long, so that others in between would say
/// the same again, and there may be thousands of pairs.
const PAIRS_EVERY_MS: i64 = 60_000;

/// What the compute thread gets.
#[derive(Clone, Debug)]
pub struct GridJob {
    session_id: String,
    at: Stamp,
    hearts: Vec<(HeartJob, Option<ParticipantId>)>,
    with_pairs: bool,
}

/// What comes back.
#[derive(Clone, Debug)]
pub struct GridResult {
    session_id: String,
    at: Stamp,
    scores: Vec<(Scored, Option<ParticipantId>)>,
    together: Option<Together>,
}

/// How much the hearts that could be compared move together.
#[derive(Clone, Debug)]
struct Together {
    synchrony: Synchrony,
    /// In the order in which `pairs` counts them.
    hearts: Vec<(HeartKey, Option<ParticipantId>)>,
    pairs: Vec<Pair>,
}

impl GridJob {
    /// The work of the compute thread: scores every window, and compares the hearts with each other.
    /// What gives no score is no heart to be compared with, either.
    pub fn compute(self, scorer: &mut Scorer) -> GridResult {
        let mut scores = Vec::with_capacity(self.hearts.len());
        let mut rhythms = Vec::new();
        let mut hearts = Vec::new();
        for (job, wearer) in self.hearts {
            let scored = job.compute(scorer);
            if scored.verdict.is_ok()
                && let Some(phases) = job.phases(scorer, self.at.mono_ms)
            {
                rhythms.push(phases);
                hearts.push((job.key, wearer));
            }
            scores.push((scored, wearer));
        }
        let together = Synchrony::of(&rhythms).map(|synchrony| Together {
            synchrony,
            hearts,
            pairs: if self.with_pairs {
                pairs(&rhythms)
            } else {
                Vec::new()
            },
        });
        GridResult {
            session_id: self.session_id,
            at: self.at,
            scores,
            together,
        }
    }
}

impl GridResult {
    /// The grid point, monotonic.
    pub fn at_ms(&self) -> i64 {
        self.at.mono_ms
    }
}

impl Room {
    /// Copies of all windows as they are at a grid point, once the room knows of it ([`Room::tick`]).
    pub fn grid_job(&self, at_ms: i64) -> GridJob {
        let wearer = |key: HeartKey| match key {
            HeartKey::Strap(no) => self.people.wearer(no),
            HeartKey::Phone(id) => Some(id),
        };
        let hearts = self
            .hearts
            .iter()
            .filter(|(key, _)| match key {
                HeartKey::Strap(_) => true,
                // A phone's own beats count while its person wears no strap.
                HeartKey::Phone(id) => self
                    .people
                    .get(*id)
                    .is_some_and(|person| person.takes_part() && person.heart() == **key),
            })
            .map(|(key, heart)| (heart.job(*key, at_ms), wearer(*key)))
            .collect();
        let session = self.clock.session();
        GridJob {
            session_id: session.id.clone(),
            at: self.clock.stamp(at_ms),
            hearts,
            with_pairs: (at_ms - session.start_mono_ms) % PAIRS_EVERY_MS == 0,
        }
    }

    /// Takes the scores in: group, rows to keep, and what each heart's next feedback says.
    pub fn finish_grid(&mut self, result: GridResult) {
        let GridResult {
            session_id,
            at,
            scores,
            together,
        } = result;
        if session_id != self.clock.session().id {
            // The session ended while this was computed: its last point belongs to what was.
            return;
        }
        // Who asked to be forgotten meanwhile is forgotten; what they were compared with, too.
        let is_known =
            |wearer: &Option<ParticipantId>| wearer.is_none_or(|id| self.people.get(id).is_some());
        let together =
            together.filter(|together| together.hearts.iter().all(|(_, who)| is_known(who)));
        let (scores, wearers): (Vec<Scored>, Vec<Option<ParticipantId>>) = scores
            .into_iter()
            .filter(|(_, wearer)| is_known(wearer))
            .unzip();
        let peer = |id| self.people.get(id).and_then(|person| person.peer);
        let mut group = Group::of(&scores, peer, self.settings.suppression);
        group.synchrony = together.as_ref().map(|together| SynchronyRow {
            index: together.synchrony.index,
            chance_high: together.synchrony.chance_high,
            hearts: group::hearts(together.hearts.iter().map(|(key, _)| *key), peer),
        });
        let row = group.row(&session_id, at, self.people.present());
        if !group.suppressed {
            self.peak = self
                .peak
                .into_iter()
                .chain(group.average())
                .reduce(f64::max);
        }
        self.beats.push(Row::Group(row.clone()));
        if let Some(together) = &together {
            let rows = together.pair_rows(&session_id, at);
            self.beats.extend(rows.map(Row::Pair));
        }
        for (scored, wearer) in scores.into_iter().zip(wearers) {
            if let (Some(id), Ok(score), Some(_)) = (wearer, scored.verdict, &scored.evaluation) {
                let at_ms = at.wall_ms;
                self.people.note_score(id, Point { at_ms, score });
            }
            // A heart that is simply not there needs no row every five seconds; that a person's own
            // was silent is worth one.
            let beat_lately = scored.age_ms.is_some_and(|age_ms| age_ms <= ROW_MS);
            let missed = wearer.is_some() && scored.last_rr.is_some();
            if beat_lately || missed || scored.verdict.is_ok() {
                self.beats
                    .push(Row::Score(score_row(&session_id, at, &scored, wearer)));
            }
            if let Some(heart) = self.hearts.get_mut(&scored.key) {
                heart.latest = Some(scored);
            }
        }
        self.group = Some((group, row));
        self.changes.group = true;
    }

    /// Everybody's own feedback after a grid point.
    pub fn feedbacks(&self, now_ms: i64) -> Vec<(ParticipantId, FeedbackView)> {
        self.people
            .taking_part()
            .map(|person| (person.row.id, self.feedback(person.row.id, now_ms)))
            .collect()
    }

    /// One person's latest evaluation.
    pub fn feedback(&self, id: ParticipantId, now_ms: i64) -> FeedbackView {
        let person = self.people.get(id);
        let key = person.map(Person::heart);
        let course = person.map_or(&[][..], |person| &person.course);
        let trend = course::trend(course).map(Into::into);
        let baseline = course::baseline(course);
        let strap = key.and_then(|key| match key {
            HeartKey::Strap(no) => self.straps.get(no).map(|strap| strap.row.label.clone()),
            HeartKey::Phone(_) => None,
        });
        let grid = self.group.as_ref();
        let at = grid.map_or_else(|| self.clock.hub_time_ms(now_ms), |(_, row)| row.at.wall_ms);
        let heart = key.and_then(|key| self.hearts.get(&key).map(|heart| (key, heart)));
        let Some((key, heart)) = heart else {
            let reason = if strap.is_some() {
                Reason::Silent
            } else {
                Reason::NoStrap
            };
            return FeedbackView {
                at,
                score: None,
                standard_error: None,
                level: None,
                early: None,
                trend,
                baseline,
                contribution: None,
                quality: Quality {
                    coverage: 0.0,
                    artefact_pct: None,
                    age_ms: None,
                },
                reason: Some(reason.word()),
                left_ms: None,
                heart_rate: None,
                breaths_per_min: None,
                hrv: None,
                proof: None,
                origin: None,
                strap,
            };
        };
        // Asked for before its first grid point: too seldom to keep a scorer for it.
        let scored = heart.latest.clone().unwrap_or_else(|| {
            heart
                .job(key, now_ms)
                .compute(&mut Scorer::new(Version::CURRENT))
        });
        let counted = heart.latest.is_some();
        let evaluation = scored.evaluation.as_ref();
        FeedbackView {
            at,
            score: scored.verdict.ok(),
            standard_error: evaluation.and_then(|e| e.standard_error),
            level: scored.level().map(|level| level.word()),
            early: evaluation.and_then(|e| e.early).map(Into::into),
            trend,
            baseline,
            contribution: scored
                .verdict
                .ok()
                .filter(|_| counted)
                .and_then(|score| grid.and_then(|(group, _)| group.contribution(score)))
                .map(|contribution| (contribution * 10.0).round() / 10.0),
            quality: scored.quality(),
            reason: scored.verdict.err().map(Reason::word),
            left_ms: scored.verdict.err().and_then(Reason::left_ms),
            heart_rate: evaluation
                .and_then(|e| e.hrv.as_ref())
                .and_then(|hrv| hrv.mean_hr_bpm),
            breaths_per_min: evaluation.and_then(|e| breaths_per_min(e.peak_hz, e.score)),
            hrv: evaluation.and_then(|e| e.hrv).map(Into::into),
            proof: self.proof(&scored),
            origin: Some(key.origin()),
            strap,
        }
    }

    fn proof(&self, scored: &Scored) -> Option<ProofView> {
        let evaluation = scored.evaluation.as_ref()?;
        let (window, version) = scored.window().zip(scored.version)?;
        let wall_ms = |mono_ms: f64| self.clock.hub_time_ms(mono_ms.round() as i64);
        Some(ProofView {
            last_rr_at: wall_ms(window.end_mono_ms),
            window_start_at: wall_ms(window.start_mono_ms),
            window_end_at: wall_ms(window.end_mono_ms),
            beats: evaluation.beats,
            algorithm: version.number(),
            settings: SettingsHash::of(version),
        })
    }

    /// The present group figures before suppression.
    #[cfg(test)]
    pub(super) fn exact_group(&self) -> Option<&Group> {
        self.group.as_ref().map(|(group, _)| group)
    }
}

/// What the room would have kept at that grid point of the heart of `kept`, had it seen this window: the
/// intervals on its tachogram, oldest first, the last of which ends at `end_mono_ms`.
pub fn remade(
    kept: &ScoreRow,
    intervals: Vec<Interval>,
    end_mono_ms: f64,
    scorer: &mut Scorer,
) -> ScoreRow {
    let job = HeartJob {
        key: kept.heart,
        last_rr: kept.last_rr.map(|id| LastRr { id, end_mono_ms }),
        age_ms: kept.age_ms,
        ask: Ask::Window(intervals),
    };
    score_row(
        &kept.session_id,
        kept.at,
        &job.compute(scorer),
        kept.participant,
    )
}

impl Together {
    /// The pairs of people; a strap that nobody has claimed is nobody's.
    fn pair_rows(&self, session_id: &str, at: Stamp) -> impl Iterator<Item = PairRow> {
        self.pairs.iter().filter_map(move |pair| {
            Some(PairRow {
                session_id: session_id.to_owned(),
                at,
                a: self.hearts[pair.a].1?,
                b: self.hearts[pair.b].1?,
                plv: pair.plv,
                lag_rad: pair.lag_rad,
            })
        })
    }
}

fn score_row(
    session_id: &str,
    at: Stamp,
    scored: &Scored,
    participant: Option<ParticipantId>,
) -> ScoreRow {
    let evaluation = scored.evaluation.as_ref();
    let hrv = evaluation.and_then(|evaluation| evaluation.hrv.as_ref());
    ScoreRow {
        session_id: session_id.to_owned(),
        at,
        heart: scored.key,
        participant,
        score: scored.verdict.ok(),
        standard_error: evaluation.and_then(|evaluation| evaluation.standard_error),
        level: scored.level().map(|level| level.word()),
        reason: scored.verdict.err().map(Reason::word),
        status: evaluation.map(|evaluation| evaluation.status.word()),
        last_rr: scored.last_rr.map(|last| last.id),
        window: scored.window(),
        beats: evaluation.map_or(0, |evaluation| evaluation.beats),
        coverage: evaluation.map_or(0.0, |evaluation| evaluation.coverage),
        artefact_pct: evaluation.and_then(|evaluation| evaluation.artefact_pct),
        age_ms: scored.age_ms,
        peak_hz: evaluation.and_then(|evaluation| evaluation.peak_hz),
        mean_hr_bpm: hrv.and_then(|hrv| hrv.mean_hr_bpm),
        sdnn_ms: hrv.and_then(|hrv| hrv.sdnn_ms),
        rmssd_ms: hrv.and_then(|hrv| hrv.rmssd_ms),
        pnn50_pct: hrv.and_then(|hrv| hrv.pnn50_pct),
        lf_ms2: hrv.and_then(|hrv| hrv.lf_ms2),
        hf_ms2: hrv.and_then(|hrv| hrv.hf_ms2),
        lf_hf: hrv.and_then(|hrv| hrv.lf_hf),
        total_ms2: hrv.and_then(|hrv| hrv.total_ms2),
        algorithm: scored.version.map(Version::number),
        settings: scored.version.map(SettingsHash::of),
    }
}
