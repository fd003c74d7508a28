"""Reads and writes HOST:PORT."""

from dataclasses import dataclass


def format_address(host: str, port: int) -> str:
    """Return host:port, with brackets round an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def format_peer(peer: tuple[str, int] | tuple[str, int, int, int]) -> str:
    """Return host:port of a connection's other end, as accept() returns it.

    An IPv4 peer of an IPv6 socket has its IPv4 address, and a link-local one its scope.
    """
    host, port, *more = peer
    mapped = host.lower().removeprefix("::ffff:")
    if "." in mapped:
        return format_address(mapped, port)
    scope = more[1] if more else 0
    return format_address(f"{host}%{scope}" if scope else host, port)


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return format_address(self.host, self.port)

    @classmethod
    def parse(cls, text: str) -> "HostPort":
        """Return the address in HOST:PORT, with brackets round an IPv6 address.

        Raises:
            ValueError: says what to write.
        """
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError("must be HOST:PORT, such as 127.0.0.1:1883")
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise ValueError(f"put brackets round the address: [{host}]:{port}")
        return cls(host.strip("[]"), int(port))
