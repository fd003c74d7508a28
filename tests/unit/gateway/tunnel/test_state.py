import pytest

from gateway.tunnel.limits import TunnelLimits
from gateway.tunnel.state import EXPIRY_LEEWAY_S, TunnelPhase, TunnelState
from protocol.preface import EndReason, FrameType, PrefaceStatus, encode_frame

LIMITS = TunnelLimits(ready=2, streams=6, silence_s=45)


def is_in(tunnel: TunnelState, state: TunnelPhase) -> bool:
    return tunnel.state is state


@pytest.fixture
def fresh() -> TunnelState:
    return TunnelState(LIMITS, 0, 1000)


@pytest.fixture
def opened(fresh: TunnelState) -> TunnelState:
    fresh.accepted(0)
    assert fresh.take_wanted() == 2
    return fresh


def test_nothing_is_opened_before_the_relay_accepts(fresh: TunnelState) -> None:
    assert is_in(fresh, TunnelPhase.CONNECTING)
    assert fresh.take_wanted() == 0
    fresh.accepted(1)
    assert is_in(fresh, TunnelPhase.OPEN)
    assert fresh.take_wanted() == 2
    assert fresh.take_wanted() == 0


def test_what_is_taken_is_replaced(opened: TunnelState) -> None:
    opened.taken(1)
    assert (opened.streams, opened.visitors_total) == (1, 1)
    assert opened.take_wanted() == 1
    opened.visitor_closed(500)
    assert (opened.streams, opened.visitors_total, opened.bytes_total) == (0, 1, 500)
    assert opened.take_wanted() == 0


def test_what_failed_is_replaced(opened: TunnelState) -> None:
    opened.gone(1)
    assert opened.take_wanted() == 1


def test_need_opens_more(opened: TunnelState) -> None:
    opened.receive(encode_frame(FrameType.NEED, 1) + encode_frame(FrameType.NEED, 2), 1)
    assert opened.take_wanted() == 3
    for _ in range(3):
        opened.taken(1)
    assert opened.take_wanted() == 0  # two are left


def test_need_includes_what_is_missing_anyway(opened: TunnelState) -> None:
    opened.taken(1)
    opened.taken(1)
    opened.receive(encode_frame(FrameType.NEED, 1), 1)
    assert opened.take_wanted() == 2


def test_connections_are_bounded(opened: TunnelState) -> None:
    opened.receive(encode_frame(FrameType.NEED, 65_535), 1)
    assert opened.take_wanted() == 4
    for _ in range(6):
        opened.taken(1)
    assert opened.take_wanted() == 0
    opened.visitor_closed(0)
    assert opened.take_wanted() == 1


def test_a_ping_is_answered_once(opened: TunnelState) -> None:
    opened.receive(encode_frame(FrameType.PING, 7), 1)
    assert opened.take_output() == encode_frame(FrameType.PING, 7)
    assert opened.take_output() == b""


def test_a_flood_of_pings_is_answered_once(opened: TunnelState) -> None:
    opened.receive(encode_frame(FrameType.PING) * 1000, 1)
    assert opened.take_output() == encode_frame(FrameType.PING)


def test_any_split_of_frames_is_understood(opened: TunnelState) -> None:
    frames = encode_frame(FrameType.NEED, 1) + encode_frame(FrameType.PING, 9)
    for number in range(len(frames)):
        opened.receive(frames[number : number + 1], 1)
    assert opened.take_wanted() == 1
    assert opened.take_output() == encode_frame(FrameType.PING, 9)


@pytest.mark.parametrize("reason", [EndReason.EXPIRED, EndReason.REVOKED, EndReason.IDLE, 99])
def test_the_relay_ends_it(opened: TunnelState, reason: int) -> None:
    opened.receive(encode_frame(FrameType.END, reason), 1)
    assert opened.done
    opened.taken(1)
    assert opened.take_wanted() == 0
    opened.accepted(2)
    opened.lost("again")
    assert opened.done


def test_a_relay_that_stops_may_come_back(opened: TunnelState) -> None:
    opened.receive(encode_frame(FrameType.END, EndReason.RELAY_STOPS), 1)
    assert is_in(opened, TunnelPhase.BROKEN)


@pytest.mark.parametrize("data", [b"", b"\x09\x00\x00"])
def test_an_end_or_nonsense_breaks_it(opened: TunnelState, data: bytes) -> None:
    opened.receive(data, 1)
    assert is_in(opened, TunnelPhase.BROKEN)
    assert opened.why
    opened.gone(1)
    assert opened.take_wanted() == 0


def test_silence_breaks_it(opened: TunnelState) -> None:
    opened.receive(encode_frame(FrameType.PING), 10)
    assert opened.deadline == 55
    opened.tick(54.9)
    assert is_in(opened, TunnelPhase.OPEN)
    opened.tick(55)
    assert is_in(opened, TunnelPhase.BROKEN)


def test_after_a_reconnection_only_new_connections_count(opened: TunnelState) -> None:
    opened.receive(b"\x01", 1)  # half a frame
    opened.taken(1)
    opened.lost("cut")
    opened.accepted(2)
    assert opened.take_wanted() == 2
    opened.gone(1)
    assert opened.take_wanted() == 0
    opened.taken(1)  # a visitor who came in time on an old connection
    assert (opened.streams, opened.spare) == (2, 2)
    opened.receive(encode_frame(FrameType.NEED, 1), 3)
    assert opened.take_wanted() == 1


def test_expiry_ends_it_with_leeway_for_its_clock(opened: TunnelState) -> None:
    opened.receive(encode_frame(FrameType.PING), 1000 + EXPIRY_LEEWAY_S - 1)
    opened.tick(1000 + EXPIRY_LEEWAY_S - 0.1)
    assert is_in(opened, TunnelPhase.OPEN)
    assert opened.deadline == 1000 + EXPIRY_LEEWAY_S
    opened.tick(opened.deadline)
    assert opened.done


def test_silence_is_counted_from_the_last_reconnection(opened: TunnelState) -> None:
    opened.lost("cut")
    opened.accepted(100)
    assert opened.deadline == 145


def test_a_broken_one_waits_for_expiry_only(opened: TunnelState) -> None:
    opened.lost("cut")
    assert opened.deadline == 1000 + EXPIRY_LEEWAY_S
    opened.tick(100)
    assert is_in(opened, TunnelPhase.BROKEN)


def test_a_full_relay_is_tried_again_another_refusal_is_final(opened: TunnelState) -> None:
    opened.lost("cut")
    opened.refused(PrefaceStatus.LIMIT)
    assert is_in(opened, TunnelPhase.BROKEN)
    assert "full" in opened.why
    opened.refused(PrefaceStatus.GONE)
    assert opened.done
    assert "GONE" in opened.why


def test_its_owner_may_end_it(opened: TunnelState) -> None:
    opened.end()
    assert opened.done
    opened.receive(encode_frame(FrameType.END, EndReason.EXPIRED), 1)
    assert opened.why == "closed"  # the first reason stands
    opened.tick(1e6)
    assert opened.why == "closed"
