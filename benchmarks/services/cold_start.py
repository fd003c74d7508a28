"""Measures cold starts: from the request for a process to the first line of its code.

The runtime of the gateway does it, without a gateway around. The first line notes the time of the
clock that all processes share.
"""

import asyncio
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.brokers import SCRATCH
from benchmarks.errors import PeerError
from benchmarks.measure import percentile
from benchmarks.services.figures import ServiceSize
from benchmarks.services.kernel_floor import measure_kernel
from benchmarks.services.processes import tree
from gateway.services.images.manifest import parse_manifest
from gateway.services.limits import ServiceLimits
from gateway.services.runtimes.isolation import IsolationPolicy
from gateway.services.runtimes.port import Process, Start, Version
from gateway.services.runtimes.python import PythonRuntime
from gateway.services.runtimes.standby import REFILL_S
from microservice.info import Info
from settings.secret import Secret

SERVICE = """\
import time
BEGAN = time.perf_counter_ns()
from pathlib import Path
from microservice import Service
service = Service()
Path("began").write_text(str(BEGAN))
"""
STANDBY_S = 5.0  # for a process to stand by
REHEARSAL_S = 0.1  # it runs its launch once before
MILLI = 1e3


@dataclass(frozen=True, slots=True)
class _StartTime:
    code_s: float  # from the request to the first line of the code
    prepared_s: float  # to its HTTP server listening


def measure_cold_start(_subject: str, size: ServiceSize) -> Mapping[str, float]:
    """Return the times of starts with a process that stands by, and without."""
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory("", "bench-", SCRATCH) as folder:
        standby, alone = asyncio.run(_Starts(Path(folder)).run(size.starts))
    values: dict[str, float] = {}
    for name, times in (("standby", standby), ("no standby", alone)):
        code = sorted(each.code_s for each in times)
        prepared = sorted(each.prepared_s for each in times)
        values[f"{name}: code p50 ms"] = percentile(code, 50) * MILLI
        values[f"{name}: code p99 ms"] = percentile(code, 99) * MILLI
        values[f"{name}: serving p50 ms"] = percentile(prepared, 50) * MILLI
        values[f"{name}: starts"] = len(times)
    kernel = sorted(measure_kernel(size.starts))
    if kernel:
        values["kernel alone: p50 ms"] = percentile(kernel, 50) * MILLI
        values["kernel alone: p99 ms"] = percentile(kernel, 99) * MILLI
    return values


class _Starts:
    """Starts processes of one service."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        state = folder / "state/services"
        state.mkdir(parents=True)
        self._code = folder / "code"
        self._code.mkdir()
        (self._code / "service.py").write_text(SERVICE)
        self._version = Version(
            "probe-v1", "", PythonRuntime.name, self._code, parse_manifest('name = "probe"')
        )
        self._runtime = PythonRuntime(ServiceLimits(), time.time, state, IsolationPolicy())
        self._number = 0

    async def run(self, count: int) -> tuple[list[_StartTime], list[_StartTime]]:
        """Return the times of count starts of both kinds, taking turns."""
        standby: list[_StartTime] = []
        alone: list[_StartTime] = []
        with socket.socket(socket.AF_UNIX) as broker:
            broker.bind(str(self._folder / "b.sock"))
            broker.listen()
            try:
                await (await self._start([])).stop()  # starts the warm parent
                while len(alone) < count:
                    await self._wait_for_standby()
                    began = time.perf_counter()
                    first = await self._start(standby)
                    in_time = time.perf_counter() - began < REFILL_S / 2
                    second = await self._start(alone if in_time else [])
                    if not in_time:  # another may stand by already
                        standby.pop()
                    await first.stop()
                    await second.stop()
            finally:
                self._runtime.close()
        return standby, alone

    async def _start(self, times: list[_StartTime]) -> Process:
        """Start one, and add its times."""
        self._number += 1
        directory = self._folder / "state/services/containers" / f"probe-{self._number}"
        directory.mkdir(parents=True)
        start = Start(
            self._version,
            Info(container_id=f"probe-{self._number}"),
            directory,
            self._folder / f"h{self._number}.sock",
            self._folder / "b.sock",
            Secret("-"),
            (),
        )
        began = time.perf_counter()
        process = await self._runtime.start(start, lambda: None)
        await process.prepared()
        prepared = time.perf_counter()
        code = int((directory / "data/began").read_text()) / 1e9
        times.append(_StartTime(code - began, prepared - began))
        return process

    async def _wait_for_standby(self) -> None:
        """Return when the warm parent has a child, which has run its launch once."""
        deadline = time.monotonic() + STANDBY_S
        while len(tree(self._runtime.warm_parent_pid or 0)) < 2:
            if time.monotonic() > deadline:
                raise PeerError("cannot measure cold starts: no process stands by")
            await asyncio.sleep(0.02)
        await asyncio.sleep(REHEARSAL_S)
