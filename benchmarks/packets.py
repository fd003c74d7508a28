"""Encodes MQTT 3.1.1 packets in advance, so that sending costs a slice.

An encoder of its own, not the broker's: a mistake that both ends share would cancel out.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

PUBLISH_QOS_0 = 0x30
PUBLISH_QOS_1 = 0x32
PUBLISH_QOS_2 = 0x34
RETAIN = 0x01
PINGREQ = b"\xc0\x00"
PINGRESP = b"\xd0\x00"
DISCONNECT = b"\xe0\x00"
CONNACK_ACCEPTED = b"\x20\x02\x00\x00"
PUBACK_BYTES = 4
PACKET_IDS = 50_000  # used before they start again from 1

KEEP_ALIVE_S = 300  # the value of the Open MQTT Benchmark Suite
NUMBER_BYTES = 4
READ_BYTES = 128 * 1024  # one read; half of a small L2 cache, so that comparing costs little


@dataclass(frozen=True, slots=True)
class Ring:
    """Numbered publishes, repeated so that a read at any offset can be compared in one go."""

    data: bytes
    starts: tuple[int, ...]  # of each packet of a period, and the period's end
    number_at: int  # these two only where all packets are of one size
    packet_id_at: int

    @property
    def count(self) -> int:
        """Return how many packets there are before it repeats."""
        return len(self.starts) - 1

    @property
    def period_bytes(self) -> int:
        """Return after how many bytes the ring repeats."""
        return self.starts[-1]

    @property
    def packet_bytes(self) -> int:
        """Return the size of the first packet, which is that of all but in mixed rings."""
        return self.starts[1]

    def measure(self, packets: int) -> int:
        """Return how many bytes so many packets are."""
        periods, rest = divmod(packets, self.count)
        return periods * self.period_bytes + self.starts[rest]

    def count_whole(self, sent_bytes: int) -> int:
        """Return how many packets are complete within so many bytes."""
        periods, rest = divmod(sent_bytes, self.period_bytes)
        return periods * self.count + bisect_right(self.starts, rest) - 1

    def column(self, at: int) -> bytes:
        """Return the byte at this offset of every packet."""
        return self.data[at :: self.packet_bytes]


def encode_length(length: int) -> bytes:
    """Return MQTT's variable byte integer."""
    encoded = bytearray()
    while True:
        length, low = divmod(length, 128)
        encoded.append(low | (0x80 if length else 0))
        if not length:
            return bytes(encoded)


def encode_connect(client_id: str, *, clean: bool = True) -> bytes:
    """Return a CONNECT without credentials, of a clean or of a stored session."""
    flags = b"\x02" if clean else b"\x00"
    keep_alive = KEEP_ALIVE_S.to_bytes(2, "big")
    body = b"\x00\x04MQTT\x04" + flags + keep_alive + _encode_text(client_id)
    return b"\x10" + encode_length(len(body)) + body


def encode_subscribe(topic_filter: str, qos: int, *, packet_id: int = 1) -> bytes:
    """Return a SUBSCRIBE with one filter."""
    return encode_subscribes([topic_filter], qos, packet_id=packet_id)


def encode_subscribes(topic_filters: Sequence[str], qos: int, *, packet_id: int) -> bytes:
    """Return a SUBSCRIBE with some filters."""
    requests = b"".join(_encode_text(each) + bytes([qos]) for each in topic_filters)
    body = packet_id.to_bytes(2, "big") + requests
    return b"\x82" + encode_length(len(body)) + body


def encode_suback(qos: int, *, packet_id: int = 1, count: int = 1) -> bytes:
    """Return the SUBACK that grants what so many filters asked for."""
    body = packet_id.to_bytes(2, "big") + bytes([qos]) * count
    return b"\x90" + encode_length(len(body)) + body


def encode_publish(
    topic: str, payload: bytes, *, qos: int, packet_id: int = 1, retain: bool = False
) -> bytes:
    """Return a PUBLISH; the packet id is left out at QoS 0."""
    head = PUBLISH_QOS_0 | qos << 1 | (RETAIN if retain else 0)
    body = _encode_text(topic) + (packet_id.to_bytes(2, "big") if qos else b"") + payload
    return bytes([head]) + encode_length(len(body)) + body


def encode_payload(number: int, payload_bytes: int) -> bytes:
    """Return a payload of this size that starts with a number."""
    return number.to_bytes(NUMBER_BYTES, "big").ljust(payload_bytes, b"x")


def encode_ring(topic: str, payload_bytes: int, *, qos: int, count: int) -> Ring:
    """Return a ring of publishes of one size, numbered from 0, with packet ids from 1."""
    return encode_wide_ring([topic] * count, payload_bytes, qos=qos)


def encode_wide_ring(
    topics: Sequence[str], payload_bytes: int, *, qos: int, retain: bool = False
) -> Ring:
    """Return a ring of publishes with these topics, which must be of one length."""
    packets = [
        encode_publish(
            topic,
            encode_payload(number, payload_bytes),
            qos=qos,
            packet_id=packet_id_of(number),
            retain=retain,
        )
        for number, topic in enumerate(topics)
    ]
    end = len(packets[0])
    return _join_ring(packets, number_at=end - payload_bytes, packet_id_at=end - payload_bytes - 2)


def packet_id_of(number: int) -> int:
    """Return the packet id of a ring's packet."""
    return number % PACKET_IDS + 1


def encode_mixed_ring(topics: Sequence[str], payload_sizes: Sequence[int], count: int) -> Ring:
    """Return a ring of QoS 0 publishes whose topic and size change with every packet."""
    packets = [
        encode_publish(
            topics[number % len(topics)],
            encode_payload(number, payload_sizes[number % len(payload_sizes)]),
            qos=0,
        )
        for number in range(count)
    ]
    return _join_ring(packets, number_at=0, packet_id_at=0)


def _join_ring(packets: Sequence[bytes], *, number_at: int, packet_id_at: int) -> Ring:
    period = b"".join(packets)
    repeats = 1 + -(-READ_BYTES // len(period))
    starts = (0, *accumulate(len(packet) for packet in packets))
    return Ring(period * repeats, starts, number_at, packet_id_at)


def encode_pubacks(publishes: bytes | bytearray, ring: Ring) -> bytearray:
    """Return one PUBACK for each of these whole QoS 1 publishes of the ring's size."""
    count = len(publishes) // ring.packet_bytes
    acks = bytearray(PUBACK_BYTES * count)
    acks[0::4] = b"\x40" * count
    acks[1::4] = b"\x02" * count
    acks[2::4] = publishes[ring.packet_id_at :: ring.packet_bytes]
    acks[3::4] = publishes[ring.packet_id_at + 1 :: ring.packet_bytes]
    return acks


def read_numbers(publishes: bytes | bytearray | memoryview, ring: Ring) -> list[int]:
    """Return the numbers in whole publishes of the ring's size."""
    at, size = ring.number_at, ring.packet_bytes
    return [
        int.from_bytes(publishes[start + at : start + at + NUMBER_BYTES], "big")
        for start in range(0, len(publishes), size)
    ]


def _encode_text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded
