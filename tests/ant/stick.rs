//! What goes wrong with sticks and ports, and how the source comes back without anybody touching it.

use coherence_hal::ant::AntOptions;
use coherence_hal::decode::ant::{NetworkKey, id};
use coherence_hal::virtual_stick::VirtualStrap;
use coherence_hal::{BeatItem, Link};

use crate::bench::{Bench, options};
use crate::support::heart::{Truth, heart};

fn strap(number: u32) -> (VirtualStrap, Truth) {
    let (beats, truth) = heart(number.into(), 62.0, 80.0);
    (VirtualStrap::new(number, beats), truth)
}

/// A stick with one strap that is heard.
async fn heard() -> (Bench, Truth) {
    let (strap, truth) = strap(1);
    let mut bench = Bench::new(vec![strap]).await;
    bench.until_heard().await;
    (bench, truth)
}

fn gaps(bench: &Bench) -> usize {
    let items = &bench.straps()["ant:1"].items;
    items.iter().filter(|item| **item == BeatItem::Gap).count()
}

/// The strap's beats arrive again after `at_ms`.
async fn until_beats_after(bench: &mut Bench, at_ms: i64) {
    bench
        .until("beat", 60_000, |bench| {
            let newest = bench.heard.iter().rev().find_map(|(at_ms, event)| {
                let beats = matches!(event, coherence_hal::SourceEvent::Strap(event)
                    if matches!(event.news, coherence_hal::StrapNews::Beats(_)));
                beats.then_some(*at_ms)
            });
            newest.is_some_and(|newest_ms| newest_ms > at_ms + 2_000)
        })
        .await;
}

#[tokio::test]
async fn a_stick_is_started_in_the_order_that_it_insists_on() {
    let (bench, _) = heard().await;
    let stick = bench.plug.stick();
    for command in [
        id::RESET,
        id::REQUEST,
        id::NETWORK_KEY,
        id::ASSIGN_CHANNEL,
        id::CHANNEL_ID,
        id::RF_FREQUENCY,
        id::CHANNEL_PERIOD,
        id::LIB_CONFIG,
        id::OPEN_SCAN,
    ] {
        assert_eq!(stick.commands(command), 1, "{command:02x}");
    }
    assert!(bench.rungs().is_empty());
    let text = format!("{:?}", bench.heard);
    assert!(
        !text.contains("01020304") && !text.contains("1, 2, 3, 4"),
        "the key is shown"
    );
}

#[tokio::test]
async fn a_stick_that_knows_less_is_asked_for_less() {
    for (extended, agc) in [(0xC0, true), (0x80, false), (0x00, false)] {
        let (strap, truth) = strap(1);
        let mut bench = Bench::new(vec![strap]).await;
        bench.plug.stick().faults.extended = extended;
        bench.plug.stick().faults.agc = agc;
        bench.until_heard().await;
        bench.pass(10_000).await;
        let strap = &bench.straps()["ant:1"];
        assert!(truth.account("ant:1", &strap.items).exact >= 10);
        assert!(
            strap.rssi_dbm.is_empty(),
            "nobody can tell how strong it is"
        );
        assert_eq!(
            bench.plug.stick().commands(id::EXTENDED_RX),
            u64::from(extended == 0)
        );
    }
}

#[tokio::test]
async fn answers_later_than_their_time_are_waited_for() {
    let (strap, _) = strap(1);
    let mut bench = Bench::new(vec![strap]).await;
    bench.plug.stick().faults.answer_delay_ms = 700;
    bench.until_heard().await;
    assert!(bench.plug.stick().scanning());
}

#[tokio::test]
async fn a_stick_that_complains_at_first_is_told_again() {
    let (strap, _) = strap(1);
    let mut bench = Bench::new(vec![strap]).await;
    bench.plug.stick().faults.complaints = 4;
    bench.until_heard().await;
    bench
        .until("count", 2_000, |bench| bench.counted("serial_error") == 4)
        .await;
    assert!(bench.rungs().is_empty());
}

