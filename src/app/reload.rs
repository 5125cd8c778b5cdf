//! SIGHUP: the configuration is read again and put in force, while everybody stays connected.
//!
//! What may change is `config`'s to say, and what a change means is each part's: here is the order.

use std::sync::Arc;

use tokio::signal::unix::Signal;
use tokio::sync::watch;

use super::settings;
use crate::config::{self, Change, Config, Overrides};
use crate::room_task::RoomHandle;
use crate::systemd;
use crate::telemetry::LogLevel;
use crate::web::{Guard, Rules};

/// What a reload reads, and whom it tells.
pub(super) struct Reload {
    /// As at the start; none where there is no configuration to read, in the demo.
    pub overrides: Option<Overrides>,
    pub config: watch::Sender<Arc<Config>>,
    pub room: RoomHandle,
    pub guard: Arc<Guard>,
    pub log: LogLevel,
}

impl Reload {
    /// Reloads at each signal, one after the other, for as long as the hub runs.
    pub async fn run(self, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            systemd::reloading();
            match &self.overrides {
                Some(overrides) => self.once(overrides).await,
                None => tracing::info!("a demo has no configuration to read again: it goes on"),
            }
            systemd::reloaded();
        }
    }

    /// First everything that can fail, then everything that can't: what is wrong changes nothing.
    async fn once(&self, overrides: &Overrides) {
        let wanted = match config::load(overrides) {
            Ok(loaded) => loaded.config,
            Err(error) => {
                let why = error.in_one_line();
                tracing::error!(
                    "the old configuration stays in force, the new one can't be used: {why}"
                );
                return;
            }
        };
        let change = config::change(&self.config.borrow(), &wanted);
        let rules = match Rules::of(&change.config.web) {
            Ok(rules) => rules,
            Err(error) => {
                tracing::error!(
                    "the old configuration stays in force, the new one can't be used: {error}"
                );
                return;
            }
        };

        // Whichever of the two levels says more gets to say what changed.
        let told = tracing::enabled!(tracing::Level::INFO);
        if told {
            tell(&change);
        }
        if let Err(error) = self.log.set(&change.config.log.level) {
            tracing::error!(%error, "the log goes on at its old level");
        }
        if !told {
            tell(&change);
        }
        self.room.set_settings(settings(&change.config)).await;
        self.guard.obey(rules);
        self.config.send_replace(Arc::new(change.config));
    }
}

/// Names of keys, never values: some are secrets.
fn tell(change: &Change) {
    if change.now.is_empty() {
        tracing::info!("the configuration was read again: nothing to change");
    } else {
        let keys = change.now.join(", ");
        tracing::info!("the configuration was read again, now in force: {keys}");
    }
    if !change.at_restart.is_empty() {
        let keys = change.at_restart.join(", ");
        tracing::warn!("needs a restart: {keys}; the old values stay in force");
    }
}
