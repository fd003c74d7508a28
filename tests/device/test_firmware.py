"""The package on real Pico W firmware in an emulator.

`make test` fetches emulator and firmware. The emulator is far slower than a board, so a share of
the slow tests holds one join; `make test-soak` runs all.
"""

import asyncio
import json
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.aio import until
from tests.certificates import Files, make_authority
from tests.device.boards import DEVICE_ID, PREFIX, ScriptedBroker
from tests.device.emulator import MINUTES, PicoW, board_files, require_emulator
from tests.device.test_faults import command, json_of, replies
from tests.mqtt_peer import Mqtt
from tests.share import SHARE
from tests.system import Gateway

JOINING = """
import socket
from device import Device
device = Device()
elsewhere = socket.socket()
elsewhere.settimeout(5)
try:
    elsewhere.connect(("192.0.2.1", 80))
    reached = True
except OSError:
    reached = False
elsewhere.close()

@device.every(0.3)
def elsewhere_reached():
    return reached

device.run()
"""
PROGRAM = """
import asyncio, gc, time
from device import Device
device = Device()
print("start number", device.readings.run_number)
worst, last, ended = 0, time.ticks_ms(), False

async def watch():
    global worst, last
    while True:
        await asyncio.sleep_ms(5)
        now = time.ticks_ms()
        worst, last = max(worst, time.ticks_diff(now, last)), now

@device.every(0.3)
def heap():
    gc.collect()
    return gc.mem_alloc()

@device.every(0.5)
def stall():
    return worst

@device.command
def light(args):
    return {"on": args["on"]}

@device.command
async def again(args):
    asyncio.create_task(reset())

async def reset():
    await asyncio.sleep_ms(500)
    device.board.reset()

device.add_task("watch", watch)
device.run()
"""
STALL_MS = 4000  # half of what the watchdog of the RP2040 allows
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * MINUTES * 60)]


@pytest.mark.whole_in_any_share
def test_a_board_joins_a_gateway(
    tmp_path: Path, package: Path, record_property: Callable[[str, object], None]
) -> None:
    require_emulator()

    async def script(gateway: Gateway, owner: Mqtt) -> None:
        files = board_files(gateway.mqtt_port, JOINING)
        files["claim"] = gateway.claim().encode()
        topic = "devices/+/readings/elsewhere_reached"
        owner.subscribe(topic)
        async with PicoW(tmp_path, package, files):
            await until(lambda: gateway.status()["devices"], "the board joins", MINUTES * 20)
            [device] = gateway.status()["devices"]
            topic = f"devices/{device['id']}/readings/elsewhere_reached"
            await until(lambda: len(owner.payloads(topic)) >= 2, "it publishes", MINUTES * 20)
            assert owner.payloads(topic)[0]["value"] is False

    with (
        Gateway(tmp_path / "node") as gateway,
        Mqtt(gateway.mqtt_port, "api", gateway.key, "owner") as owner,
    ):
        asyncio.run(script(gateway, owner))
    record_property("joins on the firmware of a Pico W", 1)


class TlsBroker(ScriptedBroker):
    """Tells the time as the gateway does; speaks TLS if it has a context."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__()
        self.tells_time = True
        self._tls = tls

    async def __aenter__(self) -> "TlsBroker":
        self._server = await asyncio.start_server(
            self._serve,
            "127.0.0.1",
            0,
            ssl=self._tls,
            ssl_handshake_timeout=1200 if self._tls else None,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self


def joined_files(port: int, tls: Files | None) -> dict[str, bytes]:
    """Return the files of a board that has joined."""
    more = {"tls": True, "tls_name": "localhost"} if tls else {}
    files = board_files(port, PROGRAM, **more)
    credentials = {
        "device_id": DEVICE_ID,
        "username": DEVICE_ID,
        "password": "secret",
        "prefix": PREFIX,
    }
    files["credentials.json"] = json.dumps(credentials).encode()
    if tls is not None:
        files["ca.crt"] = tls.ca.read_bytes()
    return files


def values(broker: ScriptedBroker, connection: int, name: str) -> list[int]:
    """Return the values of a reading on a connection."""
    found = [p for p in broker.readings(connection) if p.topic.endswith(f"/{name}")]
    return [int(str(json_of(p)["value"])) for p in found]


@pytest.mark.skipif(SHARE < 1, reason="only `make test-soak` runs it: it takes ten minutes")
@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "tls"])
def test_it_connects_publishes_answers_and_resets(
    tmp_path: Path,
    package: Path,
    is_encrypted: bool,
    record_property: Callable[[str, object], None],
) -> None:
    require_emulator()
    tls = make_authority(tmp_path / "tls") if is_encrypted else None

    async def stage() -> None:
        async with (
            TlsBroker(tls.server_context() if tls else None) as broker,
            PicoW(tmp_path, package, joined_files(broker.port, tls)) as board,
        ):
            await until(lambda: len(values(broker, 0, "heap")) >= 4, "readings", MINUTES * 20)
            broker.writers[-1].write(command("light", '{"id": 7, "on": true}', 7))
            await until(lambda: replies(broker), "the reply", MINUTES * 20)
            assert replies(broker)[0] == {"id": 7, "ok": True, "on": True}
            seen = len(values(broker, 0, "heap"))  # the first are from before the connection
            await until(lambda: len(values(broker, 0, "heap")) > seen + 6, "more", MINUTES * 20)
            heap = min(values(broker, 0, "heap")[-3:])
            stall = max(values(broker, 0, "stall"))
            record_property(f"bytes of heap on the firmware, TLS {is_encrypted}", heap)
            record_property(f"ms of the longest stall on the firmware, TLS {is_encrypted}", stall)
            assert heap < (96 if is_encrypted else 56) * 1024
            assert stall < STALL_MS
            broker.writers[-1].write(command("again", '{"id": 8}', 8))
            await until(lambda: "start number 2" in board.output(), "a reset", MINUTES * 20)
            # the emulator's Wi-Fi chip does not start at once, and the package tries again
            joined = "device: Wi-Fi address"
            await until(lambda: board.output().count(joined) > 1, "Wi-Fi again", MINUTES * 20)

    asyncio.run(stage())
