"""The machine: QEMU, restored from the state that `image` saved, and what is asked of the agent in it.

Not here: Bluetooth (`straps`) and the hub (`room`).
"""

import asyncio
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import time

ADAPTERS = ("hci0", "hci1")
HUB_DISK_BYTES = 64 << 20
# Emulated machines are slow, and others may be at work here: every bound is several times what is usual.
BOOT_S = 300
CONNECT_S = 60
ASK_S = 120


class MachineError(Exception):
    """The machine, or something in it, did not do what was asked."""


class MachineHangs(MachineError):
    """Not even the agent answers."""


def accelerator():
    """KVM only where the processor has it: a paravirtual /dev/kvm opens and can't run a stock kernel."""
    with open("/proc/cpuinfo") as file:
        flags = file.read()
    real = " svm" in flags or " vmx" in flags
    return "kvm" if real and os.access("/dev/kvm", os.R_OK | os.W_OK) else "tcg"


class Machine:
    def __init__(self, image, log, hub=None):
        """`image`: the folder that `image` made; `log`: where the console's output goes; `hub`: the second
        disk, of HUB_DISK_BYTES; an empty one while the image is made."""
        self.image = image
        self.hub = hub
        self.log = log
        self.numbers = itertools.count(1)
        self.answers = {}
        self.relays = {}
        self.process = None
        self.folder = tempfile.mkdtemp(prefix="coherence-vm.")

    def _command(self, saving):
        kind = accelerator()
        command = ["nice", "-n", "5", "qemu-system-x86_64"]
        command += ["-accel", "tcg,thread=multi,tb-size=256" if kind == "tcg" else kind]
        command += ["-cpu", "max" if kind == "tcg" else "host"]
        command += ["-machine", "q35,vmport=off,hpet=off", "-smp", "2", "-m", "640"]
        command += ["-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-no-reboot"]
        command += ["-kernel", f"{self.image}/vmlinuz", "-initrd", f"{self.image}/initrd.img"]
        command += [
            "-append",
            "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off random.trust_cpu=on "
            "systemd.show_status=0 audit=0 apparmor=0 net.ifnames=0 tsc=unstable nowatchdog",
        ]
        command += ["-serial", f"file:{self.log}"]
        # What is written is thrown away, except while the image is made.
        kept = "" if saving else ",snapshot=on"
        drive = f"file={self.image}/root.img,if=none,id=disk,format=raw,cache=unsafe,discard=unmap{kept}"
        command += ["-drive", drive, "-device", "virtio-blk-pci,drive=disk"]
        # An archive with what is to be installed. Not read before the state was saved, so it may change.
        hub = f"file={self.hub or self._empty_disk()},if=none,id=hub,format=raw,readonly=on"
        command += ["-drive", hub, "-device", "virtio-blk-pci,drive=hub"]
        command += ["-object", "rng-random,id=chance,filename=/dev/urandom"]
        command += ["-device", "virtio-rng-pci,rng=chance", "-device", "virtio-serial-pci,id=ports"]
        for port in ("ask", *ADAPTERS):
            command += ["-chardev", f"socket,id={port},path={self.socket(port)},server=on,wait=off"]
            command += ["-device", f"virtserialport,bus=ports.0,chardev={port},name={port}"]
        command += ["-qmp", f"unix:{self.socket('qmp')},server=on,wait=off"]
        if not saving:
            command += ["-incoming", f"exec:zstd -dcq {self.image}/state-{kind}.zst"]
        return command

    def _empty_disk(self):
        path = os.path.join(self.folder, "empty")
        with open(path, "wb") as file:
            file.truncate(HUB_DISK_BYTES)
        return path

    def socket(self, port):
        return os.path.join(self.folder, port)

    async def _connect(self, port):
        until = time.monotonic() + CONNECT_S
        while True:
            try:
                return await asyncio.open_unix_connection(self.socket(port), limit=1 << 24)
            except OSError:
                if self.process.returncode is not None or time.monotonic() > until:
                    raise MachineError(f"QEMU did not open its port {port}") from None
                await asyncio.sleep(0.05)

    async def _qmp(self, command, **arguments):
        self.qmp[1].write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while line := await self.qmp[0].readline():
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise MachineError(f"{command}: {answer['error']}")
        raise MachineError(f"{command}: QEMU ended")

    async def start(self, saving=False):
        self.process = await asyncio.create_subprocess_exec(
            *self._command(saving), stdin=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        self.qmp = await self._connect("qmp")
        await self.qmp[0].readline()
        await self._qmp("qmp_capabilities")
        reader, self.asking = await self._connect("ask")
        self.listening = asyncio.create_task(self._listen(reader))
        if not saving:
            while (await self._qmp("query-status"))["status"] == "inmigrate":
                await asyncio.sleep(0.05)
            await self._qmp("cont")
            await self.ask("clock", epoch_s=time.time())

    async def save(self):
        """Boots, waits until all is at rest, and keeps that state."""
        await self.start(saving=True)
        await self.ask("run", limit_s=BOOT_S, command="true", timeout_s=BOOT_S)
        await self.run(
            "for i in $(seq 200); do case $(systemctl is-system-running) in running|degraded) break;; esac;"
            " sleep 0.2; done;"
            # What every run starts is in the memory then.
            " systemctl start bluetooth; systemctl stop bluetooth; journalctl --rotate -q;"
            " journalctl --vacuum-time=1s -q; rm -rf /var/lib/bluetooth/*; sync",
            BOOT_S,
        )
        await asyncio.sleep(2)
        state = f"{self.image}/state-{accelerator()}.zst"
        await self._qmp("stop")
        await self._qmp("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        await self._qmp("migrate", uri=f"exec:zstd -q -3 -T2 > {state}")
        while (status := (await self._qmp("query-migrate")).get("status")) != "completed":
            if status in ("failed", "cancelled"):
                raise MachineError("the machine's state could not be saved")
            await asyncio.sleep(0.1)
        await self._qmp("quit")
        await self.process.wait()

    async def _listen(self, reader):
        while line := await reader.readline():
            answer = json.loads(line)
            if waiting := self.answers.pop(answer["id"], None):
                if not waiting.done():
                    waiting.set_result(answer)
        for waiting in self.answers.values():
            if not waiting.done():
                waiting.set_exception(MachineError("the machine ended"))

    async def ask(self, op, limit_s=ASK_S, content=None, **question):
        number = next(self.numbers)
        waiting = self.answers[number] = asyncio.get_running_loop().create_future()
        self.asking.write(json.dumps({"id": number, "op": op, **question}).encode() + b"\n")
        if content is not None:
            self.asking.write(content)
        await self.asking.drain()
        try:
            answer = await asyncio.wait_for(waiting, limit_s)
        except asyncio.TimeoutError:
            self.answers.pop(number, None)
            raise MachineHangs(f"no answer within {limit_s} s: {op} {str(question)[:200]}") from None
        if "error" in answer:
            raise MachineError(answer["error"])
        return answer

    async def run(self, command, timeout_s=60, may_fail=False):
        """What the command said."""
        answer = await self.ask("run", limit_s=timeout_s + 30, command=command, timeout_s=timeout_s)
        if answer["status"] != 0 and not may_fail:
            raise MachineError(f"{command!r} ended with {answer['status']}: {answer['said'][-1000:]}")
        return answer["said"]

    async def put(self, path, content, mode=0o644):
        await self.ask("put", path=path, size=len(content), mode=mode, content=content)

    async def plug(self, adapter):
        """Plugs an adapter in; who plays it must be at the port. The kernel gives it the lowest free name."""
        said = await self.run(
            f"setsid /usr/local/sbin/adapter /dev/virtio-ports/{adapter} </dev/null >/run/{adapter}.log 2>&1 &"
            f" echo $!; for i in $(seq 600); do [ -e /sys/class/bluetooth/{adapter} ] && exit 0; sleep 0.1; done;"
            f" echo no {adapter} appeared; exit 1",
            90,
        )
        self.relays[adapter] = int(said)

    async def unplug(self, adapter):
        await self.run(f"kill {self.relays.pop(adapter)}")

    async def registers(self):
        """Where its processors are: for who wonders why it hangs."""
        status = await self._qmp("query-status")
        monitor = {"command-line": "info registers -a"}
        return f"{status}\n{await self._qmp('human-monitor-command', **monitor)}"

    async def stop(self):
        if self.process and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()
        if self.process:
            self.listening.cancel()
        shutil.rmtree(self.folder, ignore_errors=True)


async def save(image):
    machine = Machine(image, os.path.join(image, "console.log"))
    try:
        await machine.save()
    finally:
        await machine.stop()


if __name__ == "__main__":
    assert sys.argv[1] == "save"
    asyncio.run(save(sys.argv[2]))
