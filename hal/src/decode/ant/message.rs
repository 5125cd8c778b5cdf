//! What a frame means: answers, events, and data of a strap with what the stick knows of it.
//!
//! Here belong the message ids of both directions and the extension behind the eight data bytes. What the
//! eight bytes say is `page`'s.

use std::fmt;

use super::frame::Frame;

/// Message ids.
pub mod id {
    pub const RESPONSE: u8 = 0x40;
    pub const UNASSIGN_CHANNEL: u8 = 0x41;
    pub const ASSIGN_CHANNEL: u8 = 0x42;
    pub const CHANNEL_PERIOD: u8 = 0x43;
    pub const SEARCH_TIMEOUT: u8 = 0x44;
    pub const RF_FREQUENCY: u8 = 0x45;
    pub const NETWORK_KEY: u8 = 0x46;
    pub const RESET: u8 = 0x4A;
    pub const OPEN_CHANNEL: u8 = 0x4B;
    pub const CLOSE_CHANNEL: u8 = 0x4C;
    pub const REQUEST: u8 = 0x4D;
    pub const BROADCAST: u8 = 0x4E;
    pub const ACKNOWLEDGED: u8 = 0x4F;
    pub const BURST: u8 = 0x50;
    pub const CHANNEL_ID: u8 = 0x51;
    pub const CAPABILITIES: u8 = 0x54;
    pub const OPEN_SCAN: u8 = 0x5B;
    pub const SERIAL_NUMBER: u8 = 0x61;
    pub const EXTENDED_RX: u8 = 0x66;
    pub const LIB_CONFIG: u8 = 0x6E;
    pub const STARTUP: u8 = 0x6F;
    pub const SERIAL_ERROR: u8 = 0xAE;
    pub const VERSION: u8 = 0x3E;
}

/// The device type of heart-rate straps.
pub const HEART_RATE: u8 = 120;

/// What a frame means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The stick has started; the bits say why.
    Startup(u8),
    Capabilities(Capabilities),
    /// The answer to a command.
    Response {
        channel: u8,
        to: u8,
        code: u8,
    },
    Event {
        channel: u8,
        code: u8,
    },
    /// The stick did not understand what it was sent.
    SerialError(u8),
    Data(Data),
    /// Nothing that a hub needs, or a command of a host.
    Other,
}

/// What a stick can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    pub max_channels: u8,
    pub max_networks: u8,
    pub scan_mode: bool,
    pub extended_messages: bool,
}

/// Eight bytes of a sensor, and what the stick says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    pub channel: u8,
    pub page: [u8; 8],
    pub extension: Option<Extension>,
}

/// What the stick adds to data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extension {
    /// Which fields were announced.
    pub flags: u8,
    pub device: Option<Device>,
    pub rssi: Option<Rssi>,
    /// When the stick received it, in 1/32768 s; wraps every 2 s.
    pub rx_timestamp: Option<u16>,
    /// Bytes that belong to no field.
    pub trailing: usize,
    /// Why the fields after those above can't be told.
    pub error: Option<ExtensionError>,
}

/// Who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The lower 16 bits of its number.
    pub number: u16,
    /// Without the pairing bit.
    pub kind: u8,
    pub pairing: bool,
    pub transmission: u8,
}

/// Signal strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rssi {
    Dbm {
        rssi: i8,
        threshold: i8,
    },
    /// In units of the receiver's gain: of no use.
    Agc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionError {
    TruncatedDeviceId,
    TruncatedRssi,
    TruncatedTimestamp,
    UnknownRssiType,
}

impl ExtensionError {
    /// A stable word.
    pub fn word(self) -> &'static str {
        match self {
            ExtensionError::TruncatedDeviceId => "truncated_device_id",
            ExtensionError::TruncatedRssi => "truncated_rssi",
            ExtensionError::TruncatedTimestamp => "truncated_timestamp",
            ExtensionError::UnknownRssiType => "unknown_rssi_type",
        }
    }
}

/// A frame whose payload is shorter than its message has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortPayload;

impl fmt::Display for ShortPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the payload is shorter than that of its message")
    }
}

impl std::error::Error for ShortPayload {}

impl Device {
    /// The whole number of 20 bits: two people may share the lower 16.
    pub fn id20(self) -> u32 {
        u32::from(self.transmission >> 4) << 16 | u32::from(self.number)
    }
}

