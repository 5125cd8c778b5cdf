//! One heart: its arrivals, its tachogram, what is known of its signal, and its latest evaluation.
//! Not here: whose heart it is (`people`), which strap carries it (`straps`).

use coherence_hal::decode::ble::Measurement;
use coherence_hal::{BeatItem, Beats, Origin};

use super::arrival::{Arrivals, Placed};
use super::my_heart::sensed::Watched;
use super::my_heart::taps::Beat;
use super::proof::Window;
use super::rows::{RrRow, Stamp};
use super::view::Quality;
use super::{HeartKey, StrapNo};
use crate::signal::synchrony::Phases;
use crate::signal::{Evaluation, Interval, Level, Scorer, Status, Tachogram, Version};

/// Newest R-R older than this at a grid point: the heart is silent.
pub const SILENT_MS: i64 = 6_000;
/// A phone posts every 5 s or so, and the newest beat that it knows of is up to one interval old: by the
/// limit for straps its heart would be silent before every other post. So a heart that a phone posts is
/// silent after two posts and one slow beat, as its own score is after two.
const POSTED_SILENT_MS: i64 = 12_000;
/// A score that a phone computed holds for two of its own posts.
const POSTED_SCORE_MS: i64 = 10_000;

/// A pause of beats that no heart makes, while a strap is lifted, ms.
const LIFT_PAUSE_MS: f64 = 3_200.0;
/// Beats arrive so late, ms.
const USUAL_LAG_MS: f64 = 1_500.0;

/// Why a heart has no score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    WarmingUp {
        left_ms: i64,
    },
    PoorSignal,
    Flat,
    Silent,
    OffBody,
    /// Nothing is known to carry this person's heart.
    NoStrap,
}

impl Reason {
    pub fn word(self) -> &'static str {
        match self {
            Reason::WarmingUp { .. } => "warming_up",
            Reason::PoorSignal => "poor_signal",
            Reason::Flat => "flat",
            Reason::Silent => "silent",
            Reason::OffBody => "off_body",
            Reason::NoStrap => "no_strap",
        }
    }

    pub fn left_ms(self) -> Option<i64> {
        match self {
            Reason::WarmingUp { left_ms } => Some(left_ms),
            _ => None,
        }
    }
}

/// The newest interval on a tachogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LastRr {
    /// Of its row.
    pub id: i64,
    /// Its end, by the chain of intervals.
    pub end_mono_ms: f64,
}

/// What the compute thread is asked about one heart.
#[derive(Clone, Debug)]
pub struct HeartJob {
    pub key: HeartKey,
    pub last_rr: Option<LastRr>,
    pub age_ms: Option<i64>,
    pub ask: Ask,
}

#[derive(Clone, Debug)]
pub enum Ask {
    /// Score this window.
    Window(Vec<Interval>),
    /// There is nothing to compute.
    Absent(Reason),
    /// The phone computed the score itself.
    Posted(f64),
}

/// The outcome at one grid point.
#[derive(Clone, Debug)]
pub struct Scored {
    pub key: HeartKey,
    pub last_rr: Option<LastRr>,
    pub age_ms: Option<i64>,
    /// Score 0 to 100, or why there is none.
    pub verdict: Result<f64, Reason>,
    /// None for a score that a phone computed and where nothing was computed.
    pub evaluation: Option<Evaluation>,
    /// By what the evaluation was made.
    pub version: Option<Version>,
}

