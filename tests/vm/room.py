"""A room in the machine: the hub under its real unit, bluetoothd, adapters and straps; what it stored and
shows, and waiting for something to be so.
"""

import asyncio
import json
import os
import re
import tarfile
import time

from ledger import compare, missing_ms
from machine import ADAPTERS, HUB_DISK_BYTES, Machine
from straps import Adapter, Air, Strap

# What takes seconds here may take minutes on a busy machine.
STREAM_S = 300
STORE_S = 90


# The hub as a package would install it.
FILES = (
    ("target/release/coherence-hub", "usr/bin/coherence-hub", 0o755),
    ("systemd/coherence-hub.service", "etc/systemd/system/coherence-hub.service", 0o644),
    ("systemd/coherence-hub.sysusers", "usr/lib/sysusers.d/coherence-hub.conf", 0o644),
    ("systemd/hub.toml", "etc/coherence-hub/hub.toml", 0o644),
)


def pack(project, path):
    """Makes the disk from which the machine takes the hub."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as disk:
        for source, target, mode in FILES:
            about = disk.gettarinfo(os.path.join(project, source), target)
            about.mode, about.uid, about.gid = mode, 0, 0
            with open(os.path.join(project, source), "rb") as file:
                disk.addfile(about, file)
    os.truncate(path, HUB_DISK_BYTES)
    return path


class Failure(Exception):
    """What was expected and not seen."""


class Room:
    def __init__(self, image, hub, log, n_straps, config="", n_adapters=1):
        self.log, self.config = log, config
        self.machine = Machine(image, f"{log}.console", hub)
        self.air = Air()
        self.straps = [Strap(number, self.air) for number in range(n_straps)]
        self.adapters = [Adapter(self.air, number, self.straps) for number in range(n_adapters)]
        self.hearts = []

    async def open(self, plugged=True):
        """Everything but the hub."""
        await self.machine.start()
        for adapter, port in zip(self.adapters, ADAPTERS):
            await adapter.join(self.machine.socket(port))
        await self._install()
        if plugged:
            for number in range(len(self.adapters)):
                await self.plug(number)
        self.hearts = [asyncio.create_task(strap.live()) for strap in self.straps]

    async def _install(self):
        await self.machine.run("tar -x -f /dev/vdb -C /")
        await self.machine.put("/etc/coherence-hub/conf.d/50-machine.toml", self.config.encode())
        await self.machine.run("systemd-sysusers && systemctl daemon-reload")

    async def start_hub(self):
        await self.machine.run("systemctl start coherence-hub", 300)

    async def plug(self, number):
        self.adapters[number].plugged = True
        await self.machine.plug(ADAPTERS[number])

    async def unplug(self, number):
        self.adapters[number].pull()
        await self.machine.unplug(ADAPTERS[number])

    async def close(self):
        """Keeps what the machine's journal says, and ends it."""
        for heart in self.hearts:
            heart.cancel()
        try:
            if self.machine.process:
                journal = await self.machine.run("journalctl -b --no-pager -o short-monotonic", may_fail=True)
                with open(f"{self.log}.journal", "w") as file:
                    file.write(journal)
        except Exception as error:  # the machine may be the very thing that failed
            with open(f"{self.log}.journal", "w") as file:
                file.write(f"the machine's journal could not be read: {error}\n")
                try:
                    file.write(await asyncio.wait_for(self.machine.registers(), 10))
                except Exception as deaf:
                    file.write(f"and QEMU does not answer: {deaf!r}\n")
        await self.machine.stop()

    # What the hub shows and stored.

    async def get(self, path):
        answer = await self.machine.ask("get", path=path)
        if answer["status"] != 200:
            raise Failure(f"GET {path} answers {answer['status']}: {answer['body'][:300]}")
        return json.loads(answer["body"]) if path != "/metrics" else answer["body"]

    async def sql(self, question):
        return (await self.machine.ask("sql", question=question))["rows"]

    async def shown(self):
        """The straps as the API shows them, by identity."""
        labels = dict(await self.sql("SELECT label, identity FROM strap"))
        straps = (await self.get("/api/straps"))["straps"]
        return {labels[strap["label"]]: strap for strap in straps if strap["label"] in labels}

    async def source(self):
        sources = (await self.get("/api/straps"))["sources"]
        return next(source for source in sources if source["name"] == "ble")

    async def counted(self, metric):
        """Of a metric in /metrics: labels → value."""
        found = re.findall(rf"^{metric}(\{{.*\}})? (\S+)$", await self.get("/metrics"), re.M)
        return {",".join(re.findall(r'"([^"]*)"', labels)): float(value) for labels, value in found}

    async def journal(self, unit="coherence-hub"):
        return await self.machine.run(f"journalctl -b -u {unit} --no-pager -o cat", may_fail=True)

    async def stored(self):
        rows = await self.sql(
            "SELECT identity, rr_ms, gap_ms FROM rr JOIN strap USING (strap_no) ORDER BY rr_id"
        )
        stored = {strap.identity: [] for strap in self.straps}
        for identity, rr_ms, gap_ms in rows:
            value = rr_ms * 1.024
            if abs(value - round(value)) > 1e-6:
                raise Failure(f"{identity}: {rr_ms} ms is stored, which no strap can say")
            stored[identity].append((round(value), gap_ms))
        return stored

    # Waiting.

    async def until(self, limit_s, what, holds, every_s=1.0):
        """Seconds until `holds` is true; it may be a coroutine function, and what it raises is "not yet"."""
        began = time.monotonic()
        trouble = None
        while True:
            try:
                is_so = holds()
                if asyncio.iscoroutine(is_so):
                    is_so = await is_so
                trouble = None
            except Exception as error:
                is_so, trouble = False, error
            if is_so:
                return time.monotonic() - began
            if time.monotonic() - began > limit_s:
                because = f" ({trouble})" if trouble else ""
                raise Failure(f"not within {limit_s} s: {what}{because}; {await self.situation()}")
            await asyncio.sleep(every_s)

    async def situation(self):
        """For who reads why a scenario failed."""
        parts = []
        for strap in self.straps:
            if strap.link is None:
                parts.append(f"strap {strap.number} has no link")
            elif not strap.is_heard():
                parts.append(f"strap {strap.number} is linked and not subscribed")
        try:
            source = await self.source()
            parts.append(f"the hub says {source['code']}: {source['text']}")
        except Exception as error:
            parts.append(f"the hub does not answer: {error}")
        return "; ".join(parts)

    async def all_stream(self, straps=None, limit_s=STREAM_S):
        """Seconds until each strap has delivered anew and the hub shows that it streams."""
        straps = self.straps if straps is None else straps
        before = {strap.number: len(strap.delivered) for strap in straps}
        began = time.monotonic()
        await self.until(
            limit_s,
            f"{len(straps)} straps deliver",
            lambda: all(len(strap.delivered) >= before[strap.number] + 3 for strap in straps),
        )
        heard_s = time.monotonic() - began

        async def shown_so():
            shown = await self.shown()
            return all(shown[strap.identity]["state"] == "streaming" for strap in straps)

        await self.until(limit_s, "the hub shows that all stream", shown_so)
        return heard_s

    # Accounts.

    def mark(self):
        """A moment, to be accounted for from."""
        return {strap.number: len(strap.delivered) for strap in self.straps}

    async def accounts(self, straps=None):
        """What became of all that was delivered until now, strap by strap; waits until it is stored. That
        nothing is doubled, out of order or invented is asserted here for all scenarios."""
        straps = self.straps if straps is None else straps
        until = self.mark()
        accounts = {}

        async def all_reached():
            stored = await self.stored()
            for strap in straps:
                accounts[strap.number] = compare(strap.delivered, stored[strap.identity])
                if accounts[strap.number].foreign:
                    return True
            return all(accounts[strap.number].reached >= until[strap.number] for strap in straps)

        await self.until(STORE_S, "what was delivered is stored", all_reached, every_s=2.0)
        for strap in straps:
            account = accounts[strap.number]
            if account.foreign:
                stored = (await self.stored())[strap.identity]
                place = account.foreign[0]
                around = [value for value, _ in stored[max(0, place - 3) : place + 3]]
                raise Failure(
                    f"strap {strap.number}: interval {place} is stored twice, out of order or was never "
                    f"sent; around it {around}"
                )
        return accounts

    def losses(self, accounts, mark):
        """Since `mark`: (strap's number, place, how many)."""
        return [
            (number, place, count)
            for number, account in accounts.items()
            for place, count in account.lost
            if place >= mark[number]
        ]

    def breaks(self, accounts, mark):
        """Since `mark`: strap's number → [(place, ms that the hub says are missing, ms that are)]."""
        found = {}
        for number, account in accounts.items():
            found[number] = []
            delivered = self.straps[number].delivered
            for place, before, said_ms in zip(account.breaks, account.resumed_after, account.missing_ms):
                if place >= mark[number] and before >= 0:
                    true_ms = missing_ms(number, delivered[before], delivered[place])
                    found[number].append((place, said_ms, true_ms))
        return found
