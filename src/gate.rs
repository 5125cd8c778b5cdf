//! What opens doors while the hub runs: the one owner of the PIN, of the counts of wrong tries and of
//! the programs' tokens. It decides through `access` and keeps through `store`; who may then do what
//! is decided where it is done.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::access::scoped::{self, Made, Now, TOKENS_MAX};
use crate::access::token::{self, FACILITATOR_MS};
use crate::access::{Door, Guard, Refusal, Scope, Scoped, Who};
use crate::room::ParticipantId;
use crate::room::rows::Stamp;
use crate::store::{Memory, Store, StoreError, random_pin};
use crate::telemetry::metric;

/// Between two tries to write down what the disk refused, when nothing new has to be.
const RETRY_MS: i64 = 60_000;

/// The gate; shared, and the same for the web and the command line.
pub struct Gate {
    store: Store,
    /// Proves tokens. Never shown.
    hub_key: [u8; 32],
    keys: Arc<Mutex<Keys>>,
}

/// What changes. The store's thread looks in here when it writes.
struct Keys {
    /// Six digits, the facilitator's.
    pin: String,
    pins: Guard,
    room_codes: Guard,
    tokens: Vec<Scoped>,
    /// The disk did not take what the guards owe; when that was, monotonic.
    refused_ms: Option<i64>,
}

impl Keys {
    fn guard(&mut self, door: Door) -> &mut Guard {
        match door {
            Door::Pin => &mut self.pins,
            Door::RoomCode => &mut self.room_codes,
        }
    }
}

