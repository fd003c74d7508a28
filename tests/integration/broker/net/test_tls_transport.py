"""TLS over the broker's own transport: its transport alone, then a whole broker."""

import asyncio
import contextlib
import io
import re
import socket
import ssl
import struct
import subprocess
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from broker import Limits, Listener
from broker.net import tls_handshake
from broker.net import tls_transport as tls_streams
from broker.net.tls_handshake import HandshakeQueue
from broker.net.tls_transport import TlsStream
from broker.net.transport import HAS_EPOLL, Poller
from tests.aio import until as until_async
from tests.integration.broker.access.certificates import Authority
from tests.integration.broker.conftest import BrokerThread
from tests.integration.broker.net.conftest import (
    CONNACK,
    WAIT_S,
    Raw,
    connect_packet,
    publish_packet,
)
from tests.integration.broker.net.test_transport import Owner
from tests.peers import require
from tests.programs import until

pytestmark = pytest.mark.skipif(not HAS_EPOLL, reason="asyncio's transports do it here")

Dial = Callable[..., Raw]
Start = Callable[..., BrokerThread]

MUCH = bytes(range(256)) * 4_096  # 1 MiB: more than a socket pair holds
PINGREQ, PINGRESP = b"\xc0\x00", b"\xd0\x00"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends a reset


class TlsOwner(Owner):
    """Remembers what it was told; pauses after the first read if it shall."""

    is_hasty = True
    refused = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, TlsStream)
        self.tls = transport

    def buffer_updated(self, nbytes: int) -> None:
        super().buffer_updated(nbytes)
        if not self.is_hasty:
            self.tls.pause_reading()

    def refuse(self, reason: str) -> None:
        self.refused = reason
        self.tls.abort()


