"""Checks a broker's promises against the record of its clients.

The promises (rule names are those of findings):

lost       what was acknowledged at QoS 1 or 2 (PUBACK, PUBREC) reaches every stored session whose
           subscription was acknowledged before it was sent
twice      at QoS 2 it does so once; a client sends again under the same packet id until answered
repeated   at QoS 1 more often only on another connection, or because its sender repeated it
unmarked   a repetition has DUP, unless the broker was killed since and may not know
order      messages of one sender and topic come first in the order they were sent first
retained   the retained message is the last acknowledged one, or one sent later
session    a stored session is there on the next connection, until its expiry; an ended one is not
unasked    nothing comes that nobody sent, or for a subscription given up before it was sent
changed    a message has topic and payload as sent
cut        the broker ends no connection without a reason
expired    a message with an expiry does not come on a connection that began after it
will       a will comes when its connection was lost, once, not before its delay is over and not
           when its client came back in time or said good-bye

Pure: feed it events in order, then ask.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.faults.events import (
    Completed,
    Connected,
    Connecting,
    Event,
    Got,
    Killed,
    Lost,
    Read,
    Reading,
    Released,
    Sent,
    Started,
    Subscribed,
    Subscribing,
    Taken,
    Unsubscribed,
    Unsubscribing,
    WillSet,
    will_sender,
)
from tests.faults.receiver import Finding, Key, Message, Receiver
from tests.faults.retained import RetainedRule
from tests.faults.wills import WillRule

SHOWN = 20  # findings of one rule that are kept; the others are counted


class Checker:
    """Follows one history."""

    def __init__(self) -> None:
        self.index = 0
        self.messages: dict[Key, Message] = {}
        self.receivers: dict[str, Receiver] = {}
        self._found: list[Finding] = []
        self._last_start = -1
        self._connecting: dict[str, int] = {}
        self._killed_at = -1.0
        self._is_down = False
        self._accepted: Counter[str] = Counter()  # by first level of the topic
        self._retained = RetainedRule(self._found)
        self._wills = WillRule(self._found)
        self._steps: dict[type, Callable[[Any], None]] = {
            Connecting: self._begin,
            Connected: self._connected,
            Lost: self._lost,
            Subscribing: lambda event: self._receiver(event.client).subscribing(*event[1:]),
            Subscribed: lambda event: self._receiver(event.client).subscribed(
                event.topic_filter, event.qos, self.index
            ),
            Unsubscribing: lambda event: self._receiver(event.client).unsubscribing(
                event.topic_filter, self.index
            ),
            Unsubscribed: lambda event: self._receiver(event.client).unsubscribed(
                event.topic_filter, self.index
            ),
            Sent: self._sent,
            Taken: self._taken,
            Completed: self._completed,
            Got: self._got,
            Released: lambda event: self._receiver(event.client).unreleased.discard(
                event.packet_id
            ),
            WillSet: self._will_set,
            Reading: lambda event: self._retained.reading(event, self.index),
            Read: self._retained.read,
            Killed: self._killed,
            Started: self._started,
        }

    def feed(self, event: Event) -> None:
        """Take the next event."""
        step = self._steps.get(type(event))
        if step is not None:
            step(event)
        self.index += 1

    def undelivered(self) -> Iterator[tuple[str, Message]]:
        """Yield who still must get what."""
        acknowledged = [
            message
            for message in self.messages.values()
            if message.accepted is not None and message.sent.qos
        ]
        for receiver in self.receivers.values():
            if receiver.promised and receiver.wants:
                for message in acknowledged:
                    if message.key not in receiver.copies and receiver.must_get(message):
                        yield receiver.name, message

    def backlog(self, clients: Iterable[str], root: str) -> int:
        """Return how far the slowest of those is behind who want all below the root."""
        count = self._accepted[root]
        return max(count - len(self._receiver(client).copies) for client in clients)

    def retained_topics(self) -> set[str]:
        """Return the topics that must have a retained message."""
        return self._retained.expected()

    def missing_wills(self, end: float) -> list[Finding]:
        """Return the wills that had to come before the end and did not."""
        return self._wills.missing(self.receivers, end)

    def last_will_due(self) -> float:
        """Return when the last will must have come, as far as is known."""
        return self._wills.last_due()

    def due_wills(self, end: float) -> int:
        """Return how many wills must have come."""
        return self._wills.due(end)

    def findings(self, *, end: float = float("inf")) -> list[Finding]:
        """Return what was broken, were this the end; end is its time, for wills."""
        found = list(self._found)
        for name, message in self.undelivered():
            sent = message.sent
            found.append(
                Finding(
                    "lost",
                    f"{name} never got {sent.client} {sent.number} on {sent.topic}, "
                    f"acknowledged at QoS {sent.qos}",
                )
            )
        return found + self.missing_wills(end)

    def _begin(self, event: Connecting) -> None:
        self._connecting[event.client] = self.index
        self._receiver(event.client).connecting(event)
        self._wills.connecting(event)

    def _connected(self, event: Connected) -> None:
        self._receiver(event.client).connected(event, self._killed_at)
        self._wills.connected(event)
        self._wills.answered(self._connecting[event.client], self.index)

    def _lost(self, event: Lost) -> None:
        if event.cut and not self._is_down:
            what = f"{event.client} lost connection {event.epoch} to the broker, without a reason"
            self._found.append(Finding("cut", what))
        self._receiver(event.client).lost(event)
        self._wills.lost(event, self.index)

    def _killed(self, event: Killed) -> None:
        self._killed_at, self._is_down = event.at, True
        self._wills.killed(event)

    def _sent(self, event: Sent) -> None:
        key = (event.client, event.number)
        message = self.messages.get(key)
        if message is None:
            message = self.messages[key] = Message(event, self.index)
            if event.retain:
                self._retained.sent(message)
        else:
            message.sends += 1

    def _taken(self, event: Taken) -> None:
        message = self.messages.get((event.client, event.number))
        if message is None:
            self._found.append(
                Finding("unasked", f"{event.client} was answered without a question")
            )
        elif event.refused:
            message.refused = True
        elif message.accepted is None:
            message.accepted, message.accepted_at = self.index, event.at
            self._wills.answered(message.index, self.index)
            self._accepted[message.sent.topic.partition("/")[0]] += 1
            if message.sent.qos == 1:
                self._complete(message)

    def _completed(self, event: Completed) -> None:
        message = self.messages.get((event.client, event.number))
        if message is not None and message.completed is None:
            self._complete(message)

    def _complete(self, message: Message) -> None:
        message.completed = self.index
        if message.sent.retain:
            self._retained.acknowledged(message)

    def _got(self, event: Got) -> None:
        message = self.messages.get((event.sender, event.number))
        if message is None:
            what = f"{event.client} got something on {event.topic} that nobody sent"
            self._found.append(Finding("unasked", what))
            return
        if not event.whole or event.topic != message.sent.topic:
            what = f"{event.client} got {event.sender} {event.number} changed, on {event.topic}"
            self._found.append(Finding("changed", what))
        self._receiver(event.client).got(event, message, self.index, self._last_start)
        self._wills.got(event)

    def _will_set(self, event: WillSet) -> None:
        sent = Sent(
            will_sender(event.client), event.epoch, event.topic, event.qos, False, 0, 1, False
        )
        self.messages[(sent.client, sent.number)] = Message(sent, self.index)
        self._wills.set(event)

    def _started(self, event: Started) -> None:
        self._last_start, self._is_down = self.index, False
        self._wills.started(event)

    def _receiver(self, name: str) -> Receiver:
        receiver = self.receivers.get(name)
        if receiver is None:
            receiver = self.receivers[name] = Receiver(name, self._found)
        return receiver


def check(history: Iterable[Event], *, end: float = float("inf")) -> list[Finding]:
    """Return every promise that a finished history breaks."""
    checker = Checker()
    for event in history:
        checker.feed(event)
    return checker.findings(end=end)


def describe(findings: list[Finding]) -> str:
    """Return all rules broken, with numbers and examples."""
    lines = []
    for rule in sorted({finding.rule for finding in findings}):
        texts = [finding.text for finding in findings if finding.rule == rule]
        lines.append(f"{rule}: {len(texts)}")
        lines += [f"  {text}" for text in texts[:SHOWN]]
    return "\n".join(lines)
