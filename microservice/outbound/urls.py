"""Splits the URLs that a container requests. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from microservice.errors import OutboundError

PORTS = {"http": 80, "https": 443}
NODE_HEADER = "x-mimik-routing"  # names another node; the gateway has to read it

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_TARGET = re.compile(r"[\x21-\x7e]*")


@dataclass(frozen=True, slots=True)
class OutboundTarget:
    """The parts of a URL that a request needs."""

    host: str
    port: int
    path: str  # with the query
    authority: str  # as the Host header has it
    is_secure: bool  # TLS ends in this process, not in the gateway

    @property
    def url(self) -> str:
        """The URL for a request line in absolute form (RFC 9112, 3.2.2)."""
        return f"http://{self.authority}{self.path}"


def split_url(url: str, header_names: Iterable[str] = ()) -> OutboundTarget:
    """Return the parts of a URL; a missing scheme is http, a path alone is the gateway's.

    Raises:
        OutboundError: it is malformed, or holds a user name.
    """
    if url.startswith("/"):
        url = f"http://localhost{url}"
    elif "://" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise OutboundError(f"cannot request {url:.200}: {exc}") from exc
    scheme = parts.scheme.lower()
    if scheme not in PORTS:
        raise OutboundError(f"cannot request {url:.200}: only http:// and https:// are possible")
    if "@" in parts.netloc:  # it would be in logs; RFC 9110, 4.2.4
        raise OutboundError("cannot request a URL with a user name: use an Authorization header")
    if not _AUTHORITY.fullmatch(parts.netloc) or port == 0:
        raise OutboundError(f"cannot request {url:.200}: it names no host")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not _TARGET.fullmatch(path):
        raise OutboundError(f"cannot request {url:.200}: percent-encode spaces and non-ASCII text")
    routed = NODE_HEADER in {name.lower() for name in header_names}
    return OutboundTarget(
        parts.hostname or "",
        port or PORTS[scheme],
        path,
        parts.netloc,
        scheme == "https" and not routed,
    )
