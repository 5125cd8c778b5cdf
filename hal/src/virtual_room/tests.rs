//! What a virtual room promises to those who build on it.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::TAU;

use super::*;
use crate::decode::ble::{Measurement, decode};
use crate::script::Act;
use crate::{Link, StrapId};

fn until(people: usize, seed: u64, end_ms: i64) -> Vec<Cue> {
    VirtualRoom::new(people, seed)
        .take_while(|cue| cue.at_ms < end_ms)
        .collect()
}

/// Every notification, decoded, by strap.
fn by_strap(cues: &[Cue]) -> BTreeMap<StrapId, Vec<(i64, Measurement)>> {
    let mut straps: BTreeMap<StrapId, Vec<(i64, Measurement)>> = BTreeMap::new();
    for cue in cues {
        if let Act::Bytes(bytes) = &cue.act {
            let value = decode(bytes).expect("a virtual strap sends no broken bytes");
            assert_eq!(value.trailing_bytes, 0);
            straps
                .entry(cue.strap.clone())
                .or_default()
                .push((cue.at_ms, value));
        }
    }
    straps
}

fn with_trouble(people: usize, seed: u64, wanted: Temperament) -> Option<StrapId> {
    let mut chance = Chance::new(seed);
    chance.unit();
    let place = temperaments(people, &mut chance)
        .iter()
        .position(|(t, _)| *t == wanted)?;
    Some(StrapId::new("virtual", &(place + 1).to_string()))
}

/// The cues of one strap with the trouble, in the first room of 24 that it is in.
fn life_of(wanted: Temperament, end_ms: i64) -> Vec<Cue> {
    let id = with_trouble(24, 5, wanted).expect("24 people have every trouble");
    until(24, 5, end_ms)
        .into_iter()
        .filter(|cue| cue.strap == id)
        .collect()
}

fn rr_ms(measurements: &[(i64, Measurement)]) -> Vec<f64> {
    measurements
        .iter()
        .flat_map(|(_, value)| &value.rr)
        .map(|rr| rr.ms())
        .collect()
}

#[test]
fn the_same_seed_gives_the_same_room_and_another_seed_another() {
    assert!(until(24, 1, 120_000) == until(24, 1, 120_000));
    assert!(until(24, 1, 10_000) != until(24, 2, 10_000));
}

#[test]
fn the_first_minute_is_the_same_on_every_machine() {
    // FNV-1a over times, straps and bytes. A change of the room changes this number, and that is
    // fine; another number on another machine is not.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for cue in until(24, 1, 60_000) {
        if let Act::Bytes(bytes) = &cue.act {
            add(&cue.at_ms.to_le_bytes());
            add(cue.strap.as_str().as_bytes());
            add(bytes);
        }
    }
    assert_eq!(hash, 0x48b6_37de_d12f_c6d4);
}

#[test]
fn cues_come_in_the_order_of_time_from_any_number_of_people() {
    for people in [1, 2, 7, 8, 24, 500] {
        let cues = until(people, 3, 20_000);
        assert!(cues.is_sorted_by_key(|cue| cue.at_ms), "{people}");
        assert!(cues.iter().all(|cue| cue.at_ms >= 0), "{people}");
    }
}

#[test]
fn each_strap_is_seen_connects_and_tells_its_battery_before_its_first_beat() {
    let mut firsts: BTreeMap<StrapId, Vec<&'static str>> = BTreeMap::new();
    for cue in until(24, 1, 90_000) {
        let words = firsts.entry(cue.strap).or_default();
        words.push(match cue.act {
            Act::Seen {
                name: Some(_),
                rssi_dbm: Some(_),
            } => "seen",
            Act::Link(Link::Connecting) => "connecting",
            Act::Link(Link::Up) => "up",
            Act::Battery(_) => "battery",
            Act::Bytes(_) => "bytes",
            other => panic!("{other:?}"),
        });
        words.truncate(5);
    }
    assert_eq!(firsts.len(), 24);
    for (strap, words) in firsts {
        assert_eq!(
            words,
            ["seen", "connecting", "up", "battery", "bytes"],
            "{strap}"
        );
    }
}

