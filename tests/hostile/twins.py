"""Sends the same packets to two brokers and compares the output of their clients."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from typing import Self

from broker.wire import decode_packet, encode_packet
from broker.wire.packets import (
    MQTT_5,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
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
from broker.wire.reasons import Reason

WAIT_S = 10.0
QUIET_ROUNDS = 2  # of pings in which nobody got anything
BAD_TOPIC = b"\x30\x03\x00\x01#"  # closes a connection for cause
KEPT_S = 1_000

Got = tuple[str, bytes, int, bool]  # topic, payload, QoS, RETAIN


@dataclass(frozen=True)
class Join:
    """Connect, whatever was before."""

    who: int
    clean: bool
    with_will: bool = False


@dataclass(frozen=True)
class Leave:
    """Disconnect; for cause: so that the will is published."""

    who: int
    for_cause: bool = False


@dataclass(frozen=True)
class Listen:
    """Subscribe."""

    who: int
    subscription: Subscription


@dataclass(frozen=True)
class Forget:
    """Unsubscribe."""

    who: int
    topic_filter: str


@dataclass(frozen=True)
class Say:
    """Publish."""

    who: int
    topic: str
    payload: bytes
    qos: int
    retain: bool


Step = Join | Leave | Listen | Forget | Say


class Peer:
    """One client of one broker, which answers what the standard wants answered."""

    def __init__(self, port: int, connect: Connect) -> None:
        self.version = connect.version
        self._socket = socket.create_connection(("127.0.0.1", port), WAIT_S)
        self._buffer = b""
        self.got: list[Got] = []
        self.is_closed = False
        self.send(connect)
        answer = self.wait_for(ConnAck)
        assert isinstance(answer, ConnAck)
        assert answer.code == 0, answer
        self.session_present = answer.session_present

    def send(self, packet: Packet) -> None:
        self._socket.sendall(encode_packet(packet, self.version))

    def wait_for(self, kind: type[Packet]) -> Packet | None:
        """Handle what comes up to a packet of this kind; None when the broker closes."""
        while True:
            decoded = decode_packet(self._buffer, self.version)
            if decoded is None:
                received = self._socket.recv(65_536)
                if not received:
                    self.close()
                    return None
                self._buffer += received
                continue
            packet, used = decoded
            self._buffer = self._buffer[used:]
            self._answer(packet)
            if isinstance(packet, kind):
                return packet

    def ping(self) -> int:
        """Return how much came since the last call."""
        self.count = 0
        self.send(PingReq())
        assert self.wait_for(PingResp) is not None, "closed"
        return self.count - 1

    def fail(self) -> None:
        """Be closed for cause."""
        if self.version == MQTT_5:
            self.send(Disconnect(Reason.DISCONNECT_WITH_WILL))
        else:
            self._socket.sendall(BAD_TOPIC)
        self._drain()

    def leave(self) -> None:
        self.send(Disconnect())
        self._drain()

    def close(self) -> None:
        self.is_closed = True
        self._socket.close()

    def _drain(self) -> None:
        try:
            while not self.is_closed and self._socket.recv(65_536):
                pass
        except ConnectionError:
            pass
        self.close()

    count = 0

    def _answer(self, packet: Packet) -> None:
        self.count += 1
        match packet:
            case Publish():
                self.got.append((packet.topic, packet.payload, packet.qos, packet.retain))
                if packet.qos == 1:
                    self.send(PubAck(packet.packet_id or 0))
                elif packet.qos == 2:
                    self.send(PubRec(packet.packet_id or 0))
            case PubRec():
                if packet.reason < Reason.UNSPECIFIED_ERROR:
                    self.send(PubRel(packet.packet_id))
            case PubRel():
                self.send(PubComp(packet.packet_id))
            case _:
                pass


class Stage:
    """All clients of one broker; names and topics are under a prefix of their own."""

    def __init__(self, port: int, prefix: str, versions: tuple[int, ...]) -> None:
        self._port = port
        self._prefix = prefix
        self._versions = versions
        self._peers: dict[int, Peer] = {}

    def play(self, step: Step) -> dict[int, list[Got]]:
        """Do one step; return what every client got by it."""
        peer = self._peers.get(step.who)
        if isinstance(step, Join):
            self._join(step, peer)
        elif peer is not None:
            self._act(step, peer)
        return self._settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""
        for who in tuple(self._peers):
            self._peers.pop(who).close()
        for who, version in enumerate(self._versions):
            Peer(self._port, Connect(f"{self._prefix}-{who}", version)).leave()

    def _join(self, step: Join, before: Peer | None) -> None:
        version = self._versions[step.who]
        kept = not step.clean and version == MQTT_5
        topic = f"{self._prefix}/will/{step.who}"
        self._peers[step.who] = Peer(
            self._port,
            Connect(
                f"{self._prefix}-{step.who}",
                version,
                clean_start=step.clean,
                will=Will(topic, b"gone", 1) if step.with_will else None,
                properties=Properties(session_expiry_s=KEPT_S) if kept else NO_PROPERTIES,
            ),
        )
        if before is not None:
            before.close()

    def _act(self, step: Step, peer: Peer) -> None:
        prefix = self._prefix
        match step:
            case Leave():
                del self._peers[step.who]
                if step.for_cause:
                    peer.fail()
                else:
                    peer.leave()
            case Listen(subscription=asked):
                under = replace(asked, topic_filter=f"{prefix}/{asked.topic_filter}")
                peer.send(Subscribe(1, (under,)))
                assert peer.wait_for(SubAck) is not None, "closed"
            case Forget():
                peer.send(Unsubscribe(1, (f"{prefix}/{step.topic_filter}",)))
                assert peer.wait_for(UnsubAck) is not None, "closed"
            case Say():
                packet_id = 1 if step.qos else None
                topic = f"{prefix}/{step.topic}"
                peer.send(Publish(topic, step.payload, step.qos, step.retain, packet_id=packet_id))
                answer: tuple[type[Packet], ...] = (PingReq, PubAck, PubComp)
                if step.qos:
                    assert peer.wait_for(answer[step.qos]) is not None, "closed"

    def _settle(self) -> dict[int, list[Got]]:
        quiet = 0
        while quiet < QUIET_ROUNDS:
            came = sum(peer.ping() for peer in self._peers.values())
            quiet = 0 if came else quiet + 1
        got = {}
        for who, peer in self._peers.items():
            cut = len(self._prefix) + 1
            got[who] = [(topic[cut:], *rest) for topic, *rest in peer.got]
            peer.got = []
        return got  # type: ignore[return-value]  # the rest is as it was
