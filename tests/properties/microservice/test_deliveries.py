"""Messages of a few topics, finished in any order, over a connection that breaks at any moment."""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from microservice.deliveries import HandlerQueue, QueuedMessage
from microservice.mqtt.wire import Incoming

CONCURRENCY, QUEUE_LIMIT = 2, 6
WIDTHS = {"a": 1, "b": 1, "c": 2}


def message(topic: str, number: int) -> Incoming:
    return Incoming(topic, str(number).encode(), 1, False, False, number)


def number_of(delivery: QueuedMessage) -> int:
    assert isinstance(delivery.message, Incoming)
    return int(delivery.message.payload)


class Broker(RuleBasedStateMachine):
    """Plays a broker that sends again, after a reconnect, what was not acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.deliveries = HandlerQueue(CONCURRENCY, QUEUE_LIMIT)
        self.now = 0.0
        self.unacknowledged: deque[tuple[int, str]] = deque()
        self.running: list[QueuedMessage] = []
        self.paused: set[int] = set()
        self.finished: dict[str, list[int]] = {}
        self.started: dict[str, list[int]] = {}
        self.accepted: set[int] = set()
        self.sessions_lost = False
        self.number = 0

    @rule(topic=st.sampled_from("abc"))
    def publish(self, topic: str) -> None:
        self.number += 1
        taken = self.deliveries.arrive(
            message(topic, self.number), packet_id=self.number, width=WIDTHS[topic]
        )
        assert taken == (len(self.unacknowledged) < QUEUE_LIMIT)
        if taken:
            self.unacknowledged.append((self.number, topic))
            self.accepted.add(self.number)

    @rule(topic=st.sampled_from("abc"))
    def publish_at_qos_0(self, topic: str) -> None:
        self.number += 1
        self.deliveries.arrive(message(topic, self.number), width=WIDTHS[topic])

    @rule(passes=st.sampled_from([0.0, 1.0, 5.0]))
    def pump(self, passes: float) -> None:
        self.now += passes
        while (delivery := self.deliveries.take_start(self.now)) is not None:
            number, topic = number_of(delivery), delivery.message.topic
            if number in self.paused:
                self.paused.remove(number)
            elif delivery.packet_id:  # MQTT orders messages of one QoS
                self.started.setdefault(topic, []).append(number)
            self.running.append(delivery)
        for packet_id in self.deliveries.take_acks():
            number, topic = self.unacknowledged.popleft()
            assert packet_id == number, "acknowledged out of order"
            assert number in self.finished.get(topic, []), "acknowledged before it was handled"

    @precondition(lambda self: self.running)
    @rule(choice=st.integers(0, CONCURRENCY - 1))
    def finish(self, choice: int) -> None:
        delivery = self.running.pop(choice % len(self.running))
        if delivery.packet_id:
            self.finished.setdefault(delivery.message.topic, []).append(number_of(delivery))
        self.deliveries.finish(delivery)

    @precondition(lambda self: self.running)
    @rule(choice=st.integers(0, CONCURRENCY - 1), pause=st.sampled_from([1.0, 4.0]))
    def fail(self, choice: int, pause: float) -> None:
        delivery = self.running.pop(choice % len(self.running))
        self.paused.add(number_of(delivery))
        self.deliveries.pause(delivery, self.now + pause)

    @rule(session_present=st.booleans())
    def reconnect(self, session_present: bool) -> None:
        self.deliveries.disconnected()
        self.deliveries.connected(session_present=session_present)
        again, self.unacknowledged = self.unacknowledged, deque()
        self.sessions_lost |= not session_present
        for number, topic in again:  # without its session a broker sends them as new ones
            assert self.deliveries.arrive(
                message(topic, number), number, again=session_present, width=WIDTHS[topic]
            )
            self.unacknowledged.append((number, topic))

    @rule(held=st.booleans())
    def hold(self, held: bool) -> None:
        (self.deliveries.hold if held else self.deliveries.release)()

    @invariant()
    def bounded_and_as_many_of_a_topic_as_its_width(self) -> None:
        topics = [d.message.topic for d in self.running]
        assert len(topics) <= CONCURRENCY
        assert self.deliveries.running == len(topics)
        for topic, width in WIDTHS.items():
            assert topics.count(topic) <= width, "too many of one topic at once"

    def teardown(self) -> None:
        self.deliveries.release()
        for _ in range(200):
            self.pump(5.0)
            if not self.running:
                break
            self.finish(0)
        assert not self.unacknowledged, "never acknowledged"
        assert self.deliveries.running == self.deliveries.waiting == 0
        finished = {number for numbers in self.finished.values() for number in numbers}
        assert self.accepted <= finished, "an accepted message was never handled"
        for topic, numbers in self.started.items():
            if WIDTHS[topic] == 1 and not self.sessions_lost:
                first = list(dict.fromkeys(numbers))
                assert first == sorted(first), "out of order within its topic"
        if not self.sessions_lost:
            for numbers in self.finished.values():
                assert len(numbers) == len(set(numbers)), "handled twice within one session"


TestDeliveries = Broker.TestCase
TestDeliveries.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def start_all(deliveries: HandlerQueue, now: float = 0.0) -> list[QueuedMessage]:
    started = []
    while (delivery := deliveries.take_start(now)) is not None:
        started.append(delivery)
    return started


def test_different_topics_run_side_by_side_and_are_acknowledged_in_order() -> None:
    deliveries = HandlerQueue(concurrency=2)
    deliveries.arrive(message("a", 1), 1)
    deliveries.arrive(message("b", 2), 2)
    first, second = start_all(deliveries)
    deliveries.finish(second)
    assert deliveries.take_acks() == []
    deliveries.finish(first)
    assert deliveries.take_acks() == [1, 2]


def test_a_held_message_starts_later() -> None:
    deliveries = HandlerQueue()
    deliveries.hold()
    deliveries.arrive(message("a", 1), 1)
    assert start_all(deliveries) == []
    deliveries.release()
    assert len(start_all(deliveries)) == 1


def test_a_paused_message_keeps_its_place_and_lets_other_topics_go_on() -> None:
    deliveries = HandlerQueue(concurrency=1)
    deliveries.arrive(message("a", 1), 1)
    deliveries.arrive(message("a", 2), 2)
    deliveries.arrive(message("b", 3), 3)
    (bad,) = start_all(deliveries)
    deliveries.pause(bad, 10.0)
    assert deliveries.deadline == 10.0
    (other,) = start_all(deliveries, 9.0)
    assert other.message.topic == "b"
    deliveries.finish(other)
    assert start_all(deliveries, 9.0) == []
    assert start_all(deliveries, 10.0) == [bad]


def test_a_running_message_is_not_acknowledged_on_a_later_connection() -> None:
    deliveries = HandlerQueue()
    deliveries.arrive(message("a", 1), 1)
    (running,) = start_all(deliveries)
    deliveries.disconnected()
    deliveries.finish(running)
    assert deliveries.take_acks() == []


def test_a_message_that_is_done_when_it_is_sent_again_is_acknowledged_and_not_handled() -> None:
    deliveries = HandlerQueue()
    deliveries.arrive(message("a", 1), 1)
    (running,) = start_all(deliveries)
    deliveries.disconnected()
    deliveries.finish(running)
    deliveries.connected(session_present=True)
    deliveries.arrive(message("a", 1), 1, again=True)
    assert start_all(deliveries) == []
    assert deliveries.take_acks() == [1]


def test_another_message_with_the_packet_id_of_a_lost_one_is_handled() -> None:
    deliveries = HandlerQueue()
    deliveries.arrive(message("a", 1), 1)
    (running,) = start_all(deliveries)
    deliveries.disconnected()
    deliveries.finish(running)
    deliveries.connected(session_present=True)
    deliveries.arrive(message("a", 2), 1)
    assert len(start_all(deliveries)) == 1
