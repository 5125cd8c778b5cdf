//! From pages to intervals: what of a strap's beats was heard, and what is known of the rest.
//!
//! A strap repeats its newest beat about four times a second, with its number and its time by the strap's
//! own clock, and on page 4 the time of the beat before. So a lost message mostly costs nothing, one lost
//! beat can be told exactly, and of more their number and their sum. Nothing is ever interpolated:
//! between two gaps, all intervals and spans together are what the strap's clock says.

use super::page::{Content, HrPage};

/// After so long without a new beat the strap's clock of 64 s is ambiguous, ms.
const AMBIGUOUS_AFTER_MS: i64 = 55_000;
/// A beat that was not seen to be new may be of any age, for a strap off the skin repeats its last one: if no heart
/// beat since it was first heard, ms, the next one says nothing of the time between them.
const UNSEEN_AFTER_MS: i64 = 10_000;
/// No two beats are closer, ticks of 1/1024 s: 200 ms.
const SHORTEST_TICKS: u16 = 205;
/// The strap's clock may be ahead of the time that has passed since its last beat was heard by so much, ms.
const AHEAD_MS: f64 = 3_000.0;

/// One step along a strap's chain of beats; times in ticks of 1/1024 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    Rr(u16),
    /// So many intervals are lost, which together took so long.
    Missing {
        beats: u8,
        span: u16,
    },
    Gap(GapReason),
}

/// Why the time between two beats can't be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// It has been too long.
    Timeout,
    /// The strap began to count anew.
    Reset,
}

impl GapReason {
    /// A stable word.
    pub fn word(self) -> &'static str {
        match self {
            GapReason::Timeout => "timeout",
            GapReason::Reset => "reset",
        }
    }
}

/// Messages that brought no new beat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The newest beat once more.
    pub repeat: u64,
    /// The newest beat once more, with a corrected time.
    pub retimed: u64,
    /// No beat at all.
    pub invalid: u64,
}

/// What is known of one strap's beats; one for each number of 20 bits, kept while it may come back.
///
/// ```
/// use coherence_hal::decode::ant::{AntHeart, HrPage, Pulse};
///
/// let mut heart = AntHeart::default();
/// let beat = |count, ticks: u16| {
///     let [low, high] = ticks.to_le_bytes();
///     HrPage::of([0, 0xFF, 0xFF, 0xFF, low, high, count, 60])
/// };
/// assert_eq!(heart.page(0, &beat(255, 65_000)), []);
/// assert_eq!(heart.page(900, &beat(0, 300)), [Pulse::Rr(836)], "both wrap");
/// assert_eq!(heart.page(2_800, &beat(2, 2_300)), [Pulse::Missing { beats: 2, span: 2_000 }]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct AntHeart {
    newest: Option<Beat>,
    seen_toggle: bool,
    seen_no_toggle: bool,
    computed: bool,
    tally: Tally,
}

/// The newest beat.
#[derive(Clone, Copy, Debug)]
struct Beat {
    time: u16,
    count: u8,
    /// When the message that first told of it came.
    at_ms: i64,
    /// That message was not the first of all: it is known how old the beat was then.
    seen: bool,
}

impl AntHeart {
    /// Takes a message that came at `at_ms`; what it adds, oldest first.
    pub fn page(&mut self, at_ms: i64, page: &HrPage) -> Vec<Pulse> {
        if page.toggle {
            self.seen_toggle = true;
        } else {
            self.seen_no_toggle = true;
        }
        if let (true, Content::EventTime { computed }) = (self.turns_pages(), page.content) {
            self.computed = computed;
        }
        if page.without_beat() {
            self.tally.invalid += 1;
            return Vec::new();
        }
        let next = Beat {
            time: page.event_time,
            count: page.beat_count,
            at_ms,
            seen: self.newest.is_some(),
        };
        let Some(newest) = &mut self.newest else {
            self.newest = Some(next);
            return Vec::new();
        };
        let before = *newest;
        if next.count == before.count {
            if next.time == before.time {
                self.tally.repeat += 1;
            } else {
                newest.time = next.time;
                self.tally.retimed += 1;
            }
            return Vec::new();
        }
        *newest = next;
        let previous = match page.content {
            Content::PreviousBeat { event_time, .. } if self.turns_pages() => Some(event_time),
            _ => None,
        };
        steps(before, next, previous)
    }

    /// Whether the first half of its pages may be believed: it has been seen to turn them. Older straps
    /// put anything there.
    pub fn turns_pages(&self) -> bool {
        self.seen_toggle && self.seen_no_toggle
    }

    /// Whether the strap says that it computes the times of beats from an average.
    pub fn computed(&self) -> bool {
        self.computed
    }

    /// Nothing is known any more of what lies between the last beat and the next.
    pub fn tear(&mut self) {
        self.newest = None;
    }

    /// What brought no beat since it was last asked for.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }
}

