//! How often somebody may ask. Who shows a valid token is counted as that person, and with all persons of
//! their network address; everybody else by the address, which may be a whole room behind an access point. Not here: the frames
//! of one socket (`ws`) and wrong PINs (`access`).

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{NotUntil, Quota, RateLimiter};

use crate::access::Who;
use crate::room::ParticipantId;

/// Askers remembered at a time, each for at most the minute or two in which its allowance fills up
/// again; beyond it newcomers share one allowance.
const ASKERS_MAX: usize = 10_000;
/// Checks between two looks at who may be forgotten.
const CHECKS_PER_LOOK: u32 = 256;

/// So many at once, and then so many per second.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    pub burst: u32,
    pub per_second: u32,
}

/// What is allowed. This machine itself (loopback: a proxy, the wall, a test) is allowed
/// `loopback_times` as much as any other address.
#[derive(Clone, Copy, Debug)]
pub struct Allowances {
    pub of_person: Allowance,
    pub of_address: Allowance,
    /// Of all persons of an address together: who collects tokens gains little by it.
    pub of_persons: Allowance,
    pub joins: Allowance,
    /// Of one person, with the token from before.
    pub returns: Allowance,
    pub sockets: Allowance,
    pub loopback_times: u32,
    /// Of all bodies that are being read.
    pub bodies_bytes: usize,
}

impl Default for Allowances {
    fn default() -> Self {
        Allowances {
            of_person: Allowance {
                burst: 200,
                per_second: 50,
            },
            // A hundred phones that open the page at once ask for about a thousand things.
            of_address: Allowance {
                burst: 2_000,
                per_second: 200,
            },
            // Twenty times what such a room asks for in earnest.
            of_persons: Allowance {
                burst: 20_000,
                per_second: 1_000,
            },
            joins: Allowance {
                burst: 120,
                per_second: 2,
            },
            // Each writes two rows.
            returns: Allowance {
                burst: 20,
                per_second: 1,
            },
            // After a restart all phones behind one access point come back within seconds.
            sockets: Allowance {
                burst: 1_000,
                per_second: 20,
            },
            loopback_times: 5,
            // A thousand of the largest.
            bodies_bytes: 16 * 1024 * 1024,
        }
    }
}

/// Who is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Asker {
    Person(ParticipantId),
    Facilitator,
    Network(IpAddr),
    /// Those for whom there is no room.
    Others,
}

/// Counts everybody who asks.
#[derive(Debug)]
pub struct Rates<C: Clock = DefaultClock> {
    persons: Rate<C>,
    addresses: Rate<C>,
    crowds: Rate<C>,
    joins: Rate<C>,
    returns: Rate<C>,
    sockets: Rate<C>,
}

impl<C: Clock + Clone> Rates<C> {
    pub fn new(allowed: Allowances, clock: C) -> Self {
        let rate = |each| Rate::new(each, allowed.loopback_times, clock.clone());
        Rates {
            persons: rate(allowed.of_person),
            addresses: rate(allowed.of_address),
            crowds: rate(allowed.of_persons),
            joins: rate(allowed.joins),
            returns: rate(allowed.returns),
            sockets: rate(allowed.sockets),
        }
    }

    /// Any request. The error of all of these: after how many milliseconds it is worth trying again.
    pub fn request(&self, who: Option<Who>, address: IpAddr) -> Result<(), i64> {
        match who {
            Some(Who::Participant(id)) => self
                .persons
                .check(Asker::Person(id))
                .and_then(|()| self.crowds.check_address(address)),
            Some(Who::Facilitator { .. }) => self.persons.check(Asker::Facilitator),
            // A program has no need of more than its address has.
            Some(Who::Scoped(_)) | None => self.addresses.check_address(address),
        }
    }

    /// A join of somebody new.
    pub fn join(&self, address: IpAddr) -> Result<(), i64> {
        self.joins.check_address(address)
    }

    /// A join of somebody known.
    pub fn come_back(&self, id: ParticipantId) -> Result<(), i64> {
        self.returns.check(Asker::Person(id))
    }

    /// A new WebSocket.
    pub fn socket(&self, address: IpAddr) -> Result<(), i64> {
        self.sockets.check_address(address)
    }
}

type Keyed<C> =
    RateLimiter<Asker, HashMapStateStore<Asker>, C, NoOpMiddleware<<C as Clock>::Instant>>;
type Single<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// One allowance for each asker.
#[derive(Debug)]
struct Rate<C: Clock> {
    each: Keyed<C>,
    loopback: Single<C>,
    clock: C,
    checks: AtomicU32,
}

impl<C: Clock + Clone> Rate<C> {
    fn new(allowed: Allowance, loopback_times: u32, clock: C) -> Self {
        let Allowance { burst, per_second } = allowed;
        let more = |count: u32| count.saturating_mul(loopback_times);
        Rate {
            each: RateLimiter::hashmap_with_clock(quota(burst, per_second), clock.clone()),
            loopback: RateLimiter::direct_with_clock(
                quota(more(burst), more(per_second)),
                clock.clone(),
            ),
            clock,
            checks: AtomicU32::new(0),
        }
    }

