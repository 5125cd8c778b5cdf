//! When does an adapter that claims to be well get shaken (PURE): a scan that hears nothing, or
//! linked straps that all fell silent, climb from a new scan over a power cycle to a word to the
//! admin. What one strap needs is for `strap`; it has tried to subscribe (12 s) and to connect anew
//! (17 s) before anything here begins.

use std::time::Duration;

use super::pace::ms;

/// Nothing at all heard for so long: the scan is made anew. Straps without a link advertise every second or
/// two; scans have been seen to fall silent after hours without an error.
pub(super) const SILENT_SCAN: Duration = Duration::from_secs(60);
/// The same while a strap is missed: it may be the scan that does not hear it.
pub(super) const SILENT_SCAN_WHILE_MISSED: Duration = Duration::from_secs(20);
/// All straps that are linked or heard here say nothing for so long. Each has been given a new
/// subscription and a new link by then.
pub(super) const SILENT_FEED: Duration = Duration::from_secs(30);
/// From a new scan to the power cycle: a scan needs some seconds to begin, a strap to be heard and
/// linked again some more.
pub(super) const CYCLE_AFTER_RESTART: Duration = Duration::from_secs(15);
/// So many straps that fell silent in the same moment are not each at fault: the adapter is switched
/// off and on as soon as neither a new subscription nor a new link has helped.
const AT_ONCE: usize = 3;
const SILENT_AT_ONCE: Duration = Duration::from_secs(20);
/// What counts as the same moment: two notifications of each strap.
pub(super) const SAME_MOMENT: Duration = Duration::from_secs(3);
/// From the power cycle to telling the admin: by now every strap could be back.
pub(super) const REPORT_AFTER_CYCLE: Duration = Duration::from_secs(60);
/// A strap that said something within this time is one that delivers: two of its beats.
pub(super) const DELIVERS: Duration = Duration::from_secs(10);

/// An empty building is silent, too: what did not help is repeated ever more seldom.
const FIRST_RESTART_REST: Duration = Duration::from_secs(60);
const LONGEST_RESTART_REST: Duration = Duration::from_secs(30 * 60);
const FIRST_CYCLE_REST: Duration = Duration::from_secs(5 * 60);
/// A scan that can't be started keeps out who is lost. Those that BlueZ knows are linked unheard meanwhile; if
/// somebody is missed for so long all the same, the adapter is switched off and on though it carries others: they
/// lose some seconds, who is missed would lose the session. It is done again ever more seldom, and anew when the
/// scan has worked for so long.
const LOCKED_OUT: Duration = Duration::from_secs(10);
const FIRST_LOCKED_OUT_REST: Duration = Duration::from_secs(90);
const SCAN_WORKS: Duration = Duration::from_secs(60);
const LONGEST_CYCLE_REST: Duration = Duration::from_secs(2 * 3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rung {
    RestartDiscovery,
    PowerCycle,
    Report,
}

/// What is known of one adapter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signs {
    /// When the last advertisement of anything came.
    pub(super) heard_ms: i64,
    /// When the last value of any strap came over this adapter.
    pub(super) value_ms: Option<i64>,
    /// Straps that delivered here once and are linked or heard, and yet deliver nothing.
    pub(super) mute: usize,
    /// Straps that delivered here once and are neither linked nor heard, nor given up yet.
    pub(super) missed: usize,
    /// Of both, those whose last value came in the moment in which the last of all came.
    pub(super) at_once: usize,
    /// BlueZ refuses to start the scan and names no reason.
    pub(super) scan_stuck: bool,
}

pub(super) struct Watchdog {
    stage: Stage,
    restart_rest_ms: i64,
    cycle_rest_ms: i64,
    next_cycle_ms: i64,
    /// When it last looked.
    missed: usize,
    /// Since when the scan can't be started, or can.
    stuck: (bool, i64),
    locked_out_rest_ms: i64,
    next_locked_out_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Well,
    Restarted { at_ms: i64 },
    Cycled { at_ms: i64 },
    Reported { at_ms: i64 },
}

