"""Splits the input of clients into packets and passes each to a fast path or its handler.

Theory of operation
-------------------
feed() is given the bytes of one read, often hundreds of packets. Packets of the same kind come in
runs: a fast path handles a whole run, handlers/packets.py handles every other packet, written to be
read. A fast path takes plain packets only: no DUP, no properties, and a route that knows all it
needs. Rules after every call:

1. Every complete packet was handled, unless the client is held or closed, or its turn is over
   (routing/scheduler.py); of the rest, below the limit, nothing was handled.
2. A route is never older than subscriptions, rights and connections: before the next packet the
   routes that a change concerns are dropped from the client's cache (routing/invalidation.py).
3. One client's bytes leave in the order they came, in one write per loop iteration.
4. No input of a peer has raised an exception.
5. A run has the result that handlers/packets.py would have: every client is sent the same packets
   in the same order, PUBACKs and PUBRECs aside, which leave behind the messages of their run.

No asyncio, no socket, no clock: net/hub.py calls feed(), then take_writes().
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from broker.sessions.client import CLOSED, NEW, Client
from broker.wire import measure_packet
from broker.wire.errors import RemoteProtocolError
from broker.wire.raw_publish import split_chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker.fastpath.fan_out import Run
    from broker.quota.counters import BrokerCounters
    from broker.routing.backpressure import Backpressure
    from broker.routing.invalidation import RouteInvalidator
    from broker.routing.scheduler import Scheduler
    from broker.sessions.outbound import Outbound

CONNECT = 0x10
PUBLISH_QOS0 = frozenset({0x30, 0x31})
PUBLISH = 3
STORED_FLAGS = 0x07  # QoS and RETAIN: without any of them a message is in no store
# Bytes that cost one unit of a turn, besides every packet that is not plain and every new topic
TURN_BYTES = 32  # of a packet: the shortest filter or property takes 5
TURN_PAYLOAD_BYTES = 256  # of a PUBLISH, whose payload is not parsed
ANSWER_BYTES = 4  # of one PUBACK
FEW_CLIENTS = 8  # of more, the order costs more than it saves


class PacketFallback(Protocol):
    """Handles every packet that is not plain."""

    def dispatch(self, client: Client, packet: bytes, body_at: int) -> None:
        """Take one whole packet."""

    def is_for_store(self, client: Client, first: int, topic: bytes) -> bool:
        """Return whether a PUBLISH with this first byte would add to the store."""

    def fail(self, client: Client, error: RemoteProtocolError) -> None:
        """Answer and close."""


class PacketDispatcher:
    """Feeds packets to the fast paths and to the handlers."""

    def __init__(  # noqa: PLR0913  # parts are passed, not fetched
        self,
        packet_handler: PacketFallback,
        send_waiting: Callable[[Client], None],
        aliased_path: Run,
        durable_path: Run,
        scheduler: Scheduler,
        backpressure: Backpressure,
        invalidator: RouteInvalidator,
        counters: BrokerCounters,
        touched: dict[Outbound, None],
    ) -> None:
        self._packet_handler = packet_handler
        self._send_waiting = send_waiting
        self._aliased_path = aliased_path
        self._durable_path = durable_path
        self._scheduler = scheduler
        self._backpressure = backpressure
        self._invalidator = invalidator
        self._counters = counters
        self._touched = touched

    def feed(self, client: Client, data: bytes, now: float) -> None:
        """Handle every complete packet in data and in the input before it."""
        self._counters.bytes_received += len(data)
        client.last_heard = now  # speed: set here, and a call only for incomplete packets
        if client.parts:
            data = client.add_input(data)
            if not data:
                return
        self._take(client, data)

    def feed_buffer(self, client: Client, size: int, now: float) -> None:
        """Handle a large packet once it is whole in the client's buffer."""
        self._counters.bytes_received += size
        data = client.fill_buffer(size, now)
        if data:
            self._take(client, data)

    def go_on(self, client: Client) -> None:
        """Give a client that waited its turn."""
        session = client.session
        if self._scheduler.begin(client):
            if session is not None and session.retained_backlog:
                self._send_waiting(client)
            if client.parts and not client.need and not client.held:
                data = client.take_input()
                self._keep(client, data, self._try(client, data))
            self._scheduler.end(client)
            self._touched[client] = None  # it may be read again

    def _take(self, client: Client, data: bytes) -> None:
        used = 0
        if self._scheduler.begin(client):
            used = self._try(client, data)
            self._scheduler.end(client)
        else:  # it waits for its turn
            client.expect(0)
            self._touched[client] = None
        self._keep(client, data, used)

    def _try(self, client: Client, data: bytes) -> int:
        try:
            return self._handle(client, data)
        except RemoteProtocolError as exc:
            self._packet_handler.fail(client, exc)
            return len(data)

    def _keep(self, client: Client, data: bytes, used: int) -> None:
        if used < len(data) and client.state is not CLOSED:
            client.keep_input(data[used:])

    def take_writes(self) -> Iterator[tuple[Client, bytes]]:
        """Yield, once, each client with its output; joined one at a time to keep the peak low."""
        # Last touched first: a publisher is acknowledged after its message was queued for the
        # subscribers, and its next burst is under way while they are written to. With the
        # subscriber first, QoS 2 from one publisher to one subscriber is a fifth slower.
        touched = cast("list[Client]", [*reversed(self._touched)])  # Outbound is Client
        self._touched.clear()
        # speed: a lone answer wakes a publisher, which would take a processor from the subscriber
        # that waits for the message (message_latency of benchmarks/services, with ADR 21)
        if 1 < len(touched) <= FEW_CLIENTS:
            touched.sort(key=_has_lone_answer)
        for client in touched:
            if client.paused and client.state is not CLOSED:
                self._drop_overflow(client)
                yield client, b""
                continue
            output = b"".join(client.out)
            client.out.clear()
            if client.out_aliases is not None:
                output = client.out_aliases.shorten(output)
            self._counters.bytes_sent += len(output)
            yield client, output

    def _handle(self, client: Client, buffer: bytes) -> int:
        start, size, scheduler = 0, len(buffer), self._scheduler
        invalidator = self._invalidator
        while (
            size - start >= 2
            and scheduler.units_left > 0
            and not client.held
            and client.state is not CLOSED
        ):
            if client.generation != invalidator.generation:  # rule 2
                invalidator.catch_up(client)
            run = client.runs.get(buffer[start])  # empty until CONNECT was accepted
            if run is not None:
                after = run(client, buffer, start)
                if after == start and client.aliases is not None:
                    after = self._aliased_path(client, buffer, start)
                if after == start:
                    after = self._durable_path(client, buffer, start)
                if after != start:
                    start = after
                    continue
            after = self._handle_one(client, buffer, start)
            if after == start and not client.held:
                break
            start = after
        else:
            # 0: whole packets may be left
            client.need = 0 if client.held or size - start >= 2 else 2  # speed: without a call
            if not client.need:
                self._touched[client] = None  # core.py lets it wait for its turn
        return start

    def _handle_one(self, client: Client, buffer: bytes, start: int) -> int:
        if client.state is NEW and buffer[start] & 0xF0 != CONNECT:  # [MQTT-3.1.0-1]
            raise RemoteProtocolError("the first packet is no CONNECT")
        measured = measure_packet(buffer, start, client.limit_bytes)
        if measured is None:
            client.expect(len(buffer) - start + 1)
            return start
        body, end = measured
        if end > len(buffer):
            client.expect(end - start)
        is_publish = buffer[start] >> 4 == PUBLISH
        if (
            is_publish
            and self._backpressure.is_on
            and self._must_wait(client, buffer, start, body, end)
        ):
            self._backpressure.hold(client)
            return start
        if end > len(buffer):
            return start
        self._scheduler.spend(_weigh(buffer[start], end - start))
        self._packet_handler.dispatch(client, buffer[start:end], body - start)
        return end

    def _must_wait(self, client: Client, buffer: bytes, start: int, body: int, end: int) -> bool:
        """Return whether a packet, whole or not, would add to a store that is behind."""
        first, size = buffer[start], min(end, len(buffer))
        if not first & STORED_FLAGS or size < body + 2:
            return False
        topic_end = body + 2 + (buffer[body] << 8 | buffer[body + 1])
        if topic_end > size:  # its handler reports it once it is whole
            return False
        return self._packet_handler.is_for_store(client, first, buffer[body + 2 : topic_end])

    def _drop_overflow(self, client: Client) -> None:
        """Drop and count the QoS 0 messages in the output of a client that reads too slowly."""
        kept = []
        for chunk in client.out:
            if chunk[0] in PUBLISH_QOS0:
                self._counters.drop("slow_reader", sum(1 for _ in split_chunk(chunk)))
            else:
                kept.append(chunk)
        client.out[:] = [b"".join(kept)] if kept else []


def _has_lone_answer(client: Client) -> bool:
    return len(client.out) == 1 and len(client.out[0]) == ANSWER_BYTES


def _weigh(first: int, size: int) -> int:
    return 1 + size // (TURN_PAYLOAD_BYTES if first >> 4 == PUBLISH else TURN_BYTES)
