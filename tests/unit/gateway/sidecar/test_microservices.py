"""Paths that no microservice has."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.sidecar.microservices import Microservices
from web.asgi import Scope


@pytest.mark.parametrize(
    ("is_loaded", "status", "has_retry"), [(False, 503, True), (True, 404, False)]
)
def test_a_path_may_still_be_found_while_the_gateway_starts(
    is_loaded: bool, status: int, has_retry: bool
) -> None:
    services: Any = SimpleNamespace(is_loaded=is_loaded, find=lambda _: None)
    unused: Any = None
    events: list[Scope] = []

    async def receive() -> dict[str, object]:
        raise AssertionError

    async def send(event: Scope) -> None:
        events.append(event)

    app = Microservices(services, None, unused)
    scope = {"type": "http", "method": "GET", "path": "/api/probe/v1", "headers": []}
    asyncio.run(app(scope, receive, send))
    assert events[0]["status"] == status
    assert (b"retry-after" in dict(events[0]["headers"])) is has_retry
