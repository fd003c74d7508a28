"""Keeps the settings and secrets that a deployment gave to each container.

They are in values.json of the container's folder, beside the data folder that its processes see,
readable by the gateway's user only. A change is written to a new file, synced and renamed.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.services.errors import ServicesError, StorageError
from gateway.storage.private_file import write_private
from microservice.config.declared import TEXT_LIMIT, Declared, resolve
from settings.secret import Secret

FILE_NAME = "values.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class ContainerValues:
    """The given settings and secrets of one container; defaults are not among them."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)


NO_VALUES = ContainerValues()


class ValueStore:
    """The values of all containers, in memory and on disk.

    The caller changes those of one container one after the other.
    """

    def __init__(self, containers: Path) -> None:
        """Use the folder that has a folder for each container."""
        self._containers = containers
        self._values: dict[str, ContainerValues] = {}

    def get(self, container_id: str) -> ContainerValues:
        """Return the values of a container."""
        return self._values.get(container_id, NO_VALUES)

    def settings_of(self, container_id: str, declared: Declared) -> dict[str, Any]:
        """Return every declared setting; ServicesError when one has no value."""
        try:
            return resolve(declared.settings, self.get(container_id).settings)
        except ValueError as exc:
            raise ServicesError(str(exc)) from exc

    def secrets_of(self, container_id: str, declared: Declared) -> dict[str, Secret]:
        """Return the given secrets that are declared."""
        given = self.get(container_id).secrets
        return {name: given[name] for name in declared.secrets if name in given}

    async def load(self, container_id: str) -> None:
        """Read the values of a container from disk; ServicesError when they are damaged."""
        values = await asyncio.to_thread(read_values, self._containers / container_id)
        self._values[container_id] = values

    def differ(self, container_id: str, declared: Declared, given: Mapping[str, Any]) -> bool:
        """Return whether given values are others than those that a container has."""
        before = self.get(container_id)
        return merge(before, declared, given) != before

    def check(self, container_id: str, declared: Declared, given: Mapping[str, Any]) -> None:
        """Raise ServicesError unless given values fit, and every setting has one then."""
        after = merge(self.get(container_id), declared, given)
        try:
            resolve(declared.settings, after.settings)
        except ValueError as exc:
            raise ServicesError(f"cannot deploy: {exc}") from exc

    @contextlib.asynccontextmanager
    async def changed(
        self,
        container_id: str,
        declared: Declared,
        given: Mapping[str, Any],
        *,
        keep: bool = False,
    ) -> AsyncIterator[None]:
        """Change values on disk; put them back when what runs within fails, unless keep is set.

        Raises:
            ServicesError: the manifest does not declare a name, or a value does not fit.
        """
        before = self.get(container_id)
        after = merge(before, declared, given)
        if after != before:
            await self._keep(container_id, after)
        try:
            yield
        except ServicesError:
            if after != before and not keep:
                await self._keep(container_id, before)
            raise

    def forget(self, container_id: str) -> None:
        """Forget a container whose folder is gone."""
        self._values.pop(container_id, None)

    async def _keep(self, container_id: str, values: ContainerValues) -> None:
        await asyncio.to_thread(write_values, self._containers / container_id, values)
        self._values[container_id] = values


def merge(before: ContainerValues, declared: Declared, given: Mapping[str, Any]) -> ContainerValues:
    """Return the values with the given ones; null takes a value away.

    Args:
        before: the values so far.
        declared: the names, and the values that fit.
        given: {"settings": {…}, "secrets": {…}}, each of them optional.

    Raises:
        ServicesError: a name is not declared, or a value does not fit; it repeats no secret.
    """
    settings = _merged("settings", before.settings, declared.settings, given)
    secrets = _merged("secrets", before.secrets, declared.secrets, given)
    for name, value in secrets.items():
        if isinstance(value, Secret):
            continue
        if not isinstance(value, str) or len(value) > TEXT_LIMIT:
            raise ServicesError(
                f"cannot use secret {name}: must be a text of at most {TEXT_LIMIT} characters"
            )
        secrets[name] = Secret(value)
    try:
        known = {name: spec for name, spec in declared.settings.items() if name in settings}
        settings |= resolve(known, settings)
    except ValueError as exc:
        raise ServicesError(f"cannot use settings: {exc}") from exc
    return replace(before, settings=settings, secrets=secrets)


def read_values(folder: Path) -> ContainerValues:
    """Return the values in a container's folder. Blocks."""
    try:
        stored = json.loads((folder / FILE_NAME).read_bytes())
        if stored["version"] != VERSION:
            raise ServicesError(f"cannot read {folder / FILE_NAME}: made by another gateway")
        secrets = {name: Secret(value) for name, value in stored["secrets"].items()}
        return ContainerValues(dict(stored["settings"]), secrets)
    except FileNotFoundError:
        return NO_VALUES
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ServicesError(
            f"cannot read {folder / FILE_NAME}: {exc}; deploy the container again with its values"
        ) from exc


def write_values(folder: Path, values: ContainerValues) -> None:
    """Keep values in a container's folder. Blocks until they are on disk."""
    secrets = {name: secret.reveal() for name, secret in values.secrets.items()}
    content = {"version": VERSION, "settings": dict(values.settings), "secrets": secrets}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(folder / FILE_NAME, json.dumps(content).encode())
    except OSError as exc:
        raise StorageError(f"cannot store settings: {exc.strerror or exc}") from exc


def _merged(
    kind: str, before: Mapping[str, Any], declared: Any, given: Mapping[str, Any]
) -> dict[str, Any]:
    changes = given.get(kind) or {}
    unknown = sorted(set(changes) - set(declared))
    if unknown:
        known = ", ".join(sorted(declared)) or "none"
        raise ServicesError(
            f"cannot use {kind}: microservice.toml declares {known}, not {unknown[0]:.64}"
        )
    merged = {**before, **changes}
    return {name: value for name, value in merged.items() if value is not None}
