//! The Bluetooth source against a fake bluetoothd on a private bus: btleplug, libdbus and every
//! D-Bus message are real, the radio is not. Pure decisions are tested beside their code; real
//! BlueZ is for the VM.
//!
//! libdbus reads `DBUS_SYSTEM_BUS_ADDRESS` once per process, so each scenario runs in a process of
//! its own: this binary again, with the variable set.

#![cfg(feature = "ble")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coherence_hal::ble::{BleOptions, BleSource};
use coherence_hal::{
    Link, Rr, SourceClock, SourceEvent, SourceState, StrapId, StrapNews, StrapSource,
};
use support::fake_bluez::FakeBluez;
use support::private_bus::PrivateBus;
use tokio::time::timeout;

const FOLDER: &str = "COHERENCE_TEST_BUS_FOLDER";

/// Every scenario is a `#[test]` that runs itself once more in a child process.
macro_rules! scenario {
    ($(#[doc = $doc:expr])* async fn $name:ident($folder:ident) $body:block) => {
        $(#[doc = $doc])*
        #[test]
        fn $name() {
            in_own_process(stringify!($name), |$folder: PathBuf| async move { $body });
        }
    };
}

fn in_own_process<F: Future<Output = ()>>(name: &str, scenario: impl FnOnce(PathBuf) -> F) {
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
    FakeBluez::start_on(PrivateBus::start_in(folder), n_straps).await
}

/// The source and everything it said, with the time since the beginning.
struct Ear {
    source: BleSource,
    began: Instant,
    states: Vec<(Duration, SourceState)>,
    straps: BTreeMap<StrapId, Heard>,
}

#[derive(Default)]
struct Heard {
    links: Vec<(Duration, Link)>,
    rr: Vec<Rr>,
    names: Vec<Option<String>>,
    malformed: usize,
    batteries: Vec<u8>,
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
            move || began.elapsed().as_millis() as i64,
            move |at_ms| {
                let until = began + Duration::from_millis(at_ms.max(0) as u64);
                Box::pin(tokio::time::sleep_until(until.into()))
            },
        );
        let source = BleSource::new(clock, options);
        Ear {
            source,
            began,
            states: Vec::new(),
            straps: BTreeMap::new(),
        }
    }

    fn hearing() -> Self {
        Self::new(BleOptions::default())
    }

    /// Listens until `enough` holds; fails after `seconds`, saying what was waited for.
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
        println!("{:7.3} s  {what}", self.began.elapsed().as_secs_f64());
    }

    fn note(&mut self, event: SourceEvent) {
        let at = self.began.elapsed();
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
                    StrapNews::Duplicate | StrapNews::About(_) | StrapNews::Beats(_) => {}
                }
            }
            SourceEvent::Step(_) | SourceEvent::Counted { .. } | SourceEvent::Links(_) => {}
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
        let mut lines = vec![format!("states {:#?}", self.states)];
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

scenario! {
    async fn three_straps_stream_and_lose_no_interval(folder) {
        let fake = fake_in(&folder, 3).await;
        let mut ear = Ear::hearing();
        ear.until(15, "3 straps streaming", |ear| ear.all_delivered(3, 1)).await;
        ear.until(15, "6 intervals from each", |ear| ear.all_delivered(3, 6)).await;
        for i in 0..3 {
            ear.assert_nothing_lost(&fake, i);
            assert_eq!(ear.strap(i).batteries, [90]);
            assert!(ear.strap(i).downs().is_empty());
        }
        assert_eq!(ear.strap(0).names[0].as_deref(), Some("Polar H10 8C2F1A21"));
        assert_eq!(ear.codes(), ["listening"]);
    }
}

scenario! {
    async fn sixteen_straps_stream_and_connect_one_at_a_time(folder) {
        let fake = fake_in(&folder, 16).await;
        let mut ear = Ear::hearing();
        ear.until(40, "16 straps streaming", |ear| ear.all_delivered(16, 1)).await;
        ear.until(30, "8 intervals from each", |ear| ear.all_delivered(16, 8)).await;
        for i in 0..16 {
            ear.assert_nothing_lost(&fake, i);
        }
        assert_eq!(fake.most_connects_at_once(), 1);
    }
}

