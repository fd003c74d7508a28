"""Reads the TLS settings of the configuration."""

import ssl
from pathlib import Path

from gateway.errors import ConfigError
from web import CertificateError, ServerCertificate


def server_certificate(
    certificate: Path | None, key: Path | None, section: str
) -> ServerCertificate | None:
    """Return the certificate of a listener; None without files, ConfigError for bad ones."""
    if certificate is None or key is None:
        return None
    try:
        return ServerCertificate(certificate, key, section)
    except CertificateError as exc:
        raise ConfigError(str(exc)) from exc


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the authorities in a file, or else the system's."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as exc:
        raise ConfigError(f"cannot use [cloud] ca_file = {ca_file}: {exc}") from exc
