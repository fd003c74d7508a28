"""Plain publishes from many clients to many, one read buffer at a time.

Theory of operation
-------------------
receive() is given what one read brought, often hundreds of packets. Packets of the same kind
come in runs; a plain PUBLISH and what acknowledges one have a loop of their own that handles a
whole run (those of QoS 2 in exactly_once.py), every other packet goes to dialog.py, which is
written to be read. Plain means: no RETAIN, no DUP, no properties, and a route that knows all it
needs. Rules after every call:

1. Every complete packet was handled, unless the client is held or closed, or its turn (TURN) is
   over; of the rest, below the limit, nothing was handled.
2. A route is never older than subscriptions, rights and connections: before the next packet those
   that a change concerns are dropped from the client's cache (changes.py).
3. One client's bytes leave in the order they came, in one write per wake-up.
4. Nothing was raised because of what a peer sent.
5. What a run did is what dialog.py would have done: every client is sent the same packets in
   the same order, PUBACKs and PUBRECs aside, which leave behind the messages of their run.

No asyncio, no socket, no clock: server.py calls receive(), then take_writes().

speed: what a run shares is made once: consecutive QoS 0 packets to the same receivers leave as
one slice, QoS 1 packets share head and body around their packet ids, PUBACKs are joined. A packet
that starts with the same bytes as the one before (same topic, same length) is not parsed again.
Measured by benchmarks/ (1:1, 1:50, QoS 1 window 100).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from broker.aliases import long_head, read_aliased
from broker.client import CLOSED, NEW, Client
from broker.errors import RemoteProtocolError
from broker.inflight import Parts, split_packet_ids
from broker.plain import (
    PLAIN_QOS0,
    PLAIN_QOS1,
    join_qos0,
    measure_length,
    measure_publish,
    split_chunk,
    translate_chunk,
    translate_parts,
)
from broker.room import Room
from broker.route import CLOSED_OUTLET, Route
from broker.waiting import Waiting
from broker.wire import measure_packet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from broker.backpressure import Backpressure
    from broker.changes import Changes
    from broker.counters import Counters
    from broker.route import Outlet
    from broker.turns import Turns

    Run = Callable[[Client, bytes, int], int]

CONNECT = 0x10
PUBACK = b"\x40\x02"  # the short form, which says success in MQTT 5
NO_ID = b"\x00\x00"
PUBLISH_QOS0 = frozenset({0x30, 0x31})
PUBLISH = 3
STORED_FLAGS = 0x07  # QoS and RETAIN: without any a message is in no store
# What costs a unit of a turn besides every packet that is not plain and every new topic
TURN_BYTES = 32  # of a packet: the shortest filter or property takes 5
TURN_PAYLOAD_BYTES = 256  # of a PUBLISH, most of which nobody reads
TURN_WAITING = 4  # messages that have to wait for a client, at 4 us each
WAITING_RUN_BYTES = 1_024  # of plain packets in one go if some receiver takes nothing now


NOT_NOW = Route("", allowed=False)  # its outlet takes nothing, so a run ends there


class Dialog(Protocol):
    """What handles every packet that is not plain."""

    def handle(self, client: Client, packet: bytes, body_at: int) -> None:
        """Take one whole packet."""

    def is_for_store(self, client: Client, first: int, topic: bytes) -> bool:
        """Return whether a PUBLISH with this first byte would add to the store."""

    def fail(self, client: Client, error: RemoteProtocolError) -> None:
        """Answer and close."""

    def acknowledged(self, client: Client) -> None:
        """There is room for what waits for this client."""


class Router(Protocol):
    """What knows subscriptions and rights."""

    backpressure: Backpressure
    changes: Changes
    touched: set[Client]
    turns: Turns

    def find_route(self, client: Client, topic_bytes: bytes) -> Route:
        """Return where a client's topic goes, and remember; raises for what is no topic."""


