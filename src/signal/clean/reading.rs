//! The likeliest reading of a run: which of the received moments are beats of the heart, and how many
//! beats lie between them.
//!
//! Here belongs the decision, for a whole run at once: a missed, a doubled and a moved beat next to
//! each other are told apart only together. Where exactly the beats lie that were not received is
//! the business of `placing`.
//!
//! A run is cut into spans, from one moment that is believed to the next. A span of one received
//! interval and one beat is kept as it is. Any other disbelieves the received moments inside it, and
//! says how many beats there were: fewer than received (a beat heard twice), as many (one that came
//! early or late), or more (one that was missed). A reading costs how much its intervals surprise
//! whoever has seen those before, and a price for every repair. The cheapest one is sought along
//! the run, with the few best kept at each moment (a Viterbi search with a narrow beam).

use super::forecast::{AHEAD, Forecaster, Past};
use super::{Interval, POSSIBLE_MS};
use crate::signal::settings::Setting;

/// Most received intervals, and most beats, in a span.
const MOST: usize = AHEAD;

/// Readings that are followed up at each moment.
const WIDTH: usize = 3;

/// One that costs so much more than the best is not followed up.
const HOPELESS: f64 = 12.0;

/// A kept beat of usual length costs no more than this, however much it surprises. Hearts do leap; but
/// then the leap is the only surprise, while a moved beat makes two or three in a row.
const MOST_SURPRISE: f64 = 20.0;

/// Nothing is repaired in a span unless one of its intervals surprises at least so much whoever has
/// seen the received ones before it.
const DOUBTFUL: f64 = 4.0;

/// Price of a beat of which only the time can be kept.
const PRICE_UNKNOWN: f64 = 40.0;

pub(in crate::signal) const SETTINGS: &[Setting] = &[
    ("MOST", &[MOST as f64]),
    ("WIDTH", &[WIDTH as f64]),
    ("HOPELESS", &[HOPELESS]),
    ("MOST_SURPRISE", &[MOST_SURPRISE]),
    ("DOUBTFUL", &[DOUBTFUL]),
    ("PRICE_UNKNOWN", &[PRICE_UNKNOWN]),
];

/// From one moment that is believed to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    /// Received intervals in it.
    pub received: usize,
    /// Beats in it. 0: nobody knows; it keeps its time, as one beat without a value.
    pub beats: usize,
}

impl Span {
    pub(super) const KEPT: Span = Span {
        received: 1,
        beats: 1,
    };

    const UNKNOWN: Span = Span {
        received: 1,
        beats: 0,
    };

    /// Pieces that it becomes in the cleaned run.
    pub(super) fn pieces(self) -> usize {
        self.beats.max(1)
    }

    /// Moments that were heard and are none, and beats that were not heard; one of each is one
    /// repair.
    fn repairs(self) -> usize {
        self.received.max(self.beats) - 1
    }
}

/// A reading of the run up to some moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    past: Past,
    /// The last span, and the rank among the readings at its beginning of the one that it continues.
    span: Span,
    continues: usize,
}

/// The best readings up to some moment, cheapest first.
#[derive(Clone, Copy, Debug)]
struct Best {
    /// Infinite where there is no reading.
    costs: [f64; WIDTH],
    readings: [Reading; WIDTH],
}

impl Best {
    const NONE: Best = Best {
        costs: [f64::INFINITY; WIDTH],
        readings: [Reading {
            past: Past::NONE,
            span: Span::KEPT,
            continues: 0,
        }; WIDTH],
    };

    fn offer(&mut self, cost: f64, reading: impl FnOnce() -> Reading) {
        if cost > self.costs[0] + HOPELESS {
            return;
        }
        let mut rank = WIDTH - 1;
        if cost >= self.costs[rank] {
            return;
        }
        while rank > 0 && cost < self.costs[rank - 1] {
            self.costs[rank] = self.costs[rank - 1];
            self.readings[rank] = self.readings[rank - 1];
            rank -= 1;
        }
        self.costs[rank] = cost;
        self.readings[rank] = reading();
    }
}

/// A reading that is to be followed up.
struct Begun {
    at: usize,
    cost: f64,
    past: Past,
    continues: usize,
}

/// Reads one run after another, in lists that stay from one to the next.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// By moment, the beginning of the run first.
    best: Vec<Best>,
    /// By received interval.
    restless: Vec<f64>,
    doubtful: Vec<bool>,
    spans: Vec<Span>,
}

