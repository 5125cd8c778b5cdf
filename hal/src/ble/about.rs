//! What a strap says of itself, read once per link: who made it and where it is worn. Whatever of
//! it can't be read is simply not known.

use std::time::Duration;

use btleplug::api::{Characteristic, Peripheral as _};
use btleplug::platform::Peripheral;
use uuid::Uuid;

use super::identity::text_of;
use super::pace::Pace;
use super::{
    BODY_SENSOR_LOCATION, FIRMWARE_REVISION, MANUFACTURER_NAME, MODEL_NUMBER, SERIAL_NUMBER,
};
use crate::About;

const READ_LIMIT: Duration = Duration::from_secs(10);

/// None when the strap says nothing.
pub(super) async fn read(strap: &Peripheral, pace: &Pace) -> Option<About> {
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
