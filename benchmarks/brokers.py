"""The brokers that are compared: how each is found, configured, started and ended.

Each run gets a fresh process on a free loopback port, with its files in a folder of its own.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import ChoiceError, PeerError
from benchmarks.machine import Cores
from benchmarks.streams import open_client

ROOT = Path(__file__).parent.parent
READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
START_ATTEMPTS = 3  # a free port may be taken between looking and starting
LOG_TAIL = 400

OURS = "hecate"

MOSQUITTO_CONF = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 0
max_inflight_messages 0
set_tcp_nodelay true
log_dest stderr
log_type error
user root
"""
NATS_CONF = """\
server_name: bench
host: 127.0.0.1
port: -1
jetstream {{ store_dir: "{dir}/jetstream" }}
mqtt {{ host: 127.0.0.1, port: {port}, max_ack_pending: 1000 }}
"""
AMQTT_CONF = """\
listeners:
  default: {{type: tcp, bind: "127.0.0.1:{port}", max_connections: 20000}}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin: {{allow_anonymous: true}}
"""
AEDES_PROGRAM = """\
import { createServer } from 'node:net'
const { Aedes } = await import(process.argv[2])
const broker = await Aedes.createBroker({ concurrency: 1000 })
createServer({ noDelay: true }, broker.handle).listen(Number(process.argv[3]), '127.0.0.1')
"""


@dataclass(frozen=True, slots=True)
class Site:
    """What a broker gets to run with."""

    port: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that is on this machine."""

    name: str
    version: str
    setup: str
    prepare: Callable[[Site], list[str]]  # writes configuration, returns the command


@dataclass(frozen=True, slots=True)
class Running:
    """A broker's process that accepts clients."""

    pid: int
    port: int


def find_brokers() -> list[Broker]:
    """Return ours and every rival found on this machine, in the order of the report."""
    finders = (_find_ours, _find_mosquitto, _find_nats, _find_aedes, _find_amqtt)
    return [broker for find in finders if (broker := find()) is not None]


def parse_broker(text: str) -> Broker:
    """Return the broker of NAME=COMMAND, whose placeholders are filled for each run."""
    name, _, command = text.partition("=")
    words = shlex.split(command)
    if not name or not words:
        raise ChoiceError(f"cannot add broker {text!r}: expected NAME=COMMAND")
    if not any("{port}" in word or "{mosquitto_conf}" in word for word in words):
        raise ChoiceError(
            f"cannot add broker {name}: {{port}} or {{mosquitto_conf}} must be in its command"
        )

    def prepare(site: Site) -> list[str]:
        places = {
            "{port}": str(site.port),
            "{dir}": str(site.folder),
            "{mosquitto_conf}": str(_write_mosquitto_conf(site)),
        }
        return [_fill(word, places) for word in words]

    return Broker(name, "", f"as given: {Path(words[0]).name}", prepare)


def make_mirror() -> Broker:
    """Return the broker that only copies bytes: the ceiling of generator and machine."""
    return Broker(
        "mirror",
        "",
        "copies bytes, parses nothing: the ceiling",
        lambda site: [sys.executable, "-m", "benchmarks.mirror", str(site.port)],
    )


@contextlib.contextmanager
def run_broker(broker: Broker, cores: Cores) -> Iterator[Running]:
    """Start a broker on its core, wait until it accepts a client, and end it in the end."""
    with tempfile.TemporaryDirectory(prefix="hecate-bench-") as folder:
        for attempt in range(1, START_ATTEMPTS + 1):
            site = Site(_find_free_port(), Path(folder) / str(attempt))
            site.folder.mkdir()
            log = site.folder / "log"
            process = _start(broker.prepare(site), site, log, cores)
            try:
                if _is_ready(process, site.port):
                    yield Running(process.pid, site.port)
                    return
            finally:
                _stop(process)
        tail = log.read_text(errors="replace").strip()[-LOG_TAIL:]
        raise PeerError(f"cannot start {broker.name}: {tail or 'it said nothing'}")


