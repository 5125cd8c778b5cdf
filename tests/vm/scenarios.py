#!/usr/bin/env python3
"""The scenarios, and what runs them: scenarios.py PROJECT IMAGE [NAME…]

A scenario is a coroutine that takes a Room and returns one line of what it saw; it raises Failure with the
reason. Those of one `Group` follow one another in the same room, in which all straps stream; after a failure
the next one gets a new room. No latency is asserted, only order, continuity and that something happens at all
within bounds that are generous: the machine is emulated.
"""

import asyncio
import logging
import os
import sys
import time
import traceback
from dataclasses import dataclass

import room as rooms
from machine import MachineHangs
from room import Failure, Room, pack

FIVE_MINUTES_S = 300
LOOK_EVERY_S = 15
FULL_ROOM = 16
# What the hub marks where a link broke and no time is missing.
BREAK_MS = 1
# By how much beats may run ahead of their arrival before the hub begins a new run.
AHEAD_MS = 2_000
# Several attempts, each of which the kernel gives up after 20 s.
DEAF_S = 100
DEAF_LOOK_S = 5
# Debian 12's kernel crashes at each of them, and all lose their links: there may not be many.
DEAF_DOWNFALLS = 3


async def sixteen_straps_stream_for_five_minutes(room):
    began = room.mark()
    until = time.monotonic() + FIVE_MINUTES_S
    looks = 0
    while time.monotonic() < until:
        await asyncio.sleep(min(LOOK_EVERY_S, max(0, until - time.monotonic())))
        shown = await room.shown()
        not_streaming = [s["label"] for s in shown.values() if s["state"] != "streaming"]
        looks += 1
        if not_streaming:
            raise Failure(f"not streaming: {', '.join(not_streaming)}; {await room.situation()}")
    accounts = await room.accounts()
    if losses := room.losses(accounts, began):
        raise Failure(f"delivered and not stored (strap, place, count): {losses}")
    late, _ = breaks_where_links_began(room, accounts, began, [])
    delivered = sum(len(strap.delivered) - began[strap.number] for strap in room.straps)
    at_least = sum(account.reached for account in accounts.values())
    counted = sum((await room.counted("coherence_rr_received_total")).values())
    at_most = sum(len(strap.delivered) for strap in room.straps)
    if not at_least <= counted <= at_most:
        raise Failure(f"/metrics counts {counted:.0f} intervals, {at_least} to {at_most} were delivered")
    return (
        f"{delivered} intervals delivered in {FIVE_MINUTES_S} s, all stored once and in order; all "
        f"{FULL_ROOM} shown streaming at {looks} of {looks} looks, no new link; /metrics counts the same; "
        f"{late} holes marked for values that came late"
    )


async def a_reconnect_is_one_marked_break(room):
    began = room.mark()
    leaver, lost = room.straps[:2]
    links = len(leaver.links_began), len(lost.links_began)
    await leaver.hang_up()
    await lost.vanish(room.adapters)
    await asyncio.sleep(8)
    await lost.come_back()
    back_s = await room.all_stream()
    accounts = await room.accounts()
    if losses := room.losses(accounts, began):
        raise Failure(f"delivered and not stored (strap, place, count): {losses}")
    late, _ = breaks_where_links_began(room, accounts, began, (leaver, lost))
    told = []
    for strap, before in zip((leaver, lost), links):
        if len(strap.links_began) != before + 1:
            raise Failure(f"strap {strap.number} was linked {len(strap.links_began) - before} times")
        for place, said_ms, true_ms in room.breaks(accounts, began)[strap.number]:
            if place == strap.links_began[-1]:
                told.append(f"{said_ms / 1000:.1f} s said missing, {true_ms / 1000:.1f} s were")
    return (
        f"hung up: {told[0]}; out of reach: {told[1]}; one break each, where the new link began; nothing lost; "
        f"the {len(room.straps) - 2} others kept their links; all streamed {back_s:.1f} s after the return; {late} "
        "holes marked for values that came late"
    )


def losses_lie_at_breaks(room, accounts, began):
    """What was delivered to somebody who was not there is lost, but never without a marked break behind it.
    How many intervals that were."""
    count = 0
    for number, place, lost in room.losses(accounts, began):
        if place + lost not in accounts[number].breaks:
            raise Failure(f"strap {number}: {lost} intervals from {place} on are lost and no break is marked")
        count += lost
    return count


