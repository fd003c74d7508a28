"""Defines the settings of the cloud: one TOML file, HECATE_CLOUD_<SECTION>_<KEY> overrides."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from broker.journal import Durability
from settings.environment import CLOUD, Variables
from settings.errors import SettingsError
from settings.logs import LogSettings
from settings.reader import load_settings
from settings.secret import Secret
from web.tls.settings import check_listener

REPLICA = re.compile(r"[A-Za-z0-9_-]{1,32}")
METRICS_TOKEN_CHARACTERS = 16
LOOPBACK = ("127.0.0.1", "localhost", "::1")
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104  # recognised, never chosen


@dataclass(frozen=True)
class ApiSettings:
    """The HTTP API of all services, and the SEP URLs."""

    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str = ""  # as callers reach it; "" = http://host:port, or https
    trusted_proxies: tuple[str, ...] = ()  # addresses whose X-Forwarded-For is believed
    connection_limit: int = 2000
    tls_cert: Path | None = None  # PEM; with it the API speaks HTTPS; read again when renewed
    tls_key: Path | None = None
    plaintext_beyond_loopback: bool = False  # serve the network without TLS: all on it can listen

    def check(self) -> None:
        """Refuse values that cannot be served."""
        _check_port(self.port)
        check_listener(self)
        if self.public_url and not self.public_url.startswith(("http://", "https://")):
            raise ValueError("public_url must start with http:// or https://")
        _check_positive("connection_limit", self.connection_limit)


@dataclass(frozen=True)
class CloudMqttSettings:
    """The broker that nodes and applications connect to."""

    host: str = "127.0.0.1"
    port: int = 1884
    durability: Durability = "synced"  # messages survive a power cut; "os", "memory": less
    tls_cert: Path | None = None  # PEM; with it: MQTT over TLS; read again when renewed
    tls_key: Path | None = None
    plaintext_beyond_loopback: bool = False  # serve the network without TLS: all on it can listen

    def check(self) -> None:
        """Refuse addresses that cannot be listened on, and unknown words."""
        _check_port(self.port)
        check_listener(self)
        if self.durability not in ("synced", "os", "memory"):
            words = '"synced", "os" or "memory"'
            raise ValueError(f'durability = "{self.durability}": must be {words}')


@dataclass(frozen=True)
class RelaySettings:
    """The relay in this process."""

    host: str = "127.0.0.1"
    port: int = 8443
    public_host: str = ""  # as nodes and visitors reach it; "" = host
    public_port: int = 0  # 0 = the port listened on
    tls_cert: Path | None = None  # PEM; with it BEP URLs are https; read again when renewed
    tls_key: Path | None = None
    plaintext_beyond_loopback: bool = False  # serve the network without TLS: all on it can listen

    def check(self) -> None:
        """Refuse addresses that cannot be listened on."""
        _check_port(self.port)
        check_listener(self)
        _check_port(self.public_port)


@dataclass(frozen=True)
class StoreSettings:
    """The folder of the cloud's state."""

    directory: Path = Path()  # database, keys, journal; Path() = $XDG_STATE_HOME/hecate/cloud


@dataclass(frozen=True)
class DiscoverySettings:
    """mDS."""

    node_limit: int = 10_000  # anyone with a key can register; this bounds the cost

    def check(self) -> None:
        """Refuse limits that admit nothing."""
        _check_positive("node_limit", self.node_limit)


@dataclass(frozen=True)
class TokenSettings:
    """mST."""

    ttl_s: float = 3600.0

    def check(self) -> None:
        """Keep access tokens short-lived."""
        if not 60 <= self.ttl_s <= 24 * 3600:
            raise ValueError("ttl_s must be from 60 to 86400")


@dataclass(frozen=True)
class ProviderSettings:
    """One OpenID Connect provider whose ID tokens are accepted."""

    issuer: str
    client_id: str

    def check(self) -> None:
        """Refuse an issuer whose answers others on the network could change."""
        if not self.issuer.startswith(("https://", *(f"http://{host}" for host in LOOPBACK))):
            raise ValueError("issuer must start with https://")


