//! Files that are damaged, locked, cut off, of an older schema: what becomes of them, and that the
//! hub goes on. Random places are drawn from a seed that is printed.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

/// The same numbers for the same seed, on every machine.
struct Dice(u64);

impl Dice {
    fn from_environment() -> Dice {
        let seed =
            std::env::var("COHERENCE_SEED").map_or(7, |text| text.parse().expect("a number"));
        println!("COHERENCE_SEED={seed}");
        Dice(seed)
    }

    /// Below `end` (splitmix64).
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}

/// With some hundred pages of beats; closed.
pub(super) fn filled() -> (TempDir, PathBuf, Memory) {
    let bench = Bench::with_people();
    bench
        .store
        .commit((1..=5_000).map(|n| samples::rr(n, 1, n * 800)).collect());
    let path = bench.path();
    let dir = bench.close();
    let (store, memory) = open(&path, boot("a", 1)).unwrap();
    Runtime::new().unwrap().block_on(store.close()).unwrap();
    (dir, path, memory)
}

pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    open::with_ending(path, ending)
}

/// Opens, writes, closes, opens again: the hub lives.
pub(super) fn lives(path: &Path) -> Memory {
    let runtime = Runtime::new().unwrap();
    let (store, memory) = super::super::open(path, boot("b", 50)).unwrap();
    store.commit(vec![samples::strap(9)]);
    runtime.block_on(store.ping()).unwrap();
    let health = store.health();
    assert!(!health.failing && health.dropped == 0, "{health:?}");
    assert_eq!(health.set_aside.is_some(), memory.set_aside.is_some());
    runtime.block_on(store.close()).unwrap();
    let (store, again) = super::super::open(path, boot("b", 60)).unwrap();
    assert_eq!((again.hub_id, again.set_aside), (memory.hub_id, None));
    assert!(again.past.straps.iter().any(|strap| strap.no == StrapNo(9)));
    runtime.block_on(store.close()).unwrap();
    memory
}

#[test]
fn torn_pages_anywhere_are_survived_and_nothing_is_lost_in_silence() {
    let (dir, path, before) = filled();
    let sound = fs::read(&path).unwrap();
    let pages = sound.len() as u64 / 4_096;
    let mut dice = Dice::from_environment();
    let (mut set_aside, mut same_hub) = (0, 0);
    for round in 0..40 {
        let torn = dir.path().join(format!("torn{round}.db"));
        let mut bytes = sound.clone();
        // Half a page of rubbish, as a cut in the middle of a write leaves it.
        let at = (dice.below(pages) * 4_096 + dice.below(2) * 2_048) as usize;
        bytes[at..at + 2_048]
            .iter_mut()
            .for_each(|byte| *byte = dice.below(256) as u8);
        fs::write(&torn, bytes).unwrap();
        let memory = lives(&torn);
        if let Some(aside) = &memory.set_aside {
            set_aside += 1;
            let note = fs::read_to_string(format!("{aside}.txt")).unwrap();
            assert!(note.contains("Reason: "), "{note}");
            assert!(note.contains("deleted after a week"), "{note}");
        } else {
            // Rubbish in what no row uses.
            assert_eq!(memory.past.next_rr_id, 5_001, "round {round}, offset {at}");
        }
        same_hub += usize::from(memory.hub_id == before.hub_id);
    }
    println!("of 40 torn files {set_aside} were set aside; {same_hub} stayed the same hub");
    assert!(set_aside >= 20 && same_hub >= 30);
}

#[test]
fn whatever_lies_in_the_databases_place_the_hub_lives() {
    type Harm = fn(&Path);
    let harms: [(&str, bool, Harm); 6] = [
        ("a header of zeros", true, |path| {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.write_all_at(&[0; 100], 0).unwrap();
        }),
        ("cut off in the middle", true, |path| {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2 - 777)
                .unwrap();
        }),
        ("garbage", true, |path| {
            fs::write(path, [0xA5; 70_000]).unwrap()
        }),
        ("a directory", true, |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
            fs::write(path.join("something"), "in it").unwrap();
        }),
        ("gone, but for its log", true, |path| {
            fs::remove_file(path).unwrap();
            fs::write(beside(path, "-wal"), [7; 5_000]).unwrap();
        }),
        ("empty", false, |path| fs::write(path, "").unwrap()),
    ];
    for (what, is_set_aside, harm) in harms {
        let (_dir, path, _) = filled();
        harm(&path);
        let memory = lives(&path);
        assert_eq!(memory.set_aside.is_some(), is_set_aside, "{what}");
    }
}

