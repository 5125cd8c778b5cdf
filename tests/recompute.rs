//! Live equals offline: what the hub kept of a session is computed again by the real program and is the
//! same to the last bit, after a whole session of the virtual room with its troubles, after restarts in the
//! middle of it, and beside a hub that goes on. What is not the same is found and named.

mod support;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use coherence_hal::script::Scripted;
use coherence_hal::virtual_room::VirtualRoom;
use coherence_hal::{SourceClock, SourceEvent};
use coherence_hub::room::command::{self, Join};
use coherence_hub::room::rows::Stamp;
use coherence_hub::room::{
    ClockReading, ParticipantId, Room, SessionPlan, Settings, StageRules, Suppression,
};
use coherence_hub::signal::{Scorer, Version};
use coherence_hub::store::{self, Boot, Store};
use rusqlite::{Connection, OpenFlags};
use support::hub::{Hub, PROGRAM};
use support::phone::Phone;
use support::recompute::score_session;
use uuid::Uuid;

/// 2026-11-20 09:45:00 UTC, where the first boot's monotonic clock shows 0.
const BEGIN_MS: i64 = 1_795_167_900_000;
const SESSION: &str = "20261120T0945Z";
const PEOPLE: usize = 24;

/// The virtual room in a real store, as fast as it goes, with lives and boots of the hub.
struct Played {
    dir: PathBuf,
    source: Scripted<VirtualRoom>,
    room: Room,
    store: Store,
    scorer: Scorer,
    /// Hub time since the session began.
    now_ms: i64,
    /// That less what the monotonic clock of this boot shows.
    boot_ms: i64,
    grid_ms: i64,
}

/// One life of the hub on this directory.
fn live(dir: &Path, boot_id: &str, now_ms: i64, boot_ms: i64) -> (Store, Room) {
    let reading = ClockReading {
        mono_ms: now_ms - boot_ms,
        wall_ms: BEGIN_MS + now_ms,
        known: true,
    };
    let boot = Boot {
        boot_id: boot_id.to_owned(),
        start: Stamp {
            mono_ms: reading.mono_ms,
            wall_ms: reading.wall_ms,
            synced: true,
        },
    };
    let (store, memory) = store::open(&dir.join("hub.db"), boot).expect("the store opens");
    let settings = Settings {
        plan: SessionPlan::default(),
        suppression: Suppression {
            min_group: 3,
            min_distribution: 5,
        },
        max_participants: 100,
        keep_ms: 30 * 86_400_000,
        stage: StageRules::default(),
    };
    let room = Room::new(settings, boot_id, reading, memory.past);
    (store, room)
}

fn virtual_room(start_ms: i64) -> Scripted<VirtualRoom> {
    let clock = SourceClock::new(|| 0, |_| Box::pin(std::future::pending()));
    Scripted::new(
        "virtual",
        VirtualRoom::new(PEOPLE, 1),
        start_ms,
        clock,
        "Playing.",
    )
}

impl Played {
    fn begin(dir: &Path, version: Version) -> Played {
        let (store, room) = live(dir, "first", 0, 0);
        Played {
            dir: dir.to_owned(),
            source: virtual_room(0),
            grid_ms: room.next_grid(0),
            room,
            store,
            scorer: Scorer::new(version),
            now_ms: 0,
            boot_ms: 0,
        }
    }

    /// Lets the room live until then; what it keeps is committed at each grid point, as live.
    fn until(&mut self, end_ms: i64) {
        while self.now_ms < end_ms {
            self.now_ms += 500;
            let mono_ms = self.now_ms - self.boot_ms;
            self.room.observe_clock(ClockReading {
                mono_ms,
                wall_ms: BEGIN_MS + self.now_ms,
                known: true,
            });
            for event in self.source.past_events(self.now_ms) {
                let event = match event {
                    SourceEvent::Strap(mut event) => {
                        event.at_ms -= self.boot_ms;
                        SourceEvent::Strap(event)
                    }
                    state => state,
                };
                self.room.source_event("virtual", event);
            }
            self.room.tick(mono_ms);
            while self.grid_ms <= mono_ms {
                let job = self.room.grid_job(self.grid_ms);
                self.room.finish_grid(job.compute(&mut self.scorer));
                self.store.commit(self.room.take_rows(mono_ms));
                self.grid_ms = self.room.next_grid(self.grid_ms);
            }
        }
    }

    /// Somebody puts on the strap of this number.
    fn join(&mut self, n: u128, strap: u32) {
        let join = Join {
            participant: ParticipantId(Uuid::from_u128(n)),
            resumed: false,
            session_id: None,
            name: None,
            intention: None,
            strap: Some(strap.to_string()),
            consent: None,
            role: None,
            socket: None,
            facilitator: false,
            peer: IpAddr::from([10, 0, 0, n as u8]),
        };
        let now_ms = self.now_ms - self.boot_ms;
        let joined = self.room.apply(command::Command::Join(join), now_ms);
        joined.expect("the strap is free");
    }

