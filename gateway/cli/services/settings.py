"""Shows and changes the settings and secrets of a microservice, without deploying it again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.output import notes, print_json, print_table
from gateway.cli.services.containers import CONTAINERS, START_S, find_container

COLUMNS = ("NAME", "VALUE")
HIDDEN = "(secret)"


@dataclass(frozen=True, slots=True)
class ValueChanges:
    """New values by name; None takes a value away, so that the default counts."""

    settings: Mapping[str, str | None] = field(default_factory=dict)
    secrets: Mapping[str, str | None] = field(default_factory=dict, repr=False)

    def body(self) -> dict[str, Any]:
        """Return the part of a request that carries them; nothing when there are none."""
        told = {"settings": dict(self.settings), "secrets": dict(self.secrets)}
        return {name: values for name, values in told.items() if values}


async def show_settings(target: Target, name: str, *, as_json: bool) -> None:
    """Print the settings of a microservice, and the names of its secrets."""
    async with SidecarClient(target) as sidecar:
        container = await find_container(sidecar, name)
    _print(container, as_json=as_json)


async def change_settings(
    target: Target, name: str, changes: ValueChanges, *, as_json: bool
) -> None:
    """Change settings, which the process takes up at once; a secret starts a new process."""
    async with SidecarClient(target, START_S) as sidecar:
        path = f"{CONTAINERS}/{(await find_container(sidecar, name))['id']}"
        what = f"change the settings of {name}"
        container = await sidecar.call(what, "PUT", path, json=changes.body())
    _print(container, as_json=as_json)


def setting_rows(container: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a row for each setting and each secret."""
    settings = container.get("settings") or {}
    rows = [(name, _shown(value)) for name, value in settings.items()]
    return [*rows, *((name, HIDDEN) for name in container.get("secrets") or ())]


def _print(container: Mapping[str, Any], *, as_json: bool) -> None:
    name = container.get("name")
    if as_json:
        told = ("settings", "secrets")
        print_json({"name": name, **{key: container.get(key) for key in told}})
        return
    empty = f"{name} has no settings: its microservice.toml has no [settings.NAME]"
    print_table(COLUMNS, setting_rows(container), empty)
    if container.get("settings") and notes().is_terminal:
        notes().print(f"change one: hecate settings {name} NAME=VALUE", style="dim")


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
