import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from tests.aio import until
from tests.chunk_peer import CONNACK, PUBACK, PUBLISH, SUBACK, ChunkPeer, MemoryPort, packet, text
from tests.link_gateway import DEVICE, TOKEN, link_gateway
from tests.programs import PATIENCE


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 20 * PATIENCE))


def connect_stored(peer: ChunkPeer) -> None:
    """Send CONNECT with a stored session and a will, as devices do."""
    head = text("MQTT") + b"\x04\xe4\x00\x3c"  # user, password, will with retain, QoS 0
    will = text(f"devices/{DEVICE}/status") + text("offline")
    login = text(DEVICE) + text(TOKEN.decode())
    peer.send(packet(0x10, head + text(DEVICE) + will + login))


def test_a_parked_device_is_not_said_to_be_offline_and_its_commands_wait(tmp_path: Path) -> None:
    async def work() -> None:
        async with link_gateway(tmp_path) as gateway:
            proved: list[str] = []
            port = MemoryPort("ble:A")
            task = asyncio.create_task(gateway.links.serve(port, proved.append))
            seen: list[bytes] = []
            owner = gateway.broker.local_client("owner")
            owner.subscribe(f"devices/{DEVICE}/status", lambda m: seen.append(m.payload))
            peer = ChunkPeer(port, DEVICE, TOKEN)
            connect_stored(peer)
            await peer.expect(CONNACK)
            assert proved == [DEVICE]
            peer.subscribe(f"devices/{DEVICE}/commands/+")
            await peer.expect(SUBACK)
            peer.publish(f"devices/{DEVICE}/status", b"online", 1)
            await peer.expect(PUBACK)
            assert await gateway.links.park("ble:A")
            await task
            await until(lambda: not gateway.broker.is_connected(DEVICE))
            owner.publish(f"devices/{DEVICE}/commands/light", b'{"id": "1"}', qos=1)
            queue = gateway.broker.queue(DEVICE)
            assert queue is not None
            assert queue.waiting + queue.in_flight == 1
            assert seen == [b"online"], "the will of a parked device was published"
            await peer.close()
            again = MemoryPort("ble:A")
            gateway.plug(again)
            peer = ChunkPeer(again, DEVICE, TOKEN, 2)
            connect_stored(peer)
            assert (await peer.expect(PUBLISH)).endswith(b'{"id": "1"}')
            await peer.close()

    run(work())


def test_a_device_in_the_middle_of_a_packet_is_cut_and_says_so_itself(tmp_path: Path) -> None:
    async def work() -> None:
        async with link_gateway(tmp_path) as gateway:
            port = MemoryPort("ble:A")
            task = gateway.plug(port)
            peer = ChunkPeer(port, DEVICE, TOKEN)
            connect_stored(peer)
            await peer.expect(CONNACK)
            seen: list[bytes] = []
            owner = gateway.broker.local_client("owner")
            owner.subscribe(f"devices/{DEVICE}/status", lambda m: seen.append(m.payload))
            peer.send(b"\x32\x40" + bytes(10))  # 64 bytes were promised
            await asyncio.sleep(0.1)
            assert not await gateway.links.park("ble:A")
            await task
            await until(lambda: seen == [b"offline"])
            await peer.close()

    run(work())
