"""What the relay does when a socket has changed behind its back."""

import asyncio
import socket
import time

from cloud.relay.arrivals import Peer
from cloud.relay.beps import Beps, Claim
from cloud.relay.doer import Doer
from cloud.relay.limits import RelayLimits
from protocol.join import tune
from protocol.preface import FrameType, Role, Status, encode_frame

CLAIM = Claim("bep", "node", 60)


def peer(role: Role | None) -> tuple[socket.socket, Peer]:
    far, near = socket.socketpair()
    tune(near)
    return far, Peer(near, role=role)


def test_a_data_connection_that_died_unnoticed_gets_no_visitor() -> None:
    async def scenario() -> None:
        now = time.monotonic()
        beps: Beps[Peer] = Beps(RelayLimits())
        doer = Doer(beps, RelayLimits(), time.monotonic)
        (node, control), (dead, ready) = peer(Role.CONTROL), peer(Role.DATA)
        doer.do(beps.open(control, CLAIM, now))
        doer.do(beps.offer(ready, CLAIM))
        visiting, visitor = peer(None)
        dead.close()  # and a visitor comes before the event loop looks
        doer.do(beps.visit(visitor, "bep", now))
        assert node.recv(10) == bytes([Status.ACCEPTED]) + encode_frame(FrameType.NEED, 1)
        serving, data = peer(Role.DATA)
        doer.do(beps.offer(data, CLAIM))
        visiting.send(b"hello")
        received = b""
        serving.setblocking(False)
        while len(received) < 6:
            received += await asyncio.get_running_loop().sock_recv(serving, 10)
        assert received == bytes([Status.ACCEPTED]) + b"hello"
        doer.do(beps.stop())
        await doer.close()
        for sock in (node, visiting, serving):
            sock.close()

    asyncio.run(scenario())


def test_a_node_that_takes_no_frames_is_dropped() -> None:
    async def scenario() -> None:
        now = time.monotonic()
        beps: Beps[Peer] = Beps(RelayLimits(ping_s=0, pong_s=1e9))
        doer = Doer(beps, RelayLimits(), time.monotonic)
        node, control = peer(Role.CONTROL)
        doer.do(beps.open(control, CLAIM, now))
        for _ in range(1_000_000):
            beps.heard(control)
            doer.do(beps.tick(now))
            if control.sock.fileno() < 0:
                break
        assert control.sock.fileno() < 0
        assert beps.connections == 0
        await doer.close()
        node.close()

    asyncio.run(scenario())
