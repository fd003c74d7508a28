"""A broker core with clients in memory: no socket, no loop, a clock turned by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from broker.core import Core
from broker.policy import AuthExchange, Credentials, Identity, OverflowRule, Refusal, Step
from broker.quota.limits import Limits
from broker.wire import decode_packet, encode_packet
from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
    ConnAck,
    Connect,
    Packet,
    Publish,
    SubAck,
    Subscribe,
    Subscription,
    Will,
)
from broker.wire.property_values import NO_PROPERTIES, Properties

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from broker.sessions.client import Client


T = TypeVar("T")


class Rules:
    """An Authorizer with lists of what is forbidden."""

    def __init__(self) -> None:
        self.no_publish: set[str] = set()
        self.no_subscribe: set[str] = set()
        self.asked = 0

    def may_publish(self, identity: Identity, topic: str) -> bool:  # noqa: ARG002
        self.asked += 1
        return topic not in self.no_publish

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:  # noqa: ARG002
        return topic_filter not in self.no_subscribe


class Rig:
    """Owns the core, the time and the decisions."""

    def __init__(self, limits: Limits | None = None, *, hot_path: bool = True) -> None:
        self.now = 1000.0
        self.rules = Rules()
        self.refusal: Refusal | None = None
        self.decides = True
        self.limits = limits or Limits()
        self.core = Core(self.rules, self.limits, lambda: None, hot_path=hot_path)
        self.asked: list[tuple[Peer, Credentials]] = []
        self.steps: list[tuple[Peer, bytes | None]] = []
        self.written: list[Peer] = []  # the peers that were written to, in order
        self.begin: Callable[[str, Credentials], AuthExchange | None] = lambda _method, _who: None
        self.expires_at: float | None = None
        self.overflow: OverflowRule | None = None  # of clients that connect from now on
        self.groups: frozenset[str] = frozenset()  # likewise

    def dial(self, listener: str = "tcp") -> Peer:
        return Peer(self, listener)

    def connect(self, client_id: str, version: int = MQTT_3_1_1, **options: object) -> Peer:
        peer = self.dial()
        name = options.pop("name", None)
        connect = Connect(client_id, version, username=name, **options)  # type: ignore[arg-type]  # test shorthand
        peer.send(connect)
        return peer

    def online(self, client_id: str, version: int = MQTT_3_1_1, **options: object) -> Peer:
        peer = self.connect(client_id, version, **options)
        answer, *peer.kept = peer.take()
        assert isinstance(answer, ConnAck)
        assert answer.code == 0
        return peer

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.core.tick(self.now)
        self.settle()

    def settle(self) -> None:
        """Let everything happen that no packet causes."""
        while True:
            if self.decides:
                asked, self.asked = self.asked, []
                for peer, credentials in asked:
                    peer.decide(credentials)
                steps, self.steps = self.steps, []
                for peer, data in steps:
                    peer.step(data)
            if not self.core.has_output and not ((self.asked or self.steps) and self.decides):
                return
            self.core.write_all(self.now)


class Peer:
    """A client at the other end of a wire that never loses a byte."""

    def __init__(self, rig: Rig, listener: str) -> None:
        self.rig = rig
        self.version = MQTT_3_1_1
        self.received = b""
        self.kept: list[Packet] = []
        self.writes: list[bytes] = []
        self.closed = False
        self.aborted = False
        self.reads = True
        self.exchange: AuthExchange | None = None
        client = rig.core.open(self, listener, "10.0.0.1", rig.now)
        assert client is not None
        self.client: Client = client

    # -- the broker's side of the wire

    def write(self, output: bytes) -> None:
        assert not self.closed
        self.writes.append(output)
        self.rig.written.append(self)
        self.received += output

    def set_reading(self, *, wanted: bool) -> None:
        self.reads = wanted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def authenticate(self, credentials: Credentials) -> None:
        self.rig.asked.append((self, credentials))

    def begin(self, method: str, credentials: Credentials, data: bytes | None) -> None:
        self.exchange = self.rig.begin(method, credentials)
        self.proceed(data)

    def proceed(self, data: bytes | None) -> None:
        self.rig.steps.append((self, data))

    def step(self, data: bytes | None) -> None:
        outcome: Step = Refusal.BAD_AUTHENTICATION_METHOD
        if self.exchange is not None:
            outcome = run(self.exchange.step(data))
        self.rig.core.decide(self.client, outcome, self.rig.now)

    def admitted(self) -> None:
        assert self.client.session is not None

    def decide(self, credentials: Credentials) -> None:
        outcome = self.rig.refusal or Identity(
            credentials.username or credentials.client_id,
            credentials.client_id,
            self.rig.groups,
            expires_at=self.rig.expires_at,
            overflow=self.rig.overflow,
        )
        self.rig.core.decide(self.client, outcome, self.rig.now)

    # -- the client's side

    def send(self, *packets: Packet) -> None:
        for packet in packets:
            if isinstance(packet, Connect):
                self.version = packet.version
        self.send_bytes(b"".join(encode_packet(each, self.version) for each in packets))

    def send_bytes(self, data: bytes) -> None:
        self.rig.core.receive(self.client, data, self.rig.now)
        self.rig.settle()

    def take(self) -> list[Packet]:
        """Return, once, the packets that arrived."""
        kept, self.kept = self.kept, []
        return [*kept, *self._decode()]

    def messages(self) -> list[tuple[str, bytes]]:
        """Return, once, topic and payload of what arrived; acknowledge nothing."""
        return [(each.topic, each.payload) for each in self.take() if isinstance(each, Publish)]

    def subscribe(self, topic_filter: str, qos: int = 0, **options: object) -> list[Packet]:
        """Subscribe; return what came behind the SUBACK."""
        identifiers = options.get("identifiers", ())
        properties = (
            Properties(subscription_identifiers=identifiers)  # type: ignore[arg-type]  # test shorthand
            if identifiers
            else NO_PROPERTIES
        )
        subscription = Subscription(topic_filter, qos, **options)  # type: ignore[arg-type]  # test shorthand
        self.send(Subscribe(1, (subscription,), properties))
        answer, *rest = self.take()
        assert isinstance(answer, SubAck)
        assert answer.codes[0] < 3, answer
        return rest

    def publish(self, topic: str, payload: bytes = b"x", **options: object) -> None:
        if options.get("qos"):
            options.setdefault("packet_id", 1)
        self.send(Publish(topic, payload, **options))  # type: ignore[arg-type]  # test shorthand

    def hang_up(self) -> None:
        """Lose the connection without a word."""
        self.rig.core.lost(self.client, self.rig.now)
        self.closed = True
        self.rig.settle()

    def _decode(self) -> Iterator[Packet]:
        while decoded := decode_packet(self.received, self.version):
            packet, used = decoded
            self.received = self.received[used:]
            yield packet
        assert not self.received


def will(payload: bytes = b"gone", delay_s: int | None = None, **options: object) -> Will:
    properties = Properties(will_delay_s=delay_s) if delay_s is not None else NO_PROPERTIES
    return Will("will", payload, properties=properties, **options)  # type: ignore[arg-type]  # test shorthand


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what never waits."""
    try:
        coroutine.send(None)
    except StopIteration as exc:
        result: T = exc.value
        return result
    raise AssertionError("it waits")


VERSIONS = (MQTT_3_1_1, MQTT_5)
