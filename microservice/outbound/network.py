"""Opens all that a container's process reaches others with."""

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Mapping
from typing import TypeVar

from microservice.outbound.client import OutboundClient
from microservice.outbound.forwarder import LocalForwarder

logger = logging.getLogger(__name__)

T = TypeVar("T")

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


class ContainerNetwork:
    """The HTTP client of a container, and its local ports.

    A thread of its own serves the ports: a library that blocks the event loop while it waits for
    an answer, also while the service is imported, would wait for itself.

    Attributes:
        client: sends HTTP requests.
        forwards: the local addresses of [network] forward, by name.
    """

    def __init__(self, gateway_socket: str) -> None:
        self.client = OutboundClient(gateway_socket)
        self.forwards: dict[str, tuple[str, int]] = {}
        self._forwarder = LocalForwarder(gateway_socket)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self, forward: Mapping[str, str], *, has_proxy: bool) -> None:
        """Open the local ports; set the variables of the environment that name the proxy."""
        if not has_proxy and not forward:
            return
        try:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._serve, name="local ports", daemon=True).start()
            if has_proxy:
                url = await self._run(self._forwarder.open_proxy())
                os.environ.update(dict.fromkeys(PROXY_VARIABLES, url))
            for name, place in forward.items():
                self.forwards[name] = await self._run(self._forwarder.open_forward(place))
        except (OSError, RuntimeError) as exc:  # no loopback, no Internet sockets or no thread
            logger.warning("cannot open local ports of [network]: %s", exc)

    async def close(self) -> None:
        """Close the local ports."""
        if self._loop is not None and self._loop.is_running():
            await self._run(self._forwarder.close())
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _serve(self) -> None:
        assert self._loop is not None  # open() has made it
        self._loop.run_forever()

    async def _run(self, opening: Awaitable[T]) -> T:
        """Return the result of a coroutine that the thread runs."""
        assert self._loop is not None  # open() has made it

        async def run() -> T:
            return await opening

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), self._loop))
