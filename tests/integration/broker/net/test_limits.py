import asyncio
from collections.abc import Callable

import pytest

from broker import AllowAll, Credentials, Identity, Limits, Listener, Refusal
from tests.integration.broker.conftest import BrokerThread
from tests.integration.broker.net.conftest import Raw, connect_packet, publish_packet
from tests.programs import until

Start = Callable[..., BrokerThread]
Dial = Callable[..., Raw]
FROM = b"PROXY TCP4 203.0.113.%d 10.0.0.1 1 2\r\n"


class Slow(AllowAll):
    """Decides only once it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:
        await self.go.wait()
        return await super().authenticate(credentials)


def test_strangers_are_bounded_and_the_known_do_not_count(start_broker: Start, dial: Dial) -> None:
    slow = Slow()
    broker = start_broker(authenticator=slow, limits=Limits(unauthenticated=3))
    waiting = [dial(broker, first=connect_packet(name)) for name in "ab"]
    silent = dial(broker)
    until(lambda: broker.broker.counters.connections == 3)
    waiting.append(dial(broker, first=connect_packet("c")))
    assert silent.read_to_end() == b""
    assert broker.broker.counters.refused == {"unauthenticated": 1}
    until(lambda: broker.broker.counters.connects_received == 3)
    assert dial(broker).read_to_end() == b""  # all three wait for the authenticator
    assert broker.broker.counters.refused == {"unauthenticated": 2}
    broker.call(slow.go.set)
    for raw in waiting:
        raw.expect_connack()


# case G5, case CL1
@pytest.mark.parametrize("greeting", [b"", b"\x10", b"\x10\xff\x01"])
def test_a_burst_of_the_silent_keeps_nobody_out(
    start_broker: Start, dial: Dial, greeting: bytes
) -> None:
    broker = start_broker(limits=Limits(unauthenticated=5))
    silent = [dial(broker, first=greeting) for _ in range(40)]
    for name in "abc":
        dial(broker, first=connect_packet(name)).expect_connack()
    assert silent[0].read_to_end() == b""
    assert broker.broker.counters.refused == {"unauthenticated": 36}


def test_an_address_that_comes_too_often_is_refused(start_broker: Start, dial: Dial) -> None:
    limits = Limits(connect_burst=3, connects_per_s=0.001)
    broker = start_broker(Listener(port=0, proxies=("127.0.0.1",)), limits=limits)
    for name in "abc":
        raw = dial(broker, first=FROM % 1 + connect_packet(name))
        raw.expect_connack()
        raw.socket.close()
    assert dial(broker, first=FROM % 1 + connect_packet("d")).read_to_end() == b""
    assert broker.broker.counters.refused["connects_per_s"] == 1
    dial(broker, first=FROM % 2 + connect_packet("e")).expect_connack()


def test_half_packets_are_bounded_in_all(start_broker: Start, dial: Dial) -> None:
    broker = start_broker(limits=Limits(incomplete_bytes_total=25_000))
    long, short = dial(broker), dial(broker)
    packet = publish_packet("t", b"x" * 16_000)
    for name, raw in (("long", long), ("short", short)):
        raw.send(connect_packet(name))
        raw.expect_connack()
    long.send(packet[:15_000])
    until(lambda: broker.broker.counters.bytes_received > 15_000)
    short.send(packet[:14_000])
    assert long.read_to_end() == b""
    assert broker.broker.counters.refused == {"incomplete_bytes_total": 1}
    short.send(packet[14_000:] + b"\xc0\x00")
    assert short.read(2) == b"\xd0\x00"
    until(lambda: broker.broker.counters.messages_received == 1)
    # completed packets do not count any more
    for _ in range(3):
        short.send(packet[:14_000])
        short.send(packet[14_000:] + b"\xc0\x00")
        assert short.read(2) == b"\xd0\x00"
    again = dial(broker, first=connect_packet("again") + packet[:15_000])
    again.expect_connack()
    again.send(packet[15_000:] + b"\xc0\x00")
    assert again.read(2) == b"\xd0\x00"


def test_a_connected_client_is_known_by_name(start_broker: Start, dial: Dial) -> None:
    broker = start_broker()

    def is_connected() -> bool:
        return broker.call(lambda: broker.broker.is_connected("a"))

    assert not is_connected()
    first = dial(broker, first=connect_packet("a"))
    first.expect_connack()
    assert is_connected()
    assert not broker.call(lambda: broker.broker.is_connected("b"))
    second = dial(broker, first=connect_packet("a"))  # takes over
    second.expect_connack()
    assert first.read_to_end() == b""
    first.socket.close()
    assert is_connected()
    second.socket.close()
    until(lambda: not is_connected())
    until(lambda: broker.broker.counters.connections == 0)
    assert not broker.broker._hub._named
