"""Defines one frozen dataclass per MQTT control packet."""

from dataclasses import dataclass
from enum import IntEnum

from broker.wire.property_values import NO_PROPERTIES, Properties
from broker.wire.reasons import Reason


class PacketType(IntEnum):
    """The high four bits of the first byte."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


MQTT_3_1 = 3
MQTT_3_1_1 = 4
MQTT_5 = 5


@dataclass(frozen=True, slots=True)
class Will:
    """The message that the broker publishes when the client is lost."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Connect:
    """CONNECT: opens a connection; version is the protocol level."""

    client_id: str
    version: int = MQTT_3_1_1
    clean_start: bool = True
    keep_alive_s: int = 0
    will: Will | None = None
    username: str | None = None
    password: bytes | None = None
    properties: Properties = NO_PROPERTIES
    is_bridge: bool = False  # the client is another broker; in 3.1 and 3.1.1 only


@dataclass(frozen=True, slots=True)
class ConnAck:
    """CONNACK: answers a CONNECT; code is a return code in 3.1.1, a reason in 5."""

    code: int = 0
    session_present: bool = False
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Publish:
    """PUBLISH: carries a message; packet_id is None at QoS 0."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    duplicate: bool = False
    packet_id: int | None = None
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The common fields of PUBACK, PUBREC, PUBREL and PUBCOMP."""

    packet_id: int
    reason: Reason = Reason.SUCCESS
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class PubAck(Acknowledgement):
    """PUBACK: acknowledges a QoS 1 message."""


@dataclass(frozen=True, slots=True)
class PubRec(Acknowledgement):
    """PUBREC: acknowledges a QoS 2 message, step 1."""


@dataclass(frozen=True, slots=True)
class PubRel(Acknowledgement):
    """PUBREL: releases a QoS 2 message, step 2."""


@dataclass(frozen=True, slots=True)
class PubComp(Acknowledgement):
    """PUBCOMP: completes a QoS 2 message, step 3."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One filter with its options; identifiers are those of the SUBSCRIBE (at most one)."""

    topic_filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0
    identifiers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Subscribe:
    """SUBSCRIBE: requests subscriptions."""

    packet_id: int
    subscriptions: tuple[Subscription, ...]
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class SubAck:
    """SUBACK: has one code per filter of a SUBSCRIBE."""

    packet_id: int
    codes: tuple[int, ...]
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """UNSUBSCRIBE: removes subscriptions."""

    packet_id: int
    topic_filters: tuple[str, ...]
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class UnsubAck:
    """UNSUBACK: has one code per filter in MQTT 5, none in 3.1.1."""

    packet_id: int
    codes: tuple[int, ...] = ()
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class PingReq:
    """PINGREQ: shows that the client is alive."""


@dataclass(frozen=True, slots=True)
class PingResp:
    """PINGRESP: answers a PINGREQ."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """DISCONNECT: ends a connection; the broker sends it in MQTT 5 only."""

    reason: Reason = Reason.NORMAL_DISCONNECTION
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH: one step of enhanced authentication (MQTT 5)."""

    reason: Reason = Reason.SUCCESS
    properties: Properties = NO_PROPERTIES


Packet = (
    Connect
    | ConnAck
    | Publish
    | PubAck
    | PubRec
    | PubRel
    | PubComp
    | Subscribe
    | SubAck
    | Unsubscribe
    | UnsubAck
    | PingReq
    | PingResp
    | Disconnect
    | Auth
)