impl Watchdog {
    pub(super) fn new() -> Self {
        Watchdog {
            stage: Stage::Well,
            restart_rest_ms: ms(FIRST_RESTART_REST),
            cycle_rest_ms: ms(FIRST_CYCLE_REST),
            next_cycle_ms: i64::MIN,
            missed: 0,
            stuck: (false, 0),
            locked_out_rest_ms: ms(FIRST_LOCKED_OUT_REST),
            next_locked_out_ms: i64::MIN,
        }
    }

    /// The step that is due now, which the caller takes. Why it is due is part of a sentence.
    pub(super) fn look(&mut self, now_ms: i64, signs: Signs) -> Option<(Rung, &'static str)> {
        let since = |at_ms: i64| now_ms - at_ms;
        let quiet_ms = signs.value_ms.map_or(i64::MAX, since);
        let feed = signs.mute > 0 && quiet_ms >= ms(SILENT_FEED);
        let scan = since(signs.heard_ms)
            >= ms(match signs.missed {
                0 => SILENT_SCAN,
                _ => SILENT_SCAN_WHILE_MISSED,
            });
        if signs.missed > self.missed
            && let Stage::Restarted { at_ms } = self.stage
            && since(at_ms) >= ms(SILENT_SCAN_WHILE_MISSED)
        {
            // What was tried before it was missed did not try to find it.
            self.restart_rest_ms = ms(FIRST_RESTART_REST);
            self.stage = Stage::Well;
        }
        self.missed = signs.missed;
        let locked_out = self.locked_out(now_ms, signs);
        let halted = signs.at_once >= AT_ONCE && quiet_ms >= ms(SILENT_AT_ONCE);
        let why = if halted {
            "all straps fell silent in the same moment"
        } else if signs.scan_stuck {
            "the scan can't be started"
        } else if feed {
            "no linked strap says anything"
        } else if scan {
            "the scan hears nothing at all"
        } else {
            ""
        };
        let ill = !why.is_empty();
        let nobody_delivers = quiet_ms >= ms(DELIVERS);
        // One that can scan is not stuck while it carries anybody, or when straps are only gone: they were taken home.
        let stuck = signs.scan_stuck || (nobody_delivers && (signs.mute > 0 || halted));
        if !nobody_delivers {
            // If it was switched off and on, that helped, and may help again.
            self.cycle_rest_ms = ms(FIRST_CYCLE_REST);
            self.next_cycle_ms = i64::MIN;
        }
        match self.stage {
            // What a power cycle brought is judged when every strap could be back.
            Stage::Cycled { at_ms } if since(at_ms) < ms(REPORT_AFTER_CYCLE) => None,
            _ if !ill => {
                self.stage = Stage::Well;
                self.restart_rest_ms = ms(FIRST_RESTART_REST);
                None
            }
            Stage::Well | Stage::Restarted { .. } if halted && now_ms >= self.next_cycle_ms => {
                Some(self.cycle(now_ms, why))
            }
            Stage::Well | Stage::Restarted { .. } | Stage::Reported { .. } if locked_out => {
                let rest_ms = self.locked_out_rest_ms;
                self.next_locked_out_ms = now_ms + rest_ms;
                self.locked_out_rest_ms = (rest_ms * 2).min(ms(LONGEST_CYCLE_REST));
                Some(self.cycle(now_ms, "the scan can't be started, and a strap is missed"))
            }
            Stage::Well => {
                self.stage = Stage::Restarted { at_ms: now_ms };
                Some((Rung::RestartDiscovery, why))
            }
            Stage::Cycled { at_ms } | Stage::Reported { at_ms } if !stuck => {
                self.stage = Stage::Restarted { at_ms };
                None
            }
            Stage::Cycled { .. } => {
                self.stage = Stage::Reported { at_ms: now_ms };
                Some((Rung::Report, why))
            }
            Stage::Restarted { at_ms } | Stage::Reported { at_ms } => {
                let somebody = signs.scan_stuck || signs.mute + signs.missed > 0;
                if since(at_ms) >= ms(CYCLE_AFTER_RESTART)
                    && now_ms >= self.next_cycle_ms
                    && somebody
                    && nobody_delivers
                {
                    return Some(self.cycle(now_ms, why));
                }
                if since(at_ms) >= self.restart_rest_ms {
                    self.restart_rest_ms = (self.restart_rest_ms * 2).min(ms(LONGEST_RESTART_REST));
                    self.stage = match self.stage {
                        Stage::Reported { .. } => Stage::Reported { at_ms: now_ms },
                        _ => Stage::Restarted { at_ms: now_ms },
                    };
                    return Some((Rung::RestartDiscovery, why));
                }
                None
            }
        }
    }

