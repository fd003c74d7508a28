"""One frozen dataclass per MQTT control packet."""

from dataclasses import dataclass
from enum import IntEnum

from broker.properties import NO_PROPERTIES, Properties
from broker.reasons import Reason


class PacketType(IntEnum):
    """High four bits of the first byte."""

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
    """What the broker publishes when the client is gone without a word."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Connect:
    """Client asks for a connection; version is the protocol level."""

    client_id: str
    version: int = MQTT_3_1_1
    clean_start: bool = True
    keep_alive_s: int = 0
    will: Will | None = None
    username: str | None = None
    password: bytes | None = None
    properties: Properties = NO_PROPERTIES
    is_bridge: bool = False  # to another broker; of 3.1 and 3.1.1


@dataclass(frozen=True, slots=True)
class ConnAck:
    """Broker's answer; in 3.1.1 code is a return code, in 5 a reason."""

    code: int = 0
    session_present: bool = False
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Publish:
    """A message on its way; packet_id is None at QoS 0."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    duplicate: bool = False
    packet_id: int | None = None
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What PUBACK, PUBREC, PUBREL and PUBCOMP have in common."""

    packet_id: int
    reason: Reason = Reason.SUCCESS
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class PubAck(Acknowledgement):
    """QoS 1: received."""


@dataclass(frozen=True, slots=True)
class PubRec(Acknowledgement):
    """QoS 2, first answer."""


@dataclass(frozen=True, slots=True)
class PubRel(Acknowledgement):
    """QoS 2, release."""


@dataclass(frozen=True, slots=True)
class PubComp(Acknowledgement):
    """QoS 2, done."""


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
    """Client asks for topics."""

    packet_id: int
    subscriptions: tuple[Subscription, ...]
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class SubAck:
    """One code per filter asked for."""

    packet_id: int
    codes: tuple[int, ...]
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Client gives filters up."""

    packet_id: int
    topic_filters: tuple[str, ...]
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class UnsubAck:
    """One code per filter in MQTT 5, none in 3.1.1."""

    packet_id: int
    codes: tuple[int, ...] = ()
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class PingReq:
    """Client is alive."""


@dataclass(frozen=True, slots=True)
class PingResp:
    """So is the broker."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The last packet; the broker sends it in MQTT 5 only."""

    reason: Reason = Reason.NORMAL_DISCONNECTION
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class Auth:
    """One step of enhanced authentication (MQTT 5)."""

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
