"""Real MicroPython interpreters with the device package, at a serial line."""

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.links.serial_lines import SerialLines
from gateway.links.settings import SerialSettings
from hardware.simulated import BoardLimits, DeviceSettings, SimulatedBoard
from protocol.chunks.wire import Chunk, encode_cobs, encode_end
from settings.secret import Secret
from tests.aio import until
from tests.cable import Cable
from tests.device.boards import compile_package
from tests.link_gateway import LinkGateway, link_gateway
from tests.programs import PATIENCE

if TYPE_CHECKING:
    from broker import Message

BOARD_BYTES = 96 * 1024
BOARD_SHARE = 0.68  # of the heap in use here, on a 32-bit board: seen on Pico W firmware
HEAP_BYTES = 76 * 1024  # of a board, connected and publishing
HASTE = {"keepalive_s": 2, "timeout_s": 2, "retry_first_s": 0.05, "retry_cap_s": 0.2}


@dataclass
class Site:
    """A gateway, a cable and a board."""

    gateway: LinkGateway
    cable: Cable
    board: SimulatedBoard
    seen: "list[Message]" = field(default_factory=list)

    def values(self, topic: str) -> list[Any]:
        """Return the JSON payloads that came on a topic of the device."""
        topic = f"devices/{self.board.device_id}/{topic}"
        return [json.loads(m.payload) for m in self.seen if m.topic == topic]

    async def until_readings(self, count: int = 2) -> None:
        """Return when the device has sent so many further readings."""
        await until(self.board.directory.joinpath("credentials.json").exists, "it joins")
        before = len(self.values("readings/temperature"))
        await until(lambda: len(self.values("readings/temperature")) >= before + count, "readings")

    def command(self, number: int) -> None:
        """Send a command."""
        topic = f"devices/{self.board.device_id}/commands/light"
        payload = json.dumps({"id": f"c{number}", "on": True}).encode()
        self.gateway.broker.local_client("owner").publish(topic, payload, qos=1)


def board_at(
    cable: Cable, folder: Path, token: str, program: Path | None, package: Path | None
) -> SimulatedBoard:
    settings = DeviceSettings(
        "attic",
        "simulated",
        "none",
        1,
        Secret(token) if token else None,
        0.1,
        HASTE | {"link": "serial", "serial": cable.board_path},
    )
    if package is None:
        return SimulatedBoard(folder, settings, program, BoardLimits(0.05, 0.2))
    limits = BoardLimits(0.05, 0.2, heap=str(int(BOARD_BYTES / BOARD_SHARE)))
    return SimulatedBoard(folder, settings, program, limits, package)


@asynccontextmanager
async def site_at(
    tmp_path: Path,
    cable: Cable,
    token: str | None = None,
    program: Path | None = None,
    package: Path | None = None,
) -> AsyncIterator[Site]:
    """Run a gateway, and a board with a claim token, if no other token is given."""
    path = cable.path or cable.plug()
    async with link_gateway(tmp_path) as gateway:
        if token is None:
            made = await gateway.admission.new_claim(1, 600.0)
            assert made is not None
            token = made[0].reveal()
        lines = SerialLines(gateway.links, (SerialSettings(str(path)),), tmp_path / "dev")
        serving = asyncio.create_task(lines.run())
        board = board_at(cable, tmp_path / "board", token, program, package)
        site = Site(gateway, cable, board)
        gateway.broker.local_client("watcher").subscribe("devices/#", site.seen.append)
        await board.start()
        try:
            yield site
        finally:
            await board.stop()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60 * PATIENCE))


@pytest.fixture
def cable(tmp_path: Path) -> Any:
    with Cable(tmp_path / "dev") as cable:
        yield cable


def test_a_board_joins_and_is_a_device_like_any_other(tmp_path: Path, cable: Cable) -> None:
    async def work() -> None:
        async with site_at(tmp_path, cable) as site:
            await site.until_readings()
            assert not (site.board.directory / "claim").exists()
            site.command(1)
            await until(lambda: site.values("replies/light"), "a reply")
            assert site.values("replies/light")[0]["ok"]
            (status,) = site.gateway.links.status()
            assert (status.state, status.device_id) == ("open", site.board.device_id)
            assert status.counters.spoiled == 0
            token = json.loads((site.board.directory / "credentials.json").read_text())["password"]
            assert token.encode() not in cable.passed
            assert b"temperature" not in cable.passed

    run(work())


