"""Tracks the state of one MQTT 5 client: what was published, requested and received.

Theory of operation
-------------------
The caller opens a socket, calls connect(), feeds what it reads and writes what take_output()
returns. Rules after every call:

1. A QoS 1 message is sent until its PUBACK comes, across connections, in order [MQTT-4.4.0-1].
   Its packet id is its own until then.
2. At most as many are in flight as the broker allows [MQTT-3.3.4-7]; others wait, within a number
   and a size; one more is refused.
3. Every message and request ends once: with the broker's answer, or with give_up().
4. A lost connection ends requests (SUBSCRIBE, UNSUBSCRIBE) and keeps messages.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from microservice.errors import PublishError, PublishSizeError
from microservice.mqtt import wire
from microservice.mqtt.wire import Answer, FilterOptions, Incoming, MessageProperties, WireError

PUBLISH_LIMIT = 1000  # messages that the broker has not acknowledged
PUBLISH_LIMIT_BYTES = 16 * 1024 * 1024
MAX_PACKET_ID = 65_535
OVERHEAD_BYTES = 64  # of a PUBLISH around topic, payload and properties, at most

Done = Callable[[Answer | None], None]  # None: there will be no answer


@dataclass(frozen=True, slots=True)
class ClientLogin:
    """The options of CONNECT."""

    client_id: str
    username: str
    password: str
    keep_alive_s: int
    window: int
    expiry_s: int

    def __repr__(self) -> str:
        return f"ClientLogin({self.client_id!r}, ***)"


class ClientEvents(Protocol):
    """Takes what the broker sends."""

    def connected(self, answer: Answer) -> None:
        """Take the CONNACK."""

    def received(self, message: Incoming) -> None:
        """Take a message."""

    def disconnected(self, code: int) -> None:
        """Take the reason code of a DISCONNECT."""


@dataclass(slots=True, eq=False)
class _Outgoing:
    topic: str
    payload: bytes
    retain: bool
    properties: MessageProperties
    done: Done
    size_bytes: int


class MqttClient:
    """The state of one client; it survives its connections."""

    def __init__(self, login: ClientLogin, events: ClientEvents) -> None:
        self.is_online = False
        self._login, self._events = login, events
        self._out: list[bytes] = []
        self._parts: list[bytes] = []  # of a packet that has not come whole
        self._have = self._need = 0
        self._unsent: deque[_Outgoing] = deque()
        self._sent: dict[int, _Outgoing] = {}  # by packet id, in the order first sent
        self._waiting_bytes = 0
        self._requests: dict[int, Done] = {}
        self._last_id = 0
        self._window = MAX_PACKET_ID
        self._packet_limit = wire.MAX_VARINT

    # Connection --------------------------------------------------------------------------------

    def connect(self) -> None:
        """Begin a connection."""
        login = self._login
        self._out.append(
            wire.encode_connect(
                login.client_id, login.username, login.password,
                login.keep_alive_s, login.window, login.expiry_s,
            )
        )  # fmt: skip

    def feed(self, data: bytes) -> None:
        """Take bytes from the broker; WireError when they are no packets."""
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        used = 0
        try:
            used = self._take(data)
        except (IndexError, ValueError) as exc:
            raise WireError(f"cannot read packet: {exc}") from exc
        if used < len(data):
            self._parts.append(data[used:])
            self._have = len(data) - used

    def lost(self) -> None:
        """Note that the connection has ended. Rule 4."""
        self.is_online = False
        self._out.clear()
        self._parts.clear()
        requests, self._requests = self._requests, {}
        for done in requests.values():
            done(None)

    def take_output(self) -> bytes:
        """Return, once, the bytes to send."""
        output = b"".join(self._out)
        self._out.clear()
        return output

    def ping(self) -> None:
        """Ask whether the broker is there."""
        self._out.append(wire.PING)

    def disconnect(self) -> None:
        """End the connection in an orderly way."""
        self._out.append(wire.GOODBYE)

    # Messages ----------------------------------------------------------------------------------

    def publish(
        self, topic: str, payload: bytes, *, retain: bool, properties: MessageProperties, done: Done
    ) -> None:
        """Publish at QoS 1; done is called with the PUBACK."""
        size = _measure(topic, payload, properties)
        outgoing = _Outgoing(topic, payload, retain, properties, done, size)
        self._check_size(topic, size)
        if len(self._sent) + len(self._unsent) >= PUBLISH_LIMIT:
            raise PublishError(f"cannot publish to {topic}: {PUBLISH_LIMIT} messages wait already")
        if self._waiting_bytes + size > PUBLISH_LIMIT_BYTES and self._waiting_bytes:
            raise PublishError(
                f"cannot publish to {topic}: {self._waiting_bytes} bytes wait already"
            )
        self._waiting_bytes += size
        if self.is_online and not self._unsent and len(self._sent) < self._window:
            self._send(outgoing)
        else:
            self._unsent.append(outgoing)

    def publish_qos0(
        self, topic: str, payload: bytes, *, retain: bool, properties: MessageProperties
    ) -> None:
        """Publish at QoS 0."""
        if not self.is_online:
            raise PublishError(f"cannot publish to {topic}: not connected to the broker")
        self._check_size(topic, OVERHEAD_BYTES + len(topic) + len(payload))
        self._out.append(
            wire.encode_publish(
                topic, payload, qos=0, retain=retain, packet_id=0, properties=properties
            )
        )

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Send PUBACKs for messages of this connection."""
        if self.is_online:
            self._out.append(wire.encode_pubacks(packet_ids))

    def subscribe(self, filters: Sequence[tuple[str, FilterOptions]], done: Done) -> None:
        """Subscribe; done is called with the SUBACK."""
        self._out.append(wire.encode_subscribe(self._request(done), filters))

    def unsubscribe(self, filters: Sequence[str], done: Done) -> None:
        """Unsubscribe; done is called with the UNSUBACK."""
        self._out.append(wire.encode_unsubscribe(self._request(done), filters))

    def give_up(self) -> None:
        """End all messages that the broker has not acknowledged."""
        waiting = [*self._sent.values(), *self._unsent]
        self._sent.clear()
        self._unsent.clear()
        self._waiting_bytes = 0
        for outgoing in waiting:
            outgoing.done(None)

    def _check_size(self, topic: str, size: int) -> None:
        if size > self._packet_limit:
            raise PublishSizeError(
                f"cannot publish to {topic}: {size} bytes; the broker takes {self._packet_limit}"
            )

    def _send(self, outgoing: _Outgoing) -> None:
        packet_id = self._make_id()
        self._sent[packet_id] = outgoing
        self._write(packet_id, outgoing)

    def _write(self, packet_id: int, outgoing: _Outgoing, *, again: bool = False) -> None:
        packet = wire.encode_publish(
            outgoing.topic,
            outgoing.payload,
            qos=1,
            retain=outgoing.retain,
            packet_id=packet_id,
            properties=outgoing.properties,
        )
        if again:
            packet = bytes((packet[0] | wire.DUPLICATE,)) + packet[1:]  # [MQTT-3.3.1-1]
        self._out.append(packet)

    def _send_unsent(self) -> None:
        while self._unsent and len(self._sent) < self._window:
            self._send(self._unsent.popleft())

    def _make_id(self) -> int:
        packet_id = self._last_id
        while True:  # a free one exists: the limits are far below the number of ids
            packet_id = packet_id % MAX_PACKET_ID + 1
            if packet_id not in self._sent and packet_id not in self._requests:
                self._last_id = packet_id
                return packet_id

    def _request(self, done: Done) -> int:
        packet_id = self._make_id()
        self._requests[packet_id] = done
        return packet_id

    # Input -------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> int:
        """Take whole packets; return where the first one that is not whole begins."""
        at, size = 0, len(data)
        while size - at >= 2:
            length, body = data[at + 1], at + 2
            if length >= 0x80:
                measured = wire.measure(data, at)
                if measured is None:
                    self._need = size - at + 1
                    return at
                body, end = measured
            else:
                end = body + length
            if end > size:
                self._need = end - at
                return at
            first = data[at]
            if first >> 4 == wire.PUBLISH:
                self._events.received(wire.decode_publish(first, data[body:end]))
            elif first == wire.PUBACK << 4 and end - body == 2:  # speed: without an object
                self._acknowledged(data[body] << 8 | data[body + 1], _ACCEPTED)
            else:
                self._answered(wire.decode_answer(first, data[body:end]))
            at = end
        self._need = 2
        return at

    def _answered(self, answer: Answer) -> None:
        match answer.kind:
            case wire.PUBACK:
                self._acknowledged(answer.packet_id, answer)
            case wire.SUBACK | wire.UNSUBACK:
                done = self._requests.pop(answer.packet_id, None)
                if done is not None:
                    done(answer)
            case wire.CONNACK:
                self._connected(answer)
            case wire.DISCONNECT:
                self._events.disconnected(answer.codes[0])

    def _acknowledged(self, packet_id: int, answer: Answer) -> None:
        outgoing = self._sent.pop(packet_id, None)
        if outgoing is None:
            return
        self._waiting_bytes -= outgoing.size_bytes
        if self._unsent:
            self._send_unsent()
        outgoing.done(answer)

    def _connected(self, answer: Answer) -> None:
        if answer.codes[0] == 0:
            self.is_online = True
            self._window, self._packet_limit = answer.receive_maximum, answer.packet_limit
            again = list(self._sent.items())
            for packet_id, outgoing in again[: self._window]:
                self._write(packet_id, outgoing, again=answer.session_present)
            for packet_id, outgoing in reversed(again[self._window :]):
                del self._sent[packet_id]
                self._unsent.appendleft(outgoing)
            self._send_unsent()
        self._events.connected(answer)


def _measure(topic: str, payload: bytes, properties: MessageProperties) -> int:
    """Return the size of a PUBLISH, at most."""
    size = OVERHEAD_BYTES + 3 * len(topic) + len(payload)
    for name, value in properties.user:
        size += 5 + 3 * (len(name) + len(value))
    return size


_ACCEPTED = Answer(wire.PUBACK)
