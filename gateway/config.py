"""Defines the gateway's configuration: one TOML file, HECATE_GATEWAY_<SECTION>_<KEY> overrides.

docs/configuration.md lists the keys; an unknown key is refused.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from broker.journal import Durability
from broker.standalone.conf.settings import AccessSettings, Anonymous
from broker.standalone.conf.tables import LimitsTable, ListenerTable
from gateway.cloud_api.http_proxy import read_proxy
from gateway.devices.settings import DevicesSettings
from gateway.errors import ConfigError
from gateway.links.ble.settings import BluetoothSettings
from gateway.links.settings import SerialSettings
from gateway.services.settings import ServicesSettings
from gateway.spool.values import WhenFull
from gateway.uplink.rules import DEFAULT_TOPICS, TopicRule
from protocol.errors import WireError
from protocol.geo.position import Position, parse_position
from settings.addresses import HostPort
from settings.environment import GATEWAY, Variables
from settings.errors import SettingsError
from settings.logs import LogSettings
from settings.reader import load_settings
from settings.secret import Secret
from web.tls.settings import check_listener, check_tls_files

MIB = 1024 * 1024
_SIMPLE_LISTENER = ("host", "port", "tls_cert", "tls_key", "tls_port")
SECRET_CHARACTERS = 16
DEFAULT_STATE = Path("~/.local/state/hecate")


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """The name of this node and its state folder."""

    name: str = ""  # the host's name when empty
    state: Path = DEFAULT_STATE
    position: str = ""  # "LATITUDE, LONGITUDE" in degrees, for those of the same account

    def check(self) -> None:
        """Refuse a name that does not fit a node record, and a position that is none."""
        if len(self.name) > 64 or not self.name.isprintable():
            raise ValueError("name must be at most 64 characters, all of them printable")
        try:
            self.read_position()
        except WireError as exc:
            raise ValueError(f'position = "{self.position}": {exc}') from exc

    def read_position(self) -> Position | None:
        """Return the position; None for none."""
        return parse_position(self.position) if self.position else None


@dataclass(frozen=True, slots=True)
class EmbeddedBrokerSettings:
    """The MQTT listeners of the gateway, and the most that clients may hold.

    `[[broker.listener]]` takes the keys of [a standalone broker](broker.md#listeners-and-tls), and
    replaces the listeners of `host`. The gateway's own rules say which clients may connect;
    `[broker.access]` takes the keys of [a standalone broker](broker.md#users-and-rights) and
    admits further users, who reach what its access list says and nothing below `$`. The gateway
    reads changed files by itself.
    """

    host: str = "127.0.0.1"
    port: int = 1883  # 0: any free one
    anonymous: str = "no"  # "loopback": anyone on this machine may connect without a password
    durability: Durability = "synced"  # survives a power cut; "os" and "memory" survive less
    tls_cert: Path | None = None  # PEM; opens tls_port; the gateway reads a renewed file
    tls_key: Path | None = None
    tls_port: int = 8883
    listener: tuple[ListenerTable, ...] = ()
    limits: LimitsTable = field(default_factory=LimitsTable)
    access: AccessSettings | None = None

    def check(self) -> None:
        """Refuse half a TLS configuration, unknown words, and listeners in two ways."""
        if self.access is not None:
            if self.access.anonymous is not Anonymous.NO:
                raise ValueError("access: use [broker] anonymous for anonymous clients")
            if fault := self.access.find_fault():
                raise ValueError(f"access: {fault}")
        if self.listener and self.simple_listener != EmbeddedBrokerSettings().simple_listener:
            raise ValueError(f"{', '.join(_SIMPLE_LISTENER)} do not go with [[broker.listener]]")
        for number, table in enumerate(self.listener, 1):
            fault = table.build().find_fault()
            if fault:
                raise ValueError(f"listener {number}: {fault}")
        _check_port("port", self.port)
        _check_port("tls_port", self.tls_port)
        if self.anonymous not in ("no", "loopback"):
            raise ValueError(f'anonymous = "{self.anonymous}": must be "no" or "loopback"')
        if self.durability not in ("synced", "os", "memory"):
            words = '"synced", "os" or "memory"'
            raise ValueError(f'durability = "{self.durability}": must be {words}')
        check_tls_files(self.tls_cert, self.tls_key)

    @property
    def tables(self) -> tuple[ListenerTable, ...]:
        """Every listener; those of `host` as tables."""
        if self.listener:
            return self.listener
        plain = ListenerTable(address=HostPort(self.host, self.port))
        if self.tls_cert is None:
            return (plain,)
        address = HostPort(self.host, self.tls_port)
        tls = ListenerTable(address=address, certificate=self.tls_cert, key=self.tls_key)
        return (plain, tls)

    @property
    def simple_listener(self) -> tuple[object, ...]:
        """The values of the keys that [[broker.listener]] replaces."""
        return tuple(getattr(self, key) for key in _SIMPLE_LISTENER)


@dataclass(frozen=True, slots=True)
class SidecarSettings:
    """The listener of the HTTP API."""

    host: str = "127.0.0.1"
    port: int = 8083  # 0: any free one
    tls_cert: Path | None = None  # PEM; the API uses HTTPS; the gateway reads a renewed file
    tls_key: Path | None = None
    plaintext_beyond_loopback: bool = (
        False  # serve the network without TLS: others can read the traffic
    )
    hosts: tuple[str, ...] = ()  # further names of the API; "*.example.com" stands for all below
    origins: tuple[
        str, ...
    ] = ()  # of web pages of other sites that may call the API: "https://example.com"

    def check(self) -> None:
        """Refuse a port out of range, half a TLS configuration, and plain HTTP for the network."""
        _check_port("port", self.port)
        check_listener(self)


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """The other gateways of this network that form a cluster with this one.

    Nodes prove their node ids by TLS. `admit` says who may join: `account` nodes of the same
    account, which is checked without the cloud for 30 days; `secret` nodes that know `secret`;
    `any` every node of the network; `none` nobody, and this node stays alone. With `account`, a
    node without an account opens no port.
    """

    admit: str = "account"
    secret: Secret | None = None  # of all nodes of the cluster, at least 16 characters
    old_secret: Secret | None = None  # still accepted while a new one is given to all nodes
    host: str = "::"  # every address of this machine, of IPv4 too
    port: int = 8084  # 0: any free one
    peers: tuple[str, ...] = ()  # HOST:PORT of other nodes
    discovery: bool = True  # find nodes by multicast DNS, and announce this one
    stationary: bool = True  # a node that moves leads only when no other can
    capability: int = 100  # 0 to 1000; the higher one leads

    def check(self) -> None:
        """Refuse unknown words, a short secret, and addresses that are none."""
        if self.admit not in ("account", "secret", "any", "none"):
            words = '"account", "secret", "any" or "none"'
            raise ValueError(f'admit = "{self.admit}": must be {words}')
        secret = self.secret.reveal() if self.secret is not None else ""
        if self.admit == "secret" and len(secret) < SECRET_CHARACTERS:
            raise ValueError(f"secret must have at least {SECRET_CHARACTERS} characters")
        if not 0 <= self.capability <= 1000:
            raise ValueError(f"capability = {self.capability}: must be from 0 to 1000")
        _check_port("port", self.port)
        for peer in self.peers:
            try:
                HostPort.parse(peer)
            except ValueError as exc:
                raise ValueError(f'peers: "{peer}": {exc}') from exc


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """The cloud; without a URL the node works without one."""

    url: str = ""  # http://… or https://…
    mqtt_host: str = ""  # the URL's host when empty
    mqtt_port: int = 1884
    ca_file: Path | None = None  # authorities for the cloud's certificate; the system's when none
    proxy: str = ""  # http://[user:password@]host:port; the environment's when empty

    def check(self) -> None:
        """Refuse malformed URLs of the cloud and of the proxy."""
        if self.proxy:
            try:
                read_proxy(self.proxy)
            except ValueError as exc:  # the value may hold a password
                raise ValueError(f"proxy {exc}") from exc
        _check_port("mqtt_port", self.mqtt_port)
        parts = urlsplit(self.url)
        if self.url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError(f'url = "{self.url}": must be like https://cloud.example.com')

    @property
    def tls(self) -> bool:
        """True when HTTP and MQTT use TLS."""
        return self.url.startswith("https:")

    @property
    def mqtt_address(self) -> tuple[str, int]:
        """Host and port of the cloud's broker."""
        return self.mqtt_host or urlsplit(self.url).hostname or "", self.mqtt_port


@dataclass(frozen=True, slots=True)
class UplinkSettings:
    """The topics mirrored to and from the cloud; without an entry, DEFAULT_TOPICS."""

    topics: tuple[TopicRule, ...] = DEFAULT_TOPICS


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """The bounds of the spool."""

    limit_bytes: int = 64 * MIB  # 18 hours of 1 KiB readings at one a second
    when_full: str = "refuse"  # reason code 0x97 to MQTT 5 senders; or "drop_newest", "drop_oldest"

    def check(self) -> None:
        """Refuse a spool that holds nothing and unknown words."""
        if self.when_full not in tuple(WhenFull):
            words = '"refuse", "drop_newest" or "drop_oldest"'
            raise ValueError(f'when_full = "{self.when_full}": must be {words}')
        if self.limit_bytes < 64 * 1024:
            raise ValueError(f"limit_bytes = {self.limit_bytes}: must be at least 65536")


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """All settings of a gateway."""

    node: NodeSettings = field(default_factory=NodeSettings)
    broker: EmbeddedBrokerSettings = field(default_factory=EmbeddedBrokerSettings)
    devices: DevicesSettings = field(default_factory=DevicesSettings)
    serial: tuple[SerialSettings, ...] = ()
    bluetooth: BluetoothSettings = field(default_factory=BluetoothSettings)
    sidecar: SidecarSettings = field(default_factory=SidecarSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    cloud: CloudSettings = field(default_factory=CloudSettings)
    uplink: UplinkSettings = field(default_factory=UplinkSettings)
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    services: ServicesSettings = field(default_factory=ServicesSettings)
    log: LogSettings = field(default_factory=LogSettings)


def load_gateway_config(path: Path | None, environ: Mapping[str, str]) -> GatewayConfig:
    """Return the configuration in a file, if one is given, with the environment's overrides.

    Raises:
        ConfigError: "cannot read gateway.toml: [section] key: why".
    """
    try:
        text = path.read_text() if path else ""
        variables = Variables(environ, GATEWAY, renamed=True)
        config = load_settings(GatewayConfig, text, str(path or "environment"), variables)
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"cannot read {path}: not UTF-8") from exc
    except SettingsError as exc:
        raise ConfigError(str(exc)) from exc
    return replace(config, node=replace(config.node, state=_state(config.node.state, environ)))


def _state(state: Path, environ: Mapping[str, str]) -> Path:
    xdg = environ.get("XDG_STATE_HOME", "")
    if state == DEFAULT_STATE and Path(xdg).is_absolute():
        return Path(xdg) / "hecate"
    home = environ.get("HOME", "")
    if home and state.parts[:1] == ("~",):
        return Path(home, *state.parts[1:])
    return Path(os.path.abspath(state.expanduser()))  # noqa: PTH100  # keeps symbolic links


def _check_port(key: str, port: int) -> None:
    if not 0 <= port <= 65535:
        raise ValueError(f"{key} = {port}: must be from 0 to 65535")
