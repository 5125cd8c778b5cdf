//! Recordings: R-R intervals as text, and the strap that would have sent them.
//!
//! Here belongs reading `rr_ms[,gap_ms]` ([`Recording::parse`]) without rounding anything, so that
//! an offline score sees the file's own numbers, and turning a recording into a script
//! ([`cues`]). Not here: opening files, and playing a script ([`crate::script::Scripted`]).

use std::collections::VecDeque;
use std::fmt;
use std::iter::Peekable;
use std::vec;

use crate::decode::ble::{HrFormat, Measurement, encode, rr_capacity};
use crate::script::{Act, Cue, RecentRate};
use crate::{Link, Rr, StrapId};

/// The longest interval a recording may hold.
pub const MAX_RR_MS: f64 = 65_535.0;

/// The longest gap, some thirty years: beyond it a time in milliseconds would lose its meaning.
pub const MAX_GAP_MS: f64 = 1e12;

/// Beats in the order they happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    pub intervals: Vec<Interval>,
}

/// One R-R interval and the silence before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// From the beat before to this beat, or, after a gap, from the gap's end to this beat.
    pub rr_ms: f64,
    /// Time that nothing is known of, before the interval; 0 almost always.
    pub gap_ms: f64,
}

/// A line that can't be read, or a text without any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Where the text came from, once [`ParseError::in_file`] said it.
    pub file: Option<String>,
    /// Counted from 1.
    pub line: usize,
    /// The text in question, as it stands there.
    pub offending: String,
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The first line is neither a number nor a header that names `rr_ms`.
    NoHeader,
    NotANumber,
    RrOutOfRange,
    GapOutOfRange,
    /// A line without its interval.
    MissingRr,
    /// More columns than the two that are known without a header.
    TooManyColumns,
    /// The text ends without a single interval.
    NoIntervals,
}

impl ParseError {
    /// The same error, naming the file.
    ///
    /// ```
    /// use coherence_hal::replay::Recording;
    ///
    /// let error = Recording::parse("rr_ms\n812.5\n-3\n").unwrap_err().in_file("walk.rr.csv");
    /// assert!(error.to_string().starts_with("walk.rr.csv:3: "));
    /// ```
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{file}:{}: ", self.line)?,
            None => write!(f, "line {}: ", self.line)?,
        }
        let text = &self.offending;
        match self.problem {
            Problem::NoHeader => write!(
                f,
                "`{text}` is neither an interval in milliseconds nor a header with a column `rr_ms`"
            ),
            Problem::NotANumber => write!(f, "`{text}` is not a number of milliseconds"),
            Problem::RrOutOfRange => {
                write!(
                    f,
                    "an interval of `{text}` ms is not above 0 and at most {MAX_RR_MS}"
                )
            }
            Problem::GapOutOfRange => {
                write!(f, "a gap of `{text}` ms is not between 0 and {MAX_GAP_MS}")
            }
            Problem::MissingRr => write!(f, "`{text}` has no interval"),
            Problem::TooManyColumns => {
                write!(
                    f,
                    "`{text}` has more columns than `rr_ms,gap_ms`; a header can name others"
                )
            }
            Problem::NoIntervals => write!(f, "the recording ends without a single interval"),
        }
    }
}

impl std::error::Error for ParseError {}

/// Which column is which.
#[derive(Clone, Copy)]
struct Columns {
    rr: usize,
    gap: Option<usize>,
    /// Whether columns beside these two are known to be something else.
    named: bool,
}

impl Recording {
    /// Reads `rr_ms[,gap_ms]`, one interval a line, with or without a header that names its
    /// columns (others beside them are passed over). Empty lines, lines that start with `#`, CR LF
    /// and a byte order mark are no obstacle.
    ///
    /// ```
    /// use coherence_hal::replay::{Interval, Recording};
    ///
    /// let recording = Recording::parse("rr_ms,gap_ms\n812.5,0\n# out of reach\n901.2,12050.8\n").unwrap();
    /// assert_eq!(recording.intervals[1], Interval { rr_ms: 901.2, gap_ms: 12050.8 });
    /// ```
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut columns = None;
        let mut intervals = Vec::new();
        let mut last_line = 1;

        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            last_line = index + 1;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let error = |offending: &str, problem| ParseError {
                file: None,
                line: index + 1,
                offending: offending.to_owned(),
                problem,
            };
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let columns = match columns {
                Some(columns) => columns,
                None if fields[0].parse::<f64>().is_ok() => *columns.insert(Columns {
                    rr: 0,
                    gap: Some(1),
                    named: false,
                }),
                None => {
                    let place = |name| fields.iter().position(|f| f.eq_ignore_ascii_case(name));
                    let rr = place("rr_ms").ok_or_else(|| error(line, Problem::NoHeader))?;
                    columns = Some(Columns {
                        rr,
                        gap: place("gap_ms"),
                        named: true,
                    });
                    continue;
                }
            };
            if !columns.named && fields.len() > 2 {
                return Err(error(line, Problem::TooManyColumns));
            }
            let number = |field: &str| {
                field
                    .parse::<f64>()
                    .map_err(|_| error(field, Problem::NotANumber))
            };

            let rr = fields.get(columns.rr).filter(|field| !field.is_empty());
            let rr = rr.ok_or_else(|| error(line, Problem::MissingRr))?;
            let rr_ms = number(rr)?;
            // NaN compares false and is refused with the rest.
            if !(rr_ms > 0.0 && rr_ms <= MAX_RR_MS) {
                return Err(error(rr, Problem::RrOutOfRange));
            }

