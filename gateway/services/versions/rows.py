"""Reads and writes the rows of the catalogue. One damaged row spoils no other."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.services.versions.history import StoredVersion, VersionState

SELECT_VERSIONS = """
SELECT container_id, number, posted, image_id, digest, runtime, env, created, ended, state, good,
    error, activations FROM version
"""
PUT_VERSION = """
INSERT OR REPLACE INTO version (container_id, number, posted, image_id, digest, runtime, env,
    created, ended, state, good, error, activations)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
PUT_CONTAINER = "INSERT OR REPLACE INTO container VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
DROP_CONTAINER = "DELETE FROM container WHERE container_id = ?"
DROP_VERSION = "DELETE FROM version WHERE container_id = ? AND number = ?"
DROP_VERSIONS = "DELETE FROM version WHERE container_id = ?"


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of a client."""

    image_id: str
    client_id: str
    name: str
    repo_tags: tuple[str, ...]
    digest: str
    runtime: str
    size: int
    created: float
    signature: str = ""  # the text of signature.json, verified; "" when it is not signed


@dataclass(frozen=True, slots=True)
class StoredContainer:
    """A container: digest and env are those that were last ready."""

    container_id: str
    client_id: str
    name: str
    image_id: str
    created: float
    digest: str
    runtime: str
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    filters: tuple[str, ...] = ()  # its stored session's subscriptions
    stopped: bool = False  # by a person: it stays so when the gateway starts
    damage: str = ""  # the fault of a row that cannot be read; only its names are set then


def read_container(row: tuple[Any, ...]) -> StoredContainer:
    """Return the container in a row; one that only tells its damage when the row is damaged."""
    (
        container_id, client_id, name, image_id, env, created, digest, runtime, filters, stopped,
    ) = row  # fmt: skip
    try:
        return StoredContainer(
            container_id, _text(client_id), _text(name), _text(image_id), float(created),
            _text(digest), _text(runtime), _read_env(env), _read_filters(filters), bool(stopped),
        )  # fmt: skip
    except (ValueError, TypeError) as exc:
        client, _, rest = str(container_id).partition("-")
        known = (
            client_id if isinstance(client_id, str) else client,
            name if isinstance(name, str) else rest,
        )
        return StoredContainer(
            str(container_id), *known, "", 0.0, "", "",
            stopped=bool(stopped), damage=f"its row in the catalogue is damaged ({exc})",
        )  # fmt: skip


def container_values(container: StoredContainer) -> tuple[Any, ...]:
    """Return the row of a container."""
    return (
        container.container_id, container.client_id, container.name, container.image_id,
        json.dumps(dict(container.env)), container.created, container.digest,
        container.runtime, json.dumps(container.filters), container.stopped,
    )  # fmt: skip


def read_version(row: tuple[Any, ...]) -> StoredVersion | None:
    """Return the version in a row; None when the row is damaged."""
    (
        container_id, number, posted, image_id, digest, runtime, env, created, ended, state, good,
        error, activations,
    ) = row  # fmt: skip
    try:
        return StoredVersion(
            _text(container_id), int(number), int(posted), _text(image_id), _text(digest),
            _text(runtime), _read_env(env), float(created), float(ended), VersionState(state),
            bool(good), _text(error), int(activations),
        )  # fmt: skip
    except (ValueError, TypeError):
        return None


def version_values(version: StoredVersion) -> tuple[Any, ...]:
    """Return the row of a version."""
    return (
        version.container_id, version.number, version.posted, version.image_id, version.digest,
        version.runtime, json.dumps(dict(version.env)), version.created, version.ended,
        version.state.value, version.good, version.error, version.activations,
    )  # fmt: skip


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} in place of a text")
    return value


def _read_env(text: Any) -> Mapping[str, str]:
    env = json.loads(text)
    if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
        raise ValueError("env is no table of texts")
    return env


def _read_filters(text: Any) -> tuple[str, ...]:
    filters = json.loads(text)
    if not isinstance(filters, list) or not all(isinstance(each, str) for each in filters):
        raise ValueError("filters are no list of texts")
    return tuple(filters)
