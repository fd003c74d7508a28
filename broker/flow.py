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
from broker.room import Room
from broker.route import CLOSED_OUTLET, Route
from broker.wire import decode_length, encode_length, measure_packet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from broker.changes import Changes
    from broker.counters import Counters
    from broker.route import Outlet
    from broker.session import Session

    Run = Callable[[Client, bytes, int], int]

CONNECT = 0x10
PLAIN_QOS0, PLAIN_QOS1 = 0x30, 0x32  # no RETAIN, no DUP [MQTT-3.3.1-3]
PUBACK = b"\x40\x02"  # the short form, which says success in MQTT 5
NO_ID = b"\x00\x00"
PUBLISH_QOS0 = frozenset({0x30, 0x31})
PUBLISH = 3
# What one client may have done for it before others have their turn, in packets that are not
# plain and topics that are new: they cost 10 to 30 us each. Plain packets cost below 1 us.
TURN = 50
WAKE_UP = 100  # of all clients at one wake-up; then everybody else has a turn of one
TURN_BYTES = 32  # of a packet that are one more: the shortest filter or property takes 5
TURN_PAYLOAD_BYTES = 256  # of a PUBLISH, most of which nobody reads
TURN_WAITING = 4  # messages that have to wait for a client, at 4 us each, are one more
WAITING_RUN_BYTES = 1_024  # of plain packets in one go if some receiver takes nothing now


NOT_NOW = Route("", allowed=False)  # its outlet takes nothing, so a run ends there


class Dialog(Protocol):
    """What handles every packet that is not plain."""

    def handle(self, client: Client, packet: bytes, body_at: int) -> None:
        """Take one whole packet."""

    def fail(self, client: Client, error: RemoteProtocolError) -> None:
        """Answer and close."""

    def acknowledged(self, client: Client) -> None:
        """There is room for what waits for this client."""


class Router(Protocol):
    """What knows subscriptions and rights."""

    changes: Changes
    touched: set[Client]

    def find_route(self, client: Client, topic_bytes: bytes) -> Route:
        """Return where a client's topic goes, and remember; raises for what is no topic."""

    def let_wait(
        self,
        client: Client,
        session: Session,
        parts: Iterable[Parts],
        message_ids: Sequence[int] = (),
    ) -> None:
        """Queue what could not be sent to a session at once."""


