//! A whole room for hours: forty straps of two kinds, of which one or another always has something the matter
//! with it, and radios that fail. The real hub, twenty times as fast as the world, on a fake bluetoothd and on a
//! virtual ANT+ stick behind a real pseudo-terminal.
//!
//! A few minutes of it, less hurried, are a test; `tests/load soak` takes the two hours.

#![cfg(all(feature = "ble", feature = "serial"))]

mod ledger;
#[path = "../support/mod.rs"]
mod support;
mod troubles;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use coherence_hal::SourceClock;
use coherence_hal::virtual_stick::{MADE_UP_KEY, Plug, VirtualStick, VirtualStrap};
use serde_json::json;
use support::dice::Dice;
use support::fake_bluez::FakeBluez;
use support::from_environment;
use support::heart::{Truth, heart};
use support::hub::Hub;
use support::phone::Phone;
use support::private_bus::PrivateBus;
use tokio::time::Instant;
use troubles::Trouble;

/// So much faster than the world do hub, hearts, radios and troubles live.
static SPEED: LazyLock<u32> = LazyLock::new(|| match is_load_run() {
    true => 20,
    false => 10,
});
const BELTS: usize = 24;
const ANT_STRAPS: usize = 16;
const ALL: usize = BELTS + ANT_STRAPS;
/// Minutes by the hub's clock; a load run sets it.
const HOW_LONG: &str = "COHERENCE_SOAK_MINUTES";
const MINUTES: u64 = 4;
/// A strap that sends and could be heard is heard after so long; a machine that tests keep busy may be late.
const HEARD_WITHIN_MS: i64 = 60_000;
const HEARD_AT_LAST_MS: i64 = 180_000;
/// Of ANT+ messages, always.
const LOSS: f64 = 0.02;

