//! The ANT+ decoder against the vectors of `ant_frames.json`, `ant_streams.json` and
//! `ant_sequences.json`.

#[path = "support/vectors.rs"]
mod vectors;

use coherence_hal::Rr;
use coherence_hal::decode::ant::{
    AntHeart, Content, Extension, Frame, HEART_RATE, HrPage, Message, Pulse, Rssi, Stream,
};
use serde_json::{Value, json};

use vectors::{bytes_of, for_each};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every field that the vector expects is there and the same.
fn assert_fields(id: &str, seen: &Value, expect: &Value) {
    for (field, value) in expect.as_object().unwrap() {
        assert_eq!(&seen[field], value, "{id}: {field} of {seen}");
    }
}

fn extension(seen: &Extension) -> Value {
    let mut told = json!({"flags": seen.flags, "trailing": seen.trailing});
    if let Some(device) = seen.device {
        told["device_number"] = device.number.into();
        told["device_id20"] = device.id20().into();
        told["device_type"] = device.kind.into();
        told["pairing_bit"] = device.pairing.into();
        told["transmission_type"] = device.transmission.into();
    }
    match seen.rssi {
        Some(Rssi::Dbm { rssi, threshold }) => {
            told["rssi_type"] = "dbm".into();
            told["rssi_dbm"] = rssi.into();
            told["rssi_threshold_dbm"] = threshold.into();
        }
        Some(Rssi::Agc) => told["rssi_type"] = "agc".into(),
        None => {}
    }
    if let Some(stamp) = seen.rx_timestamp {
        told["rx_timestamp"] = stamp.into();
    }
    if let Some(error) = seen.error {
        told["error"] = error.word().into();
    }
    told
}

fn heart_rate(page: &HrPage) -> Value {
    let mut told = match page.content {
        Content::OperatingTime { seconds } => json!({"operating_time_s": seconds}),
        Content::Manufacturer { id, serial_upper } => {
            json!({"manufacturer_id": id, "serial_msw": serial_upper})
        }
        Content::Versions {
            hardware,
            software,
            model,
        } => json!({"hw_version": hardware, "sw_version": software, "model": model}),
        Content::PreviousBeat {
            manufacturer,
            event_time,
        } => json!({
            "mfg_specific": manufacturer,
            "previous_event_time": event_time,
            "rr_from_page_raw": page.event_time.wrapping_sub(event_time),
        }),
        Content::Swim {
            interval_average,
            interval_most,
            session_average,
        } => json!({
            "interval_avg_hr": interval_average,
            "interval_max_hr": interval_most,
            "session_avg_hr": session_average,
        }),
        Content::Features { supported, enabled } => {
            json!({"features_supported": supported, "features_enabled": enabled})
        }
        Content::Battery {
            percent,
            volts,
            status,
        } => json!({
            "battery_percent": percent,
            "battery_volts": volts,
            "battery_status": status.word(),
        }),
        Content::EventTime { computed } => {
            json!({"event_time_kind": if computed { "computed" } else { "measured" }})
        }
        Content::Other => json!({}),
    };
    told["page"] = page.number.into();
    told["toggle"] = page.toggle.into();
    told["event_time"] = page.event_time.into();
    told["beat_count"] = page.beat_count.into();
    told["computed_hr"] = page.computed_hr.into();
    told
}

fn message(frame: &Frame) -> Result<Value, &'static str> {
    let message = Message::of(frame).map_err(|_| "short_payload")?;
    let mut told = json!({
        "ok": true,
        "msg_id": frame.id,
        "name": Message::name(frame.id),
        "payload": hex(&frame.payload),
    });
    match message {
        Message::Startup(bits) => told["startup_bits"] = bits.into(),
        Message::Capabilities(can) => {
            told["max_channels"] = can.max_channels.into();
            told["max_networks"] = can.max_networks.into();
            told["scan_mode"] = can.scan_mode.into();
            told["ext_messages"] = can.extended_messages.into();
        }
        Message::Response { channel, to, code } => {
            told["channel"] = channel.into();
            told["kind"] = "response".into();
            told["to_msg"] = to.into();
            told["code"] = code.into();
        }
        Message::Event { channel, code } => {
            told["channel"] = channel.into();
            told["kind"] = "event".into();
            told["code"] = code.into();
        }
        Message::SerialError(number) => told["error_number"] = number.into(),
        Message::Data(data) => {
            told["channel"] = data.channel.into();
            told["ext"] = data.extension.as_ref().map(extension).into();
            let device = data.extension.and_then(|extension| extension.device);
            if device.is_some_and(|device| device.kind == HEART_RATE) {
                told["hr"] = heart_rate(&HrPage::of(data.page));
            }
        }
        Message::Other => {}
    }
    Ok(told)
}

