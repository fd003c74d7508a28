"""Requests from node to node over TLS of their keys, with real sockets."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.cluster.calls.client import LanCalls
from gateway.cluster.calls.protocol import HTTP
from gateway.cluster.calls.server import LIMITS, CallServer
from gateway.cluster.links.admission import OpenAdmission, PeerAdmission, SecretAdmission
from gateway.cluster.links.link import dial
from gateway.cluster.links.server import PeerServer
from gateway.errors import CallNotSent, UplinkLost
from gateway.http.calls import CallBody, NodeCall
from protocol.keys import new_node_key
from protocol.node_tls import NodeTlsContext
from settings.secret import Secret
from web.asgi import Receive, Scope, Send

SECRET = "a secret of this cluster"
MANY_BYTES = 5_000_000


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Show the head of a request; send its body back, piece by piece."""
    headers = {n.decode(): v.decode() for n, v in scope["headers"]}
    shown = {"origin": scope["hecate.origin"], "path": scope["path"], "headers": headers}
    seen = [(b"x-seen", json.dumps(shown).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": seen})
    more = True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        more = event.get("more_body", False)
        await send({"type": "http.response.body", "body": event["body"], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def secret(node_id: str, text: str = SECRET) -> PeerAdmission:
    return SecretAdmission(node_id, [Secret(text)])


class ServingNode:
    """A node that serves an application to its peers."""

    def __init__(self, serve: Any, admission: PeerAdmission | None = None) -> None:
        self.key = new_node_key()
        self.node_id = self.key.node_id
        self.refused: list[tuple[str, str]] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.calls = CallServer(
            admission or secret(self.node_id),
            lambda node_id, _, reason: self.refused.append((node_id, reason)),
        )
        context = NodeTlsContext(self.key, [HTTP])
        server = PeerServer(context, {HTTP: self.calls.serve})
        self.tasks = [
            asyncio.create_task(server.run([self.listener])),
            asyncio.create_task(self.calls.run(serve)),
        ]

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.listener.close()


@contextlib.asynccontextmanager
async def pair(
    serve: Any = app, text: str = SECRET, to: Callable[[ServingNode], str] = lambda n: n.address
) -> AsyncIterator[tuple[ServingNode, LanCalls]]:
    """Give a node that serves, and the client of another one."""
    node = ServingNode(serve)
    key = new_node_key()
    context = NodeTlsContext(key, [HTTP])
    client = LanCalls(context, secret(key.node_id, text), lambda _: (to(node),))
    try:
        yield node, client
    finally:
        await client.close()
        await node.end()


async def answer(client: LanCalls, node_id: str, call: NodeCall) -> tuple[int, Any, bytes]:
    async with client.open(node_id, call) as got:
        body = (await got.whole(2 * MANY_BYTES)).body
        seen = dict(got.headers).get("x-seen", "{}")
        return got.status, json.loads(seen), body


def test_a_request_arrives_from_a_node_without_its_proof() -> None:
    async def run() -> None:
        async with pair() as (node, client):
            call = NodeCall("GET", "/a%20b?c=d", (("x-own", "1"), ("authorization", "Bearer t")))
            status, seen, _ = await answer(client, node.node_id, call)
            assert (status, seen["origin"], seen["path"]) == (200, "node", "/a b")
            assert seen["headers"]["x-own"] == "1"
            assert seen["headers"]["authorization"] == "Bearer t"
            assert "x-hecate-proof" not in seen["headers"]
            assert node.calls.served == 1

    asyncio.run(run())


def test_large_bodies_stream_both_ways_at_the_same_time() -> None:
    async def run() -> None:
        echoed = 0
        passed = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            yield b"first"
            await passed.wait()  # the answer begins before the request ends
            for _ in range(MANY_BYTES // 50_000):
                yield bytes(50_000)

        async with pair() as (node, client):
            call = NodeCall("POST", "/", (), CallBody(b"", pieces()))
            sending = asyncio.timeout(30)
            async with sending, client.open(node.node_id, call) as got:
                async for piece in got.body:
                    echoed += len(piece)
                    passed.set()
        assert echoed == MANY_BYTES + 5

    asyncio.run(run())


def test_a_stranger_gets_a_refusal_and_nothing_else() -> None:
    async def run() -> None:
        async with pair(text="another secret, not theirs") as (node, client):
            status, seen, body = await answer(client, node.node_id, NodeCall("GET", "/healthz"))
            assert (status, seen, node.calls.served) == (403, {}, 0)
            assert "does not know the secret" in json.loads(body)["detail"]
            assert [reason for _, reason in node.refused] == [
                "it does not know the secret of this cluster ([cluster] secret)"
            ]

    asyncio.run(run())


def test_a_proof_is_of_no_use_to_another_node() -> None:
    async def run() -> None:
        async with pair() as (node, client):
            thief = new_node_key()
            owner_id = client._admission._node_id  # type: ignore[attr-defined]
            stolen = secret(owner_id).prove(node.node_id)

            class Replay(OpenAdmission):
                def prove(self, _peer_id: str) -> str:
                    return stolen

            context = NodeTlsContext(thief, [HTTP])
            other = LanCalls(context, Replay(), lambda _: (node.address,))
            status, _, _ = await answer(other, node.node_id, NodeCall("GET", "/"))
            await other.close()
            assert (status, node.calls.served) == (403, 0)

    asyncio.run(run())


def test_a_node_at_the_address_of_another_gets_no_request() -> None:
    async def run() -> None:
        liar = ServingNode(app, OpenAdmission())
        async with pair(to=lambda _: liar.address) as (node, client):
            with pytest.raises(
                CallNotSent, match=f"is {liar.node_id[:12]}, not {node.node_id[:12]}"
            ):
                await answer(client, node.node_id, NodeCall("POST", "/", (), CallBody(b"secret")))
        assert (liar.calls.served, liar.refused) == (0, [])
        await liar.end()

    asyncio.run(run())


def test_nothing_is_sent_to_a_closed_port() -> None:
    async def run() -> None:
        async with pair() as (node, client):
            await node.end()
            with pytest.raises(CallNotSent):
                await answer(client, node.node_id, NodeCall("POST", "/"))

    asyncio.run(run())


def test_a_connection_that_breaks_before_the_answer_is_no_failure_to_send() -> None:
    async def run() -> None:
        executed: list[str] = []

        async def die(scope: Scope, _receive: Receive, _send: Send) -> None:
            executed.append(scope["path"])
            await node.end()

        async with pair(die) as (node, client):
            with pytest.raises(UplinkLost) as caught:
                await answer(client, node.node_id, NodeCall("POST", "/once"))
            assert not isinstance(caught.value, CallNotSent)
            assert executed == ["/once"]

    asyncio.run(run())


def test_one_node_cannot_take_the_places_of_others() -> None:
    async def run() -> None:
        async with pair() as (node, client):
            key = new_node_key()
            context = NodeTlsContext(key, [HTTP])
            bound = LIMITS.connections_per_address
            held = []
            for _ in range(bound + 8):
                sock, _, _ = await dial((node.address,), node.node_id, context, HTTP)
                held.append(sock)
            status, _, _ = await answer(client, node.node_id, NodeCall("GET", "/"))
            assert status == 200
            counts = node.calls.counts()
            assert counts["connections"] <= bound + 1
            assert counts["connections_evicted"] == 8
            for sock in held:
                sock.close()

    asyncio.run(run())


def test_connections_are_kept() -> None:
    async def run() -> None:
        async with pair() as (node, client):
            for _ in range(20):
                assert (await answer(client, node.node_id, NodeCall("GET", "/")))[0] == 200
            assert node.calls.counts()["connections"] == 1

    asyncio.run(run())
