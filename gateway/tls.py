"""TLS contexts from the configuration."""

import ssl
from pathlib import Path

from gateway.errors import ConfigError


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a context for devices to connect to; ConfigError when the files do not serve."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as exc:  # ssl.SSLError is one, too
        raise ConfigError(
            f"cannot use [broker] tls_cert = {certificate}, tls_key = {key}: {exc}"
        ) from exc
    return context


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the authorities in a file, or else the system's."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as exc:
        raise ConfigError(f"cannot use [cloud] ca_file = {ca_file}: {exc}") from exc
