//! What is simulated, scored and counted.
//!
//! Here belongs which hearts meet which ways to a score. How a heart beats is `simulate`'s, how the
//! figures are written down `table`'s and `plot`'s.

use coherence_hub::signal::{Interval, Scorer, Status, Version};

use crate::bars::{self, Bars};
use crate::cleaners::Cleaner;
use crate::pipelines::{Between, Pipeline, Point, Taper};
use crate::planted::{Artefact, Kind, with_artefacts, with_gap, without_gap};
use crate::random::Random;
use crate::simulate::{Colour, Heart};

/// The definitions of the hub that are studied.
pub const VERSIONS: [Version; 2] = Version::ALL;

/// The ways of others, in the order in which they are shown.
pub const PIPELINES: [(&str, Pipeline); 6] = [
    (
        "linear, Hann, 256",
        Pipeline::Periodogram {
            between: Between::Linear,
            taper: Taper::Hann,
            samples: 256,
            padded: 256,
        },
    ),
    ("Welch 3 x 32 s", Pipeline::Welch),
    (
        "linear, Hann, padded to 1024",
        Pipeline::Periodogram {
            between: Between::Linear,
            taper: Taper::Hann,
            samples: 256,
            padded: 1024,
        },
    ),
    (
        "cubic, Hann, padded to 1024",
        Pipeline::Periodogram {
            between: Between::Cubic,
            taper: Taper::Hann,
            samples: 256,
            padded: 1024,
        },
    ),
    ("Lomb-Scargle, Hann", Pipeline::LombScargle),
    (
        "128 s, cubic, Hann, 2048",
        Pipeline::Periodogram {
            between: Between::Cubic,
            taper: Taper::Hann,
            samples: 512,
            padded: 2048,
        },
    ),
];

/// What cleaned beats are scored with where the cleaner is somebody else's.
const HALF_SINE: Pipeline = Pipeline::Periodogram {
    between: Between::Cubic,
    taper: Taper::HalfSine,
    samples: 256,
    padded: 1024,
};

/// The cleaners of others.
pub const CLEANERS: [(&str, Cleaner); 3] = [
    ("none", Cleaner::None),
    ("Malik 20 %", Cleaner::Malik),
    ("median of 5, merge and split", Cleaner::MedianOfFive),
];

/// What is planted: a name, what, and how often a beat meets it.
pub const PLANTED: [(&str, Kind, f64); 7] = [
    ("missed 5 %", Kind::Only(Artefact::Missed), 0.05),
    ("extra 5 %", Kind::Only(Artefact::Extra), 0.05),
    ("ectopic 5 %", Kind::Only(Artefact::Ectopic), 0.05),
    ("mixed 1 %", Kind::Mixed, 0.01),
    ("mixed 2 %", Kind::Mixed, 0.02),
    ("mixed 5 %", Kind::Mixed, 0.05),
    ("mixed 10 %", Kind::Mixed, 0.10),
];

/// Lengths of the holes that are torn, in ms.
pub const GAPS_MS: [f64; 4] = [1_500.0, 3_000.0, 5_000.0, 8_000.0];

/// Beats before the end of a window, in s: enough for the longest window and the hub's buffer.
const LONG_S: f64 = 135.0;

/// The same where no window is longer than 64 s.
pub const SHORT_S: f64 = 90.0;

/// One figure of many windows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Errors(Vec<f64>);

/// A figure and its standard error, in points (or per cent where that is said).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    pub value: f64,
    pub standard_error: f64,
}

impl Errors {
    pub fn push(&mut self, error: f64) {
        self.0.push(error);
    }

    pub fn all(&self) -> &[f64] {
        &self.0
    }

    /// These windows and others.
    pub fn and(&self, others: &Errors) -> Errors {
        Errors([&self.0[..], &others.0].concat())
    }

    /// The mean; of errors that is the bias.
    pub fn mean(&self) -> Figure {
        mean_of(&self.0)
    }

    /// The root of the mean square; its standard error is that of the mean square, halved and divided
    /// by the root.
    pub fn rmse(&self) -> Figure {
        let squares: Vec<f64> = self.0.iter().map(|error| error * error).collect();
        let mean = mean_of(&squares);
        let value = mean.value.sqrt();
        Figure {
            value,
            standard_error: if value > 0.0 {
                mean.standard_error / (2.0 * value)
            } else {
                0.0
            },
        }
    }

    /// Share of the windows of which this holds, in per cent.
    pub fn share_pct(&self, holds: impl Fn(f64) -> bool) -> Figure {
        let hits: Vec<f64> = self
            .0
            .iter()
            .map(|&error| if holds(error) { 100.0 } else { 0.0 })
            .collect();
        mean_of(&hits)
    }
}

fn mean_of(values: &[f64]) -> Figure {
    let n = values.len() as f64;
    let value = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - value) * (x - value)).sum();
    Figure {
        value,
        standard_error: (squares / (n - 1.0) / n).sqrt(),
    }
}

