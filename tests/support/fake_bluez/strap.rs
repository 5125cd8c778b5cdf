//! A strap of the fake: what it is doing, and the properties of its device, services and
//! characteristics. What happens to it is in `objects`.

use std::time::{Duration, Instant};

use dbus::arg::{PropMap, RefArg, Variant};
use dbus::{Message, Path};

pub const ONE_SECOND: Duration = Duration::from_secs(1);
pub const ADAPTER: &str = "/org/bluez/hci0";
const SERVICE1: &str = "org.bluez.GattService1";
pub const CHARACTERISTIC1: &str = "org.bluez.GattCharacteristic1";

/// Below a device: path, UUID, and whether it is a service.
pub const GATT: [(&str, u16, bool); 5] = [
    ("service000d", 0x180d, true),
    ("service000d/char000e", 0x2a37, false),
    ("service000d/char0010", 0x2a38, false),
    ("service0012", 0x180f, true),
    ("service0012/char0013", 0x2a19, false),
];
pub const MEASUREMENT: &str = "service000d/char000e";

pub fn address(strap: usize) -> String {
    format!("D0:5F:B8:00:00:{:02X}", strap + 1)
}

pub struct Strap {
    pub path: String,
    pub name: String,
    pub address: String,
    /// BlueZ has a device object for it.
    pub known: bool,
    /// Its services were discovered once; BlueZ remembers them.
    pub resolved_once: bool,
    pub in_range: bool,
    pub connected: bool,
    pub resolved: bool,
    pub notifying: bool,
    pub connect_time: Duration,
    pub discovery_time: Duration,
    pub disconnect_time: Duration,
    /// The next connect fails, and the link comes up a moment later all the same.
    pub links_late: bool,
    pub links_at: Option<Instant>,
    pub refuses: Option<String>,
    pub connects: Vec<Instant>,
    pub connecting: Option<(Instant, Message)>,
    pub resolving: Option<Instant>,
    pub disconnecting: Vec<(Instant, Message)>,
    pub interval: Option<Duration>,
    pub speaks_when_subscribed: Option<Duration>,
    pub next_value: Instant,
    pub value: Box<dyn FnMut(u64) -> Vec<u8> + Send>,
    pub delivered: u64,
    pub sent: Vec<Vec<u8>>,
    pub battery_percent: u8,
}

impl Strap {
    pub fn new(i: usize) -> Self {
        let address = address(i);
        let name = match i {
            0 => "Polar H10 8C2F1A21".to_owned(),
            1 => "TICKR 12AB".to_owned(),
            2 => "HRM-Dual:123456".to_owned(),
            _ => format!("HR-{i:04X}"),
        };
        Strap {
            path: format!("{ADAPTER}/dev_{}", address.replace(':', "_")),
            name,
            address,
            known: false,
            resolved_once: false,
            in_range: true,
            connected: false,
            resolved: false,
            notifying: false,
            connect_time: Duration::from_millis(100),
            discovery_time: Duration::from_millis(100),
            disconnect_time: Duration::ZERO,
            links_late: false,
            links_at: None,
            refuses: None,
            connects: Vec::new(),
            connecting: None,
            resolving: None,
            disconnecting: Vec::new(),
            interval: Some(ONE_SECOND),
            speaks_when_subscribed: None,
            next_value: Instant::now(),
            value: Box::new(move |k| {
                let rr_ticks = 700 + (i as u64 * 37 + k * 13) % 211;
                let [low, high] = (rr_ticks as u16).to_le_bytes();
                vec![0x16, (60 * 1024 / rr_ticks) as u8, low, high]
            }),
            delivered: 0,
            sent: Vec::new(),
            battery_percent: 90,
        }
    }

    pub fn advertises(&self) -> bool {
        self.in_range && !self.connected
    }

    pub fn forget_link(&mut self) {
        (self.connected, self.resolved, self.notifying) = (false, false, false);
        self.resolving = None;
    }

    pub fn device_properties(&self, scanning: bool) -> PropMap {
        let mut all = map([
            ("Address", var(self.address.clone())),
            ("AddressType", var("random".to_owned())),
            ("Name", var(self.name.clone())),
            ("Alias", var(self.name.clone())),
            ("Adapter", var(Path::from(ADAPTER))),
            ("Paired", var(false)),
            ("Trusted", var(false)),
            ("Blocked", var(false)),
            ("LegacyPairing", var(false)),
            ("Connected", var(self.connected)),
            ("ServicesResolved", var(self.resolved)),
            ("UUIDs", var(vec![uuid(0x180d)])),
        ]);
        if self.advertises() && scanning {
            all.extend(map([("RSSI", var(-55i16))]));
        }
        all
    }
}

pub fn gatt_properties(strap: &Strap, below: &str) -> (&'static str, PropMap) {
    let (_, short, service) = GATT
        .iter()
        .find(|(p, ..)| *p == below)
        .expect("a path of `paths`");
    if *service {
        let device = Path::from(strap.path.clone());
        let all = map([
            ("UUID", var(uuid(*short))),
            ("Primary", var(true)),
            ("Device", var(device)),
        ]);
        return (SERVICE1, all);
    }
    let service = below
        .split('/')
        .next()
        .expect("split gives at least one part");
    let flags: &[&str] = match short {
        0x2a37 => &["notify"],
        0x2a38 => &["read"],
        _ => &["read", "notify"],
    };
    let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
    let all = map([
        ("UUID", var(uuid(*short))),
        (
            "Service",
            var(Path::from(format!("{}/{service}", strap.path))),
        ),
        ("Value", var(Vec::<u8>::new())),
        ("Notifying", var(strap.notifying && *short == 0x2a37)),
        ("Flags", var(flags)),
        ("MTU", var(517u16)),
    ]);
    (CHARACTERISTIC1, all)
}

pub type Value = Variant<Box<dyn RefArg>>;

pub fn var(value: impl RefArg + 'static) -> Value {
    Variant(Box::new(value))
}

pub fn map<const N: usize>(entries: [(&str, Value); N]) -> PropMap {
    entries
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn uuid(short: u16) -> String {
    format!("0000{short:04x}-0000-1000-8000-00805f9b34fb")
}
