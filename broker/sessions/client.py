"""One network connection, as the pure parts of the broker see it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

from broker.sessions.outbound import Outbound

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from broker.policy import Credentials, Identity
    from broker.sessions.ack_queue import AckQueue
    from broker.sessions.authentication import Authentication
    from broker.sessions.route import PublishRoute, ReceiverSet
    from broker.sessions.session import Session
    from broker.wire.packet_buffer import PacketBuffer
    from broker.wire.packets import Connect, Will
    from broker.wire.topic_aliases import OutgoingAliases

_NO_RUNS: dict[int, Callable[[Client, bytes, int], int]] = {}  # never written to


class ConnectionState(Enum):
    """The states of a connection; transitions only go down this list."""

    NEW = "waits for CONNECT"
    DECIDING = "waits for the authenticator"
    ONLINE = "connected"
    CLOSED = "sends what is left, hears nothing"


# speed: a look-up in an Enum costs 0.1 us in Python 3.11; for what is asked
# once a packet or connection
NEW, DECIDING, ONLINE, CLOSED = (
    ConnectionState.NEW,
    ConnectionState.DECIDING,
    ConnectionState.ONLINE,
    ConnectionState.CLOSED,
)


class ClientTransport(Protocol):
    """The transport of a connection, as the core uses it."""

    def write(self, output: bytes) -> None:
        """Send bytes, later if need be."""

    def set_reading(self, *, wanted: bool) -> None:
        """Go on reading, or stop."""

    def close(self) -> None:
        """Close once everything is sent."""

    def abort(self) -> None:
        """Close now."""

    def authenticate(self, credentials: Credentials) -> None:
        """Ask the authenticator; its answer goes to Core.decide()."""

    def begin(self, method: str, credentials: Credentials, data: bytes | None) -> None:
        """Begin an authentication of several steps; each answer goes to Core.decide()."""

    def proceed(self, data: bytes | None) -> None:
        """Take the next step."""

    def admitted(self) -> None:
        """The client is in."""


class Client(Outbound):
    """State of one connection; flow.py and dialog.py say what happens to it."""

    __slots__ = (
        "acks", "aliases", "authentication", "client_id_assigned", "connect", "deadline",
        "generation", "have", "held", "identity", "is_bridge", "keep_alive_s", "last_heard",
        "limit_bytes", "link", "listener", "need", "out_aliases", "packet_buffer", "paid_at",
        "parts", "peer", "reading_stopped", "receiver_sets", "routes", "runs", "session",
        "state", "wants_reasons", "will",
    )  # fmt: skip

    def __init__(self, link: ClientTransport, listener: str, peer: str, limit_bytes: int) -> None:
        super().__init__()
        self.link = link
        self.listener = listener
        self.peer = peer
        self.state = ConnectionState.NEW
        self.is_bridge = False  # to another broker: gets no message back, and RETAIN as it was
        self.connect: Connect | None = None  # while DECIDING
        self.client_id_assigned = False
        self.wants_reasons = False  # it asked for reason strings, and did not only not decline
        self.authentication: Authentication | None = None  # if its CONNECT names a method
        self.identity: Identity | None = None
        self.session: Session | None = None
        self.will: Will | None = None
        self.acks: AckQueue | None = None  # made for the first message that may have to wait
        self.aliases: dict[bytes, bytes] | None = None  # alias to topic; made for the first one
        self.out_aliases: OutgoingAliases | None = None  # [MQTT-3.3.2-7] if the client takes some
        self.keep_alive_s = 0.0  # with the grace; 0 is off
        self.deadline: float | None = None  # for CONNECT, then for closing
        # input
        self.last_heard = 0.0
        self.limit_bytes = limit_bytes  # of one packet
        self.parts: list[bytes] = []  # of the incomplete packet, joined once it is whole
        self.have = 0
        self.need = 0  # bytes of the incomplete packet, as far as known
        self.packet_buffer: PacketBuffer | None = (
            None  # instead of parts but the first, which is empty then
        )
        self.held = False  # handle no packet now; the rest of what was read waits in parts
        self.reading_stopped = False  # the link does not read
        self.paid_at = 0  # the wake-up until which it owes work: turns.py
        # the flow's
        self.runs = _NO_RUNS
        self.routes: dict[bytes, PublishRoute] = {}
        self.receiver_sets: dict[
            tuple[tuple[int, int, bool], ...], ReceiverSet
        ] = {}  # of those routes
        self.generation = 0

    def forget_routes(self) -> None:
        """Learn all routes anew."""
        self.routes.clear()
        self.receiver_sets.clear()

    def drop_routes(self, topics: Collection[bytes]) -> None:
        """Learn the routes of some topics anew; outlets that no other has go with them."""
        dropped = [self.routes.pop(each) for each in topics if each in self.routes]
        if dropped:
            used = {route.receiver_set for route in self.routes.values()}
            self.receiver_sets = {
                kind: each for kind, each in self.receiver_sets.items() if each in used
            }

    def forget_input(self) -> None:
        """Handle nothing of what came and was not handled."""
        self.parts.clear()
        self.packet_buffer = None

    @property
    def name(self) -> str:
        """The name of the identity, for log lines."""
        return self.identity.name if self.identity is not None else ""

    @property
    def origin(self) -> str:
        """The address of the peer, for log lines."""
        return self.peer or "this machine"

    @property
    def label(self) -> str:
        """The label of this connection in log lines."""
        if self.session is not None:
            return self.session.client_id
        return self.peer or self.listener


def as_client(outbound: Outbound | None) -> Client | None:
    """Return the connection behind an output; sessions know no more of it than that."""
    return outbound if isinstance(outbound, Client) else None