#[test]
fn a_log_torn_at_random_loses_its_end_and_no_more() {
    let bench = Bench::with_people();
    for n in 1..=100 {
        bench.store.commit(vec![samples::rr(n, 1, n * 800)]);
    }
    bench.health();
    let (file, log) = (
        fs::read(bench.path()).unwrap(),
        fs::read(beside(&bench.path(), "-wal")).unwrap(),
    );
    let mut dice = Dice::from_environment();
    for round in 0..30 {
        let torn = bench.dir.path().join(format!("torn{round}.db"));
        let mut torn_log = log.clone();
        let at = dice.below(log.len() as u64) as usize;
        if round % 2 == 0 {
            torn_log.truncate(at);
        } else {
            torn_log[at] ^= 0xFF;
        }
        fs::write(&torn, &file).unwrap();
        fs::write(beside(&torn, "-wal"), torn_log).unwrap();
        let (store, memory) = super::super::open(&torn, boot("b", 50)).unwrap();
        assert_eq!(memory.set_aside, None, "round {round}, byte {at}");
        let beats: i64 = bench
            .runtime
            .block_on(store.send_ask("testing", |keeper| {
                keeper
                    .conn
                    .query_row("SELECT count(*) FROM rr", [], |row| row.get(0))
            }))
            .unwrap();
        assert_eq!(beats + 1, memory.past.next_rr_id, "without a hole");
    }
}

#[test]
fn damage_found_in_mid_run_ends_the_store_and_the_next_start_begins_anew() {
    let (_dir, path, before) = filled();
    let runtime = Runtime::new().unwrap();
    let (store, _) = super::super::open(&path, boot("a", 5_000)).unwrap();
    runtime
        .block_on(store.send_ask("testing", |keeper| {
            keeper.conn.execute_batch("PRAGMA shrink_memory")
        }))
        .unwrap();
    // Under the running hub the newest pages become rubbish.
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let pages = file.metadata().unwrap().len() / 4_096;
    let first = pages * 3 / 4 * 4_096;
    file.write_all_at(&vec![0xA5; (pages * 4_096 - first) as usize], first)
        .unwrap();
    store.commit(
        (6_001..=6_050)
            .map(|n| samples::rr(n, 1, n * 800))
            .collect(),
    );
    runtime.block_on(async {
        let _ = store.sessions(10).await;
        tokio::time::timeout(Duration::from_secs(20), store.ended())
            .await
            .expect("it ends, so that the process begins anew");
    });
    drop(store);
    assert!(beside(&path, ".damaged").exists());
    let memory = lives(&path);
    assert_eq!(memory.hub_id, before.hub_id, "the same hub");
    assert!(memory.damage.is_some_and(|why| why.contains("malformed")));
    assert!(!beside(&path, ".damaged").exists());
}

#[test]
fn a_database_deleted_or_replaced_under_the_running_hub_ends_it_and_nothing_is_promised() {
    type Harm = fn(&Path);
    let harms: [(&str, bool, Harm); 3] = [
        ("deleted", false, |path| {
            fs::remove_file(path).unwrap();
            fs::remove_file(beside(path, "-wal")).unwrap();
        }),
        ("deleted without its log", false, |path| {
            fs::remove_file(path).unwrap()
        }),
        ("replaced by an older copy", true, |path| {
            fs::rename(path.with_extension("copy"), path).unwrap()
        }),
    ];
    let runtime = Runtime::new().unwrap();
    for (what, has_a_past, harm) in harms {
        for durably in [true, false] {
            let (_dir, path, before) = filled();
            fs::copy(&path, path.with_extension("copy")).unwrap();
            let (store, _) = super::super::open(&path, boot("a", 5_000)).unwrap();
            store.commit(vec![samples::rr(5_001, 1, 9_000_000)]);
            runtime.block_on(store.ping()).unwrap();
            harm(&path);
            if durably {
                let (tell, told) = mpsc::channel();
                store.commit_then(
                    vec![samples::consent(1, "store", true)],
                    Box::new(move |result| tell.send(result).unwrap()),
                );
                assert!(
                    matches!(told.recv().unwrap(), Err(StoreError::Closed)),
                    "{what}"
                );
            }
            runtime.block_on(async {
                let ended = async {
                    loop {
                        store.commit(vec![samples::strap(1)]);
                        tokio::select! {
                            () = store.ended() => return,
                            () = tokio::time::sleep(Duration::from_millis(50)) => {}
                        }
                    }
                };
                tokio::time::timeout(Duration::from_secs(20), ended)
                    .await
                    .expect("it ends, so that the process begins with what lies there");
            });
            drop(store);
            let memory = lives(&path);
            assert_eq!(memory.set_aside, None, "{what}");
            assert_eq!(memory.hub_id == before.hub_id, has_a_past, "{what}");
            let next = if has_a_past { 5_001 } else { 1 };
            assert_eq!(memory.past.next_rr_id, next, "{what}");
        }
    }
}

