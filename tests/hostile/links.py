"""Takes any bytes as input of a serial line, and as chunks of a peer without a key."""

from gateway.links.keys import LinkKey
from gateway.links.session import ChunkSession
from protocol.chunks.records import SecureStream
from protocol.chunks.stream import WINDOW_BYTES, ReliableStream
from protocol.chunks.wire import (
    MAX_CHUNK,
    Chunk,
    CobsDecoder,
    decode_chunk,
    decode_end,
    encode_cobs,
)

NUMBER, KEY = 7, b"k" * 32


def check_link(data: bytes) -> None:
    """Feed the decoder of a line and a session; nothing that has no key proves anything."""
    decoder = CobsDecoder()
    for octets in (data, encode_cobs(data[:MAX_CHUNK])):
        for found in decoder.feed(octets):
            chunk = decode_chunk(found)
            if chunk is not None:
                decode_end(chunk)
    session = ChunkSession(NUMBER, 60, b"g" * 16, lambda _: LinkKey("dev-1", KEY), 0.0)
    now, at = 0.0, 0
    while at + 5 <= len(data):
        size, offset = data[at], int.from_bytes(data[at + 1 : at + 3])
        body = data[at + 5 : at + 5 + size]
        chunk = Chunk(NUMBER, offset, int.from_bytes(data[at + 3 : at + 5]), body)
        assert session.receive(chunk.encode()) == b""
        session.poll(now)
        now, at = now + 0.2, at + 5 + size
    assert session.proved == ""
    assert sum(map(len, session._stream._early.values())) <= WINDOW_BYTES


def link_seeds() -> list[bytes]:
    """Return a hello with a bad record, in order and mixed up, and a framed chunk."""
    device = SecureStream(b"d" * 16, name=b"dev-1", key=b"other key")
    hello, stream = device.hello(), ReliableStream(NUMBER, 60)
    stream.send(hello + b"\x00\x05" + b"guess" + bytes(8))
    pieces = []
    for octets in stream.poll(0.0):
        chunk = decode_chunk(octets)
        assert chunk is not None
        head = bytes((len(chunk.data),)) + chunk.offset.to_bytes(2) + chunk.ack.to_bytes(2)
        pieces.append(head + chunk.data)
    return [
        b"".join(pieces),
        b"".join(reversed(pieces)),
        encode_cobs(Chunk(7, 0, 0, hello).encode()),
    ]
