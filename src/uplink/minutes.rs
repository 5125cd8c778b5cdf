//! Fills the outbox: asks the store, minute by minute, to queue what is closed. Connected or not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::config::Config;
use crate::record::{FacilityKey, Pseudonymiser, Study};
use crate::room::Suppression;
use crate::room::rows::Stamp;
use crate::store::{self, Store, Upstream};

/// Often enough that a minute leaves soon after it closed, ms.
const EVERY_MS: i64 = 15_000;
/// How long a fresh start waits for the collector's word before it queues anything, ms.
const FIRST_WORD_MS: i64 = 600_000;
/// Between two steps of catching up: the live path goes first.
const BREATH: Duration = Duration::from_millis(100);

const OTHER_KEY: &str = "the facility's key is not the one with which the people of this study were named: \
    put the key back, or give uplink.study another name to begin anew with other pseudonyms";

pub(super) struct Minutes {
    pub store: Store,
    pub clock: Clock,
    pub config: Arc<Config>,
    /// Told when there is something new.
    pub filled: Arc<Notify>,
    /// The collector's word was heard, or it has none.
    pub may_number: watch::Receiver<bool>,
    /// Why nothing can be queued.
    pub failing: watch::Sender<Option<String>>,
}

impl Minutes {
    /// Until it is dropped.
    ///
    /// Nothing is given a number before the collector has said how far it is. If it is further than this
    /// database, the database was put back, and a message queued now would take the number of another
    /// that the collector has long had. A hub that finds no collector does not wait for ever.
    pub async fn run(mut self) {
        let patience = self.clock.sleep_until(self.clock.mono_ms() + FIRST_WORD_MS);
        tokio::select! {
            _ = self.may_number.wait_for(|may| *may) => {}
            () = patience => {}
        }
        let mut rules = None;
        loop {
            let more = match self.step(&mut rules).await {
                Ok(more) => more,
                Err(why) => {
                    self.failing.send_replace(Some(why));
                    false
                }
            };
            if more {
                tokio::time::sleep(BREATH).await;
            } else {
                self.clock
                    .sleep_until(self.clock.mono_ms() + EVERY_MS)
                    .await;
            }
        }
    }

    /// One step; whether there is more to do at once.
    async fn step(&self, rules: &mut Option<Arc<Upstream>>) -> Result<bool, String> {
        let known = match rules {
            Some(rules) => rules,
            None => rules.insert(Arc::new(self.rules().await?)),
        };
        let queued = self
            .store
            .queue_closed_minute(Arc::clone(known), now(&self.clock))
            .await
            .map_err(|error| error.to_string())?;
        if queued.other_key {
            *rules = None; // the key may be put back meanwhile
            return Err(OTHER_KEY.to_owned());
        }
        self.failing.send_replace(None);
        if queued.messages > 0 {
            self.filled.notify_one();
        }
        Ok(queued.more)
    }

    async fn rules(&self) -> Result<Upstream, String> {
        let config = Arc::clone(&self.config);
        let key = tokio::task::spawn_blocking(move || facility_key(&config))
            .await
            .map_err(|error| error.to_string())??;
        let uplink = &self.config.uplink;
        let study = Study::of(&uplink.study).ok_or("uplink.study is no name of a study")?;
        Ok(Upstream {
            pseudonyms: Pseudonymiser::new(&key, study.as_str()),
            study,
            suppression: Suppression {
                min_group: self.config.privacy.min_group_live,
                min_distribution: self.config.privacy.min_distribution_live,
            },
            outbox_bytes_max: u64::from(uplink.outbox_mb) << 20,
            // Beats do not stay longer in another place than they may in their own.
            outbox_age_max_ms: i64::from(uplink.outbox_days.min(self.config.privacy.keep_days))
                * 86_400_000,
        })
    }
}

fn facility_key(config: &Config) -> Result<FacilityKey, String> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    store::facility_key(
        &config.privacy.facility_key_file,
        credentials.as_deref(),
        &config.store.data_dir,
    )
    .map_err(|error| error.to_string())
}

/// The present moment, as the store wants it.
pub(super) fn now(clock: &Clock) -> Stamp {
    Stamp {
        mono_ms: clock.mono_ms(),
        wall_ms: clock.wall_ms(),
        synced: clock.known(),
    }
}
