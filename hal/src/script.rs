//! Scripted straps: what a strap would send and when, as bytes, through the real decoder.
//!
//! Here belongs what a script is ([`Cue`], [`Act`]) and the source that plays one ([`Scripted`]).
//! What is in a script is made elsewhere: from a recording ([`crate::replay`]) or by imagined
//! hearts ([`crate::virtual_room`]). Playing faster is not a script's business: the hub's clock is
//! scaled as a whole.

use std::collections::VecDeque;

use crate::decode::ble::Deduplicator;
use crate::{
    Link, SourceClock, SourceEvent, SourceState, StrapEvent, StrapId, StrapNews, StrapSource,
};

/// One thing a scripted strap does. A script is an iterator of cues in the order of their time.
#[derive(Clone, Debug, PartialEq)]
pub struct Cue {
    /// Milliseconds since the script began.
    pub at_ms: i64,
    pub strap: StrapId,
    pub act: Act,
}

/// What a strap can do, or have happen to it.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// A notification of the Heart Rate Measurement characteristic.
    Bytes(Vec<u8>),
    Link(Link),
    /// Percent.
    Battery(u8),
    /// An advertisement was heard.
    Seen {
        name: Option<String>,
        rssi_dbm: Option<i16>,
    },
}

/// Several scripts as one, in the order of their times; at the same time the earlier script first.
pub fn together<I: Iterator<Item = Cue>>(scripts: Vec<I>) -> impl Iterator<Item = Cue> {
    let mut scripts: Vec<_> = scripts.into_iter().map(Iterator::peekable).collect();
    std::iter::from_fn(move || {
        let due = scripts
            .iter_mut()
            .map(|script| script.peek().map(|cue| cue.at_ms));
        let (_, soonest) = due
            .enumerate()
            .filter_map(|(k, at_ms)| Some((at_ms?, k)))
            .min()?;
        scripts[soonest].next()
    })
}

/// A source of straps that plays a script on the hub's clock.
pub struct Scripted<I> {
    name: &'static str,
    script: I,
    start_ms: i64,
    clock: SourceClock,
    arrivals: Deduplicator,
    /// Taken from the script, not yet due. Kept here so that a dropped call loses nothing.
    pending: Option<Cue>,
    stage: Stage,
}

enum Stage {
    /// What to say first.
    Silent(String),
    Playing,
    Finished,
}

impl<I: Iterator<Item = Cue>> Scripted<I> {
    /// A source called `name` whose script began when the hub's clock showed `start_ms`, which may
    /// be in the past ([`Scripted::past_events`]). `listening` is the sentence it starts with.
    pub fn new(
        name: &'static str,
        script: I,
        start_ms: i64,
        clock: SourceClock,
        listening: impl Into<String>,
    ) -> Self {
        Scripted {
            name,
            script,
            start_ms,
            clock,
            arrivals: Deduplicator::new(),
            pending: None,
            stage: Stage::Silent(listening.into()),
        }
    }

    /// Everything due before `until_ms` on the hub's clock, at once and stamped with the times it
    /// was due at: so a demo starts with a past to compute from. The first call begins with the
    /// source's own state, like [`StrapSource::next_event`]; the end of a script is left to that.
    ///
    /// ```
    /// use coherence_hal::script::{Act, Cue, Scripted};
    /// use coherence_hal::{SourceClock, SourceEvent, StrapId};
    ///
    /// let strap = StrapId::new("virtual", "1");
    /// let script = (0..100).map(move |s| Cue { at_ms: s * 1000, strap: strap.clone(), act: Act::Battery(80) });
    /// let clock = SourceClock::new(|| 90_000, |_| Box::pin(std::future::pending()));
    /// let mut source = Scripted::new("virtual", script, 60_000, clock, "One strap, always at 80 %.");
    ///
    /// let past = source.past_events(90_000);
    /// assert_eq!(past.len(), 1 + 30);
    /// assert!(matches!(&past[1], SourceEvent::Strap(event) if event.at_ms == 60_000));
    /// ```
    pub fn past_events(&mut self, until_ms: i64) -> Vec<SourceEvent> {
        let mut events: Vec<SourceEvent> = self.first_words().into_iter().collect();
        while let Some(due_ms) = self.next_due_ms().filter(|due_ms| *due_ms < until_ms) {
            events.extend(self.perform_pending(due_ms));
        }
        events
    }

    fn first_words(&mut self) -> Option<SourceEvent> {
        match std::mem::replace(&mut self.stage, Stage::Playing) {
            Stage::Silent(text) => Some(SourceEvent::State(SourceState {
                up: true,
                code: "listening",
                text,
            })),
            other => {
                self.stage = other;
                None
            }
        }
    }