scenario! {
    async fn a_dropped_strap_is_down_at_once_and_comes_back_as_itself_while_others_lose_nothing(folder) {
        let fake = fake_in(&folder, 12).await;
        let mut ear = Ear::hearing();
        ear.until(40, "12 straps streaming", |ear| ear.all_delivered(12, 2)).await;
        fake.drop_link(4);
        let dropped = ear.began.elapsed();
        ear.until(8, "strap 4 is down", |ear| !ear.strap(4).downs().is_empty()).await;
        assert_eq!(ear.strap(4).downs()[0].1, "the link broke");
        let before = ear.strap(4).rr.len();
        ear.until(15, "strap 4 is back", |ear| ear.strap(4).rr.len() >= before + 3).await;
        println!("down after {:?}", ear.strap(4).downs()[0].0 - dropped);
        for i in 0..12 {
            ear.assert_nothing_lost(&fake, i);
            assert!(i == 4 || ear.strap(i).downs().is_empty(), "strap {i} was disturbed");
        }
        assert_eq!(ear.straps.len(), 12);
    }
}

scenario! {
    async fn a_drop_that_bluez_does_not_announce_is_noticed_within_8_s(folder) {
        let fake = fake_in(&folder, 2).await;
        let mut ear = Ear::hearing();
        ear.until(15, "2 straps streaming", |ear| ear.all_delivered(2, 2)).await;
        fake.drop_link_silently(0);
        ear.until(8, "strap 0 is down", |ear| !ear.strap(0).downs().is_empty()).await;
        let before = ear.strap(0).rr.len();
        ear.until(15, "strap 0 is back", |ear| ear.strap(0).rr.len() >= before + 2).await;
        ear.assert_nothing_lost(&fake, 0);
        ear.assert_nothing_lost(&fake, 1);
        assert!(ear.strap(1).downs().is_empty());
    }
}

scenario! {
    async fn a_linked_but_silent_strap_is_down_and_a_new_subscription_wakes_it(folder) {
        let fake = fake_in(&folder, 1).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(1, 2)).await;
        fake.mute_until_subscribed(0);
        ear.until(14, "down", |ear| !ear.strap(0).downs().is_empty()).await;
        assert_eq!(ear.strap(0).downs()[0].1, "no data for 12 s");
        let before = ear.strap(0).rr.len();
        ear.until(5, "speaking again", |ear| ear.strap(0).rr.len() >= before + 2).await;
        assert!(ear.strap(0).is_up());
        assert_eq!(fake.connects(0).len(), 1, "the link itself was kept");
    }
}

scenario! {
    async fn a_strap_that_stays_silent_is_connected_anew(folder) {
        let fake = fake_in(&folder, 2).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(2, 2)).await;
        fake.mute(0);
        ear.until(30, "connected anew", |_| fake.connects(0).len() == 2).await;
        assert_eq!(ear.strap(0).downs().len(), 1);
        fake.unmute(0);
        let before = ear.strap(0).rr.len();
        ear.until(15, "speaking again", |ear| ear.strap(0).rr.len() >= before + 2).await;
        ear.assert_nothing_lost(&fake, 0);
        ear.assert_nothing_lost(&fake, 1);
        assert!(ear.strap(1).downs().is_empty());
    }
}

scenario! {
    async fn malformed_values_are_counted_and_bursts_arrive_whole(folder) {
        let fake = fake_in(&folder, 1).await;
        fake.mute(0);
        let mut ear = Ear::hearing();
        ear.until(15, "linked", |ear| ear.straps.get(&id(0)).is_some_and(Heard::is_up)).await;
        assert!(fake.notify(0, &[]));
        assert!(fake.notify(0, &[0x01, 0x40]));
        for k in 0..10u8 {
            assert!(fake.notify(0, &[0x16, 60, k, 4]));
        }
        ear.until(3, "all of them", |ear| ear.strap(0).malformed == 2 && ear.strap(0).rr.len() == 10)
            .await;
        assert_eq!(ear.strap(0).rr[9], Rr::Ticks(0x409));
        assert!(ear.strap(0).downs().is_empty());
    }
}

scenario! {
    async fn an_adapter_that_is_unplugged_and_back_brings_its_straps_back(folder) {
        let fake = fake_in(&folder, 3).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(3, 2)).await;
        fake.remove_adapter();
        ear.until(8, "no adapter", |ear| ear.state() == "no_adapter").await;
        ear.until(8, "all down", |ear| ear.straps.values().all(|s| !s.downs().is_empty())).await;
        // BlueZ says of each link that it ended before it says that the adapter did.
        let named = |why: &str| ["the link broke", "adapter gone"].contains(&why);
        assert!(ear.straps.values().all(|s| named(s.downs()[0].1)), "{}", ear.report());
        assert_eq!(ear.codes(), ["listening", "no_adapter"]);
        fake.add_adapter();
        let before: usize = ear.straps.values().map(|s| s.rr.len()).max().unwrap();
        ear.until(20, "all back", |ear| ear.all_delivered(3, before + 2)).await;
        assert_eq!(ear.state(), "listening");
        (0..3).for_each(|i| ear.assert_nothing_lost(&fake, i));
    }
}

