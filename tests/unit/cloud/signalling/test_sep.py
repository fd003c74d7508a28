"""SEP requests through a broker that the test plays."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

import pytest

from broker import Identity, Message, Reason
from cloud.config import SignallingSettings
from cloud.errors import ProblemError
from cloud.metrics import Metrics
from cloud.signalling.bounded_wait import BoundedWait
from cloud.signalling.sep import Sep
from protocol.envelope import EnvelopeKind, decode_envelope
from protocol.http_body import HttpRequest
from protocol.keys import new_sealing_key
from protocol.records import NodeRecord

NODE, SUPERNODE = "a" * 56, "b" * 56
RECORD = NodeRecord(NODE, "one", "1", SUPERNODE, new_sealing_key().public)
REQUEST = HttpRequest("GET", "/x", (), b"")


class PlayedBroker:
    """A broker with one client; implements SepBroker and SepClient."""

    def __init__(self, connected: set[str], *, is_full: bool = False) -> None:
        self.connected, self.is_full = connected, is_full
        self.published: list[tuple[str, bytes]] = []
        self.is_closed = False
        self._notify: Callable[[Identity, Reason | None], None] | None = None

    def open_client(self, name: str) -> "PlayedBroker":  # noqa: ARG002
        return self

    def is_connected(self, node_id: str) -> bool:
        return node_id in self.connected

    def has_room(self, node_id: str, size_bytes: int) -> bool:  # noqa: ARG002
        return not self.is_full

    def subscribe(self, topic_filter: str, receive: Callable[[Message], None]) -> None:
        """Do nothing."""

    def publish_unstored(self, topic: str, payload: bytes, expiry_s: float) -> None:  # noqa: ARG002
        self.published.append((topic, payload))

    def notify_of_disconnects(self, notify: Callable[[Identity, Reason | None], None]) -> None:
        self._notify = notify

    def disconnect(self, name: str, reason: Reason | None) -> None:
        self.connected.discard(name)
        assert self._notify is not None
        self._notify(Identity(name, name), reason)

    def close(self) -> None:
        self.is_closed = True


def build(broker: PlayedBroker, timeout_s: float = 10.0) -> Sep:
    settings = SignallingSettings(replica="r", timeout_s=timeout_s)
    return Sep(broker, new_sealing_key(), settings, Metrics(), BoundedWait())


@pytest.mark.parametrize(
    ("broker", "why"),
    [
        (PlayedBroker(set()), "its cluster is not connected"),
        (PlayedBroker({SUPERNODE}, is_full=True), "its connection is behind"),
    ],
)
def test_a_request_that_cannot_be_sent_is_refused(broker: PlayedBroker, why: str) -> None:
    async def main() -> None:
        sep = build(broker)
        with pytest.raises(ProblemError, match=why) as caught:
            await sep.send(RECORD, REQUEST)
        assert caught.value.status is HTTPStatus.SERVICE_UNAVAILABLE
        assert len(sep) == 0
        assert not broker.published

    asyncio.run(main())


def test_requests_end_when_the_connection_of_the_supernode_is_lost() -> None:
    async def main() -> None:
        broker = PlayedBroker({SUPERNODE})
        sep = build(broker)
        sending = [asyncio.create_task(sep.send(RECORD, REQUEST)) for _ in range(16)]
        await asyncio.sleep(0)
        assert len(sep) == len(broker.published) == 16
        broker.disconnect(SUPERNODE, None)
        for task in sending:
            with pytest.raises(ProblemError, match="was lost"):
                await task
        assert len(sep) == 0
        sep.close()
        assert broker.is_closed

    asyncio.run(main())


def test_a_request_that_its_caller_cancels_is_cancelled_at_the_node() -> None:
    async def main() -> None:
        broker = PlayedBroker({SUPERNODE})
        sep = build(broker)
        sending = asyncio.create_task(sep.send(RECORD, REQUEST))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        kinds = [decode_envelope(payload).kind for _, payload in broker.published]
        assert kinds == [EnvelopeKind.REQUEST, EnvelopeKind.CANCEL]
        assert len(sep) == 0

    asyncio.run(main())


def test_a_node_that_does_not_answer_in_time() -> None:
    async def main() -> None:
        sep = build(PlayedBroker({SUPERNODE}), timeout_s=0.01)
        with pytest.raises(ProblemError, match=r"within 0\.01 s"):
            await sep.send(RECORD, REQUEST)

    asyncio.run(main())
