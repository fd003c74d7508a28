"""Defines the settings of a standalone broker."""

import re
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_network
from pathlib import Path

from broker.access.certificates import NameField
from broker.access.source import is_loopback
from broker.journal import Durability
from broker.quota.limits import Limits
from broker.sys_topics import SYS_INTERVAL_S
from settings.addresses import format_address

ANY_ORIGIN = "*"
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s]+")  # as browsers send it
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
DURABILITIES: tuple[Durability, ...] = ("synced", "os", "memory")
TLS_VERSIONS = ("1.2", "1.3")  # older ones are broken


class Anonymous(Enum):
    """The origin of clients that may connect without a user."""

    NO = "no"
    LOOPBACK = "loopback"
    NETWORK = "network"


class ClientCertificates(Enum):
    """The ways to ask clients for a certificate."""

    NO = "no"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class TokenSourceSettings:
    """The issuer, audience and keys of accepted tokens."""

    keys: Path
    issuer: str = ""
    audience: str = ""
    groups_claim: str = "groups"


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Settings of authentication and authorisation."""

    anonymous: Anonymous = Anonymous.NO
    password_file: Path | None = None
    tokens: TokenSourceSettings | None = None
    certificate_name: NameField | None = None
    acl_file: Path | None = None
    allow_everything: bool = False  # to everyone who may connect

    def find_fault(self) -> str:
        """Return what is missing or too much, "" when nothing is."""
        if not (self.password_file or self.tokens or self.certificate_name) and (
            self.anonymous is Anonymous.NO
        ):
            return "nobody could connect: there are no users, and anonymous clients are not allowed"
        if self.acl_file is None and not self.allow_everything:
            return "nobody could read or write anything: there is no acl_file"
        if self.acl_file is not None and self.allow_everything:
            return "allow_everything and acl_file contradict each other"
        return ""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """One listener's certificates."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_ca_folder: Path | None = None
    client_certificates: ClientCertificates = ClientCertificates.NO
    revoked: Path | None = None  # list of revoked client certificates
    minimum: str = TLS_VERSIONS[0]
    ciphers: str = ""  # of TLS 1.2, as OpenSSL writes them

    def find_fault(self) -> str:
        """Return what is missing, "" when nothing is."""
        asks = self.client_certificates is not ClientCertificates.NO
        if asks and self.client_ca is None and self.client_ca_folder is None:
            return "client certificates need an authority that signed them"
        if self.minimum not in TLS_VERSIONS:
            return f"TLS {self.minimum} is not offered; {' and '.join(TLS_VERSIONS)} are"
        return ""


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """One place to listen, with its own users and rights if access is given."""

    host: str = "127.0.0.1"  # "" is every address of the machine
    port: int = 1883
    path: Path | None = None
    tls: TlsSettings | None = None
    access: AccessSettings | None = None
    websocket: bool = False
    origins: tuple[str, ...] = ()  # pages that may connect beside those of the same host
    proxies: tuple[str, ...] = ()  # networks whose PROXY headers are believed
    connections: int | None = None

    def find_fault(self) -> str:
        """Return what is wrong with the place itself, "" when nothing is."""
        if self.origins and not self.websocket:
            return "origins are for websocket = true"
        for origin in self.origins:
            if origin != ANY_ORIGIN and not ORIGIN.fullmatch(origin):
                return f"origin {origin!r} must be like https://example.com, or {ANY_ORIGIN}"
        for proxy in self.proxies:
            try:
                ip_network(proxy)
            except ValueError as exc:
                return f"proxies: {exc}"
        return self.tls.find_fault() if self.tls else ""

    @property
    def name(self) -> str:
        """The name of the listener in log lines and credentials."""
        if self.path is not None:
            return str(self.path)
        return format_address(self.host, self.port)


@dataclass(frozen=True, slots=True)
class MetricsEndpointSettings:
    """The address of the metrics endpoint."""

    host: str
    port: int
    open_to_network: bool = False

    def find_fault(self) -> str:
        """Return a fault when the network could read the metrics unasked, "" otherwise."""
        if self.open_to_network or is_loopback(self.host):
            return ""
        return (
            f"cannot show metrics on {format_address(self.host, self.port)}: anyone on the network "
            "could read them; add open_to_network = true if that is what you want"
        )


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """The settings of a whole broker."""

    listeners: tuple[ListenerSettings, ...]
    access: AccessSettings  # of listeners without their own
    limits: Limits = field(default_factory=Limits)
    data: Path | None = None  # None keeps everything in memory
    durability: Durability = DURABILITIES[0]
    log_level: str = "INFO"
    sys_interval_s: float = SYS_INTERVAL_S
    metrics: MetricsEndpointSettings | None = None
    notices: tuple[str, ...] = ()  # requests of the file that are not fulfilled

    def find_faults(self) -> list[str]:
        """Return the contradictions, and the listeners that would serve nobody."""
        faults = []
        if any(each.access is None for each in self.listeners):
            faults.append(self.access.find_fault())
        faults += [_in(each, each.access.find_fault()) for each in self.listeners if each.access]
        faults += [self.metrics.find_fault()] if self.metrics else []
        faults += [_in(each, each.find_fault()) for each in self.listeners]
        faults += [_in(each, _find_certificate_fault(self, each)) for each in self.listeners]
        faults += [
            _in(each, "is there twice")
            for index, each in enumerate(self.listeners)
            if any(_clash(each, other) for other in self.listeners[:index])
        ]
        return [fault for fault in faults if fault]


def _in(listener: ListenerSettings, fault: str) -> str:
    return f"listener {listener.name}: {fault}" if fault else ""


def _clash(one: ListenerSettings, other: ListenerSettings) -> bool:
    # port 0 is any free one; but the name of a listener selects its rights
    several = one.port == 0 and one.path is None and one.access is None and other.access is None
    return one.name == other.name and not several


def _find_certificate_fault(settings: BrokerSettings, listener: ListenerSettings) -> str:
    access = listener.access or settings.access
    tls = listener.tls
    asks = tls is not None and tls.client_certificates is not ClientCertificates.NO
    others = access.password_file or access.tokens or access.anonymous is not Anonymous.NO
    if access.certificate_name and not asks and not others:
        return "nobody could connect: certificate_name needs TLS with client_certificates"
    return ""
