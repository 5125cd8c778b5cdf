//! The hub's two clocks, and waiting on them.
//!
//! `mono_ms` never jumps and everything is scheduled by it; `wall_ms` is what the world calls the
//! time and may jump, so it is only read where a session's grid is laid and where rows are
//! stamped. When to adopt a new offset between the two is the room's decision, not made here.
//! Pure code gets no `Clock`: it is handed the time.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::config::{self, Trust};

/// A wall clock that shows an earlier moment than this (1 September 2026, before the first
/// release) is wrong, whatever else speaks for it.
pub const RELEASED_MS: i64 = 1_788_220_800_000;

/// Longest wait in one piece. tokio's timers stand still while the machine sleeps, ours do not;
/// waking now and then bounds how late we notice.
const LONGEST_NAP_MS: f64 = 10_000.0;

/// A cheap handle: clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System {
        trust: Trust,
    },
    Scaled {
        trust: Trust,
        speed: f64,
        /// Where scaled and real wall clock agree.
        anchor_ms: i64,
    },
    Manual(watch::Receiver<Shown>),
}

/// What a manual clock shows.
#[derive(Clone, Copy, Debug)]
struct Shown {
    mono_ms: i64,
    wall_ms: i64,
    known: bool,
}

impl Clock {
    /// The clock that the configuration asks for.
    pub fn configured(clock: &config::Clock, test: &config::Test) -> Self {
        if test.clock_speed == 1.0 && test.clock_anchor_ms.is_none() {
            Clock::system(clock.trust)
        } else {
            Clock::scaled(test.clock_speed, test.clock_anchor_ms, clock.trust)
        }
    }

    /// The machine's own clocks.
    pub fn system(trust: Trust) -> Self {
        Clock(Kind::System { trust })
    }

    /// Both clocks run `speed` times as fast as the machine's. `mono_ms` is the scaled time since
    /// boot, so it goes on over a restart of the process; `wall_ms` does too if `anchor_ms` (the
    /// Unix time at which the scaled and the real wall clock agree) is given. Without it they
    /// agree now.
    pub fn scaled(speed: f64, anchor_ms: Option<i64>, trust: Trust) -> Self {
        let anchor_ms = anchor_ms.unwrap_or_else(real_wall_ms);
        Clock(Kind::Scaled {
            trust,
            speed,
            anchor_ms,
        })
    }

    /// A clock that only moves when it is told to; its wall clock is known to be right at first.
    pub fn manual(mono_ms: i64, wall_ms: i64) -> (Self, ManualClock) {
        let (sender, receiver) = watch::channel(Shown {
            mono_ms,
            wall_ms,
            known: true,
        });
        (Clock(Kind::Manual(receiver)), ManualClock(sender))
    }

    /// Milliseconds since boot, sleep of the machine included. Never goes back within one boot.
    pub fn mono_ms(&self) -> i64 {
        match &self.0 {
            Kind::System { .. } => boottime_ms() as i64,
            Kind::Scaled { speed, .. } => (boottime_ms() * speed) as i64,
            Kind::Manual(shown) => shown.borrow().mono_ms,
        }
    }

    /// How long ago a moment of this clock is, in real time; nothing for one that is yet to come.
    pub fn since(&self, at_ms: i64) -> Duration {
        let at_ms = at_ms as f64;
        let ago_ms = match &self.0 {
            Kind::System { .. } => boottime_ms() - at_ms,
            Kind::Scaled { speed, .. } => boottime_ms() - at_ms / speed,
            Kind::Manual(shown) => shown.borrow().mono_ms as f64 - at_ms,
        };
        Duration::from_secs_f64(ago_ms.max(0.0) / 1000.0)
    }

    /// Unix milliseconds by the wall clock, right or not.
    pub fn wall_ms(&self) -> i64 {
        match &self.0 {
            Kind::System { .. } => real_wall_ms(),
            Kind::Scaled {
                speed, anchor_ms, ..
            } => {
                let since_anchor_ms = (real_wall_ms() - anchor_ms) as f64;
                anchor_ms + (since_anchor_ms * speed) as i64
            }
            Kind::Manual(shown) => shown.borrow().wall_ms,
        }
    }

    /// Whether the wall clock is known to be right.
    pub fn known(&self) -> bool {
        match &self.0 {
            Kind::System { trust } | Kind::Scaled { trust, .. } => match trust {
                Trust::Always => true,
                Trust::Auto => vouched_for(real_wall_ms(), kernel_synchronised(), Path::new("/")),
            },
            Kind::Manual(shown) => shown.borrow().known,
        }
    }

    /// Whether the wall clock is kept right over the network, or by somebody's word: more than the word
    /// of a battery clock, which may have been set wrong by years.
    pub fn by_network(&self) -> bool {
        match &self.0 {
            Kind::System { trust } | Kind::Scaled { trust, .. } => match trust {
                Trust::Always => true,
                Trust::Auto => synchronised(kernel_synchronised(), Path::new("/")),
            },
            Kind::Manual(shown) => shown.borrow().known,
        }
    }

