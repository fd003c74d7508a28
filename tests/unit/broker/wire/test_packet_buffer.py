"""Large packets that are read straight into their place do what all packets do."""

import pytest

from broker.net.hub import READ_BYTES
from broker.quota.limits import Limits
from broker.wire import encode_packet
from broker.wire.packet_buffer import (
    BUFFER_SHARE,
    BUFFERED_REST_BYTES,
    PacketBuffer,
    is_worth_buffering,
)
from broker.wire.packets import Publish
from tests.unit.broker.rig import VERSIONS, Peer, Rig

SIZE = 1_000_000
PAYLOAD = bytes(range(250)) * (SIZE // 250)


def read_to_buffer(peer: Peer, data: bytes) -> bytes:
    """Do what the socket's side does with the packet buffer; return the bytes behind it."""
    packet_buffer = peer.client.packet_buffer
    assert packet_buffer is not None
    size = min(len(packet_buffer.left), len(data))
    packet_buffer.left[:size] = data[:size]
    peer.rig.core.receive_buffered(peer.client, size, peer.rig.now)
    peer.rig.settle()
    return data[size:]


def begin(rig: Rig, version: int, qos: int = 0) -> tuple[Peer, bytes]:
    """Return a client half of whose packet has come, and the other half."""
    peer = rig.online("big", version)
    packet = encode_packet(Publish("t", PAYLOAD, qos, packet_id=7 if qos else None), version)
    half = len(packet) // 2
    peer.send_bytes(packet[:half])
    rig.core.open_buffer(peer.client)
    return peer, packet[half:]


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_packet_in_a_buffer_is_handled_once_it_is_whole(version: int, qos: int) -> None:
    rig = Rig()
    reader = rig.online("reader")
    reader.subscribe("t", qos)
    peer, rest = begin(rig, version, qos)
    rig.now += 30
    assert not read_to_buffer(peer, rest[:1])
    assert not reader.messages()
    assert peer.client.last_heard == rig.now
    assert read_to_buffer(peer, rest[1:] + b"behind") == b"behind"
    assert reader.messages() == [("t", PAYLOAD)]
    assert peer.client.packet_buffer is None
    assert len(peer.take()) == bool(qos)
    peer.publish("t", b"the next")
    assert reader.messages() == [("t", b"the next")]


def test_bytes_are_counted_as_they_come() -> None:
    rig = Rig()
    peer, rest = begin(rig, 4)
    counters = rig.core.counters
    before = counters.bytes_received
    read_to_buffer(peer, rest[:5])
    assert counters.bytes_received == before + 5
    read_to_buffer(peer, rest[5:])
    assert counters.bytes_received == before + len(rest)


def test_a_client_that_is_cut_has_no_buffer() -> None:
    rig = Rig()
    peer, _ = begin(rig, 4)
    rig.online("big")
    assert peer.closed
    assert peer.client.packet_buffer is None
    assert not peer.client.parts


def test_a_buffer_is_bounded_by_what_has_come() -> None:
    need = 10 * BUFFERED_REST_BYTES
    assert is_worth_buffering(need // BUFFER_SHARE, need)
    assert not is_worth_buffering(need // BUFFER_SHARE - 1, need)
    assert not is_worth_buffering(need - BUFFERED_REST_BYTES + 1, need)
    assert need < Limits().incomplete_bytes_total


def test_one_full_read_is_enough_for_a_packet_of_a_mebibyte() -> None:
    packet = encode_packet(Publish("big", bytes(2**20)), 4)
    assert is_worth_buffering(READ_BYTES, len(packet))


def test_a_buffer_gives_its_packet_away_once_nobody_can_write_to_it() -> None:
    packet_buffer = PacketBuffer(6, b"abc")
    place = packet_buffer.left
    place[:2] = b"de"
    assert packet_buffer.fill(2) == b""
    with pytest.raises(ValueError, match="released"):
        place[0] = 0
    last = packet_buffer.left
    last[:] = b"f"
    assert packet_buffer.fill(1) == b"abcdef"
    with pytest.raises(ValueError, match="released"):
        last[0] = 0
