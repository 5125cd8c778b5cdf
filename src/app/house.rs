//! Housekeeping: every few seconds the hub looks at itself, every minute it writes down how it did,
//! once a day it forgets. And systemd's watchdog, which is fed while room and store answer.
//!
//! What the figures mean is judged in `telemetry::load`; here they are collected and handed on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::keep_ms;
use crate::clock::Clock;
use crate::config::{self, Alerts};
use crate::room::rows::Stamp;
use crate::room::view::Phase;
use crate::room_task::{Published, RoomHandle};
use crate::store::{Store, StoreHealth};
use crate::systemd;
use crate::telemetry::load::{Change, Fault, Limits, Now, Watch};
use crate::telemetry::{Condition, Process, PrometheusHandle, Report, metric, tally};

/// Between two looks, ms of the hub's clock.
const LOOK_MS: i64 = 5_000;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;
/// How long room and store may take to answer, before the watchdog goes hungry or a minute is given up.
const PULSE: Duration = Duration::from_secs(5);

/// After they did not.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the housekeeper looks at, and whom it tells.
pub(super) struct House {
    pub store: Store,
    pub clock: Clock,
    pub room: RoomHandle,
    pub recorder: PrometheusHandle,
    pub config: config::Live,
    /// How the hub keeps up.
    pub load: watch::Sender<Report>,
}

/// What was seen at the last look.
struct Before {
    at: Instant,
    process: Process,
    failed: u64,
    lost: u64,
}

impl House {
    /// Keeps house for as long as the hub runs. Forgetting may take minutes, looking must go on.
    pub async fn keep(self) {
        tokio::join!(self.look_on(), self.forget_daily());
    }

    async fn look_on(&self) {
        let mut watch = Watch::default();
        let mut before = Before {
            at: Instant::now(),
            process: Process::now(),
            failed: 0,
            lost: 0,
        };
        let mut minute = self.clock.mono_ms().div_euclid(MINUTE_MS);
        let mut hole = false;
        loop {
            self.look(&mut watch, &mut before);
            let now_ms = self.clock.mono_ms();
            if now_ms.div_euclid(MINUTE_MS) != minute {
                minute = now_ms.div_euclid(MINUTE_MS);
                self.write_minute(&watch, now_ms, &mut hole).await;
            }
            self.clock.sleep_until(now_ms + LOOK_MS).await;
        }
    }

    async fn forget_daily(&self) {
        // Not at once: a clock that was wrong at boot has been set right by then.
        self.clock.sleep_until(self.clock.mono_ms() + HOUR_MS).await;
        loop {
            let next_ms = self.clock.mono_ms() + DAY_MS;
            self.forget().await;
            self.clock.sleep_until(next_ms).await;
        }
    }

    fn look(&self, watch: &mut Watch, before: &mut Before) {
        self.recorder.run_upkeep();
        let health = self.store.health();
        tell_store(&health);
        tally::fault(Fault::Commit, health.failed - before.failed);
        tally::fault(Fault::Row, health.dropped + health.refused - before.lost);
        (before.failed, before.lost) = (health.failed, health.dropped + health.refused);

        let (process, at) = (Process::now(), Instant::now());
        tell_process(&process);
        let mut slice = tally::take();
        slice.lasted_ms = at.duration_since(before.at).as_secs_f64() * 1000.0;
        slice.cpu_ms = process
            .cpu_ms
            .zip(before.process.cpu_ms)
            .map_or(0.0, |(now, then)| now.saturating_sub(then) as f64);
        (before.process, before.at) = (process, at);

        let session = self.room.published().borrow().session.clone();
        let now = Now {
            sessions: u32::from(session.phase == Phase::Active),
            participants: session.participants,
            connections: tally::connections(),
            outbox_rows: tally::outbox_rows(),
            memory_bytes: process.memory_bytes.unwrap_or(0),
        };
        let limits = limits(&self.config.borrow().alerts);
        for Change { raised, text, .. } in watch.look(self.clock.mono_ms(), slice, now, limits) {
            if raised {
                tracing::warn!("{text}");
            } else {
                tracing::info!("{text}");
            }
        }
        self.load.send_if_modified(|shown| {
            let report = watch.report(limits);
            let changed = *shown != report;
            *shown = report;
            changed
        });
    }