scenario! {
    async fn an_adapter_blocked_by_rfkill_is_said_and_recovers_when_released(folder) {
        let fake = fake_in(&folder, 1).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(1, 1)).await;
        fake.block_adapter(true);
        ear.until(5, "adapter off", |ear| ear.state() == "adapter_off").await;
        ear.until(8, "down", |ear| !ear.strap(0).downs().is_empty()).await;
        fake.block_adapter(false);
        let before = ear.strap(0).rr.len();
        ear.until(15, "streaming again", |ear| ear.strap(0).rr.len() > before).await;
        assert_eq!(ear.codes(), ["listening", "adapter_off", "listening"]);
    }
}

scenario! {
    async fn bluetoothd_that_dies_and_returns_is_recovered_from(folder) {
        let fake = fake_in(&folder, 3).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(3, 2)).await;
        fake.stop();
        ear.until(8, "recovering", |ear| ear.state() == "recovering").await;
        ear.until(8, "all down", |ear| ear.straps.values().all(|s| !s.downs().is_empty())).await;
        ear.until(15, "no bluetoothd", |ear| ear.state() == "no_bluetoothd").await;
        fake.resume();
        let before: usize = ear.straps.values().map(|s| s.rr.len()).max().unwrap();
        ear.until(20, "all back", |ear| ear.all_delivered(3, before + 2)).await;
        assert_eq!(ear.codes(), ["listening", "recovering", "no_bluetoothd", "listening"]);
        (0..3).for_each(|i| ear.assert_nothing_lost(&fake, i));
    }
}

scenario! {
    async fn bluetoothd_that_dies_in_mid_connect_is_recovered_from(folder) {
        let fake = fake_in(&folder, 2).await;
        fake.vanish(1);
        fake.set_connect_time(1, Duration::from_secs(20));
        let mut ear = Ear::hearing();
        ear.until(15, "0 streaming", |ear| ear.all_delivered(1, 1)).await;
        fake.come_back(1);
        ear.until(15, "1 in mid-connect", |_| fake.connects(1).len() == 1).await;
        fake.stop();
        ear.until(8, "recovering", |ear| ear.state() == "recovering").await;
        fake.set_connect_time(1, Duration::from_millis(100));
        fake.resume();
        ear.until(20, "both streaming", |ear| ear.all_delivered(2, 3)).await;
    }
}

scenario! {
    async fn the_bus_itself_dies_and_returns(folder) {
        let mut fake = fake_in(&folder, 3).await;
        fake.vanish(2);
        fake.set_discovery_time(2, Duration::from_secs(20));
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(2, 1)).await;
        fake.come_back(2);
        ear.until(15, "another is being linked", |_| fake.is_linked(2)).await;
        let killed_at = Instant::now();
        fake.kill_bus();
        ear.until(5, "recovering", |ear| ear.state() == "recovering").await;
        ear.until(8, "all down", |ear| ear.straps.values().all(|s| !s.downs().is_empty())).await;
        assert_eq!(ear.strap(0).downs()[0].1, "the D-Bus system bus is gone");
        ear.until(15, "no bus", |ear| ear.state() == "no_bus").await;
        fake.revive_bus(2);
        let before: usize = ear.straps.values().map(|s| s.rr.len()).max().unwrap();
        ear.until(25, "all back", |ear| {
            (0..2).all(|i| ear.strap(i).rr.len() > before)
        }).await;
        assert_eq!(ear.state(), "listening");
        // What btleplug left undone on the dead bus times out after 10 s, and may then panic.
        ear.until(20, "nothing panicked", |_| killed_at.elapsed() > Duration::from_secs(15)).await;
    }
}

