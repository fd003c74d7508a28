"""Reads the microservice.toml beside the code of a service that is tested."""

import inspect
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microservice.errors import ServiceError
from microservice.triggers.registry import Triggers

MANIFEST = "microservice.toml"


@dataclass(frozen=True, slots=True)
class TestedManifest:
    """The parts of a manifest that a test needs."""

    __test__ = False

    name: str = ""
    settings: dict[str, Any] = field(default_factory=dict)  # the defaults
    subscribe: tuple[str, ...] = ()


def default_settings(triggers: Triggers) -> dict[str, Any]:
    """Return the defaults in [settings] of the manifest; {} when there is no manifest.

    Raises:
        ServiceError: it cannot be read.
    """
    path = next((path for path in _beside(triggers) if path.is_file()), None)
    return {} if path is None else read_manifest(path).settings


def read_manifest(path: Path) -> TestedManifest:
    """Return the parts of a manifest that a test needs; ServiceError when it cannot be read."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        declared = table.get("settings", {})
        return TestedManifest(
            str(table.get("name", "")),
            {name: spec["default"] for name, spec in declared.items() if "default" in spec},
            tuple(str(topic) for topic in table.get("mqtt", {}).get("subscribe", ())),
        )
    except (OSError, ValueError, AttributeError, TypeError) as exc:
        raise ServiceError(f"cannot read settings of {path}: {exc}") from exc


def _beside(triggers: Triggers) -> Iterator[Path]:
    """Yield the paths that a manifest may have: beside the files that hold handlers."""
    listed = (triggers.messages, triggers.routes, triggers.sockets, triggers.schedules)
    handlers = [trigger.handler for each in listed for trigger in each]
    handlers += [*triggers.settings, *triggers.start, *triggers.stop]
    for handler in handlers:
        code = getattr(inspect.unwrap(handler), "__code__", None)
        if code is not None:
            yield Path(code.co_filename).parent / MANIFEST
