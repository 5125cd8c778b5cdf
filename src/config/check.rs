//! Which values make sense, beyond their type.
//!
//! One line per rule, with the words an admin gets to read. Types are serde's business, unknown
//! keys are `layers`'.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Display;
use std::path::Path;

use coherence_hal::decode::serial::Profile;

use super::{Config, Wall};

/// A value that can't be used.
pub(super) struct Refused {
    pub key: Cow<'static, str>,
    pub value: String,
    pub allowed: String,
}

const MINUTES_A_DAY: u32 = 24 * 60;
/// Scores are computed on this grid, so phases begin and end on it.
const GRID_S: u32 = 5;

const ROOM_CODE_CHARS: usize = 64;

/// Of the texts in `web/page/texts`.
const LANGUAGES: [&str; 2] = ["en", "de"];

/// 1 January 2100.
const LATEST_ANCHOR_MS: i64 = 4_102_444_800_000;

/// The first rule that is broken.
pub(super) fn check(config: &Config) -> Result<(), Refused> {
    let session = &config.session;
    let length = session.length_min;
    require(
        length >= 1 && MINUTES_A_DAY.is_multiple_of(length),
        "session.length_min",
        length,
        "minutes that divide a day, so that all hubs share the same slots: \
         1 to 1440, for example 5, 10, 15, 20, 30, 60",
    )?;
    for (key, seconds) in [
        ("session.preparation_s", session.preparation_s),
        ("session.integration_s", session.integration_s),
    ] {
        require(
            seconds >= GRID_S && seconds.is_multiple_of(GRID_S),
            key,
            seconds,
            "a multiple of 5 s, at least 5",
        )?;
    }
    let length_s = length * 60;
    let around_s = u64::from(session.preparation_s) + u64::from(session.integration_s);
    // Whichever of the two is longer is named; it is likelier to be the mistake.
    let (key, seconds, other) = if session.preparation_s > session.integration_s {
        (
            "session.preparation_s",
            session.preparation_s,
            session.integration_s,
        )
    } else {
        (
            "session.integration_s",
            session.integration_s,
            session.preparation_s,
        )
    };
    require(
        around_s < u64::from(length_s),
        key,
        seconds,
        format!(
            "a session of {length} min has {length_s} s; with the {other} s of the other phase \
             at least 5 s must be left for the active one"
        ),
    )?;

    let privacy = &config.privacy;
    require(
        privacy.min_group_live >= 2,
        "privacy.min_group_live",
        privacy.min_group_live,
        "2 or more: the average of one heart is that person's number; 3 is recommended, \
         since each of two can work out the other",
    )?;
    require(
        privacy.min_distribution_live >= privacy.min_group_live,
        "privacy.min_distribution_live",
        privacy.min_distribution_live,
        format!(
            "at least privacy.min_group_live ({})",
            privacy.min_group_live
        ),
    )?;
    within("privacy.keep_days", privacy.keep_days, 1, 3650)?;
    web(&config.web)?;
    wall(&config.wall)?;
    // As it is read from a phone, which has it from people's fingers.
    let code = &config.access.room_code;
    require(
        code.chars().count() <= ROOM_CODE_CHARS
            && code.trim() == code
            && !code.chars().any(char::is_control),
        "access.room_code",
        "(not shown)",
        "at most 64 characters, no line breaks, no spaces around it",
    )?;
    uplink(&config.uplink)?;
    let alerts = &config.alerts;
    within(
        "alerts.update_latency_ms",
        alerts.update_latency_ms,
        1,
        60_000,
    )?;
    within("alerts.memory_mb", alerts.memory_mb, 10, 100_000)?;
    within(
        "alerts.errors_per_minute",
        alerts.errors_per_minute,
        1,
        100_000,
    )?;
    within("straps.max_links", config.straps.max_links, 1, 64)?;
    for adapter in &config.straps.adapters {
        require(
            !adapter.is_empty()
                && adapter
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b':'),
            "straps.adapters",
            adapter,
            "names of adapters such as hci0, or addresses such as 00:1B:DC:00:00:01",
        )?;
    }
    require(
        config.ant.port.is_empty() || config.ant.port.starts_with('/'),
        "ant.port",
        &config.ant.port,
        "the stick's path, best one that stays: /dev/serial/by-id/…; or empty for none",
    )?;
    within("ant.baud", config.ant.baud, 50, 4_000_000)?;
    require(
        config.ant.key_file.as_os_str().is_empty() || config.ant.key_file.is_absolute(),
        "ant.key_file",
        config.ant.key_file.display(),
        "an absolute path, or empty for systemd's credential ant-key",
    )?;
    serial(&config.serial)?;
    within(
        "room.max_participants",
        config.room.max_participants,
        1,
        10_000,
    )?;
    within("stage.named_max", config.stage.named_max, 0, 10_000)?;
    require(
        log_level(&config.log.level),
        "log.level",
        &config.log.level,
        "off, error, warn, info, debug or trace; for single parts of the program \
         also `info,coherence_hub::web=debug`",
    )?;
    require(
        config.store.data_dir.is_absolute() && config.store.data_dir.to_str().is_some(),
        "store.data_dir",
        config.store.data_dir.display(),
        "an absolute path, in UTF-8",
    )?;
    let speed = config.test.clock_speed;
    require(
        speed > 0.0 && speed <= 1000.0,
        "test.clock_speed",
        speed,
        "more than 0, at most 1000",
    )?;
    let anchor_ms = config.test.clock_anchor_ms.unwrap_or(0);
    require(
        (0..=LATEST_ANCHOR_MS).contains(&anchor_ms),
        "test.clock_anchor_ms",
        anchor_ms,
        "Unix time in milliseconds, up to the year 2100",
    )
}

