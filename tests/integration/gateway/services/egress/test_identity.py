"""A request on a container's socket is that container's, and leads where its URL says."""

import asyncio
import os
import stat
from pathlib import Path

import pytest

from tests.integration.gateway.services.egress.harness import NODE_ID, ask, egress, send_raw


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("GET /mds/v1/nodes", "/mds/v1/nodes"),
        ("GET http://localhost:8083/mds/v1/nodes", "/mds/v1/nodes"),
        ("GET http://127.0.0.1:18083/a%20b", "/a b"),
        ("GET http://me:8083/", "/"),
        ("GET http://api-probe.service.hecate/rooms", "/api/probe/v1/rooms"),
        (f"GET http://{NODE_ID}.api-probe.service.hecate/rooms", "/api/probe/v1/rooms"),
        (f"GET http://{NODE_ID}.node.hecate/x", "/x"),
    ],
)
def test_the_socket_identifies_the_caller(tmp_path: Path, line: str, path: str) -> None:
    async def run() -> None:
        async with egress(tmp_path) as here:
            first, second = await here.open(), await here.open(container_id="api-other")
            claims = {
                "Host": "localhost",
                "X-Hecate-Caller": "api-other",
                "X-Forwarded-For": "203.0.113.1",
                "Hecate.Origin": "loopback",
                "Proxy-Authorization": "Basic abc",
                "Connection": "x-hecate-caller",
            }
            seen = (await ask(first, line, claims)).json
            assert (seen["path"], seen["origin"], seen["caller"]) == (
                path, "container", "api-caller",
            )  # fmt: skip
            names = [name for name, _ in seen["headers"]]
            assert "x-hecate-caller" not in names
            assert "proxy-authorization" not in names
            assert (await ask(second, line, claims)).json["caller"] == "api-other"

    asyncio.run(run())


def test_only_this_user_connects_and_a_closed_socket_is_gone(tmp_path: Path) -> None:
    async def run() -> None:
        async with egress(tmp_path) as here:
            path = await here.open()
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600  # noqa: PTH116  # a test
            here.sockets.close(Path(path))
            with pytest.raises(OSError, match="No such file"):
                await ask(path, "GET /")
            here.sockets.close(Path(path))  # harmless

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []


def test_bodies_and_pipelined_requests_pass(tmp_path: Path) -> None:
    async def run() -> None:
        async with egress(tmp_path) as here:
            path = await here.open()
            one = b"POST /one HTTP/1.1\r\nHost: x.localhost\r\nContent-Length: 3\r\n\r\nabc"
            two = (
                b"POST http://localhost/two HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\nTrailer: x\r\n\r\n"
            )
            answers = await send_raw(path, one + two)
            assert b'"path": "/one"' in answers
            assert b'"body": "abc"' in answers
            assert b'"path": "/two"' in answers
            assert b'"body": "def"' in answers

    asyncio.run(run())


def test_a_service_that_no_node_has_is_told(tmp_path: Path) -> None:
    async def run() -> None:
        async with egress(tmp_path) as here:
            answer = await ask(await here.open(), "GET http://api-none.service.hecate/")
            assert answer.status == 404
            assert "cannot find service api-none" in answer.json["detail"]
            assert answer.headers["proxy-status"] == "hecate; error=destination_not_found"

    asyncio.run(run())
