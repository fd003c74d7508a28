"""Checks that a retained message is the last acknowledged one, or one sent later."""

from tests.faults.events import Read, Reading
from tests.faults.receiver import Finding, Message


class RetainedRule:
    """Follows retained messages; each topic must have one sender, or there is no order."""

    def __init__(self, findings: list[Finding]) -> None:
        self._findings = findings
        self._sent: dict[str, dict[int, Message]] = {}
        self._acknowledged: dict[str, int] = {}  # number, by topic
        self._begun: dict[str, tuple[int, dict[str, int]]] = {}

    def sent(self, message: Message) -> None:
        topic = message.sent.topic
        known = self._sent.setdefault(topic, {})
        if known and next(iter(known.values())).sent.client != message.sent.client:
            raise ValueError(f"cannot follow {topic}: two clients send to it")
        known[message.sent.number] = message

    def acknowledged(self, message: Message) -> None:
        topic, number = message.sent.topic, message.sent.number
        self._acknowledged[topic] = max(number, self._acknowledged.get(topic, 0))

    def expected(self) -> set[str]:
        """Return the topics whose last acknowledged message did not clear them."""
        last = self._acknowledged.items()
        return {topic for topic, number in last if self._sent[topic][number].sent.size}

    def reading(self, event: Reading, index: int) -> None:
        self._begun[event.reader] = index, dict(self._acknowledged)

    def read(self, event: Read) -> None:
        begun, acknowledged = self._begun[event.reader]
        last = acknowledged.get(event.topic, 0)
        messages = self._sent.get(event.topic, {})
        allowed = {
            number if message.sent.size else 0
            for number, message in messages.items()
            if number == last or (number > last and not _was_refused(message, begun))
        }
        if not last:
            allowed.add(0)
        if event.number not in allowed:
            found = f"{event.sender} {event.number}" if event.number else "nothing"
            self._findings.append(
                Finding(
                    "retained",
                    f"{event.reader} found {found} retained on {event.topic}, "
                    f"but {last} was acknowledged before",
                )
            )


def _was_refused(message: Message, begun: int) -> bool:
    return message.refused and message.index < begun
