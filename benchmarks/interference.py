"""Measures how much the parts of a gateway disturb each other: `python -m benchmarks.interference`.

MQTT latency while the sidecar takes uploads and the API is hammered, and latency of the API while
MQTT is saturated, each against the same without load.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from benchmarks.brokers import ROOT, SCRATCH
from benchmarks.errors import BenchmarkError, ChoiceError, PeerError
from benchmarks.gateway_report import Cell, format_lines, insert_section, render_section
from benchmarks.http_probe import encode_get, encode_upload, probe_http
from benchmarks.latency import probe_mqtt
from benchmarks.machine import choose_cores
from benchmarks.transport import BrokerEndpoint

CONFIG = """\
[node]
name = "bench-gateway"
state = "{folder}/state"
[broker]
port = 0
anonymous = "loopback"
[sidecar]
port = 0
[log]
level = "WARNING"
"""
MANIFEST = 'name = "bulk"\nversion = "1"\n[http]\nbase = "/bulk/v1"\n'
IMAGE_BYTES = 4 * 2**20
READY = re.compile(r"gateway ready: .*MQTT 127\.0\.0\.1:(\d+), API http://127\.0\.0\.1:(\d+)")
READY_S = 30.0
SETTLE_S = 0.3  # of loads, before and after what is measured
STOP_S = 15.0
MQTT_RATE, API_RATE = 500, 50
MQTT, API = "MQTT", "API"
Probes = Mapping[str, Mapping[str, Sequence[str]]]
LOADS: Probes = {  # by probe; each is any number of kinds of benchmarks.background
    MQTT: {"none": (), "uploads": ("uploads",), "requests": ("requests",),
           "uploads and requests": ("uploads", "requests")},
    API: {"none": (), "QoS 0 saturated": ("qos0",), "QoS 1, window 100": ("qos1",)},
}  # fmt: skip
UNITS = {"uploads": "MB/s", "requests": "requests/s", "qos0": "messages/s", "qos1": "messages/s"}


@dataclass(frozen=True, slots=True)
class Variant:
    """A way of building a gateway."""

    title: str
    kind: str = "as-is"  # of benchmarks.gateway_variants
    is_split: bool = False  # HTTP goes to a second gateway process


VARIANTS = {
    "loop": Variant("one loop (as it is)"),
    "turns": Variant("one loop, requests in turns", kind="turns"),
    "thread": Variant("sidecar in a thread", kind="thread"),
    "processes": Variant("two processes", is_split=True),
}


@dataclass(frozen=True, slots=True)
class VariantEndpoints:
    """Holds the addresses of a variant and the requests it takes."""

    mqtt_port: int
    api_port: int
    key_file: Path
    upload_file: Path
    request: bytes


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def interference(
    variant: Annotated[
        list[str] | None, typer.Option(help=f"Of {', '.join(VARIANTS)}; repeatable.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds for each.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.2, help="Length of each measurement.")] = 2.0,
    into: Annotated[
        Path | None, typer.Option(help="Put the table into this document, in place of the old one.")
    ] = None,
) -> None:
    """Measure how much MQTT and the sidecar of one gateway disturb each other.

    Variants, besides the gateway as it is: at most one request begun per turn of the loop; the
    sidecar in a thread with an event loop of its own; and two processes (clients talk MQTT to one
    gateway and HTTP to another), which is all that separate processes could gain, without the
    price of what they would have to tell each other.
    """
    chosen = _choose(variant or list(VARIANTS))
    console = Console()
    cells: list[Cell] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=rounds * len(chosen) * sum(map(len, LOADS.values())))
        for _ in range(rounds):
            for each in chosen:
                for cell in measure(each, seconds):
                    cells.append(cell)
                    progress.update(task, advance=1, description=f"{each.title} · {cell.probe}")
    table = Table("gateway", "probe", "load", "p50 ms", "p99 ms", "load done")
    for row in format_lines(cells):
        table.add_row(*row)
    console.print(table)
    if into is not None:
        into.write_text(insert_section(into.read_text(), render_section(cells)))


def _choose(names: Sequence[str]) -> list[Variant]:
    if unknown := [name for name in names if name not in VARIANTS]:
        raise ChoiceError(f"cannot run variant {unknown[0]}: known: {', '.join(VARIANTS)}")
    return [VARIANTS[name] for name in names]


def measure(variant: Variant, seconds: float, probes: Probes = LOADS) -> Iterator[Cell]:
    """Start a gateway and give one cell for each probe and load."""
    cores = choose_cores()
    allowed = os.sched_getaffinity(0)
    SCRATCH.mkdir(exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory("", "bench-", SCRATCH)))
        endpoints = _open(variant, folder, stack)
        os.sched_setaffinity(0, {cores.generator})
        stack.callback(os.sched_setaffinity, 0, allowed)
        for probe, loads in probes.items():
            for load, kinds in loads.items():
                with _disturb(kinds, endpoints, seconds) as running:
                    latencies = _probe(probe, endpoints, seconds)
                    done = [f"{_end(each):,.0f} {UNITS[kind]}" for kind, each in running]
                yield Cell(variant.title, probe, load, latencies, ", ".join(done))


def _probe(probe: str, endpoints: VariantEndpoints, seconds: float) -> list[float]:
    if probe == MQTT:
        return probe_mqtt(BrokerEndpoint(endpoints.mqtt_port), rate=MQTT_RATE, seconds=seconds)
    return probe_http(endpoints.api_port, endpoints.request, API_RATE, seconds)


def _open(variant: Variant, folder: Path, stack: ExitStack) -> VariantEndpoints:
    cores = choose_cores()
    first = folder / "first"
    mqtt_port, api_port = stack.enter_context(_gateway(variant.kind, first, cores.broker))
    if variant.is_split:
        first = folder / "second"
        _, api_port = stack.enter_context(_gateway(variant.kind, first, cores.broker))
    key_file = first / "state" / "api-key"
    key = key_file.read_text().strip()
    upload_file = folder / "upload"
    upload_file.write_bytes(encode_upload("/mcm/v1/images", key, _pack(folder / "bulk")))
    return VariantEndpoints(
        mqtt_port, api_port, key_file, upload_file, encode_get("/status/v1", key)
    )


def _pack(folder: Path) -> bytes:
    from gateway.services.images.pack import pack_image

    folder.mkdir()
    (folder / "microservice.toml").write_text(MANIFEST)
    (folder / "service.py").write_text("")
    (folder / "bulk").write_bytes(os.urandom(IMAGE_BYTES))
    return pack_image(folder)


@contextmanager
def _gateway(kind: str, folder: Path, core: int) -> Iterator[tuple[int, int]]:
    """Run a gateway on one core, and give its ports for MQTT and HTTP."""
    folder.mkdir()
    config = folder / "gateway.toml"
    config.write_text(CONFIG.format(folder=folder))
    command = [sys.executable, "-m", "benchmarks.gateway_variants", kind, "gateway"]
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # a child inherits it, with all its threads
    try:
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--config", str(config)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
    finally:
        os.sched_setaffinity(0, allowed)
    try:
        yield _wait_until_ready(process, folder / "log")
    finally:
        _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> tuple[int, int]:
    deadline = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < deadline:
        if found := READY.search(log.read_text()):
            return int(found[1]), int(found[2])
        time.sleep(0.05)
    raise PeerError(f"cannot start gateway: {log.read_text().strip()[-400:] or 'it said nothing'}")


@contextmanager
def _disturb(
    kinds: Sequence[str], endpoints: VariantEndpoints, seconds: float
) -> Iterator[list[tuple[str, subprocess.Popen[str]]]]:
    """Run loads of these kinds, from before what is measured until after it."""
    running: list[tuple[str, subprocess.Popen[str]]] = []
    try:
        for kind in kinds:
            port = endpoints.mqtt_port if kind.startswith("qos") else endpoints.api_port
            file = endpoints.upload_file if kind == "uploads" else endpoints.key_file
            words = [kind, str(port), str(seconds + 2 * SETTLE_S), str(file)]
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.background", *words],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
            )
            running.append((kind, process))
        for kind, process in running:
            if process.stdout is None or process.stdout.readline() != "started\n":
                raise PeerError(f"cannot disturb: {kind} did not start")
        time.sleep(SETTLE_S)
        yield running
    finally:
        for _, process in running:
            _stop(process)
            if process.stdout:
                process.stdout.close()


def _end(process: subprocess.Popen[str]) -> float:
    """Return what a load got done per second, once it has ended."""
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        raise PeerError("cannot disturb: a load failed; it said why above")
    return float(line)


def _stop(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    process.kill()
    process.wait()


def main() -> int:
    """Run and return the exit code: 0 done, 1 failed, 2 wrong options."""
    try:
        app(prog_name="python -m benchmarks.interference")
    except BenchmarkError as exc:
        sys.stderr.write(f"{exc}\n")
        return 2 if isinstance(exc, ChoiceError) else 1
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