fn serial(ports: &[super::Serial]) -> Result<(), Refused> {
    let (mut names, mut devices) = (HashSet::new(), HashSet::new());
    for (at, port) in ports.iter().enumerate() {
        // As `layers` places them.
        let key = |key: &str| format!("serial[{}].{key}", at + 1);
        require(
            is_topic_level(&port.name),
            key("name"),
            &port.name,
            "letters, digits, - _ and . (1 to 64 of them): by its name a sensor is recognised when it comes back",
        )?;
        require(
            names.insert(&port.name),
            key("name"),
            &port.name,
            "a name that no other [[serial]] has",
        )?;
        require(
            port.port.starts_with('/'),
            key("port"),
            &port.port,
            "the device's path, such as /dev/ttyUSB0, or better one that stays: /dev/serial/by-id/…",
        )?;
        require(
            devices.insert(&port.port),
            key("port"),
            &port.port,
            "a port that no other [[serial]] has",
        )?;
        within(key("baud"), port.baud, 50, 4_000_000)?;
        require(
            port.profile.parse::<Profile>().is_ok(),
            key("profile"),
            &port.profile,
            Profile::NAMES,
        )?;
    }
    Ok(())
}

fn web(web: &super::Web) -> Result<(), Refused> {
    for host in &web.hosts {
        require(
            is_host_name(host),
            "web.hosts",
            host,
            "host names without scheme, port and path, such as hub.example.org",
        )?;
    }
    for origin in &web.origins {
        let host = origin
            .strip_prefix("https://")
            .or_else(|| origin.strip_prefix("http://"));
        require(
            host.is_some_and(|host| {
                let name = host.rsplit_once(':').map_or(host, |(name, port)| {
                    if port.parse::<u16>().is_ok() {
                        name
                    } else {
                        host
                    }
                });
                is_host_name(name)
            }),
            "web.origins",
            origin,
            "origins such as https://wall.example.org, in lower case, without a path",
        )?;
    }
    within("web.max_connections", web.max_connections, 10, 60_000)?;
    both_or_none(
        ("web.tls_cert", &web.tls_cert),
        ("web.tls_key", &web.tls_key),
    )
}

fn wall(wall: &Wall) -> Result<(), Refused> {
    require(
        LANGUAGES.contains(&wall.language.as_str()),
        "wall.language",
        &wall.language,
        format!("one of {}", LANGUAGES.join(", ")),
    )?;
    let address = wall.address.as_str();
    require(
        address.is_empty() || address.starts_with("http://") || address.starts_with("https://"),
        "wall.address",
        address,
        "an address such as http://10.42.0.1:8080, or empty to let the hub find it out",
    )?;
    // A network's name is at most 32 bytes (IEEE 802.11), a WPA passphrase 8 to 63 characters.
    require(
        wall.wifi_name.len() <= 32,
        "wall.wifi_name",
        &wall.wifi_name,
        "at most 32 bytes, as a Wi-Fi's name is",
    )?;
    let password = wall.wifi_password.len();
    require(
        password == 0 || (8..=63).contains(&password),
        "wall.wifi_password",
        "(not shown)",
        "8 to 63 characters, as a WPA passphrase is, or empty for an open Wi-Fi",
    )
}

