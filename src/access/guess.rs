//! Those who guess: wrong tries at a door are counted by address and over all, and who guesses waits,
//! twice as long each time. All times are of the present boot's monotonic clock; a guard that was
//! remembered may hold negative ones, from before it.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};

const SECOND_MS: i64 = 1_000;
const HOUR_MS: i64 = 3_600_000;

/// What can be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Pin,
    RoomCode,
}

impl Door {
    pub const ALL: [Door; 2] = [Door::Pin, Door::RoomCode];

    /// The word in the database and in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Door::Pin => "pin",
            Door::RoomCode => "room_code",
        }
    }

    pub fn of(word: &str) -> Option<Door> {
        Door::ALL.into_iter().find(|door| door.word() == word)
    }

    fn rule(self) -> Rule {
        match self {
            // Of a million PINs, a patient crowd gets through 2400 a day.
            Door::Pin => Rule {
                free_tries: 5,
                first_wait_ms: 30 * SECOND_MS,
                longest_wait_ms: 24 * HOUR_MS,
                hourly_tries: 100,
            },
            // A whole group types it from the wall, some behind one address: it keeps neighbours
            // out, and must not keep guests out.
            Door::RoomCode => Rule {
                free_tries: 15,
                first_wait_ms: 5 * SECOND_MS,
                longest_wait_ms: HOUR_MS,
                hourly_tries: 1_000,
            },
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    /// Wrong tries from one address before it must wait.
    free_tries: u32,
    /// The first wait; each further wrong try doubles it.
    first_wait_ms: i64,
    longest_wait_ms: i64,
    /// Wrong tries from all addresses together in one hour.
    hourly_tries: u32,
}

/// Why a try was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `tries_left` before this address must wait.
    Wrong { tries_left: u32 },
    /// This was one too many, or the address was waiting already and it was not even looked at.
    Locked { retry_after_ms: i64 },
}

/// What is counted of one address, or, without one, of all in the present hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    pub address: Option<IpAddr>,
    /// None: there is nothing to remember any more.
    pub wrong: u32,
    /// The last wrong try; of all together: when the hour began.
    pub last_ms: i64,
    /// The wait that began then.
    pub wait_ms: i64,
}

/// The guard of one door.
#[derive(Debug)]
pub struct Guard {
    rule: Rule,
    by_address: HashMap<IpAddr, Tries>,
    hour: Tries,
    /// What has changed since it was last written down; none is the hour.
    changed: BTreeSet<Option<IpAddr>>,
}

impl Guard {
    pub fn new(door: Door) -> Self {
        Guard::remembered(door, [], 0)
    }

    /// The guard as it was left. A wait is never longer than the longest there is, whatever is
    /// remembered.
    pub fn remembered(door: Door, kept: impl IntoIterator<Item = Tries>, now_ms: i64) -> Self {
        let rule = door.rule();
        let mut guard = Guard {
            rule,
            by_address: HashMap::new(),
            hour: Tries {
                address: None,
                wrong: 0,
                last_ms: 0,
                wait_ms: 0,
            },
            changed: BTreeSet::new(),
        };
        for tries in kept {
            let tries = Tries {
                last_ms: tries.last_ms.min(now_ms),
                wait_ms: tries.wait_ms.clamp(0, rule.longest_wait_ms),
                ..tries
            };
            match tries.address {
                Some(address) => drop(guard.by_address.insert(address, tries)),
                None => guard.hour = tries,
            }
        }
        guard
    }

    /// Takes a try; `is_right` is asked only if this address may try now.
    pub fn take(
        &mut self,
        peer: IpAddr,
        is_right: impl FnOnce() -> bool,
        now_ms: i64,
    ) -> Result<(), Refusal> {
        let address = guessers_address(peer);
        self.turn_the_hour(now_ms);
        if self.hour.wrong >= self.rule.hourly_tries {
            let retry_after_ms = self.hour.last_ms + HOUR_MS - now_ms;
            return Err(Refusal::Locked { retry_after_ms });
        }
        let before = self.by_address.get(&address).copied();
        let wait_left_ms = before.map_or(0, |tries| tries.last_ms + tries.wait_ms - now_ms);
        if wait_left_ms > 0 {
            return Err(Refusal::Locked {
                retry_after_ms: wait_left_ms,
            });
        }
        if is_right() {
            if self.by_address.remove(&address).is_some() {
                self.changed.insert(Some(address));
            }
            return Ok(());
        }
        self.hour.wrong += 1;
        let wrong = before.map_or(0, |tries| tries.wrong).saturating_add(1);
        let wait_ms = self.wait_ms(wrong);
        let tries = Tries {
            address: Some(address),
            wrong,
            last_ms: now_ms,
            wait_ms,
        };
        self.by_address.insert(address, tries);
        self.changed.extend([None, Some(address)]);
        Err(match wait_ms {
            0 => Refusal::Wrong {
                tries_left: self.rule.free_tries - wrong,
            },
            retry_after_ms => Refusal::Locked { retry_after_ms },
        })
    }