class Rig:
    """One queue of handshakes, and pairs of an owner and its peer's socket."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
        self.loop = asyncio.get_running_loop()
        self.poller = Poller(self.loop)
        self.handshakes = HandshakeQueue(self.poller, server, WAIT_S)
        self.client = client
        self.errors: list[OSError | None] = []
        self.peers: list[socket.socket] = []
        self.owners: list[TlsOwner] = []

    def enter(self, owner: TlsOwner) -> socket.socket:
        near, peer = socket.socketpair()
        peer.settimeout(WAIT_S)
        self.peers.append(peer)
        self.handshakes.enter(near, lambda: owner, self.errors.append)
        return peer

    async def pair(self) -> tuple[TlsOwner, Raw]:
        owner = TlsOwner()
        peer = self.enter(owner)
        wrapped = await asyncio.to_thread(
            self.client.wrap_socket,
            peer,
            server_hostname="127.0.0.1",
            suppress_ragged_eofs=False,
        )
        self.peers.append(wrapped)
        await until_async(lambda: hasattr(owner, "tls"))
        self.owners.append(owner)
        return owner, Raw(wrapped)


@pytest.fixture
def run(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> Callable[[Callable[[Rig], Awaitable[None]]], None]:
    async def body(test: Callable[[Rig], Awaitable[None]]) -> None:
        rig = Rig(server_tls, client_tls)
        try:
            await test(rig)
        finally:
            rig.handshakes.close()
            for owner in rig.owners:
                owner.tls.abort()
            rig.poller.close()
            for peer in rig.peers:
                peer.close()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    return lambda test: asyncio.run(body(test))


Run = Callable[[Callable[[Rig], Awaitable[None]]], None]


def test_much_goes_both_ways_and_the_end_is_told(run: Run) -> None:
    async def test(rig: Rig) -> None:
        owner, peer = await rig.pair()
        await asyncio.gather(
            asyncio.to_thread(peer.send, MUCH),
            until_async(lambda: len(owner.received) == len(MUCH)),
        )
        assert owner.received == MUCH
        owner.tls.set_write_buffer_limits(high=100_000)
        owner.tls.write(MUCH)
        assert owner.tls.get_write_buffer_size() > 0
        assert owner.writing == ["pause"]
        owner.tls.close()
        owner.tls.write(b"late")
        # a peer that takes no ragged end for one would raise here
        assert await asyncio.to_thread(peer.read_to_end) == MUCH
        await until_async(lambda: owner.ends)
        assert (owner.writing, owner.ends) == (["pause", "resume"], [None])

    run(test)


def test_what_is_decrypted_waits_for_its_owner_in_order(run: Run) -> None:
    async def test(rig: Rig) -> None:
        owner, peer = await rig.pair()
        owner.is_hasty = False
        sent = MUCH[:100_000]
        await asyncio.to_thread(peer.send, sent)
        before = 0
        while before < len(sent):
            await until_async(lambda before=before: len(owner.received) > before)  # type: ignore[misc]  # bound now
            for _ in range(3):
                await asyncio.sleep(0)
            assert len(owner.received) - before <= len(owner.buffer)
            before = len(owner.received)
            owner.tls.resume_reading()
        assert owner.received == sent

    run(test)


def test_others_data_is_not_mixed_with_what_waits(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_streams, "PIECE_BYTES", 1_000)

    async def test(rig: Rig) -> None:
        (slow, slow_peer), (fast, fast_peer) = await rig.pair(), await rig.pair()
        slow.is_hasty = False
        await asyncio.to_thread(slow_peer.send, b"s" * 200_000)
        await until_async(lambda: slow.received)
        await asyncio.to_thread(fast_peer.send, b"f" * 200_000)
        await until_async(lambda: len(fast.received) == 200_000)
        slow.is_hasty = True
        slow.tls.resume_reading()
        await until_async(lambda: len(slow.received) == 200_000)
        assert (set(slow.received), set(fast.received)) == (set(b"s"), set(b"f"))

    run(test)


def test_after_our_end_reading_goes_on(run: Run) -> None:
    async def test(rig: Rig) -> None:
        owner, peer = await rig.pair()
        owner.is_hasty = False
        await asyncio.to_thread(peer.send, b"a" * 20_000)
        await until_async(lambda: owner.received)
        owner.tls.write(b"last")
        owner.tls.write_eof()  # while some is not decrypted yet
        owner.is_hasty = True
        owner.tls.resume_reading()
        assert await asyncio.to_thread(peer.read_to_end) == b"last"
        await asyncio.to_thread(peer.send, b"b" * 20_000)
        await until_async(lambda: len(owner.received) == 40_000)
        assert owner.ends == []
        peer.socket.close()
        await until_async(lambda: owner.ends)

    run(test)


def test_a_peer_that_ends_gets_what_is_written_until_then(run: Run) -> None:
    async def test(rig: Rig) -> None:
        owner, peer = await rig.pair()
        owner.tls.write(b"answer")
        wire = peer.socket
        assert isinstance(wire, ssl.SSLSocket)
        wire.sendall(b"bye")
        wire.setblocking(False)
        with contextlib.suppress(ssl.SSLError):  # it tells its end, and finds data
            wire.unwrap()
        await until_async(lambda: owner.ends)
        assert (owner.received, owner.ends) == (b"bye", [None])

    run(test)


def test_what_is_no_tls_ends_it(run: Run) -> None:
    async def test(rig: Rig) -> None:
        owner, peer = await rig.pair()
        plain = socket.socket(fileno=peer.socket.detach())
        rig.peers.append(plain)
        plain.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        await until_async(lambda: owner.ends)
        assert (owner.received, owner.refused) == (b"", "tls_broken")

    run(test)


def test_nothing_of_openssl_is_kept(run: Run) -> None:
    async def test(rig: Rig) -> None:
        owner, peer = await rig.pair()
        owner.tls.abort()
        await until_async(lambda: owner.ends)
        assert not hasattr(owner.tls, "_tls")
        owner.tls.write(b"late")
        owner.tls.write_eof()
        owner.tls.close()
        owner.tls.resume_reading()
        peer.socket.close()

    run(test)


def test_handshakes_line_up(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_handshake, "TURN_S", 0.0)  # one step a turn

    async def test(rig: Rig) -> None:
        outgoing = ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            rig.client.wrap_bio(
                ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1"
            ).do_handshake()
        hello, peers = outgoing.read(), [rig.enter(TlsOwner()) for _ in range(5)]
        for peer in peers:
            peer.setblocking(False)
            peer.send(hello)
        answered: list[int] = []
        while not answered or answered[-1] < len(peers):
            await asyncio.sleep(0)
            answered.append(sum(_has_answer(peer) for peer in peers))
        assert all(after - before <= 1 for before, after in pairwise(answered))

    run(test)


def test_a_peer_that_asks_for_new_keys_and_reads_nothing_is_cut(
    run: Run, client_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    client_tls.minimum_version = ssl.TLSVersion.TLSv1_3
    client_tls.keylog_filename = str(tmp_path / "keys")

    async def test(rig: Rig) -> None:
        owner, peer = await rig.pair()
        asks = NewKeys(tmp_path / "keys", peer.socket)
        rig.peers.append(asks.wire)
        for _ in range(50):  # a peer that reads may ask as often as it likes
            await asyncio.to_thread(asks.send)
        owner.tls.set_write_buffer_limits(high=len(MUCH) * 2)
        owner.tls.write(MUCH)
        waiting = owner.tls.get_write_buffer_size()
        for _ in range(10_000):
            await asyncio.to_thread(asks.send)
            await asyncio.sleep(0)
            if owner.tls.is_closing():
                break
            assert owner.tls.get_write_buffer_size() <= waiting + tls_streams.OWED_BYTES
        assert owner.tls.is_closing()
        assert owner.refused == "tls_new_keys"
        await until_async(lambda: owner.ends)

    run(test)


class NewKeys:
    """Sends KeyUpdate messages of TLS 1.3 that ask for one (RFC 8446, section 4.6.3)."""

    def __init__(self, keys: Path, peer: socket.socket) -> None:
        found = re.search(r"CLIENT_TRAFFIC_SECRET_0 \S+ (\S+)", keys.read_text())
        assert found
        assert isinstance(peer, ssl.SSLSocket)
        self._secret = bytes.fromhex(found[1])
        self._hash = hashes.SHA384() if len(self._secret) == 48 else hashes.SHA256()
        self.wire = socket.socket(fileno=peer.detach())

    def send(self) -> None:
        message = b"\x18\x00\x00\x01\x01" + b"\x16"
        head = b"\x17\x03\x03" + (len(message) + 16).to_bytes(2, "big")
        key, nonce = self._expand(b"key", 32), self._expand(b"iv", 12)
        sealed = AESGCM(key).encrypt(nonce, message, head)  # the first under this key
        self.wire.sendall(head + sealed)
        self._secret = self._expand(b"traffic upd", len(self._secret))

    def _expand(self, label: bytes, size: int) -> bytes:
        label = b"tls13 " + label
        info = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\x00"
        return HKDFExpand(self._hash, size, info).derive(self._secret)


def _has_answer(peer: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        return bool(peer.recv(1, socket.MSG_PEEK))
    return False


def test_a_closed_queue_of_handshakes_reports_no_fault(run: Run) -> None:
    async def test(rig: Rig) -> None:
        peer = rig.enter(TlsOwner())
        rig.handshakes.close()
        await asyncio.sleep(0)
        assert await asyncio.to_thread(peer.recv, 1) == b""
        assert rig.errors == [None]

    run(test)


# -- a whole broker ----------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_handshake_may_come_byte_by_byte(
    start_broker: Start,
    dial: Dial,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    version: ssl.TLSVersion,
) -> None:
    client_tls.minimum_version = client_tls.maximum_version = version
    broker = start_broker(Listener(port=0, tls=server_tls))
    raw, incoming, outgoing = dial(broker), ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_tls.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")

    def drip() -> None:
        for byte in outgoing.read():
            raw.send(bytes([byte]))

    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            drip()
            incoming.write(raw.socket.recv(65_536))
    tls.write(connect_packet("a") + PINGREQ)
    drip()
    received = b""
    while len(received) < len(CONNACK + PINGRESP):
        try:
            received += tls.read(100)
        except ssl.SSLWantReadError:
            incoming.write(raw.socket.recv(65_536))
    assert received == CONNACK + PINGRESP
    assert tls.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]


@pytest.mark.parametrize("is_rude", [False, True])
def test_a_peer_may_vanish_in_a_handshake(
    start_broker: Start,
    dial: Dial,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    *,
    is_rude: bool,
) -> None:
    limits = Limits(unauthenticated=1, connections=1)
    broker = start_broker(Listener(port=0, tls=server_tls), limits=limits)
    for number in range(1, 4):
        raw = dial(broker, first=b"\x16\x03\x01\x02\x00\x01")
        if is_rude:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        raw.socket.close()
        until(lambda number=number: broker.broker.counters.refused["tls_handshake"] == number)  # type: ignore[misc]  # bound now
    handshakes = broker.broker._acceptors[0]._handshakes
    assert handshakes is not None
    assert not handshakes._deadlines
    last = dial(broker, tls=client_tls)
    last.send(connect_packet("a"))
    last.expect_connack()


def test_handshakes_that_are_late_end_in_their_order(start_broker: Start, dial: Dial) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    limits = Limits(connect_timeout_s=0.2)
    broker = start_broker(Listener(port=0, tls=context), limits=limits)
    silent, half = dial(broker), dial(broker, first=b"\x16\x03\x01\x02\x00\x01")
    assert silent.read_to_end() == half.read_to_end() == b""
    assert dial(broker).read_to_end() == b""  # the timer starts anew
    until(lambda: broker.broker.counters.refused["tls_handshake"] == 3)


def test_a_broker_stops_in_the_middle_of_a_handshake(
    start_broker: Start, dial: Dial, server_tls: ssl.SSLContext
) -> None:
    broker = start_broker(Listener(port=0, tls=server_tls))
    silent, half = dial(broker), dial(broker, first=b"\x16\x03\x01\x02\x00\x01")
    until(lambda: len(broker.broker._acceptors[0]._handshakes._deadlines) == 2)  # type: ignore[union-attr]  # TLS has one
    broker.stop()
    assert silent.read_to_end() == half.read_to_end() == b""
    assert not broker.broker.counters.refused


def test_a_slow_reader_gets_everything(
    start_broker: Start, dial: Dial, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    limits = Limits(output_bytes=16_000_000)  # else some would be dropped
    broker = start_broker(Listener(port=0, tls=server_tls), Listener(port=0), limits=limits)
    reader, writer = dial(broker, tls=client_tls), dial(broker, 1)
    reader.send(connect_packet("r") + b"\x82\x06\x00\x01\x00\x01t\x01")
    reader.expect_connack()
    assert reader.read(5) == b"\x90\x03\x00\x01\x01"
    writer.send(connect_packet("w"))
    writer.expect_connack()
    packets = [publish_packet("t", b"%05d" % number + bytes(15_000)) for number in range(500)]
    writer.send(b"".join(packets))
    until(lambda: broker.broker.unread_bytes > 1_000_000)
    assert reader.read(len(packets) * len(packets[0])) == b"".join(packets)


def test_what_came_before_a_half_close_counts(
    start_broker: Start, dial: Dial, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    broker = start_broker(Listener(port=0, tls=server_tls))
    raw = dial(broker, tls=client_tls)
    raw.send(connect_packet("a"))
    raw.expect_connack()
    raw.send(publish_packet("t", b"x" * 16_000) * 20)
    plain = socket.socket(fileno=socket.dup(raw.socket.fileno()))
    plain.shutdown(socket.SHUT_WR)
    plain.close()
    assert raw.read_to_end() == b""
    until(lambda: broker.broker.counters.connections == 0)
    assert broker.broker.counters.messages_received == 20


def test_without_epoll_the_loop_does_it(
    start_broker: Start,
    dial: Dial,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("broker.server.HAS_EPOLL", False)
    broker = start_broker(Listener(port=0, tls=server_tls), Listener(port=0))
    for raw in dial(broker, tls=client_tls), dial(broker, 1):
        raw.send(connect_packet("a"))
        raw.expect_connack()
    dial(broker, first=connect_packet("plain")).read_to_end()
    until(lambda: broker.broker.counters.refused["tls_handshake"] == 1)


@pytest.mark.parametrize(
    ("version", "command"),
    [("-tls1_3", b"K"), ("-tls1_3", b"k"), ("-tls1_2", b"R")],
    ids=["both keys anew", "their key anew", "renegotiation"],
)
def test_keys_anew(
    start_broker: Start,
    authority: Authority,
    server_tls: ssl.SSLContext,
    version: str,
    command: bytes,
) -> None:
    openssl = require("openssl")
    broker = start_broker(Listener(port=0, tls=server_tls))
    where = f"127.0.0.1:{broker.port}"
    client = subprocess.Popen(
        [openssl, "s_client", "-connect", where, version, "-CAfile", str(authority.file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert client.stdin is not None
    assert isinstance(client.stdout, io.BufferedReader)
    with client:
        try:
            client.stdin.write(connect_packet("a"))
            client.stdin.flush()
            until(lambda: broker.broker.connected() == {"a"})
            client.stdin.write(command + b"\n")
            client.stdin.flush()
            if command == b"R":  # is not allowed, whoever asks
                until(lambda: broker.broker.counters.connections == 0)
                return
            output = b""
            while b"KEYUPDATE" not in output:
                output += client.stdout.read1(65_536)
            client.stdin.write(PINGREQ)
            client.stdin.flush()
            while PINGRESP not in output:
                chunk = client.stdout.read1(65_536)
                assert chunk
                output += chunk
        finally:
            client.kill()