    /// The process dies with what it had not committed, and comes back later; `boot_id`: of the operating
    /// system, which begins its clock anew where it is another.
    async fn dies_for(&mut self, off_ms: i64, boot_id: &str, new_boot: bool) {
        let store = self.store.clone();
        store.close().await.expect("what was committed is written");
        self.now_ms += off_ms;
        // What beats meanwhile is heard by nobody.
        self.source.past_events(self.now_ms);
        if new_boot {
            self.boot_ms = self.now_ms - 20_000;
        }
        (self.store, self.room) = live(&self.dir, boot_id, self.now_ms, self.boot_ms);
        self.grid_ms = self.room.next_grid(self.now_ms - self.boot_ms);
    }

    async fn end(self) {
        self.store
            .close()
            .await
            .expect("what was committed is written");
    }
}

fn database(dir: &Path) -> Connection {
    Connection::open(dir.join("hub.db")).expect("the hub's database")
}

fn count(db: &Connection, what: &str) -> i64 {
    db.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| {
        row.get(0)
    })
    .expect("it can be counted")
}

#[tokio::test]
async fn a_whole_session_with_drop_outs_is_computed_again_to_the_last_bit() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let mut played = Played::begin(dir.path(), Version::One);
    played.until(60_000);
    for n in 1..=8 {
        played.join(n.into(), n);
    }
    played.until(895_000);
    played.end().await;
    let (all, scores) = score_session(dir.path(), SESSION).all_equal();
    assert!(all > 3_000 && scores > 2_000, "{all} {scores}");
    let db = database(dir.path());
    for trouble in [
        "rr WHERE gap_ms > 5000",
        "rr WHERE gap_ms BETWEEN 1 AND 5000",
        "rr WHERE mark = 'off_body'",
        "score WHERE reason = 'silent'",
        "score WHERE reason = 'off_body'",
        "score WHERE status = 'fair'",
        "score WHERE status = 'poor'",
        "score WHERE status = 'flat'",
    ] {
        assert!(count(&db, trouble) > 0, "the room had none: {trouble}");
    }
    let without_proof =
        "score WHERE status IS NOT NULL AND (settings IS NULL OR window_end_mono_ms IS NULL)";
    assert_eq!(count(&db, without_proof), 0);
}

#[tokio::test]
async fn a_session_with_restarts_and_a_reboot_is_computed_again_to_the_last_bit() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let mut played = Played::begin(dir.path(), Version::Two);
    played.until(60_000);
    played.join(1, 3);
    played.until(197_000);
    // Hardly noticed; as long as a gap may be; so long that nothing of before counts; and a reboot.
    played.dies_for(1_500, "first", false).await;
    played.until(330_500);
    played.dies_for(4_000, "first", false).await;
    played.until(402_000);
    played.dies_for(130_000, "first", false).await;
    played.until(640_000);
    played.dies_for(25_000, "second", true).await;
    played.until(895_000);
    played.end().await;
    let (all, scores) = score_session(dir.path(), SESSION).all_equal();
    assert!(all > 2_000 && scores > 1_000, "{all} {scores}");
    let db = database(dir.path());
    assert_eq!(count(&db, "score WHERE algorithm = 2"), all as i64);
    assert_eq!(
        count(&db, "score WHERE standard_error IS NOT NULL"),
        scores as i64
    );
    assert_eq!(count(&db, "boot"), 2);
    assert_eq!(count(&db, "session"), 1, "it went on over all of it");
}

