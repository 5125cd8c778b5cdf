//! bluetoothd as the hub meets it: `org.bluez` on a private bus, up to three adapters, N heart-rate straps,
//! played by a thread of the test process and scripted by the test, byte for byte and moment by
//! moment. No radio, no root. What real BlueZ does beyond that belongs to the VM's tests.
//!
//! A strap advertises once a second while it is switched on, not linked and the adapter scans. It
//! speaks once a second while it is linked and subscribed, with R-R values by which a missing one
//! shows. [`FakeBluez::sent`] keeps what was put on the bus. All times are divided by the fake's speed.
//!
//! Children find the fake by `DBUS_SYSTEM_BUS_ADDRESS` = [`FakeBluez::bus_address`]. libdbus reads
//! that variable once per process.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::private_bus::PrivateBus;

mod objects;
mod strap;

use objects::World;

type Order = Box<dyn FnOnce(&mut World) + Send>;

/// Everything below is done when the method returns.
pub struct FakeBluez {
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
    bus: PrivateBus,
    speed: u32,
}

impl FakeBluez {
    /// A bus of its own with bluetoothd, a powered adapter `hci0` and `n_straps` straps in the air.
    pub async fn start(n_straps: usize) -> Self {
        Self::start_on(PrivateBus::start(), n_straps).await
    }

    pub async fn start_on(bus: PrivateBus, n_straps: usize) -> Self {
        Self::start_at_speed(bus, n_straps, 1).await
    }

    /// A second lasts `1 / speed` s, for a hub whose clock is as fast.
    pub async fn start_at_speed(bus: PrivateBus, n_straps: usize, speed: u32) -> Self {
        let mut fake = FakeBluez {
            orders: None,
            thread: None,
            bus,
            speed,
        };
        fake.play(World::new(n_straps, speed));
        fake
    }

    fn play(&mut self, mut world: World) {
        let (orders, received) = mpsc::channel::<Order>();
        let (ready, is_ready) = mpsc::channel();
        let address = self.bus.address();
        self.orders = Some(orders);
        self.thread = Some(std::thread::spawn(move || {
            world.come_onto_the_bus(&address);
            let _ = ready.send(());
            loop {
                loop {
                    match received.try_recv() {
                        Ok(order) => order(&mut world),
                        Err(mpsc::TryRecvError::Empty) => break,
                        Err(mpsc::TryRecvError::Disconnected) => return,
                    }
                }
                world.turn(Duration::from_millis(3));
            }
        }));
        is_ready
            .recv()
            .expect("the fake bluetoothd came onto the bus");
    }

