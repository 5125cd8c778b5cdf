//! A real source on a real pseudo-terminal, with a virtual stick at its other end and a clock that the test
//! turns by hand: minutes pass in seconds, and a machine that is busy only makes them longer.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coherence_hal::ant::{AntOptions, AntSource};
use coherence_hal::decode::ant::NetworkKey;
use coherence_hal::virtual_stick::{MADE_UP_KEY, Plug, VirtualStick, VirtualStrap};
use coherence_hal::{
    BeatItem, Beats, SourceClock, SourceEvent, SourceState, StrapNews, StrapSource,
};
use tokio::sync::watch;

/// How far the hand is turned at once, ms.
const STEP_MS: i64 = 100;

pub struct Bench {
    hand: Arc<watch::Sender<i64>>,
    pub plug: Plug,
    source: AntSource,
    pub heard: Vec<(i64, SourceEvent)>,
    _folder: tempfile::TempDir,
}

/// What was heard of one strap.
#[derive(Debug, Default)]
pub struct OfStrap {
    pub items: Vec<BeatItem>,
    pub beats: Vec<Beats>,
    pub links: Vec<coherence_hal::Link>,
    pub batteries: Vec<u8>,
    pub abouts: Vec<coherence_hal::About>,
    pub rssi_dbm: Vec<Option<i16>>,
}

pub fn options(port: &std::path::Path) -> AntOptions {
    AntOptions {
        port: port.display().to_string(),
        baud: 115_200,
        key: Ok(NetworkKey::parse(MADE_UP_KEY).unwrap()),
    }
}

impl Bench {
    /// A stick that is plugged in.
    pub async fn new(straps: Vec<VirtualStrap>) -> Self {
        let mut bench = Bench::unplugged(straps, options);
        bench.plug.plug_in().await.unwrap();
        bench
    }

    pub fn unplugged(
        straps: Vec<VirtualStrap>,
        options: impl FnOnce(&std::path::Path) -> AntOptions,
    ) -> Self {
        let start_ms = 1_000_000;
        let hand = Arc::new(watch::Sender::new(start_ms));
        let (read, wait) = (Arc::clone(&hand), Arc::clone(&hand));
        let clock = SourceClock::new(
            move || *read.borrow(),
            move |at_ms| {
                let mut shows = wait.subscribe();
                Box::pin(async move {
                    let _ = shows.wait_for(|now_ms| *now_ms >= at_ms).await;
                })
            },
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stick");
        let source = AntSource::new(clock.clone(), options(&path));
        let stick = VirtualStick::new(start_ms, 1, straps);
        Bench {
            hand,
            plug: Plug::new(stick, clock, path),
            source,
            heard: Vec::new(),
            _folder: folder,
        }
    }

    pub fn now_ms(&self) -> i64 {
        *self.hand.borrow()
    }

    /// Lets so much time pass. The source is asked in calls that are dropped again and again.
    pub async fn pass(&mut self, ms: i64) {
        let end_ms = self.now_ms() + ms;
        while self.now_ms() < end_ms {
            self.hand.send_modify(|now_ms| *now_ms += STEP_MS);
            let now_ms = self.now_ms();
            let mut quiet = pin!(tokio::time::sleep(Duration::from_millis(1)));
            loop {
                tokio::select! {
                    event = self.source.next_event() => {
                        self.heard.push((now_ms, event.expect("it goes on for ever")));
                    }
                    () = &mut quiet => break,
                }
            }
        }
    }

    /// Lets time pass until something was heard; at most so much of it.
    pub async fn until(&mut self, what: &str, at_most_ms: i64, holds: impl Fn(&Bench) -> bool) {
        let end_ms = self.now_ms() + at_most_ms;
        while !holds(self) {
            let left = self.now_ms() < end_ms;
            assert!(
                left,
                "no {what} within {at_most_ms} ms: {:#?}",
                self.about_source()
            );
            self.pass(STEP_MS).await;
        }
    }

    /// Until the stick scans, and its straps are heard.
    pub async fn until_heard(&mut self) {
        self.until("strap", 30_000, |bench| {
            bench.is("listening") && !bench.straps().is_empty()
        })
        .await;
        self.pass(2_000).await;
    }

    pub fn states(&self) -> Vec<&SourceState> {
        let states = self.heard.iter().filter_map(|(_, event)| match event {
            SourceEvent::State(state) => Some(state),
            _ => None,
        });
        states.collect()
    }

    /// Whether this is the source's last word of itself.
    pub fn is(&self, code: &str) -> bool {
        self.states().last().is_some_and(|state| state.code == code)
    }

    /// The rungs of all steps that were taken.
    pub fn rungs(&self) -> Vec<&'static str> {
        let steps = self.heard.iter().filter_map(|(_, event)| match event {
            SourceEvent::Step(step) => Some(step.rung),
            _ => None,
        });
        steps.collect()
    }

