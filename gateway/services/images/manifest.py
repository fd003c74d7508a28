"""Reads microservice.toml: name, path, rights and limits of a microservice."""

import re
from dataclasses import dataclass, field
from typing import Literal

from gateway.services.errors import ImageError
from gateway.services.network.rules import NetworkSettings
from microservice.config.declared import (
    SETTINGS_LIMIT,
    Declared,
    SecretNames,
    SettingSpec,
    check_setting_names,
)
from microservice.isolation.findings import FINDINGS
from settings.errors import SettingsError
from settings.reader import load_settings

FILE_NAME = "microservice.toml"
NODE, PUBLIC = "node", "public"  # the callers that may reach it
MEMORY_MIB_MIN, MEMORY_MIB_MAX = 16, 4096  # below 16 no handler of any use gets far
DISK_MIB_MAX = 65_536
CPU_MIN, CPU_MAX = 0.05, 64.0  # of a core; the kernel refuses less than 1 %
PROCESSES_MIN, PROCESSES_MAX = 4, 4096
FILES_MIN, FILES_MAX = 64, 65536  # the kit needs about 20
SECONDS_MIN, SECONDS_MAX = 1, 600
SLOW_S_MAX = 60  # devices give a connection up after a minute or two without an answer
TRIES_MAX = 100
DELAY_S_MAX = 3600
FILTERS_LIMIT = 64  # per direction; each costs the broker's access check a comparison
FILTER_BYTES = 256

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_VERSION = re.compile(r"[a-z0-9.]{1,16}")
DEVICE_SETTING = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,63})\}")
_BASE = re.compile(r"(/[A-Za-z0-9._~-]{1,64}){1,8}")


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The path of a microservice and its allowed callers."""

    base: str = ""  # "": nowhere
    expose: str = NODE
    bep: bool = False

    def check(self) -> None:
        """Refuse a base that is no path, and unknown words."""
        check_base(self.base)
        if self.expose not in (NODE, PUBLIC):
            raise ValueError(f'expose = "{self.expose}": must be "{NODE}" or "{PUBLIC}"')


@dataclass(frozen=True, slots=True)
class ManifestMqtt:
    """The topic filters a microservice may read and write; all others are denied."""

    subscribe: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    overflow: Literal["slow", "drop_oldest", "drop_newest"] = (
        "slow"  # for a service that cannot keep up
    )
    slow_s: float = 10.0  # a publisher waits at most so long for a slow container
    echo: bool = False  # messages that it publishes come back to it

    def check(self) -> None:
        """Refuse texts that are no topic filters, and the gateway's own topics."""
        if not 0 < self.slow_s <= SLOW_S_MAX:
            raise ValueError(f"slow_s = {self.slow_s:g}: must be above 0, at most {SLOW_S_MAX}")
        for name in ("subscribe", "publish"):
            filters = getattr(self, name)
            if len(filters) > FILTERS_LIMIT:
                raise ValueError(f"{name} must have at most {FILTERS_LIMIT} filters")
            for topic_filter in filters:
                if not _is_filter(topic_filter):
                    raise ValueError(f'{name}: "{topic_filter:.64}" is not a topic filter')
                if topic_filter.startswith("$"):
                    raise ValueError(f'{name}: "{topic_filter:.64}" belongs to the gateway')


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """The limits of a microservice's process."""

    memory_mib: int = 128  # of all its processes together, on top of the interpreter
    cpu: float = 1.0  # of a core
    processes: int = 64  # and threads
    open_files: int = 256  # of each process
    start_s: float | None = None  # from start to ready; 20 when it is not given
    liveness_s: float | None = None  # unanswered for so long, it is started again; 20 likewise
    handler_s: float | None = None  # one call of a handler; 30 likewise
    store_mib: int | None = None  # in its data folder; 64 when it is not given
    log_mib: int | None = None  # of each of the two files of its log; 1 likewise
    stop_s: float | None = None  # for requests and handlers when it is replaced; 30 likewise

    def check(self) -> None:
        """Refuse limits that cannot work."""
        if not MEMORY_MIB_MIN <= self.memory_mib <= MEMORY_MIB_MAX:
            raise ValueError(
                f"memory_mib = {self.memory_mib}: must be {MEMORY_MIB_MIN} to {MEMORY_MIB_MAX}"
            )
        for name, value, least, most in (
            ("cpu", self.cpu, CPU_MIN, CPU_MAX),
            ("processes", self.processes, PROCESSES_MIN, PROCESSES_MAX),
            ("open_files", self.open_files, FILES_MIN, FILES_MAX),
        ):
            if not least <= value <= most:
                raise ValueError(f"{name} = {value:g}: must be {least:g} to {most:g}")
        for name, mib in (("store_mib", self.store_mib), ("log_mib", self.log_mib)):
            if mib is not None and not 1 <= mib <= DISK_MIB_MAX:
                raise ValueError(f"{name} = {mib}: must be 1 to {DISK_MIB_MAX}")
        for name in ("start_s", "liveness_s", "handler_s", "stop_s"):
            seconds = getattr(self, name)
            if seconds is not None and not SECONDS_MIN <= seconds <= SECONDS_MAX:
                raise ValueError(f"{name} = {seconds:g}: must be {SECONDS_MIN} to {SECONDS_MAX}")


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """The calls of a handler that fails, and the pauses between them, which double."""

    tries: int = 3  # calls for one message; then it becomes a dead letter
    first_delay_s: float = 1.0
    max_delay_s: float = 60.0

    def check(self) -> None:
        """Refuse a policy that cannot work."""
        if not 1 <= self.tries <= TRIES_MAX:
            raise ValueError(f"tries = {self.tries}: must be 1 to {TRIES_MAX}")
        if not 0 < self.first_delay_s <= self.max_delay_s <= DELAY_S_MAX:
            raise ValueError(
                f"first_delay_s = {self.first_delay_s:g}, max_delay_s = {self.max_delay_s:g}: "
                f"must be above 0, in this order, at most {DELAY_S_MAX}"
            )