    fn wait_ms(&self, wrong: u32) -> i64 {
        match wrong.checked_sub(self.rule.free_tries) {
            None => 0,
            Some(doublings) => {
                (self.rule.first_wait_ms << doublings.min(20)).min(self.rule.longest_wait_ms)
            }
        }
    }

    fn turn_the_hour(&mut self, now_ms: i64) {
        if now_ms - self.hour.last_ms < HOUR_MS {
            return;
        }
        self.hour.last_ms = now_ms;
        self.hour.wrong = 0;
        // At most so many new addresses an hour, so this map stays small.
        let Guard {
            rule,
            by_address,
            changed,
            ..
        } = self;
        by_address.retain(|address, tries| {
            let stays = now_ms - tries.last_ms < rule.longest_wait_ms.max(HOUR_MS);
            if !stays {
                changed.insert(Some(*address));
            }
            stays
        });
    }

    /// Forgives everybody; returns how many addresses had to wait.
    pub fn forgive(&mut self, now_ms: i64) -> usize {
        let waiting = |tries: &&Tries| tries.last_ms + tries.wait_ms > now_ms;
        let waited = self.by_address.values().filter(waiting).count();
        self.owe_all();
        self.by_address.clear();
        self.hour.wrong = 0;
        waited
    }

    /// Everything is to be written down (again).
    pub fn owe_all(&mut self) {
        self.changed.insert(None);
        self.changed
            .extend(self.by_address.keys().map(|address| Some(*address)));
    }

    /// Whether something has changed that is not written down.
    pub fn owes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What has changed, as it stands now.
    pub fn take_changes(&mut self) -> Vec<Tries> {
        let changed = std::mem::take(&mut self.changed);
        let as_it_stands = |address: Option<IpAddr>| match address {
            None => self.hour,
            Some(known) => self.by_address.get(&known).copied().unwrap_or(Tries {
                address,
                wrong: 0,
                last_ms: 0,
                wait_ms: 0,
            }),
        };
        changed.into_iter().map(as_it_stands).collect()
    }
}

