"""Keeps the state of one network connection, without its socket."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

from broker.sessions.outbound import UNLIMITED_BYTES, Outbound
from broker.wire.errors import LocalProtocolError
from broker.wire.packet_buffer import PacketBuffer
from broker.wire.topic_aliases import OutgoingAliases

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from broker.policy import Credentials, Identity
    from broker.sessions.ack_queue import AckQueue
    from broker.sessions.authentication import Authentication
    from broker.sessions.route import PublishRoute, ReceiverSet
    from broker.sessions.session import Session
    from broker.wire.packets import Connect, Will

_NO_RUNS: dict[int, Callable[[Client, bytes, int], int]] = {}  # never written to


class ConnectionState(Enum):
    """The states of a connection."""

    NEW = "waits for CONNECT"
    DECIDING = "waits for the authenticator"
    ONLINE = "connected"
    CLOSED = "sends the rest of its output and handles no input"


class ConnectionEvent(Enum):
    """The events that change the state of a connection."""

    CONNECT = "a valid CONNECT came"
    ADMIT = "the authenticator and the store have let the client in"
    CLOSE = "either side ends the connection"


# speed: a look-up in an Enum costs 0.1 us in Python 3.11; these are read once a packet
NEW, DECIDING, ONLINE, CLOSED = (
    ConnectionState.NEW,
    ConnectionState.DECIDING,
    ConnectionState.ONLINE,
    ConnectionState.CLOSED,
)

# every other event is a fault of the broker and raises LocalProtocolError
CONNECTION_TRANSITIONS: dict[tuple[ConnectionState, ConnectionEvent], ConnectionState] = {
    (NEW, ConnectionEvent.CONNECT): DECIDING,
    (DECIDING, ConnectionEvent.ADMIT): ONLINE,
    (NEW, ConnectionEvent.CLOSE): CLOSED,
    (DECIDING, ConnectionEvent.CLOSE): CLOSED,
    (ONLINE, ConnectionEvent.CLOSE): CLOSED,
}


class ClientTransport(Protocol):
    """The transport of a connection, as the core uses it."""

    def write(self, output: bytes) -> None:
        """Send bytes, later if need be."""

    def set_reading(self, *, wanted: bool) -> None:
        """Start or stop reading."""

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
        """Note that the client is online."""


class Client(Outbound):
    """Holds one connection: its state, its input, its routes.

    Others read its attributes; they change it through its methods.
    """

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
        self.is_bridge = False  # to another broker: No Local, Retain As Published
        self.connect: Connect | None = None  # while DECIDING
        self.client_id_assigned = False
        self.wants_reasons = False  # it asked for reason strings; not declining is not enough
        self.authentication: Authentication | None = None  # if its CONNECT names a method
        self.identity: Identity | None = None
        self.session: Session | None = None
        self.will: Will | None = None
        self.acks: AckQueue | None = None  # made for the first message that may have to wait
        self.aliases: dict[bytes, bytes] | None = None  # alias to topic; made for the first
        self.out_aliases: OutgoingAliases | None = None  # [MQTT-3.3.2-7] if the client takes some
        self.keep_alive_s = 0.0  # with the grace; 0 is off
        self.deadline: float | None = None  # for CONNECT, then for closing
        # input
        self.last_heard = 0.0
        self.limit_bytes = limit_bytes  # of one packet
        self.parts: list[bytes] = []  # of the incomplete packet, joined once whole
        self.have = 0
        self.need = 0  # bytes of the incomplete packet, as far as known
        # for a large packet; parts has one empty entry then
        self.packet_buffer: PacketBuffer | None = None
        self.held = False  # no packet is handled now; the input waits in parts
        self.reading_stopped = False  # the transport does not read
        self.paid_at = 0  # the wake-up until which it owes work: scheduler.py
        # of the fast paths
        self.runs = _NO_RUNS
        self.routes: dict[bytes, PublishRoute] = {}
        self.receiver_sets: dict[
            tuple[tuple[int, int, bool], ...], ReceiverSet
        ] = {}  # of those routes
        self.generation = 0

    # -- connection state ------------------------------------------------------------------

    def _change(self, event: ConnectionEvent) -> None:
        following = CONNECTION_TRANSITIONS.get((self.state, event))
        if following is None:
            raise LocalProtocolError(f"connection in state {self.state.name}: {event.name}")
        self.state = following

    def read_connect(self, connect: Connect) -> None:
        """Take the options of a CONNECT that the session needs before it is decided."""
        self.set_version(connect.version)
        self.is_bridge = connect.is_bridge
        # before the session looks at the packets it has to send again
        self.max_packet_bytes = connect.properties.maximum_packet_bytes or UNLIMITED_BYTES
        # a reason string costs a small client more than it says: only on request
        self.wants_reasons = connect.properties.request_problem_information is True

    def wait_for_decision(self, connect: Connect, *, is_id_assigned: bool) -> None:
        """Hold the connection until the authenticator answers."""
        self._change(ConnectionEvent.CONNECT)
        self.connect = connect
        self.client_id_assigned = is_id_assigned
        self.held = True

    def admit(self, keep_alive_s: float, limit_bytes: int, aliases: int) -> None:
        """Go online; the CONNACK follows."""
        connect = self.connect
        self._change(ConnectionEvent.ADMIT)
        self.will = connect.will if connect is not None else None  # [MQTT-3.1.2-7]
        self.connect = self.deadline = None
        self.limit_bytes = limit_bytes
        self.keep_alive_s = keep_alive_s
        if aliases:  # [MQTT-3.1.2-27]
            self.out_aliases = OutgoingAliases(aliases, self.max_packet_bytes)

    def close(self, deadline: float) -> None:
        """Handle no more input; the socket must be closed by the deadline."""
        self._change(ConnectionEvent.CLOSE)
        self.runs = _NO_RUNS
        self.forget_input()
        self.connect = None
        self.deadline = deadline
        if self.acks is not None:
            self.acks.close()

    def set_deadline(self, deadline: float | None) -> None:
        """Expect the next step (CONNECT, re-authentication) by this time."""
        self.deadline = deadline

    def begin_authentication(self, authentication: Authentication) -> None:
        """Note the method that the CONNECT names."""
        self.authentication = authentication

    def set_identity(self, identity: Identity) -> None:
        """Note the identity that the authenticator returned."""
        self.identity = identity

    def take_session(self, session: Session) -> None:
        """Note the session that is attached."""
        self.session = session
        self.identity = session.owner

    def give_up_session(self) -> tuple[Session | None, Will | None]:
        """Return session and will, once."""
        session, will = self.session, self.will
        self.session = self.will = None  # [MQTT-3.1.2-10]
        return session, will

    def take_will(self) -> Will | None:
        """Return the will, once."""
        will, self.will = self.will, None
        return will

    def open_acks(self, acks: AckQueue) -> AckQueue:
        """Note the queue of acknowledgements, made for the first message."""
        self.acks = acks
        return acks

    def note_alias(self, alias: bytes, topic: bytes) -> None:
        """Let a topic alias stand for a topic."""  # [MQTT-3.3.2-7]
        if self.aliases is None:
            self.aliases = {}
        self.aliases[alias] = topic

    # -- input -----------------------------------------------------------------------------

    def hold(self) -> None:
        """Handle no packet now; the input that has come waits."""
        self.held = True

    def release(self) -> None:
        """Handle packets again."""
        self.held = False

    def pause(self) -> None:
        """Note that the peer reads more slowly than it is sent."""
        self.paused = True

    def resume(self) -> None:
        """Note that the peer has caught up."""
        self.paused = False

    def set_reading(self, *, wanted: bool) -> None:
        """Let the transport read, or stop it."""
        if self.reading_stopped == wanted:
            self.reading_stopped = not wanted
            self.link.set_reading(wanted=wanted)

    def use_runs(self, runs: dict[int, Callable[[Client, bytes, int], int]]) -> None:
        """Handle packets by their first byte with the fast paths."""
        self.runs = runs

    def add_input(self, data: bytes) -> bytes:
        """Add the bytes of a read to waiting input; return the bytes to handle, b"" when none."""
        self.parts.append(data)
        self.have += len(data)
        if self.held or self.have < self.need:
            return b""
        return self.take_input()

    def take_input(self) -> bytes:
        """Return all input that waits, once."""
        data = b"".join(self.parts)
        self.parts.clear()
        return data

    def keep_input(self, rest: bytes) -> None:
        """Keep the input that could not be handled."""
        self.parts.append(rest)
        self.have = len(rest)

    def expect(self, need: int) -> None:
        """Note how many bytes the incomplete packet needs; 0 when whole packets wait."""
        self.need = need

    def open_buffer(self) -> None:
        """Let the rest of an incomplete packet be read straight into its place."""
        self.packet_buffer = PacketBuffer(self.need, b"".join(self.parts))
        self.parts[:] = [b""]

    def fill_buffer(self, size: int, now: float) -> bytes:
        """Note what was read into the buffer; return the packet once it is whole."""
        assert self.packet_buffer is not None  # the transport has read into it
        self.last_heard = now
        self.have += size
        data = self.packet_buffer.fill(size)
        if data:
            self.forget_input()
        return data

    # -- routes ----------------------------------------------------------------------------

    def forget_routes(self) -> None:
        """Drop all cached routes."""
        self.routes.clear()
        self.receiver_sets.clear()

    def drop_routes(self, topics: Collection[bytes]) -> None:
        """Drop the cached routes of some topics, and receiver sets that no other route uses."""
        dropped = [self.routes.pop(each) for each in topics if each in self.routes]
        if dropped:
            used = {route.receiver_set for route in self.routes.values()}
            self.receiver_sets = {
                kind: each for kind, each in self.receiver_sets.items() if each in used
            }

    def forget_input(self) -> None:
        """Drop the input that was not handled."""
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
