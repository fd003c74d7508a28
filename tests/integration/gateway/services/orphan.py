"""A gateway's microservices in a process that a test can kill: prints its container's pid."""

import asyncio
import sys
from pathlib import Path

from gateway.services import ServiceLimits
from tests.integration.gateway.services.world import CLIMATE, World


async def main() -> None:
    here = World(Path(sys.argv[1]), ServiceLimits())
    await here.start()
    await here.deploy(CLIMATE, "climate")
    print(f"pid {here.pid('api-climate')}", flush=True)  # noqa: T201
    await asyncio.Event().wait()


asyncio.run(main())
