"""Defines the limits that an HTTP server sets to its peers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of one server; times in seconds.

    A peer that makes progress, however slow its link, keeps its connection. A peer that only holds
    a connection loses it in time, or at once when another peer needs it.
    """

    connections: int = 512
    connections_per_address: int = 128  # this machine and trusted proxies have no such bound
    reserved: int = 32  # of the connections, for this machine alone
    head_s: float = 10.0  # from the first byte, TLS included, to the whole request head
    idle_s: float = 30.0  # between requests
    progress_s: float = 20.0  # in which a body, or the reading of an answer, must progress
    progress_bytes: int = 1024  # by so much, or to its end: 410 bit/s are below any modem
    close_s: float = 5.0  # for the last bytes of an answer before the connection ends
    stop_s: float = 1.0  # for open requests when the server stops

    @classmethod
    def of(cls, connections: int, stop_s: float) -> "HttpLimits":
        """Return the limits of a server for so many connections."""
        return cls(
            connections=connections,
            connections_per_address=max(1, connections // 4),
            reserved=min(32, connections // 8),
            stop_s=stop_s,
        )
