"""Defines a message inside the broker, and the hold that delays its acknowledgement."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from broker.policy import Identity
from broker.wire.errors import LocalProtocolError
from broker.wire.property_values import NO_PROPERTIES, Properties
from broker.wire.reasons import Reason

OVERHEAD_BYTES = 200  # of one queued message besides topic and payload, measured with tracemalloc


class Hold:
    """Delays the PUBACK or PUBREC of one message until all keepers have released it.

    Pure and not thread-safe: release(), decline() and refuse() belong to the broker's loop. The
    first refuse() decides; later calls change nothing.
    """

    __slots__ = ("_decided", "_has_reason_codes", "_keepers", "_on_decided")

    def __init__(
        self, on_decided: Callable[[bool], None], *, has_reason_codes: bool = True
    ) -> None:
        self._on_decided = on_decided  # True: acknowledge, False: refuse
        self._has_reason_codes = (
            has_reason_codes  # MQTT 3.1.1 has none: its connection can only be closed
        )
        self._keepers = 0
        self._decided = False

    @property
    def decided(self) -> bool:
        """True when the answer is decided."""
        return self._decided

    @property
    def keepers(self) -> int:
        """The number of holders of the message."""
        return self._keepers

    def keep(self) -> None:
        """Promise a later release(), decline() or refuse(); call it within the handler."""
        if self._decided and not self._keepers:
            raise LocalProtocolError("cannot keep message: it is acknowledged already")
        self._keepers += 1

    def release(self) -> None:
        """Note that the message is safe with one keeper."""
        self._let_go()
        if not self._keepers and not self._decided:
            self._decide(accepted=True)

    def refuse(self) -> None:
        """Note that one keeper cannot keep the message; its sender is refused."""
        self._let_go()
        if not self._decided:
            self._decide(accepted=False)

    def decline(self) -> None:
        """Give up one copy of a message that is delivered all the same.

        Its sender gets a reason code, or an acknowledgement where the protocol has no code: closing
        its connection would make it publish the message to all receivers again.
        """
        if self._has_reason_codes:
            self.refuse()
        else:
            self.release()

    def _let_go(self) -> None:
        if not self._keepers:
            raise LocalProtocolError("cannot let go of message: it was not kept")
        self._keepers -= 1

    def _decide(self, *, accepted: bool) -> None:
        self._decided = True
        self._on_decided(accepted)


@dataclass(frozen=True, slots=True)
class Message:
    """A published message, independent of any packet."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    sender: str = ""  # identity name; "" for a local client
    properties: Properties = NO_PROPERTIES  # only those that travel with a message
    expires_at: float | None = None  # in the broker's clock
    hold: Hold | None = None  # QoS 1 and 2 from a remote client only
    publisher: Identity | None = None  # a remote client, to check its rights again

    @property
    def size_bytes(self) -> int:
        """The approximate memory of the message."""
        size = OVERHEAD_BYTES + len(self.topic) + len(self.payload)
        if self.properties is not NO_PROPERTIES and self.properties != NO_PROPERTIES:
            size += self.properties.size_bytes
        return size

    def without_hold(self) -> "Message":
        """Return the same message, for keeping."""
        if self.hold is None:
            return self
        return Message(  # speed: dataclasses.replace() takes four times as long
            self.topic,
            self.payload,
            self.qos,
            self.retain,
            self.sender,
            self.properties,
            self.expires_at,
            None,
            self.publisher,
        )

    def is_expired(self, now: float) -> bool:
        """Return whether the message must not be delivered any more."""
        return self.expires_at is not None and now >= self.expires_at


class NoRoom(Enum):
    """Says that a message cannot be kept now, and may be sent again later.

    An MQTT 5 client gets QUOTA_EXCEEDED; the connection of an older one is closed without an
    acknowledgement, after which it sends the message again.
    """

    NO_ROOM = auto()


NO_ROOM = NoRoom.NO_ROOM

PublishHook = Callable[[Message], Message | Reason | NoRoom | None]


def message_properties(properties: Properties) -> Properties:
    """Return the properties that the broker forwards unchanged."""
    kept = Properties(
        payload_format=properties.payload_format,  # [MQTT-3.3.2-4]
        content_type=properties.content_type,  # [MQTT-3.3.2-20]
        response_topic=properties.response_topic,  # [MQTT-3.3.2-15]
        correlation_data=properties.correlation_data,  # [MQTT-3.3.2-16]
        user_properties=properties.user_properties,  # [MQTT-3.3.2-17] [MQTT-3.3.2-18]
    )
    return NO_PROPERTIES if kept == NO_PROPERTIES else kept  # an alias alone costs nothing
