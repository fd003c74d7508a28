"""Starts and ends a broker under comparison, on its core, with its files in a folder of its own.

Each run gets a fresh process on a free loopback port.
"""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from benchmarks.certificates import Certificate, make_certificate
from benchmarks.errors import BenchmarkError, PeerError
from benchmarks.machine import Cores
from benchmarks.streams import open_client
from benchmarks.transport import BrokerEndpoint

ROOT = Path(__file__).parent.parent
SCRATCH = ROOT / "build"  # on a disk, where /tmp may be memory: syncing must cost what it costs
READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
START_ATTEMPTS = 3  # a free port may be taken between looking and starting
LOG_TAIL = 400

OURS = "hecate"


class Mode(StrEnum):
    """The broker's configuration that a scenario needs."""

    PLAIN = "plain"
    TLS = "TLS"
    WEBSOCKET = "WebSocket"
    DURABLE = "durable"


@dataclass(frozen=True, slots=True)
class BenchSite:
    """The folder, ports and certificate that a broker runs with."""

    port: int
    folder: Path
    mode: Mode = Mode.PLAIN
    certificate: Certificate | None = None  # with TLS

    @property
    def files(self) -> tuple[Path, Path]:
        """Return certificate and key; only with TLS."""
        assert self.certificate is not None
        return self.certificate.certificate, self.certificate.key

    def endpoint(self) -> BrokerEndpoint:
        """Return how clients get in."""
        tls = self.certificate.make_context() if self.certificate else None
        return BrokerEndpoint(self.port, tls, websocket=self.mode is Mode.WEBSOCKET)


@dataclass(frozen=True, slots=True)
class BenchBroker:
    """A broker that is on this machine."""

    name: str
    version: str
    setup: str
    # writes configuration and returns the command; UnableError when it lacks the mode
    prepare: Callable[[BenchSite], list[str]]


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """A broker's process that accepts clients."""

    pid: int
    endpoint: BrokerEndpoint


@contextlib.contextmanager
def run_broker(
    broker: BenchBroker, cores: Cores, mode: Mode = Mode.PLAIN
) -> Iterator[RunningBroker]:
    """Start a broker on its core, wait until it accepts a client, and end it in the end."""
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=SCRATCH) as folder:
        certificate = make_certificate(Path(folder)) if mode is Mode.TLS else None
        for attempt in range(1, START_ATTEMPTS + 1):
            site = BenchSite(_find_free_port(), Path(folder) / str(attempt), mode, certificate)
            site.folder.mkdir()
            log = site.folder / "log"
            process = _start(broker.prepare(site), site, log, cores)
            try:
                if _is_ready(process, site.endpoint()):
                    yield RunningBroker(process.pid, site.endpoint())
                    return
            finally:
                _stop(process)
        tail = log.read_text(errors="replace").strip()[-LOG_TAIL:]
        raise PeerError(f"cannot start {broker.name}: {tail or 'it said nothing'}")


def _start(command: list[str], site: BenchSite, log: Path, cores: Cores) -> subprocess.Popen[bytes]:
    # a child inherits the core of its parent: threads that start at once are bound as well
    os.sched_setaffinity(0, {cores.broker})
    try:
        with log.open("wb") as output:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | {"HOME": str(site.folder), "XDG_STATE_HOME": str(site.folder)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as exc:
        raise PeerError(f"cannot start {command[0]}: {exc.strerror}") from exc
    finally:
        os.sched_setaffinity(0, {cores.generator})


def _is_ready(process: subprocess.Popen[bytes], endpoint: BrokerEndpoint) -> bool:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, BenchmarkError):
            open_client(endpoint, "ready").close()
            return True
        time.sleep(0.02)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError):  # a wrapper kills what it started, too
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
