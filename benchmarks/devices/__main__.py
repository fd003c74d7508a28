"""Reads the command line: `python -m benchmarks.devices`."""

import asyncio
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.brokers import ROOT, SCRATCH
from benchmarks.command import run_command
from benchmarks.devices.links import measure_links
from benchmarks.devices.measure import (
    compile_client,
    install_rivals,
    measure_heap,
    measure_outage,
    measure_rate,
)
from benchmarks.devices.programs import PROGRAMS
from benchmarks.errors import BenchmarkError
from benchmarks.machine import describe_machine
from hardware.simulated import SimulatedBoardError, find_micropython

DOCUMENT = ROOT / "docs" / "benchmarks-devices.md"
RIVALS = ROOT / "build" / "micropython"
OUTAGES_S, QUICK_OUTAGES_S = (2.0, 10.0, 30.0), (2.0,)
MESSAGES, QUICK_MESSAGES = 300, 100
TIMES = {"hecate": 20}  # as many, so that it takes seconds as well
BOARD_SHARE = 0.68
LINKS = ("serial", "Bluetooth LE")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Table = dict[str, dict[str, str]]


@app.command()
def devices(
    quick: Annotated[bool, typer.Option("--quick", help="One short outage: noisy.")] = False,
    rivals: Annotated[
        Path, typer.Option(help="The folder of umqtt/ and mqtt_as/, from their repositories.")
    ] = RIVALS,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the report here; a full run: docs/benchmarks-devices.md."),
    ] = None,
) -> None:
    """Measure the device package on this machine, against umqtt.robust and mqtt_as."""
    try:
        find_micropython()
    except SimulatedBoardError as exc:
        raise BenchmarkError(str(exc)) from exc
    console, table = Console(), Table()
    if not quick and not rivals.exists() and (missing := install_rivals(rivals)):
        sys.stderr.write(f"cannot compare: {missing}\n")
    for name in PROGRAMS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                figures = asyncio.run(measure_client(name, rivals, Path(folder), quick=quick))
            except BenchmarkError as exc:
                console.print(f"{name}: cannot measure: {exc}", highlight=False, markup=False)
                continue
        for row, text in figures.items():
            table.setdefault(row, {})[name] = text
            console.print(f"{name:14} {row:44} {text}", highlight=False, markup=False)
    linked = show_links(console, quick=quick)
    if out := out or (None if quick else DOCUMENT):
        out.write_text(render(table, linked))


def show_links(console: Console, *, quick: bool) -> Table:
    """Measure the links without IP, and print their figures."""
    table = Table()
    try:
        found = asyncio.run(measure_links(quick=quick))
    except (BenchmarkError, TimeoutError) as exc:
        console.print(f"links: cannot measure: {exc}", highlight=False, markup=False)
        return table
    for name, figures in found.items():
        for row, text in figures.items():
            table.setdefault(row, {})[name] = text
            console.print(f"{name:14} {row:44} {text}", highlight=False, markup=False)
    return table


async def measure_client(name: str, rivals: Path, library: Path, *, quick: bool) -> dict[str, str]:
    """Return the figures of one client as texts."""
    size = compile_client(name, rivals, library)
    heap = await measure_heap(name, library)
    messages = (QUICK_MESSAGES if quick else MESSAGES) * TIMES.get(name, 1)
    rate = await measure_rate(name, library, messages)
    figures = {
        "`.mpy` files, bytes": f"{size:,}",
        "heap connected and publishing, bytes": f"{heap:,.0f}",
        "QoS 1 messages acknowledged a second": f"{rate:,.0f}",
    }
    for outage_s in QUICK_OUTAGES_S if quick else OUTAGES_S:
        found = await measure_outage(name, library, outage_s)
        row = f"outage of {outage_s:.0f} s: "
        figures[row + "readings lost, of those due"] = f"{found['lost']:.0f} of {found['due']:.0f}"
        figures[row + "first reading after, s"] = f"{found['return_s']:.1f}"
        figures[row + "longest stall, ms"] = f"{found['stall_ms']:.0f}"
    return figures


