"""A closed connection's memory is freed at once: the collector may not run for days."""

import gc
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker import Limits, Listener
from broker.journal import Journal
from tests.integration.broker.conftest import BrokerThread
from tests.integration.broker.net.conftest import Raw
from tests.programs import until
from tests.unit.broker.net.frames import BINARY, frame, handshake

Dial = Callable[..., Raw]
Start = Callable[..., BrokerThread]

LIMITS = Limits(connect_timeout_s=0.5, close_timeout_s=0.5)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends a reset
DISCONNECT = b"\xe0\x00"
PACKETS = {4: b"", 5: b"\x00"}  # empty properties


def _packet(kind: int, body: bytes) -> bytes:
    size, length = len(body), b""
    while size > 127:
        length += bytes((size & 127 | 128,))
        size >>= 7
    return bytes((kind,)) + length + bytes((size,)) + body


def _text(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def _connect(client_id: str, version: int, *, stays: bool) -> bytes:
    properties = b"\x05\x11\x00\x00\x0e\x10" if stays else b"\x00"
    will = PACKETS[version] + _text(f"will/{client_id}") + _text("gone")
    head = _text("MQTT") + bytes((version, 0x04 | 2 * (not stays))) + b"\x00\x00"
    return _packet(0x10, head + properties * (version == 5) + _text(client_id) + will)


def _subscribe(topic_filter: str, version: int) -> bytes:
    return _packet(0x82, b"\x00\x01" + PACKETS[version] + _text(topic_filter) + b"\x02")


def _publish(topic: str, payload: bytes, qos: int, version: int) -> bytes:
    packet_id = b"\x00\x07" if qos else b""
    return _packet(0x30 | qos << 1, _text(topic) + packet_id + PACKETS[version] + payload)


class Peers:
    """Clients of one listener, each of which ends in another way."""

    def __init__(self, dial: Callable[[], Raw], wrap: Callable[[bytes], bytes]) -> None:
        self._dial = dial
        self._wrap = wrap

    def come(self, client_id: str, version: int, *, stays: bool = False) -> Raw:
        peer = self._dial()
        peer.send(self._wrap(_connect(client_id, version, stays=stays)))
        assert peer.socket.recv(100)
        return peer

    def say(self, peer: Raw, *packets: bytes) -> None:
        peer.send(self._wrap(b"".join(packets)))
        assert peer.socket.recv(1_000)

    def live(self, version: int) -> None:
        """Come, publish to oneself and others, and go in every way there is."""
        large, small = b"x" * 300_000, b"y" * 100
        away = self.come(f"away{version}", version, stays=True)
        self.say(away, _subscribe("t/#", version))
        self._end(away, DISCONNECT)
        both = self.come(f"both{version}", version)
        self.say(both, _subscribe("t/+", version))
        for qos in (0, 1, 2):
            self.say(both, _publish("t/1", small, qos, version))
            self.say(both, _publish("t/2", large, qos, version))
        slow = self.come(f"slow{version}", version)
        self.say(slow, _subscribe("t/+", version))
        for _ in range(20):
            both.send(self._wrap(_publish("t/2", large, 0, version)))
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._end(slow)
        self._end(both, _publish("t/2", large, 1, version)[:200_000])
        first = self.come(f"two{version}", version)
        second = self.come(f"two{version}", version)  # takes over
        self._end(first)
        self._end(second, b"\xff\xff")
        again = self.come(f"away{version}", version, stays=True)
        self._end(again)

    def be_nobody(self) -> None:
        self._end(self._dial(), b"GET / HTTP/1.1\r\n\r\n")
        self._end(self._dial(), _connect("late", 4, stays=False)[:9])

    def _end(self, peer: Raw, last: bytes = b"") -> None:
        if last:
            peer.send(self._wrap(last))
        peer.socket.close()


@pytest.fixture
def collected() -> Iterator[Callable[[], list[object]]]:
    """Turn the collector off; the function returns what it would have had to find."""

    def collect() -> list[object]:
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        gc.set_debug(0)
        return gc.garbage

    gc.collect()
    gc.disable()
    yield collect
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


# case B2
@pytest.mark.parametrize("is_stored", [False, True], ids=["memory", "stored"])
@pytest.mark.parametrize("kind", ["plain", "tls", "websocket"])
def test_a_closed_connection_leaves_nothing_to_the_collector(
    kind: str,
    is_stored: bool,
    start_broker: Start,
    dial: Dial,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    tmp_path: Path,
    collected: Callable[[], list[object]],
) -> None:
    listener = Listener(
        port=0, tls=server_tls if kind == "tls" else None, websocket=kind == "websocket"
    )
    store = Journal(tmp_path / "data", "os") if is_stored else None
    broker = start_broker(listener, limits=LIMITS, store=store)

    def call() -> Raw:
        peer = dial(broker, tls=client_tls if kind == "tls" else None)
        if kind == "websocket":
            peer.send(handshake())
            assert b"101" in peer.socket.recv(1_000)
        return peer

    def wrap(octets: bytes) -> bytes:
        return frame(BINARY, octets) if kind == "websocket" else octets

    peers = Peers(call, wrap)
    core = broker.broker._core

    def are_gone() -> bool:
        return broker.call(
            lambda: not core.admin.connected() and broker.broker.counters.connections == 0
        )

    peers.live(4)  # objects that are made once are made now
    until(are_gone)
    gc.collect()
    for version in (4, 5):
        peers.live(version)
    peers.be_nobody()
    until(are_gone)
    broker.call(lambda: None)  # the turn that closed the last one is over
    found = collected()
    ours = Counter(name for each in found if (name := _name(each)).startswith(("broker.", "bytes")))
    assert not ours


def _name(thing: object) -> str:
    kind = type(thing)
    module = getattr(thing, "__module__", None) if callable(thing) else None
    return f"{module or kind.__module__}.{kind.__qualname__}"
