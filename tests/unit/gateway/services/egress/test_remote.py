"""A request by a service's type goes on to another node, unless it may have been carried out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.errors import CallNotSent, OutcomeUnknown, UplinkError
from gateway.http.calls import NodeAnswer, NodeCall
from gateway.http.problems import ABSENT, STARTING
from gateway.services.egress.remote import REPEATABLE_BYTES, TRIES, call_remote
from gateway.services.egress.targets import RequestTarget, TargetKind
from gateway.services.proxy.exchange import UpstreamError
from protocol.records import NodeRecord, OfferedService

SERVICE = OfferedService("1", "api", "/api/x/v1")
OF_GATEWAY, OF_START = tuple(ABSENT.items()), tuple(STARTING.items())
BY_TYPE = RequestTarget(TargetKind.SERVICE, path="/where", service_type="api")
GONE, FAULT = CallNotSent("no way leads to it"), OutcomeUnknown("cannot say")

Outcome = tuple[int, tuple[tuple[str, str], ...]] | UplinkError


async def _body(piece: bytes) -> AsyncIterator[bytes]:
    yield piece


class Nodes:
    """Nodes with a service; each has the outcome of a call."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = {str(number) * 56: each for number, each in enumerate(outcomes)}
        self.bodies: list[bytes] = []

    async def find(self, matches: Callable[[NodeRecord], bool]) -> NodeRecord | None:
        records = (NodeRecord(i, "", "1", i, b"", services=(SERVICE,)) for i in self.outcomes)
        return next(filter(matches, records), None)

    async def find_node(self, node_id: str) -> NodeRecord | None:
        return await self.find(lambda record: record.node_id == node_id)

    @asynccontextmanager
    async def open(self, record: NodeRecord, call: NodeCall) -> AsyncIterator[NodeAnswer]:
        outcome = self.outcomes[record.node_id]
        if not isinstance(outcome, CallNotSent):
            self.bodies.append(b"".join([piece async for piece in call.body.pieces()]))
        if isinstance(outcome, UplinkError):
            raise outcome
        yield NodeAnswer(outcome[0], outcome[1], _body(record.node_id[:1].encode()))


def ask(nodes: Nodes, target: RequestTarget = BY_TYPE, body: bytes = b"x") -> tuple[int, bytes]:
    """Return the status and the body of the answer to a POST."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(event: Any) -> None:
        sent.append(event)

    headers = [(b"content-length", str(len(body)).encode())]
    scope = {"method": "POST", "headers": headers}
    asyncio.run(call_remote(nodes, target, scope, receive, send))
    assert b"proxy-status" not in dict(sent[0]["headers"])
    return sent[0]["status"], b"".join(event["body"] for event in sent[1:])


@pytest.mark.parametrize("first", [(404, OF_GATEWAY), (503, OF_START), GONE])
def test_the_next_node_answers_for_one_that_has_it_no_more_or_is_gone(first: Outcome) -> None:
    nodes = Nodes(first, (200, ()))
    assert ask(nodes) == (200, b"1")
    assert nodes.bodies[-1] == b"x"  # whole


def test_the_answer_of_a_microservice_is_its_own() -> None:
    assert ask(Nodes((404, ()), (200, ()))) == (404, b"0")
    assert ask(Nodes((503, OF_GATEWAY), (200, ()))) == (503, b"0")


def test_what_may_have_been_carried_out_goes_to_no_other_node() -> None:
    with pytest.raises(UpstreamError, match="cannot say") as caught:
        ask(Nodes(FAULT, (200, ())))
    assert caught.value.status == 502


def test_a_body_that_is_gone_is_not_sent_in_part() -> None:
    nodes = Nodes((404, OF_GATEWAY), (200, ()))
    with pytest.raises(UpstreamError, match="its body is gone") as caught:
        ask(nodes, body=bytes(REPEATABLE_BYTES + 1))
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "1")
    assert len(nodes.bodies) == 1


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([], 404),
        ([(404, OF_GATEWAY)], 404),
        ([GONE], 503),
        ([(503, OF_START)], 503),
        ([(503, OF_START), (404, OF_GATEWAY)], 503),
        ([(404, OF_GATEWAY), GONE], 503),
    ],
)
def test_without_a_further_node_the_caller_learns_why(outcomes: list[Outcome], status: int) -> None:
    with pytest.raises(UpstreamError) as caught:
        ask(Nodes(*outcomes))
    assert caught.value.status == status


def test_the_number_of_nodes_that_are_tried_is_bounded() -> None:
    with pytest.raises(UpstreamError, match="no way"):
        ask(Nodes(*[GONE] * TRIES, (200, ())))
    assert ask(Nodes(*[GONE] * (TRIES - 1), (200, ()))) == (200, str(TRIES - 1).encode())


def test_a_request_to_one_node_goes_to_no_other() -> None:
    target = RequestTarget(TargetKind.NODE, path="/api/x/v1/where", node_id="0" * 56)
    assert ask(Nodes((404, OF_GATEWAY), (200, ())), target) == (404, b"0")
