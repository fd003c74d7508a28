"""Builds listeners from settings: opens the files of TLS, and reads them again."""

import ssl
from pathlib import Path

from broker.server import Listener
from broker.standalone.conf.settings import (
    BrokerSettings,
    ClientCertificates,
    ListenerSettings,
    TlsSettings,
)
from broker.standalone.errors import ConfError

_VERIFY = {
    ClientCertificates.NO: ssl.CERT_NONE,
    ClientCertificates.OPTIONAL: ssl.CERT_OPTIONAL,
    ClientCertificates.REQUIRED: ssl.CERT_REQUIRED,
}
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def open_listeners(settings: BrokerSettings) -> list[Listener]:
    """Return the broker's listeners; ConfError when files of TLS cannot be used."""
    return [
        make_listener(each, _context(each.tls) if each.tls is not None else None, each.name)
        for each in settings.listeners
    ]


def make_listener(settings: ListenerSettings, tls: ssl.SSLContext | None, name: str) -> Listener:
    """Return the listener of settings whose files of TLS are in a context."""
    return Listener(
        host=settings.host,
        port=settings.port,
        path=settings.path,
        tls=tls,
        name=name,
        websocket=settings.websocket,
        origins=settings.origins,
        proxies=settings.proxies,
        connections=settings.connections,
    )


def renew_certificates(settings: BrokerSettings, listeners: list[Listener]) -> None:
    """Use the certificate and key files as they are now, for new connections."""
    for each, listener in zip(settings.listeners, listeners, strict=True):
        if each.tls is not None and listener.tls is not None:
            _load_certificate(listener.tls, each.tls)
            _trust_clients(listener.tls, each.tls)


def _context(tls: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_certificate(context, tls)
    require_clients(context, tls)
    return context


def require_clients(context: ssl.SSLContext, tls: TlsSettings) -> None:
    """Set what a listener requires of its clients: version, ciphers and certificates.

    Raises:
        ConfError: a file cannot be used, or OpenSSL knows none of the ciphers.
    """
    context.minimum_version = _VERSIONS[tls.minimum]
    if tls.ciphers:
        try:
            context.set_ciphers(tls.ciphers)
        except ssl.SSLError as exc:
            raise ConfError(f"ciphers {tls.ciphers}", ["OpenSSL knows none of them"]) from exc
    _trust_clients(context, tls)
    if tls.client_certificates is ClientCertificates.NO:
        return
    context.verify_mode = _VERIFY[tls.client_certificates]
    if tls.revoked is not None:
        _trust(context, tls.revoked, None)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _load_certificate(context: ssl.SSLContext, tls: TlsSettings) -> None:
    def refuse_to_ask() -> str:
        # OpenSSL would wait at the terminal, also of a service that has none
        raise ConfError(tls.key, ["the key is protected by a password"])

    for path in (tls.certificate, tls.key):
        _check_readable(path)
    try:
        context.load_cert_chain(tls.certificate, tls.key, refuse_to_ask)
    except ssl.SSLError as exc:
        why = f"no certificate that goes with {tls.key}: {exc.reason or exc}"
        raise ConfError(tls.certificate, [why.lower()]) from exc


def _trust_clients(context: ssl.SSLContext, tls: TlsSettings) -> None:
    # also without client certificates: if the file holds only the server's own certificate, OpenSSL
    # sends those above it as well, which it finds among the authorities
    if tls.client_ca is not None or tls.client_ca_folder is not None:
        _trust(context, tls.client_ca, tls.client_ca_folder)


def _trust(context: ssl.SSLContext, file: Path | None, folder: Path | None) -> None:
    if file is not None:
        _check_readable(file)
    try:
        context.load_verify_locations(file, folder)
    except (ssl.SSLError, OSError) as exc:
        raise ConfError(file or folder, ["holds no certificates in PEM"]) from exc


def _check_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as exc:
        raise ConfError(path, [(exc.strerror or str(exc)).lower()]) from exc