/// Why the admin's wish was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Gate {
    /// The gate as it was left; `now_ms` is monotonic.
    pub fn new(store: Store, memory: &Memory, now_ms: i64) -> Self {
        let guard = |door| {
            let of_door = memory.tries.iter().filter(|(of, _)| *of == door);
            Guard::remembered(door, of_door.map(|(_, tries)| *tries), now_ms)
        };
        let keys = Keys {
            pin: memory.pin.clone(),
            pins: guard(Door::Pin),
            room_codes: guard(Door::RoomCode),
            tokens: memory.tokens.clone(),
            refused_ms: None,
        };
        Gate {
            store,
            hub_key: memory.hub_key,
            keys: Arc::new(Mutex::new(keys)),
        }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        lock(&self.keys)
    }

    /// The token by which a participant is known again.
    pub fn participant_token(&self, id: ParticipantId) -> String {
        token::participant_token(&self.hub_key, id)
    }

    /// Whom a token names, if this hub gave it and it is still good.
    pub fn who(&self, token: &str, now: Stamp) -> Option<Who> {
        let keys = self.keys();
        if !token.starts_with(scoped::PREFIX) {
            return token::read_token(&self.hub_key, &keys.pin, token, now.wall_ms);
        }
        let hash = scoped::hash(token);
        let found = keys.tokens.iter().find(|token| token.hash == hash)?;
        let now = Now {
            mono_ms: now.mono_ms,
            wall_ms: now.wall_ms,
        };
        found.is_good(now).then_some(Who::Scoped(found.scope))
    }

    /// A program's token has opened something.
    pub async fn note_use(&self, token: &str, now: Stamp) {
        let hash = scoped::hash(token);
        let news = {
            let mut keys = self.keys();
            let found = keys.tokens.iter_mut().find(|token| token.hash == hash);
            found.is_some_and(|token| token.note_use(now.wall_ms))
        };
        if news && let Err(error) = self.store.note_token_use(hash, now).await {
            tracing::warn!(%error, "when a token was last used could not be written down");
        }
    }

    /// A facilitator's token and its expiry (hub time), for the right PIN. A wrong one is on the card
    /// before it is answered, so that killing the hub helps no guesser.
    ///
    /// # Errors
    /// The PIN is wrong, or its sender must wait.
    pub async fn facilitator(
        &self,
        peer: IpAddr,
        given: &str,
        now: Stamp,
    ) -> Result<(String, i64), Refusal> {
        let right = self.keys().pin.clone();
        self.try_door(Door::Pin, peer, (&right, given), now).await?;
        let expires_at_ms = now.wall_ms + FACILITATOR_MS;
        let token = token::facilitator_token(&self.hub_key, &right, expires_at_ms);
        Ok((token, expires_at_ms))
    }

    /// Whether a room code is the right one.
    ///
    /// # Errors
    /// It is wrong, or its sender must wait.
    pub async fn room_code(
        &self,
        peer: IpAddr,
        right: &str,
        given: &str,
        now: Stamp,
    ) -> Result<(), Refusal> {
        self.try_door(Door::RoomCode, peer, (right, given), now)
            .await
    }

    async fn try_door(
        &self,
        door: Door,
        peer: IpAddr,
        (right, given): (&str, &str),
        now: Stamp,
    ) -> Result<(), Refusal> {
        // Who must wait is not looked at, and that is no news: neither to the log nor to the disk.
        let mut looked_at = false;
        let is_right = || {
            looked_at = true;
            token::same_secret(&self.hub_key, right, given)
        };
        let (tried, writes) = {
            let mut keys = self.keys();
            let guard = keys.guard(door);
            let tried = guard.take(peer, is_right, now.mono_ms);
            let owes = guard.owes();
            let retry = (keys.refused_ms).is_none_or(|at| now.mono_ms - at >= RETRY_MS);
            (tried, owes && (looked_at || retry))
        };
        if looked_at && let Err(refusal) = &tried {
            metrics::counter!(metric::WRONG_TRIES, "door" => door.word()).increment(1);
            match refusal {
                // Guests mistype the room's code; that is nobody's business before it is too often.
                Refusal::Wrong { .. } if door == Door::RoomCode => {}
                Refusal::Wrong { tries_left } => {
                    tracing::warn!(door = door.word(), %peer, tries_left, "a wrong try");
                }
                Refusal::Locked { retry_after_ms } => {
                    tracing::warn!(door = door.word(), %peer, retry_after_ms, "too many wrong tries: this address must wait");
                }
            }
        }
        if writes {
            // Why it can't be is logged; the try is counted all the same.
            let _ = self.write_down(now).await;
        }
        tried
    }

    /// What the guards owe to the disk, as it stands when the store has come to it.
    async fn write_down(&self, now: Stamp) -> Result<(), StoreError> {
        let keys = Arc::clone(&self.keys);
        let owed = move || {
            let mut keys = lock(&keys);
            let of_door = |door| {
                let changes = keys.guard(door).take_changes();
                changes.into_iter().map(move |tries| (door, tries))
            };
            Door::ALL.into_iter().flat_map(of_door).collect()
        };
        let written = self.store.keep_tries(owed, now).await;
        let mut keys = self.keys();
        let refused_before = keys.refused_ms.is_some();
        match &written {
            Ok(()) => {
                keys.refused_ms = None;
                if refused_before {
                    tracing::info!("wrong tries are written down again");
                }
            }
            Err(error) => {
                keys.refused_ms = Some(now.mono_ms);
                keys.pins.owe_all();
                keys.room_codes.owe_all();
                if !refused_before {
                    tracing::error!(%error, "wrong tries could not be written down: a restart would forget them");
                }
            }
        }
        written
    }

    /// The facilitator's PIN.
    pub fn pin(&self) -> String {
        self.keys().pin.clone()
    }

    /// Another PIN. Who got in with the old one is out: that is what one changes it for.
    ///
    /// # Errors
    /// It can't be kept; the old one then still holds.
    pub async fn new_pin(&self) -> Result<String, GateError> {
        let old = self.pin();
        let pin = loop {
            let pin = random_pin().map_err(StoreError::Random)?;
            if pin != old {
                break pin;
            }
        };
        self.store.set_pin(pin.clone()).await?;
        self.keys().pin.clone_from(&pin);
        tracing::info!("the facilitator's PIN was changed");
        Ok(pin)
    }

    /// Lets everybody try again; returns how many addresses had to wait.
    ///
    /// # Errors
    /// It can't be kept: after a restart they would wait again.
    pub async fn unlock(&self, now: Stamp) -> Result<usize, GateError> {
        let waited = {
            let mut keys = self.keys();
            Door::ALL.map(|door| keys.guard(door).forgive(now.mono_ms))
        };
        self.write_down(now).await?;
        tracing::info!("wrong tries at the PIN and the room code were forgiven");
        Ok(waited.iter().sum())
    }

    /// Makes a token and gives its text: nobody can see it again.
    ///
    /// # Errors
    /// The name is taken or none, there are too many, or it can't be kept.
    pub async fn new_token(
        &self,
        name: String,
        scope: Scope,
        days: u32,
        now: Stamp,
    ) -> Result<String, GateError> {
        if let Some(why) = scoped::refuse(&name, days) {
            return Err(GateError::Refused(why));
        }
        if self.keys().tokens.len() >= TOKENS_MAX {
            let why = format!("there are {TOKENS_MAX} tokens already: take some back first");
            return Err(GateError::Refused(why));
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(StoreError::Random)?;
        let text = scoped::text(random);
        let token = Scoped {
            name,
            scope,
            hash: scoped::hash(&text),
            made: Made {
                wall_ms: now.wall_ms,
                mono_ms: Some(now.mono_ms),
            },
            days,
            used_at_ms: None,
        };
        if !self.store.add_token(token.clone(), now).await? {
            let why = format!(
                "there is a token {:?} already: take it back first, or choose another name",
                token.name
            );
            return Err(GateError::Refused(why));
        }
        let mut keys = self.keys();
        keys.tokens.push(token);
        keys.tokens.sort_by(|a, b| a.name.cmp(&b.name));
        tracing::info!(scope = scope.word(), "a token was made");
        Ok(text)
    }

    /// All tokens that were made and not taken back, by name.
    pub fn tokens(&self) -> Vec<Scoped> {
        self.keys().tokens.clone()
    }

    /// Takes a token back; it opens nothing from now on.
    ///
    /// # Errors
    /// There is none of that name, or the disk still holds it.
    pub async fn revoke_token(&self, name: &str) -> Result<(), GateError> {
        let known = {
            let mut keys = self.keys();
            let before = keys.tokens.len();
            keys.tokens.retain(|token| token.name != name);
            keys.tokens.len() < before
        };
        let removed = self.store.remove_token(name.to_owned()).await?;
        if !known && !removed {
            let why = format!("there is no token {name:?}; `coherence-hub token list` shows all");
            return Err(GateError::Refused(why));
        }
        tracing::info!("a token was taken back");
        Ok(())
    }
}

