"""Commands on their way down: in which order, and when, they are acknowledged."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from broker import LocalProtocolError
from gateway.uplink import inbound as intake
from gateway.uplink.inbound import CloudMessage, InboundMessages

if TYPE_CHECKING:
    from collections.abc import Callable


class SlowBroker:
    """Stands for the local broker: says when a test wants it to what is safe."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[bool], None]] = []
        self.published: list[tuple[str, bytes]] = []

    def submit(self, topic: str, payload: bytes, done: "Callable[[bool], None]", **_: Any) -> None:
        if payload == b"bad":
            raise LocalProtocolError("cannot publish")
        self.published.append((topic, payload))
        self.waiting.append(done)


def build() -> tuple[InboundMessages, SlowBroker, list[int]]:
    broker, acknowledged = SlowBroker(), list[int]()
    return InboundMessages(broker, acknowledged.append), broker, acknowledged  # type: ignore[arg-type]


def command(number: int, payload: bytes = b"x") -> CloudMessage:
    return CloudMessage("nodes/n/down/c/x", payload, 1, number)


# case G10
def test_acknowledgements_keep_the_order_and_wait_for_the_broker() -> None:
    down, broker, acknowledged = build()
    for number in (1, 2):
        down.forward("c/x", 1, command(number))
    down.accept(command(3))
    down.forward("c/x", 1, command(4, b"bad"))
    broker.waiting[1](True)
    assert acknowledged == []
    broker.waiting[0](True)
    assert acknowledged == [1, 2, 3, 4]
    assert down.dropped == 1
    assert broker.published == [("c/x", b"x")] * 2


# case G10
def test_what_cannot_be_kept_is_tried_again_and_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "RETRY_S", 0)

    async def scenario() -> None:
        down, broker, acknowledged = build()
        for number in (1, 2):
            down.forward("c/x", 1, command(number))
        broker.waiting[0](False)
        broker.waiting[1](True)
        assert acknowledged == [2]
        while len(broker.waiting) < 3:  # noqa: ASYNC110  # a timer of 0 s has no event
            await asyncio.sleep(0)
        broker.waiting[2](True)
        assert acknowledged == [2, 1]

    asyncio.run(scenario())


# case G10
def test_nothing_is_acknowledged_after_the_end_of_the_connection() -> None:
    down, broker, acknowledged = build()
    down.forward("c/x", 1, command(1))
    down.close()
    broker.waiting[0](True)
    assert acknowledged == []
