"""The air: heart-rate straps and Bluetooth adapters, played with Bumble, and a ledger of what was delivered.

An adapter here is the controller behind `/dev/vhci` in the machine. Delivered is what it handed to the
machine's kernel, in that order; what happens behind that is what is tested. Each heart beats on whether or not
anybody hears it, and a strap speaks once a second while it is linked and subscribed, as real ones do.
"""

import asyncio
import random
import struct
import time

from bumble import gatt, hci, ll
from bumble.controller import Controller
from bumble.core import AdvertisingData, PhysicalTransport
from bumble.device import Device
from bumble.gatt import Characteristic, Service
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport import open_transport
from bumble.transport.common import AsyncPipeSink

from ledger import ticks

NAMES = (
    "Polar H10 8C2F1A21",
    "TICKR 12AB",
    "HRM-Dual:123456",
    "Polar H9 0A1B2C3D",
    "Wahoo HRM 77F0",
    "HRMPro+:654321",
    "CooSpo H6 0012345",
    "Decathlon Dual HR",
)
NOTIFY_EVERY_S = 1.0
ADVERTISE_EVERY_MS = 100.0
# The kernel's own supervision time-out is 420 ms.
SUPERVISION_S = 0.42
ATT_CHANNEL = 4
ATT_NOTIFICATION = 0x1B
LEGACY = Controller.le_features & ~(
    hci.LeFeatureMask.LE_EXTENDED_ADVERTISING
    | hci.LeFeatureMask.LL_PRIVACY
    | hci.LeFeatureMask.LE_PERIODIC_ADVERTISING
)


class Air(LocalLink):
    """What joins straps and adapters. Data goes out under the address with which the link was made: Bumble
    itself always takes the random one, and BlueZ connects from its public one."""

    def send_acl_data(self, sender_controller, destination_address, transport, data):
        link = sender_controller.le_connections.get(destination_address)
        if transport != PhysicalTransport.LE or link is None:
            return super().send_acl_data(sender_controller, destination_address, transport, data)
        receiver = self.find_le_controller(destination_address)
        if receiver is None or receiver.out_of_reach or sender_controller.out_of_reach:
            return None
        source = link.self_address
        asyncio.get_running_loop().call_soon(lambda: receiver.on_link_acl_data(source, transport, data))
        return None

    def send_ll_control_pdu(self, sender_address, receiver_address, packet):
        # The other end may have left without a word.
        if self.find_le_controller(receiver_address) is not None:
            super().send_ll_control_pdu(sender_address, receiver_address, packet)


class Reachable(Controller):
    le_features = LEGACY
    out_of_reach = False

    def lose(self, peer_address):
        """The link to `peer_address` times out on this side."""
        if link := self.le_connections.get(peer_address):
            self.on_le_disconnected(link, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)


