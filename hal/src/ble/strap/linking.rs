//! Making a link: in turn, with the scan paused, until the strap's values are subscribed. When to make one and
//! what follows is for `strap`.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use btleplug::api::{Central as _, Characteristic, Peripheral as _};

use super::{CALL_LIMIT, IS_CONNECTED_LIMIT, Strap};
use crate::Link;
use crate::ble::adapter::scan;
use crate::ble::fault::{Fault, Trouble};
use crate::ble::pace::ms;
use crate::ble::turn::Taken;
use crate::ble::{BATTERY_LEVEL, HEART_RATE_MEASUREMENT};

/// A connect that others wait for gets less: a strap that was just heard takes a second or two. It is doubled
/// with each try, so that one that is really slow gets its time.
const FIRST_PATIENCE: Duration = Duration::from_secs(6);
/// The kernel gives up after some 20 s; a busy radio has been seen to take 25.
const CONNECT_LIMIT: Duration = Duration::from_secs(35);
/// Services of a strap never met before take seconds; BlueZ itself waits so long.
const SERVICES_LIMIT: Duration = Duration::from_secs(30);
const SERVICES_LOOK_EVERY: Duration = Duration::from_millis(100);
/// A connect that takes longer goes on beside the scan, so that others are heard meanwhile.
const SCAN_PAUSE: Duration = Duration::from_secs(5);
/// How long a link that BlueZ still shows is waited for to end.
const OLD_LINK_LIMIT: Duration = Duration::from_secs(3);

impl Strap {
    /// The battery's characteristic, if the strap has one. `tries`: how often it was tried in vain.
    pub(super) async fn connect_and_subscribe(
        &self,
        tries: u32,
    ) -> Result<Option<Characteristic>, Trouble> {
        let (pace, strap) = (&self.shared.pace, &self.way.peripheral);
        {
            let turn = self.way.turn.take(tries).await;
            self.say(Link::Connecting).await;
            self.end_old_link().await?;
            self.asked.store(true, Relaxed);
            let patience = FIRST_PATIENCE * 2u32.pow(tries.min(3));
            self.connect_in_silence(turn, patience).await?;
        }
        self.services_known().await?;
        pace.within(CALL_LIMIT, strap.discover_services()).await?;
        let characteristics: Vec<_> = strap
            .services()
            .into_iter()
            .flat_map(|service| service.characteristics)
            .collect();
        let find = |uuid| {
            characteristics
                .iter()
                .find(|c: &&Characteristic| c.uuid == uuid)
        };
        let Some(measurement) = find(HEART_RATE_MEASUREMENT) else {
            return Err(Trouble::new(
                Fault::Other,
                "it has no heart-rate measurement",
            ));
        };
        pace.within(CALL_LIMIT, strap.subscribe(measurement))
            .await?;
        Ok(find(BATTERY_LEVEL).cloned())
    }

    /// Connects with the scan paused. The kernel links a strap when it hears it advertise, and a
    /// scan that filters duplicates lets it hear each strap once: the next chance would be the
    /// next scan, up to 10 s away.
    ///
    /// Given up in the middle because the radio was lost, it leaves the scan paused; whoever
    /// finds the radio again starts it.
    async fn connect_in_silence(&self, turn: Taken<'_>, patience: Duration) -> Result<(), Trouble> {
        let (pace, adapter) = (&self.shared.pace, &self.way.adapter);
        let device = self.way.peripheral.id();
        let mut linking = Box::pin(async {
            let long = async {
                pace.sleep(patience).await;
                turn.is_wanted().await;
            };
            tokio::select! {
                biased;
                linked = pace.within(CONNECT_LIMIT, self.shared.bus.connect(&device)) => linked,
                () = long => Err(Trouble::new(
                    Fault::CutShort,
                    format!("no answer for {} s", patience.as_secs()),
                )),
            }
        });
        if self.hints.borrow().scan_stuck {
            return linking.await; // there is no scan to pause
        }
        let _ = pace.within(CALL_LIMIT, adapter.stop_scan()).await; // not scanning is as good
        let soon = pace.limit(SCAN_PAUSE, &mut linking).await;
        // Trouble is met by `adapter`, which looks often.
        if let Ok(stuck) = scan(adapter, pace).await {
            let deck = &self.shared.deck;
            deck.scan_stuck(&self.way.adapter_name, stuck, self.now_ms());
        }
        match soon {
            Some(linked) => linked,
            None => linking.await,
        }
    }

    /// Before that the strap's table of characteristics is empty.
    async fn services_known(&self) -> Result<(), Trouble> {
        let (pace, bus) = (&self.shared.pace, &self.shared.bus);
        let device = self.way.peripheral.id();
        let until_ms = self.now_ms() + ms(SERVICES_LIMIT);
        while !pace
            .within(CALL_LIMIT, bus.services_resolved(&device))
            .await?
        {
            if self.now_ms() >= until_ms {
                return Err(Trouble::new(
                    Fault::TimedOut,
                    "its services were not found in time",
                ));
            }
            if self.is_connected().await == Some(false) {
                return Err(Trouble::new(Fault::NoAnswer, "the link broke at once"));
            }
            pace.sleep(SERVICES_LOOK_EVERY).await;
        }
        Ok(())
    }

    /// A link left by a crash, or one that came up after its connect had failed, is half-made:
    /// it is ended before a new one is asked for.
    async fn end_old_link(&self) -> Result<(), Trouble> {
        let pace = &self.shared.pace;
        let until_ms = self.now_ms() + ms(OLD_LINK_LIMIT);
        let ask = || pace.within(IS_CONNECTED_LIMIT, self.way.peripheral.is_connected());
        while ask().await? {
            if self.now_ms() >= until_ms {
                return Err(Trouble::new(Fault::InProgress, "an old link does not end"));
            }
            self.disconnect().await;
            pace.sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}
