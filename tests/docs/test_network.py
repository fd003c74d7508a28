"""docs/network.md: its files are a microservice that does what the page says."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.services.egress import dialer, sockets
from gateway.services.egress.app import LIMITS
from protocol.envelope import BODY_LIMIT_BYTES
from tests.integration.gateway.services.egress.harness import answering, target
from tests.integration.gateway.services.world import world
from tests.programs import ROOT

TEXT = (ROOT / "docs" / "network.md").read_text()
FILES = re.findall(r"^```\w+\n# (\S+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"40001")
    await reader.read()


def test_the_files_are_a_microservice(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here, target(answering(OK)) as http, target(greet) as plc:
            folder = tmp_path / "probe"
            folder.mkdir()
            for name, text in FILES:
                on_free_ports = text.replace("8765", str(http)).replace("8766", str(plc))
                (folder / name).write_text(on_free_ports)
            await here.deploy(folder, "probe")

            async def ask(path: str) -> Any:
                return (await here.http.get(f"/api/probe/v1{path}")).raise_for_status().json()

            assert await ask("/other") == {"caller": "api-probe"}
            assert await ask("/outside") == {"status": 200, "text": "hi"}
            assert await ask("/plc") == {"text": "40001"}

    asyncio.run(run())


@pytest.mark.parametrize(
    "said",
    [
        f"at most {BODY_LIMIT_BYTES // 1024} KiB each way",
        f"{sockets.CONNECTIONS} connections, {dialer.RESOLVE_S:g} s for a name, "
        f"{dialer.CONNECT_S:g} s for an address, {LIMITS.idle_s / 60:g} min without a byte",
    ],
)
def test_the_numbers_of_the_page_are_those_of_the_code(said: str) -> None:
    assert said in TEXT