def _start(command: list[str], site: Site, log: Path, cores: Cores) -> subprocess.Popen[bytes]:
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


def _is_ready(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, PeerError):
            open_client(port, "ready").close()
            return True
        time.sleep(0.02)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError):  # what it started itself, as a wrapper would
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _fill(word: str, places: dict[str, str]) -> str:
    for place, value in places.items():
        word = word.replace(place, value)
    return word


def _find_ours() -> Broker:
    def prepare(site: Site) -> list[str]:
        listen = ["--listen", f"127.0.0.1:{site.port}"]
        return [sys.executable, "-m", "gateway", "broker", *listen, "--anonymous"]

    version = f"{importlib.metadata.version('hecate-gateway')} on Python {sys.version.split()[0]}"
    return Broker(
        OURS, version, "`hecate broker --anonymous`: rights checked, counters on", prepare
    )


def _find_mosquitto() -> Broker | None:
    path = _find_program("mosquitto")
    if path is None:
        return None

    def prepare(site: Site) -> list[str]:
        return [path, "-c", str(_write_mosquitto_conf(site))]

    setup = "no ACL, no persistence, unlimited queues and in-flight messages, TCP_NODELAY"
    return Broker("mosquitto", _ask_version([path, "-h"]), setup, prepare)


def _write_mosquitto_conf(site: Site) -> Path:
    path = site.folder / "mosquitto.conf"
    path.write_text(MOSQUITTO_CONF.format(port=site.port))
    return path


def _find_nats() -> Broker | None:
    path = _find_program("nats-server")
    if path is None:
        return None

    def prepare(site: Site) -> list[str]:
        conf = site.folder / "nats.conf"
        conf.write_text(NATS_CONF.format(port=site.port, dir=site.folder))
        return [path, "-c", str(conf)]

    setup = "no ACL; MQTT needs JetStream, which stores QoS 1 messages in files (not synced)"
    return Broker("nats", _ask_version([path, "--version"]), setup, prepare)


def _find_aedes() -> Broker | None:
    node, folder = shutil.which("node"), _find_npm_package("aedes")
    if node is None or folder is None:
        return None
    main = folder / "aedes.js"
    found = re.search(r'"version":\s*"([^"]+)"', (folder / "package.json").read_text())

    def prepare(site: Site) -> list[str]:
        program = site.folder / "aedes.mjs"
        program.write_text(AEDES_PROGRAM)
        return [node, str(program), str(main), str(site.port)]

    version = f"{found[1] if found else ''} on Node {_ask_version([node, '--version'])}"
    return Broker("aedes", version, "no ACL, concurrency 1000, TCP_NODELAY", prepare)


def _find_amqtt() -> Broker | None:
    if importlib.util.find_spec("amqtt") is None:
        return None

    def prepare(site: Site) -> list[str]:
        conf = site.folder / "amqtt.yaml"
        conf.write_text(AMQTT_CONF.format(port=site.port))
        return [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(conf)]

    version = f"{importlib.metadata.version('amqtt')} on Python {sys.version.split()[0]}"
    return Broker("amqtt", version, "no ACL, no packet log", prepare)


def _find_program(name: str) -> str | None:
    # Debian keeps servers where an ordinary user's PATH does not reach
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def _find_npm_package(name: str) -> Path | None:
    folders = [Path(part) for part in os.environ.get("NODE_PATH", "").split(":") if part]
    folders += [ROOT / "node_modules", ROOT / "build" / "npm" / "node_modules"]
    folders += [Path("/usr/lib/node_modules"), Path("/usr/local/lib/node_modules")]
    found = (folder / name for folder in folders)
    return next((folder for folder in found if (folder / "package.json").exists()), None)


def _ask_version(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    found = re.search(r"\d+\.\d+[.\d]*", done.stdout + done.stderr)
    return found[0] if found else "of unknown version"