def breaks_where_links_began(room, accounts, began, straps):
    """Each link of these straps that began since is marked as a break, and nothing else is. Only time may be
    said to be missing elsewhere: in an emulated machine values come late now and then, which the hub can't tell
    from a hole. How many of these, and by how much the length of the breaks is wrong."""
    late, worst_ms = 0, 0
    for number, found in room.breaks(accounts, began).items():
        strap = room.straps[number]
        began_at = {at for at in strap.links_began if began[number] <= at < accounts[number].reached}
        if strap in straps and not began_at:
            raise Failure(f"strap {number} was not linked anew")
        if strap not in straps and began_at:
            raise Failure(f"strap {number} was linked anew, at intervals {sorted(began_at)}")
        marked = {place for place, _, _ in found}
        # A hole that was none sets the beats too late, and when values come in time again the hub sees that its
        # chain runs ahead of them, and begins a new run.
        no_break = too_late = 0
        for place, said_ms, _ in found:
            if place not in began_at and said_ms > BREAK_MS:
                too_late += said_ms > AHEAD_MS
            elif place not in began_at:
                no_break += too_late == 0
                too_late = max(0, too_late - 1)
        if not began_at <= marked or no_break:
            raise Failure(
                f"strap {number}: links began at intervals {sorted(began_at)}, breaks are marked (place, ms "
                f"said, ms true) at {found}"
            )
        late += len(marked - began_at)
        worst_ms = max([worst_ms, *(abs(said - true) for place, said, true in found if place in began_at)])
    return late, worst_ms


def a_break_at_each_new_link(room, accounts, began):
    late, worst_ms = breaks_where_links_began(room, accounts, began, room.straps)
    also = f" ({late} holes more, for values that came late)" if late else ""
    return f"a break where each new link began{also}, its length right to {worst_ms / 1000:.1f} s"


async def pid_of_the_hub(room):
    return await room.machine.run("systemctl show coherence-hub -p MainPID -p NRestarts")


async def restarts(room, service, away):
    """Restarts a service that Bluetooth hangs on: all straps come back, and not because the hub was started again."""
    began, hub = room.mark(), await pid_of_the_hub(room)
    await room.machine.run(f"systemctl restart {service}", 120)
    back_s = await room.all_stream()
    accounts = await room.accounts()
    lost = losses_lie_at_breaks(room, accounts, began)
    said = a_break_at_each_new_link(room, accounts, began)
    if await pid_of_the_hub(room) != hub:
        raise Failure("the hub was started again")
    return f"all {len(room.straps)} stream {back_s:.1f} s after it; {said}; {lost} intervals were delivered while {away} was away"


async def bluetoothd_restarts(room):
    return await restarts(room, "bluetooth", "it")


async def the_adapter_is_plugged_out_and_in(room):
    began, hub = room.mark(), await pid_of_the_hub(room)
    await room.unplug(0)

    async def says_so():
        source = await room.source()
        return not source["up"] and source["code"] == "no_adapter"

    said_s = await room.until(120, "the hub says that there is no adapter", says_so)
    await room.plug(0)
    back_s = await room.all_stream()
    accounts = await room.accounts()
    lost = losses_lie_at_breaks(room, accounts, began)
    said = a_break_at_each_new_link(room, accounts, began)
    if await pid_of_the_hub(room) != hub:
        raise Failure("the hub was started again")
    return (
        f"no_adapter said after {said_s:.1f} s; all {len(room.straps)} stream {back_s:.1f} s after replugging; "
        f"{said}; {lost} intervals lost with the adapter"
    )


async def the_hub_restarts(room):
    began = room.mark()
    links = {strap.number: len(strap.links_began) for strap in room.straps}
    ended = {strap.number: len(strap.links_ended) for strap in room.straps}
    at = time.monotonic()
    await room.machine.run("systemctl restart coherence-hub", 300)
    took_s = time.monotonic() - at
    back_s = await room.all_stream()
    for strap in room.straps:
        if strap.links_ended[ended[strap.number] :] == []:
            raise Failure(f"the hub did not let go of strap {strap.number}")
        if len(strap.links_began) != links[strap.number] + 1:
            raise Failure(f"strap {strap.number}: {len(strap.links_began) - links[strap.number]} new links")
    accounts = await room.accounts()
    lost = losses_lie_at_breaks(room, accounts, began)
    said = a_break_at_each_new_link(room, accounts, began)
    return (
        f"restarted in {took_s:.1f} s, every link let go and made anew once; all {len(room.straps)} stream "
        f"{back_s:.1f} s after it; {said}; {lost} intervals were delivered while the hub stopped"
    )


