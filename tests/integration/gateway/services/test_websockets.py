"""WebSockets of a real microservice, through a real gateway, from near and from far."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.integration.gateway.services.world import write_service
from tests.programs import HECATE, run
from tests.system import Cloud, Gateway

CODE = """
@service.websocket("/rooms/{room}")
async def room(socket):
    await socket.send(socket["room"])
    async for message in socket:
        await socket.send(message)

@service.get("/plain")
async def plain(request): return {}
"""


@pytest.fixture(scope="module")
def node(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Give a gateway in an account with a public microservice and one for this machine."""
    folder = tmp_path_factory.mktemp("websockets")
    with Gateway(folder / "state", **cloud.environ()) as node:
        node.until_ready()
        node.rpc("associateAccount", cloud.log_in(node.rpc("getEdgeIdToken")["id_token"]))
        for name, toml in (("live", 'expose = "public"\nbep = true\n'), ("near", "bep = true\n")):
            code = write_service(folder / name, CODE, name=name, toml=toml)
            deploy = (*HECATE, "deploy", str(code))
            run(deploy, HECATE_URL=node.url, HECATE_API_KEY=node.key)
        yield node


async def talk(url: str, **options: object) -> tuple[str | bytes, str | bytes]:
    async with connect(url.replace("http", "ws", 1), proxy=None, **options) as client:  # type: ignore[arg-type]  # its options
        first = await client.recv()
        await client.send(bytes(100_000))
        return first, await client.recv()


@pytest.mark.parametrize("prefix", ["", "/ws"])
@pytest.mark.parametrize("name", ["live", "near"])
def test_messages_pass_on_both_paths(node: Gateway, prefix: str, name: str) -> None:
    url = f"{node.url}{prefix}/api/{name}/v1/rooms/hall"
    assert asyncio.run(talk(url)) == ("hall", bytes(100_000))
    # a page of this very gateway
    assert asyncio.run(talk(url, origin=node.url))[0] == "hall"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/live/v1/plain", (403, 404)),
        ("/api/live/v1/none", (403, 404)),
        ("/api/none/v1/rooms/hall", (404,)),
        ("/ws/api/none/v1/rooms/hall", (404,)),
        ("/ws/mcm/v1/images", (404,)),
    ],
)
def test_other_paths_have_no_websocket(node: Gateway, path: str, status: tuple[int]) -> None:
    with pytest.raises(InvalidStatus) as caught:
        asyncio.run(talk(node.url + path))
    assert caught.value.response.status_code in status


def test_the_compatible_path_is_for_websockets_alone(node: Gateway) -> None:
    assert node.ask("GET", "/ws/api/live/v1/plain", "").status_code == 404
    assert node.ask("GET", "/api/live/v1/plain", "").status_code == 200


# a browser sends Origin with every WebSocket, and lets every page open one
def test_a_page_of_another_site_opens_none(node: Gateway) -> None:
    with pytest.raises(InvalidStatus) as caught:
        asyncio.run(talk(f"{node.url}/api/live/v1/rooms/x", origin="https://evil.example"))
    assert caught.value.response.status_code == 403


def test_a_bep_carries_them_to_public_microservices_only(node: Gateway, cloud: Cloud) -> None:
    expiry = str(int(time.time()) + 600)
    code = node.rpc("getEdgeHmacCode", "", expiry, node.node_id, "jsapi://requestBep")
    url = f"{cloud.url}/sep/{node.node_id}/api/live/v1/bep?hmac={code['edgeHmacCode']}"
    href = httpx.get(url, timeout=30, trust_env=False).raise_for_status().json()["href"]
    for prefix in ("", "/ws"):
        assert asyncio.run(talk(f"{href}{prefix}/api/live/v1/rooms/hall"))[0] == "hall"
        with pytest.raises(InvalidStatus) as caught:
            asyncio.run(talk(f"{href}{prefix}/api/near/v1/rooms/hall"))
        assert caught.value.response.status_code == 403


def test_a_redeployed_microservice_ends_them(node: Gateway, tmp_path: Path) -> None:
    async def session() -> None:
        url = f"{node.url}/api/gone/v1/rooms/x".replace("http", "ws", 1)
        async with connect(url, proxy=None) as client:
            await client.recv()
            remove = (*HECATE, "rm", "gone")
            await asyncio.to_thread(run, remove, HECATE_URL=node.url, HECATE_API_KEY=node.key)
            await client.wait_closed()

    code = write_service(tmp_path / "gone", CODE, name="gone")
    run((*HECATE, "deploy", str(code)), HECATE_URL=node.url, HECATE_API_KEY=node.key)
    asyncio.run(session())
