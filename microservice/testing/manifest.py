"""Reads the microservice.toml beside the code of a service that is tested."""

import inspect
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microservice.config.declared import SettingSpec
from microservice.errors import ServiceError
from microservice.mqtt.requests import RESPONSES
from microservice.triggers.registry import Triggers

MANIFEST = "microservice.toml"


@dataclass(frozen=True, slots=True)
class TestedManifest:
    """The parts of a manifest that a test needs."""

    __test__ = False

    name: str = ""
    settings: Mapping[str, SettingSpec] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    publish: tuple[str, ...] = (RESPONSES,)

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the given settings and the defaults of others; one without both is left out.

        Raises:
            ServiceError: one is not declared, or has another type; a deployment refuses it, too.
        """
        _check_names("settings", given, self.settings)
        values = {}
        for name, spec in self.settings.items():
            value = given.get(name, spec.default)
            if value is None:
                continue
            try:
                values[name] = spec.read(value)
            except ValueError as exc:
                raise ServiceError(f"cannot use settings: setting {name} {exc}") from exc
        return values

    def check(self, filters: Iterable[str], secrets: Iterable[str]) -> None:
        """Return if handlers and test use what is declared; ServiceError as in production."""
        _check_names("secrets", secrets, self.secrets)
        for topic_filter in filters:
            if not any(_covers(one.split("/"), topic_filter.split("/")) for one in self.subscribe):
                raise ServiceError(
                    f"cannot start: {topic_filter} is not in [mqtt] subscribe of {MANIFEST}"
                )


def find_manifest(triggers: Triggers) -> TestedManifest | None:
    """Return the manifest beside the handlers; None when there is none.

    Raises:
        ServiceError: it cannot be read.
    """
    path = next((path for path in _beside(triggers) if path.is_file()), None)
    return None if path is None else read_manifest(path)


def read_manifest(path: Path) -> TestedManifest:
    """Return the parts of a manifest that a test needs; ServiceError when it cannot be read."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        mqtt = table.get("mqtt", {})
        return TestedManifest(
            str(table.get("name", "")),
            {name: _spec(fields) for name, fields in table.get("settings", {}).items()},
            _texts(table.get("secrets", {}).get("names", ())),
            _texts(mqtt.get("subscribe", ())),
            (*_texts(mqtt.get("publish", ())), RESPONSES),
        )
    except (OSError, ValueError, AttributeError, TypeError) as exc:
        raise ServiceError(f"cannot read {path}: {exc}") from exc


def _spec(fields: Mapping[str, Any]) -> SettingSpec:
    given = {**fields, "choices": _texts(fields.get("choices", ()))}
    spec = SettingSpec(**given)
    spec.check()
    return spec


def _texts(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(map(str, values))


def _check_names(what: str, given: Iterable[str], declared: Iterable[str]) -> None:
    known = sorted(declared)
    for name in given:
        if name not in known:
            there = ", ".join(known) or "none"
            raise ServiceError(f"cannot use {what}: {MANIFEST} declares {there}, not {name}")


def _covers(one: list[str], other: list[str]) -> bool:
    """Return whether a topic filter matches all that another one does."""
    if other[0].startswith("$") and one[0] != other[0]:  # [MQTT-4.7.2-1]
        return False
    for place, level in enumerate(one):
        if level == "#":
            return True
        if place == len(other) or other[place] == "#" or level not in ("+", other[place]):
            return False
    return len(one) == len(other)


def _beside(triggers: Triggers) -> Iterator[Path]:
    """Yield the paths that a manifest may have: beside the files that hold handlers."""
    listed = (triggers.messages, triggers.routes, triggers.sockets, triggers.schedules)
    handlers = [trigger.handler for each in listed for trigger in each]
    handlers += [*triggers.settings, *triggers.start, *triggers.stop]
    for handler in handlers:
        code = getattr(inspect.unwrap(handler), "__code__", None)
        if code is not None:
            yield Path(code.co_filename).parent / MANIFEST
