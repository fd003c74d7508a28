"""Holds the settings and secrets of a running service."""

from collections.abc import Iterator, Mapping
from typing import Any

from microservice.errors import SettingError


class SettingValues(Mapping[str, Any]):
    """The settings of a service, by name; they change while it runs."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            raise SettingError(
                f"cannot read setting {name!r}: it has no value; microservice.toml has no "
                f"[settings.{name}], or no default there"
            )
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"SettingValues({self._values})"

    def replace(self, values: Mapping[str, Any]) -> frozenset[str]:
        """Replace all values; return the names of those that changed. Called by the runtime."""
        before, self._values = self._values, dict(values)
        names = before.keys() | self._values.keys()
        return frozenset(n for n in names if before.get(n) != self._values.get(n))


class SecretValues(Mapping[str, str]):
    """The secrets of a service, by name; they do not appear when it is printed."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        if name not in self._values:
            raise SettingError(
                f"cannot read secret {name!r}: it is not in [secrets] names of microservice.toml, "
                f"or has no value; `hecate deploy --secret {name}=@FILE` gives it one"
            )
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"SecretValues({', '.join(self._values)})"