/// From one beat to a later one, with the time of the beat before the later where that was told.
fn steps(before: Beat, next: Beat, previous: Option<u16>) -> Vec<Pulse> {
    let beats = next.count.wrapping_sub(before.count);
    let span = next.time.wrapping_sub(before.time);
    let passed_ms = next.at_ms - before.at_ms;
    let known_for_ms = if before.seen {
        AMBIGUOUS_AFTER_MS
    } else {
        UNSEEN_AFTER_MS
    };
    if passed_ms >= known_for_ms {
        return vec![Pulse::Gap(GapReason::Timeout)];
    }
    let too_short = u32::from(span) < u32::from(beats) * u32::from(SHORTEST_TICKS);
    let span_ms = f64::from(span) * 1000.0 / 1024.0;
    if too_short || span_ms > passed_ms as f64 + AHEAD_MS {
        return vec![Pulse::Gap(GapReason::Reset)];
    }
    if beats == 1 {
        // Not by the beat before: this rests on what every page holds.
        return vec![Pulse::Rr(span)];
    }
    let newest = previous
        .map(|previous| next.time.wrapping_sub(previous))
        .filter(|rr| (SHORTEST_TICKS..span).contains(rr));
    match newest {
        Some(rr) if beats == 2 && span - rr >= SHORTEST_TICKS => {
            vec![Pulse::Rr(span - rr), Pulse::Rr(rr)]
        }
        Some(rr) => vec![
            Pulse::Missing {
                beats: beats - 1,
                span: span - rr,
            },
            Pulse::Rr(rr),
        ],
        None => vec![Pulse::Missing { beats, span }],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(number: u8, toggle: bool, previous: u16, time: u16, count: u8) -> HrPage {
        let ([p0, p1], [t0, t1]) = (previous.to_le_bytes(), time.to_le_bytes());
        HrPage::of([
            number | u8::from(toggle) << 7,
            0xFF,
            p0,
            p1,
            t0,
            t1,
            count,
            60,
        ])
    }

    #[test]
    fn a_chain_that_was_torn_begins_anew() {
        let mut heart = AntHeart::default();
        heart.page(0, &page(0, false, 0, 1_000, 1));
        heart.tear();
        assert_eq!(heart.page(1_000, &page(0, false, 0, 2_000, 2)), []);
        assert_eq!(
            heart.page(2_000, &page(0, false, 0, 3_000, 3)),
            [Pulse::Rr(1_000)]
        );
    }

    #[test]
    fn the_first_beat_that_is_heard_may_be_old_so_what_comes_long_after_says_nothing_of_it() {
        // Off the skin it repeats its last beat, for longer than its clock runs; the stick started anew meanwhile.
        let mut heart = AntHeart::default();
        for at_ms in (0..26_000).step_by(250) {
            assert_eq!(heart.page(at_ms, &page(0, false, 0, 1_000, 1)), []);
        }
        let next = page(0, false, 0, 17_677, 2); // 80.286 s after it, in 64 s
        assert_eq!(heart.page(26_000, &next), [Pulse::Gap(GapReason::Timeout)]);
        let after = page(0, false, 0, 18_677, 3);
        assert_eq!(heart.page(27_000, &after), [Pulse::Rr(1_000)]);
        let later = page(0, false, 0, 18_677 + 40 * 1_024, 4);
        assert_eq!(
            heart.page(67_000, &later),
            [Pulse::Rr(40 * 1_024)],
            "that one was seen to be new"
        );
    }

    #[test]
    fn a_strap_that_never_turned_a_page_can_not_say_that_it_computes() {
        let mut heart = AntHeart::default();
        let says_so = HrPage::of([9, 0xFD, 0xFF, 0xFF, 0, 4, 1, 60]);
        heart.page(0, &says_so);
        assert!(!heart.computed());
        heart.page(250, &page(0, true, 0, 1_024, 1));
        heart.page(500, &says_so);
        assert!(heart.computed());
        heart.page(750, &HrPage::of([9, 0xFC, 0xFF, 0xFF, 0, 4, 1, 60]));
        assert!(!heart.computed());
    }

    proptest! {
        /// Of a strap whose messages are lost at random, heard a whole chain between gaps: intervals and
        /// spans add up to its clock, and every interval is one of its own.
        #[test]
        fn nothing_is_invented_and_nothing_is_forgotten(
            beats in prop::collection::vec((300_u16..2_000, prop::bool::weighted(0.3), 0_u8..2), 2..300),
            start in any::<(u16, u8)>(),
        ) {
            let (mut time, mut count) = start;
            let mut heart = AntHeart::default();
            let (mut now_ms, mut clock, mut heard_at, mut told) = (0.0, 0_u64, None, 0_u64);
            let mut truth = Vec::new();
            let mut rr_told = Vec::new();
            let mut missing = 0_usize;
            for (n, (rr, lost, kind)) in beats.into_iter().enumerate() {
                let previous = time;
                time = time.wrapping_add(rr);
                count = count.wrapping_add(1);
                now_ms += f64::from(rr) * 1000.0 / 1024.0;
                clock += u64::from(rr);
                truth.push(rr);
                if lost {
                    continue;
                }
                heard_at.get_or_insert((clock, truth.len()));
                for pulse in heart.page(now_ms as i64, &page(kind * 4, n % 2 == 0, previous, time, count)) {
                    match pulse {
                        Pulse::Rr(rr) => { told += u64::from(rr); rr_told.push(rr); }
                        Pulse::Missing { beats, span } => { told += u64::from(span); missing += usize::from(beats); }
                        Pulse::Gap(_) => { heard_at = None; told = 0; rr_told.clear(); missing = 0; }
                    }
                }
                if let Some((began, index)) = heard_at {
                    prop_assert_eq!(told, clock - began);
                    prop_assert_eq!(rr_told.len() + missing, truth.len() - index);
                } else {
                    heard_at = Some((clock, truth.len()));
                }
            }
            let mut at = 0;
            let begin = heard_at.map_or(truth.len(), |(_, index)| index);
            for rr in rr_told {
                let found = truth[begin + at..].iter().position(|own| *own == rr);
                prop_assert!(found.is_some(), "an interval that never was");
                at += found.unwrap() + 1;
            }
        }
    }
}
