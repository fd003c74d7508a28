import asyncio
import socket
from unittest.mock import patch

from gateway.services.proxy import idle_connections
from gateway.services.proxy.idle_connections import ALL, EACH, IdleConnections


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return ours, theirs


def test_a_connection_is_given_once_and_for_its_own_server_alone() -> None:
    async def run() -> None:
        idle, (ours, theirs) = IdleConnections[str](), pair()
        idle.keep("one", ours)
        assert idle.take("two") is None
        assert idle.take("one") is ours
        assert idle.take("one") is None
        ours.close()
        theirs.close()
        idle.close()

    asyncio.run(run())


def test_one_that_is_closed_or_says_more_than_its_answer_is_not_given() -> None:
    async def run() -> None:
        idle = IdleConnections[str]()
        (closed, far), (talking, other) = pair(), pair()
        idle.keep("one", closed)
        idle.keep("one", talking)
        far.close()
        other.send(b"HTTP/1.1 200 OK\r\n")
        assert idle.take("one") is None
        assert (closed.fileno(), talking.fileno(), len(idle)) == (-1, -1, 0)
        other.close()
        idle.close()

    asyncio.run(run())


def test_a_burst_keeps_no_more_than_the_bounds() -> None:
    async def run() -> None:
        idle = IdleConnections[int]()
        pairs = [pair() for _ in range(4 * ALL)]
        for number, (ours, _) in enumerate(pairs[: 2 * ALL]):
            idle.keep(number % 3, ours)
            assert len(idle) <= 3 * EACH
        assert len(idle) == 3 * EACH
        for number, (ours, _) in enumerate(pairs[2 * ALL :]):
            idle.keep(100 + number, ours)
        assert len(idle) == ALL
        idle.close()
        assert all(ours.fileno() == -1 for ours, _ in pairs)
        for _, theirs in pairs:
            theirs.close()

    asyncio.run(run())


def test_none_stays_idle_for_longer_than_the_limit() -> None:
    async def run() -> None:
        with patch.object(idle_connections, "IDLE_S", 0.01):
            idle, (ours, theirs) = IdleConnections[str](), pair()
            idle.keep("one", ours)
            theirs.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(theirs, 1) == b""  # it is closed
            assert len(idle) == 0
            theirs.close()

    asyncio.run(run())