#[test]
fn a_hub_killed_after_setting_aside_is_the_same_hub_again() {
    let (_dir, path, before) = filled();
    aside::set_aside(
        &path,
        &boot("a", 0),
        &StoreError::Damaged {
            why: "tried".into(),
        },
    )
    .unwrap();
    assert_eq!(lives(&path).hub_id, before.hub_id);
}

#[test]
fn a_file_in_others_hands_at_the_start_is_opened_when_they_let_go() {
    let (_dir, path, before) = filled();
    let other = Connection::open(&path).unwrap();
    other
        .pragma_update(None, "locking_mode", "EXCLUSIVE")
        .unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let (store, memory) = super::super::open(&path, boot("a", 5_000)).unwrap();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(store.ping()).unwrap();
    let health = store.health();
    assert!(
        health.away && health.failing && health.advice.contains("Another program"),
        "{health:?}"
    );
    // What immutable reading finds is the whole file here.
    assert_eq!(
        (memory.hub_id, memory.past.next_rr_id),
        (before.hub_id, before.past.next_rr_id)
    );
    store.commit(vec![samples::rr(5_001, 1, 9_000_000)]);
    let (tell, told) = mpsc::channel();
    store.commit_then(
        vec![samples::consent(1, "store", true)],
        Box::new(move |result| tell.send(result).unwrap()),
    );
    assert!(matches!(told.recv().unwrap(), Err(StoreError::Away(_))));
    let asked = runtime.block_on(store.sessions(1));
    assert!(matches!(asked, Err(StoreError::Away(_))), "{asked:?}");
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    let begin = Instant::now();
    while store.health().away || store.health().waiting_rows > 0 {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "{:?}",
            store.health()
        );
        store.commit(vec![samples::strap(3)]);
        std::thread::sleep(Duration::from_millis(100));
    }
    runtime.block_on(store.close()).unwrap();
    let (_store, memory) = super::super::open(&path, boot("a", 6_000)).unwrap();
    assert_eq!(memory.past.next_rr_id, 5_002);
}

/// What is logged on this thread meanwhile.
fn logged(what: impl FnOnce()) -> String {
    let log = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&log);
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || Sink(Arc::clone(&sink)))
        .finish();
    tracing::subscriber::with_default(subscriber, what);
    String::from_utf8(log.lock().unwrap().clone()).unwrap()
}

#[test]
fn an_empty_file_is_told_of_only_when_a_database_has_begun_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.db");
    fs::write(&path, "").unwrap();
    // Nothing can begin here: the log's place is taken.
    fs::create_dir(beside(&path, "-wal")).unwrap();
    let told = "was an empty file";
    let failed = logged(|| assert!(open::open(&path, &boot("a", 0), None).is_err()));
    assert!(!failed.contains("empty file"), "{failed}");
    fs::remove_dir(beside(&path, "-wal")).unwrap();
    let begun = logged(|| assert!(open::open(&path, &boot("a", 0), None).is_ok()));
    assert_eq!(begun.matches(told).count(), 1, "{begun}");
}

#[test]
fn a_large_database_is_said_to_be_checked_and_copied() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.db");
    of_the_first_schema(&path)
        .execute_batch("CREATE TABLE much (x BLOB); INSERT INTO much VALUES (zeroblob(40000000))")
        .unwrap();
    let log = logged(|| assert!(open::open(&path, &boot("b", 0), None).is_ok()));
    for said in [
        "checking the database, ",
        "copying the database before its upgrade, ",
    ] {
        assert_eq!(log.matches(said).count(), 1, "{log}");
    }
}

#[test]
fn advice_about_rights_names_the_real_directory() {
    let error = StoreError::File {
        doing: "opening",
        path: "/srv/hub/hub.db".into(),
        source: std::io::ErrorKind::PermissionDenied.into(),
    };
    let gauges = Gauges::of(Path::new("/srv/hub/hub.db"));
    gauges.told(&error);
    let advice = gauges.picture(0).advice;
    assert!(
        advice.contains("chown -R coherence-hub: /srv/hub && chmod -R u+rwX /srv/hub"),
        "{advice}"
    );
}