#[test]
fn rates_are_those_of_people_at_rest_and_the_rate_field_says_so_too() {
    for (strap, measurements) in by_strap(&until(100, 4, 180_000)) {
        let rr = rr_ms(&measurements);
        let bpm = 60_000.0 * rr.len() as f64 / rr.iter().sum::<f64>();
        assert!((48.0..98.0).contains(&bpm), "{strap}: {bpm}");
        let said = f64::from(measurements.last().unwrap().1.hr_bpm);
        assert!((said - bpm).abs() < 25.0, "{strap}: {said} for {bpm}");
    }
}

#[test]
fn the_intervals_of_a_well_strap_add_up_to_the_time_that_passed() {
    let id = with_trouble(24, 5, Temperament::Well).unwrap();
    let straps = by_strap(&until(24, 5, 1_800_000));
    let beats: Vec<_> = straps[&id]
        .iter()
        .filter(|(_, value)| !value.rr.is_empty())
        .collect();
    let first_rr_ms: f64 = beats[0].1.rr.iter().map(|rr| rr.ms()).sum();
    let total_ms: f64 = rr_ms(&straps[&id]).iter().sum();
    let elapsed_ms = (beats.last().unwrap().0 - beats[0].0) as f64;
    // A beat waits for the next notification, so both ends are right within a second.
    assert!(
        (total_ms - first_rr_ms - elapsed_ms).abs() < 1100.0,
        "{total_ms} {elapsed_ms}"
    );
}

#[test]
fn notifications_come_once_a_second_with_a_little_jitter() {
    let id = with_trouble(24, 5, Temperament::Well).unwrap();
    let times: Vec<i64> = by_strap(&until(24, 5, 60_000))[&id]
        .iter()
        .map(|m| m.0)
        .collect();
    let steps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        steps.iter().all(|step| (992..=1008).contains(step)),
        "{steps:?}"
    );
    assert!(steps.iter().any(|step| *step != 1000));
}

#[test]
fn the_formats_of_real_straps_all_occur() {
    let cues = until(24, 1, 60_000);
    let flags: BTreeSet<u8> = cues
        .iter()
        .filter_map(|cue| match &cue.act {
            Act::Bytes(bytes) => Some(bytes[0]),
            _ => None,
        })
        .collect();
    for bit in 0..=4u8 {
        assert!(
            flags.iter().any(|flags| flags >> bit & 1 == 1),
            "bit {bit} is never set"
        );
        assert!(
            flags.iter().any(|flags| flags >> bit & 1 == 0),
            "bit {bit} is always set"
        );
    }
    let values = by_strap(&cues);
    let energies = values
        .values()
        .find(|v| v.iter().any(|(_, m)| m.energy_kj.is_some()))
        .unwrap();
    let places: Vec<usize> = (0..energies.len())
        .filter(|i| energies[*i].1.energy_kj.is_some())
        .collect();
    assert!(
        places.windows(2).all(|pair| pair[1] - pair[0] == 10),
        "{places:?}"
    );
}

#[test]
fn a_third_has_a_trouble_and_eight_people_have_three_kinds() {
    for seed in 0..50 {
        for people in 1..=60 {
            let room = temperaments(people, &mut Chance::new(seed));
            let troubles: Vec<_> = room
                .iter()
                .filter(|(t, _)| *t != Temperament::Well)
                .collect();
            assert!(people < 8 || troubles.len() >= 3);
            assert!(troubles.len() <= (people / 3).max(3), "{people}");
            let distinct = TROUBLES
                .iter()
                .filter(|t| troubles.iter().any(|x| x.0 == **t))
                .count();
            assert_eq!(distinct, troubles.len().min(7), "{people}");
        }
    }
}

#[test]
fn at_any_moment_seventy_percent_are_heard_and_worn() {
    for (people, seed) in [
        (8, 1),
        (8, 2),
        (8, 3),
        (9, 4),
        (10, 5),
        (11, 6),
        (24, 7),
        (60, 8),
    ] {
        let straps = by_strap(&until(people, seed, 900_000));
        for now_ms in (10_000..900_000).step_by(5_000) {
            let well = straps
                .values()
                .filter(|measurements| {
                    let from = measurements.partition_point(|m| m.0 < now_ms - 5_000);
                    measurements[from..]
                        .iter()
                        .take_while(|m| m.0 < now_ms)
                        .any(|(_, value)| !value.rr.is_empty() && value.contact != Some(false))
                })
                .count();
            assert!(
                well * 10 >= people * 7,
                "{well} of {people} at {now_ms}, seed {seed}"
            );
        }
    }
}

