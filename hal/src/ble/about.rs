//! What a strap says beside its values: once per link who made it and where it is worn, and now and
//! then its battery. Whatever of it can't be read is simply not known.

use std::pin::Pin;
use std::time::Duration;

use btleplug::api::{Characteristic, Peripheral as _};
use btleplug::platform::Peripheral;
use uuid::Uuid;

use super::identity::text_of;
use super::pace::Pace;
use super::{
    BODY_SENSOR_LOCATION, FIRMWARE_REVISION, MANUFACTURER_NAME, MODEL_NUMBER, SERIAL_NUMBER,
};
use crate::{About, StrapNews};

const READ_LIMIT: Duration = Duration::from_secs(10);
const BATTERY_EVERY: Duration = Duration::from_secs(600);

/// News of the strap beside its values, and what tells the next.
pub(super) type Telling = Pin<Box<dyn Future<Output = (Option<StrapNews>, Next)> + Send>>;

/// So that the type can name itself.
pub(super) struct Next(pub(super) Telling);

/// First what the strap says of itself, then its battery.
pub(super) fn tell(strap: Peripheral, pace: Pace, battery: Option<Characteristic>) -> Telling {
    Box::pin(async move {
        let about = read(&strap, &pace).await.map(StrapNews::About);
        (about, battery_level(strap, pace, battery, Duration::ZERO))
    })
}

/// The battery's level in percent, read after `delay`; never ready for a strap without one.
fn battery_level(
    strap: Peripheral,
    pace: Pace,
    battery: Option<Characteristic>,
    delay: Duration,
) -> Next {
    Next(Box::pin(async move {
        let Some(battery) = battery else {
            return std::future::pending().await;
        };
        pace.sleep(delay).await;
        let level = pace.within(READ_LIMIT, strap.read(&battery)).await.ok();
        let percent = level.and_then(|bytes| bytes.first().copied());
        let news = percent
            .filter(|percent| *percent <= 100)
            .map(StrapNews::Battery);
        (
            news,
            battery_level(strap, pace, Some(battery), BATTERY_EVERY),
        )
    }))
}

/// None when the strap says nothing.
async fn read(strap: &Peripheral, pace: &Pace) -> Option<About> {
    let characteristics: Vec<Characteristic> = strap
        .services()
        .into_iter()
        .flat_map(|service| service.characteristics)
        .collect();
    let bytes = async |uuid: Uuid| {
        let asked = characteristics.iter().find(|c| c.uuid == uuid)?;
        pace.within(READ_LIMIT, strap.read(asked)).await.ok()
    };
    let text = async |uuid| text_of(&bytes(uuid).await?);
    let about = About {
        manufacturer: text(MANUFACTURER_NAME).await,
        model: text(MODEL_NUMBER).await,
        serial: text(SERIAL_NUMBER).await,
        firmware: text(FIRMWARE_REVISION).await,
        location: bytes(BODY_SENSOR_LOCATION)
            .await
            .and_then(|bytes| location(&bytes)),
    };
    (about != About::default()).then_some(about)
}

/// The Heart Rate Service's numbers for places on the body.
fn location(bytes: &[u8]) -> Option<&'static str> {
    let places = [
        "other", "chest", "wrist", "finger", "hand", "ear_lobe", "foot",
    ];
    places.get(usize::from(*bytes.first()?)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_no_place_is_not_known() {
        assert_eq!(location(&[1]), Some("chest"));
        assert_eq!(location(&[6, 0xff]), Some("foot"));
        assert_eq!(location(&[7]), None);
        assert_eq!(location(&[]), None);
    }
}
