//! What becomes of beats when messages are lost, damaged, or come in pieces; when counters wrap and straps go.

use coherence_hal::virtual_stick::VirtualStrap;
use coherence_hal::{BeatItem, Link, Origin};

use crate::bench::Bench;
use crate::support::heart::{Truth, heart};

/// So many straps on as many hearts, and what these really do. Every fifth strap tells no previous beat,
/// every tenth is an old one that turns no pages.
fn straps(count: u32, most_bpm: f64) -> (Vec<VirtualStrap>, Vec<(String, Truth)>) {
    let made = (0..count).map(|n| {
        let bpm = 48.0 + f64::from(n % 12) * (most_bpm * 0.94 - 48.0) / 11.0;
        let (beats, truth) = heart(u64::from(n) + 1, bpm, most_bpm);
        // Numbers that share their lower 16 bits.
        let number = (n % 7) << 16 | (100 + n / 7);
        let mut strap = VirtualStrap::new(number, beats);
        strap.main_page = if n % 5 == 3 { 0 } else { 4 };
        strap.legacy = n % 10 == 9;
        (strap, (format!("ant:{number}"), truth))
    });
    made.unzip()
}

/// Holds every strap against its truth: exact, missing, gaps.
fn account(bench: &Bench, truths: &[(String, Truth)]) -> (u64, u64, u64) {
    let heard = bench.straps();
    let mut sums = (0, 0, 0);
    for (name, truth) in truths {
        let strap = heard
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not heard"));
        let account = truth.account(name, &strap.items);
        sums.0 += account.exact;
        sums.1 += account.missing;
        sums.2 += account.gaps;
    }
    assert_eq!(heard.len(), truths.len(), "strangers: {:?}", heard.keys());
    sums
}

#[tokio::test]
async fn of_sixty_straps_at_4_percent_loss_999_beats_in_1000_are_told_exactly_and_none_is_invented()
{
    let (straps, truths) = straps(60, 80.0);
    let mut bench = Bench::new(straps).await;
    bench.plug.stick().faults.loss = 0.04;
    bench.plug.stick().faults.pieces = true;
    bench.until_heard().await;
    bench.pass(240_000).await;
    let (exact, missing, gaps) = account(&bench, &truths);
    let lost = bench.plug.stick().lost();
    let share = exact as f64 / (exact + missing) as f64;
    println!("{exact} beats exactly, {missing} missing, of {lost} lost messages: {share:.5}");
    assert!(
        exact > 60 * 4 * 48 && lost > 2_000,
        "{exact} beats, {lost} lost messages"
    );
    assert!(share >= 0.999, "only {share}");
    assert_eq!(gaps, 0);
    assert!(bench.rungs().is_empty());
}

#[tokio::test]
async fn failure_16_the_wraps_of_time_and_count_cost_no_beat() {
    let (straps, truths) = straps(2, 80.0);
    let mut bench = Bench::new(straps).await;
    bench.until_heard().await;
    bench.pass(400_000).await;
    let (exact, missing, gaps) = account(&bench, &truths);
    let real: u64 = truths
        .iter()
        .map(|(_, truth)| truth.beats_until(395.0))
        .sum();
    assert!(
        exact > real - 8,
        "{exact} of {real}: more than 256 of each, over six times 64 s"
    );
    assert_eq!((missing, gaps), (0, 0));
}

#[tokio::test]
async fn failure_16_three_lost_beats_are_told_as_lost_and_one_is_told_exactly() {
    let (beats, truth) = heart(5, 60.0, 80.0);
    let mut bench = Bench::new(vec![VirtualStrap::new(7, beats)]).await;
    bench.until_heard().await;
    let before = bench.straps()["ant:7"].items.len();
    for silent_ms in [1_600, 4_200] {
        let until_ms = bench.now_ms() + silent_ms;
        bench.plug.stick().strap(0).fall_silent(until_ms);
        bench.pass(silent_ms + 3_000).await;
    }
    let items = bench.straps()["ant:7"].items.clone();
    let account = truth.account("ant:7", &items);
    assert_eq!(account.gaps, 0);
    let lost: Vec<&BeatItem> = items[before..]
        .iter()
        .filter(|item| matches!(item, BeatItem::Missing { .. }))
        .collect();
    assert_eq!(lost.len(), 1, "the first loss was made good: {lost:?}");
    assert!((2..=4).contains(&account.missing), "{account:?}");
}

#[tokio::test]
async fn damaged_bytes_are_counted_and_make_no_beat() {
    let (straps, truths) = straps(12, 80.0);
    let mut bench = Bench::new(straps).await;
    bench.until_heard().await;
    bench.plug.stick().faults.corruption = 0.05;
    bench.plug.stick().faults.zero_padding = true;
    bench.plug.stick().faults.pieces = true;
    bench.pass(120_000).await;
    let (exact, missing, gaps) = account(&bench, &truths);
    let damaged = bench.plug.stick().lost();
    assert!(
        exact as f64 >= 0.99 * (exact + missing) as f64,
        "{exact} and {missing} missing"
    );
    assert_eq!(gaps, 0);
    assert!(damaged > 100);
    let noticed = bench.counted("bad_checksum") + bench.counted("bad_length");
    assert!(noticed >= damaged / 2, "{noticed} of {damaged}");
    assert!(bench.counted("skipped_bytes") >= 18 * damaged);
}

