import asyncio
import sys
from pathlib import Path

from gateway.sensors.intake import QUEUE_LIMIT
from gateway.sensors.strangers import STRANGERS_LIMIT
from hardware.radio.advertisement import Advertisement
from tests.bthome import of_data
from tests.integration.gateway.sensors.world import sensor_world
from tests.programs import Program

FRAMES = 10_000
GROWTH_LIMIT_MIB = 4.0


def stranger(number: int) -> Advertisement:
    """Return the largest frame of a sensor with an address and a long name of its own."""
    address = f"A4:C1:{number >> 24 & 255:02X}:{number >> 16 & 255:02X}:"
    address += f"{number >> 8 & 255:02X}:{number & 255:02X}"
    text = number.to_bytes(4, "big").hex().encode() * 30
    data = b"\x40\x53" + bytes((len(text),)) + text
    return of_data(data, address, name=f"{number}" * 40, at=number / 20)


def rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


async def flood(folder: Path) -> None:
    """Print by how much the memory of a process grows with strangers."""
    async with sensor_world(folder) as world:
        for number in range(FRAMES // 10):
            await world.hear(stranger(number))
        before = rss_mib()
        for number in range(FRAMES):
            await world.hear(stranger(FRAMES + number))
        for number in range(FRAMES):  # at once
            world.hub.hear(stranger(3 * FRAMES + number))
        waiting = len(world.hub._intake)
        grown = rss_mib() - before
        print(f"grown {grown:.1f} kept {len(world.hub.strangers)} waiting {waiting}")  # noqa: T201


def test_a_flood_of_strangers_does_not_grow_the_process(tmp_path: Path) -> None:
    module = "tests.integration.gateway.sensors.test_bounds"
    with Program([sys.executable, "-m", module, str(tmp_path)]) as program:
        found = program.wait_for(r"grown (-?[\d.]+) kept (\d+) waiting (\d+)")
        assert program.wait() == 0
    assert float(found[1]) < GROWTH_LIMIT_MIB
    assert int(found[2]) == STRANGERS_LIMIT
    assert int(found[3]) <= QUEUE_LIMIT


if __name__ == "__main__":
    asyncio.run(flood(Path(sys.argv[1])))
