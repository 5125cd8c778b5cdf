//! Copies of the database that lie beside it: how many are kept and for how long. How they come about:
//! `damage`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::damage::{beside, filled, lives};
use super::*;

#[test]
fn three_damaged_databases_are_kept_and_the_reasons_are_for_the_hub_alone() {
    let (dir, path, _) = filled();
    for round in 0..6 {
        fs::write(&path, format!("rubbish {round} ").repeat(1_000)).unwrap();
        lives(&path);
    }
    let mut names: Vec<String> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("corrupt"))
        .collect();
    names.sort();
    let (notes, files): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.ends_with(".txt"));
    assert_eq!((files.len(), notes.len()), (3, 3), "{names:?}");
    for note in notes {
        let mode = fs::metadata(dir.path().join(note))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

const DAY: Duration = Duration::from_secs(86_400);

fn aged(path: &Path, ending: &str, made: SystemTime) {
    let mut file = fs::OpenOptions::new();
    let file = file.append(true).create(true).open(beside(path, ending));
    file.unwrap().set_modified(made).unwrap();
}

/// The copies that are there, by their endings.
fn copies_left(path: &Path) -> Vec<String> {
    assert!(path.exists());
    let mut left: Vec<String> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter_map(|name| name.strip_prefix("hub.db.").map(str::to_owned))
        .collect();
    left.sort();
    left
}

/// Forgets what is older than so many days, by a clock that is right now.
fn forget_days(store: &Store, days: i64, synced: bool, by_network: bool) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let before = Stamp {
        mono_ms: -days * 86_400_000,
        wall_ms: now.as_millis() as i64 - days * 86_400_000,
        synced,
    };
    let runtime = Runtime::new().unwrap();
    runtime
        .block_on(store.forget_old(before, samples::at(0), by_network))
        .unwrap();
}

#[test]
fn copies_of_the_database_are_gone_after_a_week_and_the_database_is_not() {
    let (_dir, path, _) = filled();
    let now = SystemTime::now();
    for (ending, age) in [
        ("", 40 * DAY),
        (".corrupt-1795000000000", 8 * DAY),
        (".corrupt-1795000000000-wal", 9 * DAY),
        (".corrupt-1795000000000.txt", 8 * DAY),
        (".corrupt-1795000000001", 8 * DAY),
        (".corrupt-1795000000001-wal", 6 * DAY),
        (".before-2", 8 * DAY),
        (".before-3", 6 * DAY),
        (".before-3.part", 8 * DAY),
        (".before-the-move", 8 * DAY),
        (".corrupt-1795000000000.mended", 8 * DAY),
    ] {
        aged(&path, ending, now - age);
    }
    fs::create_dir(beside(&path, ".before-1")).unwrap();
    fs::write(beside(&path, ".before-1/mine"), "somebody's").unwrap();
    let (store, _) = super::super::open(&path, boot("b", 50)).unwrap();
    forget_days(&store, 30, false, false);
    forget_days(&store, 30, true, false);
    assert_eq!(copies_left(&path).len(), 11, "only the network proves age");
    forget_days(&store, 30, true, true);
    let of_people = [
        "before-1",
        "before-the-move",
        "corrupt-1795000000000.mended",
    ];
    let mut expected = vec![
        "before-3",
        "before-3.part",
        "corrupt-1795000000001",
        "corrupt-1795000000001-wal",
    ];
    expected.extend(of_people);
    expected.sort_unstable();
    assert_eq!(copies_left(&path), expected, "all parts of a copy together");
    // What is in a copy may be kept no longer than in the database.
    forget_days(&store, 5, true, true);
    assert_eq!(copies_left(&path), of_people);
    assert!(beside(&path, ".before-1/mine").exists());
}

#[test]
fn a_copy_has_its_week_from_when_the_time_is_known() {
    let (_dir, path, _) = filled();
    fs::write(&path, "rubbish ".repeat(1_000)).unwrap();
    // Last written long ago: the hub was off.
    aged(&path, "", SystemTime::now() - 40 * DAY);
    aged(&path, ".before-2", SystemTime::now() + 400 * DAY);
    aged(&path, ".before-3", UNIX_EPOCH + 9 * DAY);
    let (store, memory) = super::super::open(&path, boot("b", 50)).unwrap();
    let aside = PathBuf::from(memory.set_aside.unwrap());
    let all = copies_left(&path);
    assert_eq!(all.len(), 4, "{all:?}");
    for _ in 0..2 {
        forget_days(&store, 30, true, true);
        assert_eq!(copies_left(&path), all);
    }
    for ending in all {
        let file = beside(&path, &format!(".{ending}"));
        let made = fs::metadata(&file).unwrap().modified().unwrap();
        let age = SystemTime::now().duration_since(made).unwrap();
        assert!(age < DAY, "{} has a date now", file.display());
    }
    assert!(store.health().set_aside.is_some());
    for ending in ["", ".txt"] {
        aged(&aside, ending, SystemTime::now() - 8 * DAY);
    }
    forget_days(&store, 30, true, true);
    assert!(!aside.exists());
    assert_eq!(store.health().set_aside, None, "not said to be kept");
}
