//! What opens doors, over restarts and reboots.

use super::*;
use crate::access::scoped::{self, Made, Now};
use crate::access::{Door, Scope, Scoped, Tries};

const HOUR_MS: i64 = 3_600_000;

fn tries(last: Option<u8>, wrong: u32, last_ms: i64, wait_ms: i64) -> Tries {
    Tries {
        address: last.map(|last| [192, 168, 1, last].into()),
        wrong,
        last_ms,
        wait_ms,
    }
}

/// Opens the file anew, as after a restart in this boot at this moment of it.
fn reopened(bench: Bench, boot_id: &str, mono_ms: i64) -> (Bench, Memory) {
    let Bench {
        dir,
        runtime,
        store,
    } = bench;
    runtime.block_on(store.close()).unwrap();
    let (store, memory) = open(&dir.path().join("hub.db"), boot(boot_id, mono_ms)).unwrap();
    let bench = Bench {
        dir,
        runtime,
        store,
    };
    (bench, memory)
}

fn kept(bench: &Bench, rows: Vec<(Door, Tries)>, at_ms: i64) {
    let kept = bench.store.keep_tries(|| rows, samples::at(at_ms));
    bench.runtime.block_on(kept).unwrap();
}

#[test]
fn wrong_tries_come_back_as_they_were_and_what_is_over_does_not() {
    let bench = Bench::new();
    let rows = vec![
        (Door::Pin, tries(None, 6, 1_000, 0)),
        (Door::Pin, tries(Some(1), 5, 4_000, 30_000)),
        (Door::Pin, tries(Some(2), 1, 3_000, 0)),
        (Door::RoomCode, tries(Some(1), 2, 2_000, 0)),
    ];
    kept(&bench, rows, 4_000);
    kept(&bench, vec![(Door::Pin, tries(Some(2), 0, 0, 0))], 5_000);
    let (_bench, memory) = reopened(bench, "a", 10_000);
    let mut read = memory.tries;
    read.sort_by_key(|(door, tries)| (door.word(), tries.address));
    let expected = [
        (Door::Pin, tries(None, 6, 1_000, 0)),
        (Door::Pin, tries(Some(1), 5, 4_000, 30_000)),
        (Door::RoomCode, tries(Some(1), 2, 2_000, 0)),
    ];
    assert_eq!(read, expected);
}

#[test]
fn a_reboot_frees_no_guesser_and_holds_none_for_ever() {
    let bench = Bench::new();
    let row = (Door::Pin, tries(Some(1), 17, 4_000, 24 * HOUR_MS));
    // Nobody has vouched for the clock.
    let unsure = Stamp {
        synced: false,
        ..samples::at(4_000)
    };
    let written = bench.store.keep_tries(move || vec![row], unsure);
    bench.runtime.block_on(written).unwrap();
    let (bench, memory) = reopened(bench, "b", 20_000);
    // The new boot has lived for 20 s: they count, whatever the wall clock says.
    assert_eq!(
        memory.tries,
        [(Door::Pin, tries(Some(1), 17, 0, 24 * HOUR_MS))]
    );
    let (_bench, memory) = reopened(bench, "b", 25 * HOUR_MS);
    assert_eq!(
        memory.tries[0].1.last_ms, 0,
        "25 h of this boot have passed"
    );
}

#[test]
fn a_token_comes_back_and_its_wrong_date_is_mended() {
    let bench = Bench::new();
    let text = scoped::text([3; 32]);
    let token = |name: &str| Scoped {
        name: name.into(),
        scope: Scope::Metrics,
        hash: scoped::hash(&format!("{text}{name}")),
        made: Made {
            wall_ms: 0,
            mono_ms: Some(1_000),
        },
        days: 30,
        used_at_ms: None,
    };
    let store = &bench.store;
    let at = Stamp {
        mono_ms: 1_000,
        wall_ms: 1_000,
        synced: false,
    };
    let added = bench.runtime.block_on(async {
        let first = store.add_token(token("a"), at).await.unwrap();
        let again = store.add_token(token("a"), at).await.unwrap();
        let second = store.add_token(token("b"), at).await.unwrap();
        let hash = token("a").hash;
        store
            .note_token_use(hash, samples::at(2_000))
            .await
            .unwrap();
        let gone = store.remove_token("b".into()).await.unwrap();
        let nobodys = store.remove_token("b".into()).await.unwrap();
        [first, again, second, gone, nobodys]
    });
    assert_eq!(added, [true, false, true, true, false]);
    // Then the clock is set right, which a row tells.
    store.commit(vec![
        Row::Session(samples::session(SESSION, 0)),
        samples::group(SESSION, 5_000, None),
    ]);

    let (bench, memory) = reopened(bench, "a", 9_000);
    let [same_boot] = &memory.tokens[..] else {
        panic!("{:?}", memory.tokens)
    };
    assert_eq!(same_boot.made.mono_ms, Some(1_000));
    assert_eq!(same_boot.used_at_ms, Some(samples::at(2_000).wall_ms));
    let (_bench, memory) = reopened(bench, "b", 0);
    let token = &memory.tokens[0];
    let made_ms = samples::at(1_000).wall_ms;
    assert_eq!((token.made.wall_ms, token.made.mono_ms), (made_ms, None));
    let now = |wall_ms| Now {
        mono_ms: 0,
        wall_ms,
    };
    assert!(token.is_good(now(made_ms + 29 * 24 * HOUR_MS)));
    assert!(!token.is_good(now(made_ms + 30 * 24 * HOUR_MS)));
}

#[test]
fn a_new_pin_is_the_pin_from_then_on() {
    let bench = Bench::new();
    bench
        .runtime
        .block_on(bench.store.set_pin("123450".into()))
        .unwrap();
    let (bench, memory) = reopened(bench, "a", 1_000);
    assert_eq!(memory.pin, "123450");
    assert_eq!(stored_pin(&bench.path()).unwrap(), "123450");
}

#[test]
fn the_address_of_a_guesser_is_forgotten_with_the_rest() {
    let bench = Bench::new();
    let rows = vec![
        (Door::Pin, tries(Some(1), 1, 4_000, 0)),
        (Door::Pin, tries(Some(2), 1, 9_000, 0)),
    ];
    kept(&bench, rows, 9_000);
    let forgotten =
        bench
            .store
            .forget_old(samples::at(5_000), samples::at(5_000 + 86_400_000), true);
    bench.runtime.block_on(forgotten).unwrap();
    let (_bench, memory) = reopened(bench, "a", 10_000);
    assert_eq!(memory.tries, [(Door::Pin, tries(Some(2), 1, 9_000, 0))]);
}
