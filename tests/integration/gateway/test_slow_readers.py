"""Clients that ask for much and read nothing: what they cost the gateway."""

import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.integration.gateway.nodes import climate_gateway
from tests.programs import until
from tests.system import Cloud, Gateway

MIB = 1024 * 1024
CLIENTS = 60
BASE = "/api/climate/v1"
# for each: one piece on its way, what the HTTP server holds to send, and their objects
CLIENT_LIMIT_BYTES = 320 * 1024


@pytest.fixture(scope="module")
def node(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Give a gateway in an account that runs the example microservice, and nothing before."""
    with climate_gateway(tmp_path_factory.mktemp("slow"), cloud) as node:
        yield node


def directly(_: Cloud, node: Gateway) -> str:
    return node.url


def through_a_bep(cloud: Cloud, node: Gateway) -> str:
    expiry = str(int(time.time()) + 600)
    answer = node.rpc("getEdgeHmacCode", "", expiry, node.node_id, "jsapi://requestBep")
    url = f"{cloud.url}/sep/{node.node_id}{BASE}/bep?hmac={answer['edgeHmacCode']}"
    return str(httpx.get(url, timeout=30, trust_env=False).raise_for_status().json()["href"])


def ask(url: str, stack: ExitStack) -> socket.socket:
    address = urlsplit(url)
    client = stack.enter_context(socket.socket())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((address.hostname, address.port))
    path = f"{address.path}{BASE}/blob/1000000000"
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
    return client


def until_answered(clients: list[socket.socket]) -> None:
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client, selectors.EVENT_READ)
        until(lambda: len(selector.select(0)) == len(clients), "all answers have begun")


def highest_rss(process: psutil.Process, seconds: float) -> int:
    deadline, highest = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        highest = max(highest, process.memory_info().rss)
        time.sleep(0.02)
    return highest


# case G17
@pytest.mark.parametrize("way", [through_a_bep, directly])
def test_clients_that_never_read_wait_in_the_service(
    cloud: Cloud, node: Gateway, way: Callable[[Cloud, Gateway], str]
) -> None:
    url = way(cloud, node)
    process = psutil.Process(node.program.process.pid)
    small = f"{url}{BASE}/blob/3"
    assert httpx.get(small, timeout=30, trust_env=False).content == bytes(range(3))
    before = process.memory_info().rss
    with ExitStack() as stack:
        until_answered([ask(url, stack) for _ in range(CLIENTS)])
        grown = highest_rss(process, 1.0) - before
        assert grown < CLIENTS * CLIENT_LIMIT_BYTES, f"{grown / MIB:.1f} MiB"
        assert httpx.get(small, timeout=30, trust_env=False).content == bytes(range(3))