impl Reader {
    /// The likeliest reading, oldest span first.
    pub(super) fn read(
        &mut self,
        run: &[Interval],
        typical_ms2: &[f64],
        forecaster: &Forecaster,
        price: f64,
    ) -> &[Span] {
        self.best.clear();
        self.best.resize(run.len() + 1, Best::NONE);
        self.best[0].costs[0] = 0.0;
        self.doubt(run, typical_ms2, forecaster);
        for at in 0..run.len() {
            let Best { costs, readings } = self.best[at];
            for (continues, (cost, reading)) in costs.into_iter().zip(readings).enumerate() {
                if cost <= costs[0] + HOPELESS && cost.is_finite() {
                    let from = Begun {
                        at,
                        cost,
                        past: reading.past,
                        continues,
                    };
                    self.keep(run[at].rr_ms, &from, forecaster);
                    self.repair(run, &from, forecaster, price);
                }
            }
        }
        self.trace_back(run.len())
    }

    /// Marks the intervals that surprise whoever has seen the received ones before them.
    fn doubt(&mut self, run: &[Interval], typical_ms2: &[f64], forecaster: &Forecaster) {
        self.restless.clear();
        self.doubtful.clear();
        let mut past = Past::NONE;
        for (interval, &typical_ms2) in run.iter().zip(typical_ms2) {
            let restless = forecaster.restlessness(typical_ms2);
            let off_ms = interval.rr_ms - forecaster.next_ms(&past);
            let surprise = forecaster.surprise(&past, 1, off_ms) / restless;
            self.restless.push(restless);
            self.doubtful.push(surprise >= DOUBTFUL);
            past = past.extended(interval.rr_ms - forecaster.mean_ms);
        }
    }

    /// Takes the next interval as it is, or only its time.
    fn keep(&mut self, rr_ms: f64, from: &Begun, forecaster: &Forecaster) {
        let past = &from.past;
        let off_ms = rr_ms - forecaster.next_ms(past);
        let surprise = forecaster.surprise(past, 1, off_ms) / self.restless[from.at];
        let usual = forecaster.is_usual(rr_ms);
        if POSSIBLE_MS.contains(&rr_ms) {
            let most = if usual { MOST_SURPRISE } else { f64::INFINITY };
            let cost = from.cost + surprise.min(most);
            self.best[from.at + 1].offer(cost, || Reading {
                past: past.extended(rr_ms - forecaster.mean_ms),
                span: Span::KEPT,
                continues: from.continues,
            });
        }
        let cost = from.cost + PRICE_UNKNOWN;
        self.best[from.at + 1].offer(cost, || Reading {
            past: Past::NONE,
            span: Span::UNKNOWN,
            continues: from.continues,
        });
    }

    /// Tries all other spans that begin here.
    fn repair(&mut self, run: &[Interval], from: &Begun, forecaster: &Forecaster, price: f64) {
        let past = &from.past;
        let doubtful = self.doubtful[from.at..]
            .iter()
            .take(MOST)
            .position(|&doubtful| doubtful);
        let Some(first_doubtful) = doubtful else {
            return;
        };
        let ahead = forecaster.ahead(past);
        let mut length_ms = 0.0;
        for (received, interval) in (1..=MOST).zip(&run[from.at..]) {
            length_ms += interval.rr_ms;
            if received <= first_doubtful {
                continue;
            }
            let mut forecast_ms = 0.0;
            for beats in 1..=MOST {
                forecast_ms += forecaster.mean_ms + ahead[beats - 1];
                let span = Span { received, beats };
                let each_ms = length_ms / beats as f64;
                if span == Span::KEPT
                    || !POSSIBLE_MS.contains(&each_ms)
                    || !forecaster.is_usual(each_ms)
                {
                    continue;
                }
                let off_ms = length_ms - forecast_ms;
                let surprise = forecaster.surprise(past, beats, off_ms) / self.restless[from.at];
                let cost = from.cost + surprise + price * span.repairs() as f64;
                self.best[from.at + received].offer(cost, || Reading {
                    past: forecaster.after(past, &ahead, beats, off_ms),
                    span,
                    continues: from.continues,
                });
            }
        }
    }

    fn trace_back(&mut self, end: usize) -> &[Span] {
        self.spans.clear();
        let (mut at, mut rank) = (end, 0);
        while at > 0 {
            let reading = self.best[at].readings[rank];
            self.spans.push(reading.span);
            at -= reading.span.received;
            rank = reading.continues;
        }
        self.spans.reverse();
        &self.spans
    }
}

