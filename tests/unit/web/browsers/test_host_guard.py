"""Requests as the application behind the guard gets them."""

import asyncio
from typing import Any

import pytest

from web.browsers.host_guard import HostGuard
from web.browsers.origins import HostPolicy


def ask(target: bytes, host: bytes) -> tuple[dict[str, Any] | None, int]:
    """Return the scope that the application gets, and the status of a refusal."""
    seen: list[dict[str, Any]] = []
    statuses: list[int] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope)

    async def receive() -> dict[str, Any]:
        raise AssertionError

    async def send(event: Any) -> None:
        if event["type"] == "http.response.start":
            statuses.append(event["status"])

    scope = {
        "type": "http",
        "method": "GET",
        "path": target.decode(),
        "raw_path": target,
        "query_string": b"x=1",
        "headers": [(b"host", host), (b"accept", b"*/*")],
        "server": ("127.0.0.1", 80),
    }
    guard = HostGuard(app, HostPolicy(lambda: {"gate"}, "[sidecar]"))
    asyncio.run(guard(scope, receive, send))
    return (seen[0] if seen else None), (statuses[0] if statuses else 0)


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        (b"/api/x%20y/v1", "/api/x%20y/v1", b"gate"),
        (b"http://gate/api/x%20y/v1", "/api/x y/v1", b"gate"),
        (b"HTTP://gate:8083/a//b", "/a//b", b"gate:8083"),
        (b"http://gate", "/", b"gate"),
    ],
)
def test_a_target_may_be_a_url(target: bytes, path: str, host: bytes) -> None:
    scope, _ = ask(target, b"gate")
    assert scope is not None
    assert scope["path"] == path
    assert dict(scope["headers"])[b"host"] == host
    assert scope["raw_path"].startswith(b"/")
    assert scope["query_string"] == b"x=1"


def test_the_host_of_a_url_is_judged_and_not_the_header() -> None:
    assert ask(b"http://evil.example/x", b"gate") == (None, 421)


@pytest.mark.parametrize("target", [b"*", b"ftp://gate/x", b"gate:443"])
def test_other_targets_stay_as_they_are(target: bytes) -> None:
    scope, _ = ask(target, b"gate")
    assert scope is not None
    assert scope["path"] == target.decode()
