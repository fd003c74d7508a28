"""Defines the tables of our own configuration file; docs/broker.md lists the keys.

A field of a class here is a key of the file. BrokerSettings is what the file, or a
mosquitto.conf, means.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from broker.journal import Durability
from broker.quota.limits import Limits
from broker.standalone.conf.settings import (
    DURABILITIES,
    AccessSettings,
    BrokerSettings,
    ClientCertificates,
    ListenerSettings,
    MetricsEndpointSettings,
    TlsSettings,
)
from broker.sys_topics import SYS_INTERVAL_S
from settings.addresses import HostPort

DEFAULT_ADDRESS = HostPort("127.0.0.1", 1883)
TLS_KEYS = (
    "certificate", "key", "client_ca", "client_certificates", "revoked", "tls_minimum", "ciphers",
)  # fmt: skip

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


@dataclass(frozen=True, slots=True)
class ListenerTable:
    """One address or Unix socket to listen on."""

    address: HostPort | None = None  # HOST:PORT; 127.0.0.1:1883 without it; port 0 is any free one
    path: Path | None = None  # a Unix socket instead
    certificate: Path | None = None  # PEM; with key: TLS 1.2 and 1.3
    key: Path | None = None
    client_ca: Path | None = None  # the authorities that signed the clients' certificates
    client_certificates: ClientCertificates = ClientCertificates.NO  # "optional", "required"
    revoked: Path | None = None  # list of revoked client certificates
    tls_minimum: str = "1.2"  # or "1.3"
    ciphers: str = ""  # of TLS 1.2, as OpenSSL writes them
    websocket: bool = False  # MQTT in WebSocket frames, at the path /mqtt
    origins: tuple[str, ...] = ()  # pages that may connect beside those of the same host
    proxies: tuple[str, ...] = ()  # networks whose PROXY headers are believed; all others are cut
    connections: int | None = None  # at most, beside the limits of all

    def check(self) -> None:
        """Refuse two places, half a TLS configuration, and a listener for no connection."""
        faults = []
        if self.path is not None and self.address is not None:
            faults.append("path: a listener has an address or a path")
        if self.has_tls and (self.certificate is None or self.key is None):
            faults.append("certificate: TLS needs certificate and key")
        if self.connections is not None and self.connections <= 0:
            faults.append(f"connections: {self.connections} must be above 0")
        _raise(faults)

    @property
    def has_tls(self) -> bool:
        """True when a key of TLS is given."""
        defaults = {each.name: each.default for each in dataclasses.fields(self)}
        return any(getattr(self, key) != defaults[key] for key in TLS_KEYS)

    def build(self) -> ListenerSettings:
        """Return what the table means."""
        address = self.address or DEFAULT_ADDRESS
        return ListenerSettings(
            host="" if self.path else address.host,
            port=0 if self.path else address.port,
            path=self.path,
            tls=self._build_tls(),
            websocket=self.websocket,
            origins=self.origins,
            proxies=self.proxies,
            connections=self.connections,
        )

    def _build_tls(self) -> TlsSettings | None:
        if self.certificate is None or self.key is None:
            return None
        return TlsSettings(
            certificate=self.certificate,
            key=self.key,
            client_ca=self.client_ca,
            client_certificates=self.client_certificates,
            revoked=self.revoked,
            minimum=self.tls_minimum,
            ciphers=self.ciphers,
        )


@dataclass(frozen=True, slots=True)
class OwnAccessListenerTable(ListenerTable):
    """One address or Unix socket to listen on, with users and rights of its own if given."""

    access: AccessSettings | None = None  # of this listener instead of [access]

    def build(self) -> ListenerSettings:
        """Return what the table means."""
        return dataclasses.replace(ListenerTable.build(self), access=self.access)


@dataclass(frozen=True, slots=True)
class LimitsTable(Limits):
    """The most that clients may hold."""

    def check(self) -> None:
        """Refuse limits that admit nothing, and those that are no bound."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        _raise([
            f"{name}: {value!r} must be above 0"
            for name, value in values.items()
            if not 0 < value < float("inf")  # also when it is nan
        ])  # fmt: skip

    def build(self) -> Limits:
        """Return what the table means."""
        return Limits(**{each.name: getattr(self, each.name) for each in dataclasses.fields(self)})


@dataclass(frozen=True, slots=True)
class StorageTable:
    """Stored sessions and retained messages."""

    folder: Path | None = None  # keeps data there; without it everything is in memory
    durability: Durability = DURABILITIES[0]


@dataclass(frozen=True, slots=True)
class LogTable:
    """The log."""

    level: Level | None = None  # INFO; WARNING without a file


@dataclass(frozen=True, slots=True)
class MetricsTable:
    """The metrics endpoint and the topics below $SYS."""

    sys_interval_s: float = SYS_INTERVAL_S
    address: HostPort | None = None
    open_to_network: bool = False

    def check(self) -> None:
        """Refuse an interval that is none, and an open endpoint without an address."""
        interval = self.sys_interval_s
        faults = []
        if interval != 0 and not 0 < interval < float("inf"):
            faults.append(f"sys_interval_s: {interval!r} must be above 0, or 0")
        if self.open_to_network and self.address is None:
            faults.append("open_to_network: goes with address")
        _raise(faults)

    def build(self) -> MetricsEndpointSettings | None:
        """Return what the table means; None without an endpoint."""
        if self.address is None:
            return None
        return MetricsEndpointSettings(self.address.host, self.address.port, self.open_to_network)


@dataclass(frozen=True, slots=True)
class BrokerFile:
    """The whole file."""

    listener: tuple[OwnAccessListenerTable, ...] = ()
    access: AccessSettings = field(default_factory=AccessSettings)
    limits: LimitsTable = field(default_factory=LimitsTable)
    storage: StorageTable = field(default_factory=StorageTable)
    log: LogTable = field(default_factory=LogTable)
    metrics: MetricsTable = field(default_factory=MetricsTable)

    def build(self) -> BrokerSettings:
        """Return what the file means."""
        return BrokerSettings(
            listeners=tuple(each.build() for each in self.listener or (OwnAccessListenerTable(),)),
            access=self.access,
            limits=self.limits.build(),
            data=self.storage.folder,
            durability=self.storage.durability,
            log_level=self.log.level or "INFO",
            sys_interval_s=self.metrics.sys_interval_s,
            metrics=self.metrics.build(),
        )


def _raise(faults: list[str]) -> None:
    if faults:
        raise ExceptionGroup("the table has faults", [ValueError(fault) for fault in faults])
