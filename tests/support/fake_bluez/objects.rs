//! The fake's objects and what they answer: adapter, devices, GATT services and characteristics.
//! Paths, interfaces and error names as in BlueZ 5.66. No threads and no bus daemon here.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use dbus::arg::{PropMap, RefArg, Variant};
use dbus::channel::Channel;
use dbus::message::MessageType;
use dbus::{Message, Path};

pub const ONE_SECOND: Duration = Duration::from_secs(1);
const ADAPTER: &str = "/org/bluez/hci0";
const ADAPTER1: &str = "org.bluez.Adapter1";
const DEVICE1: &str = "org.bluez.Device1";
const SERVICE1: &str = "org.bluez.GattService1";
const CHARACTERISTIC1: &str = "org.bluez.GattCharacteristic1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Below a device: path, UUID, and whether it is a service.
const GATT: [(&str, u16, bool); 5] = [
    ("service000d", 0x180d, true),
    ("service000d/char000e", 0x2a37, false),
    ("service000d/char0010", 0x2a38, false),
    ("service0012", 0x180f, true),
    ("service0012/char0013", 0x2a19, false),
];
const MEASUREMENT: &str = "service000d/char000e";

type Answer = Result<Message, (&'static str, String)>;
type Interfaces = HashMap<String, PropMap>;

pub fn address(strap: usize) -> String {
    format!("D0:5F:B8:00:00:{:02X}", strap + 1)
}

pub struct World {
    bus: Option<Channel>,
    /// bluetoothd has its name on the bus.
    running: bool,
    plugged: bool,
    powered: bool,
    blocked: bool,
    pub scanning: bool,
    pub deaf: bool,
    pub straps: Vec<Strap>,
    next_advertisements: Instant,
    pub most_connects_at_once: usize,
}

pub struct Strap {
    path: String,
    name: String,
    address: String,
    /// BlueZ has a device object for it.
    known: bool,
    /// Its services were discovered once; BlueZ remembers them.
    resolved_once: bool,
    in_range: bool,
    pub connected: bool,
    resolved: bool,
    pub notifying: bool,
    pub connect_time: Duration,
    pub refuses: Option<String>,
    pub connects: Vec<Instant>,
    connecting: Option<(Instant, Message)>,
    resolving: Option<Instant>,
    pub interval: Option<Duration>,
    pub speaks_when_subscribed: Option<Duration>,
    pub next_value: Instant,
    pub value: Box<dyn FnMut(u64) -> Vec<u8> + Send>,
    delivered: u64,
    pub sent: Vec<Vec<u8>>,
    pub battery_percent: u8,
}

impl Strap {
    fn new(i: usize) -> Self {
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
            refuses: None,
            connects: Vec::new(),
            connecting: None,
            resolving: None,
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

    fn advertises(&self) -> bool {
        self.in_range && !self.connected
    }

    fn forget_link(&mut self) {
        (self.connected, self.resolved, self.notifying) = (false, false, false);
        self.resolving = None;
    }
}

impl World {
    pub fn new(n_straps: usize) -> Self {
        World {
            bus: None,
            running: false,
            plugged: true,
            powered: true,
            blocked: false,
            scanning: false,
            deaf: false,
            straps: (0..n_straps).map(Strap::new).collect(),
            next_advertisements: Instant::now(),
            most_connects_at_once: 0,
        }
    }

    // Bus and time.

    pub fn come_onto_the_bus(&mut self, address: &str) {
        let mut bus = Channel::open_private(address).expect("the private bus listens");
        bus.register().expect("the private bus takes anybody");
        self.bus = Some(bus);
        self.take_the_name();
    }

    /// Plays for about `time`.
    pub fn turn(&mut self, time: Duration) {
        let bus = self.bus.as_ref().expect("came onto the bus");
        let _ = bus.read_write(Some(time)); // a dead bus has no messages
        while let Some(message) = self.bus.as_ref().and_then(Channel::pop_message) {
            if message.msg_type() == MessageType::MethodCall {
                self.answer(message);
            }
        }
        let now = Instant::now();
        for i in 0..self.straps.len() {
            self.end_connect(i, now);
            let strap = &mut self.straps[i];
            let Some(interval) = strap.interval else { continue };
            if !(strap.connected && strap.notifying) {
                strap.next_value = strap.next_value.max(now);
            } else if now >= strap.next_value {
                strap.next_value += interval;
                let value = (strap.value)(strap.delivered);
                strap.delivered += 1;
                self.notify(i, value);
            }
        }
        if now >= self.next_advertisements {
            self.next_advertisements = now + ONE_SECOND;
            self.advertise();
        }
    }

    pub fn take_the_name(&mut self) {
        self.running = true;
        self.call_bus("RequestName", Some(4)); // 4: do not queue
    }

    pub fn leave_the_bus(&mut self) {
        self.running = false;
        self.call_bus("ReleaseName", None);
        self.scanning = false;
        for strap in &mut self.straps {
            strap.forget_link();
            strap.connecting = None;
        }
    }

    fn call_bus(&self, method: &str, flags: Option<u32>) {
        let bus = "org.freedesktop.DBus";
        let mut call = Message::new_method_call(bus, "/org/freedesktop/DBus", bus, method)
            .expect("constant names")
            .append1("org.bluez");
        if let Some(flags) = flags {
            call = call.append1(flags);
        }
        let channel = self.bus.as_ref().expect("came onto the bus");
        channel
            .send_with_reply_and_block(call, Duration::from_secs(5))
            .expect("the private bus lets anybody own anything");
    }

    fn send(&self, message: Message) {
        if let Some(bus) = &self.bus {
            let _ = bus.send(message);
            bus.flush();
        }
    }

    // What happens in the air.

    fn advertise(&mut self) {
        if !self.scanning || self.deaf || !self.running || !self.plugged {
            return;
        }
        for i in 0..self.straps.len() {
            if !self.straps[i].advertises() {
                continue;
            }
            if self.straps[i].known {
                let rssi_dbm = -55 - i as i16;
                self.changed(&self.straps[i].path, DEVICE1, [("RSSI", var(rssi_dbm))]);
            } else {
                self.straps[i].known = true;
                self.added(&self.straps[i].path, DEVICE1);
            }
        }
    }

    pub fn notify(&mut self, i: usize, value: Vec<u8>) -> bool {
        if !(self.straps[i].connected && self.straps[i].notifying && self.running) {
            return false;
        }
        let path = format!("{}/{MEASUREMENT}", self.straps[i].path);
        self.changed(&path, CHARACTERISTIC1, [("Value", var(value.clone()))]);
        self.straps[i].sent.push(value);
        true
    }

    pub fn drop_link(&mut self, i: usize) {
        let was_linked = self.straps[i].connected;
        self.straps[i].forget_link();
        if was_linked {
            let gone = [("ServicesResolved", var(false)), ("Connected", var(false))];
            self.changed(&self.straps[i].path, DEVICE1, gone);
        }
    }

    pub fn drop_link_silently(&mut self, i: usize) {
        self.straps[i].forget_link();
    }

    pub fn vanish(&mut self, i: usize) {
        self.straps[i].in_range = false;
        self.drop_link(i);
    }

    pub fn come_back(&mut self, i: usize) {
        self.straps[i].in_range = true;
        self.next_advertisements = Instant::now();
    }

    pub fn forget(&mut self, i: usize) {
        self.straps[i].known = false;
        self.straps[i].resolved_once = false;
        self.removed(&self.straps[i].path, DEVICE1);
    }

    pub fn remove_adapter(&mut self) {
        for i in 0..self.straps.len() {
            self.drop_link(i);
            self.forget(i);
        }
        (self.plugged, self.scanning) = (false, false);
        self.changed(ADAPTER, ADAPTER1, [("Powered", var(false))]);
        self.removed(ADAPTER, ADAPTER1);
    }

    pub fn add_adapter(&mut self) {
        (self.plugged, self.powered) = (true, true);
        self.added(ADAPTER, ADAPTER1);
    }

    pub fn block_adapter(&mut self, blocked: bool) {
        self.blocked = blocked;
        if blocked {
            for i in 0..self.straps.len() {
                self.drop_link(i);
            }
            (self.powered, self.scanning) = (false, false);
            self.changed(ADAPTER, ADAPTER1, [("Powered", var(false))]);
        }
    }

    // Connecting takes time; the rest is answered at once.

    fn begin_connect(&mut self, i: usize, call: Message) {
        let now = Instant::now();
        let strap = &mut self.straps[i];
        strap.connects.push(now);
        if strap.connecting.is_some() {
            return self.fail(&call, "org.bluez.Error.InProgress", "Operation already in progress");
        }
        strap.connecting = Some((now + strap.connect_time, call));
        let at_once = self.straps.iter().filter(|strap| strap.connecting.is_some()).count();
        self.most_connects_at_once = self.most_connects_at_once.max(at_once);
    }

    fn end_connect(&mut self, i: usize, now: Instant) {
        let strap = &mut self.straps[i];
        if let Some((_, call)) = strap.connecting.take_if(|(at, _)| now >= *at) {
            let failure = match &strap.refuses {
                Some(text) => Some(text.clone()),
                None if strap.in_range => None,
                None => Some("le-connection-abort-by-local".into()),
            };
            if let Some(text) = failure {
                return self.fail(&call, "org.bluez.Error.Failed", &text);
            }
            strap.connected = true;
            strap.resolving = Some(now + strap.connect_time);
            self.changed(&self.straps[i].path, DEVICE1, [("Connected", var(true))]);
            self.send(call.method_return());
        }
        if self.straps[i].resolving.take_if(|at| now >= *at).is_some() {
            self.straps[i].resolved = true;
            self.straps[i].resolved_once = true;
            self.changed(&self.straps[i].path, DEVICE1, [("ServicesResolved", var(true))]);
        }
    }

    fn disconnect(&mut self, i: usize) {
        if let Some((_, call)) = self.straps[i].connecting.take() {
            self.fail(&call, "org.bluez.Error.Failed", "le-connection-abort-by-local");
        }
        self.drop_link(i);
    }

    // Method calls.

    fn answer(&mut self, call: Message) {
        if !self.running {
            let gone = "The name org.bluez was not provided by any .service files";
            return self.fail(&call, "org.freedesktop.DBus.Error.ServiceUnknown", gone);
        }
        let text = |part: Option<String>| part.unwrap_or_default();
        let path = text(call.path().map(|p| p.to_string()));
        let interface = text(call.interface().map(|i| i.to_string()));
        let member = text(call.member().map(|m| m.to_string()));
        let strap = self.straps.iter().position(|s| s.known && path.starts_with(&s.path));
        if let (Some(i), DEVICE1, "Connect") = (strap, interface.as_str(), member.as_str()) {
            return self.begin_connect(i, call);
        }
        match self.reply(&call, &path, &interface, &member, strap) {
            Ok(reply) => self.send(reply),
            Err((name, text)) => self.fail(&call, name, &text),
        }
    }

    fn reply(
        &mut self,
        call: &Message,
        path: &str,
        interface: &str,
        member: &str,
        strap: Option<usize>,
    ) -> Answer {
        let no_such = || {
            let text = format!("Method \"{member}\" on interface \"{interface}\" doesn't exist");
            ("org.freedesktop.DBus.Error.UnknownObject", text)
        };
        let done = call.method_return();
        if member == "GetManagedObjects" {
            return Ok(done.append1(self.objects()));
        }
        let known = self.interfaces(path).ok_or_else(no_such)?;
        match (interface, member) {
            ("org.freedesktop.DBus.Introspectable", "Introspect") => {
                return Ok(done.append1(self.introspect(path)));
            }
            (PROPERTIES, "GetAll") => {
                let of: String = call.read1().map_err(|_| no_such())?;
                return Ok(done.append1(known.into_iter().find(|(name, _)| *name == of).ok_or_else(no_such)?.1));
            }
            (PROPERTIES, "Get") => {
                let (of, name): (String, String) = call.read2().map_err(|_| no_such())?;
                let mut known = known;
                let value = known.get_mut(&of).and_then(|all| all.remove(&name));
                return Ok(done.append1(value.ok_or_else(no_such)?));
            }
            (PROPERTIES, "Set") if path == ADAPTER => {
                let (_, name, value): (String, String, Variant<Box<dyn RefArg>>) =
                    call.read3().map_err(|_| no_such())?;
                let on = value.0.as_i64() == Some(1);
                if name == "Powered" && on && self.blocked {
                    return Err(("org.bluez.Error.Blocked", "Blocked through rfkill".into()));
                }
                if name == "Powered" && on != self.powered {
                    self.powered = on;
                    self.changed(ADAPTER, ADAPTER1, [("Powered", var(on))]);
                }
            }
            (ADAPTER1, "StartDiscovery") => {
                if self.scanning {
                    let text = "Operation already in progress".into();
                    return Err(("org.bluez.Error.InProgress", text));
                }
                if !self.powered {
                    return Err(("org.bluez.Error.NotReady", "Resource Not Ready".into()));
                }
                self.scanning = true;
                self.next_advertisements = Instant::now();
                self.changed(ADAPTER, ADAPTER1, [("Discovering", var(true))]);
            }
            (ADAPTER1, "StopDiscovery") => {
                if !std::mem::take(&mut self.scanning) {
                    return Err(("org.bluez.Error.Failed", "No discovery started".into()));
                }
                self.changed(ADAPTER, ADAPTER1, [("Discovering", var(false))]);
            }
            (ADAPTER1, "SetDiscoveryFilter" | "RemoveDevice") => {}
            (DEVICE1, "Disconnect") => self.disconnect(strap.ok_or_else(no_such)?),
            (CHARACTERISTIC1, "ReadValue") => {
                let strap = &self.straps[strap.ok_or_else(no_such)?];
                let value = match path.rsplit('/').next() {
                    Some("char0013") => vec![strap.battery_percent],
                    Some("char0010") => vec![1],
                    _ => return Err(("org.bluez.Error.NotPermitted", "Read not permitted".into())),
                };
                // BlueZ announces what was read as it does a notification.
                self.changed(path, CHARACTERISTIC1, [("Value", var(value.clone()))]);
                return Ok(done.append1(value));
            }
            (CHARACTERISTIC1, "StartNotify" | "StopNotify") => {
                let strap = &mut self.straps[strap.ok_or_else(no_such)?];
                if !strap.connected {
                    return Err(("org.bluez.Error.Failed", "Not connected".into()));
                }
                strap.notifying = member == "StartNotify";
                if strap.notifying && strap.speaks_when_subscribed.is_some() {
                    strap.interval = strap.speaks_when_subscribed.take();
                }
                let notifying = strap.notifying;
                self.changed(path, CHARACTERISTIC1, [("Notifying", var(notifying))]);
            }
            _ => return Err(no_such()),
        }
        Ok(done)
    }

    fn fail(&self, call: &Message, name: &str, text: &str) {
        let text = std::ffi::CString::new(text).expect("no error text has a NUL");
        self.send(call.error(&name.into(), &text));
    }

    // Objects.

    fn paths(&self) -> Vec<String> {
        let mut paths = vec!["/org/bluez".to_owned()];
        if self.plugged {
            paths.push(ADAPTER.into());
            for strap in self.straps.iter().filter(|strap| strap.known) {
                paths.push(strap.path.clone());
                let gatt = GATT.iter().filter(|_| strap.resolved_once);
                paths.extend(gatt.map(|(below, ..)| format!("{}/{below}", strap.path)));
            }
        }
        paths
    }

    fn objects(&self) -> HashMap<Path<'static>, Interfaces> {
        let all = self.paths().into_iter();
        all.filter_map(|p| self.interfaces(&p).map(|i| (Path::from(p), i))).collect()
    }

    fn introspect(&self, path: &str) -> String {
        let below = format!("{path}/");
        let children = self.paths().into_iter().filter_map(|p| {
            let child = p.strip_prefix(&below)?;
            (!child.contains('/')).then(|| format!("<node name=\"{child}\"/>"))
        });
        format!(
            "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>{}</node>",
            children.collect::<String>()
        )
    }

    fn interfaces(&self, path: &str) -> Option<Interfaces> {
        if !self.paths().iter().any(|known| known == path) {
            return None;
        }
        let (interface, properties) = if path == ADAPTER {
            (ADAPTER1, self.adapter_properties())
        } else if let Some(strap) = self.straps.iter().find(|s| path.starts_with(&s.path)) {
            match path.strip_prefix(&format!("{}/", strap.path)) {
                None => (DEVICE1, self.device_properties(strap)),
                Some(below) => gatt_properties(strap, below),
            }
        } else {
            return Some(Interfaces::new());
        };
        Some(HashMap::from([(interface.to_owned(), properties)]))
    }

    fn adapter_properties(&self) -> PropMap {
        map([
            ("Address", var("00:1B:DC:00:00:01".to_owned())),
            ("AddressType", var("public".to_owned())),
            ("Name", var("fake".to_owned())),
            ("Alias", var("fake".to_owned())),
            ("Modalias", var("usb:v1D6Bp0246d0542".to_owned())),
            ("Powered", var(self.powered)),
            ("Discovering", var(self.scanning)),
        ])
    }

    fn device_properties(&self, strap: &Strap) -> PropMap {
        let mut all = map([
            ("Address", var(strap.address.clone())),
            ("AddressType", var("random".to_owned())),
            ("Name", var(strap.name.clone())),
            ("Alias", var(strap.name.clone())),
            ("Adapter", var(Path::from(ADAPTER))),
            ("Paired", var(false)),
            ("Trusted", var(false)),
            ("Blocked", var(false)),
            ("LegacyPairing", var(false)),
            ("Connected", var(strap.connected)),
            ("ServicesResolved", var(strap.resolved)),
            ("UUIDs", var(vec![uuid(0x180d)])),
        ]);
        if strap.advertises() && self.scanning {
            all.extend(map([("RSSI", var(-55i16))]));
        }
        all
    }

    // Signals.

    fn changed<const N: usize>(&self, path: &str, interface: &str, what: [(&str, Value); N]) {
        let signal = Message::new_signal(path, PROPERTIES, "PropertiesChanged").expect("valid names");
        self.send(signal.append3(interface, map(what), Vec::<String>::new()));
    }

    fn added(&self, path: &str, interface: &str) {
        let mut known = self.interfaces(path).unwrap_or_default();
        known.retain(|name, _| name == interface);
        let om = "org.freedesktop.DBus.ObjectManager";
        let signal = Message::new_signal("/", om, "InterfacesAdded").expect("valid names");
        self.send(signal.append2(Path::from(path.to_owned()), known));
    }

    fn removed(&self, path: &str, interface: &str) {
        let om = "org.freedesktop.DBus.ObjectManager";
        let signal = Message::new_signal("/", om, "InterfacesRemoved").expect("valid names");
        self.send(signal.append2(Path::from(path.to_owned()), vec![interface.to_owned()]));
    }
}

fn gatt_properties(strap: &Strap, below: &str) -> (&'static str, PropMap) {
    let (_, short, service) = GATT.iter().find(|(p, ..)| *p == below).expect("a path of `paths`");
    if *service {
        let device = Path::from(strap.path.clone());
        let all = map([
            ("UUID", var(uuid(*short))),
            ("Primary", var(true)),
            ("Device", var(device)),
        ]);
        return (SERVICE1, all);
    }
    let service = below.split('/').next().expect("split gives at least one part");
    let flags: &[&str] = match short {
        0x2a37 => &["notify"],
        0x2a38 => &["read"],
        _ => &["read", "notify"],
    };
    let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
    let all = map([
        ("UUID", var(uuid(*short))),
        ("Service", var(Path::from(format!("{}/{service}", strap.path)))),
        ("Value", var(Vec::<u8>::new())),
        ("Notifying", var(strap.notifying && *short == 0x2a37)),
        ("Flags", var(flags)),
        ("MTU", var(517u16)),
    ]);
    (CHARACTERISTIC1, all)
}

type Value = Variant<Box<dyn RefArg>>;

fn var(value: impl RefArg + 'static) -> Value {
    Variant(Box::new(value))
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> PropMap {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn uuid(short: u16) -> String {
    format!("0000{short:04x}-0000-1000-8000-00805f9b34fb")
}
