//! A real source on a real pseudo-terminal, with a virtual stick at its other end and a clock that the test
//! turns by hand: minutes pass in seconds, and a machine that is busy only makes them longer.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
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
