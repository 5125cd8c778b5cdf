//! A strap of the fake: what it is doing, and the properties of its device, services and
//! characteristics. What happens to it is in `objects`.

use std::time::{Duration, Instant};

use dbus::arg::{PropMap, RefArg, Variant};
use dbus::{Message, Path};

pub const ONE_SECOND: Duration = Duration::from_secs(1);
/// `hci0` to `hci2`; those that are not plugged in are not there.
pub const ADAPTERS: usize = 3;

pub fn adapter_path(adapter: usize) -> String {
    format!("/org/bluez/hci{adapter}")
}
const SERVICE1: &str = "org.bluez.GattService1";
pub const CHARACTERISTIC1: &str = "org.bluez.GattCharacteristic1";

/// Below a device: path, UUID, and whether it is a service.
pub const GATT: [(&str, u16, bool); 10] = [
    ("service000d", 0x180d, true),
    ("service000d/char000e", 0x2a37, false),
    ("service000d/char0010", 0x2a38, false),
    ("service0012", 0x180f, true),
    ("service0012/char0013", 0x2a19, false),
    ("service0020", 0x180a, true),
    ("service0020/char0021", 0x2a29, false),
    ("service0020/char0023", 0x2a24, false),
    ("service0020/char0025", 0x2a25, false),
    ("service0020/char0027", 0x2a26, false),
];
pub const MEASUREMENT: &str = "service000d/char000e";

pub fn address(strap: usize) -> String {
    format!("D0:5F:B8:00:00:{:02X}", strap + 1)
}

pub struct Strap {
    pub name: String,
    pub address: String,
    /// BlueZ has a device object for it, per adapter.
    pub known: [bool; ADAPTERS],
    /// Its services were discovered once; BlueZ remembers them.
    pub resolved_once: bool,
    pub paired: bool,
    pub in_range: bool,
    /// How strongly each adapter hears it; None: not at all.
    pub rssi_dbm: [Option<i16>; ADAPTERS],
    /// The adapter that holds its link.
    pub linked: Option<usize>,
    pub resolved: bool,
    pub notifying: bool,
    pub connect_time: Duration,
    pub discovery_time: Duration,
    pub disconnect_time: Duration,
    /// The next connect fails, and the link comes up a moment later all the same.
    pub links_late: bool,
    pub links_at: Option<Instant>,
    pub refuses: Option<String>,
    /// `Connect` says "in progress" until the device is removed or the adapter switched off.
    pub stuck: bool,
    /// Calls on it that need the air are never answered.
    pub hangs: bool,
    pub connects: Vec<Instant>,
    /// When it will be done, whom to answer, over which adapter.
    pub connecting: Option<(Instant, Message, usize)>,
    pub resolving: Option<Instant>,
    pub disconnecting: Vec<(Instant, Message)>,
    pub interval: Option<Duration>,
    pub speaks_when_subscribed: Option<Duration>,
    pub next_value: Instant,
    pub value: Box<dyn FnMut(u64) -> Vec<u8> + Send>,
    pub delivered: u64,
    pub sent: Vec<Vec<u8>>,
    pub battery_percent: u8,
    /// By the short number of the characteristic.
    pub texts: Vec<(u16, Vec<u8>)>,
}

impl Strap {
    pub fn new(i: usize, speed: u32) -> Self {
        let address = address(i);
        let name = match i {
            0 => "Polar H10 8C2F1A21".to_owned(),
            1 => "TICKR 12AB".to_owned(),
            2 => "HRM-Dual:123456".to_owned(),
            _ => format!("HR-{i:04X}"),
        };
        Strap {
            name,
            address,
            known: [false; ADAPTERS],
            resolved_once: false,
            paired: false,
            in_range: true,
            rssi_dbm: [Some(-55 - i as i16); ADAPTERS],
            linked: None,
            resolved: false,
            notifying: false,
            connect_time: Duration::from_millis(100) / speed,
            discovery_time: Duration::from_millis(100) / speed,
            disconnect_time: Duration::ZERO,
            links_late: false,
            links_at: None,
            refuses: None,
            stuck: false,
            hangs: false,
            connects: Vec::new(),
            connecting: None,
            resolving: None,
            disconnecting: Vec::new(),
            interval: Some(ONE_SECOND / speed),
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
            texts: vec![
                (0x2a29, b"Fake Straps Ltd".to_vec()),
                (0x2a24, b"Belt 1".to_vec()),
                (0x2a25, format!("SN{i:06}").into_bytes()),
                (0x2a26, b"1.2.3\0".to_vec()),
                (0x2a38, vec![1]),
            ],
        }
    }

    pub fn path(&self, adapter: usize) -> String {
        let address = self.address.replace(':', "_");
        format!("{}/dev_{address}", adapter_path(adapter))
    }

    pub fn advertises(&self) -> bool {
        self.in_range && self.linked.is_none()
    }

    /// The strength with which an adapter hears it now.
    pub fn heard_by(&self, adapter: usize) -> Option<i16> {
        self.rssi_dbm[adapter].filter(|_| self.advertises())
    }

    pub fn forget_link(&mut self) {
        (self.linked, self.resolved, self.notifying) = (None, false, false);
        self.resolving = None;
    }

    pub fn device_properties(&self, adapter: usize, scanning: bool) -> PropMap {
        let linked = self.linked == Some(adapter);
        let mut all = map([
            ("Address", var(self.address.clone())),
            ("AddressType", var("random".to_owned())),
            ("Name", var(self.name.clone())),
            ("Alias", var(self.name.clone())),
            ("Adapter", var(Path::from(adapter_path(adapter)))),
            ("Paired", var(self.paired)),
            ("Trusted", var(false)),
            ("Blocked", var(false)),
            ("LegacyPairing", var(false)),
            ("Connected", var(linked)),
            ("ServicesResolved", var(linked && self.resolved)),
            ("UUIDs", var(vec![uuid(0x180d)])),
        ]);
        if let Some(rssi_dbm) = self.heard_by(adapter).filter(|_| scanning) {
            all.extend(map([("RSSI", var(rssi_dbm))]));
        }
        all
    }
}

pub fn gatt_properties(strap: &Strap, adapter: usize, below: &str) -> (&'static str, PropMap) {
    let (_, short, service) = GATT
        .iter()
        .find(|(p, ..)| *p == below)
        .expect("a path of `paths`");
    if *service {
        let device = Path::from(strap.path(adapter));
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
        0x2a19 => &["read", "notify"],
        _ => &["read"],
    };
    let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
    let all = map([
        ("UUID", var(uuid(*short))),
        (
            "Service",
            var(Path::from(format!("{}/{service}", strap.path(adapter)))),
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