#[tokio::test]
async fn failure_09_a_strap_that_was_away_for_70_s_is_heard_again_behind_a_gap() {
    let (beats, truth) = heart(9, 66.0, 80.0);
    let mut bench = Bench::new(vec![VirtualStrap::new(70_009, beats)]).await;
    bench.until_heard().await;
    let until_ms = bench.now_ms() + 70_000;
    bench.plug.stick().strap(0).fall_silent(until_ms);
    bench.pass(10_000).await;
    let gone = Link::Down {
        why: "out of range".into(),
    };
    assert_eq!(bench.straps()["ant:70009"].links, [Link::Up, gone.clone()]);
    bench.pass(75_000).await;
    let strap = &bench.straps()["ant:70009"];
    assert_eq!(strap.links, [Link::Up, gone, Link::Up]);
    let account = truth.account("ant:70009", &strap.items);
    assert_eq!((account.gaps, account.missing), (1, 0));
    assert!(matches!(strap.items.last(), Some(BeatItem::Rr(_))));
}

#[tokio::test]
async fn failure_09_a_strap_that_was_away_for_40_s_lost_no_time() {
    let (beats, truth) = heart(10, 66.0, 80.0);
    let mut bench = Bench::new(vec![VirtualStrap::new(10, beats)]).await;
    bench.until_heard().await;
    let until_ms = bench.now_ms() + 40_000;
    bench.plug.stick().strap(0).fall_silent(until_ms);
    bench.pass(45_000).await;
    let strap = &bench.straps()["ant:10"];
    assert_eq!(strap.links.len(), 3);
    let account = truth.account("ant:10", &strap.items);
    assert_eq!(account.gaps, 0);
    assert!((40..=46).contains(&account.missing), "{account:?}");
}

#[tokio::test]
async fn a_strap_that_starts_anew_leaves_a_gap_and_invents_nothing() {
    let (beats, truth) = heart(11, 66.0, 80.0);
    let mut bench = Bench::new(vec![VirtualStrap::new(11, beats)]).await;
    bench.until_heard().await;
    bench.plug.stick().strap(0).restart();
    bench.pass(10_000).await;
    let strap = &bench.straps()["ant:11"];
    // The strap was without a beat for a moment: what it showed then was another jump.
    let gaps = strap.items.iter().filter(|item| **item == BeatItem::Gap);
    assert!((1..=2).contains(&gaps.count()), "{:?}", strap.items);
    let Some(last) = strap.items.rsplit(|item| *item == BeatItem::Gap).next() else {
        panic!("something came after it");
    };
    assert!(truth.account("ant:11", last).exact >= 6, "{last:?}");
}

#[tokio::test]
async fn what_happens_while_a_strap_is_out_of_range_leaves_no_loss_without_a_gap() {
    // The stick starts anew; or so little is heard in between that nobody can say it was a strap.
    for restarts in [true, false] {
        let (beats, truth) = heart(14, 66.0, 80.0);
        let mut bench = Bench::new(vec![VirtualStrap::new(14, beats)]).await;
        bench.until_heard().await;
        bench.pass(10_000).await;
        let silent = async |bench: &mut Bench| {
            let until_ms = bench.now_ms() + 15_000;
            bench.plug.stick().strap(0).fall_silent(until_ms);
            bench.pass(8_000).await;
        };
        silent(&mut bench).await;
        if restarts {
            let now_ms = bench.now_ms();
            bench.plug.stick().restart(now_ms);
        } else {
            bench.plug.stick().strap(0).fall_silent(i64::MIN);
            bench.pass(300).await; // one message, with beats that were missed
            silent(&mut bench).await;
        }
        bench.pass(30_000).await;
        let strap = &bench.straps()["ant:14"];
        let account = truth.account("ant:14", &strap.items);
        assert_eq!(account.gaps, 1, "{restarts}: {account:?}");
        assert!(account.exact > 25, "{restarts}: {account:?}");
    }
}

#[tokio::test]
async fn a_strap_off_the_skin_says_nothing_new() {
    let (beats, _) = heart(12, 66.0, 80.0);
    let mut bench = Bench::new(vec![VirtualStrap::new(12, beats)]).await;
    bench.until_heard().await;
    bench.plug.stick().strap(0).frozen = true;
    bench.pass(1_000).await;
    let before = bench.straps()["ant:12"].items.len();
    bench.pass(20_000).await;
    let strap = &bench.straps()["ant:12"];
    assert_eq!(strap.items.len(), before);
    assert_eq!(strap.links, [Link::Up], "it is in range");
}

#[tokio::test]
async fn a_strap_that_computes_its_beats_is_marked_and_tells_of_itself() {
    let (beats, _) = heart(13, 66.0, 80.0);
    let mut strap = VirtualStrap::new(13, beats);
    strap.computed = true;
    let mut bench = Bench::new(vec![strap]).await;
    bench.until_heard().await;
    bench.pass(90_000).await;
    let strap = &bench.straps()["ant:13"];
    assert_eq!(
        strap.beats[0].origin,
        Origin::Electrical,
        "nobody knows yet"
    );
    assert_eq!(strap.beats.last().unwrap().origin, Origin::Computed);
    assert_eq!(strap.batteries, [80], "said once");
    let about = strap.abouts.last().unwrap();
    assert_eq!(about.manufacturer.as_deref(), Some("ANT+ manufacturer 1"));
    assert_eq!(about.model.as_deref(), Some("ANT+ model 51"));
    assert_eq!(about.serial, Some((0x1234_u32 << 16 | 13).to_string()));
    let rssi = strap.rssi_dbm[0].unwrap();
    assert!((-58..=-52).contains(&rssi), "{rssi}");
    assert!(
        (10..=25).contains(&strap.rssi_dbm.len()),
        "every few seconds"
    );
}