impl HeartJob {
    /// The work of the compute thread.
    pub fn compute(&self, scorer: &mut Scorer) -> Scored {
        let (verdict, evaluation) = match &self.ask {
            Ask::Absent(reason) => (Err(*reason), None),
            Ask::Posted(score) => (Ok(*score), None),
            Ask::Window(intervals) => {
                let evaluation = scorer.evaluate(intervals);
                let verdict = match (evaluation.status, evaluation.score) {
                    (Status::Good | Status::Fair, Some(score)) => Ok(score),
                    (Status::Flat, _) => Err(Reason::Flat),
                    (Status::Warmup, _) => Err(Reason::WarmingUp {
                        left_ms: evaluation.warmup_left_ms.ceil() as i64,
                    }),
                    (Status::Poor | Status::Good | Status::Fair, _) => Err(Reason::PoorSignal),
                };
                (verdict, Some(evaluation))
            }
        };
        Scored {
            key: self.key,
            last_rr: self.last_rr,
            age_ms: self.age_ms,
            verdict,
            version: evaluation.map(|_| scorer.version()),
            evaluation,
        }
    }

    /// The rhythm that is compared with others', on the monotonic clock; the compute thread's work,
    /// too. None where no beats came to the hub.
    pub fn phases(&self, scorer: &mut Scorer, grid_ms: i64) -> Option<Phases> {
        match (&self.ask, self.last_rr) {
            (Ask::Window(intervals), Some(last)) => {
                scorer.phases(intervals, last.end_mono_ms, grid_ms as f64)
            }
            _ => None,
        }
    }
}

impl Scored {
    pub fn level(&self) -> Option<Level> {
        self.verdict.ok().map(Level::of)
    }

    /// What was looked at; none where nothing was computed.
    pub fn window(&self) -> Option<Window> {
        self.evaluation
            .as_ref()
            .and(self.last_rr)
            .map(|last| Window::ending_at(last.end_mono_ms))
    }

    pub fn quality(&self) -> Quality {
        Quality {
            coverage: self.evaluation.as_ref().map_or(0.0, |e| e.coverage),
            artefact_pct: self.evaluation.as_ref().and_then(|e| e.artefact_pct),
            age_ms: self.age_ms,
        }
    }
}

/// What is known of one heart.
#[derive(Clone, Debug)]
pub struct Heart {
    arrivals: Arrivals,
    tachogram: Tachogram,
    /// Skin contact as the strap last said; `None` when it can't tell.
    pub contact: Option<bool>,
    /// When the strap last sent a measurement, with beats or without.
    heard_ms: Option<i64>,
    /// When the strap last said that it has no skin contact.
    off_body_ms: Option<i64>,
    /// When the newest interval on the tachogram arrived.
    pub last_beat_ms: Option<i64>,
    last_rr: Option<LastRr>,
    posted: Option<(f64, i64)>,
    /// How old the newest beat may be; a phone posts in lumps.
    silent_ms: i64,
    /// The next interval is the first of which anything is known: of a new heart, of another person.
    begins: bool,
    pub beats_accepted: u64,
    pub beats_rejected: u64,
    /// Beats of which the strap told that they were lost.
    pub beats_missing: u64,
    /// How its beats are told, where the strap's radio says so.
    pub origin: Option<Origin>,
    /// Its strap counts beats: what is lost is told, and a link that goes and comes loses nothing.
    counted: bool,
    /// The outcome at the last grid point.
    pub latest: Option<Scored>,
}

impl Default for Heart {
    fn default() -> Self {
        Heart {
            arrivals: Arrivals::default(),
            tachogram: Tachogram::new(),
            contact: None,
            heard_ms: None,
            off_body_ms: None,
            last_beat_ms: None,
            last_rr: None,
            posted: None,
            silent_ms: SILENT_MS,
            // Where something is stored of it that was not handed over (the hub was off for long, the
            // phone was away), no window may be made of both.
            begins: true,
            beats_accepted: 0,
            beats_rejected: 0,
            beats_missing: 0,
            origin: None,
            counted: false,
            latest: None,
        }
    }
}

impl Heart {
    pub fn measurement(&mut self, at_ms: i64, measurement: &Measurement, out: &mut Vec<Placed>) {
        self.contact = measurement.contact;
        self.counted = false;
        self.heard_ms = Some(at_ms);
        if measurement.contact == Some(false) {
            self.off_body_ms = Some(at_ms);
        }
        self.arrivals.measurement(at_ms, measurement, out);
    }