/// One way to a score against the truth.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreRow {
    pub name: String,
    /// Score less truth, in the order of [`Study::truths`].
    pub errors: Errors,
    /// The same on rhythms without noise.
    pub tone: Errors,
}

/// What a version says where there is no rhythm at all.
#[derive(Clone, Debug, PartialEq)]
pub struct NoRhythmRow {
    pub name: String,
    /// Scores of white noise and of 1/f noise.
    pub white: Errors,
    pub pink: Errors,
}

/// One cleaner against the same windows undisturbed.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanerRow {
    pub name: String,
    /// In the order of [`PLANTED`].
    pub errors: Vec<Errors>,
}

/// What the hub makes of disturbed windows when it may refuse some.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownRow {
    pub name: String,
    /// Of the windows that it scores, in the order of [`PLANTED`] or [`GAPS_MS`].
    pub errors: Vec<Errors>,
}

/// The whole study.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    pub windows: u64,
    pub seed: u64,
    pub truths: Vec<f64>,
    pub scores: Vec<ScoreRow>,
    pub no_rhythm: Vec<NoRhythmRow>,
    pub cleaners: Vec<CleanerRow>,
    pub shown: Vec<ShownRow>,
    /// The spline over all holes, refused or not.
    pub bridged: Vec<Errors>,
    pub shown_gaps: Vec<ShownRow>,
    pub bars: Bars,
}

/// Streams of chance, so that a new part of the study changes no older one.
#[derive(Clone, Copy)]
enum Stream {
    Scored = 1,
    Tone,
    NoRhythm,
    Disturbed,
    Gap,
    Planted,
    Bars,
}

impl Study {
    /// Runs it; `step` is told after each window how many are done.
    pub fn run(windows: u64, seed: u64, mut step: impl FnMut(u64)) -> Self {
        let mut study = Study::empty(windows, seed);
        let mut scorers = VERSIONS.map(Scorer::new);
        let mut sure = Scorer::new(bars::VERSION);
        for window in 0..windows {
            study.score(window, &mut scorers);
            study.score_without_rhythm(window, &mut scorers);
            study.disturb(window, &mut scorers);
            let mut random = study.random(Stream::Bars, window);
            study.bars.ask(window, &mut random, &mut sure);
            step(window + 1);
        }
        study
    }

    fn empty(windows: u64, seed: u64) -> Self {
        let names = VERSIONS.map(|version| format!("this hub, version {}", version.number()));
        let shown = |columns: usize| {
            names
                .iter()
                .map(|name| ShownRow {
                    name: name.clone(),
                    errors: vec![Errors::default(); columns],
                })
                .collect()
        };
        Study {
            windows,
            seed,
            truths: Vec::new(),
            scores: PIPELINES
                .iter()
                .map(|(name, _)| name.to_string())
                .chain(names.clone())
                .map(|name| ScoreRow {
                    name,
                    errors: Errors::default(),
                    tone: Errors::default(),
                })
                .collect(),
            no_rhythm: names
                .iter()
                .map(|name| NoRhythmRow {
                    name: name.clone(),
                    white: Errors::default(),
                    pink: Errors::default(),
                })
                .collect(),
            cleaners: CLEANERS
                .iter()
                .map(|(name, _)| name.to_string())
                .chain(names.clone())
                .map(|name| CleanerRow {
                    name,
                    errors: vec![Errors::default(); PLANTED.len()],
                })
                .collect(),
            shown: shown(PLANTED.len()),
            bridged: vec![Errors::default(); GAPS_MS.len()],
            shown_gaps: shown(GAPS_MS.len()),
            bars: Bars::empty(),
        }
    }

    fn random(&self, stream: Stream, window: u64) -> Random {
        Random::of(self.seed, stream as u64, window)
    }

    /// Undisturbed hearts against the truth.
    fn score(&mut self, window: u64, scorers: &mut [Scorer]) {
        for (stream, is_tone) in [(Stream::Scored, false), (Stream::Tone, true)] {
            let mut random = self.random(stream, window);
            let heart = if is_tone {
                Heart::pure_tone(window, &mut random)
            } else {
                Heart::to_score(window, &mut random)
            };
            let truth = heart.true_score();
            let intervals_ms = heart.intervals_ms(LONG_S, &mut random);
            let points = Cleaner::None.cleaned(&intervals_ms);
            let intervals = without_gap(&intervals_ms);
            let common = PIPELINES.map(|(_, pipeline)| pipeline.score(&points));
            let ours = scorers
                .iter_mut()
                .map(|scorer| unrejected(scorer, &intervals));
            for (row, score) in self.scores.iter_mut().zip(common.into_iter().chain(ours)) {
                if is_tone {
                    row.tone.push(score - truth);
                } else {
                    row.errors.push(score - truth);
                }
            }
            if !is_tone {
                self.truths.push(truth);
            }
        }
    }

