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
mod tests {
    use super::*;
    use crate::decode::ble::decode;

    fn rr(text: &str) -> Vec<f64> {
        Recording::parse(text)
            .unwrap()
            .intervals
            .iter()
            .map(|interval| interval.rr_ms)
            .collect()
    }

    #[test]
    fn every_common_shape_of_a_file_is_read() {
        for text in [
            "rr_ms\n812.5\n1000\n",
            "812.5\n1000",
            "\u{feff}rr_ms\r\n812.5\r\n\r\n1000\r\n",
            "# a walk\n\nRR_MS , gap_ms\n 812.5 , 0\n1000,\n# end\n",
            "812.5,0\n1000\n",
            "beat,rr_ms\n1,812.5\n2,1000\n",
        ] {
            assert_eq!(rr(text), [812.5, 1000.0], "{text:?}");
        }
    }

    #[test]
    fn gaps_are_kept_beside_their_interval() {
        let recording = Recording::parse("rr_ms,gap_ms\n800,0\n810,1747.07\n").unwrap();
        assert_eq!(
            recording.intervals[1],
            Interval {
                rr_ms: 810.0,
                gap_ms: 1747.07
            }
        );
    }

    #[test]
    fn every_error_names_its_line_and_the_text_that_is_wrong() {
        for (text, line, offending, problem) in [
            ("hello\n800\n", 1, "hello", Problem::NoHeader),
            ("rr_ms\n800\n8oo\n", 3, "8oo", Problem::NotANumber),
            ("rr_ms\n0\n", 2, "0", Problem::RrOutOfRange),
            ("-5\n", 1, "-5", Problem::RrOutOfRange),
            ("800\n\n65536\n", 3, "65536", Problem::RrOutOfRange),
            ("800\nNaN\n", 2, "NaN", Problem::RrOutOfRange),
            ("inf\n", 1, "inf", Problem::RrOutOfRange),
            ("800,-1\n", 1, "-1", Problem::GapOutOfRange),
            ("800,inf\n", 1, "inf", Problem::GapOutOfRange),
            ("800,x\n", 1, "x", Problem::NotANumber),
            ("rr_ms,gap_ms\n,5\n", 2, ",5", Problem::MissingRr),
            ("800,0,7\n", 1, "800,0,7", Problem::TooManyColumns),
            ("", 1, "", Problem::NoIntervals),
            ("rr_ms\n# nothing\n", 2, "", Problem::NoIntervals),
        ] {
            let error = Recording::parse(text).unwrap_err();
            assert_eq!(
                (error.line, error.offending.as_str(), error.problem),
                (line, offending, problem),
                "{text:?}"
            );
            let sentence = error.in_file("a.csv").to_string();
            assert!(
                sentence.starts_with(&format!("a.csv:{line}: ")),
                "{sentence}"
            );
            assert!(sentence.contains(offending), "{sentence}");
        }
    }

    fn sent(text: &str) -> Vec<(i64, Measurement)> {
        cues(Recording::parse(text).unwrap(), StrapId::new("replay", "r"))
            .filter_map(|cue| match cue.act {
                Act::Bytes(bytes) => Some((cue.at_ms, decode(&bytes).unwrap())),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_strap_says_hello_first() {
        let acts: Vec<Act> = cues(
            Recording::parse("800").unwrap(),
            StrapId::new("replay", "walk"),
        )
        .map(|cue| cue.act)
        .take(2)
        .collect();
        let name = Some("walk".to_owned());
        assert_eq!(
            acts,
            [
                Act::Seen {
                    name,
                    rssi_dbm: None
                },
                Act::Link(Link::Up)
            ]
        );
    }

    #[test]
    fn each_second_carries_the_beats_that_ended_in_it_or_none() {
        let beats: Vec<(i64, usize)> = sent("600\n600\n600\n2000\n")
            .iter()
            .map(|(at, value)| (*at, value.rr.len()))
            .collect();
        assert_eq!(beats, [(1000, 1), (2000, 2), (3000, 0), (4000, 1)]);
    }

    #[test]
    fn a_gap_is_silence_and_no_beat_is_lost_over_it() {
        // The second beat ends at 1600 and still leaves at 2000; the third ends at 12 400.
        let seen = sent("rr_ms,gap_ms\n800,0\n800,0\n800,10000\n800,0\n");
        let beats: Vec<(i64, usize)> = seen
            .iter()
            .map(|(at, value)| (*at, value.rr.len()))
            .collect();
        assert_eq!(beats, [(1000, 1), (2000, 1), (13_000, 1), (14_000, 1)]);
        assert_eq!(
            sent("800,99999\n800\n")[0].0,
            1000,
            "a gap before the first beat is none"
        );
        assert_eq!(
            sent("800\n800,1e12\n").len(),
            2,
            "a gap of years takes no time to skip"
        );
    }

    #[test]
    fn the_sum_of_ticks_never_drifts_from_the_sum_of_intervals() {
        let text: String = (0..5000)
            .map(|i| format!("{}\n", 700.3 + f64::from(i % 97)))
            .collect();
        let total_ms: f64 = rr(&text).iter().sum();
        let sent_ms: f64 = sent(&text)
            .iter()
            .flat_map(|(_, value)| &value.rr)
            .map(|rr| rr.ms())
            .sum();
        assert!((total_ms - sent_ms).abs() < 0.5, "{total_ms} {sent_ms}");
    }

    #[test]
    fn beats_that_do_not_fit_go_with_the_next_value() {
        let text = "95\n".repeat(20);
        let seen = sent(&text);
        assert!(seen.iter().all(|(_, value)| value.rr.len() <= 9));
        assert_eq!(
            seen.iter().map(|(_, value)| value.rr.len()).sum::<usize>(),
            20
        );
    }

    #[test]
    fn an_interval_beyond_the_field_is_said_as_the_longest() {
        assert_eq!(sent("65535\n").last().unwrap().1.rr, [Rr::Ticks(u16::MAX)]);
    }

    #[test]
    fn the_rate_field_follows_the_recent_beats() {
        let text = format!("{}{}", "1000\n".repeat(10), "500\n".repeat(10));
        let rates: Vec<u16> = sent(&text).iter().map(|(_, value)| value.hr_bpm).collect();
        assert_eq!((rates[0], *rates.last().unwrap()), (60, 120));
    }
}
