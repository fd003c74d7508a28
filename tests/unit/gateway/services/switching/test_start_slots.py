"""Starts at once are bounded, and one that hangs gives its place up."""

import asyncio

from gateway.services.switching.start_slots import StartSlots
from tests.programs import PATIENCE


def test_a_burst_of_starts_is_bounded() -> None:
    async def scenario() -> None:
        slots, at_once, most = StartSlots(3), 0, 0

        async def start() -> None:
            nonlocal at_once, most
            async with slots.hold():
                at_once += 1
                most = max(most, at_once)
                await asyncio.sleep(0)
                at_once -= 1

        await asyncio.gather(*(start() for _ in range(30)))
        assert most == 3

    asyncio.run(asyncio.wait_for(scenario(), 10 * PATIENCE))


def test_starts_that_hang_hold_up_no_other() -> None:
    async def scenario() -> None:
        slots, done = StartSlots(2, hold_s=0.01), []
        hanging = [asyncio.create_task(hang(slots)) for _ in range(6)]

        async with slots.hold():
            done.append("quick")
        assert done == ["quick"]
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        assert slots._semaphore._value == 2  # no place was given back twice

    async def hang(slots: StartSlots) -> None:
        async with slots.hold():
            await asyncio.get_running_loop().create_future()

    asyncio.run(asyncio.wait_for(scenario(), 10 * PATIENCE))
