//! The Bluetooth source against a fake bluetoothd on a private bus: btleplug, libdbus and every
//! D-Bus message are real, the radio is not. Pure decisions are tested beside their code; real
//! BlueZ is for the VM.
//!
//! libdbus reads `DBUS_SYSTEM_BUS_ADDRESS` once per process, so each scenario runs in a process of
//! its own: this binary again, with the variable set.

#![cfg(feature = "ble")]

#[path = "../support/mod.rs"]
mod support;

mod adapters;
mod closing;
mod failures;
mod recovery;
mod streaming;
mod wishes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coherence_hal::ble::{BleOptions, BleSource};
use coherence_hal::{
    About, Link, Links, RecoveryStep, Rr, SourceClock, SourceEvent, SourceState, StrapId,
    StrapNews, StrapSource,
};
use support::fake_bluez::FakeBluez;
use support::private_bus::PrivateBus;
use tokio::time::timeout;

/// How many times faster than in truth straps, fake and source go. The ladder takes minutes; only
/// what libdbus and btleplug limit themselves goes at its own pace.
const SPEED: u32 = 5;

const FOLDER: &str = "COHERENCE_TEST_BUS_FOLDER";

/// Every scenario is a `#[test]` that runs itself once more in a child process.
macro_rules! scenario {
    ($(#[doc = $doc:expr])* async fn $name:ident($folder:ident) $body:block) => {
        $(#[doc = $doc])*
        #[test]
        fn $name() {
            let name = concat!(module_path!(), "::", stringify!($name));
            $crate::in_own_process(name, |$folder: std::path::PathBuf| async move { $body });
        }
    };
}

pub(crate) use scenario;

fn in_own_process<F: Future<Output = ()>>(name: &str, scenario: impl FnOnce(PathBuf) -> F) {
    let (_, name) = name.split_once("::").unwrap(); // without the crate
    if let Some(folder) = std::env::var_os(FOLDER) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        return runtime.block_on(scenario(folder.into()));
    }
    let folder = tempfile::tempdir().unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path())
        .env(
            "DBUS_SYSTEM_BUS_ADDRESS",
            PrivateBus::address_in(folder.path()),
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let complained = String::from_utf8_lossy(&child.stderr);
    println!("{said}\n{complained}");
    assert!(child.status.success(), "the scenario failed, see above");
    // btleplug spawns tasks that can panic unseen; a release build of the hub would end.
    assert!(
        !complained.contains("panicked"),
        "something panicked, see above"
    );
    assert!(
        said.contains("1 passed"),
        "the scenario did not run: is its name {name}?"
    );
}

async fn fake_in(folder: &Path, n_straps: usize) -> FakeBluez {
    FakeBluez::start_at_speed(PrivateBus::start_in(folder), n_straps, SPEED).await
}

/// The source and everything it said, with the time since the beginning.
struct Ear {
    source: BleSource,
    began: Instant,
    states: Vec<(Duration, SourceState)>,
    straps: BTreeMap<StrapId, Heard>,
    steps: Vec<(Duration, RecoveryStep)>,
    links: Links,
}

#[derive(Default)]
struct Heard {
    links: Vec<(Duration, Link)>,
    rr: Vec<Rr>,
    names: Vec<Option<String>>,
    malformed: usize,
    batteries: Vec<u8>,
    abouts: Vec<About>,
}

impl Heard {
    fn is_up(&self) -> bool {
        matches!(self.links.last(), Some((_, Link::Up)))
    }

    fn downs(&self) -> Vec<(Duration, &str)> {
        self.links
            .iter()
            .filter_map(|(at, link)| match link {
                Link::Down { why } => Some((*at, why.as_str())),
                _ => None,
            })
            .collect()
    }
}

impl Ear {
    fn new(options: BleOptions) -> Self {
        let began = Instant::now();
        let clock = SourceClock::new(
            move || (began.elapsed() * SPEED).as_millis() as i64,
            move |at_ms| {
                let until = began + Duration::from_millis(at_ms.max(0) as u64) / SPEED;
                Box::pin(tokio::time::sleep_until(until.into()))
            },
        );
        let source = BleSource::new(clock, options);
        Ear {
            source,
            began,
            states: Vec::new(),
            straps: BTreeMap::new(),
            steps: Vec::new(),
            links: Links::default(),
        }
    }

    fn hearing() -> Self {
        Self::with_links(16)
    }

    fn with_links(max_links: usize) -> Self {
        let adapters = Vec::new();
        Self::new(BleOptions {
            adapters,
            max_links,
        })
    }

    /// The source's time.
    fn now(&self) -> Duration {
        self.began.elapsed() * SPEED
    }

    /// Listens for so long in the source's time.
    async fn listen(&mut self, time: Duration) {
        let until = self.now() + time;
        self.until(120, "time passed", |ear| ear.now() >= until)
            .await;
    }

    fn rungs(&self) -> Vec<&str> {
        self.steps.iter().map(|(_, step)| step.rung).collect()
    }

    fn text(&self) -> &str {
        self.states.last().map_or("", |(_, state)| &state.text)
    }

    fn is_up(&self, i: usize) -> bool {
        self.straps.get(&id(i)).is_some_and(Heard::is_up)
    }

    /// Listens until `enough` holds; fails after so many real `seconds`, saying what was waited for.
    async fn until(&mut self, seconds: u64, what: &str, mut enough: impl FnMut(&Ear) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while !enough(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "not within {seconds} s: {what}\n{}",
                self.report()
            );
            // In between, because a condition may also look at the fake.
            let wait = left.min(Duration::from_millis(50));
            if let Ok(event) = timeout(wait, self.source.next_event()).await {
                self.note(event.expect("the Bluetooth source never ends"));
            }
        }
        println!("{:7.3} s  {what}", self.now().as_secs_f64());
    }

    fn note(&mut self, event: SourceEvent) {
        let at = self.now();
        match event {
            SourceEvent::State(state) => self.states.push((at, state)),
            SourceEvent::Strap(event) => {
                let heard = self.straps.entry(event.strap).or_default();
                match event.news {
                    StrapNews::Seen { name, .. } => heard.names.push(name),
                    StrapNews::Link(link) => heard.links.push((at, link)),
                    StrapNews::Measurement(measurement) => heard.rr.extend(measurement.rr),
                    StrapNews::Malformed(_) => heard.malformed += 1,
                    StrapNews::Battery(percent) => heard.batteries.push(percent),
                    StrapNews::About(about) => heard.abouts.push(about),
                    StrapNews::Duplicate | StrapNews::Beats(_) => {}
                }
            }
            SourceEvent::Step(step) => self.steps.push((at, step)),
            SourceEvent::Links(links) => self.links = links,
            SourceEvent::Counted { .. } => {}
        }
    }

    fn strap(&self, i: usize) -> &Heard {
        self.straps
            .get(&id(i))
            .unwrap_or_else(|| panic!("strap {i} was never heard"))
    }

    fn state(&self) -> &str {
        self.states.last().map_or("", |(_, state)| state.code)
    }

    fn codes(&self) -> Vec<&str> {
        self.states.iter().map(|(_, state)| state.code).collect()
    }

    fn all_delivered(&self, n_straps: usize, at_least: usize) -> bool {
        self.straps.len() == n_straps && self.straps.values().all(|s| s.rr.len() >= at_least)
    }

    fn report(&self) -> String {
        let mut lines = vec![
            format!("states {:#?}", self.states),
            format!("steps {:#?}\n{:?}", self.steps, self.links),
        ];
        for (id, heard) in &self.straps {
            lines.push(format!(
                "{id}: {} R-R, links {:?}",
                heard.rr.len(),
                heard.links
            ));
        }
        lines.join("\n")
    }

    /// Everything that was put on the bus for this strap came out, once and in order; what is
    /// still under way may be missing at the end.
    fn assert_nothing_lost(&self, fake: &FakeBluez, i: usize) {
        let sent: Vec<Rr> = fake.sent(i).iter().flat_map(|value| rr_of(value)).collect();
        let heard = &self.strap(i).rr;
        assert!(
            sent.len() <= heard.len() + 1,
            "strap {i}: {} of {}",
            heard.len(),
            sent.len()
        );
        assert_eq!(heard[..], sent[..heard.len()], "strap {i}");
    }
}

fn id(i: usize) -> StrapId {
    StrapId::new("ble", &format!("D0:5F:B8:00:00:{:02X}", i + 1))
}

/// R-R values of a value with one-byte heart rate and no energy.
fn rr_of(value: &[u8]) -> Vec<Rr> {
    let pairs = value.get(2..).unwrap_or_default().chunks_exact(2);
    pairs
        .map(|pair| Rr::Ticks(u16::from_le_bytes([pair[0], pair[1]])))
        .collect()
}
