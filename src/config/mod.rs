//! What can be configured, with its defaults.
//!
//! Here belong the keys, their meaning and their limits (`check`); how the layers are
//! read and laid over each other is `layers`, what a running hub makes of a change is `live`, how a
//! mistake is explained is `error`. Nobody else reads a configuration file or a `COHERENCE_HUB__…` variable. The same keys, documented for
//! people, are in `systemd/hub.toml`; a test holds the two together.

mod check;
mod error;
mod layers;
mod live;

pub use error::{ConfigError, Origin, Place};
pub use layers::{CONFIG_FILE, ENV_PREFIX, Loaded, Overrides, load, load_from};
pub use live::{Change, Live, change, needs_restart};

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything that can be configured. What is absent has its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub web: Web,
    pub wall: Wall,
    pub session: Session,
    pub privacy: Privacy,
    pub access: Access,
    pub straps: Straps,
    pub ant: Ant,
    /// Text sensors: `[[serial]]`, a table for each port.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub serial: Vec<Serial>,
    pub room: Room,
    pub stage: Stage,
    pub clock: Clock,
    pub log: Log,
    pub store: Store,
    pub uplink: Uplink,
    pub alerts: Alerts,
    pub test: Test,
}

/// Where phones find the hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    pub listen: SocketAddr,
    /// Names under which phones may call the hub, beside its own and its addresses.
    pub hosts: Vec<String>,
    /// Pages of other origins that may ask the hub.
    pub origins: Vec<String>,
    /// Connections held at the same time.
    pub max_connections: u32,
    /// PEM files of the facility's certificate and key; both or none.
    pub tls_cert: PathBuf,
    pub tls_key: PathBuf,
}

impl Default for Web {
    fn default() -> Self {
        Web {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            hosts: Vec::new(),
            origins: Vec::new(),
            max_connections: 10_000,
            tls_cert: PathBuf::new(),
            tls_key: PathBuf::new(),
        }
    }
}

/// What the wall shows to who comes in.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wall {
    /// The language of the wall: `en`, `de`.
    pub language: String,
    /// The page's address as phones reach it; empty: found out.
    pub address: String,
    /// The room's Wi-Fi, for the code that joins it; empty: no such code.
    pub wifi_name: String,
    /// Empty: an open Wi-Fi.
    pub wifi_password: String,
}

impl Default for Wall {
    fn default() -> Self {
        Wall {
            language: "en".into(),
            address: String::new(),
            wifi_name: String::new(),
            wifi_password: String::new(),
        }
    }
}

/// The Wi-Fi's password gets on the wall, not into a log.
impl std::fmt::Debug for Wall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wall")
            .field("language", &self.language)
            .field("address", &self.address)
            .field("wifi_name", &self.wifi_name)
            .field("wifi_password", &shown_secret(&self.wifi_password))
            .finish()
    }
}

/// The session clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    /// Minutes from one session's start to the next; divides a day.
    pub length_min: u32,
    /// Seconds before the active phase.
    pub preparation_s: u32,
    /// Seconds after the active phase.
    pub integration_s: u32,
}

impl Default for Session {
    fn default() -> Self {
        Session {
            length_min: 15,
            preparation_s: 30,
            integration_s: 120,
        }
    }
}

/// What a group may see of itself, and how long beats are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Privacy {
    /// Hearts below which the public sees no group figures.
    pub min_group_live: u32,
    /// Scored hearts below which the public sees no distribution.
    pub min_distribution_live: u32,
    /// Days after which R-R intervals and people are forgotten.
    pub keep_days: u32,
    /// The facility's secret, from which pseudonyms are made; empty: the hub's own.
    pub facility_key_file: PathBuf,
}

impl Default for Privacy {
    fn default() -> Self {
        Privacy {
            min_group_live: 3,
            min_distribution_live: 5,
            keep_days: 30,
            facility_key_file: PathBuf::new(),
        }
    }
}

/// Who may take part.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// What joining takes; empty: nothing. Never shown.
    pub room_code: String,
}

/// The room's code never gets into a log.
impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("room_code", &shown_secret(&self.room_code))
            .finish()
    }
}

/// Keys whose values are never shown.
const SECRETS: [&str; 2] = ["access.room_code", "wall.wifi_password"];

/// What stands in the place of a secret.
fn shown_secret(value: &str) -> &'static str {
    if value.is_empty() { "not set" } else { "set" }
}

