"""Finds and configures the brokers under comparison, for each mode."""

import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.brokers import OURS, ROOT, BenchBroker, BenchSite, Mode
from benchmarks.errors import ChoiceError, UnableError
from benchmarks.npm import NPM_FOLDER, install_from_npm

NPM_PACKAGES = ("aedes@1.2.0", "ws@8.23.0")
NPM_TIMEOUT_S = 120.0
NATS_SYNC_SINCE = (2, 10)  # sync_interval of JetStream

OURS_TLS = """\
[[listener]]
address = "127.0.0.1:{port}"
certificate = "{certificate}"
key = "{key}"
[access]
anonymous = "loopback"
allow_everything = true
[log]
level = "WARNING"
"""
MOSQUITTO_CONF = """\
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 0
set_tcp_nodelay true
log_dest stderr
log_type error
user root
"""
MOSQUITTO_MODES = {
    Mode.PLAIN: "persistence false\n",
    Mode.TLS: "persistence false\ncertfile {certificate}\nkeyfile {key}\n",
    Mode.WEBSOCKET: "persistence false\nprotocol websockets\n"
    "listener 0 {dir}/plain\n",  # 2.0.11 does not start without one that is not WebSocket
    Mode.DURABLE: "persistence true\npersistence_location {dir}/\n",
}
NATS_CONF = """\
server_name: bench
host: 127.0.0.1
port: -1
max_payload: 8MB
jetstream {{ store_dir: "{dir}/jetstream"{sync} }}
mqtt {{ host: 127.0.0.1, port: {port}, max_ack_pending: 1000{tls} }}
{websocket}
"""
AMQTT_CONF = """\
listeners:
  default:
    type: {type}
    bind: "127.0.0.1:{port}"
    max_connections: 20000
{tls}plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin: {{allow_anonymous: true}}
"""
AEDES_PROGRAM = """\
import { createServer } from 'node:net'
import { createServer as createSecureServer } from 'node:tls'
import { createServer as createHttpServer } from 'node:http'
import { readFileSync } from 'node:fs'
const [folder, mode, port, certificate, key] = process.argv.slice(2)
const { Aedes } = await import(`${folder}/aedes/aedes.js`)
const broker = await Aedes.createBroker({ concurrency: 1000 })
const servers = {
  plain: () => createServer({ noDelay: true }, broker.handle),
  TLS: () => createSecureServer(
    { noDelay: true, cert: readFileSync(certificate), key: readFileSync(key) }, broker.handle),
  WebSocket: () => http
}
const http = createHttpServer({ noDelay: true })
if (mode === 'WebSocket') {
  const ws = await import(`${folder}/ws/wrapper.mjs`)
  new ws.WebSocketServer({ server: http, perMessageDeflate: false }).on(
    'connection', (socket, request) => broker.handle(ws.createWebSocketStream(socket), request))
}
servers[mode]().listen(Number(port), '127.0.0.1')
"""


def find_brokers() -> list[BenchBroker]:
    """Return ours and every rival found on this machine, in the order of the report."""
    finders = (_find_ours, _find_mosquitto, _find_nats, _find_aedes, _find_amqtt)
    return [broker for find in finders if (broker := find()) is not None]


def install_aedes() -> str:
    """Put aedes into build/npm unless it is somewhere; return why not, "" when it is there."""
    if _find_npm_folder() is not None:
        return ""
    why_not = install_from_npm(NPM_PACKAGES, NPM_TIMEOUT_S)
    return why_not and f"cannot compare with aedes: {why_not}"


def parse_rival(text: str) -> BenchBroker:
    """Return the broker of NAME=COMMAND, whose placeholders are filled for each run."""
    name, _, command = text.partition("=")
    words = shlex.split(command)
    if not name or not words:
        raise ChoiceError(f"cannot add broker {text!r}: expected NAME=COMMAND")
    takes_conf = any("{mosquitto_conf}" in word for word in words)
    if not takes_conf and not any("{port}" in word for word in words):
        raise ChoiceError(
            f"cannot add broker {name}: {{port}} or {{mosquitto_conf}} must be in its command"
        )

    def prepare(site: BenchSite) -> list[str]:
        if site.mode is not Mode.PLAIN and not takes_conf:
            raise UnableError(f"{site.mode}: only a command with {{mosquitto_conf}} is told of it")
        places = {
            "{port}": str(site.port),
            "{dir}": str(site.folder),
            "{mosquitto_conf}": str(_write_mosquitto_conf(site)),
        }
        return [_fill(word, places) for word in words]

    return BenchBroker(name, "", f"as given: {Path(words[0]).name}", prepare)


def make_mirror() -> BenchBroker:
    """Return the broker that only copies bytes: the ceiling of generator and machine."""
    return BenchBroker(
        "mirror",
        "",
        "copies bytes, parses nothing: the ceiling",
        lambda site: [sys.executable, "-m", "benchmarks.mirror", str(site.port)],
    )


def _find_ours() -> BenchBroker:
    def prepare(site: BenchSite) -> list[str]:
        command = [sys.executable, "-m", "gateway", "broker"]
        listen = ["--listen", f"127.0.0.1:{site.port}", "--anonymous"]
        match site.mode:
            case Mode.TLS:
                conf = site.folder / "broker.toml"
                certificate, key = site.files
                conf.write_text(OURS_TLS.format(port=site.port, certificate=certificate, key=key))
                return [*command, "--config", str(conf)]
            case Mode.WEBSOCKET:
                return [sys.executable, "-m", "benchmarks.embedded", str(site.port)]
            case Mode.DURABLE:
                kept = ["--data", str(site.folder / "data"), "--durability", "synced"]
                return [*command, *listen, *kept]
        return [*command, *listen]

    version = f"{importlib.metadata.version('hecate-gateway')} on Python {sys.version.split()[0]}"
    return BenchBroker(
        OURS,
        version,
        "`hecate broker --anonymous`: rights checked, counters on, default limits; durable: "
        "`--durability synced`, every PUBACK waits for the disk",
        prepare,
    )