class Flow:
    """Moves plain publishes; knows routes, not rules."""

    def __init__(self, router: Router, dialog: Dialog, counters: Counters) -> None:
        self._router = router
        self._dialog = dialog
        self._counters = counters
        self._touched = router.touched
        self.stored_run: Run | None = None  # stored_run.py, when there is a store
        self._turns = router.turns
        self._backpressure = router.backpressure
        self.runs: dict[int, Run] = {
            PLAIN_QOS0: self._run_qos0,
            PLAIN_QOS1: self._run_qos1,
            PUBACK[0]: self._run_pubacks,
        }

    def receive(self, client: Client, data: bytes, now: float) -> None:
        """Handle every complete packet in data and what was left before it."""
        client.last_heard = now  # once per read is exact enough for a keep-alive in seconds
        self._counters.bytes_received += len(data)
        if client.parts:
            client.parts.append(data)
            client.have += len(data)
            if client.held or client.have < client.need:
                return
            data = b"".join(client.parts)
            client.parts.clear()
        self._take(client, data)

    def open_room(self, client: Client) -> None:
        """Let the rest of an incomplete packet be read straight into its place."""
        client.room = Room(client.need, b"".join(client.parts))
        client.parts[:] = [b""]

    def grow(self, client: Client, size: int, now: float) -> None:
        """Take what was read into the client's room."""
        assert client.room is not None  # it was read into
        client.last_heard = now
        client.have += size
        self._counters.bytes_received += size
        data = client.room.fill(size)
        if data:
            client.forget_input()
            self._take(client, data)

    def go_on(self, client: Client) -> None:
        """Give a client that stood in line its turn."""
        session = client.session
        if self._turns.begin(client):
            if session is not None and session.has_retained_to_send:
                self._dialog.acknowledged(client)
            if client.parts and not client.need and not client.held:
                data = b"".join(client.parts)
                client.parts.clear()
                self._keep(client, data, self._try(client, data))
            self._turns.end(client)
            self._touched.add(client)  # it may be read again

    def _take(self, client: Client, data: bytes) -> None:
        used = 0
        if self._turns.begin(client):
            used = self._try(client, data)
            self._turns.end(client)
        else:  # it stands in line
            client.need = 0
            self._touched.add(client)
        self._keep(client, data, used)

    def _try(self, client: Client, data: bytes) -> int:
        try:
            return self._handle(client, data)
        except RemoteProtocolError as exc:
            self._dialog.fail(client, exc)
            return len(data)

    def _keep(self, client: Client, data: bytes, used: int) -> None:
        if used < len(data) and client.state is not CLOSED:
            client.parts.append(data[used:])
            client.have = len(data) - used

    def take_writes(self) -> Iterator[tuple[Client, bytes]]:
        """Yield, once, what to write to whom; joined one at a time to keep the peak low."""
        touched = tuple(self._touched)
        self._touched.clear()
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
        start, size, turns = 0, len(buffer), self._turns
        changes = self._router.changes
        while (
            size - start >= 2 and turns.left > 0 and not client.held and client.state is not CLOSED
        ):
            if client.generation != changes.generation:  # rule 2
                changes.catch_up(client)
            run = client.runs.get(buffer[start])  # empty until CONNECT was accepted
            if run is not None:
                after = run(client, buffer, start)
                if after == start and client.aliases is not None:
                    after = self._run_aliased(client, buffer, start)
                if after == start and self.stored_run is not None:
                    after = self.stored_run(client, buffer, start)
                if after != start:
                    start = after
                    continue
            after = self._handle_one(client, buffer, start)
            if after == start and not client.held:
                break
            start = after
        else:
            # 0: whole packets may be left
            client.need = 0 if client.held or size - start >= 2 else 2
            if not client.need:
                self._touched.add(client)  # core.py lets it stand in line
        return start

    def _handle_one(self, client: Client, buffer: bytes, start: int) -> int:
        if client.state is NEW and buffer[start] & 0xF0 != CONNECT:  # [MQTT-3.1.0-1]
            raise RemoteProtocolError("the first packet is no CONNECT")
        measured = measure_packet(buffer, start, client.limit_bytes)
        if measured is None:
            client.need = len(buffer) - start + 1
            return start
        body, end = measured
        if end > len(buffer):
            client.need = end - start
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
        self._turns.left -= _weigh(buffer[start], end - start)
        self._dialog.handle(client, buffer[start:end], body - start)
        return end

    def _must_wait(self, client: Client, buffer: bytes, start: int, body: int, end: int) -> bool:
        """Return whether a packet, whole or not, would add to a store that is behind."""
        first, size = buffer[start], min(end, len(buffer))
        if not first & STORED_FLAGS or size < body + 2:
            return False
        topic_end = body + 2 + (buffer[body] << 8 | buffer[body + 1])
        if topic_end > size:  # its handler tells, once it is there
            return False
        return self._dialog.is_for_store(client, first, buffer[body + 2 : topic_end])

    def find_route(self, client: Client, topic: bytes) -> Route:
        """Return where a topic goes, as long as the turn lasts."""
        if self._turns.left <= 0:
            return NOT_NOW
        self._turns.left -= 1
        return self._router.find_route(client, topic)

    def spend(self, share: int) -> None:
        """Use up a share of the turn."""
        self._turns.left -= share

    def _run_qos0(self, client: Client, buffer: bytes, start: int) -> int:
        # speed: consecutive packets to the same receivers leave as one slice; packets that start
        # like the two before (topic, length) are only compared; the length is read in place
        # (benchmarks/, qos0_1to1 and qos0_mixed)
        size, five, startswith = len(buffer), client.five, buffer.startswith
        routes, find_route = client.routes, self.find_route
        outlet = CLOSED_OUTLET  # takes nothing
        last: Route | None = None
        first, count = start, 0
        counts: dict[Outlet, int] = {}  # of what was sent before, by outlet
        try:
            while size - start >= 4:
                length, body = buffer[start + 1], start + 2
                if length >= 0x80:
                    length, body = measure_length(buffer, length, body)
                end = body + length
                if buffer[start] != PLAIN_QOS0 or end > size:
                    break
                topic_end = body + 2 + (buffer[body] << 8 | buffer[body + 1])
                # the topic must end within its packet, or the slice reaches into the next
                if topic_end + five > end or (five and buffer[topic_end]):
                    break
                topic = buffer[body + 2 : topic_end]
                route = routes.get(topic) or find_route(client, topic)
                if end - start > route.outlet.limit:
                    break
                if route.outlet is not outlet:
                    if count:
                        _append_chunk(outlet, buffer[first:start], five)
                        counts[outlet] = counts.get(outlet, 0) + count
                    outlet, first, count = route.outlet, start, 0
                count += 1
                if route is last:
                    head, step = buffer[start : topic_end + five], end - start
                    while startswith(head, end) and end + step <= size:
                        end += step
                        count += 1
                last, start = route, end
        finally:  # also when the next packet is a fault
            self._end_run(outlet, buffer[first:start], five, count, counts)
        return start

    def _end_run(
        self, last: Outlet, chunk: bytes, five: bool, count: int, counts: dict[Outlet, int]
    ) -> None:
        if count:
            _append_chunk(last, chunk, five)
            self._note_sent(last, count)
        for outlet, sent in counts.items():  # speed: once for all that a run sent there before
            self._note_sent(outlet, sent)

    def _note_sent(self, outlet: Outlet, count: int) -> None:
        counters = self._counters
        self._touched.update(outlet.clients)
        counters.messages_received += count
        counters.messages_sent += count * (len(outlet.clients) + len(outlet.groups))

    def _run_qos1(self, client: Client, buffer: bytes, start: int) -> int:
        size, five, startswith = len(buffer), client.five, buffer.startswith
        counters = self._counters
        outlet: Outlet | None = None
        head, step, id_at = b"", 0, 0
        parts: list[Parts] = []
        packet_ids: list[bytes] = []
        try:
            while size - start >= 6 and not client.acks:  # else this PUBACK has to stand in line
                if outlet is None or not (startswith(head, start) and start + step <= size):
                    body, end, topic_end = measure_publish(buffer, start, PLAIN_QOS1)
                    if end > size or topic_end + 2 + five > end:
                        break
                    if five and buffer[topic_end + 2]:  # an alias may stand for the topic
                        break
                    topic = buffer[body + 2 : topic_end]
                    route = client.routes.get(topic) or self.find_route(client, topic)
                    found = route.outlet
                    if end - start > found.limit_qos1:
                        break
                    if found is not outlet:
                        self.send_qos1(client, outlet, parts)
                        outlet, parts = found, []
                        if size - end > WAITING_RUN_BYTES and found.has_waiting:
                            size = max(end, start + WAITING_RUN_BYTES)
                    head, step, id_at = buffer[start:topic_end], end - start, topic_end - start
                packet_id = buffer[start + id_at : start + id_at + 2]
                rest = buffer[start + id_at + 2 : start + step]
                if packet_id == NO_ID or (five and rest[0]):
                    break
                parts.append((head, rest))
                packet_ids.append(packet_id)
                start += step
        finally:  # also when the next packet is a fault
            self.send_qos1(client, outlet, parts)
            if packet_ids:
                client.out.append(PUBACK + PUBACK.join(packet_ids))  # [MQTT-4.3.2-4]
                counters.controls_sent += len(packet_ids)
                counters.control_bytes_sent += 4 * len(packet_ids)
                self._touched.add(client)
        return start

    def send_qos1(
        self,
        client: Client,
        outlet: Outlet | None,
        parts: list[Parts],
        message_ids: Sequence[int] = (),
    ) -> None:
        """Send messages to all receivers; ids are given when some of these are stored."""
        if outlet is None or not parts:
            return
        self._touched.update(outlet.clients)
        counters, five = self._counters, client.five
        counters.messages_received += len(parts)
        translated: list[Parts] = []
        waiting: Waiting | None = None
        for session, same in outlet.high:
            if not same and not translated:
                translated = [translate_parts(each, PLAIN_QOS1, five, not five) for each in parts]
            sent = session.inflight.offer(parts if same else translated)
            counters.messages_sent += sent
            if message_ids and session.diary is not None:
                session.diary.sent_run(session.inflight.last_ids(sent), message_ids)
            if sent < len(parts):
                waiting = waiting or Waiting(client, parts, message_ids)
                waiting.add(session, sent)
                self._turns.left -= 1 + (len(parts) - sent) // TURN_WAITING
        if outlet.low_same or outlet.low_other:
            self.send_low(client, outlet, parts)

    def send_low(self, client: Client, outlet: Outlet, parts: list[Parts]) -> None:
        """Send to those granted QoS 0."""
        counters, five = self._counters, client.five
        if outlet.low_same:
            chunk = join_qos0(parts, five, five)
            counters.messages_sent += len(parts) * len(outlet.low_same)
            for append in outlet.low_same:
                append(chunk)
        if outlet.low_other:
            chunk = join_qos0(parts, five, not five)
            counters.messages_sent += len(parts) * len(outlet.low_other)
            for append in outlet.low_other:
                append(chunk)

    def _run_aliased(self, client: Client, buffer: bytes, start: int) -> int:
        # speed: packets with an alias and no other property are put back into the long form
        # without a packet object (benchmarks/, topic aliases)
        kind, aliases = buffer[start], client.aliases or {}
        if kind not in {PLAIN_QOS0, PLAIN_QOS1}:
            return start
        outlet: Outlet | None = None
        parts: list[Parts] = []
        packet_ids: list[bytes] = []
        try:
            while buffer.startswith(bytes((kind,)), start) and not client.acks:
                found = read_aliased(buffer, start)
                topic = aliases.get(buffer[found[1] - 2 : found[1]]) if found else None
                if found is None or topic is None:
                    break
                id_end, payload, end = found
                route = client.routes.get(topic) or self.find_route(client, topic)
                outlet_found = route.outlet
                packet_id = buffer[id_end - 2 : id_end] if kind == PLAIN_QOS1 else b""
                if packet_id == NO_ID or end - start + len(topic) > outlet_found.takes(kind):
                    break
                if outlet_found is not outlet:
                    self.send_parts(client, outlet, parts, kind)
                    outlet, parts = outlet_found, []
                parts.append((long_head(kind, topic, end - payload), b"\0" + buffer[payload:end]))
                packet_ids.append(packet_id)
                start = end
        finally:  # also when the next packet is a fault
            self.send_parts(client, outlet, parts, kind)
            if packet_ids and kind == PLAIN_QOS1:
                client.out.append(PUBACK + PUBACK.join(packet_ids))  # [MQTT-4.3.2-4]
                self._counters.send_control(len(packet_ids), 4 * len(packet_ids))
                self._touched.add(client)
        return start

    def send_parts(
        self, client: Client, outlet: Outlet | None, parts: list[Parts], kind: int
    ) -> None:
        """Send packets of one kind, PLAIN_QOS0 or PLAIN_QOS1, to all receivers."""
        if kind == PLAIN_QOS1:
            self.send_qos1(client, outlet, parts)
        elif outlet is not None and parts:
            chunk = b"".join([head + body for head, body in parts])
            _append_chunk(outlet, chunk, client.five)
            self._note_sent(outlet, len(parts))

    def _run_pubacks(self, client: Client, buffer: bytes, start: int) -> int:
        size, at, session = len(buffer), start, client.session
        while size - at >= 4 and buffer.startswith(PUBACK, at):
            at += 4
        no_id = buffer.find(PUBACK + NO_ID, start, at)  # matches at the start of a packet only
        if no_id >= 0:
            at = no_id
        if at != start and session is not None:
            self._counters.controls_received += (at - start) // 4
            self._counters.control_bytes_received += at - start
            try:
                unknown = session.inflight.acknowledge(split_packet_ids(buffer[start:at]))
                if unknown:
                    self._counters.refused["unknown_packet_id"] += unknown
            finally:  # also when one of them is a fault
                self._dialog.acknowledged(client)
        return at

    def _drop_overflow(self, client: Client) -> None:
        """Keep what a client that reads too slowly must get, drop and count QoS 0 messages."""
        kept = []
        for chunk in client.out:
            if chunk[0] in PUBLISH_QOS0:
                self._counters.drop("slow_reader", sum(1 for _ in split_chunk(chunk)))
            else:
                kept.append(chunk)
        client.out[:] = [b"".join(kept)] if kept else []


def _weigh(first: int, size: int) -> int:
    return 1 + size // (TURN_PAYLOAD_BYTES if first >> 4 == PUBLISH else TURN_BYTES)


def _append_chunk(outlet: Outlet, chunk: bytes, five: bool) -> None:
    for append in outlet.same:
        append(chunk)
    if outlet.other:
        translated = translate_chunk(chunk, to_five=not five)
        for append in outlet.other:
            append(translated)
    if outlet.groups and chunk:
        packets = list(split_chunk(chunk))
        for group in outlet.groups:
            group.share(packets, five=five)
