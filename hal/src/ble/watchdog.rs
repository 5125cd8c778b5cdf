//! When does an adapter that claims to be well get shaken (PURE): a scan that hears nothing, or
//! linked straps that all fell silent, climb from a new scan over a power cycle to a word to the
//! admin. What one strap needs is for `strap`; it has tried to subscribe (12 s) and to connect anew
//! (17 s) before anything here begins.

use std::time::Duration;

use super::pace::ms;

/// Nothing at all heard for so long: the scan is made anew. Rooms have a device that advertises
/// every second or two; scans have been seen to fall silent after hours without an error.
pub(super) const SILENT_SCAN: Duration = Duration::from_secs(60);
/// All straps that are linked or heard here say nothing for so long. Each has been given a new
/// subscription and a new link by then.
pub(super) const SILENT_FEED: Duration = Duration::from_secs(40);
/// From a new scan to the power cycle: a scan needs some seconds to begin, a strap to be heard and
/// linked again some more.
pub(super) const CYCLE_AFTER_RESTART: Duration = Duration::from_secs(30);
/// From the power cycle to telling the admin: by now every strap could be back.
pub(super) const REPORT_AFTER_CYCLE: Duration = Duration::from_secs(60);
/// A strap that said something within this time is one that delivers: two of its beats.
pub(super) const DELIVERS: Duration = Duration::from_secs(10);

/// An empty building is silent, too: what did not help is repeated ever more seldom.
const FIRST_RESTART_REST: Duration = Duration::from_secs(60);
const LONGEST_RESTART_REST: Duration = Duration::from_secs(30 * 60);
const FIRST_CYCLE_REST: Duration = Duration::from_secs(5 * 60);
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
    /// BlueZ refuses to start the scan and names no reason.
    pub(super) scan_stuck: bool,
}

pub(super) struct Watchdog {
    stage: Stage,
    restart_rest_ms: i64,
    cycle_rest_ms: i64,
    next_cycle_ms: i64,
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
        }
    }

    /// The step that is due now, which the caller takes. Why it is due is part of a sentence.
    pub(super) fn look(&mut self, now_ms: i64, signs: Signs) -> Option<(Rung, &'static str)> {
        let since = |at_ms: i64| now_ms - at_ms;
        let quiet_ms = signs.value_ms.map_or(i64::MAX, since);
        let feed = signs.mute > 0 && quiet_ms >= ms(SILENT_FEED);
        let scan = since(signs.heard_ms) >= ms(SILENT_SCAN);
        let why = if signs.scan_stuck {
            "the scan can't be started"
        } else if feed {
            "no linked strap says anything"
        } else if scan {
            "nothing was heard for a minute"
        } else {
            ""
        };
        let ill = !why.is_empty();
        if !ill && quiet_ms < ms(DELIVERS) {
            self.cycle_rest_ms = ms(FIRST_CYCLE_REST);
        }
        match self.stage {
            // What a power cycle brought is judged when every strap could be back.
            Stage::Cycled { at_ms } if since(at_ms) < ms(REPORT_AFTER_CYCLE) => None,
            _ if !ill => {
                self.stage = Stage::Well;
                self.restart_rest_ms = ms(FIRST_RESTART_REST);
                None
            }
            Stage::Well => {
                self.stage = Stage::Restarted { at_ms: now_ms };
                Some((Rung::RestartDiscovery, why))
            }
            Stage::Cycled { .. } => {
                self.stage = Stage::Reported { at_ms: now_ms };
                Some((Rung::Report, why))
            }
            Stage::Restarted { at_ms } | Stage::Reported { at_ms } => {
                let somebody = signs.scan_stuck || signs.mute + signs.missed > 0;
                let nobody_delivers = quiet_ms >= ms(DELIVERS);
                if since(at_ms) >= ms(CYCLE_AFTER_RESTART)
                    && now_ms >= self.next_cycle_ms
                    && somebody
                    && nobody_delivers
                {
                    self.stage = Stage::Cycled { at_ms: now_ms };
                    self.next_cycle_ms = now_ms + self.cycle_rest_ms;
                    self.cycle_rest_ms = (self.cycle_rest_ms * 2).min(ms(LONGEST_CYCLE_REST));
                    return Some((Rung::PowerCycle, why));
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
            scan_stuck: false,
        }
    }

    #[test]
    fn a_feed_that_halts_is_met_step_by_step_at_the_stated_times() {
        assert_eq!(
            steps(200, halted)[..3],
            [
                (40, Rung::RestartDiscovery),
                (70, Rung::PowerCycle),
                (130, Rung::Report),
            ]
        );
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
            scan_stuck: false,
        };
        assert_eq!(steps(3600, signs), []);
    }
}