#[test]
fn the_late_one_is_first_heard_after_the_others() {
    let first_ms = life_of(Temperament::Late, 90_000)[0].at_ms;
    assert!((40_000..70_000).contains(&first_ms), "{first_ms}");
}

#[test]
fn off_the_body_the_contact_is_lost_while_something_regular_is_counted() {
    let cues = life_of(Temperament::OffBody, 600_000);
    let measurements = by_strap(&cues).into_values().next().unwrap();
    let off: Vec<_> = measurements
        .iter()
        .filter(|m| m.1.contact == Some(false))
        .cloned()
        .collect();
    assert!((40..=90).contains(&off.len()), "{}", off.len());
    let mut ghosts = rr_ms(&off);
    ghosts.sort_by(f64::total_cmp);
    let spread = ghosts[ghosts.len() * 9 / 10] - ghosts[ghosts.len() / 10];
    assert!(spread < 2.0, "{ghosts:?}");
    let put_on_again = measurements
        .windows(2)
        .any(|pair| (pair[0].1.contact, pair[1].1.contact) == (Some(false), Some(true)));
    assert!(put_on_again);
}

#[test]
fn the_silent_one_says_why_and_comes_back() {
    let cues = life_of(Temperament::Silent, 900_000);
    let mut absences_ms = Vec::new();
    let mut down_ms = None;
    for cue in &cues {
        match &cue.act {
            Act::Link(Link::Down { why }) => {
                assert_eq!(why, "connection lost");
                down_ms = Some(cue.at_ms);
            }
            Act::Link(Link::Up) => absences_ms.extend(down_ms.take().map(|down| cue.at_ms - down)),
            Act::Bytes(_) => assert_eq!(down_ms, None, "bytes over a lost link"),
            _ => {}
        }
    }
    assert!(absences_ms.len() >= 3);
    assert!(
        absences_ms.iter().all(|ms| (8_000..26_000).contains(ms)),
        "{absences_ms:?}"
    );
}

#[test]
fn a_flat_battery_is_announced_ends_the_link_and_is_changed() {
    let cues = life_of(Temperament::FlatBattery, 1_200_000);
    let levels: Vec<u8> = cues
        .iter()
        .filter_map(|cue| match cue.act {
            Act::Battery(percent) => Some(percent),
            _ => None,
        })
        .collect();
    let end = levels
        .iter()
        .position(|percent| *percent == 100)
        .expect("it is changed");
    assert!((6..=10).contains(&levels[0]));
    assert!(
        levels[..end].windows(2).all(|pair| pair[1] == pair[0] - 1),
        "{levels:?}"
    );
    assert_eq!(levels[end - 1], 1);
    let down = cues
        .iter()
        .position(|cue| {
            cue.act
                == Act::Link(Link::Down {
                    why: "battery".into(),
                })
        })
        .unwrap();
    let away_ms = cues[down + 1].at_ms - cues[down].at_ms;
    assert!((180_000..182_000).contains(&away_ms), "{away_ms}");
}

#[test]
fn early_and_overlooked_beats_are_rare_and_take_no_time_away() {
    let share_of = |wanted, odd: fn(f64, f64) -> bool| {
        let measurements = by_strap(&life_of(wanted, 900_000))
            .into_values()
            .next()
            .unwrap();
        let rr = rr_ms(&measurements);
        let total_ms: f64 = rr.iter().sum();
        assert!(
            (total_ms - 900_000.0).abs() < 5_000.0,
            "{wanted:?}: {total_ms}"
        );
        let odd = rr.windows(2).filter(|pair| odd(pair[0], pair[1])).count();
        odd as f64 / rr.len() as f64
    };
    let early = share_of(Temperament::Ectopic, |before, rr| rr < 0.8 * before);
    assert!((0.02..0.08).contains(&early), "{early}");
    let overlooked = share_of(Temperament::Deaf, |before, rr| rr > 1.6 * before);
    assert!((0.008..0.025).contains(&overlooked), "{overlooked}");
}

#[test]
fn a_still_heart_stays_still_through_the_strap() {
    let measurements = by_strap(&life_of(Temperament::Still, 120_000))
        .into_values()
        .next()
        .unwrap();
    let rr = rr_ms(&measurements);
    let mean = rr.iter().sum::<f64>() / rr.len() as f64;
    assert!(rr.iter().all(|rr| (rr - mean).abs() < 3.0));
}