impl Message {
    pub fn of(frame: &Frame) -> Result<Message, ShortPayload> {
        let payload = frame.payload.as_slice();
        Ok(match frame.id {
            id::STARTUP => Message::Startup(*payload.first().ok_or(ShortPayload)?),
            id::CAPABILITIES => Message::Capabilities(Capabilities::of(payload)?),
            id::RESPONSE => match *payload {
                // Answers name the message they answer; 1 stands for an event.
                [channel, 1, code, ..] => Message::Event { channel, code },
                [channel, to, code, ..] => Message::Response { channel, to, code },
                _ => return Err(ShortPayload),
            },
            id::SERIAL_ERROR => Message::SerialError(*payload.first().ok_or(ShortPayload)?),
            id::BROADCAST | id::ACKNOWLEDGED | id::BURST => Message::Data(Data::of(payload)?),
            _ => Message::Other,
        })
    }

    /// What a message of this id is called.
    pub fn name(message_id: u8) -> &'static str {
        match message_id {
            id::RESPONSE => "channel_response_or_event",
            id::UNASSIGN_CHANNEL => "unassign_channel",
            id::ASSIGN_CHANNEL => "assign_channel",
            id::CHANNEL_PERIOD => "set_channel_period",
            id::SEARCH_TIMEOUT => "set_search_timeout",
            id::RF_FREQUENCY => "set_channel_rf_freq",
            id::NETWORK_KEY => "set_network_key",
            id::RESET => "reset_system",
            id::OPEN_CHANNEL => "open_channel",
            id::CLOSE_CHANNEL => "close_channel",
            id::REQUEST => "request_message",
            id::BROADCAST => "broadcast_data",
            id::ACKNOWLEDGED => "acknowledged_data",
            id::BURST => "burst_data",
            id::CHANNEL_ID => "channel_id",
            id::CAPABILITIES => "capabilities",
            id::OPEN_SCAN => "open_rx_scan_mode",
            id::SERIAL_NUMBER => "serial_number",
            id::EXTENDED_RX => "enable_extended_rx",
            id::LIB_CONFIG => "lib_config",
            id::STARTUP => "startup",
            id::SERIAL_ERROR => "serial_error",
            id::VERSION => "version",
            _ => "unknown",
        }
    }
}

impl Capabilities {
    fn of(payload: &[u8]) -> Result<Self, ShortPayload> {
        let &[
            max_channels,
            max_networks,
            _standard,
            _advanced,
            advanced_2,
            ..,
        ] = payload
        else {
            return Err(ShortPayload);
        };
        Ok(Capabilities {
            max_channels,
            max_networks,
            scan_mode: advanced_2 & 0x04 != 0,
            extended_messages: advanced_2 & 0x02 != 0,
        })
    }
}

impl Data {
    fn of(payload: &[u8]) -> Result<Self, ShortPayload> {
        let (channel, rest) = payload.split_first().ok_or(ShortPayload)?;
        let (page, extension) = rest.split_first_chunk::<8>().ok_or(ShortPayload)?;
        Ok(Data {
            channel: *channel,
            page: *page,
            extension: extension
                .split_first()
                .map(|(flags, fields)| Extension::of(*flags, fields)),
        })
    }
}

impl Extension {
    /// The fields that the flags announce, in their order, as far as they can be told.
    fn of(flags: u8, mut fields: &[u8]) -> Self {
        let mut extension = Extension {
            flags,
            ..Extension::default()
        };
        extension.error = extension.take(&mut fields).err();
        if extension.error.is_none() {
            extension.trailing = fields.len();
        }
        extension
    }

    fn take(&mut self, fields: &mut &[u8]) -> Result<(), ExtensionError> {
        if self.flags & 0x80 != 0 {
            let [low, high, kind, transmission] =
                chunk(fields).ok_or(ExtensionError::TruncatedDeviceId)?;
            self.device = Some(Device {
                number: u16::from_le_bytes([low, high]),
                kind: kind & 0x7F,
                pairing: kind & 0x80 != 0,
                transmission,
            });
        }
        if self.flags & 0x40 != 0 {
            let truncated = ExtensionError::TruncatedRssi;
            self.rssi = Some(match fields.first().ok_or(truncated)? {
                0x20 => {
                    let [_, rssi, threshold] = chunk(fields).ok_or(truncated)?;
                    Rssi::Dbm {
                        rssi: rssi.cast_signed(),
                        threshold: threshold.cast_signed(),
                    }
                }
                0x10 => {
                    chunk::<4>(fields).ok_or(truncated)?;
                    Rssi::Agc
                }
                _ => return Err(ExtensionError::UnknownRssiType),
            });
        }
        if self.flags & 0x20 != 0 {
            let stamp = chunk(fields).ok_or(ExtensionError::TruncatedTimestamp)?;
            self.rx_timestamp = Some(u16::from_le_bytes(stamp));
        }
        Ok(())
    }
}

/// Takes so many bytes from the front.
fn chunk<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}
