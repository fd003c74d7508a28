"""Measures handlers of microservices: `python -m benchmarks.microservices`.

A device publishes at QoS 1 to a gateway whose sessions are stored; a handler publishes each message
again; a subscriber counts. Scenarios: throughput at and beyond the capacity, and the time from the
device's message to the handler's. The rival is the same handler as a plain paho-mqtt script on the
same gateway.
"""

import json
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated
from urllib import request

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.brokers import ROOT, SCRATCH
from benchmarks.errors import BenchmarkError, PeerError
from benchmarks.measure import percentile
from benchmarks.packets import CONNACK_ACCEPTED, encode_connect, encode_suback, encode_subscribe

CONFIG = """\
[node]
name = "bench-gateway"
state = "{folder}/state"
[broker]
port = 0
anonymous = "loopback"
durability = "{durability}"
[sidecar]
port = 0
[log]
level = "WARNING"
"""
MANIFEST = """\
name = "echo"
[mqtt]
subscribe = ["in/#"]
publish = ["out/#"]
"""
SERVICE = """\
from microservice import Service
service = Service()
@service.on("in/#")
async def echo(message):
    await service.publish("out" + message.topic[2:], message.payload)
"""
READY = re.compile(r"gateway ready: .*MQTT 127\.0\.0\.1:(\d+), API http://127\.0\.0\.1:(\d+)")
READY_S, STOP_S, DRAIN_S = 30.0, 15.0, 60.0
TOPICS = 64
PAYLOAD_BYTES = 100
WINDOW = 500  # messages of the device that are not acknowledged
RATES = (2_000, 5_000, 8_000, 12_000)
LATENCY_RATE = 200
OURS, PAHO = "microservice", "paho script"


@dataclass(frozen=True, slots=True)
class Throughput:
    """One rate: what was offered, acknowledged and handled."""

    handler: str
    offered_per_s: int
    sent: int
    acknowledged_per_s: float
    handled_per_s: float
    handled: int
    gateway_us: float  # of processor time for each message handled; other load does not change it
    handler_us: float


@dataclass(frozen=True, slots=True)
class Latency:
    """The time from a message to the one that its handler publishes, in microseconds."""

    handler: str
    p50: float
    p99: float


class _Client:
    """A raw MQTT 3.1.1 connection that counts whole packets by their first byte."""

    def __init__(self, port: int, name: str, subscribe: str = "") -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._exchange(encode_connect(name), CONNACK_ACCEPTED)
        if subscribe:
            self._exchange(encode_subscribe(subscribe, 0), encode_suback(0))
        self.sock.setblocking(False)
        self.packets = 0
        self.last = b""
        self._rest = b""

    def _exchange(self, asked: bytes, expected: bytes) -> None:
        self.sock.sendall(asked)
        got = b""
        while len(got) < len(expected):
            got += self.sock.recv(100)
        if got != expected:
            raise PeerError(f"cannot connect: {got.hex()}")

    def read(self) -> int:
        """Read what is there; return the number of new packets."""
        try:
            data = self._rest + self.sock.recv(1 << 18)
        except BlockingIOError:
            return 0
        at = found = 0
        while len(data) - at >= 2:
            length, body = data[at + 1], at + 2
            if length & 0x80:
                if len(data) - at < 3:
                    break
                length, body = length & 0x7F | data[at + 2] << 7, at + 3
            if body + length > len(data):
                break
            self.last = data[at : body + length]
            at = body + length
            found += 1
        self._rest = data[at:]
        self.packets += found
        return found


def _publish(number: int, payload: bytes) -> bytes:
    topic = b"in/%d" % (number % TOPICS)
    packet_id = (number % 50_000 + 1).to_bytes(2, "big")
    body = len(topic).to_bytes(2, "big") + topic + packet_id + payload
    length = len(body)
    head = bytes((length,)) if length < 0x80 else bytes((length & 0x7F | 0x80, length >> 7))
    return b"\x32" + head + body


