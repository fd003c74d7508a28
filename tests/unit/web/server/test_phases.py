from itertools import product

import pytest

from web.server.phases import TRANSITIONS, HttpEvent, HttpPhase, next_phase


@pytest.mark.parametrize(
    ("events", "phases"),
    [
        (["BYTES", "REQUEST_READ", "ANSWERED"], ["HEAD", "ANSWER", "IDLE"]),
        (["BYTES", "HEAD_READ", "HEAD_READ", "REQUEST_READ"], ["HEAD", "BODY", "BODY", "ANSWER"]),
        (["BYTES", "HEAD_READ", "ANSWERED"], ["HEAD", "BODY", "IDLE"]),  # without its body
        (["BYTES", "REQUEST_READ", "REQUEST_READ"], ["HEAD", "ANSWER", "ANSWER"]),  # pipelined
        (["BYTES", "REQUEST_READ", "ANSWERED_EARLY"], ["HEAD", "ANSWER", "HEAD"]),
    ],
)
def test_requests(events: list[str], phases: list[str]) -> None:
    phase, passed = HttpPhase.IDLE, []
    for event in events:
        phase = next_phase(phase, HttpEvent[event])
        passed.append(phase.name)
    assert passed == phases


@pytest.mark.parametrize(
    ("phase", "event"), sorted(set(product(HttpPhase, HttpEvent)) - TRANSITIONS.keys(), key=str)
)
def test_any_other_event_raises(phase: HttpPhase, event: HttpEvent) -> None:
    with pytest.raises(ValueError, match="cannot happen"):
        next_phase(phase, event)
