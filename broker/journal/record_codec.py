"""Encodes and decodes the records of the journal.

A record is one byte that names its kind, then fixed fields, then the fields whose lengths they
give; numbers are big-endian, texts UTF-8. On the disk a series is the same records, one by one.
"""

import math
from collections.abc import Callable, Iterable
from struct import Struct, error
from typing import Any

from broker.journal.errors import JournalError
from broker.journal.records import (
    Acknowledged,
    CaughtUp,
    Cleared,
    ClockRead,
    Completed,
    Ended,
    Freed,
    MessagesSent,
    Opened,
    Publisher,
    QueueEntry,
    ReceivedQos2,
    Record,
    Released,
    Renewed,
    SegmentEnded,
    SentSeries,
    Series,
    SessionClosed,
    Stored,
    StoredSeries,
    Subscribed,
    Unsubscribed,
    WillDelayed,
    WillEnded,
    WillHeld,
)
from broker.wire.packets import Subscription

_U16, _U32, _U64 = Struct(">H"), Struct(">I"), Struct(">Q")
_SESSION = Struct(">BI")
_OPENED = Struct(">BIBdHHH")
_CLOSED = Struct(">BId")
_SUBSCRIBED = Struct(">BIBBH")
_NAMED = Struct(">BIH")
_STORED = Struct(">BQBdHHIII")
_PUBLISHER = Struct(">HH")
_ENTRY = Struct(">IB")
_SENT_PAIR = Struct(">QH")
_SENT_ID = Struct(">Q2s")  # the same, with the bytes of the packet id
_RELEASED = Struct(">BIQH")
_WILL = Struct(">BIQdB")
_CLEARED = Struct(">BH")
_CLOCK = Struct(">BdddB")
_SEGMENT = Struct(">BIQ")

RETAIN_FLAG, IDENTIFIERS_FLAG, PUBLISHER_FLAG = 0x04, 0x08, 0x10  # above two bits of the QoS


def encode_records(records: Iterable[Record | Series]) -> bytes:
    """Return the bytes of records; JournalError when a value does not fit its field."""
    try:
        return b"".join([_ENCODE[type(record)](record) for record in records])
    except (error, UnicodeEncodeError) as exc:
        raise JournalError(f"cannot write record: {exc}") from exc


def decode_records(buffer: bytes) -> list[Record]:
    """Return the records of a whole buffer; JournalError when it holds anything else."""
    records: list[Record] = []
    reader = _Reader(buffer)
    try:
        while reader.at < len(buffer):
            decode = _DECODE.get(buffer[reader.at])
            if decode is None:
                raise JournalError(f"cannot read record: kind {buffer[reader.at]} is unknown")
            records.append(decode(reader))
    except (error, UnicodeDecodeError) as exc:
        raise JournalError(f"cannot read record: {exc}") from exc
    return records


class _Reader:
    __slots__ = ("at", "buffer")

    def __init__(self, buffer: bytes) -> None:
        self.buffer = buffer
        self.at = 0

    def unpack(self, layout: Struct) -> tuple[Any, ...]:
        values = layout.unpack_from(self.buffer, self.at)
        self.at += layout.size
        return values

    def take(self, size: int) -> bytes:
        start = self.at
        self.at += size
        if self.at > len(self.buffer):
            raise JournalError("cannot read record: it ends too early")
        return self.buffer[start : self.at]

    def text(self, size: int) -> str:
        return self.take(size).decode()

    def texts(self, count: int) -> tuple[str, ...]:
        return tuple(self.text(self.unpack(_U16)[0]) for _ in range(count))

    def numbers(self, layout: Struct, count: int) -> tuple[int, ...]:
        return tuple(self.unpack(layout)[0] for _ in range(count))


def _instant(value: float) -> float:
    if not math.isfinite(value):
        raise JournalError(f"cannot read record: {value} is no time")
    return value


def _qos(flags: int) -> int:
    if flags & 3 == 3:
        raise JournalError("cannot read record: QoS 3")
    return flags & 3


def _encode_opened(record: Opened | Renewed) -> bytes:
    client_id, owner = record.client_id.encode(), record.owner.encode()
    kind = 1 if type(record) is Opened else 16
    head = _OPENED.pack(kind, record.session_id, record.version, record.expiry_s, len(client_id),
                        len(owner), len(record.groups))  # fmt: skip
    return head + client_id + owner + _encode_texts(record.groups)


def _encode_texts(texts: Iterable[str]) -> bytes:
    encoded = [text.encode() for text in texts]
    return b"".join(_U16.pack(len(text)) + text for text in encoded)


