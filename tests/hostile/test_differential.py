"""Any lawful sequence of packets: our subscribers get what Mosquitto's get.

LAWFUL lists where the standard leaves the choice; what() takes it out of both before they are
compared.
"""

import itertools
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.packets import MQTT_3_1_1, MQTT_5, Subscription
from tests.conformance.brokers import hecate, mosquitto
from tests.hostile.twins import Forget, Got, Join, Leave, Listen, Say, Stage, Step
from tests.peers import require
from tests.share import part_of

LAWFUL = {
    "one copy for each overlapping subscription, or one in all": "[MQTT-3.3.4-2], 3.3.4",
    "the will of one whose session is taken over": "3.1.4 says published; Mosquitto 2.0 does not",
    "order among topics": "4.6: ordered is what comes on one topic at one QoS",
}

CLIENTS = 3
QUICK = 20
MANY = part_of(int(os.environ.get("HECATE_DIFFERENTIAL_EXAMPLES", "300")), least=100)

who = st.integers(0, CLIENTS - 1)
filters = st.sampled_from(["a", "a/b", "+", "a/+", "+/b", "#", "a/#", "will/+"])
steps = st.one_of(
    st.builds(Join, who, st.booleans(), st.booleans()),
    st.builds(Leave, who, st.booleans()),
    st.builds(
        Listen,
        who,
        st.builds(
            Subscription,
            filters,
            st.integers(0, 2),
            st.booleans(),
            st.booleans(),
            st.integers(0, 2),
        ),
    ),
    st.builds(Forget, who, filters),
    st.builds(
        Say,
        who,
        st.sampled_from(["a", "a/b", "b", "a/b/c"]),
        st.sampled_from([b"x", b"y", b""]),
        st.integers(0, 2),
        st.booleans(),
    ),
)
versions = st.tuples(*[st.sampled_from([MQTT_3_1_1, MQTT_5])] * CLIENTS)
numbers = itertools.count()


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[int, int]]:
    path = require("mosquitto")
    with hecate() as ours, mosquitto(path)() as theirs:
        yield ours, theirs


def what(got: list[Got]) -> dict[str, list[tuple[bytes, bool, int]]]:
    """Return, by topic, what is the same whatever choice a broker made."""
    found: dict[str, list[tuple[bytes, bool, int]]] = {}
    for topic, payload, qos, retain in got:
        of_topic = found.setdefault(topic, [])
        if of_topic and of_topic[-1][:2] == (payload, retain):  # one more copy
            qos = max(qos, of_topic.pop()[2])
        of_topic.append((payload, retain, qos))
    return found


def compare(ports: tuple[int, int], script: list[Step], versions: tuple[int, ...]) -> None:
    prefix = f"d{next(numbers)}"
    with Stage(ports[0], prefix, versions) as ours, Stage(ports[1], prefix, versions) as theirs:
        joined: list[Step] = [Join(who, clean=False, with_will=True) for who in range(CLIENTS)]
        for step in lawful([*joined, *script], versions):
            mine, other = ours.play(step), theirs.play(step)
            assert {who: what(got) for who, got in mine.items()} == {
                who: what(got) for who, got in other.items()
            }, f"after {step}"


def lawful(script: list[Step], versions: tuple[int, ...]) -> Iterator[Step]:
    """Yield the steps without what 3.1.1 does not have, and around what LAWFUL lists."""
    wills: set[int] = set()  # of clients that are connected
    as_published: dict[tuple[int, str], bool] = {}
    for step in script:
        if isinstance(step, Listen):
            asked = step.subscription
            known = (step.who, asked.topic_filter)
            if as_published.get(known, asked.retain_as_published) != asked.retain_as_published:
                yield Forget(step.who, asked.topic_filter)
            as_published[known] = asked.retain_as_published
        if isinstance(step, Listen) and versions[step.who] < MQTT_5:
            asked = step.subscription
            yield Listen(step.who, Subscription(asked.topic_filter, asked.qos))
            continue
        if isinstance(step, Join):
            if step.who in wills and not step.clean:
                yield Leave(step.who)
            wills.discard(step.who)
            if step.with_will:
                wills.add(step.who)
        elif isinstance(step, Leave):
            wills.discard(step.who)
        yield step


def make(examples: int) -> object:
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,  # a difference that is new must not stop what has nothing to do with it
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(st.lists(steps, max_size=14), versions)
    def run(ports: tuple[int, int], script: list[Step], versions: tuple[int, ...]) -> None:
        compare(ports, script, versions)

    return run


test_twenty_sequences = make(QUICK)
test_many_sequences = pytest.mark.slow(pytest.mark.timeout(600)(make(MANY)))