#[tokio::test]
async fn what_was_changed_is_found_and_what_is_gone_is_said() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let mut played = Played::begin(dir.path(), Version::One);
    played.until(300_000);
    played.end().await;
    let again = || score_session(dir.path(), SESSION);
    let refused = |told: &str| {
        let again = again();
        assert_eq!(again.code, Some(1), "{again:?}");
        assert!(again.complaints.contains(told), "{again:?}\n{told}");
        again
    };
    let (all, _) = again().all_equal();

    // A figure that was changed where it is kept, by one bit.
    let db = database(dir.path());
    let change = |sql: &str| db.execute(sql, []).expect("the schema");
    let (score_no, stored, mono_ms): (i64, f64, i64) = db
        .query_row(
            "SELECT score_no, score, mono_ms FROM score
             WHERE score IS NOT NULL AND strap_no = 4 AND mono_ms >= 200000 ORDER BY score_no LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .expect("strap 4 has a score");
    let put = |score: f64| {
        db.execute(
            "UPDATE score SET score = ?1 WHERE score_no = ?2",
            (score, score_no),
        )
        .expect("the schema")
    };
    let changed = f64::from_bits(stored.to_bits() + 1);
    put(changed);
    let (minute, second) = (45 + mono_ms / 60_000, mono_ms / 1_000 % 60);
    let differing = refused(&format!(
        "session {SESSION}: 1 of {all} evaluations differ from what is stored; the first: strap 4, \
         2026-11-20T09:{minute:02}:{second:02}Z: score is stored as {changed} and computed again as {stored}"
    ));
    assert_eq!(differing.number(" evaluations"), all - 1);
    put(stored);

    // An interval that was changed: it is there, so that nothing excuses the windows that hold it.
    let one = "(SELECT rr_id FROM rr WHERE strap_no = 4 AND mono_ms > 150000 AND mark = 'accepted' LIMIT 1)";
    change(&format!(
        "UPDATE rr SET rr_ms = rr_ms - 9 WHERE rr_id = {one}"
    ));
    refused("the first: strap 4, 2026-11-20T09:47:35Z: ");
    change(&format!(
        "UPDATE rr SET rr_ms = rr_ms + 9 WHERE rr_id = {one}"
    ));
    assert_eq!(again().all_equal().0, all);

    // Another program's constants; and nothing of them, as in rows from before they were kept.
    change("UPDATE score SET settings = '00000000000000ff' WHERE settings IS NOT NULL");
    refused("settings is stored as 00000000000000ff and computed again as ");
    change(
        "UPDATE score SET settings = NULL, window_start_mono_ms = NULL, window_end_mono_ms = NULL",
    );
    assert_eq!(again().all_equal().0, all);

    // An interval that is lost, and a version that nobody knows.
    change(&format!("DELETE FROM rr WHERE rr_id = {one}"));
    change("UPDATE score SET algorithm = 99 WHERE strap_no = 5 AND algorithm IS NOT NULL");
    let gone = again();
    assert_eq!(gone.code, Some(0), "{gone:?}");
    let holes = gone.number(" can't be checked: R-R is missing inside of their windows");
    assert!((12..=18).contains(&holes), "80 s of windows: {gone:?}");
    assert!(
        gone.number(" can't be checked: this program does not know") > 30,
        "{gone:?}"
    );

    // What `privacy.keep_days` has taken: a part, and all.
    change("DELETE FROM rr WHERE mono_ms < 200000");
    let gone = again();
    assert_eq!(gone.code, Some(0), "{gone:?}");
    let forgotten = gone.number(" can't be checked: their R-R is no longer kept");
    assert!(forgotten > all / 2, "{gone:?}");
    change("DELETE FROM rr");
    refused("there is nothing that could be computed again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_computed_again_beside_the_hub_that_goes_on_with_it() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let hub = Hub::demo(dir.path(), &["--people", "24", "--seed", "7"]).await;
    let mut wall = Phone::connect(&hub).await;
    let session = wall.wait_for("session_state").await["session"].clone();
    let id = session["id"].as_str().expect("an id").to_owned();
    for _ in 0..2 {
        wall.wait_where("group_metrics_update", |group| {
            group["scored"].as_u64() > Some(11)
        })
        .await;
    }
    let scored = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let db =
            Connection::open_with_flags(dir.path().join("hub.db"), flags).expect("it is there");
        count(&db, "score WHERE score IS NOT NULL")
    };
    support::wait_until("scores are committed", || scored() > 23).await;
    let (all, scores) = score_session(dir.path(), &id).all_equal();
    assert!(all > scores && scores > 23, "{all} {scores}");
    // The past that the demo brings along is stored in the same way.
    let (status, log) = hub.stop().await;
    assert!(status.success(), "{log}");
    let (later, _) = score_session(dir.path(), &id).all_equal();
    assert!(later >= all);
}

#[test]
fn what_can_not_be_computed_again_is_a_clear_complaint() {
    let dir = tempfile::tempdir().expect("a directory for the test");
    let complaint = |dir: &Path, what: &str| {
        let again = score_session(dir, SESSION);
        assert_eq!((again.code, again.out.as_str()), (Some(1), ""), "{again:?}");
        assert!(again.complaints.contains(what), "{again:?}");
    };
    let nowhere = dir.path().join("nowhere");
    complaint(&nowhere, "nowhere/hub.db: No such file or directory");
    assert!(!nowhere.exists(), "nothing is made of it");
    let file = dir.path().join("hub.db");
    std::fs::write(&file, "").expect("the directory is ours");
    complaint(dir.path(), "hub.db: no hub has begun in it");
    std::fs::write(&file, "no database at all").expect("the directory is ours");
    complaint(dir.path(), "the session can't be read: ");
    std::fs::remove_file(&file).expect("the directory is ours");
    drop(live(dir.path(), "first", 0, 0));
    complaint(dir.path(), "hub.db keeps no session \"20261120T0945Z\"");
    for wrong in [
        &["score", "--session", SESSION, "file.csv"][..],
        &["score", "--session", SESSION, "--format", "csv"],
        &["score", "--data-dir", "/tmp", "file.csv"],
        &["score"],
    ] {
        let output = Command::new(PROGRAM).args(wrong).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
}