def _decode_opened(reader: _Reader) -> Opened | Renewed:
    kind, session_id, version, expiry_s, client, owner, groups = reader.unpack(_OPENED)
    made = Opened if kind == 1 else Renewed
    return made(session_id, reader.text(client), reader.text(owner), reader.texts(groups),
                version, _instant(expiry_s))  # fmt: skip


def _decode_closed(reader: _Reader) -> SessionClosed:
    _, session_id, expires_at = reader.unpack(_CLOSED)
    return SessionClosed(session_id, _instant(expires_at))


def _encode_subscribed(record: Subscribed) -> bytes:
    each = record.subscription
    name = each.topic_filter.encode()
    options = (
        each.qos | each.no_local << 2 | each.retain_as_published << 3 | each.retain_handling << 4
    ) | record.catches_up << 6
    head = _SUBSCRIBED.pack(4, record.session_id, options, len(each.identifiers), len(name))
    return head + name + b"".join(map(_U32.pack, each.identifiers))


def _decode_subscribed(reader: _Reader) -> Subscribed:
    _, session_id, options, identifiers, name = reader.unpack(_SUBSCRIBED)
    handling = options >> 4 & 3
    if handling > 2 or options > 0x7F:
        raise JournalError(f"cannot read record: subscription options {options:#x}")
    subscription = Subscription(
        reader.text(name), _qos(options), bool(options & 4), bool(options & 8), handling,
        reader.numbers(_U32, identifiers),
    )  # fmt: skip
    return Subscribed(session_id, subscription, bool(options & 0x40))


def _encode_filter(record: Unsubscribed | CaughtUp) -> bytes:
    name = record.topic_filter.encode()
    return (
        _NAMED.pack(5 if type(record) is Unsubscribed else 17, record.session_id, len(name)) + name
    )


def _decode_filter(reader: _Reader) -> Unsubscribed | CaughtUp:
    kind, session_id, size = reader.unpack(_NAMED)
    made = Unsubscribed if kind == 5 else CaughtUp
    return made(session_id, reader.text(size))


def _encode_stored(record: Stored) -> bytes:
    topic, sender = record.topic.encode(), record.sender.encode()
    payload, properties, entries = record.payload, record.properties, record.entries
    flags = record.qos | RETAIN_FLAG if record.is_retained else record.qos
    end = b""
    if record.publisher is not None:
        flags |= PUBLISHER_FLAG
        client_id, groups = record.publisher.client_id.encode(), record.publisher.groups
        end = _PUBLISHER.pack(len(client_id), len(groups)) + client_id + _encode_texts(groups)
    head = _STORED.pack(6, record.message_id, flags, record.expires_at, len(topic), len(sender),
                        len(properties), len(payload), len(entries))  # fmt: skip
    return b"".join((head, topic, sender, properties, payload, *map(_encode_entry, entries), end))


def _encode_stored_series(record: StoredSeries) -> bytes:
    topic, sender = record.topic.encode(), record.sender.encode()
    middle, end = topic + sender, b"".join(map(_encode_entry, record.entries))
    topic_bytes, sender_bytes, entries = len(topic), len(sender), len(record.entries)
    pack, message_id = _STORED.pack, record.first_id
    parts: list[bytes] = []
    for payload in record.payloads:
        parts += (
            pack(6, message_id, 1, 0.0, topic_bytes, sender_bytes, 0, len(payload), entries),
            middle, payload, end,
        )  # fmt: skip
        message_id += 1
    return b"".join(parts)


def _encode_entry(entry: QueueEntry) -> bytes:
    flags = entry.qos | entry.retain << 2
    if not entry.identifiers:
        return _ENTRY.pack(entry.session_id, flags)
    head = _ENTRY.pack(entry.session_id, flags | IDENTIFIERS_FLAG)
    return head + _U16.pack(len(entry.identifiers)) + b"".join(map(_U32.pack, entry.identifiers))


def _decode_stored(reader: _Reader) -> Stored:
    (_, message_id, flags, expires_at, topic, sender,
     properties, payload, entries) = reader.unpack(_STORED)  # fmt: skip
    name, by, bag = reader.text(topic), reader.text(sender), reader.take(properties)
    return Stored(
        message_id, name, reader.take(payload), bag, _qos(flags), by, _instant(expires_at),
        bool(flags & RETAIN_FLAG), tuple(_decode_entry(reader) for _ in range(entries)),
        _decode_publisher(reader) if flags & PUBLISHER_FLAG else None,
    )  # fmt: skip


def _decode_publisher(reader: _Reader) -> Publisher:
    client_id, groups = reader.unpack(_PUBLISHER)
    return Publisher(reader.text(client_id), reader.texts(groups))


