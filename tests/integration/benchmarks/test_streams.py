"""The readers notice a broker that loses, repeats or changes messages."""

import socket
from collections.abc import Iterator
from threading import Thread

import pytest

from benchmarks.errors import PeerError
from benchmarks.exactly_once import ExactReader, ReleaseCounter
from benchmarks.packets import Ring, encode_mixed_ring, encode_ring
from benchmarks.streams import AckCounter, AckingReader, RingReader, open_client
from benchmarks.transport import BrokerEndpoint

PACKETS = 50
QOS_0 = encode_ring("topic", 64, qos=0, count=PACKETS)
MIXED = encode_mixed_ring(["a", "bc", "def"], [8, 21, 150, 33], count=PACKETS)
QOS_1 = encode_ring("topic", 64, qos=1, count=PACKETS)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        yield near, far


def packets_of(ring: Ring) -> list[bytes]:
    return [
        ring.data[ring.starts[number] : ring.starts[number + 1]] for number in range(ring.count)
    ]


@pytest.mark.parametrize("ring", [QOS_0, MIXED])
@pytest.mark.parametrize("step", [1, 7, 80, 10_000])
def test_exact_stream_is_in_order_however_it_is_cut(
    pair: tuple[socket.socket, socket.socket], ring: Ring, step: int
) -> None:
    near, far = pair
    reader = RingReader(near, ring)
    whole = ring.data[: ring.period_bytes] * 2
    for start in range(0, len(whole), step):
        far.sendall(whole[start : start + step])
        reader.read()
    assert (reader.received, reader.disordered) == (2 * PACKETS, 0)


@pytest.mark.parametrize("ring", [QOS_0, MIXED])
def test_gap_in_a_stream_is_seen_once_and_what_follows_is_compared_again(
    pair: tuple[socket.socket, socket.socket], ring: Ring
) -> None:
    near, far = pair
    reader = RingReader(near, ring)
    packets = packets_of(ring)
    far.sendall(b"".join(packets[:10] + packets[14:20]))
    reader.read()
    assert reader.disordered == 1
    for packet in packets[20:]:
        far.sendall(packet)
        reader.read()
    assert reader.disordered == 1
    far.sendall(packets[-1])  # it came already
    reader.read()
    assert reader.disordered == 2


def test_changed_byte_is_seen(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    reader = RingReader(near, QOS_0)
    changed = bytearray(QOS_0.data[: QOS_0.period_bytes])
    changed[-1] ^= 1
    far.sendall(changed)
    reader.read()
    assert reader.disordered == 1


@pytest.mark.parametrize("step", [3, 85, 10_000])
def test_acknowledging_reader_acknowledges_each_delivery(
    pair: tuple[socket.socket, socket.socket], step: int
) -> None:
    near, far = pair
    reader = AckingReader(near, QOS_1)
    whole = QOS_1.data[: QOS_1.period_bytes]
    for start in range(0, len(whole), step):
        far.sendall(whole[start : start + step])
        reader.read()
    assert (reader.received, reader.disordered) == (PACKETS, 0)
    assert far.recv(10_000) == b"".join(
        b"\x40\x02" + number.to_bytes(2, "big") for number in range(1, PACKETS + 1)
    )


@pytest.mark.parametrize("wrong", ["missing", "twice", "kind"])
def test_acknowledging_reader_sees_what_is_wrong(
    pair: tuple[socket.socket, socket.socket], wrong: str
) -> None:
    near, far = pair
    packets = packets_of(QOS_1)
    faults = {
        "missing": [*packets[:5], packets[6]],
        "twice": [*packets[:5], packets[4]],
        "kind": [*packets[:5], b"\x3a" + packets[5][1:]],  # DUP
    }
    reader = AckingReader(near, QOS_1)
    far.sendall(b"".join(faults[wrong]))
    reader.read()
    assert (reader.received, reader.disordered) == (6, 1)


def test_acknowledgements_are_counted_and_must_be_in_order(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    counter = AckCounter(near, QOS_1)
    far.sendall(b"\x40\x02\x00\x01\x40\x02")
    counter.read()
    far.sendall(b"\x00\x02")
    counter.read()
    assert (counter.received, counter.disordered) == (2, 0)
    far.sendall(b"\x40\x02\x00\x09")
    counter.read()
    assert (counter.received, counter.disordered) == (3, 1)


def test_broker_that_hangs_up_ends_the_run(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    far.close()
    with pytest.raises(PeerError, match="closed a connection"):
        RingReader(near, QOS_0).read()


def test_a_refused_client_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        refuser = Thread(target=refuse_one, args=(server,))
        refuser.start()
        try:
            with pytest.raises(PeerError, match="cannot connect late: broker answered 20020005"):
                open_client(BrokerEndpoint(server.getsockname()[1]), "late")
        finally:
            refuser.join()


def refuse_one(server: socket.socket) -> None:
    client, _ = server.accept()
    with client:
        client.recv(100)
        client.sendall(bytes.fromhex("20020005"))


QOS_2 = encode_ring("topic", 64, qos=2, count=PACKETS)


@pytest.mark.parametrize("step", [3, 85, 10_000])
def test_exact_reader_answers_publish_and_release(
    pair: tuple[socket.socket, socket.socket], step: int
) -> None:
    near, far = pair
    reader = ExactReader(near, QOS_2)
    first, second, *_ = packets_of(QOS_2)
    whole = first + second + b"\x62\x02\x00\x01" + b"\x62\x02\x00\x02"
    for start in range(0, len(whole), step):
        far.sendall(whole[start : start + step])
        reader.read()
    assert (reader.received, reader.released, reader.disordered) == (2, 2, 0)
    assert far.recv(100).hex() == "50020001" + "50020002" + "70020001" + "70020002"


@pytest.mark.parametrize("wrong", ["twice", "qos"])
def test_exact_reader_sees_what_is_wrong(
    pair: tuple[socket.socket, socket.socket], wrong: str
) -> None:
    near, far = pair
    reader = ExactReader(near, QOS_2)
    first, second, *_ = packets_of(QOS_2)
    far.sendall(first + {"twice": first, "qos": b"\x3c" + second[1:]}[wrong])
    reader.read()
    assert (reader.received, reader.disordered) == (2, 1)


def test_releases_follow_their_records_and_must_be_in_order(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    counter = ReleaseCounter(near, QOS_2)
    far.sendall(b"\x50\x02\x00\x01\x50\x02")
    counter.read()
    far.sendall(b"\x00\x02\x70\x02\x00\x01")
    counter.read()
    assert (counter.received, counter.disordered) == (1, 0)
    assert far.recv(100).hex() == "62020001" + "62020002"
    far.sendall(b"\x70\x02\x00\x09" + b"\x40\x02\x00\x03")
    counter.read()
    assert counter.disordered == 2