    fn check_address(&self, address: IpAddr) -> Result<(), i64> {
        let address = network(address);
        if address.is_loopback() {
            return self.loopback.check().map_err(|until| self.wait_ms(&until));
        }
        self.check(Asker::Network(address))
    }

    fn check(&self, asker: Asker) -> Result<(), i64> {
        let checks = self.checks.fetch_add(1, Ordering::Relaxed);
        if checks.is_multiple_of(CHECKS_PER_LOOK) {
            self.each.retain_recent();
        }
        let full = self.each.len() >= ASKERS_MAX;
        let asker = if full { Asker::Others } else { asker };
        self.each
            .check_key(&asker)
            .map_err(|until| self.wait_ms(&until))
    }

    fn wait_ms(&self, until: &NotUntil<C::Instant>) -> i64 {
        let wait = until.wait_time_from(self.clock.now());
        i64::try_from(wait.as_millis()).unwrap_or(i64::MAX).max(1)
    }
}

fn quota(burst: u32, per_second: u32) -> Quota {
    let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst))
}

/// One asker has a whole /64 of IPv6 addresses, and an IPv4 address can be written as IPv6.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;
    use uuid::Uuid;

    use super::*;

    fn rates() -> (Rates<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let rates = Rates::new(Allowances::default(), clock.clone());
        (rates, clock)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_room_behind_one_address_gets_in_at_once_and_ten_thousand_do_not() {
        let (rates, clock) = rates();
        let phone = address("192.168.1.7");
        for nth in 0..100 {
            assert_eq!(rates.join(phone), Ok(()), "{nth}");
        }
        let refused = (0..9_900).filter(|_| rates.join(phone).is_err()).count();
        assert_eq!(refused, 9_880);
        assert_eq!(rates.join(phone), Err(500));
        assert_eq!(rates.join(address("192.168.1.8")), Ok(()));
        clock.advance(Duration::from_millis(501));
        assert_eq!(rates.join(phone), Ok(()));
        assert!(rates.join(phone).is_err());
    }

    #[test]
    fn this_machine_is_allowed_more_but_not_everything() {
        let (rates, _) = rates();
        let let_in = (0..10_000).filter(|_| rates.join(address("::1")).is_ok());
        assert_eq!(let_in.count(), 600);
        assert!(rates.join(address("127.0.0.9")).is_err());
    }

    #[test]
    fn who_shows_a_token_is_counted_as_a_person() {
        let (rates, _) = rates();
        let shared = address("10.0.0.1");
        let somebody = |n| Some(Who::Participant(ParticipantId(Uuid::from_u128(n))));
        let let_in = (0..1_000).filter(|_| rates.request(somebody(1), shared).is_ok());
        assert_eq!(let_in.count(), 200);
        assert_eq!(rates.request(somebody(2), shared), Ok(()));
        assert_eq!(rates.request(None, shared), Ok(()));
    }

    #[test]
    fn who_collects_tokens_gains_little_by_it() {
        let (rates, clock) = rates();
        let address = address("10.0.0.1");
        let somebody = |n| Some(Who::Participant(ParticipantId(Uuid::from_u128(n))));
        let asked = (0..200_000_u128).map(|n| rates.request(somebody(n % 1_000), address));
        assert_eq!(asked.filter(Result::is_ok).count(), 20_000);
        assert!(rates.request(somebody(5_000), address).is_err());
        // Nobody else pays for it.
        assert_eq!(rates.request(None, address), Ok(()));
        assert_eq!(
            rates.request(somebody(7_000), "10.0.0.2".parse().unwrap()),
            Ok(())
        );
        clock.advance(Duration::from_millis(1_001));
        let asked = (0..5_000_u128).map(|n| rates.request(somebody(n % 1_000), address));
        assert_eq!(asked.filter(Result::is_ok).count(), 1_001);
    }

    #[test]
    fn one_asker_is_a_whole_network_of_ipv6_and_ipv4_has_one_spelling() {
        let same = [("fd00::1", "fd00::ffff:1"), ("::ffff:10.0.0.1", "10.0.0.1")];
        for (one, other) in same {
            assert_eq!(network(address(one)), network(address(other)));
        }
        assert_ne!(
            network(address("fd00::1")),
            network(address("fd00:0:0:1::1"))
        );
        assert!(network(address("::1")).is_loopback());
    }

    #[test]
    fn however_many_addresses_ask_the_memory_of_them_is_bounded() {
        let (rates, clock) = rates();
        for n in 0..30_000_u32 {
            let _ = rates.join(IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
        }
        assert_eq!(rates.joins.each.len(), ASKERS_MAX + 1);
        clock.advance(Duration::from_secs(120));
        for n in 0..CHECKS_PER_LOOK {
            let _ = rates.join(IpAddr::from((0x0b00_0000 + n).to_be_bytes()));
        }
        assert!(rates.joins.each.len() <= CHECKS_PER_LOOK as usize);
    }
}