#[test]
fn five_hundred_people_send_their_first_minute() {
    let cues = until(500, 1, 60_000);
    let heard = cues
        .iter()
        .map(|cue| &cue.strap)
        .collect::<BTreeSet<_>>()
        .len();
    assert!(
        (470..500).contains(&heard),
        "all but some of the late: {heard}"
    );
    assert!(by_strap(&cues).values().map(Vec::len).sum::<usize>() > 500 * 50);
}

/// About what a coherence score says of the last 64 s: the share of the spectrum up to 0.4 Hz that
/// lies around its highest peak. Rougher than the hub's own (no cleaning, straight lines instead
/// of a spline) and good enough to see whether a room is mixed.
fn rough_score(rr_ms: &[f64]) -> Option<f64> {
    let ends: Vec<f64> = rr_ms
        .iter()
        .scan(0.0, |t, rr| {
            *t += rr / 1000.0;
            Some(*t)
        })
        .collect();
    let start = ends.last()? - 63.75;
    if ends[0] > start {
        return None;
    }
    let mut samples: Vec<f64> = (0..256)
        .map(|j| {
            let t = start + 0.25 * f64::from(j);
            let i = ends
                .partition_point(|end| *end < t)
                .clamp(1, ends.len() - 1);
            let part = (t - ends[i - 1]) / (ends[i] - ends[i - 1]);
            rr_ms[i - 1] + part * (rr_ms[i] - rr_ms[i - 1])
        })
        .collect();
    let mean = samples.iter().sum::<f64>() / 256.0;
    let slope = (0..256)
        .map(|j| (f64::from(j) - 127.5) * samples[j as usize])
        .sum::<f64>()
        / (0..256)
            .map(|j| (f64::from(j) - 127.5).powi(2))
            .sum::<f64>();
    for (j, sample) in samples.iter_mut().enumerate() {
        let taper = (TAU / 2.0 * (j as f64 + 0.5) / 256.0).sin();
        *sample = (*sample - mean - slope * (j as f64 - 127.5)) * taper;
    }
    let power: Vec<f64> = (0..=102)
        .map(|k| {
            let (mut re, mut im) = (0.0, 0.0);
            for (j, sample) in samples.iter().enumerate() {
                let (sin, cos) = (TAU * f64::from(k) * j as f64 / 1024.0).sin_cos();
                re += sample * cos;
                im += sample * sin;
            }
            re * re + im * im
        })
        .collect();
    let peak = (11..=66).max_by(|a, b| power[*a].total_cmp(&power[*b]))?;
    let around: f64 = power[peak - 4..=peak + 4].iter().sum();
    Some(100.0 * around / power.iter().sum::<f64>())
}

fn scores(straps: &BTreeMap<StrapId, Vec<(i64, Measurement)>>, now_ms: i64) -> Vec<f64> {
    straps
        .values()
        .filter_map(|measurements| {
            let known = &measurements[..measurements.partition_point(|m| m.0 <= now_ms)];
            let rr = rr_ms(known);
            rough_score(&rr[rr.len().saturating_sub(140)..])
        })
        .collect()
}

#[test]
fn scores_are_low_medium_and_high_from_the_start_and_the_room_gathers() {
    for seed in [1, 2, 3] {
        let straps = by_strap(&until(24, seed, 720_000));
        let mean = |times: [i64; 3]| {
            let all: Vec<f64> = times
                .into_iter()
                .flat_map(|at_ms| scores(&straps, at_ms))
                .collect();
            all.iter().sum::<f64>() / all.len() as f64
        };
        for now_ms in [75_000, 120_000, 180_000] {
            let now = scores(&straps, now_ms);
            let low = now.iter().filter(|score| **score < 40.0).count();
            let high = now.iter().filter(|score| **score >= 60.0).count();
            let medium = now.len() - low - high;
            assert!(
                low >= 3 && medium >= 3 && high >= 3,
                "{low} {medium} {high} at {now_ms}"
            );
        }
        let (early, later) = (
            mean([75_000, 110_000, 145_000]),
            mean([600_000, 650_000, 700_000]),
        );
        assert!((30.0..58.0).contains(&early), "{early}");
        assert!(later > early + 8.0, "{early} then {later}");
    }
}