class Adapter(Reachable):
    """The controller that BlueZ sees: plain commands only, with scan responses, signal strengths and a
    connect that can be called off, which Bumble's own does not have."""

    def __init__(self, air, number, straps):
        address = f"00:1B:DC:00:00:{number + 1:02X}"
        super().__init__(f"hci{number}", link=air, public_address=address)
        self.address_text = address
        self.straps = straps
        self.seen = set()
        self.plugged = False
        # Straps whose connect requests are not answered.
        self.deaf_to = set()

    async def join(self, socket):
        """Takes the host's end of the machine's port."""
        transport = await open_transport(f"unix-client:{socket}")
        transport.source.set_packet_sink(self)
        self.host = transport.sink
        self.plugged = True

    def pull(self):
        """Unplugged: says no more, and its links time out at the straps."""
        self.plugged = False
        self._forget_all()
        for strap in self.straps:
            strap.controller.lose(self.public_address)

    def _forget_all(self):
        self.le_connections.clear()
        self.pending_le_connection = None
        self.le_scan_enable = False

    def on_packet(self, packet):
        if self.plugged:
            super().on_packet(packet)

    def send_hci_packet(self, packet):
        if not self.plugged:
            return
        if isinstance(packet, hci.HCI_AclDataPacket):
            self._book(packet)
        super().send_hci_packet(packet)

    def _book(self, packet):
        """Everything that goes to the machine passes here: this is where delivery is counted."""
        length, channel = struct.unpack_from("<HH", packet.data)
        if channel != ATT_CHANNEL or packet.data[4] != ATT_NOTIFICATION:
            return
        assert length == len(packet.data) - 4, "a notification in parts would be counted wrongly"
        link = self.find_connection_by_handle(packet.connection_handle)
        strap = next(s for s in self.straps if s.address == link.peer_address)
        (handle,) = struct.unpack_from("<H", packet.data, 5)
        if handle == strap.measurement.handle:
            strap.was_delivered(packet.data[7:])

    def on_advertising_pdu(self, pdu):
        strap = next((s for s in self.straps if s.address == pdu.advertiser_address), None)
        if strap is None or not self.plugged:
            return
        key = bytes(pdu.advertiser_address) + bytes(pdu.data)
        if self.le_scan_enable and not (self.filter_duplicates and key in self.seen):
            self.seen.add(key)
            Event = hci.HCI_LE_Advertising_Report_Event
            said = [(Event.EventType.ADV_IND, pdu.data)]
            if self.le_scan_type == 1:
                said.append((Event.EventType.SCAN_RSP, strap.scan_response))
            for kind, data in said:
                report = Event.Report(
                    event_type=kind,
                    address_type=pdu.advertiser_address.address_type,
                    address=pdu.advertiser_address,
                    data=bytes(data),
                    rssi=strap.rssi_dbm + random.randint(-4, 4),
                )
                self.send_hci_packet(Event([report]))
        wanted = self.pending_le_connection
        if wanted and wanted.peer_address == pdu.advertiser_address and strap not in self.deaf_to:
            self.create_le_connection(pdu.advertiser_address)

    def on_hci_reset_command(self, command):
        for link in list(self.le_connections.values()):
            link.send_ll_control_pdu(
                ll.TerminateInd(hci.HCI_ErrorCode.REMOTE_DEVICE_TERMINATED_CONNECTION_DUE_TO_POWER_OFF_ERROR)
            )
        self._forget_all()
        return super().on_hci_reset_command(command)

    def on_hci_le_set_scan_enable_command(self, command):
        self.seen = set()
        return super().on_hci_le_set_scan_enable_command(command)

    def on_hci_le_create_connection_cancel_command(self, command):
        if not (wanted := self.pending_le_connection):
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        self.pending_le_connection = None
        called_off = hci.HCI_LE_Connection_Complete_Event(
            status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
            connection_handle=0,
            role=hci.Role.CENTRAL,
            peer_address_type=wanted.peer_address.address_type,
            peer_address=wanted.peer_address,
            connection_interval=0,
            peripheral_latency=0,
            supervision_timeout=0,
            central_clock_accuracy=0,
        )
        # After the command's own completion, as chips do it.
        asyncio.get_running_loop().call_later(0.01, self.send_hci_packet, called_off)
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)


