"""Serves the HTTP application on a socket that is already bound, within the cloud's limits."""

import os
import socket

from fastapi import FastAPI

from cloud.config import ApiSettings
from cloud.errors import StartError
from settings.addresses import format_address
from web import (
    CertificateError,
    HttpLimits,
    HttpServer,
    ListenError,
    ServerCertificate,
    listen_tcp,
)
from web.tls_settings import ListenerTls

STOP_S = 2  # of the 5 s in which the process must have ended; broker and relay need some


def bind(settings: ApiSettings) -> socket.socket:
    """Return a listening socket; StartError that names the setting when there can be none."""
    try:
        return listen_tcp(settings.host, settings.port)
    except ListenError as exc:
        raise StartError(f"{exc}; {_hint('api')}") from exc


def cannot_listen(host: str, port: int, cause: BaseException, section: str) -> StartError:
    """Return the error that names an address, why it cannot be had, and the setting."""
    why = str(cause)
    if isinstance(cause, OSError) and cause.errno:
        # Not strerror: create_server() adds to it. Errors of name resolution are negative.
        why = os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
    return StartError(
        f"cannot listen on {format_address(host, port)}: {why.lower()}; {_hint(section)}"
    )


def certificate_of(settings: ListenerTls, section: str) -> ServerCertificate | None:
    """Return what a listener shows its peers; None for a plain one, StartError for bad files."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    try:
        return ServerCertificate(settings.tls_cert, settings.tls_key, f"[{section}]")
    except CertificateError as exc:
        raise StartError(str(exc)) from exc


def build_server(
    app: FastAPI, settings: ApiSettings, certificate: ServerCertificate | None
) -> HttpServer:
    """Return the server of an application, not yet started."""
    return HttpServer(
        app,
        HttpLimits.of(settings.connection_limit, STOP_S),
        certificate.context if certificate else None,
        settings.trusted_proxies,
    )


def _hint(section: str) -> str:
    return f"set [{section}] port or HECATE_CLOUD_{section.upper()}_PORT"
