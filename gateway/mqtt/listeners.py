"""Opens the listeners of the gateway's broker."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from broker import Listener
from broker.standalone.conf.tables import ListenerTable
from broker.standalone.errors import ConfError
from broker.standalone.listeners import make_listener, require_clients
from gateway.config import EmbeddedBrokerSettings
from gateway.errors import ConfigError
from gateway.mqtt.access import CONTAINERS
from gateway.tls import server_certificate
from web import ServerCertificate
from web.addresses import is_loopback_host

PLAIN = " (network, not encrypted)"


@dataclass(frozen=True, slots=True)
class BrokerListeners:
    """The listeners of the broker, and the certificates that follow their files."""

    listeners: tuple[Listener, ...]
    certificates: tuple[ServerCertificate, ...]

    @property
    def encrypted(self) -> frozenset[str]:
        """The names of the listeners with TLS."""
        return frozenset(each.name for each in self.listeners if each.tls is not None)


def open_broker_listeners(
    settings: EmbeddedBrokerSettings, socket: Path, device_authority: Path | None = None
) -> BrokerListeners:
    """Return the listeners that the settings describe, and the containers' Unix socket.

    With an authority of devices, listeners with TLS accept client certificates that it signed.

    Raises:
        ConfigError: a file of TLS cannot be used.
    """
    listeners, certificates = [], []
    for number, table in enumerate(settings.tables, 1):
        section = f"[broker.listener {number}]" if settings.listener else "[broker]"
        certificate = _open_certificate(table, section)
        if certificate is not None:
            certificates.append(certificate)
            if device_authority is not None:
                _accept_clients(certificate.context, device_authority)
        context = certificate.context if certificate else None
        listener = table.build()
        # a path that is called "containers" must not become the listener of the containers
        name = f"unix:{listener.path}" if listener.path else listener.name
        if context is not None:
            name = f"tls:{name}"  # two listeners on any free port would have one name
        listeners.append(make_listener(listener, context, name))
    listeners.append(Listener(path=socket, name=CONTAINERS))
    return BrokerListeners(tuple(listeners), tuple(certificates))


def describe_encryption(settings: EmbeddedBrokerSettings) -> str:
    """Return a warning for the first listener if the network reaches it without TLS."""
    first = settings.tables[0].build()
    is_safe = first.tls is not None or first.path is not None or is_loopback_host(first.host)
    return "" if is_safe else PLAIN


def _accept_clients(context: ssl.SSLContext, authority: Path) -> None:
    context.load_verify_locations(authority)
    if context.verify_mode is ssl.CERT_NONE:
        context.verify_mode = ssl.CERT_OPTIONAL


def _open_certificate(table: ListenerTable, section: str) -> ServerCertificate | None:
    certificate = server_certificate(table.certificate, table.key, section)
    tls = table.build().tls
    if certificate is not None and tls is not None:
        try:
            require_clients(certificate.context, tls)
        except ConfError as exc:
            raise ConfigError(f"{exc}, given in {section}") from exc
    return certificate