def draw(table: Table, columns: Iterable[str]) -> str:
    """Return a table as Markdown."""
    columns = list(columns)
    head = "| " + " | ".join(["", *columns]) + " |\n|" + "---|" * (len(columns) + 1) + "\n"
    return head + "".join(
        "| " + " | ".join([row, *(cells.get(name, "-") for name in columns)]) + " |\n"
        for row, cells in table.items()
    )


def render(table: Table, linked: Table) -> str:
    """Return the report."""
    described, share = describe_machine(SCRATCH), BOARD_SHARE
    machine = ", ".join(f"{name}: {text}" for name, text in described.items())
    moment = f"{datetime.now(UTC):%Y-%m-%d}"
    return TEXT.format(
        share=share,
        moment=moment,
        machine=machine,
        table=draw(table, PROGRAMS),
        linked=draw(linked, LINKS),
    )


TEXT = """\
# Devices: the package against other clients

`python -m benchmarks.devices` writes this page. Each client runs in the same MicroPython
interpreter (the 64-bit Unix port) as `.mpy` files, with a heap of 256K. It takes a reading ten
times a second and publishes it at QoS 1, as the examples of its author do. A recording broker on
the same machine goes away and comes back. **No physical board was used**; a 32-bit board needs
about {share} of this heap.

A stall is the longest time that nothing else in the program ran: for umqtt.robust, which has no
tasks, the longest call of `publish`. umqtt.robust sends a packet in several small writes, which
the TCP stack delays. mqtt_as connects for 6 s at least, to see whether Wi-Fi is stable. A reading
that is due while a loop waits in `publish` is not taken; the package of Hecate takes it, and
keeps it in flash. Readings are due from half a second before the outage to four seconds after it.
While nothing answers, the package of Hecate tries every 1 to 4 s, half of each pause random, so
that a hundred boards do not come at once. After outages of 2, 5, 10 and 30 minutes, each measured
once, its first reading came after 0.1, 1.8, 1.3 and 1.3 s. When the gateway refuses it or is busy,
its pauses grow to a minute.

Measured {moment} on {machine}.

{table}
## Without IP

The same package and the same interpreter, at a serial line (two pseudo terminals, without a speed)
and behind Bluetooth LE (a virtual radio; neither a physical radio nor a physical line). Messages
are sealed and resent, and MQTT at QoS 1 runs inside. A round trip is a publish and its PUBACK, one
at a time; for the throughput there are four at a time.

{linked}
## On Pico W firmware in an emulator

MicroPython 1.27.0 for the Pico W in `rp2040py` 0.3.6 joined Wi-Fi and a gateway, published,
answered a command, and joined Wi-Fi again after a reset (`tests/device/test_firmware.py`: `make
test-slow` runs one join, `make test-soak` the rest). Measured on 2026-11-30; times are of the
guest's clock, at 125 MHz:

| | without TLS | with TLS |
|---|---|---|
| heap connected and publishing, bytes | 55,984 | 82,624 |
| free of 205,568 bytes | 149,584 | 122,944 |
| longest stall, ms | 781 | 1,164, in the handshake |

The handshake (TLS 1.2) is one call of MicroPython's TLS library, which cannot be divided: the
server's messages come in one segment, and the library offers no resumption to programs. The
call, by keys of authority and gateway:

| | ms |
|---|---|
| P-256 and P-256, nothing else in memory | 1,098 |
| RSA-2048 and P-256, nothing else in memory | 989 |
| RSA-2048 and RSA-2048, nothing else in memory | 697 |
| P-256 and P-256, 25 KB of objects in memory | 1,784 |
| the same, and collections at each 8 KiB | 1,896 |
| the same, the holes of the heap filled before, as the package does | 1,025 |
| RSA-2048 and RSA-2048, filled | 654 |

A signature of RSA is quick to verify, but its certificates are larger. The firmware takes no
X25519. The RP2's watchdog ends at 8.3 s.
"""


def main() -> int:
    """Run and return the exit code: 0 done, 2 wrong options or nothing to measure with."""
    return run_command(app, "python -m benchmarks.devices")


if __name__ == "__main__":
    sys.exit(main())
