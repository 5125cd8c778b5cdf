//! The centre's acknowledgement, as it comes from the broker, and what it does to an outbox in a real
//! database: it settles what it names and nothing else, and never goes back.

use std::collections::BTreeSet;
use std::sync::Mutex;

use coherence_hub::record::Ack;
use coherence_hub::room::rows::Stamp;
use coherence_hub::store::{self, Boot, Store};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Messages that wait: more than are settled in one step of small ones, few enough to be quick.
const WAITING: i64 = 40;

/// Up to which they were handed out: nobody can have the others from this life of the database.
const HANDED: i64 = 30;

/// The epoch of the example.
const EPOCH: i64 = 4_503_599_627_370_495;

/// A hub's database with messages that wait for the centre.
pub struct Outbox {
    store: Store,
    /// Looks in beside the store, and puts everything back.
    beside: Mutex<Connection>,
    runtime: Runtime,
    _dir: TempDir,
}

fn now() -> Stamp {
    Stamp {
        mono_ms: 1_000,
        wall_ms: 1_795_167_900_000,
        synced: true,
    }
}

impl Outbox {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder for the database");
        let path = dir.path().join(store::FILE_NAME);
        let boot = Boot {
            boot_id: "a".into(),
            start: now(),
        };
        let (store, _) = store::open(&path, boot).expect("the folder is ours");
        let beside = Connection::open(&path).expect("it was just made");
        beside
            .execute_batch("PRAGMA synchronous = OFF")
            .expect("a setting");
        Outbox {
            store,
            beside: Mutex::new(beside),
            runtime: Runtime::new().expect("a runtime"),
            _dir: dir,
        }
    }

    pub fn holds(&self, data: &[u8]) {
        let Ok(ack) = serde_json::from_slice::<Ack>(data) else {
            return;
        };
        let again = serde_json::to_vec(&ack).expect("it is JSON");
        assert_eq!(
            serde_json::from_slice::<Ack>(&again).ok().as_ref(),
            Some(&ack)
        );

        let mut beside = self.beside.lock().unwrap_or_else(|e| e.into_inner());
        begin_anew(&mut beside);
        let ask = self.store.outbox_acknowledged(ack.clone(), now());
        let done = self.runtime.block_on(ask).expect("the database is well");
        let left = waiting(&beside);

        let named = ack.also.iter().chain(ack.rejected.iter().map(|no| &no.seq));
        let ahead = named.clone().chain([&ack.upto]).any(|seq| *seq > HANDED);
        let heard = ack.epoch == EPOCH && !ahead;
        assert_eq!(
            (done.foreign_epoch, done.ahead),
            (ack.epoch != EPOCH, ack.epoch == EPOCH && ahead)
        );
        let named: BTreeSet<i64> = named.copied().collect();
        let stays = |seq: &i64| !heard || (*seq > ack.upto && !named.contains(seq));
        let expected: Vec<i64> = (1..=WAITING).filter(stays).collect();
        assert_eq!(left, expected, "{ack:?}");

        let state = self.runtime.block_on(self.store.outbox_state());
        let state = state.expect("the database is well");
        let upto = if heard { ack.upto.max(0) } else { 0 };
        assert_eq!((state.acked_upto, state.last_seq), (upto, WAITING));
        assert_eq!(
            (state.rows, state.bytes),
            (left.len() as u64, left.len() as u64)
        );
        // The same once more changes nothing.
        let ask = self.store.outbox_acknowledged(ack, now());
        self.runtime.block_on(ask).expect("the database is well");
        assert_eq!(waiting(&beside), left);
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

fn begin_anew(conn: &mut Connection) {
    let tx = conn.transaction().expect("nobody else writes");
    tx.execute_batch(&format!(
        "DELETE FROM outbox; DELETE FROM dead_letter;
         UPDATE uplink SET epoch = {EPOCH}, acked_upto = 0, handed_upto = {HANDED}, waiting = {WAITING}, waiting_bytes = {WAITING};
         DELETE FROM sqlite_sequence WHERE name = 'outbox';
         WITH RECURSIVE n (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < {WAITING})
         INSERT INTO outbox (seq, stream, body, boot_no, mono_ms, wall_ms, wall_synced)
         SELECT seq, 'event', x'00', 1, 1000, 1795167900000, 1 FROM n;"
    ))
    .expect("the schema is the hub's");
    tx.commit().expect("the disk is well");
}

fn waiting(conn: &Connection) -> Vec<i64> {
    let mut query = conn
        .prepare_cached("SELECT seq FROM outbox ORDER BY seq")
        .expect("the schema is the hub's");
    let rows = query
        .query_map([], |row| row.get(0))
        .expect("it can be read");
    rows.map(|seq| seq.expect("a number")).collect()
}