    fn next_due_ms(&mut self) -> Option<i64> {
        if self.pending.is_none() {
            self.pending = self.script.next();
        }
        self.pending.as_ref().map(|cue| self.start_ms + cue.at_ms)
    }

    fn perform_pending(&mut self, at_ms: i64) -> Option<SourceEvent> {
        let Cue {
            at_ms: cue_ms,
            strap,
            act,
        } = self.pending.take()?;
        let news = match act {
            // Copies are judged by the script's own times: a hub that was busy and catches up
            // must not take two honest values for one.
            Act::Bytes(bytes) => {
                self.arrivals
                    .event(&strap, self.start_ms + cue_ms, &bytes)
                    .news
            }
            Act::Link(link) => StrapNews::Link(link),
            Act::Battery(percent) => StrapNews::Battery(percent),
            Act::Seen { name, rssi_dbm } => StrapNews::Seen { name, rssi_dbm },
        };
        Some(SourceEvent::Strap(StrapEvent { strap, at_ms, news }))
    }
}

impl<I: Iterator<Item = Cue> + Send + 'static> StrapSource for Scripted<I> {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn next_event(&mut self) -> Option<SourceEvent> {
        if let Some(words) = self.first_words() {
            return Some(words);
        }
        let Some(due_ms) = self.next_due_ms() else {
            if matches!(self.stage, Stage::Finished) {
                return None;
            }
            self.stage = Stage::Finished;
            let text = format!("The {} script has been played to its end.", self.name);
            return Some(SourceEvent::State(SourceState {
                up: false,
                code: "finished",
                text,
            }));
        };
        if self.clock.now_ms() < due_ms {
            self.clock.sleep_until(due_ms).await;
        }
        // A sleep may end a hair early; time must not run backwards behind a cue.
        let at_ms = self.clock.now_ms().max(due_ms);
        self.perform_pending(at_ms)
    }
}

/// The heart rate a strap would announce: the mean of its last few intervals.
#[derive(Debug, Default)]
pub(crate) struct RecentRate {
    ticks: VecDeque<u16>,
}

impl RecentRate {
    /// About what chest straps average over; enough to be calm, few enough to follow.
    const BEATS: usize = 8;

    pub(crate) fn push(&mut self, ticks: u16) {
        if self.ticks.len() == Self::BEATS {
            self.ticks.pop_front();
        }
        self.ticks.push_back(ticks);
    }