async def more_straps_than_links(room):
    async def waiting():
        links = (await room.source())["links"]
        streaming = [s for s in (await room.shown()).values() if s["state"] == "streaming"]
        held = [(adapter["held"], adapter["limit"]) for adapter in links["adapters"]]
        return len(streaming) == 4 and held == [(4, 4)] and len(links["waiting"]) == 2

    said_s = await room.until(rooms.STREAM_S, "4 straps stream and 2 are shown waiting", waiting)
    waiters = [strap for strap in room.straps if strap.link is None]
    if len(waiters) != 2:
        raise Failure(f"{6 - len(waiters)} straps are linked where 4 may be")
    source = await room.source()
    shown = await room.shown()
    labels = {shown[strap.identity]["label"] for strap in waiters}
    if labels != set(source["links"]["waiting"]):
        raise Failure(f"{source['links']['waiting']} are shown waiting, {labels} have no link")
    leaver = next(strap for strap in room.straps if strap.link)
    began = room.mark()
    await leaver.switch_off()
    freed_s = await room.until(
        rooms.STREAM_S, "a waiting strap gets the link of one that left", lambda: any(s.link for s in waiters)
    )
    await room.until(
        rooms.STREAM_S, "it delivers", lambda: any(len(strap.delivered) > 3 for strap in waiters)
    )
    others = [strap for strap in room.straps if strap is not leaver]
    if losses := room.losses(await room.accounts(others), began):
        raise Failure(f"delivered and not stored (strap, place, count): {losses}")
    return (
        f"4 stream and the 2 others are shown waiting after {said_s:.1f} s (\"{source['text']}\"); one switched off, "
        f"its link goes to a waiting one after {freed_s:.1f} s; nothing lost"
    )


async def the_adapter_comes_late(room):
    async def says_so():
        source = await room.source()
        return not source["up"] and source["code"] == "no_adapter"

    said_s = await room.until(120, "the hub says that there is no adapter", says_so)
    health = await room.get("/health")
    await room.plug(0)
    heard_s = await room.all_stream()
    accounts = await room.accounts()
    if losses := room.losses(accounts, {strap.number: 0 for strap in room.straps}):
        raise Failure(f"delivered and not stored (strap, place, count): {losses}")
    return (
        f"serves without one and says no_adapter after {said_s:.1f} s (health: "
        f"{health['parts']['straps']['status']}); {len(room.straps)} stream {heard_s:.1f} s after it is "
        "plugged in; nothing lost"
    )


async def kernel_failures(room):
    """The kernel of Debian 12 may crash when a link that it is making is called off."""
    count = "journalctl -b -k --no-pager -o cat | grep -c 'end trace' || true"
    return int(await room.machine.run(count))


async def starts_of_bluetoothd(room):
    return (await room.journal("bluetooth")).count("Bluetooth daemon")


async def the_bus_restarts(room):
    # bluetoothd ends with it, and is started again by whoever asks for it.
    return await restarts(room, "dbus", "bluetoothd")


async def bluetoothd_dies_in_mid_connect(room):
    began, hub = room.mark(), await pid_of_the_hub(room)
    deaf, adapter = room.straps[0], room.adapters[0]
    starts = await starts_of_bluetoothd(room)
    adapter.deaf_to.add(deaf)
    await deaf.hang_up()

    def is_asked():
        wanted = adapter.pending_le_connection
        return wanted is not None and wanted.peer_address == deaf.address

    await room.until(120, "the kernel asks the strap for a link", is_asked, every_s=0.1)
    await room.machine.run("systemctl kill -s KILL bluetooth")
    adapter.deaf_to.clear()
    back_s = await room.all_stream()
    accounts = await room.accounts()
    lost = losses_lie_at_breaks(room, accounts, began)
    said = a_break_at_each_new_link(room, accounts, began)
    if await pid_of_the_hub(room) != hub:
        raise Failure("the hub was started again")
    if await starts_of_bluetoothd(room) == starts:
        raise Failure("bluetoothd was not started again: was it killed?")
    return (
        f"all {len(room.straps)} stream {back_s:.1f} s after it; {said}; {lost} intervals were delivered while "
        f"it was away; kernel failures: {await kernel_failures(room)}"
    )


