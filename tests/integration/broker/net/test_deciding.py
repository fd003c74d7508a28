"""An authenticator's answer: at once or later, a client or a fault, for nobody any more."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from broker import Credentials, Identity, Limits, Refusal
from tests.integration.broker.conftest import BrokerThread
from tests.integration.broker.net.conftest import Raw, connect_packet
from tests.programs import until

Start = Callable[..., BrokerThread]
Dial = Callable[..., Raw]

PING, PONG = b"\xc0\x00", b"\xd0\x00"
UNAVAILABLE = b"\x20\x02\x00\x03"
DAY_S = 86_400


class Oracle:
    """Says what the client id asks for."""

    def __init__(self) -> None:
        self.waiting = 0
        self.cancelled = 0

    def authenticate(
        self, credentials: Credentials
    ) -> Identity | Refusal | Awaitable[Identity | Refusal]:
        if credentials.client_id.endswith("later"):
            return self._answer_later(credentials)
        return self._answer(credentials)

    def _answer(self, credentials: Credentials) -> Identity:
        if credentials.client_id.startswith("fault"):
            raise OSError("nobody to ask")
        return Identity("anna", credentials.client_id)

    async def _answer_later(self, credentials: Credentials) -> Identity:
        self.waiting += 1
        try:
            async with asyncio.timeout(2 * DAY_S):  # only a task can have one
                await asyncio.sleep(DAY_S if credentials.client_id.startswith("much") else 0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self._answer(credentials)


@pytest.mark.parametrize("client_id", ["now", "later"])
def test_what_follows_a_connect_is_answered_behind_it(
    start_broker: Start, dial: Dial, client_id: str
) -> None:
    broker = start_broker(authenticator=Oracle())
    raw = dial(broker, first=connect_packet(client_id) + PING)
    raw.expect_connack()
    assert raw.read(2) == PONG
    raw.send(PING)
    assert raw.read(2) == PONG


@pytest.mark.parametrize("client_id", ["fault", "fault later"])
def test_a_client_that_cannot_be_identified_gets_that_reason(
    start_broker: Start, dial: Dial, client_id: str
) -> None:
    broker = start_broker(authenticator=Oracle())
    assert dial(broker, first=connect_packet(client_id)).read_to_end() == UNAVAILABLE
    assert broker.broker.counters.refused == {"connect_server_unavailable": 1}
    dial(broker, first=connect_packet("now")).expect_connack()


def test_nobody_goes_on_asking_for_ever(start_broker: Start, dial: Dial) -> None:
    oracle = Oracle()
    broker = start_broker(authenticator=oracle, limits=Limits(connect_timeout_s=0.5))
    raw = dial(broker, first=connect_packet("much later"))
    until(lambda: oracle.waiting == 1)
    raw.socket.close()
    until(lambda: oracle.cancelled == 1)
    until(lambda: broker.broker.counters.connections == 0)


@pytest.mark.parametrize("client_id", ["now", "later"])
def test_a_client_id_is_taken_over(start_broker: Start, dial: Dial, client_id: str) -> None:
    broker = start_broker(authenticator=Oracle())
    first = dial(broker, first=connect_packet(client_id))
    first.expect_connack()
    second = dial(broker, first=connect_packet(client_id))
    second.expect_connack()
    assert first.read_to_end() == b""
    until(lambda: broker.broker.counters.connections == 1)