scenario! {
    async fn without_a_bus_the_source_says_so_and_waits_for_one(folder) {
        let mut ear = Ear::hearing();
        ear.until(5, "no bus", |ear| ear.state() == "no_bus").await;
        assert!(ear.states[0].1.text.contains("dbus"), "{}", ear.states[0].1.text);
        let bus = PrivateBus::start_in(&folder);
        ear.until(10, "no bluetoothd", |ear| ear.state() == "no_bluetoothd").await;
        let _fake = FakeBluez::start_on(bus, 1).await;
        ear.until(20, "streaming", |ear| ear.all_delivered(1, 1)).await;
        assert_eq!(ear.codes(), ["no_bus", "no_bluetoothd", "listening"]);
    }
}

scenario! {
    async fn a_slow_connect_does_not_stop_the_others(folder) {
        let fake = fake_in(&folder, 3).await;
        fake.set_connect_time(1, Duration::from_secs(8));
        let mut ear = Ear::hearing();
        ear.until(30, "the slow one is up", |ear| {
            ear.straps.get(&id(1)).is_some_and(Heard::is_up)
        }).await;
        ear.until(10, "all streaming", |ear| ear.all_delivered(3, 2)).await;
        (0..3).for_each(|i| ear.assert_nothing_lost(&fake, i));
        assert_eq!(fake.most_connects_at_once(), 1);
    }
}

scenario! {
    async fn refused_connects_back_off_and_succeed_later(folder) {
        let fake = fake_in(&folder, 2).await;
        fake.refuse_connect(0, Some("le-connection-abort-by-local"));
        let mut ear = Ear::hearing();
        ear.until(30, "4 refused connects", |_| fake.connects(0).len() == 4).await;
        let at = fake.connects(0);
        let pauses: Vec<Duration> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses[0] >= Duration::from_millis(500), "{pauses:?}");
        assert!(pauses[1] >= Duration::from_secs(1), "{pauses:?}");
        assert!(pauses[2] >= Duration::from_secs(2), "{pauses:?}");
        assert!(ear.strap(0).downs()[0].1.contains("watch or phone"), "{:?}", ear.strap(0).downs());
        fake.refuse_connect(0, None);
        ear.until(15, "both streaming", |ear| ear.all_delivered(2, 1)).await;
        assert!(ear.strap(1).downs().is_empty());
    }
}

scenario! {
    async fn a_strap_forgotten_by_bluez_returns_under_the_same_id(folder) {
        let fake = fake_in(&folder, 2).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(2, 2)).await;
        fake.vanish_and_be_forgotten(0);
        ear.until(8, "down", |ear| !ear.strap(0).downs().is_empty()).await;
        let others = ear.strap(1).rr.len();
        ear.until(30, "the other goes on", |ear| ear.strap(1).rr.len() >= others + 5).await;
        assert_eq!(fake.connects(0).len(), 1, "nobody is connected to who is not in the air");
        fake.come_back(0);
        let before = ear.strap(0).rr.len();
        ear.until(15, "back", |ear| ear.strap(0).rr.len() >= before + 2).await;
        assert_eq!(ear.straps.len(), 2);
        ear.assert_nothing_lost(&fake, 0);
        ear.assert_nothing_lost(&fake, 1);
    }
}

scenario! {
    async fn a_link_that_comes_up_after_its_connect_failed_is_ended_and_made_anew(folder) {
        let fake = fake_in(&folder, 1).await;
        fake.fail_then_link_late(0);
        let mut ear = Ear::hearing();
        ear.until(20, "streaming", |ear| ear.all_delivered(1, 3)).await;
        assert_eq!(fake.connects(0).len(), 2);
        ear.assert_nothing_lost(&fake, 0);
    }
}

scenario! {
    async fn a_link_left_by_a_crash_is_ended_and_made_anew(folder) {
        let fake = fake_in(&folder, 1).await;
        fake.leave_link_behind(0);
        let mut ear = Ear::hearing();
        ear.until(20, "streaming", |ear| ear.all_delivered(1, 2)).await;
        assert_eq!(fake.connects(0).len(), 1);
    }
}

scenario! {
    async fn a_scan_that_goes_silent_without_an_error_is_started_again(folder) {
        let fake = fake_in(&folder, 2).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(2, 1)).await;
        fake.deafen();
        fake.drop_link(0);
        let before = ear.strap(0).rr.len();
        ear.until(75, "back", |ear| ear.strap(0).rr.len() >= before + 2).await;
        ear.assert_nothing_lost(&fake, 1);
        assert_eq!(ear.codes(), ["listening"]);
    }
}

