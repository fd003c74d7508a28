"""Follows the log of one container, also across the gateway's restarts."""

import asyncio
import contextlib
from collections.abc import Callable

import httpx

from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.errors import CliError
from gateway.cli.services.containers import CONTAINERS

FOLLOW_AGAIN_S = 1.0  # after the gateway has closed the log


class LogFollower:
    """A task that passes each new line on; start() begins once, stop() ends it."""

    def __init__(self, sidecar: SidecarClient, on_line: Callable[[str], None]) -> None:
        self._sidecar, self._on_line = sidecar, on_line
        self._task: asyncio.Task[None] | None = None

    def start(self, container_id: str, tail: int) -> None:
        """Follow a container's log from its last lines on, unless one is followed already."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow(container_id, tail), name="log")

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self, container_id: str, tail: int) -> None:
        while True:
            with contextlib.suppress(CliError):
                await self._copy(container_id, tail)
            tail = 0
            await asyncio.sleep(FOLLOW_AGAIN_S)

    async def _copy(self, container_id: str, tail: int) -> None:
        path = f"{CONTAINERS}/{container_id}/logs"
        params = {"tail": tail, "follow": "true"}
        timeout = httpx.Timeout(30, read=None)
        async with self._sidecar.stream(
            "read the log", "GET", path, params=params, timeout=timeout
        ) as response:
            if response.is_error:
                return
            rest = b""
            async for piece in response.aiter_bytes():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    self._on_line(line.decode(errors="replace"))
