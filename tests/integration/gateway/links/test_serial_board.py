"""A real MicroPython interpreter with the device package, at a serial line."""

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.links.serial_lines import SerialLines
from gateway.links.settings import SerialSettings
from hardware.simulated import BoardLimits, DeviceSettings, SimulatedBoard
from settings.secret import Secret
from tests.aio import until
from tests.cable import Cable
from tests.link_gateway import LinkGateway, link_gateway
from tests.programs import PATIENCE

if TYPE_CHECKING:
    from broker import Message

HASTE = {"keepalive_s": 2, "timeout_s": 2, "retry_first_s": 0.05, "retry_cap_s": 0.2}


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60 * PATIENCE))


def board_at(cable: Cable, folder: Path, token: str = "", **more: object) -> SimulatedBoard:
    settings = DeviceSettings(
        "attic",
        "simulated",
        "none",
        1,
        Secret(token) if token else None,
        0.2,
        HASTE | {"link": "serial", "serial": cable.board_path} | more,
    )
    return SimulatedBoard(folder, settings, limits=BoardLimits(0.05, 0.2))


async def claim(gateway: LinkGateway) -> str:
    made = await gateway.admission.new_claim(1, 600.0)
    assert made is not None
    return made[0].reveal()


def test_a_board_joins_over_a_serial_line_and_is_a_device_like_any_other(tmp_path: Path) -> None:
    async def work() -> None:
        seen: list[Message] = []
        async with link_gateway(tmp_path) as gateway:
            owner = gateway.broker.local_client("owner")
            owner.subscribe("devices/#", seen.append)
            with Cable(tmp_path / "dev") as cable:
                port = cable.plug()
                lines = SerialLines(gateway.links, (SerialSettings(str(port)),), tmp_path / "dev")
                serving = asyncio.create_task(lines.run())
                board = board_at(cable, tmp_path / "board", await claim(gateway))
                await board.start()
                try:
                    await until(lambda: board.directory.joinpath("credentials.json").exists())
                    device_id = board.device_id
                    prefix = f"devices/{device_id}"

                    def values(topic: str) -> list[Any]:
                        return [json.loads(m.payload) for m in seen if m.topic == prefix + topic]

                    await until(lambda: len(values("/readings/temperature")) > 2, "readings")
                    assert not (board.directory / "claim").exists()
                    command = json.dumps({"id": "c1", "on": True}).encode()
                    owner.publish(f"{prefix}/commands/light", command, qos=1)
                    await until(lambda: values("/replies/light"), "a reply")
                    assert values("/replies/light")[0]["ok"]
                    (status,) = gateway.links.status()
                    assert (status.state, status.device_id) == ("open", device_id)
                    assert status.counters.spoiled == 0
                finally:
                    await board.stop()
                    serving.cancel()
                    await asyncio.gather(serving, return_exceptions=True)

    run(work())
