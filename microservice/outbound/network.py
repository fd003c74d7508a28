"""Opens all that a container's process reaches others with."""

import logging
import os
from collections.abc import Mapping

from microservice.outbound.client import OutboundClient
from microservice.outbound.forwarder import LocalForwarder

logger = logging.getLogger(__name__)

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


class ContainerNetwork:
    """The HTTP client of a container, and its local ports.

    Attributes:
        client: sends HTTP requests.
        forwards: the local addresses of [network] forward, by name.
    """

    def __init__(self, gateway_socket: str) -> None:
        self.client = OutboundClient(gateway_socket)
        self.forwards: dict[str, tuple[str, int]] = {}
        self._forwarder = LocalForwarder(gateway_socket)

    async def open(self, forward: Mapping[str, str], *, has_proxy: bool) -> None:
        """Open the local ports; set the variables of the environment that name the proxy."""
        try:
            if has_proxy:
                url = await self._forwarder.open_proxy()
                os.environ.update(dict.fromkeys(PROXY_VARIABLES, url))
            for name, place in forward.items():
                self.forwards[name] = await self._forwarder.open_forward(place)
        except OSError as exc:  # a network of its own without loopback
            logger.warning("cannot open local ports of [network]: %s", exc)

    async def close(self) -> None:
        """Close the local ports."""
        await self._forwarder.close()