    /// 0, "no value", before the first beat.
    pub(crate) fn bpm(&self) -> u16 {
        let sum: u64 = self.ticks.iter().copied().map(u64::from).sum();
        let minute = 60 * 1024 * self.ticks.len() as u64;
        let rounded = (minute + sum / 2).checked_div(sum).unwrap_or(0);
        u16::try_from(rounded).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn scripts_played_together_keep_the_order_of_time() {
        let beats = |strap: &str, every_ms: i64| {
            let strap = StrapId::new("test", strap);
            (0..4).map(move |k| Cue {
                at_ms: k * every_ms,
                strap: strap.clone(),
                act: Act::Battery(1),
            })
        };
        let all: Vec<_> = together(vec![beats("a", 300), beats("b", 200)])
            .map(|cue| (cue.at_ms, cue.strap.as_str().to_owned()))
            .collect();
        assert_eq!(all.len(), 8);
        assert!(all.is_sorted());
    }

    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::task::{Context, Poll, Waker};

    /// A clock that a test turns by hand; whoever sleeps is ready once it shows the hour.
    fn hand_clock(now_ms: i64) -> (Arc<AtomicI64>, SourceClock) {
        let hand = Arc::new(AtomicI64::new(now_ms));
        let (read, wait) = (hand.clone(), hand.clone());
        let clock = SourceClock::new(
            move || read.load(Ordering::SeqCst),
            move |at_ms| {
                let hand = wait.clone();
                Box::pin(std::future::poll_fn(move |_| {
                    if hand.load(Ordering::SeqCst) >= at_ms {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                }))
            },
        );
        (hand, clock)
    }

    /// Asks once and then gives up, as a `select!` would.
    fn ask<I>(source: &mut Scripted<I>) -> Poll<Option<SourceEvent>>
    where
        I: Iterator<Item = Cue> + Send + 'static,
    {
        pin!(source.next_event()).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn strap() -> StrapId {
        StrapId::new("virtual", "1")
    }

    fn bytes(at_ms: i64) -> Cue {
        Cue {
            at_ms,
            strap: strap(),
            act: Act::Bytes(vec![0x10, 60, 0, 4]),
        }
    }

    fn source(
        cues: Vec<Cue>,
        start_ms: i64,
        clock: SourceClock,
    ) -> Scripted<std::vec::IntoIter<Cue>> {
        Scripted::new("virtual", cues.into_iter(), start_ms, clock, "One strap.")
    }

    fn at_ms(event: &Poll<Option<SourceEvent>>) -> i64 {
        match event {
            Poll::Ready(Some(SourceEvent::Strap(event))) => event.at_ms,
            other => panic!("no strap event: {other:?}"),
        }
    }

    fn state(event: Poll<Option<SourceEvent>>) -> SourceState {
        match event {
            Poll::Ready(Some(SourceEvent::State(state))) => state,
            other => panic!("no state: {other:?}"),
        }
    }

    #[test]
    fn a_script_says_that_it_listens_plays_says_that_it_is_finished_and_ends() {
        let (_, clock) = hand_clock(10_000);
        let mut source = source(vec![bytes(0)], 10_000, clock);
        let first = state(ask(&mut source));
        assert_eq!(
            (first.up, first.code, first.text.as_str()),
            (true, "listening", "One strap.")
        );
        assert_eq!(at_ms(&ask(&mut source)), 10_000);
        let last = state(ask(&mut source));
        assert_eq!((last.up, last.code), (false, "finished"));
        assert_eq!(ask(&mut source), Poll::Ready(None));
        assert_eq!(ask(&mut source), Poll::Ready(None));
    }

    #[test]
    fn a_cue_waits_for_its_time_and_a_dropped_call_loses_nothing() {
        let (hand, clock) = hand_clock(0);
        let mut source = source(vec![bytes(500), bytes(1500)], 0, clock);
        state(ask(&mut source));
        assert_eq!(ask(&mut source), Poll::Pending);
        assert_eq!(ask(&mut source), Poll::Pending);
        hand.store(503, Ordering::SeqCst);
        assert_eq!(at_ms(&ask(&mut source)), 503, "stamped when it was read");
        assert_eq!(ask(&mut source), Poll::Pending);
        hand.store(9000, Ordering::SeqCst);
        assert_eq!(at_ms(&ask(&mut source)), 9000, "late is late");
    }

    #[test]
    fn the_past_comes_at_once_with_its_own_times_and_the_rest_follows_live() {
        let (hand, clock) = hand_clock(90_000);
        let mut source = source((0..100).map(|s| bytes(s * 1000)).collect(), 0, clock);
        let past = source.past_events(90_000);
        assert!(matches!(past[0], SourceEvent::State(_)));
        let times: Vec<i64> = past[1..]
            .iter()
            .map(|event| match event {
                SourceEvent::Strap(event) => event.at_ms,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(times, (0..90).map(|s| s * 1000).collect::<Vec<i64>>());
        assert_eq!(source.past_events(90_000), []);
        assert_eq!(at_ms(&ask(&mut source)), 90_000);
        assert_eq!(ask(&mut source), Poll::Pending);
        hand.store(91_000, Ordering::SeqCst);
        assert_eq!(at_ms(&ask(&mut source)), 91_000);
    }

    #[test]
    fn catching_up_does_not_make_equal_values_duplicates_but_a_scripted_copy_is_one() {
        let (_, clock) = hand_clock(60_000);
        let mut source = source(vec![bytes(0), bytes(1000), bytes(1001)], 0, clock);
        state(ask(&mut source));
        let news: Vec<StrapNews> = (0..3)
            .map(|_| match ask(&mut source) {
                Poll::Ready(Some(SourceEvent::Strap(event))) => event.news,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(matches!(news[0], StrapNews::Measurement(_)));
        assert!(matches!(news[1], StrapNews::Measurement(_)));
        assert_eq!(news[2], StrapNews::Duplicate);
    }

    #[test]
    fn links_batteries_and_adverts_pass_unchanged() {
        let (_, clock) = hand_clock(0);
        let seen = Act::Seen {
            name: Some("Strap".into()),
            rssi_dbm: Some(-60),
        };
        let acts = [Act::Link(Link::Connecting), Act::Battery(7), seen];
        let cues = acts.map(|act| Cue {
            at_ms: 0,
            strap: strap(),
            act,
        });
        let past = source(cues.into(), 0, clock).past_events(1);
        let news: Vec<StrapNews> = past
            .into_iter()
            .filter_map(|event| match event {
                SourceEvent::Strap(event) => Some(event.news),
                _ => None,
            })
            .collect();
        assert_eq!(
            news,
            [
                StrapNews::Link(Link::Connecting),
                StrapNews::Battery(7),
                StrapNews::Seen {
                    name: Some("Strap".into()),
                    rssi_dbm: Some(-60)
                },
            ]
        );
    }

    #[test]
    fn the_announced_rate_is_the_mean_of_the_last_beats() {
        let mut rate = RecentRate::default();
        assert_eq!(rate.bpm(), 0);
        rate.push(0);
        assert_eq!(rate.bpm(), 0, "beats without length have no rate");
        for ticks in [512; 8] {
            rate.push(ticks);
        }
        assert_eq!(rate.bpm(), 120);
    }
}
