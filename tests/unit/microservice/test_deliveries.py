"""Messages of a few topics, finished in any order, over a connection that breaks at any moment."""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from microservice.deliveries import HandlerQueue, QueuedMessage
from microservice.message import Message

CONCURRENCY, QUEUE_LIMIT = 2, 6


def message(topic: str, number: int) -> Message:
    return Message(topic, str(number).encode(), qos=1)


class Broker(RuleBasedStateMachine):
    """Plays a broker that sends again, after a reconnect, what was not acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.deliveries = HandlerQueue(CONCURRENCY, QUEUE_LIMIT)
        self.unacknowledged: deque[tuple[int, str]] = deque()
        self.running: list[QueuedMessage] = []
        self.handled: dict[str, list[int]] = {}
        self.accepted: set[int] = set()
        self.number = 0

    @rule(topic=st.sampled_from("abc"))
    def publish(self, topic: str) -> None:
        self.number += 1
        taken = self.deliveries.arrive(message(topic, self.number), packet_id=self.number)
        assert taken == (len(self.unacknowledged) < QUEUE_LIMIT)
        if taken:
            self.unacknowledged.append((self.number, topic))
            self.accepted.add(self.number)

    @rule(topic=st.sampled_from("abc"))
    def publish_at_qos_0(self, topic: str) -> None:
        self.number += 1
        self.deliveries.arrive(message(topic, self.number))

    @rule()
    def pump(self) -> None:
        started = self.deliveries.take_starts()
        self.running += started
        for packet_id in self.deliveries.take_acks():
            number, topic = self.unacknowledged.popleft()
            assert packet_id == number, "acknowledged out of order"
            assert number in self.handled.get(topic, []), "acknowledged before it was handled"

    @precondition(lambda self: self.running)
    @rule(choice=st.integers(0, CONCURRENCY - 1))
    def finish(self, choice: int) -> None:
        delivery = self.running.pop(choice % len(self.running))
        number = int(delivery.message.payload)
        if delivery.packet_id:
            self.handled.setdefault(delivery.message.topic, []).append(number)
        self.deliveries.finish(delivery)

    @rule()
    def reconnect(self) -> None:
        self.deliveries.disconnected()
        again, self.unacknowledged = self.unacknowledged, deque()
        for number, topic in again:
            assert self.deliveries.arrive(message(topic, number), packet_id=number)
            self.unacknowledged.append((number, topic))

    @rule(held=st.booleans())
    def hold(self, held: bool) -> None:
        (self.deliveries.hold if held else self.deliveries.release)()

    @invariant()
    def bounded_and_one_of_a_topic(self) -> None:
        topics = [d.message.topic for d in self.running]
        assert len(topics) <= CONCURRENCY
        assert len(set(topics)) == len(topics), "two of one topic at once"

    def teardown(self) -> None:
        self.deliveries.release()
        for _ in range(100):
            self.pump()
            if not self.running:
                break
            self.finish(0)
        assert not self.unacknowledged, "never acknowledged"
        assert self.deliveries.running == 0
        handled = {number for numbers in self.handled.values() for number in numbers}
        assert self.accepted <= handled, "an accepted message was never handled"
        for numbers in self.handled.values():
            first = list(dict.fromkeys(numbers))
            assert first == sorted(first), "out of order within its topic"


TestDeliveries = Broker.TestCase
TestDeliveries.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_different_topics_run_side_by_side_and_are_acknowledged_in_order() -> None:
    deliveries = HandlerQueue(concurrency=2)
    deliveries.arrive(message("a", 1), 1)
    deliveries.arrive(message("b", 2), 2)
    first, second = deliveries.take_starts()
    deliveries.finish(second)
    assert deliveries.take_acks() == []
    deliveries.finish(first)
    assert deliveries.take_acks() == [1, 2]


def test_a_held_message_starts_later() -> None:
    deliveries = HandlerQueue()
    deliveries.hold()
    deliveries.arrive(message("a", 1), 1)
    assert deliveries.take_starts() == []
    deliveries.release()
    assert len(deliveries.take_starts()) == 1


def test_a_running_message_is_not_acknowledged_on_a_later_connection() -> None:
    deliveries = HandlerQueue()
    deliveries.arrive(message("a", 1), 1)
    (running,) = deliveries.take_starts()
    deliveries.disconnected()
    deliveries.finish(running)
    assert deliveries.take_acks() == []
