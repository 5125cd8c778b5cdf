//! Whether the hub keeps up: the figures of the last minute, and the complaints that follow from them.
//!
//! PURE: figures, limits and the time come in, changes and sentences go out. Where figures are counted
//! is `tally`'s and `process`'s business, who is told is the wiring's.

use std::collections::VecDeque;

use serde::Serialize;
use utoipa::ToSchema;

use super::Report;

/// What went wrong by the hub's own fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A request was answered with "I failed" (5xx).
    Answer,
    /// A commit failed.
    Commit,
    /// A row was lost.
    Row,
    /// A grid point was not scored.
    GridPoint,
}

impl Fault {
    pub const ALL: [Fault; 4] = [Fault::Answer, Fault::Commit, Fault::Row, Fault::GridPoint];

    pub fn word(self) -> &'static str {
        match self {
            Fault::Answer => "answer",
            Fault::Commit => "commit",
            Fault::Row => "row",
            Fault::GridPoint => "grid_point",
        }
    }
}

/// Buckets of a [`Latency`]; the last takes all that is longer.
pub(super) const BUCKETS: usize = 128;

/// The bucket of a time: eight in an octave from 0.1 ms on, so that a percentile is right to a tenth.
pub(super) fn bucket(us: u64) -> usize {
    let octaves = (us.max(100) as f64 / 100.0).log2();
    ((octaves * 8.0).ceil() as usize).min(BUCKETS - 1)
}

/// The longest time that falls into a bucket, ms.
fn upper_ms(bucket: usize) -> f64 {
    0.1 * 2.0_f64.powf(bucket as f64 / 8.0)
}

/// How long things took, without each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency {
    pub(super) counts: [u64; BUCKETS],
    pub(super) max_us: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Latency {
            counts: [0; BUCKETS],
            max_us: 0,
        }
    }
}

impl Latency {
    fn add(&mut self, other: &Latency) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.max_us = self.max_us.max(other.max_us);
    }

    /// The time within which 95 of 100 were done; none if there were none.
    fn p95_ms(&self) -> Option<f64> {
        let all: u64 = self.counts.iter().sum();
        let wanted = (all * 95).div_ceil(100);
        let mut done = 0;
        let bucket = self.counts.iter().position(|count| {
            done += count;
            done >= wanted && done > 0
        })?;
        // The last bucket has no upper end of its own.
        let upper_ms = if bucket == BUCKETS - 1 {
            f64::INFINITY
        } else {
            upper_ms(bucket)
        };
        Some(upper_ms.min(self.max_ms()?))
    }

    fn max_ms(&self) -> Option<f64> {
        (self.max_us > 0).then_some(self.max_us as f64 / 1000.0)
    }
}

/// What was counted from one look to the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slice {
    /// As [`Fault::ALL`].
    pub faults: [u64; 4],
    pub frames_in: u64,
    pub frames_out: u64,
    pub latency: Latency,
    /// The slowest, ms.
    pub commit_ms: f64,
    pub compute_ms: f64,
    /// Processor time that was used, ms.
    pub cpu_ms: f64,
    /// How long it is since the last look, ms of the real world.
    pub lasted_ms: f64,
}

/// What is at the moment of a look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Now {
    pub sessions: u32,
    pub participants: u32,
    pub connections: u64,
    pub outbox_rows: u64,
    pub memory_bytes: u64,
}

/// How the hub did in one minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Sessions in their active phase at the end of the minute.
    pub sessions: u32,
    /// People present at the end of the minute.
    pub participants: u32,
    /// Open connections at the end of the minute, WebSockets among them.
    pub connections: u64,
    /// WebSocket frames from phones.
    pub frames_in: u64,
    /// WebSocket frames to phones.
    pub frames_out: u64,
    /// Milliseconds from a grid point to the phone's socket, within which 95 of 100 updates were;
    /// null when there was no update.
    pub update_latency_p95_ms: Option<f64>,
    /// The slowest update, ms.
    pub update_latency_max_ms: Option<f64>,
    /// The slowest commit of the database, ms; 0 when there was none.
    pub commit_max_ms: f64,
    /// The slowest scoring of all hearts, ms; 0 when there was none.
    pub compute_max_ms: f64,
    /// Bytes of memory at the end of the minute.
    pub memory_bytes: u64,
    /// Processor time in percent of one core.
    pub cpu_pct: f64,
    /// Failed answers and commits, lost rows and grid points.
    pub errors: u64,
    /// Messages that waited for the central store at the end of the minute.
    pub outbox_rows: u64,
}

