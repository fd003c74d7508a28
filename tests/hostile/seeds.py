"""Makes the first inputs of the fuzzers: one of every kind, by our own encoders."""

from broker.journal.record_codec import encode_records
from broker.journal.records import (
    Acknowledged,
    Cleared,
    ClockRead,
    Opened,
    Publisher,
    QueueEntry,
    Record,
    Stored,
    Subscribed,
)
from broker.journal.segments import encode_batch
from broker.net.proxy_protocol import V2_SIGNATURE
from broker.wire import encode_packet
from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    Will,
)
from broker.wire.property_values import NO_PROPERTIES, Properties
from protocol.envelope import Envelope, EnvelopeKind, encode_envelope
from protocol.http_body import HttpRequest, HttpResponse, encode_request, encode_response
from protocol.preface import Preface, PrefaceRole, encode_preface
from tests.hostile.advertisements import advertisement_seeds
from tests.hostile.images import image_seeds
from tests.hostile.links import link_seeds
from tests.hostile.targets import MARKER, VERSIONS
from tests.unit.broker.net.frames import BINARY, CLOSE, MORE, PING, frame, handshake

LOSE, WAIT, PAUSE, RESUME, CUT, RIGHTS, SEND = range(7)  # as targets.core reads them

MESSAGE = Properties(
    payload_format=True, message_expiry_s=9, content_type="t", response_topic="r",
    correlation_data=b"c", user_properties=(("k", "v"),),
)  # fmt: skip
WILL = Will("a/will", b"gone", 1, retain=True, properties=Properties(will_delay_s=3))
KEPT = Properties(session_expiry_s=50, receive_maximum=2, topic_alias_maximum=2)

PACKETS: tuple[Packet, ...] = (
    Connect("a", MQTT_5, will=WILL, username="u", password=b"p", properties=KEPT),
    ConnAck(0, True),
    Publish("a/b", b"x" * 20, properties=MESSAGE),
    Publish("", b"x", 2, packet_id=3, properties=Properties(topic_alias=1)),
    PubAck(1), PubRec(2), PubRel(3), PubComp(4),
    Subscribe(5, (Subscription("a/+/#", 2, True, True, 1), Subscription("$share/g/a"))),
    SubAck(5, (0, 1)), Unsubscribe(6, ("a", "b")), UnsubAck(6, (0, 17)),
    PingReq(), Disconnect(properties=Properties(session_expiry_s=0)), Auth(),
)  # fmt: skip


def _step(who: int, what: int, chunk: bytes = b"") -> bytes:
    return bytes((what << 4 | who, len(chunk))) + chunk


def _life(version: int) -> bytes:
    """Return a script in which two clients use most of what there is."""
    five = version == MQTT_5

    def send(who: int, *packets: Packet) -> bytes:
        return _step(who, SEND, b"".join(encode_packet(each, version) for each in packets))

    kept = KEPT if five else NO_PROPERTIES
    one = Connect("a", version, clean_start=False, will=WILL if five else None, properties=kept)
    shared = Subscription("$share/g/a/+", 1)
    filters = Subscribe(1, (Subscription("a/#", 2), Subscription("a/+", 1), shared))
    messages = [Publish("a/b", b"x", qos, packet_id=qos or None) for qos in (0, 1, 2)]
    heavy = Publish("a/c", b"y" * 90, 1, retain=True, packet_id=4)
    aliased = Publish("a/d", b"z", properties=Properties(topic_alias=1)) if five else PingReq()
    return b"".join((
        send(0, one), send(0, filters), send(1, Connect("b", version)),
        send(1, *messages, PubRel(2)), send(0, PubAck(1), PubRec(2), PubComp(2)),
        send(1, heavy, heavy), _step(0, PAUSE), send(1, aliased, *messages), _step(0, RESUME),
        _step(0, LOSE), send(1, heavy, *messages), _step(0, WAIT, b"22222"), send(0, one),
        send(2, Connect("a", version), Subscribe(1, (Subscription("#"),))), _step(3, RIGHTS),
        _step(0, CUT), _step(1, WAIT, b"9" * 99), send(1, Unsubscribe(2, ("a",)), Disconnect()),
    ))  # fmt: skip


_RECORDS: list[Record] = [
    Opened(1, "c", "owner", ("g",), 5, 60.0),
    Subscribed(1, Subscription("a/#", 1)),
    Stored(7, "a/b", b"x", entries=(QueueEntry(1, 1),), is_retained=True, publisher=Publisher("c")),
    ClockRead(1e9, 1e9, 5.0, "boot"),
    Acknowledged(1, (7,)),
    Cleared("a/b"),
]
_BATCHES = b"".join(
    encode_batch(MARKER, serial, serial, [encode_records([each])])
    for serial, each in enumerate(_RECORDS)
)

SEEDS: dict[str, list[bytes]] = {
    "advertisements": advertisement_seeds(),
    "images": image_seeds(),
    "links": link_seeds(),
    "wire": [
        *(bytes((VERSIONS.index(MQTT_5),)) + encode_packet(each, MQTT_5) for each in PACKETS),
        bytes((VERSIONS.index(MQTT_3_1_1),)) + encode_packet(Connect("a"), MQTT_3_1_1),
    ],
    "core": [_life(MQTT_3_1_1), _life(MQTT_5)],
    "segments": [_BATCHES],
    "records": [encode_records([each]) for each in _RECORDS],
    "websocket": [
        b"\x00" + handshake(),
        b"\x01" + frame(BINARY, b"\xc0", first=0) + frame(PING, b"p") + frame(MORE, b"\x00"),
        b"\x21" + frame(BINARY, bytes(200)) + frame(CLOSE, b"\x03\xe8"),
    ],
    "proxy": [
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
        b"PROXY TCP6 ::1 ::2 1 2\r\n",
        V2_SIGNATURE + b"\x21\x11\x00\x0c" + bytes(12),
        V2_SIGNATURE + b"\x21\x21\x00\x24" + bytes(36),
    ],
    "access_files": [
        b"anna:$7$101$" + b"A" * 16 + b"$" + b"A" * 86 + b"==\n",
        b"ben:$scrypt$ln=10,r=8,p=1$" + b"A" * 22 + b"$" + b"A" * 43 + b"\n",
        b"topic read a/#\nuser anna\ntopic deny b\npattern write %u/%c/#\n",
        b'[groups]\ng = ["a"]\n[[rule]]\nusers = ["a"]\nread = ["x/%u/#"]\ndeny = ["+"]\n',
    ],
    "configurations": [
        b"listener 1883 127.0.0.1\nallow_anonymous true\nacl_file x\nmax_queued_messages 5\n",
        b"per_listener_settings true\nport 1\nsocket_domain ipv6\nlog_type all\ncertfile y\n",
        b'[[listener]]\naddress = "[::1]:0"\ncertificate = "a"\nkey = "b"\n[limits]\nholds = 3\n',
        b'[access]\nanonymous = "loopback"\nallow_everything = true\n[access.tokens]\nkeys = "k"\n',
    ],
    "contract": [
        encode_envelope(Envelope(EnvelopeKind.REQUEST, b"id", "to", "from", 1.0, b"body", b"key")),
        encode_request(HttpRequest("GET", "/x", (("a", "b"),), b"body")),
        encode_response(HttpResponse(200, (("a", "b"),), b"body")),
        encode_preface(Preface(PrefaceRole.DATA, "token")),
        b"GET /AAAAAAAAAAAAAAAAAAAAAA/ HTTP/1.1\r\n",
    ],
}