    pub fn counted(&self, word: &str) -> u64 {
        let counts = self.heard.iter().filter_map(|(_, event)| match event {
            SourceEvent::Counted { what, count } if *what == word => Some(*count),
            _ => None,
        });
        counts.sum()
    }

    pub fn straps(&self) -> BTreeMap<String, OfStrap> {
        let mut straps: BTreeMap<String, OfStrap> = BTreeMap::new();
        for (_, event) in &self.heard {
            let SourceEvent::Strap(event) = event else {
                continue;
            };
            let strap = straps.entry(event.strap.to_string()).or_default();
            match &event.news {
                StrapNews::Beats(beats) => {
                    strap.items.extend(&beats.items);
                    strap.beats.push(beats.clone());
                }
                StrapNews::Link(link) => strap.links.push(link.clone()),
                StrapNews::Battery(percent) => strap.batteries.push(*percent),
                StrapNews::About(about) => strap.abouts.push(about.clone()),
                StrapNews::Seen { rssi_dbm, .. } => strap.rssi_dbm.push(*rssi_dbm),
                other => panic!("not of an ANT+ strap: {other:?}"),
            }
        }
        straps
    }

    pub async fn close(&mut self) {
        self.source.close().await;
    }

    fn about_source(&self) -> Vec<&SourceEvent> {
        let events = self.heard.iter().map(|(_, event)| event);
        events
            .filter(|event| !matches!(event, SourceEvent::Strap(_)))
            .collect()
    }
}

/// The intervals that a heart really had, in ticks, as far as its strap has asked for them.
#[derive(Clone, Default)]
pub struct Truth(Arc<Mutex<Vec<u64>>>);

/// A heart at about so many beats a minute, never faster than `most_bpm`, and its truth.
pub fn heart(seed: u64, bpm: f64, most_bpm: f64) -> (impl Iterator<Item = f64> + Send, Truth) {
    let truth = Truth::default();
    let log = truth.clone();
    let mut chance = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut at_s = 0.0;
    let mut breath = 0.0_f64;
    let beats = std::iter::from_fn(move || {
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let unit = (chance >> 40) as f64 / f64::from(1 << 24);
        let mean_s = 60.0 / bpm;
        breath += 0.628 * mean_s;
        let rr_s = mean_s * (1.0 + 0.05 * breath.sin() + 0.04 * (unit - 0.5));
        at_s += rr_s.max(60.0 / most_bpm);
        log.0
            .lock()
            .unwrap()
            .push((at_s * 1_024.0_f64).round() as u64);
        Some(at_s)
    });
    (beats, truth)
}

/// What became of a heart's beats.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    pub exact: u64,
    pub missing: u64,
    pub gaps: u64,
}

impl Truth {
    /// Holds what was heard against what was: each interval is one of the heart's own, in its place, each
    /// loss has the length that it says, and between gaps nothing is left out.
    pub fn account(&self, name: &str, items: &[BeatItem]) -> Account {
        let ticks = self.0.lock().unwrap();
        let real: Vec<u64> = ticks.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mut account = Account::default();
        let mut from = 0;
        for chain in items.split(|item| *item == BeatItem::Gap) {
            if chain.is_empty() {
                continue;
            }
            let place = (from..real.len()).find(|at| fits(&real[*at..], chain));
            let place = place.unwrap_or_else(|| panic!("{name}: invented: {chain:?}"));
            from = place;
            for item in chain {
                match item {
                    BeatItem::Rr(_) => (account.exact, from) = (account.exact + 1, from + 1),
                    BeatItem::Missing { beats, .. } => {
                        account.missing += u64::from(*beats);
                        from += *beats as usize;
                    }
                    BeatItem::Gap => unreachable!("chains end there"),
                }
            }
        }
        account.gaps = items.iter().filter(|item| **item == BeatItem::Gap).count() as u64;
        account
    }

    /// Beats until `after_s` seconds.
    pub fn beats_until(&self, after_s: f64) -> u64 {
        let ticks = self.0.lock().unwrap();
        ticks
            .iter()
            .filter(|tick| (**tick as f64) < after_s * 1_024.0)
            .count() as u64
    }
}

fn fits(real: &[u64], chain: &[BeatItem]) -> bool {
    let ms = |ticks: u64| ticks as f64 * 1_000.0 / 1_024.0;
    let mut at = 0;
    chain.iter().all(|item| match *item {
        BeatItem::Rr(rr) => {
            at += 1;
            real.get(at - 1).is_some_and(|real| rr.ms() == ms(*real))
        }
        BeatItem::Missing { beats, span_ms } => {
            at += beats as usize;
            let lost = real.get(at - beats as usize..at);
            lost.is_some_and(|lost| span_ms == Some(ms(lost.iter().sum())))
        }
        BeatItem::Gap => false,
    })
}
