from broker import Limits
from broker.pressure import Pressure


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
    pressure = Pressure(Limits(incomplete_bytes_total=100))
    small, large, last = Peer(20), Peer(60), Peer(20)
    for each in (small, large, last):
        pressure.note_incomplete(each)
    assert not large.refused
    last.incomplete_bytes = 21
    pressure.note_incomplete(last)
    assert large.refused == ["incomplete_bytes_total"]
    assert not small.refused
    assert not last.refused
    pressure.forget(large)
    last.incomplete_bytes = 80
    pressure.note_incomplete(last)
    assert not last.refused


def test_packets_completed_meanwhile_do_not_count() -> None:
    pressure = Pressure(Limits(incomplete_bytes_total=100))
    done, other = Peer(90), Peer(90)
    pressure.note_incomplete(done)
    done.incomplete_bytes = 0  # nobody tells
    pressure.note_incomplete(other)
    assert not done.refused
    assert not other.refused
    pressure.forget(other)
    third = Peer(100)
    pressure.note_incomplete(third)
    assert not third.refused


def test_beyond_the_total_all_who_left_bytes_unread_are_slow() -> None:
    pressure = Pressure(Limits(output_bytes=60, output_bytes_total=100))
    reader, one, two = Peer(), Peer(unread=60), Peer(unread=40)
    for each in (reader, one, two):
        pressure.note_unread(each)
    assert one.pauses == two.pauses == 0
    two.unread_bytes = 41
    pressure.note_unread(two)
    assert (reader.pauses, one.pauses, two.pauses) == (0, 1, 1)
    pressure.forget(one)
    pressure.note_unread(two)
    assert two.pauses == 1


def test_half_of_the_total_is_kept_from_what_has_not_come() -> None:
    pressure = Pressure(Limits(incomplete_bytes_total=100))
    assert pressure.has_room(50)
    pressure.note_incomplete(Peer(20))
    assert pressure.has_room(30)
    assert not pressure.has_room(31)