    /// Takes beats that came another way; returns how many are missing between them.
    pub fn beats(&mut self, at_ms: i64, beats: &Beats, out: &mut Vec<Placed>) -> u64 {
        self.heard_ms = Some(at_ms);
        self.origin = Some(beats.origin);
        self.counted = beats.counted;
        self.arrivals.beats(at_ms, beats, out);
        let missing = beats.items.iter().map(|item| match item {
            BeatItem::Missing { beats, .. } => u64::from(*beats),
            BeatItem::Rr(_) | BeatItem::Gap => 0,
        });
        let missing = missing.sum();
        self.beats_missing += missing;
        missing
    }

    pub fn posted_rr(&mut self, at_ms: i64, rr_ms: &[f64], out: &mut Vec<Placed>) {
        self.silent_ms = POSTED_SILENT_MS;
        self.arrivals.posted(at_ms, rr_ms, out);
    }

    /// What another radio brings of the same chain.
    pub fn go_on(&mut self, at_ms: i64, rr_ms: &[f64], out: &mut Vec<Placed>) {
        self.arrivals.posted(at_ms, rr_ms, out);
    }

    pub fn posted_score(&mut self, at_ms: i64, score: f64) {
        self.posted = Some((score, at_ms));
    }

    pub fn link_down(&mut self, out: &mut Vec<Placed>) {
        if !self.counted {
            self.arrivals.link_down(out);
        }
    }

    /// Whatever comes next does not continue what was.
    pub fn break_off(&mut self, out: &mut Vec<Placed>) {
        self.arrivals.link_down(out);
    }

    /// Another radio goes on with the same chain.
    pub fn pass_on(&mut self) {
        // What the other radio said of the skin is old.
        self.contact = None;
        self.counted = false;
        self.arrivals.pass_on();
    }

    pub fn settle(&mut self, now_ms: i64, out: &mut Vec<Placed>) {
        self.arrivals.settle(now_ms, out);
    }

    pub fn settles_at(&self) -> Option<i64> {
        self.arrivals.settles_at()
    }

    /// Takes a placed interval onto the tachogram and returns the row to keep.
    pub fn keep(
        &mut self,
        id: i64,
        (key, via): (HeartKey, Option<StrapNo>),
        placed: Placed,
        arrived: Stamp,
    ) -> RrRow {
        let begins = self.begins && placed.mark.on_tachogram();
        if placed.mark.on_tachogram() {
            self.begins = false;
            self.tachogram.push(Interval {
                rr_ms: placed.rr_ms,
                gap_ms: placed.gap_ms,
            });
            self.last_beat_ms = Some(placed.arrived_mono_ms);
            self.last_rr = Some(LastRr {
                id,
                end_mono_ms: placed.beat_mono_ms,
            });
            self.beats_accepted += 1;
        } else {
            self.beats_rejected += 1;
        }
        RrRow {
            id,
            heart: key,
            via,
            rr_ms: placed.rr_ms,
            gap_ms: placed.gap_ms,
            begins,
            mark: placed.mark,
            beat_mono_ms: placed.beat_mono_ms,
            arrived,
        }
    }

    /// Goes on from the rows that a restart found, oldest first.
    pub fn resume(&mut self, rows: &[RrRow]) {
        let placed: Vec<Placed> = rows
            .iter()
            .map(|row| Placed {
                rr_ms: row.rr_ms,
                gap_ms: row.gap_ms,
                mark: row.mark,
                beat_mono_ms: row.beat_mono_ms,
                arrived_mono_ms: row.arrived.mono_ms,
            })
            .collect();
        for row in rows.iter().filter(|row| row.mark.on_tachogram()) {
            if row.begins {
                self.tachogram.clear();
            }
            self.tachogram.push(Interval {
                rr_ms: row.rr_ms,
                gap_ms: row.gap_ms,
            });
            if let HeartKey::Phone(_) = row.heart {
                self.silent_ms = POSTED_SILENT_MS;
            }
            self.begins = false;
            self.last_beat_ms = Some(row.arrived.mono_ms);
            self.last_rr = Some(LastRr {
                id: row.id,
                end_mono_ms: row.beat_mono_ms,
            });
        }
        self.arrivals.resume(placed.iter());
    }