scenario! {
    async fn a_strap_beyond_the_link_budget_is_told_once_and_served_when_a_place_is_free(folder) {
        let fake = fake_in(&folder, 3).await;
        let mut ear = Ear::new(BleOptions { adapter: Some("hci0".into()), max_links: 2 });
        let full = "the adapter's 2 links are taken";
        let told = |ear: &Ear| ear.straps.values().flat_map(Heard::downs).filter(|d| d.1 == full).count();
        ear.until(15, "one is told, two stream", |ear| {
            told(ear) == 1 && ear.straps.values().filter(|s| s.rr.len() >= 3).count() == 2
        }).await;
        let queued = (0..3).find(|&i| !ear.strap(i).is_up()).unwrap();
        fake.vanish((queued + 1) % 3);
        ear.until(80, "the queued one is served", |ear| ear.strap(queued).rr.len() >= 2).await;
        assert_eq!(told(&ear), 1);
    }
}

scenario! {
    async fn an_adapter_that_is_not_there_is_named(folder) {
        let _fake = fake_in(&folder, 1).await;
        let mut ear = Ear::new(BleOptions { adapter: Some("hci7".into()), max_links: 16 });
        ear.until(5, "no adapter", |ear| ear.state() == "no_adapter").await;
        assert!(ear.states[0].1.text.contains("hci7"));
    }
}

/// What `StrapSource::close` may take, and a little for a busy machine.
const CLOSED_WITHIN: Duration = Duration::from_millis(4500);

async fn close(ear: &mut Ear) {
    let began = Instant::now();
    ear.source.close().await;
    println!("closed in {:?}", began.elapsed());
    assert!(began.elapsed() < CLOSED_WITHIN, "{:?}", began.elapsed());
}

scenario! {
    async fn a_source_that_closes_lets_go_of_every_strap_and_ends_the_scan(folder) {
        let fake = fake_in(&folder, 8).await;
        fake.vanish(6);
        fake.vanish(7);
        (0..8).for_each(|i| fake.set_disconnect_time(i, Duration::from_secs(2)));
        fake.set_connect_time(6, Duration::from_secs(3));
        let mut ear = Ear::hearing();
        ear.until(30, "6 straps streaming", |ear| ear.all_delivered(6, 1)).await;
        fake.come_back(6);
        ear.until(15, "another in mid-connect", |_| fake.connects(6).len() == 1).await;
        fake.come_back(7);
        close(&mut ear).await;
        let linked = || (0..8).filter(|&i| fake.is_linked(i)).collect::<Vec<_>>();
        assert_eq!(linked(), [0; 0]);
        assert!(!fake.is_scanning());
        // Nothing comes back by itself, and nothing that was broken off panics.
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert_eq!(linked(), [0; 0]);
        assert!(!fake.is_scanning());
        assert_eq!(fake.connects(7).len(), 0);
    }
}

scenario! {
    async fn a_source_whose_hub_no_longer_listens_closes_all_the_same(folder) {
        let fake = fake_in(&folder, 3).await;
        let mut ear = Ear::hearing();
        ear.until(15, "3 straps streaming", |ear| ear.all_delivered(3, 1)).await;
        for i in 0..3 {
            fake.stream(i, Duration::from_millis(1), |k| vec![0x16, 60, k as u8, 4]);
        }
        // More than fits between source and hub, so that every task waits for the hub.
        let sent = || (0..3).map(|i| fake.sent(i).len()).sum::<usize>();
        while sent() < 2000 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        close(&mut ear).await;
        assert!((0..3).all(|i| !fake.is_linked(i)));
        assert!(!fake.is_scanning());
    }
}

scenario! {
    async fn a_source_closes_in_time_without_bluetoothd_and_without_a_bus(folder) {
        let mut ear = Ear::hearing();
        ear.until(5, "no bus", |ear| ear.state() == "no_bus").await;
        close(&mut ear).await;
        let mut fake = fake_in(&folder, 2).await;
        for bus_dies in [false, true] {
            let mut ear = Ear::hearing();
            ear.until(20, "streaming", |ear| ear.all_delivered(2, 1)).await;
            if bus_dies {
                fake.kill_bus();
            } else {
                fake.stop();
            }
            close(&mut ear).await;
            if !bus_dies {
                fake.resume();
            }
        }
    }
}

scenario! {
    async fn a_source_that_was_never_heard_closes_at_once(folder) {
        let fake = fake_in(&folder, 1).await;
        let mut ear = Ear::hearing();
        close(&mut ear).await;
        assert!(!fake.is_scanning());
    }
}
