"""The HTTP server of a service."""

import asyncio
import socket
from typing import Any

import pytest

from microservice.lifecycle import _make_server

TURNS = 50


def test_an_idle_server_does_not_wake_up_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[int] = []
    sleep = asyncio.sleep

    async def at_once(_: float) -> None:
        await sleep(0)

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError

    async def main() -> None:
        server = _make_server(app, 1.0, sockets=False)
        on_tick = server.on_tick

        async def note(counter: int) -> bool:
            ticks.append(counter)
            return await on_tick(counter)

        monkeypatch.setattr(server, "on_tick", note)
        monkeypatch.setattr("uvicorn.server.asyncio.sleep", at_once)  # its interval is one turn
        listener = socket.create_server(("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve([listener]))
        await server.listening.wait()
        for _ in range(TURNS):
            await sleep(0)
        assert ticks == [0]
        server.stop()
        await serving

    asyncio.run(main())
