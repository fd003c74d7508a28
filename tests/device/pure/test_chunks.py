"""Chunks and records; runs on CPython and on MicroPython, where the ciphers are the board's own."""

import binascii
import json
import sys

from device import chunks, sealed

with open(__file__.rsplit("/", 3)[0] + "/vectors/chunks.json") as _file:  # noqa: PTH123
    VECTORS = json.load(_file)


def from_hex(text: str) -> bytes:
    return binascii.unhexlify(text)


def test_chunks() -> None:
    for vector in VECTORS["chunks"]:
        octets = chunks.encode_chunk(
            vector["session"], vector["offset"], vector["ack"], from_hex(vector["data"])
        )
        assert octets == from_hex(vector["chunk"])


def test_a_stream_that_loses_a_third_of_all_chunks() -> None:
    one, other = chunks.ChunkStream(1, 60), chunks.ChunkStream(1, 60)
    data = bytes(range(256)) * 8
    assert one.send(data)
    got, number, now = b"", 4, 0
    while not one.is_idle():
        for sender, receiver in ((one, other), (other, one)):
            for chunk in sender.poll(now):
                number = (number * 1103515245 + 12345) & 0x7FFFFFFF
                if (number >> 16) % 3:
                    got += receiver.receive(chunk)
        now += 50
        assert not one.failed
    assert got == data


def test_records() -> None:
    if sys.implementation.name != "micropython":
        return  # the property tests run it there, with the host's ciphers
    v = VECTORS["records"]
    stream = sealed.SealedStream(from_hex(v["nonce"]), v["name"].encode(), from_hex(v["key"]))
    assert stream.hello() == from_hex(v["hello"])
    assert stream.feed(from_hex(v["answer"])) == []
    for message, record in zip(v["messages"], v["records"]):  # noqa: B905  # MicroPython has no strict
        assert stream.encode(from_hex(message)) == from_hex(record)
    replies = stream.feed(b"".join([from_hex(reply) for reply in v["replies"]]))
    assert replies == [from_hex(message) for message in v["messages"]]
    try:
        stream.feed(from_hex(v["replies"][0]))
        raise AssertionError("a record that was sent twice")
    except sealed.ChunkError:
        pass