#[tokio::test(flavor = "multi_thread")]
async fn in_a_room_where_everything_fails_now_and_then_every_strap_is_heard_again_and_every_loss_is_marked()
 {
    let minutes = from_environment(HOW_LONG).unwrap_or(MINUTES);
    let seed = from_environment("COHERENCE_SEED").unwrap_or(1);
    println!("{HOW_LONG}={minutes} COHERENCE_SEED={seed}");
    let folder = tempfile::tempdir().expect("a directory for the test");
    let mut room = Room::open(folder.path(), seed).await;
    room.everybody_is_heard().await;
    let end_ms = room.now_ms() + minutes as i64 * 60_000;
    let mut dice = Dice(seed);
    while room.now_ms() < end_ms {
        room.trouble(&mut dice).await;
        room.look();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    room.end_all_troubles().await;
    room.everybody_is_heard().await;
    room.close(folder.path()).await;
}

fn is_load_run() -> bool {
    std::env::var_os(HOW_LONG).is_some()
}

/// A trouble that lasts.
struct Lasting {
    trouble: Trouble,
    whose: Whose,
    until_ms: i64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Whose {
    /// By its place among all: Bluetooth's come first.
    Strap(usize),
    Bluetooth,
    Stick,
}

impl Whose {
    fn is_of(self, strap: usize) -> bool {
        match self {
            Whose::Strap(own) => own == strap,
            Whose::Bluetooth => strap < BELTS,
            Whose::Stick => strap >= BELTS,
        }
    }
}

struct Room {
    began: Instant,
    fake: FakeBluez,
    plug: Plug,
    hub: Hub,
    /// Each shows somebody's own beats, and counts the room's updates.
    phones: Vec<tokio::task::JoinHandle<u64>>,
    truths: Vec<(String, Truth)>,
    /// When the last beat of each strap reached the phone of who wears it.
    heard_ms: Arc<[AtomicI64; ALL]>,
    /// From when on a strap could be heard, and after which trouble; none while all is well.
    could_be: [Option<(i64, Trouble)>; ALL],
    lasting: Vec<Lasting>,
    /// When the next one begins: of a strap, of Bluetooth, of the stick.
    next_ms: [i64; 3],
    /// How often each was there, and how long it took at most until who it hit was heard again, ms.
    counts: BTreeMap<Trouble, (u64, i64)>,
    /// Memory, open files and threads, a minute after the other.
    loads: Vec<Load>,
}

#[derive(Clone, Copy, Debug)]
struct Load {
    memory_kb: u64,
    files: usize,
    threads: usize,
}

impl Room {
    async fn open(folder: &Path, seed: u64) -> Self {
        let began = Instant::now();
        let clock = SourceClock::new(
            move || (began.elapsed() * *SPEED).as_millis() as i64,
            move |at_ms| {
                let at = Duration::from_millis(at_ms.clamp(0, 1 << 40) as u64) / *SPEED;
                Box::pin(tokio::time::sleep_until(began + at))
            },
        );
        let bus = PrivateBus::start_in(folder);
        let fake = FakeBluez::start_at_speed(bus, BELTS, *SPEED).await;
        for belt in 0..BELTS {
            let mut dice = Dice(seed << 8 | belt as u64);
            fake.stream(belt, Duration::from_secs(1), move |k| {
                // One beat a second on average, so that no time goes missing by itself.
                let breath = 60.0 * (k as f64 * 0.628 + belt as f64).sin();
                let rr_ticks = 1_024 + breath as i64 + dice.below(41) - 20;
                let [low, high] = (rr_ticks as u16).to_le_bytes();
                // No value is a copy of the one before it.
                vec![0x16, 60 + (k % 2) as u8, low, high]
            });
        }
        let (straps, truths): (Vec<_>, Vec<_>) = (1..=ANT_STRAPS as u32)
            .map(|n| {
                let bpm = 50.0 + f64::from(n) * 1.7;
                let (beats, truth) = heart(seed << 8 | u64::from(n), bpm, 80.0);
                let mut strap = VirtualStrap::new(n, beats);
                strap.main_page = if n % 5 == 3 { 0 } else { 4 };
                (strap, (format!("ant:{n}"), truth))
            })
            .unzip();
        let mut stick = VirtualStick::new(0, seed, straps);
        stick.faults.loss = LOSS;
        stick.faults.pieces = true;
        let mut plug = Plug::new(stick, clock, folder.join("stick"));
        plug.plug_in().await.expect("a pseudo-terminal");
        let key_file = folder.join("ant.key");
        std::fs::write(&key_file, MADE_UP_KEY).expect("the test's own directory");
        let config = format!(
            "[straps]\nmax_links = {BELTS}\n[clock]\ntrust = \"always\"\n[test]\nclock_speed = {}.0\n\
             [ant]\nport = {:?}\nkey_file = {key_file:?}\n",
            *SPEED,
            plug.path()
        );
        let mut hub = Hub::run(folder, &config, Some(&fake.bus_address())).await;
        hub.become_facilitator().await;
        let mut room = Room {
            began,
            fake,
            plug,
            hub,
            phones: Vec::new(),
            truths,
            heard_ms: Arc::new([const { AtomicI64::new(0) }; ALL]),
            could_be: [None; ALL],
            lasting: Vec::new(),
            next_ms: [0; 3],
            counts: BTreeMap::new(),
            loads: Vec::new(),
        };
        room.know_each_other(folder).await;
        room
    }

    fn now_ms(&self) -> i64 {
        since(self.began)
    }

    fn heard_ms(&self, strap: usize) -> i64 {
        self.heard_ms[strap].load(Relaxed)
    }

    fn identity(&self, strap: usize) -> String {
        match strap.checked_sub(BELTS) {
            None => format!("ble:{}", self.fake.address(strap)),
            Some(ant) => self.truths[ant].0.clone(),
        }
    }

    /// Waits for all straps, finds out how the hub calls them, and lets somebody wear each.
    async fn know_each_other(&mut self, folder: &Path) {
        let all = self
            .hub
            .until("/api/straps", "forty straps", |straps| {
                straps["straps"].as_array().map(Vec::len) == Some(ALL)
            })
            .await;
        let numbers = numbers(&folder.join("hub.db"), ALL).await;
        for strap in 0..ALL {
            let no = numbers[&self.identity(strap)];
            let all = all["straps"].as_array().expect("a list");
            let told = all.iter().find(|told| told["no"] == no);
            let label = &told.expect("its number is told")["label"];
            let mut phone = Phone::connect(&self.hub).await;
            phone
                .send(json!({"type": "join_session", "strap": label}))
                .await;
            phone.wait_for("session_joined").await;
            let (began, heard_ms) = (self.began, Arc::clone(&self.heard_ms));
            self.phones.push(tokio::spawn(async move {
                let mut updates = 0;
                while let Ok(frame) = phone.next().await {
                    updates += u64::from(frame["type"] == "group_metrics_update");
                    if frame["type"] == "beat" {
                        heard_ms[strap].store(since(began), Relaxed);
                    }
                }
                updates
            }));
        }
    }

    /// Waits until every strap was heard after now, and begins to count from there.
    async fn everybody_is_heard(&mut self) {
        let begin_ms = self.now_ms();
        loop {
            let silent = (0..ALL).filter(|strap| self.heard_ms(*strap) <= begin_ms);
            let silent: Vec<String> = silent.map(|strap| self.identity(strap)).collect();
            if silent.is_empty() {
                return;
            }
            assert!(
                self.now_ms() < begin_ms + HEARD_AT_LAST_MS,
                "not heard: {silent:?}\n{}",
                self.hub.log()
            );
            self.look();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends what is over, and begins what is due.
    async fn trouble(&mut self, dice: &mut Dice) {
        let now_ms = self.now_ms();
        while let Some(at) = self.lasting.iter().position(|it| it.until_ms <= now_ms) {
            let it = self.lasting.swap_remove(at);
            self.end(it.trouble, it.whose).await;
        }
        if now_ms >= self.next_ms[0] {
            self.next_ms[0] = now_ms + 2_000 + dice.below(12_000);
            let strap = dice.below(ALL as i64) as usize;
            if !self.in_trouble(strap) {
                let table = match strap < BELTS {
                    true => troubles::OF_A_BELT,
                    false => troubles::OF_AN_ANT_STRAP,
                };
                let (trouble, lasts_ms) = troubles::one_of(table, dice);
                self.begin(trouble, Whose::Strap(strap), strap, lasts_ms)
                    .await;
            }
        }
        // Radios are given time to recover: what is to be seen is that they do.
        for (whose, table) in [
            (Whose::Bluetooth, troubles::OF_BLUETOOTH),
            (Whose::Stick, troubles::OF_THE_STICK),
        ] {
            let next_ms = &mut self.next_ms[1 + usize::from(whose == Whose::Stick)];
            if now_ms >= *next_ms {
                let (trouble, lasts_ms) = troubles::one_of(table, dice);
                *next_ms = now_ms + lasts_ms + 90_000 + dice.below(120_000);
                let belt = dice.below(BELTS as i64) as usize;
                self.begin(trouble, whose, belt, lasts_ms).await;
            }
        }
    }

    fn in_trouble(&self, strap: usize) -> bool {
        let of_it = |it: &Lasting| it.whose.is_of(strap);
        self.lasting.iter().any(of_it) || self.could_be[strap].is_some()
    }

    /// `belt`: the Bluetooth strap whose loss shows what the matter is, where it is of no strap alone.
    async fn begin(&mut self, trouble: Trouble, whose: Whose, belt: usize, lasts_ms: i64) {
        let now_ms = self.now_ms();
        let until_ms = now_ms + lasts_ms;
        println!(
            "{:8.1} s: {trouble:?}, {whose:?}, for {lasts_ms} ms",
            now_ms as f64 / 1_000.0
        );
        self.counts.entry(trouble).or_default().0 += 1;
        let stick = || self.plug.stick();
        match whose {
            Whose::Stick if trouble == Trouble::StickIsPulledOut => self.plug.unplug().await,
            Whose::Stick => troubles::begin_ant(trouble, &mut stick(), 0, now_ms, until_ms),
            Whose::Strap(strap) if strap >= BELTS => {
                troubles::begin_ant(trouble, &mut stick(), strap - BELTS, now_ms, until_ms);
            }
            Whose::Strap(_) | Whose::Bluetooth => troubles::begin(trouble, &self.fake, belt),
        }
        self.lasting.push(Lasting {
            trouble,
            whose,
            until_ms,
        });
    }

    async fn end(&mut self, trouble: Trouble, whose: Whose) {
        match whose {
            Whose::Stick if trouble == Trouble::StickIsPulledOut => {
                self.plug.plug_in().await.expect("a pseudo-terminal");
            }
            Whose::Stick => troubles::end_ant(trouble, &mut self.plug.stick(), 0, LOSS),
            Whose::Strap(strap) if strap >= BELTS => {
                troubles::end_ant(trouble, &mut self.plug.stick(), strap - BELTS, LOSS);
            }
            Whose::Strap(belt) => troubles::end(trouble, &self.fake, belt),
            Whose::Bluetooth => troubles::end(trouble, &self.fake, 0),
        }
        let now_ms = self.now_ms();
        for strap in (0..ALL).filter(|strap| whose.is_of(*strap)) {
            self.could_be[strap] = Some((now_ms, trouble));
        }
    }

    async fn end_all_troubles(&mut self) {
        for it in std::mem::take(&mut self.lasting) {
            self.end(it.trouble, it.whose).await;
        }
    }

    /// Looks who is heard again, and at what the hub takes of the machine.
    fn look(&mut self) {
        let now_ms = self.now_ms();
        for strap in 0..ALL {
            let Some((since_ms, trouble)) = self.could_be[strap] else {
                continue;
            };
            if self.lasting.iter().any(|it| it.whose.is_of(strap)) {
                self.could_be[strap] = None; // the next trouble came before it was heard
                continue;
            }
            // A beat may have been on its way when it fell silent.
            let heard_ms = self.heard_ms(strap);
            let is_heard = heard_ms > since_ms + 1_000;
            let took_ms = if is_heard { heard_ms } else { now_ms } - since_ms;
            let worst_ms = &mut self.counts.entry(trouble).or_default().1;
            *worst_ms = (*worst_ms).max(took_ms);
            if is_heard {
                self.could_be[strap] = None;
                if took_ms > HEARD_WITHIN_MS {
                    let at_s = now_ms as f64 / 1_000.0;
                    println!(
                        "{at_s:8.1} s: {} was silent, {took_ms} ms after {trouble:?}",
                        self.identity(strap)
                    );
                }
            }
        }
        let minute = (now_ms / 60_000) as usize;
        if minute >= self.loads.len() {
            let load = Load {
                memory_kb: self.hub.memory_kb(),
                files: self.hub.counted_in("fd"),
                threads: self.hub.counted_in("task"),
            };
            self.loads.resize(minute + 1, load);
        }
    }

    async fn close(mut self, folder: &Path) {
        let sources = self.hub.get("/api/straps").await["sources"].clone();
        let metrics = self.hub.text("/metrics").await;
        // What a strap sends while the hub ends is nobody's loss to count.
        (0..BELTS).for_each(|belt| self.fake.mute(belt));
        self.plug.unplug().await;
        self.everything_sent_is_heard().await;
        let (status, log) = self.hub.stop().await;
        println!("{log}");
        for (trouble, (count, worst_ms)) in &self.counts {
            println!("{count:4} x {trouble:?}: heard again after {worst_ms} ms at most");
        }
        let told = metrics.lines().filter(|line| told(line));
        told.for_each(|line| println!("{line}"));
        let mut sums = [ledger::Account::default(); 2];
        let rows = ledger::rows(&folder.join("hub.db"));
        for strap in 0..ALL {
            let (kind, was) = match strap.checked_sub(BELTS) {
                None => {
                    let sent = self.fake.sent(strap);
                    (0, sent.iter().flat_map(|value| rr_ms(value)).collect())
                }
                Some(ant) => (1, self.truths[ant].1.intervals_ms()),
            };
            let name = match strap.checked_sub(BELTS) {
                None => format!("ble:{}", self.fake.address(strap)),
                Some(ant) => self.truths[ant].0.clone(),
            };
            sums[kind].add(ledger::account(&name, &was, &rows[&name]));
        }
        println!("over Bluetooth {:?}\nover ANT+ {:?}", sums[0], sums[1]);
        let every = self.loads.len().div_ceil(12);
        let loads = self.loads.iter().step_by(every);
        loads.for_each(|load| println!("{load:?}"));
        assert!(status.success(), "{status}");
        for word in ["panicked", "is at its end", "ERROR"] {
            assert!(!log.contains(word), "the log says {word:?}");
        }
        let sources = sources.as_array().expect("a list");
        assert!(
            sources.iter().all(|source| source["up"] == true),
            "{sources:#?}"
        );
        let limit_ms = match is_load_run() {
            true => HEARD_WITHIN_MS,
            false => HEARD_AT_LAST_MS,
        };
        for (trouble, (_, worst_ms)) in &self.counts {
            assert!(*worst_ms <= limit_ms, "{trouble:?}: {worst_ms} ms");
        }
        let delivered = sums[0];
        assert_eq!(
            (delivered.lost_at_marks, delivered.spanned),
            (0, 0),
            "what BlueZ delivers is kept"
        );
        for counter in [
            "coherence_errors_total",
            "coherence_store_rows_dropped_total",
        ] {
            let lines = metrics.lines().filter(|line| line.starts_with(counter));
            lines.for_each(|line| assert!(line.ends_with(" 0"), "{line}"));
        }
        stays_flat(&self.loads);
        for phone in self.phones {
            assert!(
                phone.await.expect("it ends with the hub") > 0,
                "a phone saw no update"
            );
        }
    }

    /// Waits until the last beat that was sent is on its phone.
    async fn everything_sent_is_heard(&self) {
        let mut last_ms = i64::MIN;
        loop {
            let newest_ms = (0..ALL).map(|strap| self.heard_ms(strap)).max();
            let newest_ms = newest_ms.expect("there are straps");
            if newest_ms == last_ms && self.now_ms() - newest_ms > 10_000 {
                return;
            }
            last_ms = newest_ms;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Holds the last quarter against the second: by then a session has been played through.
fn stays_flat(loads: &[Load]) {
    let mean = |of: fn(&Load) -> f64, from: usize, until: usize| {
        let part = &loads[loads.len() * from / 4..loads.len() * until / 4];
        part.iter().map(of).sum::<f64>() / part.len() as f64
    };
    for (what, of, may_grow) in [
        (
            "memory, kB",
            (|load| load.memory_kb as f64) as fn(&Load) -> f64,
            4_096.0,
        ),
        ("open files", |load| load.files as f64, 4.0),
        ("threads", |load| load.threads as f64, 2.0),
    ] {
        let (before, after) = (mean(of, 1, 2), mean(of, 3, 4));
        println!("{what}: {before:.1} in the second quarter, {after:.1} in the last");
        assert!(after <= before + may_grow, "{what} grow");
    }
}

/// By the clock of the hub and of all troubles, ms.
fn since(began: Instant) -> i64 {
    (began.elapsed() * *SPEED).as_millis() as i64
}

/// What a reader of the run wants to see of the hub's own counters.
fn told(line: &str) -> bool {
    let counters = [
        "coherence_rr_",
        "coherence_beats_",
        "coherence_source_lost",
        "coherence_recovery",
        "coherence_grid_points_skipped",
        "coherence_errors",
        "coherence_store_rows_dropped",
        "coherence_measurements",
        "coherence_frames_dropped",
    ];
    counters.iter().any(|counter| line.starts_with(counter))
}

/// R-R of a value with one byte of heart rate and no energy, ms.
fn rr_ms(value: &[u8]) -> Vec<f64> {
    let pairs = value.get(2..).unwrap_or_default().chunks_exact(2);
    let ticks = pairs.map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    ticks
        .map(|ticks| f64::from(ticks) * 1_000.0 / 1_024.0)
        .collect()
}

/// The hub's numbers of its straps, by their identities, once so many of them are stored.
async fn numbers(database: &Path, how_many: usize) -> BTreeMap<String, u64> {
    let mut numbers = BTreeMap::new();
    support::wait_until("all straps are stored", || {
        numbers = ledger::numbers(database);
        numbers.len() == how_many
    })
    .await;
    numbers
}