/// Where hearts come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Straps {
    /// Listen for Bluetooth straps.
    pub ble: bool,
    /// The Bluetooth adapters, by name (`hci0`) or address; empty: every one that is there.
    pub adapters: Vec<String>,
    /// Bluetooth links held at the same time by each adapter.
    pub max_links: u32,
    /// R-R recordings, each played as a strap.
    pub replay: Vec<PathBuf>,
}

impl Default for Straps {
    fn default() -> Self {
        Straps {
            ble: true,
            adapters: Vec::new(),
            max_links: 5,
            replay: Vec::new(),
        }
    }
}

/// The stick that hears ANT+ straps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ant {
    /// The stick's device; empty: there is none.
    pub port: String,
    pub baud: u32,
    /// A file with the network key. The key itself is in no configuration.
    pub key_file: PathBuf,
}

impl Default for Ant {
    fn default() -> Self {
        Ant {
            port: String::new(),
            baud: 115_200,
            key_file: PathBuf::new(),
        }
    }
}

/// A serial port with a text sensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Serial {
    /// By which its hearts are recognised, whatever port it is plugged into.
    pub name: String,
    /// The device.
    pub port: String,
    pub baud: u32,
    /// How the sensor writes.
    pub profile: String,
}

impl Default for Serial {
    fn default() -> Self {
        Serial {
            name: String::new(),
            port: String::new(),
            baud: 115_200,
            profile: String::new(),
        }
    }
}

/// Who fits in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Room {
    pub max_participants: u32,
}

impl Default for Room {
    fn default() -> Self {
        Room {
            max_participants: 500,
        }
    }
}

/// Who leads what a session plays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stage {
    pub room_leader: MayLead,
    pub named_leader: MayLead,
    pub leader_leaves: LeaderLeaves,
    /// Named sessions at the same time; 0: none.
    pub named_max: u32,
}

impl Default for Stage {
    fn default() -> Self {
        Stage {
            room_leader: MayLead::Facilitator,
            named_leader: MayLead::First,
            leader_leaves: LeaderLeaves::PassOn,
            named_max: 100,
        }
    }
}

/// Who may lead a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MayLead {
    /// Facilitators alone, as many as there are.
    Facilitator,
    /// One at a time: who came first, or asked while nobody led. Facilitators always.
    First,
}

/// What becomes of the lead where the first leads, when they leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaderLeaves {
    /// It passes on to whoever came first of those who are here.
    PassOn,
    /// Nobody leads until somebody asks to.
    Nobody,
}

/// When the wall clock is believed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clock {
    pub trust: Trust,
}

/// Whether the wall clock is taken for right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// When the kernel, time synchronisation or a battery clock vouches for it.
    #[default]
    Auto,
    /// Always: somebody else sees to it.
    Always,
}

/// How much is said in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `info`, or per part of the program: `info,coherence_hub::web=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Log {
            level: "info".into(),
        }
    }
}

/// Where things are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    pub data_dir: PathBuf,
}

impl Default for Store {
    fn default() -> Self {
        Store {
            data_dir: "/var/lib/coherence-hub".into(),
        }
    }
}

/// The way to the central store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Uplink {
    /// `mqtts://host:8883` or `mqtt://host:1883`; empty: nothing leaves this hub.
    pub broker: String,
    /// The first level of every topic.
    pub root: String,
    /// This hub's name in topics; empty: its id.
    pub name: String,
    /// As the centre knows the facility.
    pub facility: String,
    /// The study for which pseudonyms are made.
    pub study: String,
    pub username: String,
    pub password_file: PathBuf,
    /// PEM file of the authorities that may vouch for the broker.
    pub ca_file: PathBuf,
    /// PEM files of this hub's own certificate and key; both or none.
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    /// What may wait on the disk while the centre is away.
    pub outbox_mb: u32,
    pub outbox_days: u32,
}

impl Default for Uplink {
    fn default() -> Self {
        Uplink {
            broker: String::new(),
            root: "coherence".into(),
            name: String::new(),
            facility: String::new(),
            study: "default".into(),
            username: String::new(),
            password_file: PathBuf::new(),
            ca_file: "/etc/ssl/certs/ca-certificates.crt".into(),
            cert_file: PathBuf::new(),
            key_file: PathBuf::new(),
            outbox_mb: 256,
            outbox_days: 30,
        }
    }
}

/// Beyond which figures the hub complains of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alerts {
    /// From the grid point to the phone's socket.
    pub update_latency_ms: u32,
    pub memory_mb: u32,
    /// Failed requests, lost rows and failed commits.
    pub errors_per_minute: u32,
}

