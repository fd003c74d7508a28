"""Decides from which hosts and addresses images are pulled. Pure.

An address on this machine or of its link is where services without a password listen, the
metadata service of clouds among them. A name reaches it only when [services] pull_hosts has that
very name or address: a wildcard does not open it, and no name server can.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from gateway.services.errors import ImageError

REDIRECTS_LIMIT = 5
URL_LIMIT = 2048
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class PullSource:
    """An allowed URL."""

    url: str
    host: str
    port: int
    may_be_local: bool  # its address may be of this machine or of its link


def check_source(url: str, pull_hosts: Sequence[str], before: PullSource | None) -> PullSource:
    """Return the source that a URL names.

    Args:
        url: the URL.
        pull_hosts: the allowed hosts.
        before: the source that redirected to it, if one did.

    Raises:
        ImageError: it is not allowed, or no URL of an image.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError as exc:
        raise ImageError("cannot pull image: its URL is malformed") from exc
    host = (parts.hostname or "").rstrip(".")
    if not port or not host or len(url) > URL_LIMIT or not url.isascii() or not url.isprintable():
        raise ImageError("cannot pull image: its URL must be like https://example.com/climate.tar")
    if parts.username or parts.password:
        raise ImageError("cannot pull image: its URL holds a password; logs would show it")
    if before is not None and before.url.startswith("https:") and parts.scheme != "https":
        raise ImageError(f"cannot pull image: {before.host} redirects to {host} without TLS")
    named = f"{host}:{port}"
    literal = host in pull_hosts or named in pull_hosts
    if not literal and not any(_matches(host, pattern) for pattern in pull_hosts):
        raise ImageError(
            f"cannot pull image: {host} is none of [services] pull_hosts; add it there, or send "
            "the image itself"
        )
    return PullSource(url, host, port, literal)


def check_address(source: PullSource, address: str) -> None:
    """Return if the address of a source may be connected to; ImageError if not."""
    if not source.may_be_local and not _is_elsewhere(address):
        raise ImageError(
            f"cannot pull image: {source.host} is at {address}, on this machine or its link; "
            "[services] pull_hosts must name it without a wildcard"
        )


def _matches(host: str, pattern: str) -> bool:
    return pattern == "*" or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def _is_elsewhere(address: str) -> bool:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return not (
        found.is_loopback
        or found.is_link_local
        or found.is_multicast
        or found.is_unspecified
        or found.is_reserved
    )