    async fn write_minute(&self, watch: &Watch, now_ms: i64, hole: &mut bool) {
        let at = {
            let published = self.room.published();
            let published = published.borrow();
            Stamp {
                mono_ms: now_ms,
                wall_ms: now_ms + published.offset_ms,
                synced: published.clock_synced,
            }
        };
        let writing = self.store.keep_minute(at, watch.figures());
        let why = match tokio::time::timeout(PULSE, writing).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the store is busy".to_owned()),
        };
        match &why {
            Some(why) if !*hole => {
                tracing::warn!("the history has a hole: a minute was not written, {why}")
            }
            None if *hole => tracing::info!("the history goes on"),
            _ => {}
        }
        *hole = why.is_some();
    }

    /// What is older than `privacy.keep_days`, as it is in force now, goes.
    async fn forget(&self) {
        let keep_days = self.config.borrow().privacy.keep_days;
        let kept_ms = keep_ms(keep_days);
        let now = Stamp {
            mono_ms: self.clock.mono_ms(),
            wall_ms: self.clock.wall_ms(),
            synced: self.clock.known(),
        };
        let before = Stamp {
            mono_ms: now.mono_ms - kept_ms,
            wall_ms: now.wall_ms - kept_ms,
            ..now
        };
        let by_network = self.clock.by_network();
        match self.store.forget_old(before, now, by_network).await {
            Ok(()) => tracing::info!(keep_days, "what is older than privacy.keep_days is gone"),
            Err(error) => tracing::warn!(%error, "old rows could not be removed"),
        }
    }
}

fn tell_store(health: &StoreHealth) {
    metrics::counter!(metric::STORE_ROWS_DROPPED).absolute(health.dropped);
    metrics::counter!(metric::STORE_ROWS_REFUSED).absolute(health.refused);
    metrics::counter!(metric::STORE_COMMITS_FAILED).absolute(health.failed);
    metrics::gauge!(metric::STORE_ROWS_WAITING).set(health.waiting_rows as f64);
}

fn tell_process(process: &Process) {
    if let Some(bytes) = process.memory_bytes {
        metrics::gauge!(metric::MEMORY_BYTES).set(bytes as f64);
    }
    if let Some(ms) = process.cpu_ms {
        metrics::counter!(metric::CPU_SECONDS).absolute(ms / 1000);
    }
    if let Some(bytes) = process.written_bytes {
        metrics::counter!(metric::SD_BYTES_WRITTEN).absolute(bytes);
    }
}

fn limits(alerts: &Alerts) -> Limits {
    Limits {
        update_latency_ms: alerts.update_latency_ms,
        memory_mb: alerts.memory_mb,
        errors_per_minute: alerts.errors_per_minute,
    }
}

/// Feeds systemd's watchdog for as long as the room and the store answer, and keeps the line that
/// `systemctl status` shows.
pub(super) async fn feed_watchdog(
    interval: Duration,
    room: RoomHandle,
    store: Store,
    load: watch::Receiver<Report>,
    address: SocketAddr,
) {
    let mut shown = String::new();
    loop {
        let lives = alive(&room, &store, PULSE).await;
        if lives {
            systemd::feed_watchdog();
        }
        let line = status_line(&room.published().borrow(), &load.borrow(), address);
        if line != shown {
            systemd::status(&line);
            shown = line;
        }
        // A card that stood still for some seconds and goes on is no reason to be killed: after a look
        // in vain the next one comes before systemd's time is up.
        tokio::time::sleep(if lives { interval } else { LOOK_AGAIN }).await;
    }
}

/// Whether both that must go on do: each shows it by answering.
async fn alive(room: &RoomHandle, store: &Store, patience: Duration) -> bool {
    let (room_answers, store_answers) = tokio::join!(
        tokio::time::timeout(patience, room.ping()),
        tokio::time::timeout(patience, store.ping())
    );
    let room_answers = room_answers.unwrap_or(false);
    let store_answers = matches!(store_answers, Ok(Ok(())));
    if !(room_answers && store_answers) {
        tracing::error!(room_answers, store_answers, "the watchdog is not fed");
    }
    room_answers && store_answers
}