fn uplink(uplink: &super::Uplink) -> Result<(), Refused> {
    require(
        uplink.broker.is_empty()
            || uplink
                .broker
                .strip_prefix("mqtts://")
                .or_else(|| uplink.broker.strip_prefix("mqtt://"))
                .and_then(|rest| rest.rsplit_once(':'))
                .is_some_and(|(host, port)| {
                    !host.is_empty()
                        && !host.contains(['/', '@', ' '])
                        && port.parse::<u16>().is_ok_and(|port| port > 0)
                }),
        "uplink.broker",
        // A password has no place here, and if there is one it is not to be shown.
        match uplink.broker.contains('@') {
            true => "(not shown)",
            false => &uplink.broker,
        },
        "mqtts://HOST:PORT, mqtt://HOST:PORT, or empty for none; user and password have keys of \
         their own",
    )?;
    require(
        is_topic_level(&uplink.root),
        "uplink.root",
        &uplink.root,
        "letters, digits, - _ and . (1 to 64 of them)",
    )?;
    for (key, value) in [
        ("uplink.name", &uplink.name),
        ("uplink.facility", &uplink.facility),
    ] {
        require(
            value.is_empty() || is_topic_level(value),
            key,
            value,
            "letters, digits, - _ and . (at most 64 of them), or empty",
        )?;
    }
    require(
        is_topic_level(&uplink.study),
        "uplink.study",
        &uplink.study,
        "letters, digits, - _ and . (1 to 64 of them)",
    )?;
    both_or_none(
        ("uplink.cert_file", &uplink.cert_file),
        ("uplink.key_file", &uplink.key_file),
    )?;
    within("uplink.outbox_mb", uplink.outbox_mb, 1, 100_000)?;
    within("uplink.outbox_days", uplink.outbox_days, 1, 3650)
}

