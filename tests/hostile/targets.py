"""Defines the targets of the fuzzers: each takes any bytes, and any exception is a bug.

A target lets out the error its contract names, and nothing else.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from broker.access.passwords.hashes import parse_passwords
from broker.access.rights.acl_lines import parse_acl_lines
from broker.access.rights.acl_toml import parse_acl_toml
from broker.journal.errors import JournalError
from broker.journal.record_codec import decode_records
from broker.journal.segments import HEAD, read_segment
from broker.journal.state import JournalState
from broker.net.proxy_protocol import decode_header, measure_header
from broker.net.websocket import WebSocketCodec
from broker.quota.limits import Limits
from broker.standalone.conf.load import load_broker_settings
from broker.standalone.conf.toml_conf import parse_toml
from broker.standalone.errors import ConfError
from broker.wire import decode_packet, encode_packet
from broker.wire.errors import RemoteProtocolError
from broker.wire.packets import MQTT_3_1, MQTT_3_1_1, MQTT_5
from broker.wire.reasons import Reason
from protocol.envelope import decode_envelope
from protocol.errors import ContractError
from protocol.http_body import decode_request, decode_response
from protocol.preface import sniff
from tests.hostile.accounts import check_accounts
from tests.hostile.advertisements import check_advertisements
from tests.hostile.images import check_images
from tests.hostile.links import check_link
from tests.unit.broker.net.frames import handshake
from tests.unit.broker.rig import Peer, Rig

Target = Callable[[bytes], None]
TARGETS: dict[str, Target] = {}

VERSIONS = (MQTT_3_1, MQTT_3_1_1, MQTT_5)
MARKER = b"\x01marker\x02"
FRAME_BYTES = 10_000
LIMITS = Limits(
    in_flight=3, holds=4, queued_messages=5, queued_bytes=4_000, queued_bytes_total=9_000,
    subscriptions=6, subscriptions_bytes=20_000, retained_messages=4, retained_bytes=5_000,
    routes=4, topic_aliases=2, unreleased=3, stored_sessions=3, packet_bytes=2_000,
    connect_bytes=1_000, topic_levels=5, topic_bytes=60, client_id_bytes=20, connections=6,
)  # fmt: skip


def target(function: Target) -> Target:
    TARGETS[function.__name__] = function
    return function


@target
def wire(data: bytes) -> None:
    """One packet of any version; what is read can be written and read again."""
    if not data:
        return
    version = VERSIONS[data[0] % len(VERSIONS)]
    try:
        decoded = decode_packet(data[1:], version, FRAME_BYTES)
    except RemoteProtocolError as exc:
        assert exc.reason >= Reason.UNSPECIFIED_ERROR  # noqa: PT017  # both outcomes are allowed
        return
    if decoded is not None:
        packet, used = decoded
        assert 2 <= used < len(data)
        again = decode_packet(encode_packet(packet, version), version)
        assert again is not None
        assert again[0] == packet


@target
def core(data: bytes) -> None:
    """Several clients at once; a script of (client, what, length) with bytes in between."""
    rig = Rig(LIMITS)
    rig.rules.no_publish.add("secret")
    peers: dict[int, Peer] = {}
    at = 0
    while at + 2 <= len(data):
        who, what, size = data[at] % 4, data[at] >> 4, data[at + 1]
        at += 2
        peer = peers.get(who)
        if peer is None or peer.closed:
            if peer is not None:
                rig.core.lost(peer.client, rig.now)
            peer = peers[who] = rig.dial()
        at = _act(rig, peer, what, data[at : at + size], at)
        check_accounts(rig)
    for peer in peers.values():
        rig.core.lost(peer.client, rig.now)
        rig.settle()
    check_accounts(rig)


def _act(rig: Rig, peer: Peer, what: int, chunk: bytes, at: int) -> int:
    """Do one thing; return where the script goes on."""
    match what:
        case 0:
            rig.core.lost(peer.client, rig.now)
            peer.closed = True
            rig.settle()
        case 1:
            rig.pass_time(float(len(chunk)))
        case 2 if not peer.client.paused:
            rig.core.pause(peer.client)
        case 3 if peer.client.paused:
            rig.core.resume(peer.client, rig.now)
            rig.settle()
        case 4:
            rig.core.admin.disconnect("a", rig.now)
            rig.settle()
        case 5:
            rig.rules.no_subscribe ^= {"a/#"}
            rig.core.admin.rights_changed()
        case _:
            peer.send_bytes(chunk)
            return at + len(chunk)
    return at


@target
def segments(data: bytes) -> None:
    """A damaged segment of the journal: what is found goes into an image."""
    image = JournalState()
    for buffer in (data, HEAD + data):
        for piece in read_segment(buffer, MARKER):
            if isinstance(piece, bytes):
                _apply(image, piece)
    image.settle()


@target
def records(data: bytes) -> None:
    """Records that a checksum let through by chance."""
    image = JournalState()
    _apply(image, data)
    image.settle()


def _apply(image: JournalState, body: bytes) -> None:
    with contextlib.suppress(JournalError):
        for record in decode_records(body):
            image.apply(record, 1)


@target
def websocket(data: bytes) -> None:
    """A handshake of any bytes, or frames of any bytes, in two reads."""
    if not data:
        return
    socket = WebSocketCodec((), FRAME_BYTES)
    if data[0] & 1:
        socket.receive(handshake())
    cut = data[0] >> 1
    received = socket.receive(data[1 : 1 + cut]) + socket.receive(data[1 + cut :])
    assert len(received) <= len(data)
    assert socket.unread_bytes <= len(data) + len(handshake())
    assert bool(socket.refusal) <= socket.done or not data[0] & 1
    socket.encode(b"out")
    socket.close()
    socket.take_output()


@target
def proxy(data: bytes) -> None:
    """Decode the header that a proxy sends first."""
    header = b""
    with contextlib.suppress(RemoteProtocolError):
        while missing := measure_header(header):
            if len(header) + missing > len(data):
                return
            header += data[len(header) : len(header) + missing]
        decode_header(header)


@target
def access_files(data: bytes) -> None:
    """Password file and access lists: rules and problems, whatever the text."""
    text = data.decode("utf-8", "replace")
    for parse in (parse_passwords, parse_acl_lines, parse_acl_toml):
        _, problems = parse(text)
        assert all(str(each) for each in problems)


@target
def configurations(data: bytes) -> None:
    """A mosquitto.conf and a broker.toml."""
    parse_toml(data.decode("utf-8", "replace"), Path("/nowhere"), {})
    with tempfile.NamedTemporaryFile(suffix=".conf") as file:
        file.write(data)
        file.flush()
        with contextlib.suppress(ConfError):
            load_broker_settings(Path(file.name), {})


@target
def contract(data: bytes) -> None:
    """Input over the SEP and to the relay."""
    for decode in (decode_envelope, decode_request, decode_response, sniff):
        with contextlib.suppress(ContractError):
            decode(data)


@target
def images(data: bytes) -> None:
    """Headers of tars, entries of layers, images in JSON."""
    check_images(data)


@target
def advertisements(data: bytes) -> None:
    """Frames of sensors, of strangers and of accepted ones."""
    check_advertisements(data)


@target
def links(data: bytes) -> None:
    """Bytes of a serial line, and chunks of a peer without a key."""
    check_link(data)