    /// Is somebody missed whom only a scan could find, and is it time to do something about it?
    fn locked_out(&mut self, now_ms: i64, signs: Signs) -> bool {
        if self.stuck.0 != signs.scan_stuck {
            self.stuck = (signs.scan_stuck, now_ms);
        }
        let so_for_ms = now_ms - self.stuck.1;
        if !signs.scan_stuck && so_for_ms >= ms(SCAN_WORKS) {
            self.locked_out_rest_ms = ms(FIRST_LOCKED_OUT_REST);
            self.next_locked_out_ms = i64::MIN;
        }
        let long = so_for_ms >= ms(LOCKED_OUT) && now_ms >= self.next_locked_out_ms;
        signs.scan_stuck && signs.missed > 0 && long
    }

    fn cycle(&mut self, now_ms: i64, why: &'static str) -> (Rung, &'static str) {
        self.stage = Stage::Cycled { at_ms: now_ms };
        self.next_cycle_ms = now_ms + self.cycle_rest_ms;
        self.cycle_rest_ms = (self.cycle_rest_ms * 2).min(ms(LONGEST_CYCLE_REST));
        (Rung::PowerCycle, why)
    }

    /// Has the admin been told, and is it still so?
    pub(super) fn has_reported(&self) -> bool {
        matches!(self.stage, Stage::Reported { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks once a second from 0 to `seconds` and lists the steps taken.
    fn steps(seconds: i64, signs: impl Fn(i64) -> Signs) -> Vec<(i64, Rung)> {
        let mut dog = Watchdog::new();
        (0..seconds)
            .filter_map(|s| Some((s, dog.look(s * 1000, signs(s * 1000))?.0)))
            .collect()
    }

    fn halted(_now_ms: i64) -> Signs {
        Signs {
            heard_ms: 0,
            value_ms: Some(0),
            mute: 3,
            missed: 0,
            at_once: 2,
            scan_stuck: false,
        }
    }

    #[test]
    fn a_feed_that_halts_is_met_step_by_step_at_the_stated_times() {
        assert_eq!(
            steps(200, halted)[..3],
            [
                (30, Rung::RestartDiscovery),
                (45, Rung::PowerCycle),
                (105, Rung::Report),
            ]
        );
    }

    #[test]
    fn an_adapter_whose_straps_fell_silent_all_at_once_is_switched_off_and_on_at_once_each_time() {
        // It works for two minutes, halts, and works again six seconds after each power cycle.
        let mut dog = Watchdog::new();
        let (mut halted_at, mut cycled_at) = (120, None);
        let mut taken = Vec::new();
        for s in 0..600 {
            if cycled_at.is_some_and(|at| s >= at + 6) {
                (halted_at, cycled_at) = (s + 120, None);
            }
            let well = s < halted_at;
            let value_s = if well { s } else { halted_at };
            let signs = Signs {
                heard_ms: value_s * 1000,
                value_ms: Some(value_s * 1000),
                mute: 0,
                missed: if well { 0 } else { 3 },
                at_once: if well { 0 } else { 3 },
                scan_stuck: false,
            };
            if let Some((rung, _)) = dog.look(s * 1000, signs) {
                assert_eq!(rung, Rung::PowerCycle);
                cycled_at = Some(s);
                taken.push(s - halted_at);
            }
        }
        assert_eq!(taken, [20; 4]);
    }

    #[test]
    fn a_scan_that_hears_nothing_is_made_anew_soon_when_a_strap_is_missed_however_often_it_was_before()
     {
        let lost_at = 3 * 3600;
        let signs = |now_ms: i64| Signs {
            value_ms: Some(now_ms),
            mute: 0,
            missed: usize::from(now_ms >= lost_at * 1000),
            ..halted(now_ms)
        };
        let taken = steps(lost_at + 100, signs);
        let behind = taken.iter().filter(|(s, _)| *s >= lost_at);
        let behind: Vec<_> = behind.map(|(s, rung)| (s - lost_at, *rung)).collect();
        assert_eq!(behind[0], (0, Rung::RestartDiscovery));
        assert!(behind.len() < 3, "{behind:?}");
    }

    #[test]
    fn while_one_strap_delivers_nothing_is_switched_off() {
        let signs = |now_ms| Signs {
            value_ms: Some(now_ms - 900),
            ..halted(now_ms)
        };
        let taken = steps(4 * 3600, signs);
        assert_eq!(taken[0], (60, Rung::RestartDiscovery)); // of the silent scan
        assert!(
            taken
                .iter()
                .all(|(_, rung)| *rung == Rung::RestartDiscovery)
        );
        assert!(taken.len() < 15, "ever more seldom: {taken:?}");
    }

    #[test]
    fn an_empty_room_is_left_alone_but_for_new_scans() {
        let signs = |now_ms| Signs {
            mute: 0,
            value_ms: None,
            ..halted(now_ms)
        };
        let taken = steps(12 * 3600, signs);
        assert!(
            taken
                .iter()
                .all(|(_, rung)| *rung == Rung::RestartDiscovery)
        );
        assert!(taken.len() < 35, "{}", taken.len());
    }

    #[test]
    fn a_scan_that_can_not_be_started_is_worth_a_power_cycle_when_somebody_is_missed_and_seldom_again()
     {
        let signs = |now_ms, missed| Signs {
            value_ms: Some(now_ms),
            mute: 0,
            missed,
            scan_stuck: true,
            ..halted(now_ms)
        };
        let cycles = |missed| {
            let taken = steps(2 * 3600, |now_ms| signs(now_ms, missed));
            let cycles = taken
                .into_iter()
                .filter(|(_, rung)| *rung == Rung::PowerCycle);
            cycles.map(|(s, _)| s).collect::<Vec<i64>>()
        };
        assert_eq!(cycles(0), Vec::<i64>::new());
        assert_eq!(cycles(1)[..3], [10, 100, 280]);
        assert!(cycles(1).len() < 9);
    }

    #[test]
    fn an_adapter_that_carries_somebody_again_is_not_called_stuck_although_nobody_advertises() {
        let signs = |now_ms| Signs {
            value_ms: Some(if now_ms < 50_000 { 0 } else { now_ms }),
            mute: usize::from(now_ms < 50_000),
            ..halted(now_ms)
        };
        let taken = steps(3600, signs);
        assert_eq!(taken[1], (45, Rung::PowerCycle));
        assert!(
            taken.iter().all(|(_, rung)| *rung != Rung::Report),
            "{taken:?}"
        );
    }

    #[test]
    fn straps_that_are_taken_home_do_not_make_an_adapter_stuck() {
        let signs = |now_ms| Signs {
            mute: 0,
            missed: if now_ms < 600_000 { 3 } else { 0 },
            at_once: 1,
            ..halted(now_ms)
        };
        let taken = steps(12 * 3600, signs);
        assert!(
            taken.iter().all(|(_, rung)| *rung != Rung::Report),
            "{taken:?}"
        );
    }

    #[test]
    fn power_cycles_that_do_not_help_become_seldom() {
        let taken = steps(12 * 3600, halted);
        let cycles = taken.iter().filter(|(_, rung)| *rung == Rung::PowerCycle);
        assert!((5..12).contains(&cycles.count()), "{taken:?}");
        assert_eq!(
            taken
                .iter()
                .filter(|(_, rung)| *rung == Rung::Report)
                .count(),
            taken
                .iter()
                .filter(|(_, rung)| *rung == Rung::PowerCycle)
                .count()
        );
    }

    #[test]
    fn a_healthy_adapter_is_never_touched() {
        let signs = |now_ms| Signs {
            heard_ms: now_ms,
            value_ms: Some(now_ms),
            mute: 1,
            missed: 1,
            at_once: 0,
            scan_stuck: false,
        };
        assert_eq!(steps(3600, signs), []);
    }
}