class Flow:
    """Moves plain publishes; knows routes, not rules."""

    def __init__(self, router: Router, dialog: Dialog, counters: Counters) -> None:
        self._router = router
        self._dialog = dialog
        self._counters = counters
        self._touched = router.touched
        self.stored_run: Run | None = None  # stored_run.py, when there is a store
        self._turn = 0  # what is left of it
        self._left = WAKE_UP
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

    def _take(self, client: Client, data: bytes) -> None:
        self._turn = turn = TURN if self._left > 0 else 1
        try:
            used = self._handle(client, data)
        except RemoteProtocolError as exc:
            self._dialog.fail(client, exc)
        else:
            if used < len(data) and client.state is not CLOSED:
                client.parts.append(data[used:])
                client.have = len(data) - used
        self._left -= turn - self._turn

    def wake_up(self) -> None:
        """Everybody may have turns again."""
        self._left = WAKE_UP

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
        start, size, changes = 0, len(buffer), self._router.changes
        while (
            size - start >= 2 and self._turn > 0 and not client.held and client.state is not CLOSED
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
            if after == start:
                break
            start = after
        else:
            # 0: whole packets may be left
            client.need = 0 if client.held or size - start >= 2 else 2
            if not client.need:
                self._touched.add(client)  # core.py goes on when others had their turn
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
            return start
        self._turn -= _weigh(buffer[start], end - start)
        self._dialog.handle(client, buffer[start:end], body - start)
        return end

    def find_route(self, client: Client, topic: bytes) -> Route:
        """Return where a topic goes, as long as the turn lasts."""
        if self._turn <= 0:
            return NOT_NOW
        self._turn -= 1
        return self._router.find_route(client, topic)

    def spend(self, share: int) -> None:
        """Use up a share of the turn."""
        self._turn -= share

    def _run_qos0(self, client: Client, buffer: bytes, start: int) -> int:
        # speed: consecutive packets to the same receivers leave as one slice; packets that start
        # like the two before (topic, length) are only compared; the length is read in place
        # (benchmarks/, qos0_1to1 and qos0_mixed)
        size, five, startswith = len(buffer), client.five, buffer.startswith
        routes, find_route = client.routes, self.find_route
        outlet = CLOSED_OUTLET  # takes nothing
        last: Route | None = None
        first, count, begin = start, 0, start
        counts: dict[Outlet, int] = {}
        try:
            while size - start >= 4:
                length, body = buffer[start + 1], start + 2
                if length >= 0x80:
                    length, body = _measure_length(buffer, length, body)
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
                    _append_chunk(outlet, buffer[first:start], client.five)
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
            if start != begin:
                _append_chunk(outlet, buffer[first:start], client.five)
                counts[outlet] = counts.get(outlet, 0) + count
                self._note_sent(counts)
        return start

    def _note_sent(self, counts: dict[Outlet, int]) -> None:
        # speed: once for all that a run sent
        counters = self._counters
        for outlet, count in counts.items():
            self._touched.update(outlet.clients)
            counters.messages_received += count
            counters.messages_sent += count * len(outlet.clients)

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
        for session, same in outlet.high:
            if not same and not translated:
                translated = [translate_parts(each, PLAIN_QOS1, five, not five) for each in parts]
            sent = session.inflight.offer(parts if same else translated)
            counters.messages_sent += sent
            if message_ids and session.diary is not None:
                session.diary.sent_run(session.inflight.last_ids(sent), message_ids)
            if sent < len(parts):
                self._router.let_wait(client, session, parts[sent:], message_ids[sent:])
                self._turn -= 1 + (len(parts) - sent) // TURN_WAITING
        if outlet.low_same or outlet.low_other:
            self.send_low(client, outlet, parts)

    def send_low(self, client: Client, outlet: Outlet, parts: list[Parts]) -> None:
        """Send to those granted QoS 0."""
        counters, five = self._counters, client.five
        if outlet.low_same:
            chunk = _join_qos0(parts, five, five)
            counters.messages_sent += len(parts) * len(outlet.low_same)
            for append in outlet.low_same:
                append(chunk)
        if outlet.low_other:
            chunk = _join_qos0(parts, five, not five)
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
                    self._send_parts(client, outlet, parts, kind)
                    outlet, parts = outlet_found, []
                parts.append((long_head(kind, topic, end - payload), b"\0" + buffer[payload:end]))
                packet_ids.append(packet_id)
                start = end
        finally:  # also when the next packet is a fault
            self._send_parts(client, outlet, parts, kind)
            if packet_ids and kind == PLAIN_QOS1:
                client.out.append(PUBACK + PUBACK.join(packet_ids))  # [MQTT-4.3.2-4]
                self._counters.send_control(len(packet_ids), 4 * len(packet_ids))
                self._touched.add(client)
        return start

    def _send_parts(
        self, client: Client, outlet: Outlet | None, parts: list[Parts], kind: int
    ) -> None:
        if kind == PLAIN_QOS1:
            self.send_qos1(client, outlet, parts)
        elif outlet is not None:
            chunk = b"".join([head + body for head, body in parts])
            _append_chunk(outlet, chunk, client.five)
            self._note_sent({outlet: len(parts)})

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
                self._counters.drop("slow_reader", _count_packets(chunk))
            else:
                kept.append(chunk)
        client.out[:] = [b"".join(kept)] if kept else []


def _weigh(first: int, size: int) -> int:
    return 1 + size // (TURN_PAYLOAD_BYTES if first >> 4 == PUBLISH else TURN_BYTES)


def _append_chunk(outlet: Outlet, chunk: bytes, five: bool) -> None:
    for append in outlet.same:
        append(chunk)
    if outlet.other:
        chunk = b"".join(_translate_chunk(chunk, to_five=not five))
        for append in outlet.other:
            append(chunk)


def _measure_length(buffer: bytes, first: int, at: int) -> tuple[int, int]:
    """Return length and start of a body, given the first byte of several and where the second is.

    A length that is not whole reaches beyond the buffer.
    """
    second = buffer[at]
    if 0 < second < 0x80:
        return first & 0x7F | second << 7, at + 1
    return decode_length(buffer, at - 1) or (len(buffer), at)


def measure_publish(buffer: bytes, start: int, kind: int) -> tuple[int, int, int]:
    """Return where body, packet and topic of a PUBLISH end; beyond the buffer if it is none."""
    beyond = len(buffer) + 1
    body = start + 2
    if buffer[start] != kind:
        return body, beyond, beyond
    length = buffer[start + 1]
    if length & 0x80:
        decoded = decode_length(buffer, start + 1)
        if decoded is None:
            return body, beyond, beyond
        length, body = decoded
    if length < 3 or body + 2 > len(buffer):
        return body, beyond, beyond
    return body, body + length, body + 2 + (buffer[body] << 8 | buffer[body + 1])


def translate_parts(parts: Parts, first: int, from_five: bool, to_five: bool) -> Parts:
    """Return the same message for another QoS or version; first is its new first byte."""
    head, body = parts
    decoded = decode_length(head, 1)
    assert decoded is not None  # it was read before
    length, topic_at = decoded
    if from_five and not to_five:
        body = body[1:]
    elif to_five and not from_five:
        body = b"\x00" + body
    topic = head[topic_at:]
    length = len(topic) + len(body) + (2 if first & 0x06 else 0)
    return bytes((first,)) + encode_length(length) + topic, body


def _join_qos0(parts: list[Parts], from_five: bool, to_five: bool) -> bytes:
    translated = (translate_parts(each, PLAIN_QOS0, from_five, to_five) for each in parts)
    return b"".join(head + body for head, body in translated)


def _translate_chunk(chunk: bytes, *, to_five: bool) -> Iterator[bytes]:
    at = 0
    while at < len(chunk):
        body, end, topic_end = measure_publish(chunk, at, PLAIN_QOS0)
        rest_at = topic_end if to_five else topic_end + 1
        rest = (b"\x00" if to_five else b"") + chunk[rest_at:end]
        topic = chunk[body:topic_end]
        yield b"\x30" + encode_length(len(topic) + len(rest)) + topic + rest
        at = end


def _count_packets(chunk: bytes) -> int:
    at = count = 0
    while at < len(chunk):
        decoded = decode_length(chunk, at + 1)
        assert decoded is not None  # made by us
        at = decoded[0] + decoded[1]
        count += 1
    return count
