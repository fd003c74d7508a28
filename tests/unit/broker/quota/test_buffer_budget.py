from broker import Limits
from broker.quota.buffer_budget import BufferBudget


class Peer:
    def __init__(self, incomplete: int = 0, unread: int = 0) -> None:
        self.incomplete_bytes = incomplete
        self.unread_bytes = unread
        self.refused: list[str] = []
        self.pauses = 0

    def pause(self) -> None:
        self.pauses += 1

    def refuse(self, reason: str) -> None:
        self.refused.append(reason)


def test_beyond_the_total_the_longest_packet_is_not_waited_for() -> None:
    buffer_budget = BufferBudget(Limits(incomplete_bytes_total=100))
    small, large, last = Peer(20), Peer(60), Peer(20)
    for each in (small, large, last):
        buffer_budget.note_incomplete(each)
    assert not large.refused
    last.incomplete_bytes = 21
    buffer_budget.note_incomplete(last)
    assert large.refused == ["incomplete_bytes_total"]
    assert not small.refused
    assert not last.refused
    buffer_budget.forget(large)
    last.incomplete_bytes = 80
    buffer_budget.note_incomplete(last)
    assert not last.refused


def test_packets_completed_meanwhile_do_not_count() -> None:
    buffer_budget = BufferBudget(Limits(incomplete_bytes_total=100))
    done, other = Peer(90), Peer(90)
    buffer_budget.note_incomplete(done)
    done.incomplete_bytes = 0  # nobody tells
    buffer_budget.note_incomplete(other)
    assert not done.refused
    assert not other.refused
    buffer_budget.forget(other)
    third = Peer(100)
    buffer_budget.note_incomplete(third)
    assert not third.refused


def test_beyond_the_total_all_clients_with_unread_bytes_are_slow() -> None:
    buffer_budget = BufferBudget(Limits(output_bytes=60, output_bytes_total=100))
    reader, one, two = Peer(), Peer(unread=60), Peer(unread=40)
    for each in (reader, one, two):
        buffer_budget.note_unread(each)
    assert one.pauses == two.pauses == 0
    two.unread_bytes = 41
    buffer_budget.note_unread(two)
    assert (reader.pauses, one.pauses, two.pauses) == (0, 1, 1)
    buffer_budget.forget(one)
    buffer_budget.note_unread(two)
    assert two.pauses == 1


def test_half_of_the_total_is_kept_from_what_has_not_come() -> None:
    buffer_budget = BufferBudget(Limits(incomplete_bytes_total=100))
    assert buffer_budget.has_room(50)
    buffer_budget.note_incomplete(Peer(20))
    assert buffer_budget.has_room(30)
    assert not buffer_budget.has_room(31)