#[test]
fn a_past_that_could_not_be_read_is_not_written_over() {
    let (_dir, path, before) = filled();
    // What opens at last is another hub's than the one the room has been living by.
    let hidden = path.with_extension("hidden");
    fs::rename(&path, &hidden).unwrap();
    let dir = path.parent().unwrap();
    fs::create_dir(beside(&path, "-wal")).unwrap();
    let (store, memory) = super::super::open(&path, boot("a", 5_000)).unwrap();
    assert!(store.health().away && !memory.first_start);
    assert_ne!(memory.hub_id, before.hub_id);
    store.commit(vec![samples::rr(1, 1, 5_100)]);
    fs::remove_dir(beside(&path, "-wal")).unwrap();
    fs::rename(&hidden, &path).unwrap();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let ended = async {
            loop {
                store.commit(vec![samples::strap(1)]);
                tokio::select! {
                    () = store.ended() => return,
                    () = tokio::time::sleep(Duration::from_millis(100)) => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ended)
            .await
            .expect("it ends, so that the process begins anew with the real past");
    });
    drop(store);
    let (_store, memory) = super::super::open(&path, boot("a", 6_000)).unwrap();
    assert_eq!(
        (memory.hub_id, memory.past.next_rr_id),
        (before.hub_id, 5_001),
        "{dir:?}"
    );
}

const FIRST: &str = include_str!("../../../migrations/hub/0001_first.sql");
const SECOND: &str = include_str!("../../../migrations/hub/0002_hold_fast.sql");

/// A database as the first schema left it, with something in it.
fn of_the_first_schema(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .unwrap();
    conn.execute_batch(FIRST).unwrap();
    conn.execute_batch(
        "INSERT INTO boot VALUES (1, 'a', 0, 1795000000000, 1, NULL);
         INSERT INTO meta (only_row, hub_id, hub_key, pin, created_boot_no, created_mono_ms, created_wall_ms, created_wall_synced)
             VALUES (1, '6f1dc0ea-7a5c-4a2e-9d5f-3f0c4a9e2b11', zeroblob(32), '123456', 1, 0, 1795000000000, 1);
         INSERT INTO strap VALUES (1, 'ble:AA:BB:CC:00:00:01', 'strap 1', NULL, 1, 0, 1795000000000, 1);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
             INSERT INTO rr SELECT i, 1, NULL, 800, 0, 0, 'accepted', i * 800, 1, i * 800, 1795000000000 + i * 800, 1 FROM n;
         PRAGMA user_version = 1;",
    )
    .unwrap();
    conn
}

#[test]
fn an_older_schema_is_copied_before_it_is_raised_and_no_row_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.db");
    drop(of_the_first_schema(&path));
    // Copies of upgrades long ago.
    for version in ["0", "1"] {
        fs::write(beside(&path, &format!(".before-{version}")), "old").unwrap();
    }
    let (store, memory) = super::super::open(&path, boot("a", 5_000)).unwrap();
    assert_eq!(
        (memory.pin.as_str(), memory.past.next_rr_id),
        ("123456", 3_001)
    );
    assert_eq!(memory.past.straps.len(), 1);
    Runtime::new().unwrap().block_on(store.close()).unwrap();
    let count = |path: &Path| {
        let conn = Connection::open(path).unwrap();
        let get = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        (get("PRAGMA user_version"), get("SELECT count(*) FROM rr"))
    };
    let known = open::known_version();
    assert_eq!(count(&path), (known, 3_000));
    let copy = beside(&path, &format!(".before-{known}"));
    assert_eq!(count(&copy), (1, 3_000), "as it was");
    assert_eq!(
        fs::metadata(&copy).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(
        !beside(&path, ".before-0").exists() && beside(&path, ".before-1").exists(),
        "two are kept"
    );
    assert!(!beside(&copy, ".part").exists());
}

#[test]
fn a_hub_killed_in_the_middle_of_an_upgrade_does_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.db");
    let conn = of_the_first_schema(&path);
    // Half-way: the pages are in the log, the commit is not.
    conn.execute_batch("PRAGMA cache_size = 2; PRAGMA cache_spill = 1; BEGIN")
        .unwrap();
    conn.execute_batch(SECOND).unwrap();
    conn.execute_batch(
        "CREATE TABLE half_way (x TEXT); UPDATE rr SET gap_ms = 1; PRAGMA user_version = 2",
    )
    .unwrap();
    fs::write(beside(&path, ".before-2.part"), "half a copy").unwrap();
    let crashed = dir.path().join("crashed.db");
    for ending in ["", "-wal"] {
        fs::copy(beside(&path, ending), beside(&crashed, ending)).unwrap();
    }
    let (store, memory) = super::super::open(&crashed, boot("b", 0)).unwrap();
    assert_eq!(
        (memory.set_aside.as_deref(), memory.past.next_rr_id),
        (None, 3_001)
    );
    let runtime = Runtime::new().unwrap();
    let found = runtime.block_on(store.send_ask("testing", |keeper| {
        keeper.conn.query_row(
            "SELECT (SELECT max(gap_ms) FROM rr) + (SELECT count(*) FROM sqlite_schema WHERE name = 'half_way')",
            [],
            |row| row.get::<_, f64>(0),
        )
    }));
    assert_eq!(found.unwrap(), 0.0);
}