    /// The beats on the tachogram, oldest first.
    pub fn beats_placed(&self) -> Vec<Beat> {
        let Some(last) = self.last_rr else {
            return Vec::new();
        };
        let mut at_ms = last.end_mono_ms;
        let back = self.tachogram.intervals().iter().rev().map(|interval| {
            let beat = Beat {
                at_ms,
                after_gap: interval.gap_ms > 0.0,
            };
            at_ms -= interval.rr_ms + interval.gap_ms;
            beat
        });
        let mut beats: Vec<Beat> = back.collect();
        beats.reverse();
        beats
    }

    /// What became of it since somebody began to lift their strap; None for one that was not beating then.
    pub fn watched(&self, since_ms: i64, now_ms: i64) -> Option<Watched> {
        let mut times: Vec<f64> = self.beats_placed().iter().map(|beat| beat.at_ms).collect();
        let since = since_ms as f64;
        let before = times.iter().filter(|at| **at <= since).count();
        let last_before = times[..before].last().copied()?;
        if since - last_before > LIFT_PAUSE_MS {
            return None;
        }
        if self.off_body_ms.is_some_and(|at| at > since_ms) {
            return Some(Watched::LostContact);
        }
        times.drain(..before - 1);
        times.push(now_ms as f64 - USUAL_LAG_MS);
        let paused = times
            .windows(2)
            .any(|pair| pair[1] - pair[0] > LIFT_PAUSE_MS);
        Some(if paused {
            Watched::FellSilent
        } else {
            Watched::BeatsOn
        })
    }

    /// Age of the newest beat.
    pub fn age_ms(&self, now_ms: i64) -> Option<i64> {
        self.last_beat_ms.map(|last| now_ms - last)
    }

    pub fn silent(&self, now_ms: i64) -> bool {
        self.age_ms(now_ms).is_none_or(|age| age > self.silent_ms)
    }

    /// Whether the strap says that nobody's skin is there; one that says nothing any more is silent.
    pub fn off_body(&self, now_ms: i64) -> bool {
        let heard = self
            .heard_ms
            .is_some_and(|heard_ms| now_ms - heard_ms <= SILENT_MS);
        heard && self.contact == Some(false)
    }

    /// What to compute for this heart at a grid point.
    pub fn job(&self, key: HeartKey, grid_ms: i64) -> HeartJob {
        let fresh_post = self
            .posted
            .filter(|(_, at)| grid_ms - at <= POSTED_SCORE_MS);
        let ask = match fresh_post {
            Some((score, _)) if self.silent(grid_ms) => Ask::Posted(score),
            _ if self.off_body(grid_ms) => Ask::Absent(Reason::OffBody),
            _ if self.silent(grid_ms) => Ask::Absent(Reason::Silent),
            _ => Ask::Window(self.tachogram.intervals().to_vec()),
        };
        let age_ms = match (&ask, fresh_post) {
            (Ask::Posted(_), Some((_, at))) => Some(grid_ms - at),
            _ => self.age_ms(grid_ms),
        };
        HeartJob {
            key,
            last_rr: self.last_rr,
            age_ms,
            ask,
        }
    }

    /// From the next interval on this is another person's heart: nothing of the last one's is shown
    /// or scored with it.
    pub fn begin_anew(&mut self) {
        self.tachogram.clear();
        self.last_beat_ms = None;
        self.last_rr = None;
        self.posted = None;
        self.latest = None;
        self.begins = true;
    }

    /// Forgets every beat: they were somebody's who asked to be forgotten.
    pub fn forget(&mut self) {
        self.arrivals = Arrivals::default();
        self.begin_anew();
    }
}
