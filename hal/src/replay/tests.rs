//! What a recording may look like, and what a strap makes of it.

use super::*;
use crate::decode::ble::decode;

fn rr(text: &str) -> Vec<f64> {
    Recording::parse(text)
        .unwrap()
        .intervals
        .iter()
        .map(|interval| interval.rr_ms)
        .collect()
}

#[test]
fn every_common_shape_of_a_file_is_read() {
    for text in [
        "rr_ms\n812.5\n1000\n",
        "812.5\n1000",
        "\u{feff}rr_ms\r\n812.5\r\n\r\n1000\r\n",
        "# a walk\n\nRR_MS , gap_ms\n 812.5 , 0\n1000,\n# end\n",
        "812.5,0\n1000\n",
        "beat,rr_ms\n1,812.5\n2,1000\n",
    ] {
        assert_eq!(rr(text), [812.5, 1000.0], "{text:?}");
    }
}

#[test]
fn gaps_are_kept_beside_their_interval() {
    let recording = Recording::parse("rr_ms,gap_ms\n800,0\n810,1747.07\n").unwrap();
    assert_eq!(
        recording.intervals[1],
        Interval {
            rr_ms: 810.0,
            gap_ms: 1747.07
        }
    );
}

#[test]
fn every_error_names_its_line_and_the_text_that_is_wrong() {
    for (text, line, offending, problem) in [
        ("hello\n800\n", 1, "hello", Problem::NoHeader),
        ("rr_ms\n800\n8oo\n", 3, "8oo", Problem::NotANumber),
        ("rr_ms\n0\n", 2, "0", Problem::RrOutOfRange),
        ("-5\n", 1, "-5", Problem::RrOutOfRange),
        ("800\n\n65536\n", 3, "65536", Problem::RrOutOfRange),
        ("800\nNaN\n", 2, "NaN", Problem::RrOutOfRange),
        ("inf\n", 1, "inf", Problem::RrOutOfRange),
        ("800,-1\n", 1, "-1", Problem::GapOutOfRange),
        ("800,inf\n", 1, "inf", Problem::GapOutOfRange),
        ("800,x\n", 1, "x", Problem::NotANumber),
        ("rr_ms,gap_ms\n,5\n", 2, ",5", Problem::MissingRr),
        ("800,0,7\n", 1, "800,0,7", Problem::TooManyColumns),
        ("", 1, "", Problem::NoIntervals),
        ("rr_ms\n# nothing\n", 2, "", Problem::NoIntervals),
    ] {
        let error = Recording::parse(text).unwrap_err();
        assert_eq!(
            (error.line, error.offending.as_str(), error.problem),
            (line, offending, problem),
            "{text:?}"
        );
        let sentence = error.in_file("a.csv").to_string();
        assert!(
            sentence.starts_with(&format!("a.csv:{line}: ")),
            "{sentence}"
        );
        assert!(sentence.contains(offending), "{sentence}");
    }
}

fn sent(text: &str) -> Vec<(i64, Measurement)> {
    cues(Recording::parse(text).unwrap(), StrapId::new("replay", "r"))
        .filter_map(|cue| match cue.act {
            Act::Bytes(bytes) => Some((cue.at_ms, decode(&bytes).unwrap())),
            _ => None,
        })
        .collect()
}

#[test]
fn a_strap_says_hello_first() {
    let acts: Vec<Act> = cues(
        Recording::parse("800").unwrap(),
        StrapId::new("replay", "walk"),
    )
    .map(|cue| cue.act)
    .take(2)
    .collect();
    let name = Some("walk".to_owned());
    assert_eq!(
        acts,
        [
            Act::Seen {
                name,
                rssi_dbm: None
            },
            Act::Link(Link::Up)
        ]
    );
}

#[test]
fn each_second_carries_the_beats_that_ended_in_it_or_none() {
    let beats: Vec<(i64, usize)> = sent("600\n600\n600\n2000\n")
        .iter()
        .map(|(at, value)| (*at, value.rr.len()))
        .collect();
    assert_eq!(beats, [(1000, 1), (2000, 2), (3000, 0), (4000, 1)]);
}

#[test]
fn a_gap_is_silence_and_no_beat_is_lost_over_it() {
    // The second beat ends at 1600 and still leaves at 2000; the third ends at 12 400.
    let seen = sent("rr_ms,gap_ms\n800,0\n800,0\n800,10000\n800,0\n");
    let beats: Vec<(i64, usize)> = seen
        .iter()
        .map(|(at, value)| (*at, value.rr.len()))
        .collect();
    assert_eq!(beats, [(1000, 1), (2000, 1), (13_000, 1), (14_000, 1)]);
    assert_eq!(
        sent("800,99999\n800\n")[0].0,
        1000,
        "a gap before the first beat is none"
    );
    assert_eq!(
        sent("800\n800,1e12\n").len(),
        2,
        "a gap of years takes no time to skip"
    );
}

#[test]
fn the_sum_of_ticks_never_drifts_from_the_sum_of_intervals() {
    let text: String = (0..5000)
        .map(|i| format!("{}\n", 700.3 + f64::from(i % 97)))
        .collect();
    let total_ms: f64 = rr(&text).iter().sum();
    let sent_ms: f64 = sent(&text)
        .iter()
        .flat_map(|(_, value)| &value.rr)
        .map(|rr| rr.ms())
        .sum();
    assert!((total_ms - sent_ms).abs() < 0.5, "{total_ms} {sent_ms}");
}

#[test]
fn beats_that_do_not_fit_go_with_the_next_value() {
    let text = "95\n".repeat(20);
    let seen = sent(&text);
    assert!(seen.iter().all(|(_, value)| value.rr.len() <= 9));
    assert_eq!(
        seen.iter().map(|(_, value)| value.rr.len()).sum::<usize>(),
        20
    );
}

#[test]
fn an_interval_beyond_the_field_is_said_as_the_longest() {
    assert_eq!(sent("65535\n").last().unwrap().1.rr, [Rr::Ticks(u16::MAX)]);
}

#[test]
fn the_rate_field_follows_the_recent_beats() {
    let text = format!("{}{}", "1000\n".repeat(10), "500\n".repeat(10));
    let rates: Vec<u16> = sent(&text).iter().map(|(_, value)| value.hr_bpm).collect();
    assert_eq!((rates[0], *rates.last().unwrap()), (60, 120));
}
