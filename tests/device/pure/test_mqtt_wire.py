"""The device's MQTT codec; runs on CPython and on MicroPython.

The bytes are written out from the tables of the MQTT 3.1.1 standard.
"""

from device import connect_wire
from device import mqtt_wire as wire
from device.errors import WireError
from tests.device.raising import raised

LIMIT = 64


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


PACKETS = (  # bytes, what they mean
    ("20 02 00 00", (2, False, 0)),
    ("20 02 01 00", (2, True, 0)),
    ("20 02 00 05", (2, False, 5)),
    ("30 05 0003 612f62", (3, "a/b", b"", 0, False, False)),
    ("31 06 0003 612f62 78", (3, "a/b", b"x", 0, True, False)),
    ("32 07 0003 612f62 0102", (3, "a/b", b"", 258, False, False)),
    ("3a 08 0003 612f62 0001 78", (3, "a/b", b"x", 1, False, True)),
    ("40 02 ffff", (4, 65535)),
    ("90 03 0001 01", (9, 1, 1)),
    ("90 04 0001 80 00", (9, 1, 0x80)),
    ("d0 00", (13,)),
)

MALFORMED = (
    "21 02 00 00",  # reserved flags set
    "20 01 00",
    "20 02 02 00",  # reserved acknowledge flags
    "40 02 0000",  # packet id 0
    "42 02 0001",
    "90 02 0001",  # no code
    "d0 01 00",
    "30 01 00",
    "30 02 0001",  # topic reaches beyond the packet
    "30 03 0001 ff",  # not UTF-8
    "32 03 0001 61",  # no packet id
    "32 05 0001 61 0000",
    "34 05 0001 61 0001",  # QoS 2
    "36 05 0001 61 0001",  # QoS 3
    "10 00",  # from a client only
    "30 ff ff ff ff 7f",  # length of five bytes
    "d0 ff 01",  # too large and not a PUBLISH
    "30 ff 01 00ff",  # too large, and its topic too
)


def packets_of(data: bytes, portion: int, limit: int = LIMIT) -> list[object]:
    """Return what a decoder makes of data that comes in portions."""
    decoder = wire.Decoder(limit)
    packets = []
    for start in range(0, len(data), portion):
        decoder.feed(data[start : start + portion])
        while True:
            packet = decoder.take_packet()
            if packet is None:
                break
            packets.append(packet)
    return packets


def test_decodes_every_packet() -> None:
    for text, packet in PACKETS:
        found = packets_of(unhex(text), 1000)
        assert found == [packet], (text, found)


def test_any_portions_give_the_same_packets() -> None:
    oversized = "32 d0 01 0001 61 0005" + "00" * 203
    stream = unhex("".join(text for text, _ in PACKETS[:6]) + oversized + PACKETS[7][0])
    whole = packets_of(stream, len(stream))
    assert len(whole) == 8
    for portion in range(1, 40):
        assert packets_of(stream, portion) == whole, portion


def test_malformed_packets_are_wire_errors() -> None:
    for text in MALFORMED:
        assert raised(WireError, packets_of, unhex(text), 1000), text
        assert raised(WireError, packets_of, unhex(text), 1), text


def test_a_packet_at_the_limit_is_whole_and_one_above_has_no_payload() -> None:
    for size, payload in ((LIMIT, b"x" * (LIMIT - 5)), (LIMIT + 1, None)):
        data = bytes((0x32, size)) + b"\x00\x01a\x00\x05" + b"x" * (size - 5)
        assert packets_of(data, 7) == [(3, "a", payload, 5, False, False)]


def test_a_packet_larger_than_the_small_buffer_gets_one_of_its_own() -> None:
    size = 5 + 1500
    large = bytes((0x32, size & 127 | 128, size >> 7)) + b"\x00\x01a\x00\x05" + b"x" * 1500
    topic = bytes((0x30, 2 + 700 & 127 | 128, 702 >> 7)) + b"\x02\xbc" + b"t" * 700
    expected = [
        (3, "a", b"x" * 1500, 5, False, False),
        (13,),
        (3, "t" * 700, b"", 0, False, False),
    ]
    for portion in (1, 7, 256, 5000):
        assert packets_of(large + b"\xd0\x00" + topic, portion, 4096) == expected


def test_length_of_one_to_four_bytes() -> None:
    # the edges of MQTT 3.1.1 table 2.4
    for length, text in (
        (0, "00"),
        (127, "7f"),
        (128, "80 01"),
        (16383, "ff 7f"),
        (16384, "80 80 01"),
        (2097151, "ff ff 7f"),
        (2097152, "80 80 80 01"),
        (268435455, "ff ff ff 7f"),
    ):
        if length:  # more than the limit, so the error tells what was read
            message = raised(WireError, packets_of, unhex("d0" + text), 1)
            assert message == "cannot read packet: %d bytes are too many" % length  # noqa: UP031
        else:
            assert packets_of(unhex("d0" + text), 1) == [(13,)]


def test_encodes_connect() -> None:
    plain = connect_wire.encode_connect("me", None, 30, True, None)
    assert plain == unhex("10 0e 0004 4d515454 04 02 001e 0002 6d65")
    full = connect_wire.encode_connect("me", ("u", "pä"), 256, False, ("t", b"off"))
    assert full == unhex("10 1e 0004 4d515454 04 ec 0100 0002 6d65 0001 74 0003 6f6666") + unhex(
        "0001 75 0003 70c3a4"
    )


def encoded(*message: object, room: int = 300) -> tuple[bytes, object]:
    """Return a PUBLISH as it is written into a buffer, and the payload that found no room."""
    buffer = bytearray(room)
    end, left = wire.encode_publish(memoryview(buffer), *message)
    return bytes(buffer[:end]), left


def test_encodes_publish() -> None:
    assert encoded("a/b", b"x") == (unhex("30 06 0003 612f62 78"), None)
    assert encoded("a", b"", 258, True) == (unhex("33 05 0001 61 0102"), None)
    assert encoded("a", b"x", 1, False, True) == (unhex("3a 06 0001 61 0001 78"), None)
    assert raised(ValueError, encoded, "a", b"", 0, False, True)
    long, left = encoded("a", bytes(200))
    assert long[:3] == unhex("30 cb 01")
    assert len(long) == 206
    assert left is None
    assert encoded("a", bytes(200), 7, room=64) == (unhex("32 cd 01 0001 61 0007"), bytes(200))


def test_encodes_the_rest() -> None:
    assert wire.encode_puback(513) == unhex("40 02 0201")
    assert connect_wire.encode_subscribe(1, "a/+") == unhex("82 08 0001 0003 612f2b 01")