class _Load:
    """A device and a subscriber."""

    def __init__(self, port: int) -> None:
        self.device, self.subscriber = _Client(port, "device"), _Client(port, "reader", "out/#")
        self._selector = selectors.DefaultSelector()
        for each in (self.device, self.subscriber):
            self._selector.register(each.sock, selectors.EVENT_READ, each)
        self._number = 0

    def close(self) -> None:
        """Close both."""
        self._selector.close()
        self.device.sock.close()
        self.subscriber.sock.close()

    def _wait(self, seconds: float) -> None:
        for key, _ in self._selector.select(max(seconds, 0)):
            key.data.read()

    def run(self, rate: int, seconds: float) -> tuple[int, float, float, int]:
        """Publish at a rate; return sent, acknowledged/s and handled/s in that time, handled."""
        payload = b"x" * PAYLOAD_BYTES
        acked, got = self.device.packets, self.subscriber.packets
        begun = now = time.perf_counter()
        sent, unsent = 0, b""
        while (now := time.perf_counter()) - begun < seconds:
            due = min(int((now - begun) * rate), self.device.packets - acked + WINDOW) - sent
            for _ in range(due):
                unsent += _publish(self._number, payload)
                self._number += 1
            sent += max(due, 0)
            if unsent:
                with suppress(BlockingIOError):
                    unsent = unsent[self.device.sock.send(unsent) :]
            self._wait(0.0005)
        within = now - begun
        acked_within, got_within = self.device.packets - acked, self.subscriber.packets - got
        self.device.sock.setblocking(True)
        self.device.sock.sendall(unsent)
        self.device.sock.setblocking(False)
        quiet = time.perf_counter()
        while self.subscriber.packets - got < sent and time.perf_counter() - quiet < DRAIN_S / 20:
            before = self.subscriber.packets
            self._wait(0.05)
            if self.subscriber.packets != before:
                quiet = time.perf_counter()
        handled = self.subscriber.packets - got
        return sent, acked_within / within, got_within / within, handled

    def probe(self, rate: int, count: int) -> list[float]:
        """Publish one message after the other; return the seconds until each came back."""
        taken = []
        for _ in range(count):
            time.sleep(1 / rate)
            got, begun = self.subscriber.packets, time.perf_counter()
            self.device.sock.sendall(_publish(self._number, b"x" * PAYLOAD_BYTES))
            self._number += 1
            while self.subscriber.packets == got:
                self._wait(1.0)
                if time.perf_counter() - begun > DRAIN_S:
                    raise PeerError("cannot measure: a message did not come back")
            taken.append(time.perf_counter() - begun)
        return taken