/// One guesser has a whole /64 of IPv6 addresses, and an IPv4 address can be written as IPv6.
fn guessers_address(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 50_000_000;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 168, 1, last])
    }

    fn wrong(guard: &mut Guard, last: u8, now_ms: i64) -> Refusal {
        guard
            .take(address(last), || false, now_ms)
            .expect_err("it is wrong")
    }

    /// As a hub that is started anew finds it, at 0 of its clock, `later_ms` after `NOW_MS`.
    fn restarted(guard: &mut Guard, later_ms: i64) -> Guard {
        guard.owe_all();
        let kept = guard.take_changes().into_iter().map(|tries| Tries {
            last_ms: tries.last_ms - NOW_MS - later_ms,
            ..tries
        });
        Guard::remembered(Door::Pin, kept, 0)
    }

    #[test]
    fn five_wrong_pins_lock_an_address_out_and_each_further_one_doubles_the_wait() {
        let mut guard = Guard::new(Door::Pin);
        for tries_left in (1..5).rev() {
            assert_eq!(wrong(&mut guard, 1, NOW_MS), Refusal::Wrong { tries_left });
        }
        let mut now_ms = NOW_MS;
        for retry_after_ms in [30_000, 60_000, 120_000, 240_000] {
            let locked = Refusal::Locked { retry_after_ms };
            assert_eq!(wrong(&mut guard, 1, now_ms), locked);
            // Not even the right one is looked at now.
            let asked = guard.take(address(1), || unreachable!("locked"), now_ms);
            assert_eq!(asked, Err(locked));
            now_ms += retry_after_ms;
        }
        // Others are not concerned.
        assert_eq!(guard.take(address(2), || true, NOW_MS), Ok(()));
        // The right one ends it.
        assert_eq!(guard.take(address(1), || true, now_ms), Ok(()));
        let fresh = wrong(&mut guard, 1, now_ms);
        assert_eq!(fresh, Refusal::Wrong { tries_left: 4 });
    }

    #[test]
    fn a_crowd_of_guessers_gets_a_hundred_tries_an_hour() {
        let mut guard = Guard::new(Door::Pin);
        for n in 0..100 {
            assert!(matches!(
                wrong(&mut guard, n, NOW_MS),
                Refusal::Wrong { .. }
            ));
        }
        let later_ms = NOW_MS + 600_000;
        let locked = Err(Refusal::Locked {
            retry_after_ms: 3_000_000,
        });
        assert_eq!(guard.take(address(200), || true, later_ms), locked);
        // A restart does not give another hundred.
        let mut again = restarted(&mut guard, 600_000);
        assert_eq!(again.take(address(200), || true, 0), locked);
        let next_hour = guard.take(address(200), || true, NOW_MS + HOUR_MS);
        assert_eq!(next_hour, Ok(()));
    }

    #[test]
    fn a_guesser_can_not_change_address_within_a_network_or_its_spelling() {
        let mut guard = Guard::new(Door::Pin);
        for n in 1..5 {
            let peer: IpAddr = format!("2001:db8::{n}").parse().unwrap();
            let _ = guard.take(peer, || false, NOW_MS);
        }
        let last = guard.take("2001:db8::ffff".parse().unwrap(), || false, NOW_MS);
        assert!(matches!(last, Err(Refusal::Locked { .. })));

        wrong(&mut guard, 9, NOW_MS);
        let mapped = "::ffff:192.168.1.9".parse().unwrap();
        let answer = guard.take(mapped, || false, NOW_MS);
        assert_eq!(answer, Err(Refusal::Wrong { tries_left: 3 }));
    }

    #[test]
    fn a_room_code_may_be_mistyped_by_a_whole_group_and_still_not_be_guessed() {
        let mut guard = Guard::new(Door::RoomCode);
        for _ in 0..14 {
            assert!(matches!(
                wrong(&mut guard, 1, NOW_MS),
                Refusal::Wrong { .. }
            ));
        }
        let mut now_ms = NOW_MS;
        let mut tries = 14;
        while now_ms < NOW_MS + HOUR_MS {
            let Refusal::Locked { retry_after_ms } = wrong(&mut guard, 1, now_ms) else {
                panic!("it must wait");
            };
            assert!(retry_after_ms <= HOUR_MS);
            now_ms += retry_after_ms;
            tries += 1;
        }
        assert!((20..30).contains(&tries), "{tries} in the first hour");
    }

    #[test]
    fn a_restart_frees_nobody_and_the_wait_goes_on_where_it_was() {
        let mut guard = Guard::new(Door::Pin);
        // 30 s, 60 s and 120 s are waited for; then 240 s begin.
        for ago_ms in [210_000; 5].into_iter().chain([180_000, 120_000, 0]) {
            wrong(&mut guard, 1, NOW_MS - ago_ms);
        }
        let mut again = restarted(&mut guard, 100_000);
        let locked = |retry_after_ms| Err(Refusal::Locked { retry_after_ms });
        assert_eq!(again.take(address(1), || true, 0), locked(140_000));
        assert_eq!(again.take(address(2), || true, 0), Ok(()));
        // And afterwards it doubles on.
        assert_eq!(again.take(address(1), || false, 140_000), locked(480_000));
    }

    #[test]
    fn what_is_remembered_wrongly_locks_nobody_out_for_longer_than_the_longest_wait() {
        let kept = Tries {
            address: Some(address(1)),
            wrong: u32::MAX,
            last_ms: NOW_MS + 10 * 365 * 24 * HOUR_MS,
            wait_ms: i64::MAX,
        };
        let hour = Tries {
            address: None,
            wrong: 1,
            ..kept
        };
        let mut guard = Guard::remembered(Door::Pin, [kept, hour], NOW_MS);
        let Err(Refusal::Locked { retry_after_ms }) = guard.take(address(1), || true, NOW_MS)
        else {
            panic!("it waits");
        };
        assert_eq!(retry_after_ms, 24 * HOUR_MS);
    }

    #[test]
    fn changes_are_told_once_and_what_is_over_is_told_as_nothing() {
        let mut guard = Guard::new(Door::Pin);
        wrong(&mut guard, 1, NOW_MS);
        wrong(&mut guard, 1, NOW_MS + 5);
        assert!(guard.owes());
        let kept = guard.take_changes();
        assert_eq!(kept.len(), 2, "the hour and the address");
        assert_eq!((kept[1].wrong, kept[1].last_ms), (2, NOW_MS + 5));
        assert!(!guard.owes());
        assert_eq!(guard.take(address(1), || true, NOW_MS + 10), Ok(()));
        let kept = guard.take_changes();
        assert_eq!((kept[0].address, kept[0].wrong), (Some(address(1)), 0));
        // Whom nobody counts changes nothing.
        assert_eq!(guard.take(address(2), || true, NOW_MS), Ok(()));
        assert!(!guard.owes());
    }

    #[test]
    fn the_admin_can_forgive_everybody() {
        let mut guard = Guard::new(Door::Pin);
        for _ in 0..5 {
            wrong(&mut guard, 1, NOW_MS);
        }
        wrong(&mut guard, 2, NOW_MS);
        assert_eq!(guard.forgive(NOW_MS), 1);
        assert_eq!(guard.take(address(1), || true, NOW_MS), Ok(()));
        let kept = guard.take_changes();
        assert!(kept.iter().all(|tries| tries.wrong == 0), "{kept:?}");
    }
}