    /// Lets the playing thread do something and waits until it is done.
    fn order<R: Send + 'static>(&self, order: impl FnOnce(&mut World) -> R + Send + 'static) -> R {
        let (done, result) = mpsc::channel();
        let order: Order = Box::new(move |world| {
            let _ = done.send(order(world));
        });
        let orders = self.orders.as_ref().expect("only drop takes it");
        orders.send(order).expect("the fake's thread runs");
        result.recv().expect("the fake's thread runs")
    }

    pub fn bus_address(&self) -> String {
        self.bus.address()
    }

    /// `D0:5F:B8:00:00:01` for strap 0.
    pub fn address(&self, strap: usize) -> String {
        strap::address(strap)
    }

    // What straps say.

    /// Puts a value on the bus now; false when nobody is linked and subscribed.
    pub fn notify(&self, strap: usize, value: &[u8]) -> bool {
        let value = value.to_vec();
        self.order(move |world| world.notify(strap, value))
    }

    /// From now on the strap says `value(k)` every `interval`, k counting what was delivered.
    pub fn stream(
        &self,
        strap: usize,
        interval: Duration,
        value: impl FnMut(u64) -> Vec<u8> + Send + 'static,
    ) {
        let interval = interval / self.speed;
        self.order(move |world| {
            let strap = &mut world.straps[strap];
            strap.interval = Some(interval);
            strap.next_value = Instant::now();
            strap.value = Box::new(value);
        });
    }

    /// The strap stays linked and says nothing.
    pub fn mute(&self, strap: usize) {
        self.order(move |world| world.straps[strap].interval = None);
    }

    /// As [`FakeBluez::mute`], but a new subscription makes it speak again.
    pub fn mute_until_subscribed(&self, strap: usize) {
        self.order(move |world| {
            let strap = &mut world.straps[strap];
            strap.speaks_when_subscribed = strap.interval.take();
        });
    }

    pub fn unmute(&self, strap: usize) {
        let second = strap::ONE_SECOND / self.speed;
        self.order(move |world| world.straps[strap].interval = Some(second));
    }

    /// All values of this strap that were put on the bus, oldest first.
    pub fn sent(&self, strap: usize) -> Vec<Vec<u8>> {
        self.order(move |world| world.straps[strap].sent.clone())
    }

    pub fn set_battery(&self, strap: usize, percent: u8) {
        self.order(move |world| world.straps[strap].battery_percent = percent);
    }

    /// What the strap says when this characteristic is read, such as 0x2a29, its maker's name.
    pub fn set_text(&self, strap: usize, characteristic: u16, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        self.order(move |world| {
            let texts = &mut world.straps[strap].texts;
            texts.retain(|(of, _)| *of != characteristic);
            texts.push((characteristic, bytes));
        });
    }

    pub fn set_name(&self, strap: usize, name: &str) {
        let name = name.to_owned();
        self.order(move |world| world.straps[strap].name = name);
    }

    /// Another (random) address; BlueZ forgets the device of the old one.
    pub fn change_address(&self, strap: usize, address: &str) {
        let address = address.to_owned();
        self.order(move |world| world.change_address(strap, address));
    }

    /// How strongly an adapter hears the strap; None: not at all.
    pub fn set_rssi(&self, strap: usize, adapter: usize, rssi_dbm: Option<i16>) {
        self.order(move |world| world.straps[strap].rssi_dbm[adapter] = rssi_dbm);
    }

    // Links.

    /// Linked and subscribed?
    pub fn is_streaming(&self, strap: usize) -> bool {
        self.order(move |world| {
            world.straps[strap].linked.is_some() && world.straps[strap].notifying
        })
    }

    /// When the hub called `Connect` on this strap.
    pub fn connects(&self, strap: usize) -> Vec<Instant> {
        self.order(move |world| world.straps[strap].connects.clone())
    }

    /// How many `Connect` calls were under way at the same time, at most.
    pub fn most_connects_at_once(&self) -> usize {
        self.order(|world| world.most_connects_at_once)
    }

    /// The link breaks; the strap advertises again.
    pub fn drop_link(&self, strap: usize) {
        self.order(move |world| world.drop_link(strap));
    }

    /// The link breaks and BlueZ does not say so; only asked does it know.
    pub fn drop_link_silently(&self, strap: usize) {
        self.order(move |world| world.drop_link_silently(strap));
    }

    /// Out of range: no link, no advertisement, and connecting fails.
    pub fn vanish(&self, strap: usize) {
        self.order(move |world| world.vanish(strap));
    }

    /// As [`FakeBluez::vanish`], and BlueZ forgets the device object, as it does after 30 s.
    pub fn vanish_and_be_forgotten(&self, strap: usize) {
        self.order(move |world| {
            world.vanish(strap);
            world.forget(strap);
        });
    }

    pub fn come_back(&self, strap: usize) {
        self.order(move |world| world.come_back(strap));
    }

    /// The next `Connect` fails with `le-connection-abort-by-local`, and 300 ms later BlueZ links
    /// the strap all the same.
    pub fn fail_then_link_late(&self, strap: usize) {
        self.order(move |world| world.straps[strap].links_late = true);
    }

    /// The strap is linked already, by somebody who is gone.
    pub fn leave_link_behind(&self, strap: usize) {
        self.order(move |world| world.leave_link_behind(strap));
    }

    pub fn is_linked(&self, strap: usize) -> bool {
        self.linked_by(strap).is_some()
    }

    /// Over which adapter.
    pub fn linked_by(&self, strap: usize) -> Option<usize> {
        self.order(move |world| world.straps[strap].linked)
    }

    /// Addresses of devices that BlueZ was asked to remove, in that order.
    pub fn removed(&self) -> Vec<String> {
        self.order(|world| world.removed.clone())
    }

    /// Does BlueZ know the strap on any adapter?
    pub fn is_known(&self, strap: usize) -> bool {
        self.order(move |world| world.straps[strap].known.contains(&true))
    }

    pub fn set_paired(&self, strap: usize) {
        self.order(move |world| world.straps[strap].paired = true);
    }

    /// `Connect` says "in progress" until the device is removed or the adapter switched off.
    pub fn stick(&self, strap: usize) {
        self.order(move |world| world.straps[strap].stuck = true);
    }

    /// No call on this strap that needs the air is answered any more; what BlueZ knows it tells.
    pub fn hang(&self, strap: usize, hangs: bool) {
        self.order(move |world| world.straps[strap].hangs = hangs);
    }

    /// How long service discovery takes after `Connect`.
    pub fn set_discovery_time(&self, strap: usize, time: Duration) {
        let time = time / self.speed;
        self.order(move |world| world.straps[strap].discovery_time = time);
    }

    /// How long `Connect` takes.
    pub fn set_connect_time(&self, strap: usize, time: Duration) {
        let time = time / self.speed;
        self.order(move |world| world.straps[strap].connect_time = time);
    }

    /// How long `Disconnect` takes, as BlueZ's 2 s; without this none.
    pub fn set_disconnect_time(&self, strap: usize, time: Duration) {
        let time = time / self.speed;
        self.order(move |world| world.straps[strap].disconnect_time = time);
    }

    /// From now on `Connect` fails with `org.bluez.Error.Failed` and this text, such as
    /// `le-connection-abort-by-local`; None: it works again.
    pub fn refuse_connect(&self, strap: usize, text: Option<&str>) {
        let text = text.map(str::to_owned);
        self.order(move |world| world.straps[strap].refuses = text);
    }

    // Adapter, daemon, bus.

    /// `hci0` is unplugged: links break, the object and all below it go.
    pub fn remove_adapter(&self) {
        self.unplug(0);
    }

    pub fn add_adapter(&self) {
        self.plug(0);
    }

    pub fn unplug(&self, adapter: usize) {
        self.order(move |world| world.remove_adapter(adapter));
    }

    pub fn plug(&self, adapter: usize) {
        self.order(move |world| world.add_adapter(adapter));
    }

    /// rfkill: the adapter goes off and can't be switched on.
    pub fn block_adapter(&self, blocked: bool) {
        self.order(move |world| world.block_adapter(0, blocked));
    }

    /// The scan goes on without delivering anything and without an error, until it is stopped.
    pub fn deafen(&self) {
        self.order(|world| world.adapters[0].deaf = true);
    }

    /// Neither values nor advertisements come, without an error, until the adapter is switched off.
    pub fn halt(&self, adapter: usize) {
        self.order(move |world| world.adapters[adapter].halted = true);
    }

    /// Starting a scan is "in progress" until the adapter is switched off.
    pub fn stick_scan(&self, adapter: usize) {
        self.order(move |world| {
            let adapter = &mut world.adapters[adapter];
            (adapter.scan_stuck, adapter.scanning) = (true, false);
        });
    }

    /// While the adapter scans, a connect waits for the scan's next round, 10.24 s as the kernel's.
    pub fn connect_in_scan_windows(&self) {
        let window = Duration::from_millis(10_240) / self.speed;
        self.order(move |world| world.adapters[0].scan_window = Some(window));
    }

    /// The chip holds so many links. `says_so`: a connect beyond them names the cause.
    pub fn set_slots(&self, adapter: usize, slots: usize, says_so: bool) {
        self.order(move |world| world.adapters[adapter].slots = Some((slots, says_so)));
    }

    /// How often the adapter was switched off.
    pub fn power_cycles(&self, adapter: usize) -> usize {
        self.order(move |world| world.adapters[adapter].power_cycles)
    }

    pub fn is_scanning(&self) -> bool {
        self.order(|world| world.adapters[0].scanning)
    }

    /// bluetoothd dies: its name leaves the bus, its links and what it knew are gone.
    pub fn stop(&self) {
        self.order(World::leave_the_bus);
    }

    /// As [`FakeBluez::stop`], without a farewell: the kernel goes on scanning for 10 s.
    pub fn kill(&self) {
        self.order(World::be_killed);
    }

    /// bluetoothd starts again.
    pub fn resume(&self) {
        self.order(World::take_the_name);
    }

    /// The bus itself dies, and with it everybody's connection.
    pub fn kill_bus(&mut self) {
        self.end_thread();
        self.bus.kill();
    }

    /// A new bus at the same address, with a new bluetoothd and `n_straps` straps.
    pub fn revive_bus(&mut self, n_straps: usize) {
        self.bus.revive();
        self.play(World::new(n_straps, self.speed));
    }

    fn end_thread(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic there was printed there
        }
    }
}

impl Drop for FakeBluez {
    fn drop(&mut self) {
        self.end_thread();
    }
}