#[cfg(test)]
mod tests {
    use super::super::Beat;
    use super::super::forecast::Lists;
    use super::*;

    /// A minute of breathing around 800 ms.
    fn breathing_ms() -> Vec<f64> {
        (0..75)
            .map(|i| 800.0 + 50.0 * (f64::from(i) * 0.5).sin() + f64::from(i * 7 % 5) * 3.0)
            .collect()
    }

    /// What is not kept: the first received interval of it, and the span.
    fn repairs(received_ms: &[f64]) -> Vec<(usize, Span)> {
        let undisturbed: Vec<Beat> = breathing_ms()
            .into_iter()
            .map(|ms| Beat {
                end_ms: 0.0,
                duration_ms: ms,
                value_ms: ms,
                gap_ms: 0.0,
                flagged: false,
            })
            .collect();
        let forecaster = Forecaster::of(&undisturbed, &mut Lists::default());
        let run: Vec<Interval> = received_ms
            .iter()
            .map(|&rr_ms| Interval { rr_ms, gap_ms: 0.0 })
            .collect();
        let mut reader = Reader::default();
        let spans = reader.read(&run, &vec![0.0; run.len()], &forecaster, 12.0);
        let mut at = 0;
        let mut repairs = Vec::new();
        for &span in spans {
            if span != Span::KEPT {
                repairs.push((at, span));
            }
            at += span.received;
        }
        assert_eq!(at, run.len(), "every interval is in a span");
        repairs
    }

    fn span(received: usize, beats: usize) -> Span {
        Span { received, beats }
    }

    #[test]
    fn each_mistake_is_told_by_its_span() {
        let true_ms = breathing_ms();
        let with = |at: usize, removed: usize, new_ms: &[f64]| {
            let mut received_ms = true_ms.clone();
            received_ms.splice(at..at + removed, new_ms.iter().copied());
            received_ms
        };
        let sum_ms = |at: usize, count: usize| true_ms[at..at + count].iter().sum::<f64>();
        let cases = [
            ("nothing", true_ms.clone(), vec![]),
            (
                "a missed beat",
                with(20, 2, &[sum_ms(20, 2)]),
                vec![(20, span(1, 2))],
            ),
            (
                "three missed beats",
                with(20, 4, &[sum_ms(20, 4)]),
                vec![(20, span(1, 4))],
            ),
            (
                "a beat heard twice",
                with(30, 1, &[250.0, true_ms[30] - 250.0]),
                vec![(30, span(2, 1))],
            ),
            (
                "an early beat and its pause",
                with(40, 2, &[true_ms[40] - 220.0, true_ms[41] + 220.0]),
                vec![(40, span(2, 2))],
            ),
            (
                "two early beats, one after the other",
                with(
                    40,
                    3,
                    &[true_ms[40] - 220.0, true_ms[41] - 30.0, true_ms[42] + 250.0],
                ),
                vec![(40, span(3, 3))],
            ),
            (
                "a beat heard twice, and the next one missed",
                with(50, 2, &[300.0, sum_ms(50, 2) - 300.0]),
                vec![(50, span(2, 2))],
            ),
            (
                "an early beat, and the next one missed",
                with(50, 3, &[true_ms[50] - 250.0, sum_ms(51, 2) + 250.0]),
                vec![(50, span(2, 3))],
            ),
            (
                "the newest beat missed",
                with(73, 2, &[sum_ms(73, 2)]),
                vec![(73, span(1, 2))],
            ),
            (
                "a length that can be nothing",
                with(60, 1, &[9_000.0]),
                vec![(60, Span::UNKNOWN)],
            ),
        ];
        for (what, received_ms, expected) in cases {
            assert_eq!(repairs(&received_ms), expected, "{what}");
        }
    }

    #[test]
    fn a_leap_of_the_heart_is_no_mistake() {
        let mut leap_ms = breathing_ms();
        for (i, ms) in leap_ms.iter_mut().enumerate().skip(40) {
            *ms += 160.0 * f64::powi(0.8, i as i32 - 40);
        }
        assert_eq!(repairs(&leap_ms), []);
    }

    #[test]
    fn a_run_of_one_interval_is_read_too() {
        assert_eq!(repairs(&[800.0]), []);
        assert_eq!(repairs(&[1_600.0]), [(0, span(1, 2))]);
        assert_eq!(repairs(&[0.5]), [(0, Span::UNKNOWN)]);
    }
}
