from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from cloud.signalling.open_requests import CallerLimits, Full, OpenRequest, OpenRequests
from protocol.envelope import Envelope, EnvelopeKind
from protocol.topics import sep_response

NODE, SUPERNODE, OTHER = "a" * 56, "b" * 56, "c" * 56
ANSWER = Envelope(EnvelopeKind.RESPONSE, b"1", "mss:one", NODE, 0.0, b"sealed")
TOPIC = sep_response(SUPERNODE, NODE, "one")


def ignore(_: Envelope) -> None: ...


def request(
    message_id: bytes, node_id: str = NODE, deliver: Callable[[Envelope], None] = ignore
) -> OpenRequest:
    return OpenRequest(message_id, node_id, SUPERNODE, deliver)


def test_the_answer_reaches_its_request() -> None:
    got: list[Envelope] = []
    requests = OpenRequests("one", 10, 10)
    requests.add(request(b"1", deliver=got.append))
    requests.add(request(b"2"))
    assert requests.answer(TOPIC, SUPERNODE, ANSWER)
    assert got == [ANSWER]


@pytest.mark.parametrize(
    ("topic", "sender", "envelope"),
    [
        (TOPIC, SUPERNODE, replace(ANSWER, message_id=b"9")),
        (TOPIC, SUPERNODE, replace(ANSWER, kind=EnvelopeKind.REQUEST)),
        (TOPIC, SUPERNODE, replace(ANSWER, to="mss:two")),
        (TOPIC, SUPERNODE, replace(ANSWER, sender=OTHER)),
        (TOPIC, OTHER, ANSWER),
        (TOPIC, "", ANSWER),
        (sep_response(SUPERNODE, OTHER, "one"), SUPERNODE, ANSWER),
        (sep_response(OTHER, NODE, "one"), OTHER, ANSWER),
        (sep_response(OTHER, NODE, "one"), SUPERNODE, ANSWER),
        (sep_response(SUPERNODE, NODE, "two"), SUPERNODE, ANSWER),
    ],
)
def test_answers_from_elsewhere_are_not_delivered(
    topic: str, sender: str, envelope: Envelope
) -> None:
    got: list[Envelope] = []
    requests = OpenRequests("one", 10, 10)
    requests.add(request(b"1", deliver=got.append))
    assert not requests.answer(topic, sender, envelope)
    assert got == []


def test_a_closed_request_gets_no_answer() -> None:
    requests = OpenRequests("one", 10, 10)
    closed = request(b"1")
    requests.add(closed)
    requests.close(closed)
    assert not requests.answer(TOPIC, SUPERNODE, ANSWER)


def test_limits_hold_and_closing_makes_room() -> None:
    requests = OpenRequests("one", limit=3, limit_node=2)
    first = request(b"1")
    assert requests.add(first) is None
    assert requests.add(request(b"2")) is None
    assert requests.add(request(b"3")) is Full.NODE
    assert requests.add(request(b"4", OTHER)) is None
    assert requests.add(request(b"5", OTHER)) is Full.REPLICA
    requests.close(first)
    assert len(requests) == 2
    assert requests.add(request(b"6")) is None


# case CL3
def test_one_caller_leaves_room_for_others_in_a_burst() -> None:
    requests = OpenRequests("one", 100, 10, CallerLimits(all_nodes=8, one_node=5))

    def of(caller: str, number: int, node_id: str = NODE) -> OpenRequest:
        return OpenRequest(b"%d" % number, node_id, SUPERNODE, ignore, caller)

    burst = [of("a", number) for number in range(20)]
    outcomes = [requests.add(each) for each in burst]
    assert outcomes == [None] * 5 + [Full.CALLER] * 15
    others = [requests.add(of("a", 100 + number, OTHER)) for number in range(20)]
    assert others == [None] * 3 + [Full.CALLER] * 17
    assert [requests.add(of("b", 200 + number)) for number in range(6)] == [None] * 5 + [Full.NODE]
    requests.close(burst[0])
    assert requests.add(of("a", 300, OTHER)) is None


# case CL4
def test_requests_learn_that_their_supernode_is_lost() -> None:
    told: list[bytes] = []
    requests = OpenRequests("one", 10, 10)
    for number, supernode_id in ((b"1", SUPERNODE), (b"2", OTHER), (b"3", SUPERNODE)):
        lost = partial(told.append, number)
        requests.add(OpenRequest(number, NODE, supernode_id, ignore, "", lost))
    requests.holder_lost("f" * 56)
    assert told == []
    requests.holder_lost(SUPERNODE)
    assert told == [b"1", b"3"]