@dataclass(frozen=True, slots=True)
class ManifestIsolation:
    """The isolation that a microservice needs; the gateway starts it with no less."""

    require: tuple[str, ...] = ()  # names that `hecate ps --security` shows
    # device files; "{NAME}" is the value of a setting. [services] devices of the gateway must
    # allow them.
    devices: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse unknown names, and paths that are not below /dev."""
        for path in self.devices:
            if not DEVICE_SETTING.fullmatch(path):
                check_device(path)
        for name in self.require:
            if name not in FINDINGS:
                raise ValueError(f'require: "{name:.40}" must be one of {", ".join(FINDINGS)}')


@dataclass(frozen=True, slots=True)
class Manifest:
    """A microservice's description."""

    name: str
    version: str = "1"
    http: HttpSettings = field(default_factory=HttpSettings)
    mqtt: ManifestMqtt = field(default_factory=ManifestMqtt)
    limits: LimitSettings = field(default_factory=LimitSettings)
    settings: dict[str, SettingSpec] = field(default_factory=dict)
    secrets: SecretNames = field(default_factory=SecretNames)
    retry: RetrySettings = field(default_factory=RetrySettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    isolation: ManifestIsolation = field(default_factory=ManifestIsolation)

    @property
    def declared(self) -> Declared:
        """The settings and secrets that it declares."""
        return Declared(self.settings, self.secrets.names)

    @property
    def image(self) -> str:
        """The image's name."""
        return f"{self.name}-v{self.version}"

    def check(self) -> None:
        """Refuse names that do not fit paths and ids."""
        check_setting_names("settings", tuple(self.settings), SETTINGS_LIMIT)
        for match in filter(None, map(DEVICE_SETTING.fullmatch, self.isolation.devices)):
            setting = self.settings.get(match[1])
            if setting is None or setting.type != "string":
                raise ValueError(
                    f'isolation.devices: "{match[0]}" needs [settings.{match[1]}] of type "string"'
                )
        if not _NAME.fullmatch(self.name):
            raise ValueError(f'name = "{self.name:.64}": must be a-z 0-9 -, at most 40')
        if not _VERSION.fullmatch(self.version):
            raise ValueError(f'version = "{self.version:.64}": must be a-z 0-9 ., at most 16')


def parse_manifest(text: str) -> Manifest:
    """Return the manifest in microservice.toml's text; ImageError names the fault."""
    try:
        return load_settings(Manifest, text, FILE_NAME)
    except SettingsError as exc:
        raise ImageError(str(exc)) from exc


def check_base(base: str) -> None:
    """Return if a base path is one; ValueError if not."""
    levels = base.split("/")
    if base and (not _BASE.fullmatch(base) or "." in levels or ".." in levels):
        raise ValueError(f'base = "{base:.64}": must be a path such as /climate/v1')


def check_device(path: str) -> None:
    """Return if a path is that of a device; ValueError if not."""
    if not path.startswith("/dev/") or ".." in path.split("/"):
        raise ValueError(f'devices: "{path:.64}" must be a path such as /dev/ttyUSB0')


def _is_filter(text: str) -> bool:
    levels = text.split("/")
    return (
        0 < len(text.encode(errors="replace")) <= FILTER_BYTES
        and text.isprintable()
        and not any("+" in level and level != "+" for level in levels)
        and not any("#" in level and level != "#" for level in levels)
        and "#" not in levels[:-1]
    )