/// What alerts begin at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub update_latency_ms: u32,
    pub memory_mb: u32,
    pub errors_per_minute: u32,
}

/// What the hub complains of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    Latency,
    Memory,
    Errors,
    GridPoints,
}

impl Alert {
    const ALL: [Alert; 4] = [
        Alert::Latency,
        Alert::Memory,
        Alert::Errors,
        Alert::GridPoints,
    ];
}

/// An alert that was raised, or is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub alert: Alert,
    pub raised: bool,
    /// What is, and what to do.
    pub text: String,
}

const MINUTE_MS: i64 = 60_000;
const MB: f64 = 1_000_000.0;

/// Watches over the last minute.
#[derive(Debug, Default)]
pub struct Watch {
    slices: VecDeque<(i64, Slice)>,
    raised: [bool; 4],
    minute: Slice,
    now: Now,
}

impl Watch {
    /// Takes the slice that ends at `at_ms` (monotonic) and says which alerts change.
    pub fn look(&mut self, at_ms: i64, slice: Slice, now: Now, limits: Limits) -> Vec<Change> {
        self.slices.push_back((at_ms, slice));
        while self
            .slices
            .front()
            .is_some_and(|(end_ms, _)| *end_ms <= at_ms - MINUTE_MS)
        {
            self.slices.pop_front();
        }
        self.minute = sum(self.slices.iter().map(|(_, slice)| slice));
        self.now = now;
        let mut changes = Vec::new();
        for (alert, was) in Alert::ALL.into_iter().zip(self.raised) {
            let (value, raise_above, over_at) = self.measure(alert, limits);
            // Between the two it stays what it was, so that a figure at the limit does not flicker.
            let is = value > raise_above || (was && value > over_at);
            self.raised[alert as usize] = is;
            if is != was {
                let text = if is {
                    self.complaint(alert, limits)
                } else {
                    relief(alert).to_owned()
                };
                changes.push(Change {
                    alert,
                    raised: is,
                    text,
                });
            }
        }
        changes
    }

    /// The figure an alert is about, above which it is raised, and at which it is over.
    fn measure(&self, alert: Alert, limits: Limits) -> (f64, f64, f64) {
        match alert {
            Alert::Latency => {
                let limit = f64::from(limits.update_latency_ms);
                let p95_ms = self.minute.latency.p95_ms().unwrap_or(0.0);
                (p95_ms, limit, limit * 0.8)
            }
            Alert::Memory => {
                let limit = f64::from(limits.memory_mb);
                (self.now.memory_bytes as f64 / MB, limit, limit * 0.9)
            }
            Alert::Errors => {
                let limit = f64::from(limits.errors_per_minute);
                (self.errors() as f64, limit, limit * 0.5)
            }
            Alert::GridPoints => {
                let skipped = self.minute.faults[Fault::GridPoint as usize];
                (skipped as f64, 0.0, 0.0)
            }
        }
    }

    fn errors(&self) -> u64 {
        self.minute.faults.iter().sum()
    }

    fn complaint(&self, alert: Alert, limits: Limits) -> String {
        match alert {
            Alert::Latency => format!(
                "Updates reach phones late: 95 of 100 within {:.0} ms, the slowest after {:.0} ms \
                 (alerts.update_latency_ms = {}). See what else keeps this computer busy (top), and \
                 how good its network is.",
                self.minute.latency.p95_ms().unwrap_or(0.0),
                self.minute.latency.max_ms().unwrap_or(0.0),
                limits.update_latency_ms
            ),
            Alert::Memory => format!(
                "The hub takes {:.0} MB of memory (alerts.memory_mb = {}). A restart in a pause frees \
                 it: nobody has to join again.",
                self.now.memory_bytes as f64 / MB,
                limits.memory_mb
            ),
            Alert::Errors => {
                let [answers, commits, rows, points] = self.minute.faults;
                format!(
                    "{} things went wrong in the last minute (alerts.errors_per_minute = {}): \
                     {answers} answers and {commits} commits failed, {rows} rows and {points} grid \
                     points were lost. The log says why.",
                    self.errors(),
                    limits.errors_per_minute
                )
            }
            Alert::GridPoints => format!(
                "{} grid points of the last minute were not scored: scoring takes longer than 5 s. \
                 Fewer straps or a faster computer will help.",
                self.minute.faults[Fault::GridPoint as usize]
            ),
        }
    }

