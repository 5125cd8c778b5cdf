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
    ADAPTER, CHARACTERISTIC1, GATT, MEASUREMENT, ONE_SECOND, Strap, Value, gatt_properties, map,
    var,
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
    plugged: bool,
    powered: bool,
    blocked: bool,
    pub scanning: bool,
    pub deaf: bool,
    pub straps: Vec<Strap>,
    next_advertisements: Instant,
    pub most_connects_at_once: usize,
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
            self.end_disconnects(i, now);
            let strap = &mut self.straps[i];
            let Some(interval) = strap.interval else {
                continue;
            };
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
            return self.fail(
                &call,
                "org.bluez.Error.InProgress",
                "Operation already in progress",
            );
        }
        strap.connecting = Some((now + strap.connect_time, call));
        let at_once = self
            .straps
            .iter()
            .filter(|strap| strap.connecting.is_some())
            .count();
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
            if std::mem::take(&mut strap.links_late) {
                strap.links_at = Some(now + Duration::from_millis(300));
                let text = "le-connection-abort-by-local";
                return self.fail(&call, "org.bluez.Error.Failed", text);
            }
            self.link(i, now);
            self.send(call.method_return());
        }
        if self.straps[i].links_at.take_if(|at| now >= *at).is_some() {
            self.link(i, now);
        }
        if self.straps[i].resolving.take_if(|at| now >= *at).is_some() {
            self.straps[i].resolved = true;
            self.straps[i].resolved_once = true;
            self.changed(
                &self.straps[i].path,
                DEVICE1,
                [("ServicesResolved", var(true))],
            );
        }
    }

    fn link(&mut self, i: usize, now: Instant) {
        let strap = &mut self.straps[i];
        strap.connected = true;
        strap.resolving = Some(now + strap.discovery_time);
        self.changed(&self.straps[i].path, DEVICE1, [("Connected", var(true))]);
    }

    /// A link that nobody here asked for, as a crashed client leaves it.
    pub fn leave_link_behind(&mut self, i: usize) {
        self.straps[i].known = true;
        self.link(i, Instant::now());
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
        if let Some((_, call)) = self.straps[i].connecting.take() {
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
        let strap = self
            .straps
            .iter()
            .position(|s| s.known && path.starts_with(&s.path));
        if let (Some(i), DEVICE1, "Connect") = (strap, interface.as_str(), member.as_str()) {
            return self.begin_connect(i, call);
        }
        if let (Some(i), DEVICE1, "Disconnect") = (strap, interface.as_str(), member.as_str())
            && self.straps[i].connected
        {
            let strap = &mut self.straps[i];
            let at = Instant::now() + strap.disconnect_time;
            return strap.disconnecting.push((at, call));
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
                self.deaf = false;
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
        let (interface, properties) = if path == ADAPTER {
            (ADAPTER1, self.adapter_properties())
        } else if let Some(strap) = self.straps.iter().find(|s| path.starts_with(&s.path)) {
            match path.strip_prefix(&format!("{}/", strap.path)) {
                None => (DEVICE1, strap.device_properties(self.scanning)),
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