/// One line for the admin: where, who, and what is wrong.
fn status_line(published: &Arc<Published>, load: &Report, address: SocketAddr) -> String {
    let session = &published.session;
    let mut line = format!(
        "Serving on {address}: {} people, {} hearts scored in session {}.",
        session.participants, session.scored, session.id
    );
    let down = published.sources.iter().filter(|source| !source.up);
    let late = (load.status == Condition::Degraded).then_some(&load.text);
    for text in down.map(|source| &source.text).chain(late) {
        line.push(' ');
        line.push_str(text);
    }
    line
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::config::Trust;
    use crate::room::{ClockReading, Remembered, Room};
    use crate::room_task::{self, Parts};
    use crate::store::{self, Boot};

    /// A room and a store that live, and what they live in.
    struct Living {
        room: RoomHandle,
        store: Store,
        task: tokio::task::JoinHandle<Result<(), room_task::RoomTaskError>>,
        _stop: watch::Sender<bool>,
        _dir: tempfile::TempDir,
    }

    fn living() -> Living {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::system(Trust::Always);
        let reading = ClockReading {
            mono_ms: clock.mono_ms(),
            wall_ms: clock.wall_ms(),
            known: true,
        };
        let boot = Boot {
            boot_id: "test".into(),
            start: Stamp {
                mono_ms: reading.mono_ms,
                wall_ms: reading.wall_ms,
                synced: true,
            },
        };
        let (store, _) = store::open(&dir.path().join("hub.db"), boot).unwrap();
        let settings = super::super::settings(&config::Config::default());
        let room = Room::new(settings, "test", reading, Remembered::default());
        let Parts { task, handle, .. } = room_task::prepare(room, clock, store.clone(), Vec::new());
        let (stop, stopped) = watch::channel(false);
        Living {
            room: handle,
            store,
            task: tokio::spawn(task.run(stopped)),
            _stop: stop,
            _dir: dir,
        }
    }

    #[test]
    fn after_a_look_in_vain_the_next_one_comes_before_systemd_loses_patience() {
        let unit = include_str!("../../systemd/coherence-hub.service");
        let patience = unit
            .lines()
            .find_map(|line| line.strip_prefix("WatchdogSec="))
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs)
            .expect("the unit says how long");
        // As `systemd::watchdog_interval` halves it.
        let fed_again = patience / 2 + PULSE + LOOK_AGAIN + PULSE;
        assert!(fed_again < patience, "{fed_again:?}");
    }

    const SOON: Duration = Duration::from_millis(50);

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_is_stuck_starves_the_watchdog_until_it_goes_on() {
        let hub = living();
        assert!(alive(&hub.room, &hub.store, PULSE).await);
        let (release, stuck) = mpsc::channel::<()>();
        let hold = move |_| {
            let _ = stuck.recv();
        };
        hub.store.commit_then(Vec::new(), Box::new(hold));
        assert!(!alive(&hub.room, &hub.store, SOON).await);
        drop(release);
        assert!(alive(&hub.room, &hub.store, PULSE).await);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_room_that_is_gone_starves_the_watchdog() {
        let hub = living();
        assert!(alive(&hub.room, &hub.store, PULSE).await);
        hub.task.abort();
        let _ = hub.task.await;
        assert!(!alive(&hub.room, &hub.store, SOON).await);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_status_line_says_what_is_wrong() {
        let hub = living();
        let published = hub.room.published().borrow().clone();
        let address = ([127, 0, 0, 1], 8080).into();
        let fine = status_line(&published, &Report::ok("Everything is on time."), address);
        assert!(
            fine.starts_with("Serving on 127.0.0.1:8080: 0 people"),
            "{fine}"
        );
        assert!(!fine.contains("on time"), "{fine}");
        let late = status_line(&published, &Report::degraded("Updates are late."), address);
        assert!(late.ends_with("Updates are late."), "{late}");
    }
}
