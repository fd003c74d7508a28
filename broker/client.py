"""One network connection, as the pure parts of the broker see it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

from broker.packets import MQTT_3_1_1, MQTT_5

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from broker.acks import AckLine
    from broker.aliases import OutgoingAliases
    from broker.enhanced import Authentication
    from broker.packets import Connect, Will
    from broker.policy import Credentials, Identity
    from broker.room import Room
    from broker.route import Outlet, Route
    from broker.session import Session

UNLIMITED_BYTES = 1 << 62

_NO_RUNS: dict[int, Callable[[Client, bytes, int], int]] = {}  # never written to


class State(Enum):
    """Where a connection is in its life; it only goes down this list."""

    NEW = "waits for CONNECT"
    DECIDING = "waits for the authenticator"
    ONLINE = "connected"
    CLOSED = "sends what is left, hears nothing"


# speed: a look-up in an Enum costs 0.1 us in Python 3.11; for what is asked
# once a packet or connection
NEW, DECIDING, ONLINE, CLOSED = State.NEW, State.DECIDING, State.ONLINE, State.CLOSED


class Link(Protocol):
    """What the socket's side does for a connection."""

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


class Client:
    """State of one connection; flow.py and dialog.py say what happens to it."""

    __slots__ = (
        "acks", "aliases", "authentication", "client_id_assigned", "connect", "deadline", "deaf",
        "five", "generation", "have", "held", "identity", "is_bridge", "keep_alive_s",
        "last_heard", "limit_bytes", "link", "listener", "max_packet_bytes", "need", "out",
        "out_aliases", "outlets", "paid_at", "parts", "paused", "peer", "room", "routes", "runs",
        "session", "state", "version", "wants_reasons", "will",
    )  # fmt: skip

    def __init__(self, link: Link, listener: str, peer: str, limit_bytes: int) -> None:
        self.link = link
        self.listener = listener
        self.peer = peer
        self.state = State.NEW
        self.version = MQTT_3_1_1
        self.is_bridge = False  # to another broker: gets no message back, and RETAIN as it was
        self.five = False
        self.connect: Connect | None = None  # while DECIDING
        self.client_id_assigned = False
        self.wants_reasons = False  # it asked for reason strings, and did not only not decline
        self.authentication: Authentication | None = None  # if its CONNECT names a method
        self.identity: Identity | None = None
        self.session: Session | None = None
        self.will: Will | None = None
        self.acks: AckLine | None = None  # made for the first message that may have to wait
        self.aliases: dict[bytes, bytes] | None = None  # alias to topic; made for the first one
        self.out_aliases: OutgoingAliases | None = None  # [MQTT-3.3.2-7] if the client takes some
        self.keep_alive_s = 0.0  # with the grace; 0 is off
        self.deadline: float | None = None  # for CONNECT, then for closing
        self.max_packet_bytes = UNLIMITED_BYTES  # what the client takes
        # input
        self.last_heard = 0.0
        self.limit_bytes = limit_bytes  # of one packet
        self.parts: list[bytes] = []  # of the incomplete packet, joined once it is whole
        self.have = 0
        self.need = 0  # bytes of the incomplete packet, as far as known
        self.room: Room | None = None  # instead of parts but the first, which is empty then
        self.held = False  # handle no packet now; the rest of what was read waits in parts
        self.deaf = False  # the link does not read
        self.paid_at = 0  # the wake-up until which it owes work: turns.py
        # output
        self.out: list[bytes] = []  # emptied, never replaced: routes hold its append
        self.paused = False  # the peer takes less than it is sent
        # the flow's
        self.runs = _NO_RUNS
        self.routes: dict[bytes, Route] = {}
        self.outlets: dict[tuple[tuple[int, int, bool], ...], Outlet] = {}  # of those routes
        self.generation = 0

    def speak(self, version: int) -> None:
        """Set the protocol version."""
        self.version = version
        self.five = version == MQTT_5

    def forget_routes(self) -> None:
        """Learn all routes anew."""
        self.routes.clear()
        self.outlets.clear()

    def drop_routes(self, topics: Collection[bytes]) -> None:
        """Learn the routes of some topics anew; outlets that no other has go with them."""
        dropped = [self.routes.pop(each) for each in topics if each in self.routes]
        if dropped:
            used = {route.outlet for route in self.routes.values()}
            self.outlets = {kind: each for kind, each in self.outlets.items() if each in used}

    def forget_input(self) -> None:
        """Handle nothing of what came and was not handled."""
        self.parts.clear()
        self.room = None

    @property
    def name(self) -> str:
        """Who this is, for people."""
        return self.identity.name if self.identity is not None else ""

    @property
    def origin(self) -> str:
        """Where it came from, for people."""
        return self.peer or "this machine"

    @property
    def label(self) -> str:
        """What the log calls this connection."""
        if self.session is not None:
            return self.session.client_id
        return self.peer or self.listener