def _find_mosquitto() -> BenchBroker | None:
    path = _find_program("mosquitto")
    if path is None:
        return None

    def prepare(site: BenchSite) -> list[str]:
        return [path, "-c", str(_write_mosquitto_conf(site))]

    setup = (
        "no ACL, no persistence, unlimited queues and in-flight messages, TCP_NODELAY; durable: "
        "persistence on, which saves now and then and promises nothing for what was acknowledged"
    )
    return BenchBroker("mosquitto", _ask_version([path, "-h"]), setup, prepare)


def _write_mosquitto_conf(site: BenchSite) -> Path:
    places = {"port": str(site.port), "dir": str(site.folder)}
    if site.certificate is not None:
        places["certificate"], places["key"] = map(str, site.files)
    path = site.folder / "mosquitto.conf"
    path.write_text((MOSQUITTO_CONF + MOSQUITTO_MODES[site.mode]).format(**places))
    return path


def _find_nats() -> BenchBroker | None:
    path = _find_program("nats-server")
    if path is None:
        return None
    version = _ask_version([path, "--version"])
    syncs = tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) >= NATS_SYNC_SINCE

    def prepare(site: BenchSite) -> list[str]:
        conf = site.folder / "nats.conf"
        conf.write_text(_configure_nats(site, syncs=syncs))
        return [path, "-c", str(conf)]

    durable = "synced with each message" if syncs else "not synced: it cannot before 2.10"
    setup = f"no ACL; MQTT needs JetStream, which stores QoS 1 in files; durable: {durable}"
    return BenchBroker("nats", version, setup, prepare)


def _configure_nats(site: BenchSite, *, syncs: bool) -> str:
    port, tls, websocket, sync = str(site.port), "", "", ""
    if site.mode is Mode.TLS:
        certificate, key = site.files
        tls = f', tls {{ cert_file: "{certificate}", key_file: "{key}" }}'
    elif site.mode is Mode.WEBSOCKET:
        port, websocket = "-1", f"websocket {{ host: 127.0.0.1, port: {site.port}, no_tls: true }}"
    elif site.mode is Mode.DURABLE and syncs:
        sync = ", sync_interval: always"
    return NATS_CONF.format(port=port, dir=site.folder, tls=tls, websocket=websocket, sync=sync)


def _find_aedes() -> BenchBroker | None:
    node, folder = shutil.which("node"), _find_npm_folder()
    if node is None or folder is None:
        return None

    def prepare(site: BenchSite) -> list[str]:
        if site.mode is Mode.DURABLE:
            raise UnableError("as it comes it keeps sessions in memory only")
        if site.mode is Mode.WEBSOCKET and not (folder / "ws").exists():
            raise UnableError("WebSocket: the npm package ws is not installed")
        program = site.folder / "aedes.mjs"
        program.write_text(AEDES_PROGRAM)
        files = [str(each) for each in site.files] if site.certificate else []
        return [node, str(program), str(folder), site.mode.value, str(site.port), *files]

    found = json.loads((folder / "aedes" / "package.json").read_text())
    version = f"{found['version']} on Node {_ask_version([node, '--version'])}"
    return BenchBroker("aedes", version, "no ACL, concurrency 1000, TCP_NODELAY", prepare)


def _find_amqtt() -> BenchBroker | None:
    if importlib.util.find_spec("amqtt") is None:
        return None

    def prepare(site: BenchSite) -> list[str]:
        if site.mode is Mode.DURABLE:
            raise UnableError("it acknowledges before anything is stored")
        tls = ""
        if site.certificate is not None:
            certificate, key = site.files
            tls = f'    ssl: true\n    certfile: "{certificate}"\n    keyfile: "{key}"\n'
        kind = "ws" if site.mode is Mode.WEBSOCKET else "tcp"
        conf = site.folder / "amqtt.yaml"
        conf.write_text(AMQTT_CONF.format(port=site.port, type=kind, tls=tls))
        return [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(conf)]

    version = f"{importlib.metadata.version('amqtt')} on Python {sys.version.split()[0]}"
    return BenchBroker("amqtt", version, "no ACL, no packet log", prepare)


def _find_program(name: str) -> str | None:
    # Debian keeps servers where an ordinary user's PATH does not reach
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def _find_npm_folder() -> Path | None:
    """Return the node_modules that has aedes."""
    folders = [Path(part) for part in os.environ.get("NODE_PATH", "").split(":") if part]
    folders += [ROOT / "node_modules", NPM_FOLDER / "node_modules"]
    folders += [Path("/usr/lib/node_modules"), Path("/usr/local/lib/node_modules")]
    return next((each for each in folders if (each / "aedes" / "package.json").exists()), None)


def _ask_version(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    found = re.search(r"\d+\.\d+[.\d]*", done.stdout + done.stderr)
    return found[0] if found else "of unknown version"


def _fill(word: str, places: dict[str, str]) -> str:
    for place, value in places.items():
        word = word.replace(place, value)
    return word
