"""Names the cloud's listeners: their sockets, certificates and addresses."""

import os
import socket
from dataclasses import dataclass

from cloud.config import ApiSettings, CloudConfig
from cloud.errors import StartError
from settings.addresses import format_address
from web import CertificateError, ListenError, ServerCertificate, listen_tcp
from web.tls.settings import ListenerTls


@dataclass(frozen=True, slots=True)
class ListenerAddresses:
    """The addresses of the cloud's listeners, with their schemes."""

    api: str
    mqtt: str
    relay: str

    def line(self) -> str:
        """Return the line that announces that the cloud is ready."""
        return f"cloud ready: API {self.api}, MQTT {self.mqtt}, relay {self.relay}"


@dataclass(frozen=True, slots=True)
class ListenerCertificates:
    """The certificate of each listener; None for a plain one."""

    api: ServerCertificate | None
    mqtt: ServerCertificate | None
    relay: ServerCertificate | None

    @classmethod
    def read(cls, config: CloudConfig) -> "ListenerCertificates":
        """Read the files that the configuration names; StartError when one cannot be used."""
        return cls(
            _certificate_of(config.api, "api"),
            _certificate_of(config.mqtt, "mqtt"),
            _certificate_of(config.relay, "relay"),
        )

    def all(self) -> list[ServerCertificate]:
        """Return the certificates of the listeners with TLS."""
        return [one for one in (self.api, self.mqtt, self.relay) if one is not None]

    def with_schemes(self, api: str, mqtt: str, relay: str) -> ListenerAddresses:
        """Return the addresses with the schemes that the certificates give them."""
        return ListenerAddresses(
            f"{'https' if self.api else 'http'}://{api}",
            f"mqtts://{mqtt}" if self.mqtt else mqtt,
            f"https://{relay}" if self.relay else relay,
        )


def bind_api(settings: ApiSettings) -> socket.socket:
    """Return a listening socket; StartError that names the setting when there can be none."""
    try:
        return listen_tcp(settings.host, settings.port)
    except ListenError as exc:
        raise StartError(f"{exc}; {_hint('api')}") from exc


def cannot_listen(host: str, port: int, cause: BaseException, section: str) -> StartError:
    """Return the error with the address, the reason and the setting."""
    why = str(cause)
    if isinstance(cause, OSError) and cause.errno:
        # Not strerror: create_server() adds to it. Errors of name resolution are negative.
        why = os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
    return StartError(
        f"cannot listen on {format_address(host, port)}: {why.lower()}; {_hint(section)}"
    )


def _certificate_of(settings: ListenerTls, section: str) -> ServerCertificate | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    try:
        return ServerCertificate(settings.tls_cert, settings.tls_key, f"[{section}]")
    except CertificateError as exc:
        raise StartError(str(exc)) from exc


def _hint(section: str) -> str:
    return f"set [{section}] port or HECATE_CLOUD_{section.upper()}_PORT"
