"""Finds the target of a container's request. Pure.

| request target (RFC 9112, 3.2) | leads to |
|---|---|
| /path, http://localhost/path, own names and addresses | the API of this gateway |
| http://TYPE.service.hecate/path | a microservice of this type, on this node or another |
| http://NODE-ID.TYPE.service.hecate/path | the one on that node |
| http://NODE-ID.node.hecate/path | the API of that node |
| any URL with x-mimik-routing | the node that the header names |
| http://host/path, CONNECT host:port | the outside, as far as the manifest declares it |
"""

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from gateway.services.network.addresses import IpAddress, parse_host, plain_address
from protocol.ids import NODE_ID
from settings.addresses import format_address

COMPATIBLE_PORT = 8083  # images of others call it, whatever the port of the API is
SERVICE_SUFFIX, NODE_SUFFIX = ".service.hecate", ".node.hecate"
ROUTING_HEADER = b"x-mimik-routing"

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_ABSOLUTE = re.compile(r"(?i:(http|ws))://([^/?#]*)([^#]*)")
_SEP_PATH = re.compile(r"/sep/[0-9a-f]{56}(?=/|\?|$)")


class TargetKind(Enum):
    """The kind of a target."""

    GATEWAY = auto()
    SERVICE = auto()
    NODE = auto()
    OUTSIDE = auto()


@dataclass(frozen=True, slots=True)
class RequestTarget:
    """The target of a request."""

    kind: TargetKind
    host: str = ""  # of the outside; a name in lower case, or an address
    port: int = 0
    path: str = "/"  # with the query
    service_type: str = ""
    node_id: str = ""  # "" for any

    @property
    def place(self) -> str:
        """Host and port."""
        return format_address(self.host, self.port)

    @property
    def authority(self) -> str:
        """The value of a Host header."""
        return self.place.removesuffix(":80")


class TargetError(ValueError):
    """A request has no target that it may have; the message reads "cannot X: why"."""


@dataclass(frozen=True, slots=True)
class OwnNames:
    """The names, ports and addresses of this gateway."""

    names: Callable[[], frozenset[str]]
    ports: Callable[[], frozenset[int]]  # of the API
    is_own: Callable[[IpAddress], bool]

    def has(self, host: IpAddress | str, port: int | None) -> bool:
        """Return whether a host and a port, None for the default, are the API's."""
        if port is not None and port not in self.ports() and port != COMPATIBLE_PORT:
            return False
        if isinstance(host, str):
            return host in self.names()
        plain = plain_address(host)
        return plain.is_loopback or plain.is_unspecified or self.is_own(plain)


def find_target(
    method: str, raw_target: str, headers: list[tuple[bytes, bytes]], own: OwnNames
) -> RequestTarget:
    """Return the target of a request.

    Args:
        method: of the request line.
        raw_target: of the request line.
        headers: names in lower case.
        own: the gateway's own names.

    Raises:
        TargetError: the target is malformed, or ambiguous.
    """
    if method == "CONNECT":
        return _of_authority(raw_target, "", own, is_connect=True)
    authority, path = _split(raw_target, headers)
    routing = [value for name, value in headers if name == ROUTING_HEADER]
    if routing:
        return _of_routing(routing, path)
    return _of_authority(authority, path or "/", own, is_connect=False)


def _split(raw_target: str, headers: list[tuple[bytes, bytes]]) -> tuple[str, str]:
    """Return authority and path of a request line; the authority has precedence over Host."""
    if raw_target.startswith("/"):
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if len(hosts) > 1:
            raise TargetError("cannot serve request: it has several Host headers")
        return (hosts[0] if hosts else "") or "localhost", raw_target
    absolute = _ABSOLUTE.fullmatch(raw_target)
    if absolute is None:
        raise TargetError(
            f"cannot serve {raw_target[:100]!r}: must be a path or an http:// URL; "
            "CONNECT serves for everything else"
        )
    path = absolute[3] if absolute[3].startswith("/") else f"/{absolute[3]}"
    return absolute[2], path


def _of_authority(authority: str, path: str, own: OwnNames, *, is_connect: bool) -> RequestTarget:
    if "@" in authority:  # RFC 9110, 4.2.4: it hides the host
        raise TargetError("cannot serve a URL with a user name: use an Authorization header")
    parts = _AUTHORITY.fullmatch(authority)
    port = int(parts[2]) if parts is not None and parts[2] else None
    if parts is None or port == 0 or (port or 0) > 65535 or (is_connect and port is None):
        raise TargetError(f"cannot serve {authority[:100]!r}: it is no host and port")
    named = _of_name(parts[1], path)
    if named is not None:
        return named
    try:
        host = parse_host(parts[1])
    except ValueError as exc:
        raise TargetError(f"cannot reach {parts[1][:100]}: it {exc}") from exc
    if own.has(host, port):
        return RequestTarget(TargetKind.GATEWAY, "localhost", port or 80, path)
    return RequestTarget(TargetKind.OUTSIDE, str(host), port or 80, path)


def _of_name(host: str, path: str) -> RequestTarget | None:
    """Return the target of a name below .hecate; None for other names."""
    name = host.removesuffix(".")
    lower = name.lower()
    if lower.endswith(SERVICE_SUFFIX):
        service_type = lower.removesuffix(SERVICE_SUFFIX)
        node_id, dot, rest = service_type.partition(".")
        if dot and NODE_ID.fullmatch(node_id):
            return RequestTarget(TargetKind.SERVICE, name, 80, path, rest, node_id)
        return RequestTarget(TargetKind.SERVICE, name, 80, path, service_type)
    if lower.endswith(NODE_SUFFIX):
        return _of_node(lower.removesuffix(NODE_SUFFIX), path)
    if lower == "hecate" or lower.endswith(".hecate"):
        raise TargetError(f"cannot reach {host[:100]}: must be TYPE.service.hecate")
    return None


def _of_routing(values: list[bytes], path: str) -> RequestTarget:
    try:
        fields = json.loads(base64.b64decode(values[0]))
        node_id = fields["nodeId"]
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError) as exc:
        raise TargetError("cannot read x-mimik-routing: not base64 of {nodeId}") from exc
    if len(values) != 1 or not isinstance(node_id, str):
        raise TargetError("cannot read x-mimik-routing: it names no node")
    return _of_node(node_id, _SEP_PATH.sub("", path, 1))  # before it: the node's SEP URL


def _of_node(node_id: str, path: str) -> RequestTarget:
    if not NODE_ID.fullmatch(node_id):
        raise TargetError(f"cannot reach node {node_id[:100]!r}: it is no node id")
    return RequestTarget(TargetKind.NODE, path=path or "/", node_id=node_id)


def is_address(host: str) -> IpAddress | None:
    """Return the address that a target's host is; None when it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