    /// Returns once `mono_ms()` shows `at_ms` or later. Cancel-safe.
    pub async fn sleep_until(&self, at_ms: i64) {
        let speed = match &self.0 {
            Kind::System { .. } => 1.0,
            Kind::Scaled { speed, .. } => *speed,
            Kind::Manual(shown) => {
                let mut shown = shown.clone();
                if shown.wait_for(|now| now.mono_ms >= at_ms).await.is_err() {
                    // Nobody is left who could move this clock.
                    std::future::pending::<()>().await;
                }
                return;
            }
        };
        loop {
            let left_ms = (at_ms as f64 - boottime_ms() * speed) / speed;
            if self.mono_ms() >= at_ms {
                return;
            }
            let nap_ms = left_ms.clamp(0.1, LONGEST_NAP_MS);
            tokio::time::sleep(Duration::from_secs_f64(nap_ms / 1000.0)).await;
        }
    }

    /// The same clock for a source of straps.
    pub fn source_clock(&self) -> coherence_hal::SourceClock {
        let (now, sleep) = (self.clone(), self.clone());
        coherence_hal::SourceClock::new(
            move || now.mono_ms(),
            move |at_ms| {
                let clock = sleep.clone();
                Box::pin(async move { clock.sleep_until(at_ms).await })
            },
        )
    }
}

/// Moves a manual clock. Sleepers wake as soon as their time is shown.
#[derive(Debug)]
pub struct ManualClock(watch::Sender<Shown>);

impl ManualClock {
    /// Both clocks go forward by `by_ms`.
    pub fn advance(&self, by_ms: i64) {
        assert!(by_ms >= 0, "a monotonic clock does not go back");
        self.0.send_modify(|shown| {
            shown.mono_ms += by_ms;
            shown.wall_ms += by_ms;
        });
    }

    /// Both clocks go forward until the monotonic one shows `mono_ms`.
    pub fn advance_to(&self, mono_ms: i64) {
        let now_ms = self.0.borrow().mono_ms;
        self.advance(mono_ms - now_ms);
    }

    /// The wall clock alone jumps, as when the time is set.
    pub fn set_wall(&self, wall_ms: i64) {
        self.0.send_modify(|shown| shown.wall_ms = wall_ms);
    }

    /// Whether the wall clock is known to be right from now on.
    pub fn set_known(&self, known: bool) {
        self.0.send_modify(|shown| shown.known = known);
    }
}

/// Names this boot: monotonic times of different boots can't be compared.
pub fn boot_id() -> String {
    match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(text) => text.trim().into(),
        // A name of this process's own keeps its times apart from everybody's: safe, if coarse.
        Err(_) => uuid::Uuid::new_v4().to_string(),
    }
}

fn real_wall_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock set before 1970 reads as 1970: it is wrong anyway, and `known` says so.
    since_1970.map_or(0, |since| since.as_millis() as i64)
}

/// Milliseconds since boot, sleep of the machine included, with their fraction.
fn boottime_ms() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    #[allow(unsafe_code)] // std has no CLOCK_BOOTTIME
    // SAFETY: the pointer is to a local timespec, which the call only writes to.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    assert_eq!(answer, 0, "CLOCK_BOOTTIME exists since Linux 2.6.39");
    time.tv_sec as f64 * 1000.0 + time.tv_nsec as f64 / 1e6
}

/// Whether the kernel says that something keeps its clock synchronised (any NTP daemon tells it).
/// An error if we may not ask; then others are asked.
fn kernel_synchronised() -> io::Result<bool> {
    #[allow(unsafe_code)] // std does not know adjtimex
    // SAFETY: a timex is plain integers, for which zero is a value; with `modes` zero the call
    // reads the clock's state into it and changes nothing.
    let (state, status) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&mut timex), timex.status)
    };
    if state == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(status & libc::STA_UNSYNC == 0)
}

/// Whether somebody vouches for the wall clock, on the machine whose files are under `root`.
fn vouched_for(wall_ms: i64, kernel: io::Result<bool>, root: &Path) -> bool {
    let there = |path: &str| root.join(path).exists();
    // A battery clock was right once; one that shows a time before this program existed has lost
    // its battery.
    let battery_clock = || there("sys/class/rtc/rtc0") && wall_ms >= RELEASED_MS;
    synchronised(kernel, root) || battery_clock()
}

