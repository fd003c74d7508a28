"""Sockets that change while the relay does not watch them."""

import asyncio
import socket
import time

from cloud.relay.acceptor import AcceptedPeer
from cloud.relay.beps import RelayedBeps, RelayGrant
from cloud.relay.executor import RelayExecutor
from cloud.relay.limits import RelayLimits
from protocol.preface import FrameType, PrefaceRole, PrefaceStatus, encode_frame
from protocol.splice import tune

CLAIM = RelayGrant("bep", "node", 60)


def peer(role: PrefaceRole | None) -> tuple[socket.socket, AcceptedPeer]:
    far, near = socket.socketpair()
    tune(near)
    return far, AcceptedPeer(near, role=role)


def test_a_data_connection_that_died_unnoticed_gets_no_visitor() -> None:
    async def scenario() -> None:
        now = time.monotonic()
        beps: RelayedBeps[AcceptedPeer] = RelayedBeps(RelayLimits())
        executor = RelayExecutor(beps, RelayLimits(), time.monotonic)
        (node, control), (dead, ready) = peer(PrefaceRole.CONTROL), peer(PrefaceRole.DATA)
        executor.do(beps.open(control, CLAIM, now))
        executor.do(beps.offer(ready, CLAIM))
        visiting, visitor = peer(None)
        dead.close()  # and a visitor comes before the event loop looks
        executor.do(beps.visit(visitor, "bep", now))
        assert node.recv(10) == bytes([PrefaceStatus.ACCEPTED]) + encode_frame(FrameType.NEED, 1)
        serving, data = peer(PrefaceRole.DATA)
        executor.do(beps.offer(data, CLAIM))
        visiting.send(b"hello")
        received = b""
        serving.setblocking(False)
        while len(received) < 6:
            received += await asyncio.get_running_loop().sock_recv(serving, 10)
        assert received == bytes([PrefaceStatus.ACCEPTED]) + b"hello"
        executor.do(beps.stop())
        await executor.close()
        for sock in (node, visiting, serving):
            sock.close()

    asyncio.run(scenario())


def test_a_node_that_takes_no_frames_is_dropped() -> None:
    async def scenario() -> None:
        now = time.monotonic()
        beps: RelayedBeps[AcceptedPeer] = RelayedBeps(RelayLimits(ping_s=0, pong_s=1e9))
        executor = RelayExecutor(beps, RelayLimits(), time.monotonic)
        node, control = peer(PrefaceRole.CONTROL)
        executor.do(beps.open(control, CLAIM, now))
        for _ in range(1_000_000):
            beps.pong(control)
            executor.do(beps.tick(now))
            if control.sock.fileno() < 0:
                break
        assert control.sock.fileno() < 0
        assert beps.connections == 0
        await executor.close()
        node.close()

    asyncio.run(scenario())
