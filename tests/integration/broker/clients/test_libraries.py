"""Applications can use all of MQTT with every client library."""

import pytest

from tests.integration.broker.clients.cable import Cable
from tests.integration.broker.clients.conftest import LIBRARIES, Open
from tests.integration.broker.clients.peer import Got

FIVE = [name for name in LIBRARIES if name.endswith(" 5")]


def test_wildcards_and_qos(connect: Open, root: str) -> None:
    publisher, subscriber = connect("p"), connect("s")
    assert subscriber.subscribe(f"{root}/+/temperature", 1) == 1
    assert subscriber.subscribe(f"{root}/all/#", 0) == 0
    large = bytes(range(256)) * 1000
    sent = [
        Got(f"{root}/kitchen/temperature", b"21", 1),
        Got(f"{root}/kitchen/humidity", b"not asked for", 1),
        Got(f"{root}/kitchen/oven/temperature", b"not asked for", 1),
        Got(f"{root}/hall/temperature", b"", 0),
        Got(f"{root}/all", b"the level above", 1),
        Got(f"{root}/all/a/b/ü", large, 1),
    ]
    for each in sent:
        publisher.publish(each)
    assert [subscriber.take() for _ in range(4)] == [
        sent[0],
        sent[3],
        Got(f"{root}/all", b"the level above", 0),
        Got(f"{root}/all/a/b/ü", large, 0),
    ]


def test_many_in_order(connect: Open, root: str) -> None:
    publisher, subscriber = connect("p"), connect("s")
    subscriber.subscribe(f"{root}/#", 1)
    for number in range(100):
        publisher.publish(Got(f"{root}/n", b"%d" % number, 1))
    assert [int(subscriber.take().payload) for _ in range(100)] == list(range(100))


def test_retained(connect: Open, root: str) -> None:
    publisher, early = connect("p"), connect("e")
    early.subscribe(f"{root}/#", 1)
    publisher.publish(Got(f"{root}/kept", b"old", 1, retain=True))
    publisher.publish(Got(f"{root}/kept", b"new", 1, retain=True))
    publisher.publish(Got(f"{root}/gone", b"x", 1, retain=True))
    publisher.publish(Got(f"{root}/gone", b"", 1, retain=True))
    assert [(got.payload, got.retain) for got in (early.take() for _ in range(4))] == [
        (b"old", False),
        (b"new", False),
        (b"x", False),
        (b"", False),
    ]
    late = connect("l")
    late.subscribe(f"{root}/+", 1)
    assert late.take() == Got(f"{root}/kept", b"new", 1, retain=True)
    publisher.publish(Got(f"{root}/next", b"live", 1))
    assert late.take() == Got(f"{root}/next", b"live", 1)


def test_will(connect: Open, root: str, cable: Cable) -> None:
    watcher = connect("w")
    watcher.subscribe(f"{root}/+/state", 1)
    polite = connect("polite", will=(f"{root}/polite/state", b"must not come"))
    polite.close()
    connect("dies", port=cable.port, will=(f"{root}/dies/state", b"offline"))
    cable.cut()
    assert watcher.take() == Got(f"{root}/dies/state", b"offline", 1)


def test_stored_session(connect: Open, root: str) -> None:
    publisher, subscriber = connect("p"), connect("s", stored=True)
    subscriber.subscribe(f"{root}/#", 1)
    subscriber.close()
    for number in range(5):
        publisher.publish(Got(f"{root}/{number}", b"while away", 1))
    again = connect("s", stored=True)
    publisher.publish(Got(f"{root}/5", b"live", 1))
    assert [again.take().topic for _ in range(6)] == [f"{root}/{number}" for number in range(6)]


def test_stored_session_after_a_cut(connect: Open, root: str, cable: Cable) -> None:
    publisher, subscriber = connect("p"), connect("s", stored=True, port=cable.port)
    subscriber.subscribe(f"{root}/#", 1)
    cable.cut()
    publisher.publish(Got(f"{root}/a", b"while away", 1))
    assert connect("s", stored=True).take() == Got(f"{root}/a", b"while away", 1)


@pytest.mark.parametrize("library", FIVE, indirect=True)
def test_request_and_response(connect: Open, root: str) -> None:
    asking, answering = connect("a"), connect("b")
    answering.subscribe(f"{root}/request", 1)
    asking.subscribe(f"{root}/reply/me", 1)
    asking.publish(Got(f"{root}/request", b"?", 1, False, f"{root}/reply/me", b"\x00\xff7"))
    request = answering.take()
    assert request.response_topic == f"{root}/reply/me"
    answering.publish(Got(request.response_topic, b"!", 1, correlation=request.correlation))
    assert asking.take() == Got(f"{root}/reply/me", b"!", 1, False, None, b"\x00\xff7")