async def a_strap_never_accepts(room):
    deaf, others = room.straps[0], room.straps[1:]
    adapter = room.adapters[0]
    hub, starts = await pid_of_the_hub(room), await starts_of_bluetoothd(room)
    failed_before = await kernel_failures(room)
    adapter.deaf_to.add(deaf)
    await deaf.hang_up()
    began = room.mark()
    silent_s = 0
    for _ in range(DEAF_S // DEAF_LOOK_S):
        before = {strap.number: len(strap.delivered) for strap in others}
        await asyncio.sleep(DEAF_LOOK_S)
        if any(len(strap.delivered) == before[strap.number] for strap in others):
            silent_s += DEAF_LOOK_S
    failed = await kernel_failures(room) - failed_before
    if deaf.link:
        raise Failure("the strap was linked although it does not accept")
    adapter.deaf_to.clear()
    back_s = await room.all_stream()
    accounts = await room.accounts()
    lost = losses_lie_at_breaks(room, accounts, began)
    if await pid_of_the_hub(room) != hub:
        raise Failure("the hub was started again")
    died = await starts_of_bluetoothd(room) - starts
    links = {strap.number: [at for at in strap.links_began if at > began[strap.number]] for strap in others}
    relinked = sum(len(began_at) for began_at in links.values())
    if died > DEAF_DOWNFALLS:
        raise Failure(f"one strap took Bluetooth down {died} times in {DEAF_S} s, and the others with it")
    if relinked and not failed and not died:
        raise Failure(f"the others were linked anew (strap: at intervals) {links}, and nothing had failed")
    steps = await room.counted("coherence_recovery_steps_total")
    rungs = ", ".join(f"{rung} {count:.0f}" for rung, count in sorted(steps.items())) or "none"
    return (
        f"in {DEAF_S} s the kernel failed {failed} times and bluetoothd was started {died} times; the others were "
        f"linked anew {relinked} times, silent for {silent_s} s, {lost} intervals lost at a break; all "
        f"{len(room.straps)} stream {back_s:.1f} s after it accepts; steps since the start: {rungs}"
    )


async def on_bluez_disk(room):
    """Straps of which BlueZ keeps something; and those of which it only remembers the name."""
    kept = await room.machine.run("cd /var/lib/bluetooth && ls -d */*:*:*:*:*:* 2>/dev/null || true")
    names = await room.machine.run("cd /var/lib/bluetooth && ls -d */cache/* 2>/dev/null || true")
    return kept.split(), names.split()


async def a_hub_that_ends_leaves_nothing(room):
    before, _ = await on_bluez_disk(room)
    if len(before) < len(room.straps):
        raise Failure(f"BlueZ keeps {before} of {len(room.straps)} straps: this scenario would show nothing")
    at = time.monotonic()
    await room.machine.run("systemctl stop coherence-hub", 120)
    took_s = time.monotonic() - at
    # At once: what nobody asked it to forget, BlueZ itself forgets after half a minute.
    if kept := (await on_bluez_disk(room))[0]:
        raise Failure(f"BlueZ still keeps {kept} on its disk")
    if held := [strap.number for strap in room.straps if strap.link]:
        raise Failure(f"straps {held} are still linked")
    _, names = await on_bluez_disk(room)
    began = room.mark()
    await room.start_hub()
    back_s = await room.all_stream()
    accounts = await room.accounts()
    said = a_break_at_each_new_link(room, accounts, began)
    return (
        f"ended in {took_s:.1f} s; BlueZ kept {len(before)} straps on its disk before and none after ({len(names)} names in "
        f"its cache); started again, all {len(room.straps)} stream after {back_s:.1f} s; {said}"
    )


async def two_adapters_share_the_straps(room):
    first, second = room.adapters

    def carried_by(adapter):
        return [s for s in room.straps if s.link and s.link.peer_address == adapter.public_address]

    source = await room.source()
    shares = len(carried_by(first)), len(carried_by(second))
    if shares != (3, 3):
        raise Failure(f"the adapters carry {shares} straps where each may carry 3; {source}")
    began = room.mark()
    moved, stayed = carried_by(second), carried_by(first)
    await room.unplug(1)

    async def shown_waiting():
        links = (await room.source())["links"]
        return len(links["waiting"]) == 3 and [a["name"] for a in links["adapters"]] == ["hci0"]

    said_s = await room.until(120, "3 straps are shown waiting", shown_waiting)
    if held := [strap.number for strap in moved if strap.link]:
        raise Failure(f"straps {held} are linked where hci0 may carry 3")
    await room.plug(1)
    back_s = await room.all_stream()
    accounts = await room.accounts()
    losses_lie_at_breaks(room, accounts, began)
    late, worst_ms = breaks_where_links_began(room, accounts, began, moved)
    if carried_by(first) != stayed:
        raise Failure("straps of hci0 changed their adapter")
    return (
        f"{shares[0]} and {shares[1]} of 6 carried; hci1 unplugged: its 3 shown waiting after {said_s:.1f} s, hci0's "
        f"kept their links; all stream {back_s:.1f} s after replugging; a break where each new link began ({late} holes "
        f"more), its length right to {worst_ms / 1000:.1f} s"
    )


@dataclass
class Group:
    name: str
    n_straps: int
    scenarios: tuple
    max_links: int = FULL_ROOM
    n_adapters: int = 1
    plugged: bool = True
    # Wait until all stream before the first scenario.
    settled: bool = True

    def config(self):
        return (
            '[web]\nlisten = "127.0.0.1:8080"\n'
            f"[straps]\nmax_links = {self.max_links}\n"
            '[clock]\ntrust = "always"\n'
        )


# Each lane has a machine of its own; two are as many as two cores can emulate.
LANES = (
    (
        Group(
            "a full room",
            FULL_ROOM,
            (
                sixteen_straps_stream_for_five_minutes,
                a_reconnect_is_one_marked_break,
                bluetoothd_restarts,
                the_adapter_is_plugged_out_and_in,
                the_hub_restarts,
            ),
        ),
    ),
    (
        Group("no adapter", 3, (the_adapter_comes_late,), plugged=False, settled=False),
        Group("few links", 6, (more_straps_than_links,), max_links=4, settled=False),
        Group("two adapters", 6, (two_adapters_share_the_straps,), max_links=3, n_adapters=2),
        Group(
            "few straps",
            4,
            (
                the_bus_restarts,
                a_hub_that_ends_leaves_nothing,
                bluetoothd_dies_in_mid_connect,
                a_strap_never_accepts,
            ),
        ),
    ),
)


class Run:
    def __init__(self, project, image, wanted):
        self.project, self.image, self.wanted = project, image, wanted
        self.logs = os.path.join(project, "target/vm/log")
        os.makedirs(self.logs, exist_ok=True)
        self.hub = pack(project, os.path.join(project, "target/vm/hub.tar"))
        self.began = time.monotonic()
        self.passed, self.failed = [], []

    def say(self, text):
        print(f"[{time.monotonic() - self.began:6.1f} s] {text}", flush=True)

    def is_wanted(self, scenario):
        return not self.wanted or any(word in scenario.__name__ for word in self.wanted)

    async def group(self, group):
        scenarios = [scenario for scenario in group.scenarios if self.is_wanted(scenario)]
        room, hung = None, False
        try:
            while scenarios:
                scenario = scenarios[0]
                try:
                    if room is None:
                        room = await self.open(group, scenario)
                    at = time.monotonic()
                    seen = await scenario(room)
                except Exception as error:
                    # Emulators hang now and then, and then nothing was seen of the hub: once more, and no more.
                    again = isinstance(error, MachineHangs) and not hung
                    hung = hung or again
                    if again:
                        self.say(f"AGAIN  {scenario.__name__}: the machine hangs: {error}")
                    else:
                        scenarios.pop(0)
                        self.failed.append(scenario.__name__)
                        reason = str(error) if isinstance(error, Failure) else traceback.format_exc()
                        self.say(f"FAILED {scenario.__name__}: {reason}")
                    if room:
                        await room.close()
                        self.say(f"       what was logged: {room.log}.journal")
                    room = None
                else:
                    scenarios.pop(0)
                    self.passed.append(scenario.__name__)
                    self.say(f"passed {scenario.__name__} ({time.monotonic() - at:.0f} s): {seen}")
        finally:
            if room:
                await room.close()

    async def open(self, group, scenario):
        log = os.path.join(self.logs, scenario.__name__)
        room = Room(
            self.image, self.hub, log, group.n_straps, group.config(), group.n_adapters
        )
        try:
            await room.open(group.plugged)
            await room.start_hub()
            if group.settled:
                first_s = await room.all_stream()
                self.say(f"       {group.name}: {group.n_straps} straps stream {first_s:.1f} s after the hub's start")
        except BaseException:
            await room.close()
            raise
        return room

    async def lane(self, groups):
        for group in groups:
            await self.group(group)

    async def all(self):
        await asyncio.gather(*(self.lane(groups) for groups in LANES))
        self.say(f"{len(self.passed)} scenarios passed, {len(self.failed)} failed")
        for name in self.failed:
            self.say(f"failed: {name}")
        if not self.passed and not self.failed:
            raise SystemExit("tests/vm: no scenario has such a name")
        return 1 if self.failed else 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)
    sys.exit(asyncio.run(Run(sys.argv[1], sys.argv[2], sys.argv[3:]).all()))
