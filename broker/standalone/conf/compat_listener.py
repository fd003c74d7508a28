"""Builds one listener of a mosquitto.conf."""

from dataclasses import dataclass, field
from pathlib import Path

from broker.access.certificates import NameField
from broker.standalone.conf.compat_options import TLS_OPTIONS, CompatOptions
from broker.standalone.conf.settings import (
    AccessSettings,
    Anonymous,
    ClientCertificates,
    ListenerSettings,
    TlsSettings,
)

# "" is every address of the machine
HOSTS = {"": "", "unspec": "", "ipv4": "0.0.0.0", "ipv6": "::"}  # noqa: S104  # as Mosquitto does
TLS_VERSIONS = {"tlsv1.2": "1.2", "tlsv1.3": "1.3"}
PROTOCOLS = ("mqtt", "websockets")
WEBSOCKETS = PROTOCOLS[1]
MAX_CONNECTIONS = 1_000_000
LOOPBACK = "127.0.0.1"


@dataclass(slots=True)
class ListenerDraft:
    """Collects the options of one listener."""

    options: CompatOptions
    host: str = ""
    port: int = 0
    path: Path | None = None
    is_given: bool = True  # False: only there to collect what stands above the first listener
    access: AccessSettings | None = None
    origins: list[str] = field(default_factory=list)  # each line adds one


def parse_place(value: str) -> tuple[str, int, Path | None]:
    """Return host, port and path of `listener PORT [HOST or path]`; ValueError when it is none."""
    port, *rest = value.split(None, 1)
    place = rest[0] if rest else ""
    if not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        raise ValueError(f"{port!r} is not a port")
    if int(port) == 0 and place.startswith("/"):
        return "", 0, Path(place)
    if int(port) == 0:
        raise ValueError("port 0 goes with the absolute path of a Unix socket")
    return place, int(port), None


def build_listener(draft: ListenerDraft) -> ListenerSettings:
    """Return the settings of one listener."""
    options = draft.options
    domain = options.text("socket_domain", "unspec")
    if domain not in HOSTS:
        options.refuse("socket_domain", f"{domain!r} is not ipv4 or ipv6")
    host = draft.host or HOSTS.get(domain, "")
    protocol = options.text("protocol", PROTOCOLS[0])
    if protocol not in PROTOCOLS:
        options.refuse("protocol", f"{protocol!r} is not {' or '.join(PROTOCOLS)}")
    if draft.origins and protocol != WEBSOCKETS:
        options.refuse("websockets_origin", "stands at a listener without protocol websockets")
    connections = options.number("max_connections", low=-1, high=MAX_CONNECTIONS)
    return ListenerSettings(
        host="" if draft.path else host,
        port=draft.port,
        path=draft.path,
        tls=_tls(options) if options.names() & TLS_OPTIONS else None,
        access=draft.access,
        websocket=protocol == WEBSOCKETS,
        origins=tuple(draft.origins),
        connections=connections if connections is not None and connections > 0 else None,
    )


def build_access(options: CompatOptions, listener: CompatOptions) -> AccessSettings:
    """Return the users and rights of one listener or of all."""
    acl_file = options.path("acl_file")
    certified = listener.flag("use_identity_as_username")
    if certified and not listener.flag("require_certificate"):
        listener.refuse("use_identity_as_username", "needs require_certificate true")
    anonymous = options.flag("allow_anonymous")
    return AccessSettings(
        anonymous=Anonymous.NETWORK if anonymous and not certified else Anonymous.NO,
        password_file=None if certified else options.path("password_file"),
        certificate_name=NameField.COMMON_NAME if certified else None,
        acl_file=acl_file,
        allow_everything=acl_file is None,
    )


def _tls(options: CompatOptions) -> TlsSettings | None:
    certificate, key = options.path("certfile"), options.path("keyfile")
    if certificate is None or key is None:
        first = sorted(options.names() & TLS_OPTIONS)[0]
        options.refuse(first, "TLS needs certfile and keyfile")
        return None
    version = options.text("tls_version", "tlsv1.2")
    if version not in TLS_VERSIONS:
        options.refuse("tls_version", f"{version!r} is not tlsv1.2 or tlsv1.3")
    required = options.flag("require_certificate")
    return TlsSettings(
        certificate=certificate,
        key=key,
        client_ca=options.path("cafile"),
        client_ca_folder=options.path("capath"),
        client_certificates=ClientCertificates.REQUIRED if required else ClientCertificates.NO,
        revoked=options.path("crlfile"),
        minimum=TLS_VERSIONS.get(version, "1.2"),
        ciphers=options.text("ciphers"),
    )