    fn score_without_rhythm(&mut self, window: u64, scorers: &mut [Scorer]) {
        let mut random = self.random(Stream::NoRhythm, window);
        for colour in [Colour::White, Colour::Pink] {
            let heart = Heart::without_rhythm(colour, &mut random);
            let intervals = without_gap(&heart.intervals_ms(SHORT_S, &mut random));
            for (row, scorer) in self.no_rhythm.iter_mut().zip(scorers.iter_mut()) {
                let scores = match colour {
                    Colour::White => &mut row.white,
                    Colour::Pink => &mut row.pink,
                };
                scores.push(unrejected(scorer, &intervals));
            }
        }
    }

    /// One heart, disturbed in every way in turn.
    fn disturb(&mut self, window: u64, scorers: &mut [Scorer]) {
        let mut random = self.random(Stream::Disturbed, window);
        let heart = Heart::to_disturb(&mut random);
        let intervals_ms = heart.intervals_ms(SHORT_S, &mut random);
        // Undisturbed; our own rows are held against what the same version says undisturbed.
        let clean = HALF_SINE.score(&Cleaner::None.cleaned(&intervals_ms));
        let ours_clean: Vec<f64> = scorers
            .iter_mut()
            .map(|scorer| unrejected(scorer, &without_gap(&intervals_ms)))
            .collect();

        let mut random = self.random(Stream::Planted, window);
        for (column, (_, kind, probability)) in PLANTED.into_iter().enumerate() {
            let planted_ms = with_artefacts(&intervals_ms, kind, probability, &mut random);
            for (row, (_, cleaner)) in self.cleaners.iter_mut().zip(CLEANERS) {
                let score = HALF_SINE.score(&cleaner.cleaned(&planted_ms));
                row.errors[column].push(score - clean);
            }
            let planted = without_gap(&planted_ms);
            for (i, scorer) in scorers.iter_mut().enumerate() {
                let error = unrejected(scorer, &planted) - ours_clean[i];
                self.cleaners[CLEANERS.len() + i].errors[column].push(error);
                if scorer.evaluate(&planted).status != Status::Poor {
                    self.shown[i].errors[column].push(error);
                }
            }
        }

        let mut random = self.random(Stream::Gap, window);
        for (column, length_ms) in GAPS_MS.into_iter().enumerate() {
            let before_end_ms = random.between(0.0, 64_000.0 - length_ms);
            let planted = with_gap(&intervals_ms, length_ms, before_end_ms);
            self.bridged[column].push(HALF_SINE.score(&points(&planted)) - clean);
            for (i, scorer) in scorers.iter_mut().enumerate() {
                if let Some(score) = scorer.evaluate(&planted).score {
                    self.shown_gaps[i].errors[column].push(score - ours_clean[i]);
                }
            }
        }
    }
}

/// The hub's score of a window that is long enough, 0 where it says none.
fn unrejected(scorer: &mut Scorer, intervals: &[Interval]) -> f64 {
    scorer.evaluate_unrejected(intervals).score.unwrap_or(0.0)
}

fn points(intervals: &[Interval]) -> Vec<Point> {
    let mut end_ms = 0.0;
    intervals
        .iter()
        .map(|interval| {
            end_ms += interval.gap_ms + interval.rr_ms;
            Point {
                end_ms,
                value_ms: interval.rr_ms,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_four_errors_by_hand() {
        let mut errors = Errors::default();
        for error in [-3.0, 1.0, 1.0, 5.0] {
            errors.push(error);
        }
        let (bias, rmse) = (errors.mean(), errors.rmse());
        assert_eq!(bias.value, 1.0);
        assert_eq!(bias.standard_error, (32.0_f64 / 3.0 / 4.0).sqrt());
        assert_eq!(rmse.value, 3.0);
        // The squares are 9, 1, 1 and 25.
        assert_eq!(rmse.standard_error, (384.0_f64 / 3.0 / 4.0).sqrt() / 6.0);
        assert_eq!(errors.share_pct(|error| error > 0.0).value, 75.0);
    }

    #[test]
    fn the_half_sine_of_the_study_is_the_first_version_of_the_hub() {
        let mut scorer = Scorer::new(Version::One);
        for window in 0..6 {
            let mut random = Random::of(3, 0, window);
            let heart = Heart::pure_tone(window, &mut random);
            let intervals_ms = heart.intervals_ms(SHORT_S, &mut random);
            let theirs = HALF_SINE.score(&Cleaner::None.cleaned(&intervals_ms));
            let ours = scorer.evaluate(&without_gap(&intervals_ms));
            let ours = ours.score.expect("a clean window is scored");
            assert!((theirs - ours).abs() < 0.01, "{theirs} {ours}");
        }
    }
}
