"""Sets a board up: package, settings and claim token over its serial port, then waits for it."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from gateway.addresses import local_address
from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.devices.approval import ONLINE_WAIT_S, wait_online
from gateway.cli.devices.links import pause_link
from gateway.cli.devices.registry import DEVICES, POLL_S
from gateway.cli.errors import CliError
from gateway.cli.output import console, notes
from gateway.cli.view.words import printable
from hardware.boards.errors import BoardError
from hardware.boards.micropython import BoardIdentity, RemoteBoard
from hardware.boards.package import lay_out, lay_out_package
from hardware.boards.ports import choose_port, find_stable_path, open_port
from hardware.boards.settings import BoardSettings, WifiSettings
from hardware.device_package import PACKAGE
from settings.addresses import HostPort
from web.addresses import is_loopback_host

CLAIM_TTL_S = 900
MODELS = {"esp32": "esp32", "rp2": "pico-w", "linux": "simulated"}
TLS_PORT = 8883
SERIAL, CONSOLE = "serial", "console"
PAUSE_S = 600


@dataclass(frozen=True, slots=True)
class ProvisionOptions:
    """The choices of a person about a board; empty values are found out."""

    port: str
    name: str
    host: str = ""
    mqtt_port: int = 0
    wifi: WifiSettings | None = None
    ca_file: Path | None = None
    main: Path | None = None
    rejoin: bool = False
    wait: bool = True
    link: str = ""  # "serial" or "ble" instead of a network
    line: str = ""  # of a serial link that is not the port itself: uart1:4,5


async def provision_board(target: Target, options: ProvisionOptions) -> None:
    """Set the board up and wait until it is online."""
    try:
        path = choose_port(options.port)
        async with SidecarClient(target) as sidecar, _borrowed(sidecar, path, options):
            board = RemoteBoard(open_port(path))
            _say("asking the board")
            identity = await board.identify()
            _say(f"it is {identity}")
            board_id, device_id = await _set_up(sidecar, board, identity, options)
        if options.wait:
            async with SidecarClient(target) as sidecar:
                await _wait(sidecar, board_id, device_id, options)
    except BoardError as exc:
        raise CliError(str(exc)) from exc


@asynccontextmanager
async def _borrowed(
    sidecar: SidecarClient, path: Path, options: ProvisionOptions
) -> AsyncIterator[None]:
    """Have the gateway leave the port meanwhile, if it uses it as a link."""
    is_link = await pause_link(sidecar, path, PAUSE_S)
    if not is_link and options.wait and options.link == SERIAL and options.line in ("", CONSOLE):
        raise CliError(
            f"cannot provision: the gateway does not use {path} as a link; add it to its "
            f'configuration, [[serial]] path = "{find_stable_path(path)}", and restart it'
        )
    try:
        yield
    finally:
        if is_link:
            await pause_link(sidecar, path, 0)


async def _set_up(
    sidecar: SidecarClient, board: RemoteBoard, identity: BoardIdentity, options: ProvisionOptions
) -> tuple[str, str]:
    """Set the board up and start it; return its id, and the device that it is already."""
    host, port = ("", 1) if options.link else await _find_gateway(sidecar, options)
    model = MODELS.get(identity.platform, identity.platform)
    settings = BoardSettings(
        options.name,
        model,
        host,
        port,
        options.wifi,
        options.ca_file is not None,
        options.link,
        options.line,
    )
    settings.check()
    is_joined = bool(identity.device_id) and not options.rejoin
    with tempfile.TemporaryDirectory(prefix="hecate-board-") as name:
        first, last = Path(name) / "first", Path(name) / "last"
        first.mkdir()
        last.mkdir()
        _say("compiling the device package")
        count = await lay_out_package(first)
        # by this time a board without a clock verifies a gateway's certificate that is younger
        # than its authority
        files = {"config.json": settings.encode(), "time": b"%d" % time.time()}
        if options.ca_file is not None:
            files["ca.crt"] = _read(options.ca_file)
        await lay_out(first, files)
        _say(f"copying {count} modules and {len(files)} files")
        await board.copy(first)
        board_id = await board.board_id()
        main = options.main or (None if identity.has_main else PACKAGE / "main.py")
        claim = {} if is_joined else {"claim": await _claim(sidecar, board_id)}
        if not is_joined:
            await board.remove("credentials.json", "join-secret")
        await lay_out(last, claim, main)
        await board.copy(last)
    await board.reset()
    _say(f"the board ({board_id}) starts")
    return board_id, identity.device_id if is_joined else ""


async def _wait(
    sidecar: SidecarClient, board_id: str, device_id: str, options: ProvisionOptions
) -> None:
    device_id = device_id or await _joined_as(sidecar, board_id)
    if not device_id or not await wait_online(sidecar, device_id, ONLINE_WAIT_S):
        raise CliError(
            f"cannot finish: the board ({board_id}) is not online after {ONLINE_WAIT_S:.0f} s; "
            f"`hecate devices shell --port {options.port or 'PORT'}` shows why: is it in reach "
            "of its network, and is the gateway's address right?"
        )
    console().print(f"{printable(options.name)} is online as {device_id}", soft_wrap=True)


async def _joined_as(sidecar: SidecarClient, board_id: str) -> str:
    """Return the device that a board has joined as since it was set up; "" when it has not."""
    deadline = time.monotonic() + ONLINE_WAIT_S
    while time.monotonic() < deadline:
        rows = rows_of(await sidecar.call("list devices", "GET", DEVICES))
        online = [str(r["id"]) for r in rows if r.get("board") == board_id and r.get("online")]
        if online:
            return online[-1]
        await asyncio.sleep(POLL_S)
    return ""


async def _claim(sidecar: SidecarClient, board_id: str) -> bytes:
    body = {"uses": 1, "ttl_s": CLAIM_TTL_S, "board": board_id}
    answer = await sidecar.call("make a claim token", "POST", "/devices/v1/claims", json=body)
    return str(answer["token"]).encode()


async def _find_gateway(sidecar: SidecarClient, options: ProvisionOptions) -> tuple[str, int]:
    """Return the address that the board connects to."""
    if options.host and options.mqtt_port:
        return options.host, options.mqtt_port
    status = await sidecar.call("read status", "GET", "/status/v1")
    listeners = [HostPort.parse(text) for text in status["broker"]["listeners"]]
    if options.ca_file is not None:
        listeners = [each for each in listeners if each.port == TLS_PORT] or listeners[-1:]
    if not listeners:
        raise CliError("cannot provision: the gateway's broker has no network listener")
    found = listeners[0]
    host = options.host or found.host
    if not options.host and _is_any(host):
        host = local_address()
    if not options.host and is_loopback_host(host):
        raise CliError(
            f"cannot provision: the gateway's MQTT listens on {found.host} only, where no board "
            "reaches it; set [broker] host or HECATE_GATEWAY_BROKER_HOST to 0.0.0.0, or give --host"
        )
    return host, options.mqtt_port or found.port


def _is_any(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise CliError(f"cannot read {path}: {(exc.strerror or str(exc)).lower()}") from exc


def _say(text: str) -> None:
    notes().print(printable(text), style="dim", soft_wrap=True)
