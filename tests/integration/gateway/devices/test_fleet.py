"""Many interpreters over TLS, with power cuts and a gateway that restarts."""

import asyncio
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hardware.simulated import BoardLimits, DeviceSettings, SimulatedBoard
from settings.secret import Secret
from tests.certificates import make_authority
from tests.device.boards import compile_package
from tests.integration.gateway.devices.test_boards_over_tls import tls_gateway
from tests.share import SHARE
from tests.system import Gateway

BOARDS = 100 if SHARE >= 1 else 10  # all of them in `make test-soak`
ROUNDS = 4
PROGRAM = """
from device import Device
device = Device()

@device.every(1)
def t():
    return device.crashes

device.run()
"""
QUICK = {
    "tls": True,
    "retry_first_s": 0.2,
    "refused_cap_s": 2,
    "keepalive_s": 10,
    "timeout_s": 20,  # a hundred handshakes at once on a busy machine
}


class Fleet:
    """Boards and what the gateway says of them."""

    def __init__(self, folder: Path, gateway: Gateway, port: int, ca: bytes) -> None:
        self.gateway = gateway
        package = compile_package(folder / "package")
        main = folder / "fleet.py"
        main.write_text(PROGRAM)
        claim = Secret(gateway.claim(uses=BOARDS))
        limits = BoardLimits(restart_first_s=0.2, restart_cap_s=1, heap="128K")
        self.boards = []
        for number in range(BOARDS):
            directory = folder / f"board-{number}"
            directory.mkdir()
            (directory / "ca.crt").write_bytes(ca)
            settings = DeviceSettings(
                f"board-{number}", "simulated", "127.0.0.1", port, claim, more=QUICK
            )
            self.boards.append(SimulatedBoard(directory, settings, main, limits, package))

    async def until_all(self, condition: Callable[[dict[str, int]], bool], what: str) -> None:
        """Wait until a condition on {device id: messages} of those online holds."""

        def holds() -> bool:
            devices = self.gateway.status()["devices"]
            online = {d["id"]: d["messages"] for d in devices if d["online"]}
            return len(online) == BOARDS and condition(online)

        deadline = time.monotonic() + 120 + BOARDS
        while not await asyncio.to_thread(holds):
            assert time.monotonic() < deadline, what
            await asyncio.sleep(0.2)

    def ids(self) -> list[str]:
        """Return the device ids of all boards that have joined."""
        return [board.device_id for board in self.boards if board.device_id]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.whole_in_any_share
def test_a_fleet_joins_and_stays(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    files = make_authority(tmp_path / "tls")
    gateway, port = tls_gateway(tmp_path / "node", files)
    chance = random.Random(1)

    async def script(fleet: Fleet) -> None:
        await fleet.until_all(lambda _: True, "all have joined")
        joined = sorted(fleet.ids())
        assert len(set(joined)) == BOARDS
        for _ in range(ROUNDS):
            for board in chance.sample(fleet.boards, BOARDS // 4):
                if board.pid:
                    os.kill(board.pid, signal.SIGKILL)
            await fleet.until_all(lambda _: True, "all are back after power cuts")
        await asyncio.to_thread(fleet.gateway.program.kill)
        await asyncio.to_thread(fleet.gateway.start)
        before = {d["id"]: d["messages"] for d in fleet.gateway.status()["devices"]}
        await fleet.until_all(
            lambda online: all(online[i] >= before[i] + 3 for i in online), "all publish again"
        )
        assert sorted(fleet.ids()) == joined
        assert len(fleet.gateway.status()["devices"]) == BOARDS
        assert not any("safe mode" in b.log_path.read_text() for b in fleet.boards)
        assert not any("Traceback" in b.log_path.read_text() for b in fleet.boards)

    async def stage() -> None:
        fleet = Fleet(tmp_path, gateway, port, files.ca.read_bytes())
        started = time.monotonic()
        for board in fleet.boards:
            await board.start()
        try:
            await script(fleet)
        finally:
            await asyncio.gather(*(board.stop() for board in fleet.boards))
        record_property("interpreters over TLS", BOARDS)
        record_property("seconds with churn and a restart", round(time.monotonic() - started))

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    try:
        with gateway:
            asyncio.run(stage())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
