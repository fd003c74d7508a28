"""Names the environment variables of a program's settings.

`[broker] port` of the gateway is HECATE_GATEWAY_BROKER_PORT: the program's prefix keeps the
settings of one program from another that runs in the same environment.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

FORMER = "HECATE_"  # the prefix of every program until each had its own
LOG_LEVEL = "HECATE_LOG_LEVEL"  # of every program that has no level of its own in the environment
GATEWAY, CLOUD, BROKER = "HECATE_GATEWAY_", "HECATE_CLOUD_", "HECATE_BROKER_"

# of the cloud; formerly also of the gateway, which cannot refuse them
_OF_ANOTHER = frozenset({"HECATE_CLOUD_MQTT_HOST", "HECATE_CLOUD_MQTT_PORT"})

# Kubernetes and Docker set these in the containers beside a service called hecate-gateway
_OF_PLATFORMS = re.compile(
    r"(SERVICE_HOST|SERVICE_PORT\w*)=.*|PORT=(tcp|udp):.*|PORT_\d+_(TCP|UDP)\w*=.*"
)


@dataclass(frozen=True, slots=True)
class Variables:
    """The environment variables that override settings of one program."""

    environ: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""  # "" takes nothing from the environment
    renamed: bool = False  # the program had variables with the prefix HECATE_ alone
    shared: ClassVar[dict[tuple[str, ...], str]] = {("log", "level"): LOG_LEVEL}

    def name(self, path: tuple[str, ...]) -> str:
        """Return the variable of a setting."""
        return self.prefix + "_".join(path).upper()

    def find(self, path: tuple[str, ...]) -> tuple[str, str] | None:
        """Return the variable that overrides a setting, and its text; None without one."""
        if not self.prefix:
            return None
        for name in (self.name(path), self.shared.get(path)):
            if name is not None and name in self.environ:
                return name, self.environ[name]
        return None

    def find_former(self, path: tuple[str, ...]) -> str | None:
        """Return the variable by which a setting had its value formerly, if it is given."""
        name = FORMER + "_".join(path).upper()
        is_given = self.renamed and len(path) == 2 and name in self.environ
        return name if is_given and name not in _OF_ANOTHER and path not in self.shared else None

    def has_below(self, path: tuple[str, ...]) -> bool:
        """Return whether a variable overrides a setting of a table, or the whole table."""
        name = self.name(path)
        return bool(self.prefix) and any(
            each == name or each.startswith(f"{name}_") for each in self.environ
        )

    def find_unknown(self, known: frozenset[str]) -> Iterator[str]:
        """Yield the variables with the program's prefix that no setting has."""
        if not self.prefix:
            return
        for name in sorted(self.environ):
            rest = name.removeprefix(self.prefix)
            is_ours = rest != name and name not in known
            if is_ours and not _OF_PLATFORMS.fullmatch(f"{rest}={self.environ[name]}"):
                yield name
