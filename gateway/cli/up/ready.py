"""Reads the ready lines of cloud and gateway, with the addresses of their listeners."""

import re
from dataclasses import dataclass

_CLOUD = re.compile(
    r"cloud ready: API (?P<api>https?://\S+), MQTT (?P<mqtt>\S+:\d+), relay (?P<relay>\S+:\d+)\s*$"
)
_GATEWAY = re.compile(
    r"gateway ready: node (?P<node>[0-9a-f]+), MQTT (?P<mqtt>\S+:\d+), API (?P<api>https?://\S+?)"
    r"(?:, .*)?$"
)


@dataclass(frozen=True, slots=True)
class CloudReady:
    """The addresses of the cloud's listeners."""

    api: str
    mqtt: tuple[str, int]
    relay: tuple[str, int]


@dataclass(frozen=True, slots=True)
class GatewayReady:
    """The addresses of the gateway's listeners."""

    mqtt: tuple[str, int]
    api: str


def parse_cloud_ready(line: str) -> CloudReady | None:
    """Return the addresses in the cloud's line, or None for any other line."""
    match = _CLOUD.match(line)
    if match is None:
        return None
    return CloudReady(match["api"].rstrip("/"), _address(match["mqtt"]), _address(match["relay"]))


def parse_gateway_ready(line: str) -> GatewayReady | None:
    """Return the addresses in the gateway's line, or None for any other line."""
    match = _GATEWAY.match(line)
    if match is None:
        return None
    return GatewayReady(_address(match["mqtt"]), match["api"].rstrip("/"))


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