    /// How the hub keeps up, in words.
    pub fn report(&self, limits: Limits) -> Report {
        let complaints: Vec<String> = Alert::ALL
            .into_iter()
            .filter(|alert| self.raised[*alert as usize])
            .map(|alert| self.complaint(alert, limits))
            .collect();
        if complaints.is_empty() {
            Report::ok("Everything is on time.")
        } else {
            Report::degraded(complaints.join(" "))
        }
    }

    /// The last minute, as far as it was watched.
    pub fn figures(&self) -> Figures {
        let (minute, now) = (&self.minute, self.now);
        let cpu_pct = if minute.lasted_ms > 0.0 {
            100.0 * minute.cpu_ms / minute.lasted_ms
        } else {
            0.0
        };
        Figures {
            sessions: now.sessions,
            participants: now.participants,
            connections: now.connections,
            frames_in: minute.frames_in,
            frames_out: minute.frames_out,
            update_latency_p95_ms: minute.latency.p95_ms().map(round),
            update_latency_max_ms: minute.latency.max_ms().map(round),
            commit_max_ms: round(minute.commit_ms),
            compute_max_ms: round(minute.compute_ms),
            memory_bytes: now.memory_bytes,
            cpu_pct: round(cpu_pct),
            errors: self.errors(),
            outbox_rows: now.outbox_rows,
        }
    }
}

/// Digits that mean something.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn relief(alert: Alert) -> &'static str {
    match alert {
        Alert::Latency => "Updates reach phones in time again.",
        Alert::Memory => "The hub takes less memory again.",
        Alert::Errors => "Things go right again.",
        Alert::GridPoints => "Every grid point of the last minute was scored again.",
    }
}

