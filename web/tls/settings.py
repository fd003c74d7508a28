"""Defines the settings that every listener of a server has."""

from pathlib import Path
from typing import Protocol

from web.addresses import is_loopback_host


class ListenerTls(Protocol):
    """A section of a configuration file that describes a listener."""

    @property
    def host(self) -> str: ...  # noqa: D102
    @property
    def tls_cert(self) -> Path | None: ...  # noqa: D102
    @property
    def tls_key(self) -> Path | None: ...  # noqa: D102
    @property
    def plaintext_beyond_loopback(self) -> bool: ...  # noqa: D102


def check_listener(settings: ListenerTls) -> None:
    """Refuse with a ValueError half a TLS configuration, and to serve the network without TLS."""
    check_tls_files(settings.tls_cert, settings.tls_key)
    is_plain = settings.tls_cert is None
    if is_plain and not settings.plaintext_beyond_loopback and not is_loopback_host(settings.host):
        raise ValueError(
            f'host = "{settings.host}": serves the network without TLS: give tls_cert and tls_key '
            "(`hecate keys make DIR` makes some), or set plaintext_beyond_loopback = true if "
            "everyone on the network may read and change all traffic"
        )


def check_tls_files(certificate: Path | None, key: Path | None) -> None:
    """Refuse half a TLS configuration with a ValueError."""
    if (certificate is None) != (key is None):
        raise ValueError("tls_cert and tls_key must be given together")
