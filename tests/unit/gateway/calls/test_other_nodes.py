"""Ways to other nodes: a failure before anything is sent moves on, one after it does not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.calls.other_nodes import OtherNodes
from gateway.calls.ways import Way
from gateway.errors import CallNotSent, OutcomeUnknown, UplinkError, UplinkLost
from gateway.http.calls import CallBody, NodeAnswer, NodeCall
from protocol.records import NodeRecord, to_fields

PEER, OWN = "b" * 56, "a" * 56
RECORD = NodeRecord(PEER, "peer", "1", PEER, b"")


class Neighbours:
    """A cluster with one member."""

    def __init__(self) -> None:
        self.asked = 0

    def known_records(self) -> list[NodeRecord]:
        return [RECORD]

    async def records(self) -> list[NodeRecord]:
        self.asked += 1
        return [RECORD]

    def addresses_of(self, node_id: str) -> tuple[str, ...]:
        return ("10.0.0.2:8084",) if node_id == PEER else ()


class FakeWay:
    """One way; it fails with an error if it has one, after taking the body."""

    def __init__(self, error: UplinkError | None = None, *, takes_body: bool = True) -> None:
        self.error, self.takes_body = error, takes_body
        self.bodies: list[bytes] = []

    @asynccontextmanager
    async def open(self, _node_id: str, call: NodeCall) -> AsyncIterator[NodeAnswer]:
        if self.error is None or self.takes_body:
            self.bodies.append(b"".join([piece async for piece in call.body.pieces()]))
        if self.error is not None:
            raise self.error
        yield NodeAnswer(200, (), _nothing())


async def _nothing() -> AsyncIterator[bytes]:
    yield b""


async def _body(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def nodes(lan: FakeWay, sep: FakeWay | None, clock: list[float] | None = None) -> OtherNodes:
    clients = {Way.LAN: lan, **({Way.SEP: sep} if sep is not None else {})}
    now = clock or [0.0]
    return OtherNodes(OWN, Neighbours(), clients, None, lambda: now[0])


def call(of: OtherNodes, method: str, body: CallBody | None = None) -> int:
    async def run() -> int:
        async with of.open(RECORD, NodeCall(method, "/x", (), body or CallBody())) as answer:
            return answer.status

    return asyncio.run(run())


LOST, NOT_SENT = UplinkLost("cut"), CallNotSent("refused")


@pytest.mark.parametrize(
    ("method", "error", "outcome"),
    [
        ("GET", NOT_SENT, 200),
        ("POST", NOT_SENT, 200),
        ("DELETE", NOT_SENT, 200),
        ("GET", LOST, 200),
        ("HEAD", LOST, 200),
        ("POST", LOST, OutcomeUnknown),
        ("PUT", LOST, OutcomeUnknown),
        ("DELETE", LOST, OutcomeUnknown),
        ("PATCH", LOST, OutcomeUnknown),
        ("get", LOST, 200),
        ("X", LOST, OutcomeUnknown),  # an unknown method may change anything
    ],
)
def test_only_what_may_be_sent_twice_is(
    method: str, error: UplinkError, outcome: int | type[Exception]
) -> None:  # case N19
    lan, sep = FakeWay(error), FakeWay()
    if isinstance(outcome, int):
        assert call(nodes(lan, sep), method) == outcome
        assert len(sep.bodies) == 1
    else:
        with pytest.raises(outcome, match="cannot say whether node bbbbbbbbbbbb has carried out"):
            call(nodes(lan, sep), method)
        assert sep.bodies == []


def test_a_body_that_is_gone_is_not_sent_by_another_way() -> None:
    lan, sep = FakeWay(NOT_SENT), FakeWay()
    with pytest.raises(UplinkLost, match="refused"):
        call(nodes(lan, sep), "GET", CallBody(b"", _body(b"a", b"b")))
    assert (lan.bodies, sep.bodies) == ([b"ab"], [])


def test_a_body_that_nobody_has_taken_goes_by_the_next_way() -> None:
    lan, sep = FakeWay(NOT_SENT, takes_body=False), FakeWay()
    assert call(nodes(lan, sep), "POST", CallBody(b"", _body(b"a", b"b"))) == 200
    assert sep.bodies == [b"ab"]


def test_a_way_that_failed_comes_last_until_its_retry() -> None:
    now = [0.0]
    lan, sep = FakeWay(NOT_SENT), FakeWay()
    of = nodes(lan, sep, now)
    assert call(of, "GET") == 200
    assert [r.way for r in of.routes(PEER)] == [Way.SEP, Way.LAN]
    assert call(of, "GET") == 200
    assert len(lan.bodies) == 1
    now[0], lan.error = 1.0, None
    assert call(of, "GET") == 200
    assert [r.way for r in of.routes(PEER)] == [Way.LAN, Way.SEP]
    assert of.sent == {Way.IN_PROCESS: 0, Way.LAN: 1, Way.BEP: 0, Way.SEP: 2}


def test_all_faults_are_named() -> None:
    with pytest.raises(UplinkLost, match="cannot reach node bbbbbbbbbbbb: refused; cut"):
        call(nodes(FakeWay(NOT_SENT), FakeWay(LOST)), "GET")


def test_the_supernode_is_not_asked_for_each_call() -> None:
    now, cluster = [0.0], Neighbours()
    of = OtherNodes(OWN, cluster, {}, None, lambda: now[0])

    async def find() -> None:
        for _ in range(100):
            assert await of.find(lambda record: record.name == "peer") == RECORD
        assert await of.find_node(PEER) == RECORD

    asyncio.run(find())
    assert cluster.asked == 1
    now[0] = 5.0
    asyncio.run(find())
    assert cluster.asked == 2


class Account:
    """The nodes of an account, as the cloud lists them."""

    def __init__(self) -> None:
        self.names, self.asked = ["peer"], 0
        self.error: UplinkError | None = None

    async def __call__(self) -> list[dict[str, Any]]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        records = [NodeRecord(PEER[:-1] + str(n), name, "1", PEER, b"") for n, name in
                   enumerate(self.names)]  # fmt: skip
        return [to_fields(record) for record in records]


def named(name: str) -> Callable[[NodeRecord], bool]:
    return lambda record: record.name == name and record.node_id != PEER


def test_a_node_that_is_missing_in_the_list_is_asked_for_at_once_and_not_for_ever() -> None:
    now, account = [100.0], Account()
    of = OtherNodes(OWN, Neighbours(), {}, account, lambda: now[0])

    async def run() -> None:
        assert await of.find(named("peer"))
        account.names.append("new")  # deployed a moment after the list was asked for
        now[0] += 0.1
        assert await of.find(named("new"))
        assert account.asked == 2
        for _ in range(1000):  # nowhere: within a second
            now[0] += 0.001
            assert await of.find(named("nowhere")) is None
        assert account.asked < 2 + 6
        for _ in range(60):  # for a minute
            now[0] += 1.0
            assert await of.find(named("nowhere")) is None
        assert account.asked < 2 + 6 + 60 / 5
        now[0] += 60.0
        account.names.append("later")
        await of.find(named("peer"))
        now[0] += 0.1
        assert await of.find(named("later"))

    asyncio.run(run())


def test_searches_at_the_same_time_share_one_request_and_its_fault() -> None:
    now, account = [100.0], Account()
    of = OtherNodes(OWN, Neighbours(), {}, account, lambda: now[0])

    async def find_all(name: str) -> list[object]:
        searches = (of.find(named(name)) for _ in range(50))
        return await asyncio.gather(*searches, return_exceptions=True)

    async def run() -> None:
        account.error = UplinkLost("no answer")
        assert await find_all("peer") == [account.error] * 50
        assert account.asked == 1
        account.error = None
        now[0] += 1.0
        assert all(isinstance(each, NodeRecord) for each in await find_all("peer"))
        assert account.asked == 2

    asyncio.run(run())


def test_the_last_list_serves_while_the_cloud_is_away() -> None:
    now, account = [100.0], Account()
    of = OtherNodes(OWN, Neighbours(), {}, account, lambda: now[0])
    assert asyncio.run(of.find(named("peer")))
    account.error = UplinkLost("no answer")
    now[0] += 1000.0
    assert asyncio.run(of.find(named("peer")))
    assert asyncio.run(of.find(named("nowhere"))) is None
