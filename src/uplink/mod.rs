//! The way upstream: what waits in the store's outbox goes to the central store by MQTT 5, and is
//! deleted there only when the collector has acknowledged it. Brokers lose what they took; so their
//! word sets the pace and nothing more.
//!
//! Nothing here decides what may leave (`record`) or builds it (`store`); nothing in the live path
//! waits for it. Wherever it fails it begins anew, for ever, and says why in words.
//!
//! - `minutes` has the outbox filled; `window` (PURE) paces what leaves; `talk` speaks on a connection
//! - `dial` makes the stream of bytes, `link` speaks MQTT on it, `topics` are what it is called there
//! - `errand` outlives connections; `backoff` (PURE) is the wait between them
//! - `cause` and `words`: what is wrong, for people

mod backoff;
mod cause;
mod dial;
mod errand;
mod link;
mod minutes;
mod talk;
mod topics;
mod window;
mod words;

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use self::cause::Cause;
use self::dial::Broker;
use self::errand::Errand;
use self::link::{Identity, Link};
use self::minutes::Minutes;
use self::talk::Talk;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::record::HubState;
use crate::store::Store;
use crate::telemetry::{Report, metric};

/// While there is no connection, figures are looked at so often, ms.
const LOOK_MS: i64 = 5_000;

/// What the uplink works with.
pub struct Uplink {
    pub store: Store,
    pub clock: Clock,
    pub hub_id: String,
    /// The number of this start of the operating system.
    pub boot_no: i64,
    pub version: &'static str,
    /// How it is, for everybody to see.
    pub report: watch::Sender<Report>,
}

/// What is wrong with the files that this configuration names, and what to do.
pub fn look_into_files(config: &config::Uplink) -> impl Iterator<Item = String> {
    let causes = dial::look_into_files(config);
    causes.into_iter().map(|cause| cause.to_string())
}

/// What `/health` says while there is no broker.
pub fn off() -> Report {
    Report::off("No broker is configured: nothing leaves this hub.")
}

impl Uplink {
    /// Runs until `stop` says so, by whatever configuration is in force.
    pub async fn run(self, config: config::Live, stop: watch::Receiver<bool>) {
        let mut orders = Orders { config, stop };
        loop {
            let config = orders.present();
            let order = match Broker::configured(&config.uplink.broker) {
                Some(broker) => self.serve(&broker, &config, &mut orders).await,
                None => {
                    metrics::gauge!(metric::UPLINK_STATE).set(0.0);
                    self.report.send_replace(off());
                    orders.next().await
                }
            };
            if order == Order::Stop {
                return;
            }
        }
    }

    /// By one configuration, until an order comes.
    async fn serve(&self, broker: &Broker, config: &Arc<Config>, orders: &mut Orders) -> Order {
        let filled = Arc::new(Notify::new());
        let (failing, not_filling) = watch::channel(None);
        let (may, may_number) = watch::channel(false);
        let minutes = Minutes {
            store: self.store.clone(),
            clock: self.clock.clone(),
            config: Arc::clone(config),
            filled: Arc::clone(&filled),
            may_number,
            failing,
        };
        let mut helpers = JoinSet::new();
        helpers.spawn(minutes.run());
        let mut errand = Errand::new(self, config, filled, may, not_filling);
        loop {
            errand.look().await;
            errand.tell(false);
            let opened = tokio::select! {
                opened = self.open(broker, &config.uplink, &errand) => opened,
                order = orders.next() => return order,
            };
            let cause = match opened {
                Ok(link) => {
                    let mut talk = Talk::new(link);
                    tokio::select! {
                        cause = talk.run(&mut errand) => cause,
                        order = orders.next() => {
                            talk.farewell(&errand).await;
                            return order;
                        }
                    }
                }
                Err(cause) => cause,
            };
            if cause == Cause::TooLarge {
                errand.too_large().await;
            }
            let wait_ms = errand.backoff.next_ms(chance());
            errand.down(cause, wait_ms);
            tokio::select! {
                () = idle(&mut errand, wait_ms) => {}
                order = orders.next() => return order,
            }
        }
    }

    async fn open(
        &self,
        broker: &Broker,
        config: &config::Uplink,
        errand: &Errand,
    ) -> Result<Link, Cause> {
        let password = dial::password(config)?;
        let stream = dial::dial(broker, config).await?;
        let identity = Identity {
            name: self.name(config).to_owned(),
            login: password.map(|password| (config.username.clone(), password)),
            broker: broker.url.clone(),
            will: (errand.topics.status(), errand.status(HubState::Offline)),
        };
        Link::open(stream, &identity)
    }

    /// This hub's name at the broker.
    fn name<'a>(&'a self, config: &'a config::Uplink) -> &'a str {
        match config.name.as_str() {
            "" => &self.hub_id,
            name => name,
        }
    }
}

/// Waits, and keeps the figures fresh meanwhile.
async fn idle(errand: &mut Errand, wait_ms: i64) {
    let end_ms = errand.clock.mono_ms() + wait_ms;
    loop {
        errand.look().await;
        errand.tell(false);
        let now_ms = errand.clock.mono_ms();
        if now_ms >= end_ms {
            return;
        }
        errand.clock.sleep_until(end_ms.min(now_ms + LOOK_MS)).await;
    }
}

fn chance() -> u32 {
    // Without random numbers every wait is the longest of its kind.
    getrandom::u32().unwrap_or(u32::MAX)
}

/// What somebody else decides.
struct Orders {
    config: config::Live,
    stop: watch::Receiver<bool>,
}

impl Orders {
    fn present(&mut self) -> Arc<Config> {
        Arc::clone(&self.config.borrow_and_update())
    }

    /// The next order. A reload counts even where it changed no value: a certificate or a password may
    /// be another. Cancel-safe.
    async fn next(&mut self) -> Order {
        let reload = async {
            if self.config.changed().await.is_err() {
                // Nobody is left who could reload.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = reload => Order::Reload,
            // Nobody left to say stop is as good as stop.
            _ = self.stop.wait_for(|stop| *stop) => Order::Stop,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Reload,
    Stop,
}
