//! The fake's objects and what they answer: adapter, devices, GATT services and characteristics.
//! Paths, interfaces and error names as in BlueZ 5.66. No threads and no bus daemon here; what a
//! strap is and shows is in `strap`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use dbus::arg::{PropMap, RefArg, Variant};
use dbus::channel::Channel;
use dbus::message::MessageType;
use dbus::{Message, Path};

use super::strap::{
    ADAPTERS, CHARACTERISTIC1, GATT, MEASUREMENT, ONE_SECOND, Strap, Value, adapter_path,
    gatt_properties, map, var,
};

const ADAPTER1: &str = "org.bluez.Adapter1";
const DEVICE1: &str = "org.bluez.Device1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

type Answer = Result<Message, (&'static str, String)>;
type Interfaces = HashMap<String, PropMap>;

pub struct World {
    bus: Option<Channel>,
    /// bluetoothd has its name on the bus.
    running: bool,
    speed: u32,
    pub adapters: [Adapter; ADAPTERS],
    pub straps: Vec<Strap>,
    next_advertisements: Instant,
    pub most_connects_at_once: usize,
    /// Straps whose device BlueZ was asked to remove.
    pub removed: Vec<String>,
}

#[derive(Default)]
pub struct Adapter {
    pub plugged: bool,
    powered: bool,
    blocked: bool,
    pub scanning: bool,
    /// The scan delivers nothing until it is stopped.
    pub deaf: bool,
    /// Nothing is delivered, neither advertisements nor values, until it is switched off.
    pub halted: bool,
    /// Starting a scan is "in progress" until the adapter is switched off.
    pub scan_stuck: bool,
    /// As after a bluetoothd that was killed: "in progress" until then.
    pub scan_busy_until: Option<Instant>,
    /// The kernel links a strap heard already in this scan only in the next one.
    pub scan_window: Option<Duration>,
    scan_began: Option<Instant>,
    /// How many links the chip holds, and whether it says that it is full.
    pub slots: Option<(usize, bool)>,
    pub power_cycles: usize,
}

impl World {
    /// One adapter is plugged in. `speed`: how many times faster than in truth everything goes.
    pub fn new(n_straps: usize, speed: u32) -> Self {
        let mut adapters: [Adapter; ADAPTERS] = Default::default();
        (adapters[0].plugged, adapters[0].powered) = (true, true);
        World {
            bus: None,
            running: false,
            speed,
            adapters,
            straps: (0..n_straps).map(|i| Strap::new(i, speed)).collect(),
            next_advertisements: Instant::now(),
            most_connects_at_once: 0,
            removed: Vec::new(),
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
            self.end_disconnects(i, now);
            let strap = &mut self.straps[i];
            let Some(interval) = strap.interval else {
                continue;
            };
            if !(strap.linked.is_some() && strap.notifying) {
                strap.next_value = strap.next_value.max(now);
            } else if now >= strap.next_value {
                strap.next_value += interval;
                let value = (strap.value)(strap.delivered);
                strap.delivered += 1;
                self.notify(i, value);
            }
        }
        if now >= self.next_advertisements {
            self.next_advertisements = now + ONE_SECOND / self.speed;
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
        for adapter in &mut self.adapters {
            adapter.scanning = false;
        }
        for strap in &mut self.straps {
            strap.forget_link();
            strap.connecting = None;
        }
    }

    /// The kernel goes on with the scan of a bluetoothd that is killed for as long as a scan lasts.
    pub fn be_killed(&mut self) {
        let until = Instant::now() + Duration::from_millis(10_240) / self.speed;
        for adapter in self.adapters.iter_mut().filter(|a| a.scanning) {
            adapter.scan_busy_until = Some(until);
        }
        self.leave_the_bus();
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
        for a in 0..ADAPTERS {
            let adapter = &self.adapters[a];
            if !self.running || !adapter.scanning || adapter.deaf || adapter.halted {
                continue;
            }
            for i in 0..self.straps.len() {
                let Some(rssi_dbm) = self.straps[i].heard_by(a) else {
                    continue;
                };
                let path = self.straps[i].path(a);
                if self.straps[i].known[a] {
                    self.changed(&path, DEVICE1, [("RSSI", var(rssi_dbm))]);
                } else {
                    self.straps[i].known[a] = true;
                    self.added(&path, DEVICE1);
                }
            }
        }
    }

    pub fn notify(&mut self, i: usize, value: Vec<u8>) -> bool {
        let strap = &self.straps[i];
        let Some(a) = strap.linked.filter(|_| strap.notifying && self.running) else {
            return false;
        };
        if self.adapters[a].halted {
            return false;
        }
        let path = format!("{}/{MEASUREMENT}", strap.path(a));
        self.changed(&path, CHARACTERISTIC1, [("Value", var(value.clone()))]);
        self.straps[i].sent.push(value);
        true
    }

    pub fn drop_link(&mut self, i: usize) {
        let linked = self.straps[i].linked;
        self.straps[i].forget_link();
        if let Some(a) = linked {
            let gone = [("ServicesResolved", var(false)), ("Connected", var(false))];
            self.changed(&self.straps[i].path(a), DEVICE1, gone);
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

    /// The device object goes, on every adapter.
    pub fn forget(&mut self, i: usize) {
        (0..ADAPTERS).for_each(|a| self.forget_on(i, a));
    }

    fn forget_on(&mut self, i: usize, a: usize) {
        if std::mem::take(&mut self.straps[i].known[a]) {
            self.straps[i].resolved_once = false;
            self.straps[i].stuck = false;
            self.removed(&self.straps[i].path(a), DEVICE1);
        }
    }

    /// The address changes, as that of a phone does every quarter of an hour.
    pub fn change_address(&mut self, i: usize, address: String) {
        self.forget(i);
        self.straps[i].address = address;
    }

    fn drop_links_of(&mut self, a: usize) {
        for i in 0..self.straps.len() {
            if self.straps[i].linked == Some(a) {
                self.drop_link(i);
            }
            if let Some((_, call, _)) = self.straps[i].connecting.take_if(|c| c.2 == a) {
                self.fail(&call, "org.bluez.Error.NotReady", "Resource Not Ready");
            }
        }
    }

    pub fn remove_adapter(&mut self, a: usize) {
        self.drop_links_of(a);
        for i in 0..self.straps.len() {
            self.forget_on(i, a);
        }
        self.adapters[a] = Adapter::default();
        self.changed(&adapter_path(a), ADAPTER1, [("Powered", var(false))]);
        self.removed(&adapter_path(a), ADAPTER1);
    }

    pub fn add_adapter(&mut self, a: usize) {
        (self.adapters[a].plugged, self.adapters[a].powered) = (true, true);
        self.added(&adapter_path(a), ADAPTER1);
    }

    pub fn block_adapter(&mut self, a: usize, blocked: bool) {
        self.adapters[a].blocked = blocked;
        if blocked {
            self.set_powered(a, false);
        }
    }

    fn set_powered(&mut self, a: usize, on: bool) {
        let adapter = &mut self.adapters[a];
        if adapter.powered == on {
            return;
        }
        adapter.powered = on;
        if !on {
            (adapter.scanning, adapter.deaf, adapter.halted) = (false, false, false);
            (adapter.scan_stuck, adapter.scan_busy_until) = (false, None);
            adapter.power_cycles += 1;
            self.straps.iter_mut().for_each(|strap| strap.stuck = false);
            self.drop_links_of(a);
        }
        self.changed(&adapter_path(a), ADAPTER1, [("Powered", var(on))]);
    }

    // Connecting takes time; the rest is answered at once.

    fn begin_connect(&mut self, i: usize, a: usize, call: Message) {
        let now = Instant::now();
        self.straps[i].connects.push(now);
        let strap = &mut self.straps[i];
        if strap.connecting.is_some() || strap.stuck {
            return self.fail(
                &call,
                "org.bluez.Error.InProgress",
                "Operation already in progress",
            );
        }
        let adapter = &self.adapters[a];
        let at = now + strap.connect_time;
        let next_window = adapter
            .scan_began
            .filter(|_| adapter.scanning)
            .zip(adapter.scan_window)
            .map(|(began, window)| {
                began + window * (1 + (now - began).div_duration_f64(window) as u32)
            });
        strap.connecting = Some((next_window.map_or(at, |window| at.max(window)), call, a));
        let at_once = (0..ADAPTERS).map(|a| {
            let here = |strap: &&Strap| strap.connecting.as_ref().is_some_and(|c| c.2 == a);
            self.straps.iter().filter(here).count()
        });
        let at_once = at_once.max().unwrap_or(0);
        self.most_connects_at_once = self.most_connects_at_once.max(at_once);
    }

    fn end_connect(&mut self, i: usize, now: Instant) {
        let on = |a: usize| self.straps.iter().filter(|s| s.linked == Some(a)).count();
        let held: [usize; ADAPTERS] = std::array::from_fn(on);
        let strap = &mut self.straps[i];
        if let Some((_, call, a)) = strap.connecting.take_if(|(at, ..)| now >= *at) {
            let abort = "le-connection-abort-by-local";
            let full = self.adapters[a]
                .slots
                .filter(|(slots, _)| held[a] >= *slots);
            let failure = match (&strap.refuses, full) {
                (Some(text), _) => Some(text.clone()),
                (None, Some((_, true))) => Some("le-connection-concurrent-connection-limit".into()),
                (None, Some((_, false))) => Some(abort.into()),
                (None, None) if strap.in_range && strap.linked.is_none() => None,
                (None, None) => Some(abort.into()),
            };
            if let Some(text) = failure {
                return self.fail(&call, "org.bluez.Error.Failed", &text);
            }
            if std::mem::take(&mut strap.links_late) {
                strap.links_at = Some(now + Duration::from_millis(300) / self.speed);
                return self.fail(&call, "org.bluez.Error.Failed", abort);
            }
            self.link(i, a, now);
            self.send(call.method_return());
        }
        if self.straps[i].links_at.take_if(|at| now >= *at).is_some() {
            self.link(i, 0, now);
        }
        if self.straps[i].resolving.take_if(|at| now >= *at).is_some() {
            self.straps[i].resolved = true;
            self.straps[i].resolved_once = true;
            if let Some(a) = self.straps[i].linked {
                let path = self.straps[i].path(a);
                self.changed(&path, DEVICE1, [("ServicesResolved", var(true))]);
            }
        }
    }

    fn link(&mut self, i: usize, a: usize, now: Instant) {
        let strap = &mut self.straps[i];
        strap.linked = Some(a);
        strap.resolving = Some(now + strap.discovery_time);
        self.changed(&self.straps[i].path(a), DEVICE1, [("Connected", var(true))]);
    }

    /// A link that nobody here asked for, as a crashed client leaves it.
    pub fn leave_link_behind(&mut self, i: usize) {
        self.straps[i].known[0] = true;
        self.link(i, 0, Instant::now());
    }

    fn end_disconnects(&mut self, i: usize, now: Instant) {
        let calls = &mut self.straps[i].disconnecting;
        for (_, call) in calls
            .extract_if(.., |(at, _)| now >= *at)
            .collect::<Vec<_>>()
        {
            self.disconnect(i);
            self.send(call.method_return());
        }
    }

    fn disconnect(&mut self, i: usize) {
        if let Some((_, call, _)) = self.straps[i].connecting.take() {
            self.fail(
                &call,
                "org.bluez.Error.Failed",
                "le-connection-abort-by-local",
            );
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
        let adapter = adapter_of(&path);
        let strap = adapter.and_then(|a| {
            let named = |s: &Strap| s.known[a] && path.starts_with(&s.path(a));
            self.straps.iter().position(named).map(|i| (i, a))
        });
        if interface != PROPERTIES && strap.is_some_and(|(i, _)| self.straps[i].hangs) {
            return; // never answered
        }
        match (strap, interface.as_str(), member.as_str()) {
            (Some((i, a)), DEVICE1, "Connect") => return self.begin_connect(i, a, call),
            (Some((i, a)), DEVICE1, "Disconnect") if self.straps[i].linked == Some(a) => {
                let strap = &mut self.straps[i];
                let at = Instant::now() + strap.disconnect_time;
                return strap.disconnecting.push((at, call));
            }
            _ => {}
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
        strap: Option<(usize, usize)>,
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
                return Ok(done.append1(
                    known
                        .into_iter()
                        .find(|(name, _)| *name == of)
                        .ok_or_else(no_such)?
                        .1,
                ));
            }
            (PROPERTIES, "Get") => {
                let (of, name): (String, String) = call.read2().map_err(|_| no_such())?;
                let mut known = known;
                let value = known.get_mut(&of).and_then(|all| all.remove(&name));
                return Ok(done.append1(value.ok_or_else(no_such)?));
            }
            (PROPERTIES, "Set") if adapter_of(path).is_some() && strap.is_none() => {
                let a = adapter_of(path).ok_or_else(no_such)?;
                let (_, name, value): (String, String, Variant<Box<dyn RefArg>>) =
                    call.read3().map_err(|_| no_such())?;
                let on = value.0.as_i64() == Some(1);
                if name == "Powered" && on && self.adapters[a].blocked {
                    return Err(("org.bluez.Error.Blocked", "Blocked through rfkill".into()));
                }
                if name == "Powered" {
                    self.set_powered(a, on);
                }
            }
            (ADAPTER1, "StartDiscovery") => {
                let a = adapter_of(path).ok_or_else(no_such)?;
                let now = Instant::now();
                let adapter = &mut self.adapters[a];
                adapter.scan_busy_until.take_if(|until| now >= *until);
                if adapter.scanning || adapter.scan_stuck || adapter.scan_busy_until.is_some() {
                    let text = "Operation already in progress".into();
                    return Err(("org.bluez.Error.InProgress", text));
                }
                if !adapter.powered {
                    return Err(("org.bluez.Error.NotReady", "Resource Not Ready".into()));
                }
                (adapter.scanning, adapter.scan_began) = (true, Some(now));
                self.next_advertisements = now;
                self.changed(path, ADAPTER1, [("Discovering", var(true))]);
            }
            (ADAPTER1, "StopDiscovery") => {
                let adapter = &mut self.adapters[adapter_of(path).ok_or_else(no_such)?];
                if !std::mem::take(&mut adapter.scanning) {
                    return Err(("org.bluez.Error.Failed", "No discovery started".into()));
                }
                adapter.deaf = false;
                self.changed(path, ADAPTER1, [("Discovering", var(false))]);
            }
            (ADAPTER1, "SetDiscoveryFilter") => {}
            (ADAPTER1, "RemoveDevice") => {
                let a = adapter_of(path).ok_or_else(no_such)?;
                let device: Path = call.read1().map_err(|_| no_such())?;
                let named = |s: &Strap| s.known[a] && *device == *s.path(a);
                let Some(i) = self.straps.iter().position(named) else {
                    return Err(("org.bluez.Error.DoesNotExist", "Does Not Exist".into()));
                };
                if self.straps[i].linked == Some(a) {
                    self.drop_link(i);
                }
                self.removed.push(self.straps[i].address.clone());
                self.forget_on(i, a);
            }
            (DEVICE1, "Disconnect") => self.disconnect(strap.ok_or_else(no_such)?.0),
            (CHARACTERISTIC1, "ReadValue") => {
                let strap = &self.straps[strap.ok_or_else(no_such)?.0];
                let short = GATT.iter().find(|(below, ..)| path.ends_with(below));
                let short = short.map_or(0, |(_, short, _)| *short);
                let text = strap.texts.iter().find(|(of, _)| *of == short);
                let value = match (short, text) {
                    (0x2a19, _) => vec![strap.battery_percent],
                    (_, Some((_, text))) => text.clone(),
                    _ => return Err(("org.bluez.Error.NotPermitted", "Read not permitted".into())),
                };
                // BlueZ announces what was read as it does a notification.
                self.changed(path, CHARACTERISTIC1, [("Value", var(value.clone()))]);
                return Ok(done.append1(value));
            }
            (CHARACTERISTIC1, "StartNotify" | "StopNotify") => {
                let strap = &mut self.straps[strap.ok_or_else(no_such)?.0];
                if strap.linked.is_none() {
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
        for a in (0..ADAPTERS).filter(|a| self.adapters[*a].plugged) {
            paths.push(adapter_path(a));
            for strap in self.straps.iter().filter(|strap| strap.known[a]) {
                let path = strap.path(a);
                let gatt = GATT.iter().filter(|_| strap.resolved_once);
                paths.extend(gatt.map(|(below, ..)| format!("{path}/{below}")));
                paths.push(path);
            }
        }
        paths
    }

    fn objects(&self) -> HashMap<Path<'static>, Interfaces> {
        let all = self.paths().into_iter();
        all.filter_map(|p| self.interfaces(&p).map(|i| (Path::from(p), i)))
            .collect()
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
        let Some(a) = adapter_of(path) else {
            return Some(Interfaces::new());
        };
        let named = |s: &&Strap| path.starts_with(&s.path(a));
        let (interface, properties) = match self.straps.iter().find(named) {
            None => (ADAPTER1, self.adapter_properties(a)),
            Some(strap) => match path.strip_prefix(&format!("{}/", strap.path(a))) {
                None => {
                    let scanning = self.adapters[a].scanning;
                    (DEVICE1, strap.device_properties(a, scanning))
                }
                Some(below) => gatt_properties(strap, a, below),
            },
        };
        Some(HashMap::from([(interface.to_owned(), properties)]))
    }

    fn adapter_properties(&self, a: usize) -> PropMap {
        let adapter = &self.adapters[a];
        map([
            ("Address", var(format!("00:1B:DC:00:00:{:02X}", a + 1))),
            ("AddressType", var("public".to_owned())),
            ("Name", var("fake".to_owned())),
            ("Alias", var("fake".to_owned())),
            ("Modalias", var("usb:v1D6Bp0246d0542".to_owned())),
            ("Powered", var(adapter.powered)),
            ("Discovering", var(adapter.scanning)),
        ])
    }

    // Signals.

    fn changed<const N: usize>(&self, path: &str, interface: &str, what: [(&str, Value); N]) {
        let signal =
            Message::new_signal(path, PROPERTIES, "PropertiesChanged").expect("valid names");
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

/// The adapter to which a path belongs.
fn adapter_of(path: &str) -> Option<usize> {
    let name = path.strip_prefix("/org/bluez/hci")?;
    name.split('/')
        .next()?
        .parse()
        .ok()
        .filter(|a| *a < ADAPTERS)
}
