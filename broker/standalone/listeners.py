"""Listeners from settings: opens the files of TLS, and reads them again when they changed."""

import ssl
from pathlib import Path

from broker.server import Listener
from broker.standalone.errors import ConfError
from broker.standalone.settings import Anonymous, BrokerSettings, ClientCertificates, TlsSettings

_VERIFY = {
    ClientCertificates.NO: ssl.CERT_NONE,
    ClientCertificates.OPTIONAL: ssl.CERT_OPTIONAL,
    ClientCertificates.REQUIRED: ssl.CERT_REQUIRED,
}
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def open_listeners(settings: BrokerSettings) -> list[Listener]:
    """Return what to give to the broker; ConfError when files of TLS cannot be used."""
    return [
        Listener(
            host=each.host,
            port=each.port,
            path=each.path,
            tls=_context(each.tls) if each.tls is not None else None,
            name=each.name,
            websocket=each.websocket,
            origins=each.origins,
            proxies=each.proxies,
            connections=each.connections,
            # where credentials are needed, a page of another site has none to use
            known_hosts_only=(each.access or settings.access).anonymous is not Anonymous.NO,
        )
        for each in settings.listeners
    ]


def renew_certificates(settings: BrokerSettings, listeners: list[Listener]) -> None:
    """Use the certificate and key files as they are now, for new connections."""
    for each, listener in zip(settings.listeners, listeners, strict=True):
        if each.tls is not None and listener.tls is not None:
            _load_certificate(listener.tls, each.tls)


def _context(tls: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.minimum]
    _load_certificate(context, tls)
    if tls.ciphers:
        try:
            context.set_ciphers(tls.ciphers)
        except ssl.SSLError as exc:
            raise ConfError(f"ciphers {tls.ciphers}", ["OpenSSL knows none of them"]) from exc
    if tls.client_certificates is ClientCertificates.NO:
        return context
    context.verify_mode = _VERIFY[tls.client_certificates]
    if tls.revoked is not None:
        _trust(context, tls.revoked, None)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


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
    # also where no client is asked for one: if the file holds only its own certificate, OpenSSL
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
