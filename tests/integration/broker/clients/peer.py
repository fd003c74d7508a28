"""Defines the client that the tests use; one adapter for each client library provides it."""

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from tests.programs import PATIENCE

T = TypeVar("T")

WAIT_S = 15.0 * PATIENCE
EXPIRY_S = 60  # of stored sessions in MQTT 5


@dataclass(frozen=True, slots=True)
class Got:
    """A message as it arrived; the last two are MQTT 5's."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    response_topic: str | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """The options of a connection."""

    client_id: str
    port: int
    stored: bool = False  # the session outlives the connection
    will: tuple[str, bytes] | None = None  # topic and payload, at QoS 1


class Peer(Protocol):
    """One connection; every call waits for the broker's answer."""

    def subscribe(self, topic_filter: str, qos: int) -> int:
        """Return the QoS granted."""

    def publish(self, message: Got) -> None:
        """Publish; at QoS 1 wait for the PUBACK."""

    def take(self) -> Got:
        """Return the next message."""

    def close(self) -> None:
        """Disconnect; harmless when the connection is gone, or closed already."""


class Loop:
    """Runs asyncio clients for tests that block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def open(self, work: Coroutine[Any, Any, T]) -> T:
        """Run what connects; end when it cannot."""
        try:
            return self.run(work)
        except BaseException:
            self.close()
            raise

    @property
    def closed(self) -> bool:
        """True after close()."""
        return self._loop.is_closed()

    def close(self) -> None:
        """End, with what still runs."""
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