#[test]
fn every_frame_decodes_as_it_says() {
    for_each("ant_frames.json", 56, |id, vector| {
        let bytes = bytes_of(&vector["hex"]);
        let expect = &vector["expect"];
        let seen = match Frame::parse(&bytes) {
            Ok(frame) => {
                assert_eq!(frame.bytes(), bytes, "{id}");
                message(&frame)
            }
            Err(error) => Err(error.word()),
        };
        match seen {
            Err(error) => {
                assert_eq!(expect["ok"], false, "{id} must be read, not: {error}");
                assert_eq!(error, expect["error"], "{id}");
            }
            Ok(seen) => {
                assert_eq!(expect["ok"], true, "{id} must be refused");
                let mut expect = expect.clone();
                for part in ["ext", "hr"] {
                    if expect[part].is_object() {
                        assert_fields(id, &seen[part], &expect[part]);
                        expect[part] = seen[part].clone();
                    }
                }
                assert_fields(id, &seen, &expect);
            }
        }
    });
}

/// What comes of bytes that arrive in these pieces.
fn stream<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Value {
    let mut stream = Stream::default();
    let mut frames = Vec::new();
    for piece in pieces {
        stream.feed(0, piece);
        while let Some(heard) = stream.next_frame() {
            frames.push(hex(&heard.frame.bytes()));
        }
    }
    let losses = stream.take_losses();
    json!({
        "frames": frames,
        "skipped_bytes": losses.skipped_bytes,
        "bad_checksum": losses.bad_checksum,
        "bad_length": losses.bad_length,
        "pending": hex(&stream.pending()),
    })
}

#[test]
fn every_stream_gives_the_same_frames_cut_at_every_position_and_byte_by_byte() {
    for_each("ant_streams.json", 10, |id, vector| {
        let bytes = bytes_of(&vector["hex"]);
        let expect = &vector["expect"];
        assert_fields(id, &stream([bytes.as_slice()]), expect);
        assert_fields(id, &stream(bytes.chunks(1)), expect);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_fields(id, &stream(pieces), expect);
            }
        }
    });
}

fn ms(ticks: u16) -> f64 {
    Rr::Ticks(ticks).ms()
}

#[test]
fn every_sequence_gives_the_intervals_and_losses_that_it_says() {
    for_each("ant_sequences.json", 13, |id, vector| {
        let mut heart = AntHeart::default();
        let mut seen = Vec::new();
        for message in vector["messages"].as_array().unwrap() {
            let t = message[0].as_i64().unwrap();
            let page: [u8; 8] = bytes_of(&message[1]).try_into().unwrap();
            for pulse in heart.page(t, &HrPage::of(page)) {
                seen.push(match pulse {
                    Pulse::Rr(raw) => json!({
                        "t": t, "kind": "rr", "raw": raw, "ms": ms(raw),
                        "plausible": Rr::Ticks(raw).plausible(),
                    }),
                    Pulse::Missing { beats, span } => json!({
                        "t": t, "kind": "missing", "beats": beats, "span_raw": span,
                        "span_ms": ms(span),
                    }),
                    Pulse::Gap(reason) => json!({"t": t, "kind": "gap", "reason": reason.word()}),
                });
            }
        }
        let expect = vector["expect"].as_array().unwrap();
        for (n, (seen, expect)) in seen.iter().zip(expect).enumerate() {
            assert_eq!(seen, expect, "{id}: number {n}");
        }
        assert_eq!(seen.len(), expect.len(), "{id}");
        let tally = heart.take_tally();
        for (word, count) in [
            ("repeat", tally.repeat),
            ("retimed", tally.retimed),
            ("invalid", tally.invalid),
        ] {
            let expect = vector["counters"][word].as_u64().unwrap_or(0);
            assert_eq!(count, expect, "{id}: {word}");
        }
    });
}