def _decode_entry(reader: _Reader) -> QueueEntry:
    session_id, flags = reader.unpack(_ENTRY)
    count = reader.unpack(_U16)[0] if flags & IDENTIFIERS_FLAG else 0
    identifiers = reader.numbers(_U32, count)
    return QueueEntry(session_id, _qos(flags), bool(flags & RETAIN_FLAG), identifiers)


def _encode_sent(record: MessagesSent) -> bytes:
    head = _NAMED.pack(7, record.session_id, len(record.pairs))
    return head + b"".join([_SENT_PAIR.pack(*pair) for pair in record.pairs])


def _encode_sent_series(record: SentSeries) -> bytes:
    head = _NAMED.pack(7, record.session_id, len(record.packet_ids))
    ids = range(record.first_id, record.first_id + len(record.packet_ids))
    return head + b"".join(map(_SENT_ID.pack, ids, record.packet_ids))


def _decode_sent(reader: _Reader) -> MessagesSent:
    _, session_id, count = reader.unpack(_NAMED)
    pairs = (reader.unpack(_SENT_PAIR) for _ in range(count))
    return MessagesSent(
        session_id, tuple((message_id, packet_id) for message_id, packet_id in pairs)
    )


def _encode_acknowledged(record: Acknowledged) -> bytes:
    head = _NAMED.pack(8, record.session_id, len(record.message_ids))
    return head + b"".join(map(_U64.pack, record.message_ids))


def _decode_acknowledged(reader: _Reader) -> Acknowledged:
    _, session_id, count = reader.unpack(_NAMED)
    return Acknowledged(session_id, reader.numbers(_U64, count))


def _encode_cleared(record: Cleared) -> bytes:
    topic = record.topic.encode()
    return _CLEARED.pack(13, len(topic)) + topic


def _decode_cleared(reader: _Reader) -> Cleared:
    return Cleared(reader.text(reader.unpack(_CLEARED)[1]))


def _decode_will(reader: _Reader) -> WillDelayed | WillHeld:
    kind, session_id, message_id, time, retain = reader.unpack(_WILL)
    made = WillDelayed if kind == 14 else WillHeld
    return made(session_id, message_id, _instant(time), bool(retain))


def _encode_clock(record: ClockRead) -> bytes:
    boot = record.boot.encode()
    return _CLOCK.pack(20, record.at, record.wall, record.uptime, len(boot)) + boot


def _decode_clock(reader: _Reader) -> ClockRead:
    _, at, wall, uptime, boot = reader.unpack(_CLOCK)
    return ClockRead(_instant(at), _instant(wall), _instant(uptime), reader.text(boot))


_ENCODE: dict[type, Callable[[Any], bytes]] = {
    Opened: _encode_opened,
    Renewed: _encode_opened,
    SessionClosed: lambda record: _CLOSED.pack(2, *record),
    Ended: lambda record: _SESSION.pack(3, *record),
    Subscribed: _encode_subscribed,
    Unsubscribed: _encode_filter,
    CaughtUp: _encode_filter,
    Stored: _encode_stored,
    StoredSeries: _encode_stored_series,
    MessagesSent: _encode_sent,
    SentSeries: _encode_sent_series,
    Acknowledged: _encode_acknowledged,
    Released: lambda record: _RELEASED.pack(9, *record),
    Completed: lambda record: _NAMED.pack(10, *record),
    ReceivedQos2: lambda record: _NAMED.pack(11, *record),
    Freed: lambda record: _NAMED.pack(12, *record),
    Cleared: _encode_cleared,
    WillDelayed: lambda record: _WILL.pack(14, *record),
    WillEnded: lambda record: _SESSION.pack(15, *record),
    ClockRead: _encode_clock,
    WillHeld: lambda record: _WILL.pack(18, *record),
    SegmentEnded: lambda record: _SEGMENT.pack(19, *record),
}
_DECODE: dict[int, Callable[[_Reader], Record]] = {
    1: _decode_opened,
    2: _decode_closed,
    3: lambda reader: Ended(reader.unpack(_SESSION)[1]),
    4: _decode_subscribed,
    5: _decode_filter,
    17: _decode_filter,
    6: _decode_stored,
    7: _decode_sent,
    8: _decode_acknowledged,
    9: lambda reader: Released(*reader.unpack(_RELEASED)[1:]),
    10: lambda reader: Completed(*reader.unpack(_NAMED)[1:]),
    11: lambda reader: ReceivedQos2(*reader.unpack(_NAMED)[1:]),
    12: lambda reader: Freed(*reader.unpack(_NAMED)[1:]),
    13: _decode_cleared,
    14: _decode_will,
    15: lambda reader: WillEnded(reader.unpack(_SESSION)[1]),
    16: _decode_opened,
    20: _decode_clock,
    18: _decode_will,
    19: lambda reader: SegmentEnded(*reader.unpack(_SEGMENT)[1:]),
}