fn sum<'a>(slices: impl Iterator<Item = &'a Slice>) -> Slice {
    let mut all = Slice::default();
    for slice in slices {
        for (count, more) in all.faults.iter_mut().zip(slice.faults) {
            *count += more;
        }
        all.frames_in += slice.frames_in;
        all.frames_out += slice.frames_out;
        all.latency.add(&slice.latency);
        all.commit_ms = all.commit_ms.max(slice.commit_ms);
        all.compute_ms = all.compute_ms.max(slice.compute_ms);
        all.cpu_ms += slice.cpu_ms;
        all.lasted_ms += slice.lasted_ms;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Condition;

    const LIMITS: Limits = Limits {
        update_latency_ms: 100,
        memory_mb: 250,
        errors_per_minute: 10,
    };

    /// Updates that took so long each, ms.
    fn took(ms: &[u64]) -> Slice {
        let mut slice = Slice::default();
        for ms in ms {
            slice.latency.counts[bucket(ms * 1000)] += 1;
            slice.latency.max_us = slice.latency.max_us.max(ms * 1000);
        }
        slice
    }

    fn faults(kind: Fault, count: u64) -> Slice {
        let mut slice = Slice::default();
        slice.faults[kind as usize] = count;
        slice
    }

    /// Looks every 5 s; gives what changed at each look.
    fn story(slices: impl IntoIterator<Item = (Slice, Now)>) -> Vec<Vec<(Alert, bool)>> {
        let mut watch = Watch::default();
        let mut at_ms = 1_000_000;
        let mut told = Vec::new();
        for (slice, now) in slices {
            at_ms += 5_000;
            let changes = watch.look(at_ms, slice, now, LIMITS);
            told.push(changes.into_iter().map(|c| (c.alert, c.raised)).collect());
        }
        told
    }

    #[test]
    fn late_updates_are_told_once_and_once_when_they_are_over() {
        let late = std::iter::once(took(&[20, 300, 300]));
        let fine = std::iter::repeat_n(took(&[20, 20, 20]), 20);
        let slices = late.chain(fine).map(|slice| (slice, Now::default()));
        let told = story(slices);
        assert_eq!(told[0], [(Alert::Latency, true)]);
        let over = told.iter().skip(1).position(|told| !told.is_empty());
        // 2 of 41 updates are less than 5 in 100, but the bad look is gone after a minute anyway.
        assert!(over.is_some_and(|at| at < 12), "{told:?}");
        assert_eq!(told.iter().flatten().count(), 2, "{told:?}");
    }

    #[test]
    fn one_slow_phone_among_many_is_no_alert() {
        let mut many = vec![8; 100];
        many.push(4_000);
        let told = story([(took(&many), Now::default())]);
        assert!(told[0].is_empty());
    }

    #[test]
    fn a_figure_at_the_limit_does_not_flicker() {
        let with = |mb: u64| {
            let memory_bytes = mb * 1_000_000;
            let now = Now {
                memory_bytes,
                ..Now::default()
            };
            (Slice::default(), now)
        };
        let told = story([251, 249, 251, 230, 252, 225, 226, 251].map(with));
        let changes: Vec<_> = told
            .iter()
            .enumerate()
            .filter_map(|(look, told)| told.first().map(|(_, raised)| (look, *raised)))
            .collect();
        assert_eq!(changes, [(0, true), (5, false), (7, true)]);
    }

    #[test]
    fn errors_are_those_of_the_last_minute_and_a_skipped_grid_point_is_one() {
        let mut slices = vec![faults(Fault::Answer, 6), faults(Fault::Row, 4)];
        slices.push(faults(Fault::GridPoint, 1));
        slices.extend(vec![Slice::default(); 13]);
        let told = story(slices.into_iter().map(|slice| (slice, Now::default())));
        assert!(told[0].is_empty() && told[1].is_empty(), "ten are allowed");
        assert_eq!(told[2], [(Alert::Errors, true), (Alert::GridPoints, true)]);
        // The first six leave the minute at the 13th look: five of ten are left.
        assert_eq!(told[12], [(Alert::Errors, false)]);
        assert_eq!(told[14], [(Alert::GridPoints, false)]);
        assert_eq!(told.iter().flatten().count(), 4, "{told:?}");
    }

    #[test]
    fn the_report_says_what_is_and_what_to_do() {
        let mut watch = Watch::default();
        assert_eq!(watch.report(LIMITS), Report::ok("Everything is on time."));
        let now = Now {
            memory_bytes: 300_000_000,
            ..Now::default()
        };
        watch.look(0, took(&[150]), now, LIMITS);
        let report = watch.report(LIMITS);
        assert_eq!(report.status, Condition::Degraded);
        for part in ["150 ms", "update_latency_ms = 100", "300 MB", "restart"] {
            assert!(report.text.contains(part), "no {part} in {}", report.text);
        }
    }

    #[test]
    fn the_figures_are_of_one_minute() {
        let mut watch = Watch::default();
        let slice = Slice {
            frames_in: 3,
            frames_out: 10,
            commit_ms: 4.0,
            cpu_ms: 500.0,
            lasted_ms: 5_000.0,
            ..took(&[10])
        };
        for look in 0..20 {
            watch.look(look * 5_000, slice.clone(), Now::default(), LIMITS);
        }
        let figures = watch.figures();
        assert_eq!((figures.frames_in, figures.frames_out), (36, 120));
        assert_eq!((figures.commit_max_ms, figures.cpu_pct), (4.0, 10.0));
        assert_eq!(figures.update_latency_p95_ms, Some(10.0));
        assert_eq!(Watch::default().figures().update_latency_p95_ms, None);
    }

    #[test]
    fn a_percentile_is_right_to_a_tenth() {
        for ms in [1, 7, 42, 99, 100, 101, 640, 5_000] {
            let mut slice = took(&[ms; 99]);
            slice.latency.add(&took(&[60_000]).latency);
            let p95_ms = slice.latency.p95_ms().unwrap();
            let exact = ms as f64;
            assert!((exact..exact * 1.1).contains(&p95_ms), "{ms}: {p95_ms}");
        }
        assert_eq!(took(&[90_000]).latency.p95_ms(), Some(90_000.0));
        assert_eq!(Latency::default().p95_ms(), None);
    }
}
