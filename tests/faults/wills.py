"""Checks that wills arrive when they must, and only then.

A broker learns from the end of a connection alone that a will is due, so a kill at that very
moment may forget it; NOTICE_S later it may not. A connection that the kill itself ended has lost
its client too, but whether its will is published then is the broker's choice: at most once.
"""

from dataclasses import dataclass

from broker.messages.topics import is_match
from tests.faults.events import Connected, Got, Killed, Lost, WillSet, will_sender
from tests.faults.receiver import Finding, Receiver

NOTICE_S = 0.5
SLACK_S = 2.0  # a broker looks at its clocks once a second


@dataclass(slots=True)
class _Will:
    topic: str
    delay_s: float
    lost: Lost | None = None
    index: int = 0
    killed_at: float | None = None  # the first time after it was lost
    back_at: float | None = None


class WillRule:
    """Follows the wills of all connections."""

    def __init__(self, findings: list[Finding]) -> None:
        self._findings = findings
        self._wills: dict[tuple[str, int], _Will] = {}
        self._open: dict[str, list[_Will]] = {}
        self._down_since: float | None = None
        self._came: set[tuple[str, int]] = set()

    def set(self, event: WillSet) -> None:
        will = _Will(event.topic, event.delay_s)
        self._wills[(event.client, event.epoch)] = will
        self._open.setdefault(event.client, []).append(will)

    def connected(self, event: Connected) -> None:
        self._down_since = None
        for will in self._open.get(event.client, []):
            if will.lost is not None and will.back_at is None:
                will.back_at = event.at

    def lost(self, event: Lost, index: int) -> None:
        will = self._wills.get((event.client, event.epoch))
        if will is not None:
            will.lost, will.index = event, index
            if self._down_since is not None:
                will.killed_at = self._down_since

    def killed(self, event: Killed) -> None:
        self._down_since = event.at
        for wills in self._open.values():
            for will in wills:
                if will.lost is not None and will.killed_at is None:
                    will.killed_at = event.at

    def got(self, event: Got) -> None:
        client = event.sender.removesuffix(".will")
        key = (client, event.number)
        if event.sender != client and key not in self._came and key in self._wills:
            self._came.add(key)
            self._check_coming(client, event.number, self._wills[key])

    def missing(self, receivers: dict[str, Receiver], end: float) -> list[Finding]:
        """Return wills that had to come before the end and did not."""
        return [
            Finding("will", f"{receiver.name} never got the will of {client}'s connection {epoch}")
            for (client, epoch), will in self._wills.items()
            if self._is_due(will, end)
            for receiver in receivers.values()
            if _was_waiting(receiver, will) and (will_sender(client), epoch) not in receiver.copies
        ]

    def last_due(self) -> float:
        """Return when the last of them must have come; 0 when none must."""
        lost = [(will, will.lost) for will in self._wills.values() if will.back_at is None]
        due = [each.at + will.delay_s + SLACK_S for will, each in lost if each is not None]
        return max(due, default=0.0)

    def due(self, end: float) -> int:
        """Return how many wills must have come."""
        return sum(self._is_due(will, end) for will in self._wills.values())

    def _is_due(self, will: _Will, end: float) -> bool:
        lost = will.lost
        if lost is None or lost.polite or _was_killed(will, lost):
            return False
        due = lost.at + will.delay_s + SLACK_S
        return end > due and (will.back_at is None or will.back_at > due)

    def _check_coming(self, client: str, epoch: int, will: _Will) -> None:
        lost, text = will.lost, f"the will of {client}'s connection {epoch} came"
        if lost is None and self._down_since is not None:
            return  # it says good-bye, or is gone already
        if lost is None:
            text += ", but the connection is there"
        elif _was_killed(will, lost):
            return
        elif lost.polite:
            text += ", but the client had said good-bye"
        elif will.back_at is not None and will.back_at < lost.at + will.delay_s - SLACK_S / 2:
            text += ", but the client was back in time"
        else:
            return
        self._findings.append(Finding("will", text))


def _was_killed(will: _Will, lost: Lost) -> bool:
    return will.killed_at is not None and will.killed_at < lost.at + NOTICE_S


def _was_waiting(receiver: Receiver, will: _Will) -> bool:
    return receiver.promised and any(
        want.granted is not None
        and want.granted < will.index
        and want.ended is None
        and is_match(want.topic_filter, will.topic)
        for want in receiver.wants
    )