def test_nothing_is_lost_when_the_cable_is_pulled_and_put_in_elsewhere(
    tmp_path: Path, cable: Cable
) -> None:
    async def work() -> None:
        async with site_at(tmp_path, cable) as site:
            await site.until_readings()
            for name in ("ttyUSB7", "ttyUSB0"):
                cable.unplug()
                await until(lambda: not site.gateway.links.status(), "the link is gone")
                cable.plug(name)
                await site.until_readings(5)
            numbers = [each["seq"] for each in site.values("readings/temperature")]
            assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))

    run(work())


def test_a_board_survives_resets_and_power_cuts(tmp_path: Path, cable: Cable) -> None:
    async def work() -> None:
        async with site_at(tmp_path, cable) as site:
            for _ in range(3):  # the first one while it joins
                await until(lambda: site.board.pid, "it runs")
                assert site.board.pid is not None
                os.kill(site.board.pid, signal.SIGKILL)
                await until(lambda: not site.board.pid, "it has ended")
                await site.until_readings()
            assert len(site.gateway.admission.registry.all()) == 3  # two were there before

    run(work())


SAME_NUMBER = """
import os
from device import Device, chunk_socket, flash

class Os:
    last = flash.read_text("number")

    def urandom(count):
        octets = os.urandom(count)
        if count == 1:
            octets, Os.last = bytes((int(Os.last or octets[0]),)), None
            flash.write_atomic("number", str(octets[0]))
        return octets

chunk_socket.os = Os
device = Device()

@device.every(0.1)
def temperature():
    return 1

device.run()
"""


def test_a_board_that_picks_the_number_of_its_last_session_is_soon_back(
    tmp_path: Path, cable: Cable
) -> None:
    program = tmp_path / "program.py"
    program.write_text(SAME_NUMBER)

    async def work() -> None:
        async with site_at(tmp_path, cable, program=program) as site:
            await site.until_readings()
            log = site.board.log_path
            for _ in range(2):  # at the first one it has joined, which took two sessions
                assert site.board.pid is not None
                os.kill(site.board.pid, signal.SIGKILL)
                await until(lambda: not site.board.pid, "it has ended")
                log.write_text("")
                await site.until_readings()
            assert "the gateway closed the session" in log.read_text()
            assert "no answer within" not in log.read_text()

    run(work())


RESETTING = """
from device import Device
device = Device()

@device.command
def reset(args):
    print("reset runs")
    device.board.reset()

@device.every(0.1)
def temperature():
    return 1

device.run()
"""


def test_a_command_without_an_id_that_resets_the_board_runs_once(
    tmp_path: Path, cable: Cable
) -> None:
    program = tmp_path / "program.py"
    program.write_text(RESETTING)

    async def work() -> None:
        async with site_at(tmp_path, cable, program=program) as site:
            await site.until_readings()
            topic = f"devices/{site.board.device_id}/commands/reset"
            site.gateway.broker.local_client("owner").publish(topic, b"{}", qos=1)
            await until(lambda: site.values("replies/reset"), "a reply")
            assert "before this device was reset" in site.values("replies/reset")[0]["error"]
            await site.until_readings()
            assert site.board.log_path.read_text().count("reset runs") == 1

    run(work())


def test_a_board_survives_a_restart_of_the_gateway(tmp_path: Path, cable: Cable) -> None:
    async def work() -> None:
        async with site_at(tmp_path, cable) as site:
            await site.until_readings()
        async with site_at(tmp_path, cable, token="") as site:
            await site.until_readings()
            site.command(1)
            await until(lambda: site.values("replies/light"), "a reply")

    run(work())


def test_a_board_without_a_good_claim_token_stays_out(tmp_path: Path, cable: Cable) -> None:
    async def work() -> None:
        for token in ("guessed-by-a-stranger", ""):
            said = "does not know the key" if token else "without a claim"
            await _check_refusal(tmp_path, cable, token, said)

    run(work())