#[tokio::test]
async fn a_channel_that_another_program_left_open_is_closed() {
    let (strap, _) = strap(1);
    let mut bench = Bench::new(vec![strap]).await;
    bench
        .until("reset", 5_000, |bench| {
            bench.plug.stick().commands(id::RESET) == 1
        })
        .await;
    bench.plug.stick().open_another_channel();
    bench.until_heard().await;
    assert_eq!(bench.rungs(), ["restart_stick"]);
}

#[tokio::test]
async fn a_stick_that_starts_anew_by_itself_is_set_up_again_behind_a_break() {
    let (mut bench, truth) = heard().await;
    let at_ms = bench.now_ms();
    bench.plug.stick().restart(at_ms);
    until_beats_after(&mut bench, at_ms).await;
    assert_eq!(bench.rungs(), ["restart_stick"]);
    assert_eq!(gaps(&bench), 1);
    bench.pass(5_000).await;
    let account = truth.account("ant:1", &bench.straps()["ant:1"].items);
    assert_eq!(account.missing, 0);
}

#[tokio::test]
async fn events_that_were_lost_are_counted_and_too_many_start_the_stick_again() {
    let (mut bench, truth) = heard().await;
    for _ in 0..11 {
        assert!(bench.rungs().is_empty());
        let now_ms = bench.now_ms();
        bench.plug.stick().overflow(now_ms);
        bench.pass(1_000).await;
    }
    let at_ms = bench.now_ms();
    until_beats_after(&mut bench, at_ms).await;
    assert_eq!(bench.counted("overflow"), 11);
    assert_eq!(bench.rungs(), ["restart_stick"]);
    assert_eq!(
        truth.account("ant:1", &bench.straps()["ant:1"].items).gaps,
        0
    );
}

#[tokio::test]
async fn failure_16_a_stick_that_is_unplugged_and_comes_back_under_another_number_goes_on() {
    let (mut bench, truth) = heard().await;
    let first = std::fs::read_link(bench.plug.path()).unwrap();
    bench.plug.unplug().await;
    bench.pass(3_000).await;
    assert!(!bench.states().last().unwrap().up);
    let gone = Link::Down {
        why: "the ANT+ stick is gone".into(),
    };
    assert_eq!(bench.straps()["ant:1"].links.last(), Some(&gone));
    bench.pass(17_000).await;
    // Whoever takes the old number meanwhile.
    let taken = coherence_hal::virtual_stick::Plug::new(
        coherence_hal::virtual_stick::VirtualStick::new(0, 2, Vec::new()),
        coherence_hal::SourceClock::new(|| 0, |_| Box::pin(std::future::pending())),
        bench.plug.path().with_extension("other"),
    );
    let mut taken = taken;
    taken.plug_in().await.unwrap();
    bench.plug.plug_in().await.unwrap();
    let at_ms = bench.now_ms();
    assert_ne!(std::fs::read_link(bench.plug.path()).unwrap(), first);
    until_beats_after(&mut bench, at_ms).await;
    assert!(bench.is("listening"));
    let account = truth.account("ant:1", &bench.straps()["ant:1"].items);
    assert_eq!(account.gaps, 0, "the strap has counted on");
    assert!((15..=40).contains(&account.missing), "{account:?}");
}

#[tokio::test]
async fn failure_16_a_stick_that_answers_no_more_is_started_again_then_opened_again_then_reported()
{
    let (mut bench, _) = heard().await;
    bench.plug.stick().faults.mute = true;
    bench
        .until("report", 120_000, |bench| bench.is("stick_silent"))
        .await;
    let expected = [
        "restart_stick", // it sends nothing
        "restart_stick",
        "restart_stick",
        "reopen_port",
        "restart_stick",
        "restart_stick",
        "report",
    ];
    assert_eq!(bench.rungs(), expected);
    bench.pass(120_000).await;
    assert_eq!(
        bench.rungs(),
        expected,
        "what does not help is not told for ever"
    );
    bench.plug.stick().faults.mute = false;
    let at_ms = bench.now_ms();
    until_beats_after(&mut bench, at_ms).await;
    assert!(bench.is("listening"));
}

