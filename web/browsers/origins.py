"""Decides which hosts a server answers for, and which web pages may call it.

A browser on this machine or network sends the requests of any page. Two headers that a page cannot
choose reveal it: Host (a page that has bound its own name to this address, DNS rebinding) and
Origin (a page of another site).
"""

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

ANY = "*"


@dataclass(frozen=True, slots=True)
class HostDecision:
    """The decision about a request: serve it when there is no status."""

    status: int = 0
    detail: str = ""
    allowed_origin: str = ""  # a page of another site that may read the answer


class HostPolicy:
    """Holds the names of a server and the pages that may call it.

    Args:
        names: the names of the server; called each time, because certificates change.
        section: the section of the configuration with hosts and origins, for messages.
        origins: pages of other sites that may call, like "https://app.example.com"; "*" is all.
    """

    def __init__(
        self, names: Callable[[], Iterable[str]], section: str, origins: Iterable[str] = ()
    ) -> None:
        self._names, self._section = names, section
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    def judge(self, hosts: list[str], local_address: str, headers: dict[str, str]) -> HostDecision:
        """Return the decision on a request.

        Args:
            hosts: the values of its Host headers.
            local_address: the address of this machine that the peer connected to.
            headers: "origin", "sec-fetch-site" and "sec-fetch-mode", as far as present.
        """
        host = hosts[0] if len(hosts) == 1 else ""
        if len(hosts) > 1 or (hosts and not self._is_known(host_name(host), local_address)):
            return HostDecision(
                421,
                f"cannot serve {host[:100]!r}: not known by that name; "
                f"add it to {self._section} hosts",
            )
        origin = headers.get("origin", "")
        if not origin:
            return self._judge_fetch(headers)
        if is_same_host(origin, host):
            return HostDecision()
        if ANY in self._origins or origin.lower() in self._origins:
            return HostDecision(allowed_origin=origin)
        return HostDecision(
            403,
            f"cannot serve a page of {origin[:100]!r}: it is of another site; "
            f"add it to {self._section} origins",
        )

    def _judge_fetch(self, headers: dict[str, str]) -> HostDecision:
        # A foreign page loads images and scripts without Origin; following a link is allowed.
        if (
            headers.get("sec-fetch-site") == "cross-site"
            and headers.get("sec-fetch-mode") != "navigate"
            and ANY not in self._origins
        ):
            return HostDecision(403, "cannot serve a part of a page of another site")
        return HostDecision()

    def _is_known(self, name: str, local_address: str) -> bool:
        if not name:
            return False
        if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, 6.3
            return True
        try:
            address = ipaddress.ip_address(name.partition("%")[0])
        except ValueError:
            return any(matches(pattern, name) for pattern in self._names())
        if address.is_loopback or str(address) in self._names():
            return True
        return bool(local_address) and address == _address(local_address)


def host_name(host: str) -> str:
    """Return the name or address in a Host header, in lower case; "" when there is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return ""
    if parts.path or parts.query or parts.username is not None:
        return ""
    return (parts.hostname or "").rstrip(".")


def is_same_host(origin: str, host: str) -> bool:
    """Return whether a page's origin is the very host and port that a request is for."""
    try:
        parts, own = urlsplit(origin), urlsplit(f"//{host}")
        default = {"http": 80, "https": 443}.get(parts.scheme)
        if default is None or not parts.hostname:
            return False
        page, server = parts.port or default, own.port or default
    except ValueError:
        return False
    return (parts.hostname, page) == (own.hostname, server)


def matches(pattern: str, name: str) -> bool:
    """Return whether a name of a certificate or a setting covers a name."""
    pattern = pattern.lower()
    if pattern.startswith("*."):
        return name.partition(".")[2] == pattern[2:]
    return pattern == name


def _address(text: str) -> object:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