@dataclass(frozen=True)
class IdentitySettings:
    """mID."""

    development: bool = False
    providers: tuple[ProviderSettings, ...] = ()


@dataclass(frozen=True)
class SignallingSettings:
    """mSS."""

    timeout_s: float = 20.0  # edge-api: runtimes of this kind give a request 20 to 30 s
    open_limit: int = 1000
    open_limit_node: int = 32
    open_limit_caller: int = 250  # of one address (IPv6: /64) to all nodes
    open_limit_caller_node: int = 16  # of one address to one node; keep it below open_limit_node
    replica: str = ""  # "" = a new random name at each start
    bep_ttl_s: float = 3600.0
    bep_ttl_limit_s: float = 24 * 3600.0
    bep_limit_node: int = 8

    def check(self) -> None:
        """Refuse limits that admit nothing and names that are not one topic level."""
        for name in (
            "timeout_s", "open_limit", "open_limit_node", "open_limit_caller",
            "open_limit_caller_node", "bep_ttl_s", "bep_limit_node",
        ):  # fmt: skip
            _check_positive(name, getattr(self, name))
        if self.bep_ttl_limit_s < self.bep_ttl_s:
            raise ValueError("bep_ttl_limit_s must be at least bep_ttl_s")
        if self.replica and not REPLICA.fullmatch(self.replica):
            raise ValueError("replica must be 1 to 32 of A-Z a-z 0-9 _ -")

    def with_replica(self) -> "SignallingSettings":
        """Return the settings with a replica name."""
        return self if self.replica else replace(self, replica=secrets.token_hex(4))


@dataclass(frozen=True)
class CloudMetricsSettings:
    """The right to read /metrics and the reasons in /readyz, beyond this machine."""

    token: Secret = field(
        default_factory=lambda: Secret("")
    )  # Authorization: Bearer; "" = no token

    def check(self) -> None:
        """Refuse a token that can be guessed."""
        if 0 < len(self.token.reveal()) < METRICS_TOKEN_CHARACTERS:
            raise ValueError(f"token must have at least {METRICS_TOKEN_CHARACTERS} characters")


@dataclass(frozen=True)
class CloudConfig:
    """The whole file."""

    api: ApiSettings = field(default_factory=ApiSettings)
    mqtt: CloudMqttSettings = field(default_factory=CloudMqttSettings)
    relay: RelaySettings = field(default_factory=RelaySettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    mds: DiscoverySettings = field(default_factory=DiscoverySettings)
    mst: TokenSettings = field(default_factory=TokenSettings)
    mid: IdentitySettings = field(default_factory=IdentitySettings)
    mss: SignallingSettings = field(default_factory=SignallingSettings)
    metrics: CloudMetricsSettings = field(default_factory=CloudMetricsSettings)
    log: LogSettings = field(default_factory=LogSettings)


def load_cloud_config(path: Path | None, environ: Mapping[str, str]) -> CloudConfig:
    """Return the settings in a TOML file, or the defaults, with the environment's overrides.

    Raises:
        SettingsError: "cannot read <file>: why".
    """
    text, source = "", "settings"
    if path is not None:
        source = str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise SettingsError(f"cannot read {path}: {exc}") from exc
    variables = Variables(environ, CLOUD, renamed=True)
    config = load_settings(CloudConfig, text, source, variables)
    if config.store.directory == Path():
        config = replace(config, store=StoreSettings(default_directory(environ)))
    return config


def default_directory(environ: Mapping[str, str]) -> Path:
    """Return the default folder for state (XDG base directories)."""
    home = environ.get("XDG_STATE_HOME", "")
    base = Path(home) if home.startswith("/") else Path.home() / ".local" / "state"
    return base / "hecate" / "cloud"


def _check_port(port: int) -> None:
    if not 0 <= port <= 65_535:
        raise ValueError("port must be from 0 to 65535")


def _check_positive(name: str, value: float) -> None:
    if value <= 0:
        raise ValueError(f"{name} must be above 0")
