"""Sends HTTP requests from a container, through its socket of the gateway.

    client = OutboundClient(launch.gateway_socket)
    async with client.request("GET", "http://api-probe.service.hecate/rooms") as response:
        rooms = await response.json()

The gateway knows the container by that socket and decides about the target: its own API, another
microservice, or the outside network as far as `[network] allow` of microservice.toml goes.
"""

from microservice.outbound.client import OutboundClient, OutboundHeaders
from microservice.outbound.network import ContainerNetwork
from microservice.outbound.response import OutboundResponse

__all__ = ["ContainerNetwork", "OutboundClient", "OutboundHeaders", "OutboundResponse"]