class Strap:
    """One strap on one heart. Even numbers count energy now and then, every third has a public address, every
    fourth no contact sensor, every fifth a wide heart rate."""

    def __init__(self, number, air):
        self.number = number
        self.name = NAMES[number] if number < len(NAMES) else f"HR-{number:04X}"
        is_public = number % 3 == 2
        text = f"{'A0:9E:1A' if is_public else 'D0:5F:B8'}:00:00:{number + 1:02X}"
        self.identity = f"ble:{text}"
        self.address = Address(
            text, Address.PUBLIC_DEVICE_ADDRESS if is_public else Address.RANDOM_DEVICE_ADDRESS
        )
        self.own_address_type = hci.OwnAddressType.PUBLIC if is_public else hci.OwnAddressType.RANDOM
        self.rssi_dbm = -50 - 2 * number
        self.controller = Reachable(f"strap{number}", link=air, public_address=text if is_public else None)
        host = Host(self.controller, AsyncPipeSink(self.controller))
        self.device = Device(name=self.name, address=self.address, host=host)
        self._offer_services()
        advertised = [
            (AdvertisingData.FLAGS, b"\x06"),
            (AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS, struct.pack("<H", 0x180D)),
        ]
        if number % 3 == 0:
            block = struct.pack("<HBBB", 0x006B, 0x2F, number, 60)
            advertised.append((AdvertisingData.MANUFACTURER_SPECIFIC_DATA, block))
        self.advertisement = bytes(AdvertisingData(advertised))
        self.scan_response = bytes(
            AdvertisingData([(AdvertisingData.COMPLETE_LOCAL_NAME, self.name.encode())])
        )
        self.device.on("connection", self._linked)
        self.link = None
        self.switched_on = True
        self.beat = 0
        self.energy_kj = 0
        self.notifications = 0
        # Ticks, in the order of delivery, and at which of them each link began.
        self.delivered = []
        self.links_began = []
        # Why each link ended, as HCI says it.
        self.links_ended = []

    def _offer_services(self):
        properties = Characteristic.Properties
        permissions = Characteristic.Permissions

        def readable(uuid, value):
            return Characteristic(uuid, properties.READ, permissions.READABLE, value)

        number = self.number
        self.measurement = Characteristic(
            gatt.GATT_HEART_RATE_MEASUREMENT_CHARACTERISTIC, properties.NOTIFY, permissions(0), b""
        )
        information = [
            readable(gatt.GATT_MANUFACTURER_NAME_STRING_CHARACTERISTIC, self.name.split()[0].encode()),
            readable(gatt.GATT_MODEL_NUMBER_STRING_CHARACTERISTIC, b"Model %d" % number),
            readable(gatt.GATT_SERIAL_NUMBER_STRING_CHARACTERISTIC, b"%08d" % number),
        ]
        heart_rate = [
            self.measurement,
            readable(gatt.GATT_BODY_SENSOR_LOCATION_CHARACTERISTIC, b"\x01"),
            Characteristic(
                gatt.GATT_HEART_RATE_CONTROL_POINT_CHARACTERISTIC, properties.WRITE, permissions.WRITEABLE, b""
            ),
        ]
        battery = Characteristic(
            gatt.GATT_BATTERY_LEVEL_CHARACTERISTIC,
            properties.READ | properties.NOTIFY,
            permissions.READABLE,
            bytes([90 - number]),
        )
        self.device.add_services(
            [
                Service(gatt.GATT_DEVICE_INFORMATION_SERVICE, information),
                Service(gatt.GATT_HEART_RATE_SERVICE, heart_rate),
                Service(gatt.GATT_BATTERY_SERVICE, [battery]),
            ]
        )

    def _linked(self, link):
        self.link = link
        self.links_began.append(len(self.delivered))
        link.on("disconnection", self._unlinked)

    def _unlinked(self, reason):
        self.link = None
        self.links_ended.append(reason)
        if self.switched_on:
            asyncio.get_running_loop().create_task(self.advertise())

    async def advertise(self):
        await self.device.start_advertising(
            own_address_type=self.own_address_type,
            advertising_data=self.advertisement,
            scan_response_data=self.scan_response,
            advertising_interval_min=ADVERTISE_EVERY_MS,
            advertising_interval_max=ADVERTISE_EVERY_MS,
        )

    async def live(self):
        """Switches on, and beats for ever."""
        await self.device.power_on()
        if self.switched_on:
            await self.advertise()
        await asyncio.sleep(self.number * 0.037)
        began = next_at = time.monotonic()
        heart_s = 0.0
        while True:
            next_at += NOTIFY_EVERY_S
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))
            beats = []
            while heart_s + (length_s := ticks(self.number, self.beat) / 1024) <= next_at - began:
                heart_s += length_s
                beats.append(ticks(self.number, self.beat))
                self.beat += 1
            if self.is_heard():
                await self.device.notify_subscribers(self.measurement, self._value(beats))

    def is_heard(self):
        """Linked and subscribed."""
        subscribers = self.device.gatt_server.subscribers.values()
        return self.link is not None and any(
            cccds.get(self.measurement.handle, b"\0")[0] & 1 for cccds in subscribers
        )

    def _value(self, beats):
        number = self.number
        self.notifications += 1
        flags = 0x00 if number % 4 == 3 else 0x06
        bpm = 60 * 1024 // (beats[0] if beats else ticks(number, self.beat))
        rate = bytes([bpm])
        if number % 5 == 4:
            flags |= 0x01
            rate = struct.pack("<H", bpm)
        energy = b""
        if number % 2 == 0 and self.notifications % 10 == 0:
            flags |= 0x08
            self.energy_kj += 1
            energy = struct.pack("<H", self.energy_kj)
        if beats:
            flags |= 0x10
        return bytes([flags]) + rate + energy + struct.pack(f"<{len(beats)}H", *beats)

    def was_delivered(self, value):
        flags = value[0]
        if flags & 0x10:
            at = 2 + (flags & 1) + (2 if flags & 0x08 else 0)
            self.delivered += struct.unpack(f"<{(len(value) - at) // 2}H", value[at:])

    async def hang_up(self):
        """Ends the link and advertises again."""
        if self.link:
            await self.link.disconnect(hci.HCI_REMOTE_USER_TERMINATED_CONNECTION_ERROR)

    async def vanish(self, adapters):
        """Out of reach: no goodbye, the link times out at both ends."""
        self.switched_on = False
        self.controller.out_of_reach = True
        self.controller.le_legacy_advertiser.stop()
        await asyncio.sleep(SUPERVISION_S)
        for adapter in adapters:
            adapter.lose(self.address)
            self.controller.lose(adapter.public_address)

    async def switch_off(self):
        self.switched_on = False
        await self.hang_up()
        await self.device.stop_advertising()

    async def come_back(self):
        self.switched_on, self.controller.out_of_reach = True, False
        await self.advertise()
