import asyncio

import pytest

from hardware.radio.backend_call import ABANDONED_LIMIT, BackendCalls
from hardware.radio.errors import RadioError
from tests.virtual_time import run_virtual


async def _deaf() -> None:
    """Ignore that it is cancelled, as calls do that wait for a daemon."""
    while True:
        try:
            await asyncio.sleep(1e5)
        except asyncio.CancelledError:
            if asyncio.get_running_loop().time() > 1e6:
                raise


async def _fail() -> None:
    raise KeyError("Roles")


def test_whatever_a_backend_raises_becomes_one_error() -> None:
    with pytest.raises(RadioError, match="cannot scan: 'Roles'"):
        run_virtual(BackendCalls().run("scan", _fail(), 1))


def test_a_call_that_does_not_even_end_when_cancelled_is_left_alone_and_bounded() -> None:
    async def main() -> None:
        calls = BackendCalls()
        tasks = asyncio.all_tasks()
        for n in range(ABANDONED_LIMIT):
            with pytest.raises(RadioError, match="within 1 s"):
                await calls.run("scan", _deaf(), 1)
            assert calls.abandoned == n + 1
        with pytest.raises(RadioError, match="have not ended"):
            await calls.run("scan", _deaf(), 1)
        await asyncio.sleep(2e6)
        for task in asyncio.all_tasks() - tasks:
            task.cancel()
        await asyncio.sleep(1)
        assert await calls.run("scan", asyncio.sleep(0, "works again"), 1) == "works again"

    run_virtual(main())
