"""Reads and writes HOST:PORT."""

from dataclasses import dataclass


def format_address(host: str, port: int) -> str:
    """Return host:port, with brackets round an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