fn lock(keys: &Mutex<Keys>) -> MutexGuard<'_, Keys> {
    keys.lock().expect("nobody panics at the gate")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{self, Boot};

    #[tokio::test]
    async fn while_the_disk_refuses_who_must_wait_is_neither_logged_nor_written() {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let log_path = dir.path().join("log");
        let file = std::fs::File::create(&log_path).expect("the directory is ours");
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(Arc::new(file))
            .finish();
        let now = Stamp {
            mono_ms: 0,
            wall_ms: 0,
            synced: true,
        };
        let boot = Boot {
            boot_id: "a".into(),
            start: now,
        };
        let (store, memory) = store::open(&dir.path().join("hub.db"), boot).expect("it opens");
        let gate = Gate::new(store.clone(), &memory, 0);
        store.close().await.expect("nothing waits");
        let _logging = tracing::subscriber::set_default(subscriber);
        let peer = IpAddr::from([192, 168, 1, 9]);
        for _ in 0..20 {
            let tried = gate.facilitator(peer, "nonsense", now).await;
            assert!(tried.is_err());
        }
        let log = std::fs::read_to_string(&log_path).expect("it was written");
        let lines = |words: &str| log.lines().filter(|line| line.contains(words)).count();
        assert_eq!(lines("a wrong try"), 4, "{log}");
        assert_eq!(lines("too many wrong tries"), 1, "{log}");
        assert_eq!(lines("could not be written down"), 1, "{log}");
        assert_eq!(gate.keys().refused_ms, Some(0));
        // Who must wait makes the disk be asked no more often than once a minute.
        let later = Stamp {
            mono_ms: 10_000,
            ..now
        };
        let _ = gate.facilitator(peer, "nonsense", later).await;
        assert_eq!(gate.keys().refused_ms, Some(0));
    }
}