            let gap = columns
                .gap
                .and_then(|gap| fields.get(gap))
                .filter(|field| !field.is_empty());
            let gap_ms = gap.map_or(Ok(0.0), |gap| number(gap))?;
            if !(0.0..=MAX_GAP_MS).contains(&gap_ms) {
                return Err(error(gap.unwrap_or(&""), Problem::GapOutOfRange));
            }
            intervals.push(Interval { rr_ms, gap_ms });
        }

        if intervals.is_empty() {
            return Err(ParseError {
                file: None,
                line: last_line,
                offending: String::new(),
                problem: Problem::NoIntervals,
            });
        }
        Ok(Recording { intervals })
    }
}

/// A recording as a chest strap would send it.
///
/// The strap is seen and its link is up at 0; then every whole second of the recording's clock
/// carries the beats that ended since the last one, or none. During a gap the strap is out of
/// reach: beats that were waiting when it began still leave, then nothing until the beat after it
/// has ended. A gap before the first beat is passed over. Intervals are cut to 1/1024 s from their
/// running sum, so that the sum stays within half a tick however long the recording is.
///
/// ```
/// use coherence_hal::{StrapId, replay::{Recording, cues}, script::Act};
///
/// let recording = Recording::parse("800\n800\n800").unwrap();
/// let sent: Vec<_> = cues(recording, StrapId::new("replay", "walk"))
///     .filter(|cue| matches!(cue.act, Act::Bytes(_)))
///     .map(|cue| cue.at_ms)
///     .collect();
/// assert_eq!(sent, [1000, 2000, 3000]);
/// ```
pub fn cues(recording: Recording, strap: StrapId) -> impl Iterator<Item = Cue> + Send + 'static {
    let name = strap
        .as_str()
        .split_once(':')
        .map(|(_, identity)| identity.to_owned());
    let greeting = [
        Act::Seen {
            name,
            rssi_dbm: None,
        },
        Act::Link(Link::Up),
    ];
    let mut intervals = recording.intervals;
    if let Some(first) = intervals.first_mut() {
        first.gap_ms = 0.0;
    }
    let replay = Replay {
        strap: strap.clone(),
        intervals: intervals.into_iter().peekable(),
        beat_ms: 0.0,
        chain_ms: 0.0,
        chain_ticks: 0,
        second: 1,
        waiting: VecDeque::new(),
        rate: RecentRate::default(),
    };
    greeting
        .into_iter()
        .map(move |act| Cue {
            at_ms: 0,
            strap: strap.clone(),
            act,
        })
        .chain(replay)
}

struct Replay {
    strap: StrapId,
    intervals: Peekable<vec::IntoIter<Interval>>,
    /// Where the last beat ended on the recording's clock.
    beat_ms: f64,
    /// The sum of intervals alone, and the same in ticks as handed out.
    chain_ms: f64,
    chain_ticks: u64,
    /// The next second to send at.
    second: i64,
    /// Beats that ended and were not sent yet.
    waiting: VecDeque<u16>,
    rate: RecentRate,
}

impl Replay {
    fn take_beats_until(&mut self, now_ms: f64) {
        while let Some(interval) = self
            .intervals
            .next_if(|next| self.beat_ms + next.gap_ms + next.rr_ms <= now_ms)
        {
            self.beat_ms += interval.gap_ms + interval.rr_ms;
            self.chain_ms += interval.rr_ms;
            let chain_ticks = (self.chain_ms * 1.024).round() as u64;
            // What is longer than the field can say (64 s) is said as the longest.
            let ticks = u16::try_from(chain_ticks - self.chain_ticks).unwrap_or(u16::MAX);
            self.chain_ticks = chain_ticks;
            self.rate.push(ticks);
            self.waiting.push_back(ticks);
        }
    }

    fn notification(&mut self) -> Vec<u8> {
        let hr_bpm = self.rate.bpm();
        let format = if hr_bpm > 255 {
            HrFormat::U16
        } else {
            HrFormat::Shortest
        };
        // What does not fit goes with the next one, as a strap does it.
        let fits = self.waiting.len().min(rr_capacity(format, false));
        let rr: Vec<Rr> = self.waiting.drain(..fits).map(Rr::Ticks).collect();
        encode(&Measurement {
            hr_bpm,
            contact: None, // a recording does not know
            energy_kj: None,
            rr_flag: !rr.is_empty(),
            rr,
            reserved_flags: 0,
            trailing_bytes: 0,
        })
    }
}

impl Iterator for Replay {
    type Item = Cue;

    fn next(&mut self) -> Option<Cue> {
        loop {
            let at_ms = self.second * 1000;
            self.take_beats_until(at_ms as f64);
            if self.waiting.is_empty() {
                let next = self.intervals.peek()?;
                if next.gap_ms > 0.0 {
                    let heard_again_ms = self.beat_ms + next.gap_ms + next.rr_ms;
                    self.second = ((heard_again_ms / 1000.0).ceil() as i64).max(self.second + 1);
                    continue;
                }
            }
            self.second += 1;
            let act = Act::Bytes(self.notification());
            return Some(Cue {
                at_ms,
                strap: self.strap.clone(),
                act,
            });
        }
    }
}

#[cfg(test)]
mod tests;