impl Default for Alerts {
    fn default() -> Self {
        Alerts {
            update_latency_ms: 100,
            memory_mb: 250,
            errors_per_minute: 60,
        }
    }
}

/// Only for tests and demonstrations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Test {
    /// How many times faster than the world the whole hub lives.
    pub clock_speed: f64,
    /// Unix ms at which a scaled clock and the real one agree; absent: when the program starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_anchor_ms: Option<i64>,
}

impl Default for Test {
    fn default() -> Self {
        Test {
            clock_speed: 1.0,
            clock_anchor_ms: None,
        }
    }
}

impl Config {
    /// Every key there is, each with a value of its type: what unknown keys are compared with.
    fn every_key() -> toml::Table {
        let mut config = Config::default();
        config.test.clock_anchor_ms = Some(0);
        config.serial.push(Serial::default());
        config.to_table()
    }

    /// The keys of a section, whether there is one table of them or a list.
    fn keys(section: &toml::Value) -> Option<&toml::Table> {
        section.as_table().or_else(|| section.get(0)?.as_table())
    }

    fn to_table(&self) -> toml::Table {
        toml::Table::try_from(self).expect("all keys are strings and all values fit TOML")
    }

    /// The configuration as a file would say it, without its secrets: for those that are set a comment
    /// stands at the top.
    pub fn to_toml(&self) -> String {
        let mut table = self.to_table();
        let mut text = String::new();
        for secret in SECRETS {
            let (section, key) = secret.split_once('.').expect("keys are dotted");
            let keys = table.get_mut(section).and_then(toml::Value::as_table_mut);
            let value = keys.and_then(|keys| keys.remove(key));
            if value.is_some_and(|value| value.as_str() != Some("")) {
                text += &format!("# {secret} is set, and not shown: add it by hand\n");
            }
        }
        text + &toml::to_string(&table).expect("all keys are strings and all values fit TOML")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../systemd/hub.toml");

    /// The example with every `#key = value` line switched on.
    fn uncommented() -> String {
        let is_setting = |line: &str| {
            line.strip_prefix('#').is_some_and(|rest| {
                let key =
                    rest.starts_with(|c: char| c.is_ascii_lowercase()) && rest.contains(" = ");
                key || rest.starts_with("[[")
            })
        };
        EXAMPLE
            .lines()
            .map(|line| if is_setting(line) { &line[1..] } else { line })
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn the_example_file_as_shipped_changes_nothing() {
        let config: Config = toml::from_str(EXAMPLE).unwrap();
        assert_eq!(config, Config::default());
    }

    #[test]
    fn the_example_file_names_every_key_with_its_default() {
        let text = uncommented();
        let mut config: Config = toml::from_str(&text).unwrap();
        assert_eq!(
            config.test.clock_anchor_ms.take(),
            Some(0),
            "the only key without a default is shown as 0"
        );
        let example = Serial {
            name: "ear-clip".into(),
            port: "/dev/serial/by-id/usb-Arduino_Uno-if00".into(),
            baud: 115_200,
            profile: "ibi-lines".into(),
        };
        assert_eq!(config.serial, [example], "the only list has an example");
        config.serial.clear();
        assert_eq!(config, Config::default());

        let shown: toml::Table = toml::from_str(&text).unwrap();
        for (section, keys) in Config::every_key() {
            for key in Config::keys(&keys).unwrap().keys() {
                assert!(
                    Config::keys(&shown[&section]).unwrap().contains_key(key),
                    "systemd/hub.toml lacks {section}.{key}"
                );
            }
        }
    }

    #[test]
    fn every_key_of_the_example_is_explained() {
        let text = uncommented();
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            if line.starts_with(|c: char| c.is_ascii_lowercase()) {
                assert!(lines[i - 1].starts_with("# "), "no explanation: {line}");
            }
        }
    }

    #[test]
    fn what_is_printed_is_read_back_the_same() {
        let config = Config::default();
        assert_eq!(toml::from_str::<Config>(&config.to_toml()).unwrap(), config);
    }

    #[test]
    fn a_secret_is_not_printed() {
        let mut config = Config::default();
        config.access.room_code = "blue heron".into();
        let text = format!("{config:?}\n{}", config.to_toml());
        assert!(!text.contains("heron"), "{text}");
        assert!(text.contains("# access.room_code is set"), "{text}");
        assert!(!Config::default().to_toml().contains("access.room_code"));
    }
}
