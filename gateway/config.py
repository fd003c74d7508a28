"""The gateway's configuration: one TOML file, HECATE_<SECTION>_<KEY> overrides.

docs/configuration.md lists the keys; an unknown key is refused.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from broker.journal import Durability
from gateway.cloud_api.http_proxy import read_proxy
from gateway.errors import ConfigError
from gateway.spool.values import WhenFull
from gateway.uplink.rules import DEFAULT_TOPICS, TopicRule
from protocol.errors import SettingsError
from protocol.settings import load_settings
from web.tls_settings import check_listener, check_tls_files

MIB = 1024 * 1024
DEFAULT_STATE = Path("~/.local/state/hecate")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """The name of this node and its state folder."""

    name: str = ""  # the host's name when empty
    state: Path = DEFAULT_STATE

    def check(self) -> None:
        """Refuse a name that does not fit a node record."""
        if len(self.name) > 64:
            raise ValueError("name must be at most 64 characters")


@dataclass(frozen=True, slots=True)
class EmbeddedBrokerSettings:
    """The MQTT listeners of the gateway."""

    host: str = "127.0.0.1"
    port: int = 1883  # 0: any free one
    anonymous: str = "no"  # "loopback": anyone on this machine may connect without a password
    durability: Durability = "synced"  # what is kept survives a power cut; "os", "memory": less
    tls_cert: Path | None = None  # PEM; with it devices can use tls_port; read again when renewed
    tls_key: Path | None = None
    tls_port: int = 8883

    def check(self) -> None:
        """Refuse half a TLS configuration and unknown words."""
        _check_port("port", self.port)
        _check_port("tls_port", self.tls_port)
        if self.anonymous not in ("no", "loopback"):
            raise ValueError(f'anonymous = "{self.anonymous}": must be "no" or "loopback"')
        if self.durability not in ("synced", "os", "memory"):
            words = '"synced", "os" or "memory"'
            raise ValueError(f'durability = "{self.durability}": must be {words}')
        check_tls_files(self.tls_cert, self.tls_key)


@dataclass(frozen=True, slots=True)
class SidecarSettings:
    """The listener of the HTTP API."""

    host: str = "127.0.0.1"
    port: int = 8083  # 0: any free one
    tls_cert: Path | None = None  # PEM; with it the API speaks HTTPS; read again when renewed
    tls_key: Path | None = None
    plaintext_beyond_loopback: bool = False  # serve the network without TLS: all on it can listen
    hosts: tuple[str, ...] = ()  # further names that callers use; "*.example.com" is all below
    origins: tuple[str, ...] = ()  # web pages of other sites that may call: "https://example.com"

    def check(self) -> None:
        """Refuse a port out of range, half a TLS configuration, and plain HTTP for the network."""
        _check_port("port", self.port)
        check_listener(self)


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """The back end; without a URL the node works on its own."""

    url: str = ""  # http://… or https://…
    mqtt_host: str = ""  # the URL's host when empty
    mqtt_port: int = 1884
    ca_file: Path | None = None  # who may vouch for the cloud; the system's authorities when none
    proxy: str = ""  # http://[user:password@]host:port; HTTPS_PROXY and the like when empty

    def check(self) -> None:
        """Refuse what is not the URL of a server or of a proxy."""
        if self.proxy:
            try:
                read_proxy(self.proxy)
            except ValueError as exc:  # without the value, which may hold a password
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
    when_full: str = "refuse"  # the newest, telling MQTT 5 senders; or "drop_newest", "drop_oldest"

    def check(self) -> None:
        """Refuse a spool that holds nothing and unknown words."""
        if self.when_full not in tuple(WhenFull):
            words = '"refuse", "drop_newest" or "drop_oldest"'
            raise ValueError(f'when_full = "{self.when_full}": must be {words}')
        if self.limit_bytes < 64 * 1024:
            raise ValueError(f"limit_bytes = {self.limit_bytes}: must be at least 65536")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The log level."""

    level: str = "INFO"

    def check(self) -> None:
        """Refuse an unknown level."""
        if self.level not in LEVELS:
            raise ValueError(f'level = "{self.level}": must be one of {", ".join(LEVELS)}')


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Everything a gateway can be told."""

    node: NodeSettings = field(default_factory=NodeSettings)
    broker: EmbeddedBrokerSettings = field(default_factory=EmbeddedBrokerSettings)
    sidecar: SidecarSettings = field(default_factory=SidecarSettings)
    cloud: CloudSettings = field(default_factory=CloudSettings)
    uplink: UplinkSettings = field(default_factory=UplinkSettings)
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    log: LogSettings = field(default_factory=LogSettings)


def load_gateway_config(path: Path | None, environ: Mapping[str, str]) -> GatewayConfig:
    """Return the configuration in a file, if one is given, with the environment's overrides.

    Raises:
        ConfigError: "cannot read gateway.toml: [section] key: why".
    """
    try:
        text = path.read_text() if path else ""
        config = load_settings(GatewayConfig, text, str(path or "environment"), environ)
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