/// Whether the wall clock is set over the network.
fn synchronised(kernel: io::Result<bool>, root: &Path) -> bool {
    kernel.unwrap_or(false) || root.join("run/systemd/timesync/synchronized").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn scaled(speed: f64, anchor_ms: i64) -> Clock {
        Clock::scaled(speed, Some(anchor_ms), Trust::Always)
    }

    #[test]
    fn the_system_clock_shows_boottime_and_the_time_of_day() {
        let clock = Clock::system(Trust::Auto);
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime_s: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        assert!((clock.mono_ms() as f64 / 1000.0 - uptime_s).abs() < 5.0);
        assert!((clock.wall_ms() - real_wall_ms()).abs() < 5000);
    }

    #[test]
    fn a_scaled_clock_runs_faster_on_both_counts() {
        let clock = scaled(1000.0, real_wall_ms());
        let before = (clock.mono_ms(), clock.wall_ms());
        std::thread::sleep(Duration::from_millis(20));
        let after = (clock.mono_ms(), clock.wall_ms());
        assert!(after.0 - before.0 >= 20_000);
        // The real wall clock counts whole milliseconds here.
        assert!(after.1 - before.1 >= 18_000);
    }

    #[test]
    fn a_scaled_clock_agrees_with_the_real_one_at_its_anchor_and_after_a_restart() {
        let anchor_ms = real_wall_ms() - HOUR_MS;
        let first = scaled(60.0, anchor_ms);
        let ahead_ms = first.wall_ms() - real_wall_ms();
        assert!((ahead_ms - 59 * HOUR_MS).abs() < 60_000, "{ahead_ms}");
        // Another process with the same configuration shows the same times.
        let again = scaled(60.0, anchor_ms);
        assert!((again.wall_ms() - first.wall_ms()).abs() < 60_000);
        assert!((again.mono_ms() - first.mono_ms()).abs() < 60_000);
    }

    #[test]
    fn without_an_anchor_a_scaled_clock_starts_at_the_right_time() {
        let clock = Clock::scaled(10.0, None, Trust::Always);
        assert!((clock.wall_ms() - real_wall_ms()).abs() < 5000);
    }

    #[test]
    fn the_configuration_chooses_the_clock() {
        let mut test = config::Test::default();
        let kind = |test: &config::Test| Clock::configured(&config::Clock::default(), test).0;
        assert!(matches!(kind(&test), Kind::System { .. }));
        test.clock_speed = 2.0;
        assert!(matches!(kind(&test), Kind::Scaled { .. }));
    }

    #[tokio::test]
    async fn sleepers_on_real_clocks_wake_when_their_time_is_shown() {
        for clock in [Clock::system(Trust::Auto), scaled(50.0, 0), scaled(0.5, 0)] {
            let at_ms = clock.mono_ms() + 15;
            clock.sleep_until(at_ms).await;
            let shown_ms = clock.mono_ms();
            assert!(shown_ms >= at_ms);
            // What is past is not waited for.
            clock.sleep_until(at_ms).await;
            clock.sleep_until(i64::MIN).await;
        }
    }

    #[tokio::test]
    async fn sleepers_on_a_manual_clock_wake_when_it_is_moved() {
        let (clock, hand) = Clock::manual(1000, 5_000_000);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep_until(1500).await;
                clock.mono_ms()
            }
        });
        hand.advance(499);
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        hand.advance_to(2000);
        assert_eq!(sleeper.await.unwrap(), 2000);
        assert_eq!(clock.wall_ms(), 5_001_000);
    }

    #[tokio::test]
    async fn a_manual_wall_clock_can_jump_alone_and_become_unknown() {
        let (clock, hand) = Clock::manual(0, 1000);
        assert!(clock.known());
        hand.set_known(false);
        hand.set_wall(-7);
        assert!(!clock.known());
        assert_eq!((clock.mono_ms(), clock.wall_ms()), (0, -7));
    }

    #[tokio::test]
    async fn a_source_sleeps_on_the_same_clock() {
        let (clock, hand) = Clock::manual(0, 0);
        let source = clock.source_clock();
        let sleep = source.sleep_until(100);
        hand.advance(100);
        sleep.await;
        assert_eq!(source.now_ms(), 100);
    }

    #[test]
    fn the_wall_clock_is_believed_when_somebody_vouches_for_it() {
        let denied = || Err(io::Error::from(io::ErrorKind::PermissionDenied));
        let late_ms = RELEASED_MS + 1;
        let bare = tempfile::tempdir().unwrap();
        assert!(!vouched_for(late_ms, Ok(false), bare.path()));
        assert!(!vouched_for(late_ms, denied(), bare.path()));
        assert!(vouched_for(0, Ok(true), bare.path()));

        let synchronised_by_file = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(synchronised_by_file.path().join("run/systemd/timesync")).unwrap();
        std::fs::write(
            synchronised_by_file
                .path()
                .join("run/systemd/timesync/synchronized"),
            "",
        )
        .unwrap();
        assert!(vouched_for(late_ms, denied(), synchronised_by_file.path()));

        let battery = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(battery.path().join("sys/class/rtc/rtc0")).unwrap();
        assert!(vouched_for(late_ms, Ok(false), battery.path()));
        assert!(!vouched_for(RELEASED_MS - 1, Ok(false), battery.path()));
        assert!(!synchronised(Ok(false), battery.path()));
        assert!(synchronised(denied(), synchronised_by_file.path()));
    }

    #[test]
    fn trust_always_needs_no_witness() {
        assert!(Clock::system(Trust::Always).known());
    }

    #[test]
    fn the_kernel_answers_or_says_that_we_may_not_ask() {
        // Either is fine; what must not happen is a crash or another error.
        if let Err(e) = kernel_synchronised() {
            assert_eq!(e.kind(), io::ErrorKind::PermissionDenied);
        }
    }

    #[test]
    fn this_boot_has_one_name() {
        assert_eq!(boot_id(), boot_id());
        assert!(!boot_id().is_empty());
    }
}
