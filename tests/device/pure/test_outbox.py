"""The outbox's rules; runs on CPython and on MicroPython."""

import random

from device.outbox import DELIVERED, DROPPED, SENT, WAITING, Entry, Outbox


def drained(outbox: Outbox) -> list[tuple[int, str, bool]]:
    """Return what the outbox gives to send now, as (packet id, path, DUP)."""
    sent: list[tuple[int, str, bool]] = []
    while True:
        entry = outbox.take_unsent()
        if entry is None:
            return sent
        sent.append((entry.packet_id, entry.path, entry.dup))


def filled(*paths: str, window: int = 2) -> Outbox:
    outbox = Outbox(6, 10000, window=window)
    for path in paths:
        outbox.put(path, b"x")
    return outbox


def test_sends_in_order_and_no_more_than_the_window() -> None:
    outbox = filled("a", "b", "c")
    assert drained(outbox) == [(1, "a", False), (2, "b", False)]
    assert outbox.acknowledge(2)
    assert drained(outbox) == [(3, "c", False)]
    assert outbox.has_sent()
    assert len(outbox) == 2
    assert outbox.acknowledge(1)
    assert outbox.acknowledge(3)
    assert not outbox.has_sent()
    assert len(outbox) == 0
    assert outbox.delivered == 3


def test_ignores_acknowledgements_of_what_was_not_sent() -> None:
    outbox = filled("a")
    assert not outbox.acknowledge(1)
    assert drained(outbox) == [(1, "a", False)]
    assert outbox.acknowledge(1)
    assert not outbox.acknowledge(1)


def test_resends_with_the_same_packet_id_and_dup_when_the_session_was_kept() -> None:
    outbox = filled("a", "b", "c")
    drained(outbox)
    outbox.acknowledge(1)
    outbox.reconnected(True)
    assert drained(outbox) == [(2, "b", True), (3, "c", False)]


def test_resends_as_new_when_the_session_is_gone() -> None:
    outbox = filled("a", "b")
    drained(outbox)
    outbox.reconnected(True)
    outbox.reconnected(False)
    assert drained(outbox) == [(1, "a", False), (2, "b", False)]


def test_an_acknowledgement_from_before_the_reconnect_does_not_count() -> None:
    outbox = filled("a")
    drained(outbox)
    outbox.reconnected(True)
    assert not outbox.acknowledge(1)


def test_drops_the_oldest_that_was_never_sent_and_tells_the_waiting_task() -> None:
    outbox = filled("a", "b", "c", "d", "e")
    drained(outbox)
    ended = []
    last = outbox.put("f", b"x", lambda: ended.append("f"))
    outbox.put("g", b"x")
    assert outbox.dropped == 1
    assert len(outbox) == 6
    for n in range(3):
        outbox.put("h%d" % n, b"x")  # noqa: UP031  # as the device package writes it
    assert outbox.dropped == 4
    assert ended == ["f"]
    assert last.state == DROPPED
    for _ in range(6):
        outbox.acknowledge(1)
        outbox.acknowledge(2)
        outbox.reconnected(True)
    assert [path for _, path, _ in drained(outbox)] == ["g", "h0"]


def test_bounds_bytes_too() -> None:
    outbox = Outbox(100, 1400, window=1)
    kept = [outbox.put("p", bytes(200)) for _ in range(4)]
    assert [entry.state for entry in kept] == [DROPPED, WAITING, WAITING, WAITING]
    ended = []
    huge = outbox.put("p", bytes(2000), lambda: ended.append(1))
    assert huge.state == DROPPED
    assert ended == [1]


def test_never_drops_what_the_broker_may_have() -> None:
    outbox = Outbox(2, 900, window=4)  # the limit is raised above the window
    entries = [outbox.put("p", bytes(60)) for _ in range(3)]
    assert len(drained(outbox)) == 3
    refused = outbox.put("p", bytes(200))
    assert refused.state == DROPPED
    assert [entry.state for entry in entries] == [SENT, SENT, SENT]


def test_replies_are_never_dropped_and_reserved_bytes_count() -> None:  # case D13
    outbox = Outbox(100, 2000, window=1)
    replies = [outbox.put("r", bytes(200), kept=True) for _ in range(4)]
    assert [entry.state for entry in replies] == [WAITING] * 4
    assert outbox.put("p", bytes(500)).state == DROPPED
    assert outbox.has_room(200)
    assert not outbox.has_room(300)
    assert outbox.reserve(400)
    assert not outbox.reserve(700)
    assert outbox.put("r", bytes(200), kept=True).state == DROPPED
    outbox.release(400)
    assert outbox.put("r", bytes(200), kept=True).state == WAITING


def test_what_has_left_the_outbox_keeps_no_payload() -> None:  # case D13
    outbox = filled()
    entry = outbox.put("r", bytes(500))
    drained(outbox)
    outbox.acknowledge(entry.packet_id)
    assert entry.state == DELIVERED
    assert entry.payload is None


def test_readings_are_taken_back_in_their_order() -> None:
    outbox = filled("a", "b", "c", "d")
    outbox.put("reply", b"x", lambda: None, kept=True)
    drained(outbox)
    assert [entry.path for entry in outbox.take_back(False)] == ["c", "d"]
    assert [entry.path for entry in outbox.take_back(True)] == ["a", "b"]
    assert len(outbox) == 1


def test_packet_ids_wrap_and_skip_those_in_use() -> None:
    outbox = Outbox(10, 10000, window=3, last_packet_id=4)
    first = outbox.put("first", b"")
    drained(outbox)
    used = []
    for _ in range(7):
        entry = outbox.put("p", b"")
        drained(outbox)
        used.append(entry.packet_id)
        outbox.acknowledge(entry.packet_id)
    assert first.packet_id == 1
    assert used == [2, 3, 4, 2, 3, 4, 2]


class BadLink:
    """Carries messages and PUBACKs between an outbox and a receiver, until it breaks."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.received: set[str] = set()
        self._packets: list[tuple[int, str, bool]] = []
        self._acks: list[int] = []

    def send(self) -> None:
        self._packets += drained(self.outbox)

    def receive(self) -> None:
        if self._packets:
            packet_id, path, _ = self._packets.pop(0)
            self.received.add(path)
            self._acks.append(packet_id)

    def acknowledge(self) -> None:
        if self._acks:
            self.outbox.acknowledge(self._acks.pop(0))

    def cut(self) -> None:
        if random.randrange(4) == 0:
            self._packets, self._acks = [], []
            self.outbox.reconnected(bool(random.randrange(2)))


def test_everything_that_is_not_dropped_is_delivered_over_a_bad_link() -> None:
    for seed in range(30):
        random.seed(seed)
        link = BadLink(Outbox(8, 10000, window=3, last_packet_id=5))
        put: list[Entry] = []
        for step in range(400):
            if step < 300 and random.randrange(6) == 0:
                put.append(link.outbox.put(str(len(put)), b"x"))
            random.choice((link.send, link.receive, link.acknowledge, link.cut))()
        while len(link.outbox):
            link.send()
            link.receive()
            link.acknowledge()
        states = [entry.state for entry in put]
        kept = [n for n, state in enumerate(states) if state != DROPPED]
        assert all(str(n) in link.received for n in kept)
        assert states.count(DROPPED) == link.outbox.dropped
        assert states.count(DELIVERED) == link.outbox.delivered
        assert link.outbox.dropped + link.outbox.delivered == len(put)
