"""Runs a broker in a thread of its own, for blocking clients."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from broker import AllowAll, Authenticator, Authorizer, Broker, Limits, Listener
from broker.journal import Journal

T = TypeVar("T")

WAIT_S = 10.0


class BrokerThread:
    """Runs one broker; everything of the broker is called on its loop."""

    def __init__(
        self,
        *listeners: Listener,
        authenticator: Authenticator | None = None,
        authorizer: Authorizer | None = None,
        limits: Limits | None = None,
        store: Journal | None = None,
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="broker")
        self._thread.start()
        self.broker = Broker(
            listeners or (Listener(port=0),),
            authenticator or AllowAll(),
            authorizer or AllowAll(),
            limits,
            store=store,
        )
        try:
            asyncio.run_coroutine_threadsafe(self.broker.start(), self._loop).result(WAIT_S)
        except BaseException:
            self._end()
            raise

    @property
    def port(self) -> int:
        address = self.broker.addresses[0]
        assert isinstance(address, tuple)
        return address[1]

    def call(self, function: Callable[[], T]) -> T:
        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(WAIT_S)

    def stop(self) -> None:
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self.broker.stop(), self._loop).result(WAIT_S)
            self._end()

    def _end(self) -> None:
        executor_gone = asyncio.run_coroutine_threadsafe(
            self._loop.shutdown_default_executor(), self._loop
        )
        executor_gone.result(WAIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()


@pytest.fixture
def start_broker() -> Iterator[Callable[..., BrokerThread]]:
    started: list[BrokerThread] = []

    def start(*listeners: Listener, **options: object) -> BrokerThread:
        started.append(BrokerThread(*listeners, **options))  # type: ignore[arg-type]  # passed on
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def broker(start_broker: Callable[..., BrokerThread]) -> BrokerThread:
    return start_broker()