async def _check_refusal(tmp_path: Path, cable: Cable, token: str, said: str) -> None:
    async with site_at(tmp_path, cable, token) as site:
        log = site.board.log_path
        await until(lambda: log.exists() and said in log.read_text(), said)
        assert site.gateway.broker.counters.connections_total == 0
        assert site.board.device_id is None
    log.unlink()
    (site.board.directory / "claim").unlink(missing_ok=True)


def test_a_board_takes_a_new_token_and_so_a_new_key(tmp_path: Path, cable: Cable) -> None:
    async def work() -> None:
        async with site_at(tmp_path, cable) as site:
            await site.until_readings()
            device = site.gateway.admission.registry.get(str(site.board.device_id))
            assert device is not None
            before = device.token_digest
            await site.gateway.admission.rotate(device)
            await until(lambda: device.token_digest != before, "it uses the new token")
            assert not device.next_digest
            await site.until_readings()

    run(work())


def test_a_revoked_board_is_cut_at_once_and_refused(tmp_path: Path, cable: Cable) -> None:
    async def work() -> None:
        async with site_at(tmp_path, cable) as site:
            await site.until_readings()
            device_id = site.board.device_id
            assert device_id is not None
            await site.gateway.admission.revoke(device_id)
            await until(lambda: not site.gateway.broker.is_connected(device_id), "it is cut")
            count = len(site.values("readings/temperature"))
            links = site.gateway.links
            await until(lambda: links.status()[0].counters.refused > 1, "it is refused")
            assert len(site.values("readings/temperature")) == count

    run(work())


def test_text_and_noise_between_chunks_cost_nothing_but_time(tmp_path: Path, cable: Cable) -> None:
    async def work() -> None:
        async with site_at(tmp_path, cable) as site:
            await site.until_readings()
            chance = random.Random(5)
            for _ in range(20):
                cable.put_noise(b"Traceback (most recent call last):\r\n" + chance.randbytes(40))
                await site.until_readings(1)
            site.command(1)
            await until(lambda: site.values("replies/light"), "a reply")
            numbers = [each["seq"] for each in site.values("readings/temperature")]
            assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))

    run(work())


def test_forged_chunks_cost_a_session_and_nothing_else(tmp_path: Path, cable: Cable) -> None:
    async def work() -> None:
        async with site_at(tmp_path, cable) as site:
            await site.until_readings()
            chance, links = random.Random(3), site.gateway.links
            for offset in range(0, 65536, 4096):
                for session in range(16, 256):  # one of them is the device's
                    forged = Chunk(session, offset, chance.randrange(65536), chance.randbytes(12))
                    cable.put_noise(encode_cobs(forged.encode()))
                await asyncio.sleep(0.02)
            for session in range(16, 256):
                cable.put_noise(encode_cobs(encode_end(session, chance.randrange(4))))
            await site.until_readings(5)
            numbers = [each["seq"] for each in site.values("readings/temperature")]
            assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))
            assert site.board.restarts == 0
            assert links.status()[0].counters.sessions > 1
            assert "Traceback" not in site.board.log_path.read_text()

    run(work())


PROBE = """
import gc
from device import Device

device = Device()

@device.every(0.2)
def temperature():
    return 21.5

@device.every(0.2)
def heap():
    gc.collect()
    return gc.mem_alloc()

@device.command
def light(args):
    return args

device.run()
"""


def test_a_board_of_96_kib_is_large_enough(tmp_path: Path, cable: Cable) -> None:
    main = tmp_path / "probe.py"
    main.write_text(PROBE)

    async def work() -> None:
        package = compile_package(tmp_path / "compiled")
        async with site_at(tmp_path, cable, program=main, package=package) as site:
            await site.until_readings()
            for number in range(20):
                site.command(number)
            await until(lambda: len(site.values("replies/light")) >= 20, "replies")
            await until(lambda: len(site.values("readings/heap")) > 20, "looks at the heap")
            heaps = sorted(each["value"] for each in site.values("readings/heap"))
            assert heaps[len(heaps) // 2] * BOARD_SHARE < HEAP_BYTES
            assert site.board.restarts == 0

    run(work())
