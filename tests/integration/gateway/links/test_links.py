import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.aio import until
from tests.chunk_peer import CONNACK, PUBACK, PUBLISH, SUBACK, ChunkPeer, Faults, MemoryPort
from tests.link_gateway import DEVICE, OTHER, OTHER_TOKEN, TOKEN, LinkGateway, link_gateway
from tests.programs import PATIENCE

ACCEPTED, REFUSED = b"\x00\x00", b"\x00\x04"


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 20 * PATIENCE))


async def log_in(port: MemoryPort, session: int = 1) -> ChunkPeer:
    peer = ChunkPeer(port, DEVICE, TOKEN, session)
    peer.connect(DEVICE, DEVICE, TOKEN)
    assert await peer.expect(CONNACK) == ACCEPTED
    return peer


def states(gateway: LinkGateway) -> dict[str, str]:
    return {status.name: status.state for status in gateway.links.status()}


def test_a_device_logs_in_publishes_and_reads_its_commands(tmp_path: Path) -> None:
    async def work() -> None:
        async with link_gateway(tmp_path) as gateway:
            port = MemoryPort()
            gateway.plug(port)
            peer = await log_in(port)
            peer.subscribe(f"devices/{DEVICE}/commands/+")
            assert (await peer.expect(SUBACK))[-1] == 1
            peer.publish(f"devices/{DEVICE}/readings/t", b'{"value": 1, "seq": 1}', 1)
            assert await peer.expect(PUBACK) == b"\x00\x01"
            owner = gateway.broker.local_client("owner")
            owner.publish(f"devices/{DEVICE}/commands/light", b'{"id": "1"}', qos=1)
            assert (await peer.expect(PUBLISH)).endswith(b'{"id": "1"}')
            (status,) = gateway.links.status()
            assert (status.name, status.state, status.device_id) == ("memory:1", "open", DEVICE)
            await peer.close()

    run(work())


def test_a_board_joins_with_a_claim_token_once(tmp_path: Path) -> None:
    async def work() -> None:
        async with link_gateway(tmp_path) as gateway:
            port = MemoryPort()
            gateway.plug(port)
            made = await gateway.admission.new_claim(1, 60.0)
            assert made is not None
            token = made[0].reveal().encode()
            board = ChunkPeer.with_claim(port, token)
            board.connect("board-1", "claim", token)
            assert await board.expect(CONNACK) == ACCEPTED
            board.subscribe("$hec/join/board-1/response")
            await board.expect(SUBACK)
            board.publish("$hec/join/board-1/request", b'{"name": "lamp", "model": "sim"}', 1)
            answer = json.loads((await board.expect(PUBLISH)).partition(b"{")[2].join((b"{", b"")))
            await board.close()
            device_id, password = answer["device_id"], answer["password"].encode()
            device = ChunkPeer(port, device_id, password, 2)
            device.connect(device_id, device_id, password)
            assert await device.expect(CONNACK) == ACCEPTED
            await device.close()
            second = ChunkPeer.with_claim(port, token, 3)
            second.connect("board-2", "claim", token)
            assert await second.expect(CONNACK) == REFUSED
            await second.close()

    run(work())


@pytest.mark.parametrize(("who", "token"), [(DEVICE, b"guessed"), ("dev-000000000000", TOKEN)])
def test_a_stranger_gets_no_connection(tmp_path: Path, who: str, token: bytes) -> None:
    async def work() -> None:
        async with link_gateway(tmp_path) as gateway:
            port = MemoryPort()
            gateway.plug(port)
            stranger = ChunkPeer(port, who, token)
            stranger.connect(who, who, token)
            assert await stranger.until_ended() == (1, 2)
            assert gateway.broker.counters.connections_total == 0
            await stranger.close()

    run(work())


