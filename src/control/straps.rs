//! A strap as the admin sees it on the hub itself, address included, as it goes through the control socket
//! and out of `coherence-hub straps list --json`.

use serde::{Deserialize, Serialize};

use crate::room::view::RegistryView;

/// One strap of the registry. Times are Unix ms of the hub's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StrapShown {
    pub no: u32,
    pub label: String,
    /// Somebody gave it its label.
    pub labelled: bool,
    pub transport: String,
    /// The address or number by which its radio knows it.
    pub address: String,
    /// As the strap names itself.
    pub name: Option<String>,
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub firmware: Option<String>,
    pub serial: Option<String>,
    pub location: Option<String>,
    pub origin: Option<String>,
    /// `streaming`, `off_body`, `silent`, `connecting`, `seen`, `away`.
    pub state: String,
    /// Somebody wears it.
    pub claimed: bool,
    /// Why it gives no score: a stable code, what is, what to do. None: it gives one.
    pub cause: Option<String>,
    pub text: Option<String>,
    pub advice: Option<String>,
    pub contact: Option<bool>,
    pub battery_pct: Option<u8>,
    pub battery_at: Option<i64>,
    pub rssi_dbm: Option<i16>,
    pub first_seen_at: Option<i64>,
    pub last_seen_at: Option<i64>,
    pub last_beat_age_ms: Option<i64>,
    pub beats_accepted: Option<u64>,
    pub beats_rejected: Option<u64>,
    pub beats_missing: Option<u64>,
}

impl From<RegistryView> for StrapShown {
    fn from(registered: RegistryView) -> Self {
        let strap = registered.strap;
        let address = registered.identity.split_once(':');
        let address = address.map_or(registered.identity.as_str(), |(_, address)| address);
        let (cause, text, advice) = match strap.cause {
            Some(cause) => (
                Some(cause.code.to_owned()),
                Some(cause.text),
                Some(cause.advice.to_owned()),
            ),
            None => (None, None, None),
        };
        StrapShown {
            no: registered.no,
            label: strap.label,
            labelled: registered.labelled,
            transport: strap.transport,
            address: address.to_owned(),
            name: registered.name,
            manufacturer: strap.manufacturer,
            model: strap.model,
            firmware: strap.firmware,
            serial: registered.serial,
            location: strap.location.map(str::to_owned),
            origin: strap.origin.map(str::to_owned),
            state: strap.state.word().to_owned(),
            claimed: strap.claimed,
            cause,
            text,
            advice,
            contact: strap.contact,
            battery_pct: strap.battery_pct,
            battery_at: strap.battery_at,
            rssi_dbm: strap.rssi_dbm,
            first_seen_at: strap.first_seen_at,
            last_seen_at: strap.last_seen_at,
            last_beat_age_ms: strap.last_beat_age_ms,
            beats_accepted: strap.beats_accepted,
            beats_rejected: strap.beats_rejected,
            beats_missing: strap.beats_missing,
        }
    }
}
