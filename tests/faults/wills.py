"""Checks that wills arrive when they must, and only then.

A will is stored before its CONNACK, so it comes whatever ends the connection: also a kill of the
broker, from whose next start the delay may count anew. One of a CONNECT that was never answered
is the broker's choice, and so is one whose client had said good-bye when the broker was killed
before it can have heard that: it has once ROUND_TRIPS answers came, each to what was sent after
the one before, the first to what was sent after the good-bye. Answers leave in the order of what
they commit; sockets are not heard in order, so one answer is not enough.
"""

from dataclasses import dataclass

from broker.messages.topics import is_match
from tests.faults.events import (
    Connected,
    Connecting,
    Got,
    Killed,
    Lost,
    Started,
    WillSet,
    will_sender,
)
from tests.faults.receiver import Finding, Receiver

ROUND_TRIPS = 2
SLACK_S = 2.0  # a broker looks at its clocks once a second


@dataclass(slots=True)
class _Will:
    topic: str
    delay_s: float
    lost: Lost | None = None
    index: int = 0
    is_known: bool = False  # its CONNACK came
    from_at: float = 0.0  # the delay counts from then
    answers: int = 0  # since it was lost, one after the other
    answered: int = 0  # the place of the last of them
    is_free: bool = False  # a kill came before the broker must have heard a good-bye
    tried_at: float | None = None  # the client's next CONNECT: the broker may discard the will
    back_at: float | None = None  # the CONNACK of it or a later one


class WillRule:
    """Follows the wills of all connections."""

    def __init__(self, findings: list[Finding]) -> None:
        self._findings = findings
        self._wills: dict[tuple[str, int], _Will] = {}
        self._open: dict[str, list[_Will]] = {}
        self._unheard: list[_Will] = []
        self._is_down = False
        self._killed_at = 0.0
        self._came: set[tuple[str, int]] = set()

    def set(self, event: WillSet) -> None:
        will = _Will(event.topic, event.delay_s)
        self._wills[(event.client, event.epoch)] = will
        self._open.setdefault(event.client, []).append(will)

    def connecting(self, event: Connecting) -> None:
        for will in self._open.get(event.client, []):
            if will.lost is not None and will.tried_at is None:
                will.tried_at = event.at

    def connected(self, event: Connected) -> None:
        for will in self._open.get(event.client, []):
            if will.lost is not None and will.back_at is None:
                will.back_at = event.at
        if (event.client, event.epoch) in self._wills:
            self._wills[(event.client, event.epoch)].is_known = True

    def lost(self, event: Lost, index: int) -> None:
        will = self._wills.get((event.client, event.epoch))
        if will is not None:
            will.lost, will.index, will.from_at = event, index, event.at
            will.answered, will.is_free = index, self._is_down
            if not self._is_down:
                self._unheard.append(will)

    def answered(self, sent: int, index: int) -> None:
        """The broker has answered, at index, what was sent at another one."""
        for will in self._unheard:
            if sent > will.answered:
                will.answers, will.answered = will.answers + 1, index
        self._unheard = [will for will in self._unheard if will.answers < ROUND_TRIPS]

    def killed(self, event: Killed) -> None:
        if not self._is_down:  # else it was killed while it started, and has published nothing
            self._killed_at = event.at
        self._is_down = True
        for will in self._unheard:
            will.is_free = True
        self._unheard = []

    def started(self, event: Started) -> None:
        self._is_down = False
        for will in self._wills.values():
            if will.lost is not None and self._killed_at <= _due(will):
                will.from_at = event.at

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
        wills = [each for each in self._wills.values() if each.tried_at is None]
        return max((_due(will) for will in wills if will.lost is not None), default=0.0)

    def due(self, end: float) -> int:
        """Return how many wills must have come."""
        return sum(self._is_due(will, end) for will in self._wills.values())

    def _is_due(self, will: _Will, end: float) -> bool:
        lost = will.lost
        if lost is None or lost.polite or not will.is_known:
            return False
        due = _due(will)
        return end > due and (will.tried_at is None or will.tried_at > due)

    def _check_coming(self, client: str, epoch: int, will: _Will) -> None:
        lost, text = will.lost, f"the will of {client}'s connection {epoch} came"
        if lost is None and self._is_down:
            return  # it says good-bye, or is gone already
        if lost is None:
            text += ", but the connection is there"
        elif lost.polite:
            if will.is_free:
                return
            text += ", but the client had said good-bye"
        elif will.back_at is not None and will.back_at < lost.at + will.delay_s - SLACK_S / 2:
            text += ", but the client was back in time"
        else:
            return
        self._findings.append(Finding("will", text))


def _due(will: _Will) -> float:
    return will.from_at + will.delay_s + SLACK_S


def _was_waiting(receiver: Receiver, will: _Will) -> bool:
    return receiver.promised and any(
        want.granted is not None
        and want.granted < will.index
        and want.ended is None
        and is_match(want.topic_filter, will.topic)
        for want in receiver.wants
    )