#[tokio::test]
async fn a_stick_that_hears_nobody_and_dies_is_noticed() {
    let mut bench = Bench::new(Vec::new()).await;
    bench
        .until("hint", 90_000, |bench| bench.is("no_strap"))
        .await;
    let text = &bench.states().last().unwrap().text;
    assert!(text.contains("key") && text.contains("worn"), "{text}");
    bench.plug.stick().power_on();
    bench.plug.stick().faults.mute = true;
    bench.pass(70_000).await;
    assert_eq!(bench.rungs().first(), Some(&"restart_stick"));
}

#[tokio::test]
async fn an_old_stick_and_a_refused_key_are_told_and_tried_again() {
    let (strap, _) = strap(1);
    let mut bench = Bench::new(vec![strap]).await;
    bench.plug.stick().faults.cannot_scan = true;
    bench
        .until("word", 5_000, |bench| bench.is("cannot_scan"))
        .await;
    assert!(!bench.states().last().unwrap().up);
    bench.plug.unplug().await;
    bench.plug.stick().faults.cannot_scan = false;
    bench.plug.stick().faults.refuses_key = true;
    bench.plug.plug_in().await.unwrap();
    bench
        .until("word", 20_000, |bench| bench.is("key_refused"))
        .await;
    let text = &bench.states().last().unwrap().text;
    assert!(text.contains("ant.key_file"), "{text}");
    bench.plug.stick().faults.refuses_key = false;
    bench
        .until("strap", 70_000, |bench| bench.is("listening"))
        .await;
}

#[tokio::test]
async fn with_another_networks_key_no_strap_is_heard_and_the_hint_names_the_key() {
    let (strap, _) = strap(1);
    let with_key = |path: &std::path::Path| AntOptions {
        key: Ok(NetworkKey::parse("0807060504030201").unwrap()),
        ..options(path)
    };
    let mut bench = Bench::unplugged(vec![strap], with_key);
    bench.plug.plug_in().await.unwrap();
    bench
        .until("hint", 90_000, |bench| bench.is("no_strap"))
        .await;
    assert!(bench.straps().is_empty());
}

#[tokio::test]
async fn without_a_key_the_source_says_how_to_obtain_one_and_opens_nothing() {
    let (strap, _) = strap(1);
    let without = |path: &std::path::Path| AntOptions {
        key: Err("There is no ANT+ network key.".into()),
        ..options(path)
    };
    let mut bench = Bench::unplugged(vec![strap], without);
    bench.plug.plug_in().await.unwrap();
    bench.pass(5_000).await;
    let [state] = bench.states()[..] else {
        panic!("{:?}", bench.states());
    };
    assert_eq!((state.up, state.code), (false, "no_key"));
    for word in [
        "There is no ANT+ network key.",
        "thisisant.com",
        "ant.key_file",
    ] {
        assert!(state.text.contains(word), "{}", state.text);
    }
    assert_eq!(bench.plug.stick().commands(id::RESET), 0);
}

#[tokio::test]
async fn a_port_that_is_not_there_yet_is_named_and_waited_for() {
    let (strap, _) = strap(1);
    let mut bench = Bench::unplugged(vec![strap], options);
    bench.pass(40_000).await;
    let [state] = bench.states()[..] else {
        panic!("said once: {:?}", bench.states());
    };
    assert_eq!((state.up, state.code), (false, "no_port"));
    assert!(state.text.contains("/dev/serial/by-id"), "{}", state.text);
    bench.plug.plug_in().await.unwrap();
    bench.until_heard().await;
}

#[tokio::test]
async fn a_hub_that_stops_lets_the_stick_rest() {
    let (mut bench, _) = heard().await;
    bench.close().await;
    for _ in 0..100 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        if !bench.plug.stick().scanning() {
            return;
        }
    }
    panic!("it still scans");
}