def test_the_login_must_name_the_device_that_the_session_has_proved(tmp_path: Path) -> None:
    async def work() -> None:
        async with link_gateway(tmp_path) as gateway:
            port = MemoryPort()
            gateway.plug(port)
            for number, (user, password) in enumerate(
                [(OTHER, OTHER_TOKEN), ("api", b"k" * 32), ("join", b"s" * 32), ("", b"")], 1
            ):
                peer = ChunkPeer(port, DEVICE, TOKEN, number)
                peer.connect(user or "nobody", user, password)
                assert await peer.expect(CONNACK) == REFUSED
                assert await peer.until_ended() == (number, 0)
                await peer.close()

    run(work())


def test_a_revoked_device_is_cut_and_stays_out(tmp_path: Path) -> None:
    async def work() -> None:
        async with link_gateway(tmp_path) as gateway:
            port = MemoryPort()
            gateway.plug(port)
            peer = await log_in(port)
            await gateway.admission.revoke(DEVICE)
            assert await peer.until_ended() == (1, 0)
            await peer.close()
            again = ChunkPeer(port, DEVICE, TOKEN, 2)
            again.connect(DEVICE, DEVICE, TOKEN)
            assert await again.until_ended() == (2, 2)
            await again.close()

    run(work())


def test_a_device_has_one_session(tmp_path: Path) -> None:
    async def work() -> None:
        async with link_gateway(tmp_path) as gateway:
            ports = [MemoryPort("memory:1"), MemoryPort("memory:2")]
            for port in ports:
                gateway.plug(port)
            first = await log_in(ports[0])
            second = await log_in(ports[1])
            assert await first.until_ended() == (1, 0)
            await until(lambda: states(gateway) == {"memory:1": "waiting", "memory:2": "open"})
            await first.close()
            await second.close()

    run(work())


def test_the_will_of_a_device_is_published_when_its_cable_is_pulled(tmp_path: Path) -> None:
    async def work() -> None:
        async with link_gateway(tmp_path) as gateway:
            port, wills = MemoryPort(), asyncio.Event()
            owner = gateway.broker.local_client("owner")
            owner.subscribe(f"devices/{DEVICE}/status", lambda _: wills.set())
            served = gateway.plug(port)
            peer = await log_in(port)
            port.cut()
            assert await served == "cable out"
            await wills.wait()
            await peer.close()

    run(work())


def test_a_device_whose_gateway_has_restarted_is_told(tmp_path: Path) -> None:
    async def work() -> None:
        async with link_gateway(tmp_path) as gateway:
            before = MemoryPort()
            gateway.plug(before)
            peer = await log_in(before)
            port = MemoryPort("memory:2")
            gateway.plug(port)
            peer.port = port  # the next chunk reaches a link that does not know the session
            asyncio.get_running_loop().call_soon(
                peer.publish, f"devices/{DEVICE}/readings/t", b'{"value": 1, "seq": 1}', 1
            )
            assert (await port.outbox.get())[0] == 0
            await peer.close()

    run(work())


def test_a_device_that_was_reset_may_use_the_number_of_its_last_session(tmp_path: Path) -> None:
    async def work() -> None:
        async with link_gateway(tmp_path) as gateway:
            port = MemoryPort()
            gateway.plug(port)
            before = await log_in(port, 7)
            await before.close()  # power is gone: it says nothing
            again = ChunkPeer(port, DEVICE, TOKEN, 7)
            assert await again.until_ended() == (7, 0)
            await again.close()
            await (await log_in(port, 8)).close()

    run(work())


def test_everything_arrives_once_over_a_bad_link(tmp_path: Path) -> None:
    async def work() -> None:
        async with link_gateway(tmp_path) as gateway:
            seen: list[bytes] = []
            owner = gateway.broker.local_client("owner")
            owner.subscribe(f"devices/{DEVICE}/readings/t", lambda m: seen.append(m.payload))
            port = MemoryPort(faults=Faults(lost=0.1, repeated=0.1, late=0.1, spoiled=0.05))
            gateway.plug(port)
            peer = await log_in(port)
            sent = [b'{"value": %d, "seq": %d}' % (n, n) for n in range(1, 41)]
            for number, payload in enumerate(sent, 1):
                peer.publish(f"devices/{DEVICE}/readings/t", payload, number)
            for _ in sent:
                await peer.expect(PUBACK)
            assert seen == sent
            await peer.close()

    run(work())
