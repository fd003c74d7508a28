"""Defines the settings and secrets that a manifest declares, and checks values against them."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

SETTINGS_LIMIT, SECRETS_LIMIT = 64, 32
TEXT_LIMIT = 4096  # characters of a value
DESCRIPTION_LIMIT = 300

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class SettingSpec:
    """One [settings.NAME] of microservice.toml."""

    type: Literal["string", "integer", "number", "boolean"]  # as in JSON Schema
    default: object = None  # without one a deployment must give a value
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse a default that is no value, and limits that do not fit the type."""
        if self.type in ("string", "boolean") and (self.minimum, self.maximum) != (None, None):
            raise ValueError(f'minimum and maximum do not go with type = "{self.type}"')
        if self.choices and self.type != "string":
            raise ValueError('choices need type = "string"')
        if len(self.description) > DESCRIPTION_LIMIT:
            raise ValueError(f"description must have at most {DESCRIPTION_LIMIT} characters")
        if self.default is not None:
            try:
                self.read(self.default)
            except ValueError as exc:
                raise ValueError(f"default: {exc}") from exc

    def read(self, value: object) -> Any:
        """Return a value of the setting's type; also from text, as a command line gives it.

        Raises:
            ValueError: it is none; the message says what it must be.
        """
        if self.type == "string":
            return self._text(value)
        if self.type == "boolean":
            found = _FLAGS.get(value) if isinstance(value, str) else value
            if not isinstance(found, bool):
                raise ValueError("must be true or false")
            return found
        return self._in_range(_number(value, whole=self.type == "integer"))

    def _text(self, value: object) -> str:
        if not isinstance(value, str) or len(value) > TEXT_LIMIT:
            raise ValueError(f"must be a text of at most {TEXT_LIMIT} characters")
        if self.choices and value not in self.choices:
            raise ValueError(f"must be one of {', '.join(self.choices)}")
        return value

    def _in_range(self, number: float) -> float:
        if self.minimum is not None and number < self.minimum:
            raise ValueError(f"must be at least {self.minimum:g}")
        if self.maximum is not None and number > self.maximum:
            raise ValueError(f"must be at most {self.maximum:g}")
        return number


@dataclass(frozen=True, slots=True)
class SecretNames:
    """The names of the secrets that a microservice needs."""

    names: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse names that are none."""
        check_setting_names("names", self.names, SECRETS_LIMIT)


@dataclass(frozen=True, slots=True)
class Declared:
    """The settings and secrets that one manifest declares."""

    settings: Mapping[str, SettingSpec]
    secrets: tuple[str, ...]


def check_setting_names(what: str, names: tuple[str, ...], limit: int) -> None:
    """Refuse too many names, and texts that are none."""
    if len(names) > limit:
        raise ValueError(f"{what} must be at most {limit}")
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f'{what}: "{name:.64}" must be letters, digits and _')


def resolve(specs: Mapping[str, SettingSpec], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every declared setting: the given one, or the default.

    Raises:
        ValueError: a value does not fit, or a setting has none.
    """
    values = {}
    for name, spec in specs.items():
        value = given.get(name)
        if value is None:
            value = spec.default
        if value is None:
            raise ValueError(
                f"setting {name} has no value, and no default; `hecate deploy --set {name}=…` "
                "gives it one"
            )
        try:
            values[name] = spec.read(value)
        except ValueError as exc:
            raise ValueError(f"setting {name} {exc}") from exc
    return values


def _number(value: object, *, whole: bool) -> float:
    kind = "a whole number" if whole else "a number"
    try:
        if isinstance(value, str):
            value = int(value) if whole else float(value)
    except ValueError:
        raise ValueError(f"must be {kind}") from None
    is_endless = isinstance(value, float) and not math.isfinite(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or is_endless:
        raise ValueError(f"must be {kind}")
    if whole and not isinstance(value, int):
        raise ValueError(f"must be {kind}")
    return value
