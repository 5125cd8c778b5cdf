//! Everything that goes wrong in a room sooner or later, each for a while.

use crate::support::dice::Dice;
use crate::support::fake_bluez::FakeBluez;
use coherence_hal::virtual_stick::VirtualStick;
use std::time::Duration;

/// What is the matter, and of what: a Bluetooth strap, bluetoothd with its adapter, an ANT+ strap, the stick.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Trouble {
    BeltDrops,
    BeltDropsUnseen,
    BeltIsOutOfRange,
    BeltIsForgotten,
    BeltIsMute,
    BeltWantsASubscription,
    BeltRefuses,
    BeltLinksLate,
    BeltIsInProgress,
    BeltHangs,
    BeltIsSlow,
    BeltTalksNonsense,
    DaemonStops,
    DaemonIsKilled,
    AdapterIsPulledOut,
    AdapterIsBlocked,
    AdapterIsDeaf,
    AdapterHalts,
    ScanIsInProgress,
    StrapIsSilent,
    StrapStartsAnew,
    StrapIsOffTheSkin,
    StickIsPulledOut,
    StickStartsAnew,
    StickIsMute,
    StickOverflows,
    StickHearsNoise,
    StickHearsLittle,
}

use Trouble::*;

/// What happens to one Bluetooth strap, and for how many seconds at least and at most; with none it is for the
/// hub to mend.
pub const OF_A_BELT: &[(Trouble, i64, i64)] = &[
    (BeltDrops, 0, 0),
    (BeltDropsUnseen, 0, 0),
    (BeltIsOutOfRange, 3, 150),
    (BeltIsForgotten, 30, 150),
    (BeltIsMute, 3, 60),
    (BeltWantsASubscription, 0, 0),
    (BeltRefuses, 3, 90),
    (BeltLinksLate, 0, 0),
    (BeltIsInProgress, 0, 0),
    (BeltHangs, 3, 60),
    (BeltIsSlow, 60, 120),
    (BeltTalksNonsense, 0, 0),
];

pub const OF_BLUETOOTH: &[(Trouble, i64, i64)] = &[
    (DaemonStops, 2, 40),
    (DaemonIsKilled, 2, 40),
    (AdapterIsPulledOut, 2, 60),
    (AdapterIsBlocked, 2, 60),
    (AdapterIsDeaf, 0, 0),
    (AdapterHalts, 0, 0),
    (ScanIsInProgress, 0, 0),
];

pub const OF_AN_ANT_STRAP: &[(Trouble, i64, i64)] = &[
    (StrapIsSilent, 2, 150),
    (StrapStartsAnew, 0, 0),
    (StrapIsOffTheSkin, 8, 120),
];

pub const OF_THE_STICK: &[(Trouble, i64, i64)] = &[
    (StickIsPulledOut, 2, 90),
    (StickStartsAnew, 0, 0),
    (StickIsMute, 2, 60),
    (StickOverflows, 0, 0),
    (StickHearsNoise, 20, 120),
    (StickHearsLittle, 20, 120),
];

/// One of them, and how long it lasts, ms.
pub fn one_of(troubles: &[(Trouble, i64, i64)], dice: &mut Dice) -> (Trouble, i64) {
    let (trouble, least_s, most_s) = troubles[dice.below(troubles.len() as i64) as usize];
    let lasts_ms = 1_000 * least_s + dice.below(1_000 * (most_s - least_s) + 1);
    (trouble, lasts_ms)
}

/// One of Bluetooth's begins, on this strap where it is one's own.
pub fn begin(trouble: Trouble, fake: &FakeBluez, belt: usize) {
    match trouble {
        BeltDrops => fake.drop_link(belt),
        BeltDropsUnseen => fake.drop_link_silently(belt),
        BeltIsOutOfRange => fake.vanish(belt),
        BeltIsForgotten => fake.vanish_and_be_forgotten(belt),
        BeltIsMute => fake.mute(belt),
        BeltWantsASubscription => fake.mute_until_subscribed(belt),
        BeltRefuses => {
            fake.refuse_connect(belt, Some("le-connection-abort-by-local"));
            fake.drop_link(belt);
        }
        BeltLinksLate => {
            fake.fail_then_link_late(belt);
            fake.drop_link(belt);
        }
        BeltIsInProgress => {
            fake.stick(belt);
            fake.drop_link(belt);
        }
        BeltHangs => {
            fake.hang(belt, true);
            fake.drop_link(belt);
        }
        BeltIsSlow => {
            fake.set_connect_time(belt, Duration::from_secs(20));
            fake.drop_link(belt);
        }
        BeltTalksNonsense => {
            fake.notify(belt, &[]);
            fake.notify(belt, &[0x01, 0x40]);
        }
        DaemonStops => fake.stop(),
        DaemonIsKilled => fake.kill(),
        AdapterIsPulledOut => fake.remove_adapter(),
        AdapterIsBlocked => fake.block_adapter(true),
        AdapterIsDeaf => {
            fake.deafen();
            fake.drop_link(belt);
        }
        AdapterHalts => fake.halt(0),
        ScanIsInProgress => {
            fake.stick_scan(0);
            fake.drop_link(belt);
        }
        of_ant => unreachable!("{of_ant:?} is none of Bluetooth's"),
    }
}

/// It is over; what is the hub's to mend ends by itself.
pub fn end(trouble: Trouble, fake: &FakeBluez, belt: usize) {
    match trouble {
        BeltIsOutOfRange | BeltIsForgotten => fake.come_back(belt),
        BeltIsMute => fake.unmute(belt),
        BeltRefuses => fake.refuse_connect(belt, None),
        BeltHangs => fake.hang(belt, false),
        BeltIsSlow => fake.set_connect_time(belt, Duration::from_millis(100)),
        DaemonStops | DaemonIsKilled => fake.resume(),
        AdapterIsPulledOut => fake.add_adapter(),
        AdapterIsBlocked => fake.block_adapter(false),
        _ => {}
    }
}

/// One of ANT+'s begins and will last until then; pulling a stick out is for who holds its plug.
pub fn begin_ant(
    trouble: Trouble,
    stick: &mut VirtualStick,
    strap: usize,
    now_ms: i64,
    until_ms: i64,
) {
    match trouble {
        StrapIsSilent => stick.strap(strap).fall_silent(until_ms),
        StrapStartsAnew => stick.strap(strap).restart(),
        StrapIsOffTheSkin => stick.strap(strap).frozen = true,
        StickStartsAnew => stick.restart(now_ms),
        StickIsMute => stick.faults.mute = true,
        StickOverflows => stick.overflow(now_ms),
        StickHearsNoise => stick.faults.corruption = 0.05,
        StickHearsLittle => stick.faults.loss = 0.3,
        _ => {}
    }
}

pub fn end_ant(trouble: Trouble, stick: &mut VirtualStick, strap: usize, usual_loss: f64) {
    match trouble {
        StrapIsSilent => stick.strap(strap).fall_silent(i64::MIN),
        StrapIsOffTheSkin => stick.strap(strap).frozen = false,
        StickIsMute => stick.faults.mute = false,
        StickHearsNoise => stick.faults.corruption = 0.0,
        StickHearsLittle => stick.faults.loss = usual_loss,
        _ => {}
    }
}