@dataclass(frozen=True, slots=True)
class _Running:
    mqtt_port: int
    api_port: int
    key: str
    pid: int


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def microservices(
    rate: Annotated[list[int] | None, typer.Option(help="Messages/s offered; repeatable.")] = None,
    seconds: Annotated[float, typer.Option(min=0.5, help="Length of each measurement.")] = 3.0,
    durability: Annotated[str, typer.Option(help="synced, os or memory.")] = "synced",
    rival: Annotated[bool, typer.Option(help="Measure the paho script, too.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure throughput and latency of handlers."""
    results: list[Throughput | Latency] = []
    for handler in (OURS, PAHO) if rival else (OURS,):
        results += list(_measure(handler, rate or RATES, seconds, durability))
    if as_json:
        sys.stdout.write(json.dumps([asdict(each) for each in results], indent=2) + "\n")
        return
    _print(results)


def _measure(
    handler: str, rates: Sequence[int], seconds: float, durability: str
) -> Iterator[Throughput | Latency]:
    SCRATCH.mkdir(exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory("", "bench-", SCRATCH)))
        gateway = stack.enter_context(_gateway(folder, durability))
        pid = stack.enter_context(_handler(handler, folder, gateway))
        load = _Load(gateway.mqtt_port)
        stack.callback(load.close)
        load.run(500, 0.5)  # warm-up
        taken = sorted(load.probe(LATENCY_RATE, int(LATENCY_RATE * seconds)))
        yield Latency(handler, percentile(taken, 50) * 1e6, percentile(taken, 99) * 1e6)
        for rate in rates:
            cpu = _cpu_s(gateway.pid), _cpu_s(pid)
            sent, acknowledged, handled_per_s, handled = load.run(rate, seconds)
            per_us = 1e6 / max(handled, 1)
            yield Throughput(
                handler, rate, sent, acknowledged, handled_per_s, handled,
                (_cpu_s(gateway.pid) - cpu[0]) * per_us, (_cpu_s(pid) - cpu[1]) * per_us,
            )  # fmt: skip


def _print(results: Sequence[Throughput | Latency]) -> None:
    console = Console()
    rates = Table("handler", "offered/s", "acknowledged/s", "handled/s", "lost", "CPU µs")
    times = Table("handler", "p50 µs", "p99 µs")
    for each in results:
        if isinstance(each, Latency):
            times.add_row(each.handler, f"{each.p50:,.0f}", f"{each.p99:,.0f}")
            continue
        rates.add_row(
            each.handler, f"{each.offered_per_s:,}", f"{each.acknowledged_per_s:,.0f}",
            f"{each.handled_per_s:,.0f}", f"{each.sent - each.handled:,}",
            f"{each.gateway_us:.0f} + {each.handler_us:.0f}",
        )  # fmt: skip
    console.print(rates)
    console.print(times)


@contextmanager
def _gateway(folder: Path, durability: str) -> Iterator[_Running]:
    config = folder / "gateway.toml"
    config.write_text(CONFIG.format(folder=folder, durability=durability))
    command = [sys.executable, "-m", "gateway", "gateway", "--config", str(config)]
    with (folder / "log").open("wb") as log, _program(command, log) as process:
        deadline = time.monotonic() + READY_S
        while not (found := READY.search((folder / "log").read_text())):
            if process.poll() is not None or time.monotonic() > deadline:
                raise PeerError(f"cannot start gateway: {(folder / 'log').read_text()[-400:]}")
            time.sleep(0.05)
        key = (folder / "state/api-key").read_text().strip()
        yield _Running(int(found[1]), int(found[2]), key, process.pid)


@contextmanager
def _handler(handler: str, folder: Path, gateway: _Running) -> Iterator[int]:
    """Run a handler; yield its process id."""
    if handler == PAHO:
        command = [sys.executable, "-m", "benchmarks.paho_handler", str(gateway.mqtt_port)]
        with _program(command, subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            yield process.pid
            process.stdout.close()
        return
    _deploy(folder / "echo", gateway)
    yield _find_container(folder)


def _deploy(folder: Path, gateway: _Running) -> None:
    from gateway.services.images.pack import pack_image

    folder.mkdir()
    (folder / "microservice.toml").write_text(MANIFEST)
    (folder / "service.py").write_text(SERVICE)
    head = b'--b\r\ncontent-disposition: form-data; name="image"; filename="i"\r\n\r\n'
    form = head + pack_image(folder) + b"\r\n--b--\r\n"
    _post(gateway, "/mcm/v1/images", form, "multipart/form-data; boundary=b")
    body = json.dumps({"name": "echo", "image": "echo-v1"}).encode()
    _post(gateway, "/mcm/v1/containers", body, "application/json")


def _post(gateway: _Running, path: str, body: bytes, content_type: str) -> None:
    headers = {"Authorization": f"Bearer {gateway.key}", "Content-Type": content_type}
    url = f"http://127.0.0.1:{gateway.api_port}{path}"
    with request.urlopen(request.Request(url, body, headers), timeout=60):
        return


def _find_container(folder: Path) -> int:
    """Return the process whose folder is that of a container."""
    containers = folder / "state/services/containers"
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal() and (entry / "cwd").readlink().is_relative_to(containers):
                return int(entry.name)
    raise PeerError("cannot find the container's process")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@contextmanager
def _program(command: Sequence[str], output: "int | object") -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=output,  # type: ignore[arg-type]  # a file or PIPE
        stderr=subprocess.STDOUT if output is not subprocess.PIPE else None,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        process.kill()
        process.wait()


def main() -> int:
    """Run and return the exit code: 0 done, 1 failed."""
    try:
        app(prog_name="python -m benchmarks.microservices")
    except BenchmarkError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