fn both_or_none(
    (first_key, first): (&'static str, &Path),
    (second_key, second): (&'static str, &Path),
) -> Result<(), Refused> {
    let first_given = !first.as_os_str().is_empty();
    let second_given = !second.as_os_str().is_empty();
    let (key, missing) = if first_given {
        (first_key, second_key)
    } else {
        (second_key, first_key)
    };
    require(
        first_given == second_given,
        key,
        if first_given { first } else { second }.display(),
        format!("both or none: {missing} is missing"),
    )
}

fn is_topic_level(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn is_host_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
}

fn require(
    holds: bool,
    key: impl Into<Cow<'static, str>>,
    value: impl Display,
    allowed: impl Into<String>,
) -> Result<(), Refused> {
    if holds {
        return Ok(());
    }
    Err(Refused {
        key: key.into(),
        value: value.to_string(),
        allowed: allowed.into(),
    })
}

fn within(
    key: impl Into<Cow<'static, str>>,
    value: u32,
    min: u32,
    max: u32,
) -> Result<(), Refused> {
    require(
        (min..=max).contains(&value),
        key,
        value,
        format!("{min} to {max}"),
    )
}

/// Stricter than the filter that will read it: that one takes a misspelt level for a part of the
/// program and then says everything of it.
fn log_level(text: &str) -> bool {
    let level =
        |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word.trim());
    text.split(',')
        .all(|directive| match directive.split_once('=') {
            Some((target, word)) => !target.trim().is_empty() && level(word),
            None => level(directive),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Serial;

    fn refused(change: impl FnOnce(&mut Config)) -> Option<Cow<'static, str>> {
        let mut config = Config::default();
        change(&mut config);
        check(&config).err().map(|refused| refused.key)
    }

    #[test]
    fn the_defaults_are_allowed() {
        assert_eq!(refused(|_| {}), None);
    }

    #[test]
    fn each_rule_names_the_key_it_speaks_of() {
        type Change = fn(&mut Config);
        let cases: [(&str, Change); 27] = [
            ("session.length_min", |c| c.session.length_min = 0),
            ("session.length_min", |c| c.session.length_min = 7),
            ("session.preparation_s", |c| c.session.preparation_s = 31),
            ("session.integration_s", |c| c.session.integration_s = 0),
            ("session.integration_s", |c| c.session.integration_s = 870),
            ("session.preparation_s", |c| {
                c.session.preparation_s = u32::MAX / 5 * 5
            }),
            ("privacy.min_group_live", |c| c.privacy.min_group_live = 1),
            ("privacy.min_distribution_live", |c| {
                c.privacy.min_group_live = 6
            }),
            ("privacy.keep_days", |c| c.privacy.keep_days = 0),
            ("straps.max_links", |c| c.straps.max_links = 0),
            ("straps.adapters", |c| {
                c.straps.adapters = vec!["../x".into()]
            }),
            ("room.max_participants", |c| c.room.max_participants = 0),
            ("web.hosts", |c| c.web.hosts = vec!["http://x".into()]),
            ("web.origins", |c| c.web.origins = vec!["x.org".into()]),
            ("web.origins", |c| c.web.origins = vec!["http://x/y".into()]),
            ("web.max_connections", |c| c.web.max_connections = 1),
            ("web.tls_cert", |c| c.web.tls_cert = "/a.pem".into()),
            ("web.tls_key", |c| c.web.tls_key = "/a.pem".into()),
            ("access.room_code", |c| c.access.room_code = "x".repeat(65)),
            ("uplink.broker", |c| c.uplink.broker = "host:1883".into()),
            ("uplink.broker", |c| c.uplink.broker = "mqtts://host".into()),
            ("uplink.root", |c| c.uplink.root = "a/b".into()),
            ("uplink.key_file", |c| c.uplink.key_file = "/a.pem".into()),
            ("store.data_dir", |c| c.store.data_dir = "data".into()),
            ("test.clock_speed", |c| c.test.clock_speed = 0.0),
            ("test.clock_speed", |c| c.test.clock_speed = f64::NAN),
            ("test.clock_anchor_ms", |c| {
                c.test.clock_anchor_ms = Some(i64::MIN)
            }),
        ];
        for (i, (key, change)) in cases.into_iter().enumerate() {
            assert_eq!(refused(change).as_deref(), Some(key), "case {i}");
        }
    }

    #[test]
    fn the_shortest_active_phase_is_five_seconds() {
        let change = |integration_s| {
            refused(|c| {
                c.session.length_min = 1;
                c.session.integration_s = integration_s;
            })
        };
        assert_eq!(change(25), None);
        assert_eq!(change(30).as_deref(), Some("session.integration_s"));
    }

    #[test]
    fn each_rule_of_a_text_sensor_names_the_table_and_the_key() {
        let good = |name: &str| Serial {
            name: name.into(),
            port: format!("/dev/{name}"),
            profile: "ibi-lines".into(),
            ..Serial::default()
        };
        let second = |change: fn(&mut Serial)| {
            let mut ports = vec![good("a"), good("b"), good("c")];
            change(&mut ports[1]);
            refused(|c| c.serial = ports)
        };
        assert_eq!(second(|_| {}), None);
        type Change = fn(&mut Serial);
        let cases: [(&str, Change); 9] = [
            ("name", |port| port.name = String::new()),
            ("name", |port| port.name = "b:1".into()),
            ("name", |port| port.name = "a".into()),
            ("port", |port| port.port = String::new()),
            ("port", |port| port.port = "ttyUSB0".into()),
            ("port", |port| port.port = "/dev/a".into()),
            ("baud", |port| port.baud = 0),
            ("profile", |port| port.profile = String::new()),
            ("profile", |port| {
                port.profile = "pulsesensor-multi:13".into()
            }),
        ];
        for (key, change) in cases {
            let expected = format!("serial[2].{key}");
            assert_eq!(second(change).as_deref(), Some(expected.as_str()));
        }
    }

    #[test]
    fn a_misspelt_log_level_is_refused() {
        let level = |text: &str| refused(|c| c.log.level = text.into());
        assert_eq!(level("warn"), None);
        assert_eq!(level("info,coherence_hub::web=debug"), None);
        for wrong in ["", "inof", "info,", "info,web", "info,web=loud", "=info"] {
            assert_eq!(level(wrong).as_deref(), Some("log.level"), "{wrong:?}");
        }
    }
}
