"""Plain QoS 1 publishes that stored sessions must get, one read buffer at a time.

Theory of operation
-------------------
As the run of flow.py, but the PUBACKs wait: the messages of one run are written down together
and share one place in the client's line of acknowledgements (acks.py), so that one commit lets
all of them go, in order. While a line is not empty, what nobody needs to store takes this way
too, for its PUBACK has to stand behind. Rules after every call:

1. A message is written down before what happens to it (sent, dropped).
2. At most ``holds`` messages of a client are not acknowledged; 3.1.1 is not read any further,
   who speaks MQTT 5 and sends more breaks his word, which dialog.py tells him.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from broker.durable import MUCH_BYTES
from broker.flow import NO_ID
from broker.journal.records import StoredSeries
from broker.plain import PLAIN_QOS1, measure_publish
from broker.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.acks import AckLine
    from broker.client import Client
    from broker.inflight import Parts
    from broker.journal.records import Series
    from broker.limits import Limits
    from broker.route import Outlet
    from broker.router import Router

    Send = Callable[[Client, Outlet, list[Parts], Sequence[int]], None]


class Lines(Protocol):
    """Who has the lines of acknowledgements."""

    def line_of(self, client: Client) -> AckLine:
        """Return a client's."""


class _Batch(NamedTuple):
    outlet: Outlet
    parts: list[Parts]
    topics: list[tuple[str, int]]  # and with which part each begins


class StoredRun:
    """Takes runs of PUBLISH for stored sessions."""

    def __init__(self, router: Router, lines: Lines, limits: Limits, send: Send) -> None:
        self._router = router
        self._ledger = router.ledger
        self._backpressure = router.backpressure
        self._lines = lines
        self._limits = limits
        self._send = send

    def run(self, client: Client, buffer: bytes, start: int) -> int:
        """Handle the packets at start that are of this kind; return where the next one is."""
        session = client.session
        if buffer[start] != PLAIN_QOS1 or session is None or self._backpressure.is_on:
            return start
        line = self._lines.line_of(client)
        room = self._limits.holds - len(line) - session.unreleased
        batches: list[_Batch] = []
        packet_ids: list[bytes] = []
        begin = start
        try:
            start = self._read(client, buffer, start, room, batches, packet_ids)
        finally:  # also when the next packet is a fault
            if packet_ids:
                self._take(client, line, batches, packet_ids, start - begin or len(buffer))
                if self._ledger.collected_bytes >= MUCH_BYTES:
                    self._ledger.flush()  # the store may fall behind by it
        return start

    def _read(
        self,
        client: Client,
        buffer: bytes,
        start: int,
        room: int,
        batches: list[_Batch],
        packet_ids: list[bytes],
    ) -> int:
        size, five, startswith = len(buffer), client.five, buffer.startswith
        head, step, id_at = NO_ID, 0, 0  # no PUBLISH starts like NO_ID
        outlet: Outlet | None = None
        parts: list[Parts] = []
        topics: list[tuple[str, int]] = []
        while size - start >= 6 and len(packet_ids) < room:
            if not (startswith(head, start) and start + step <= size):
                body, end, topic_end = measure_publish(buffer, start, PLAIN_QOS1)
                if end > size or topic_end + 2 + five > end:
                    break
                if five and buffer[topic_end + 2]:  # an alias may stand for the topic
                    break
                name = buffer[body + 2 : topic_end]
                route = client.routes.get(name) or self._router.find_route(client, name)
                if end - start > max(route.outlet.limit_qos1, route.outlet.limit_stored):
                    break
                if route.outlet is not outlet:
                    outlet, parts, topics = route.outlet, [], []
                    batches.append(_Batch(outlet, parts, topics))
                head, step, id_at = buffer[start:topic_end], end - start, topic_end - start
                if not topics or topics[-1][0] != route.topic:
                    topics.append((route.topic, len(parts)))
            packet_id = buffer[start + id_at : start + id_at + 2]
            rest = buffer[start + id_at + 2 : start + step]
            if packet_id == NO_ID or (five and rest[0]):
                break
            parts.append((head, rest))
            packet_ids.append(packet_id)
            start += step
        return start

    def _take(
        self,
        client: Client,
        line: AckLine,
        batches: list[_Batch],
        packet_ids: list[bytes],
        size: int,
    ) -> None:
        ledger, counters = self._ledger, self._router.counters
        first = ledger.take_message_ids(len(packet_ids))
        records = _describe(client, batches, first)
        place = line.join_run(tuple(packet_ids))

        def done(ok: bool) -> None:
            if not ok:
                counters.refuse("not_stored")
            place.decide(Reason.SUCCESS if ok else Reason.QUOTA_EXCEEDED)

        if records:
            ledger.collect_run(records, first, size, done)  # rule 1
            if self._backpressure.line:
                self._backpressure.pass_through(client)
        for outlet, parts, _ in batches:
            following = first + len(parts)
            self._send(client, outlet, parts, range(first, following) if outlet.entries else ())
            first = following
        if not records:
            place.decide(Reason.SUCCESS)
        if not client.five and len(line) >= self._limits.holds:  # rule 2
            client.held = True
            self._router.touched.add(client)


def _describe(client: Client, batches: list[_Batch], first: int) -> list[Series]:
    # speed: made without Message and Encoder (benchmarks/, QoS 1 to stored sessions)
    records: list[Series] = []
    sender, body_at = client.name, 1 if client.five else 0  # behind the empty properties
    for outlet, parts, topics in batches:
        entries = outlet.entries
        if entries:
            ends = [*(begin for _, begin in topics[1:]), len(parts)]
            for (topic, begin), end in zip(topics, ends, strict=True):
                payloads = [rest[body_at:] for _, rest in parts[begin:end]]
                records.append(StoredSeries(first + begin, topic, payloads, sender, entries))
        first += len(parts)
    return records
