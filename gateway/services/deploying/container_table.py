"""Holds the containers of this node in memory, and writes each change of one to the catalogue.

A change of a container and of its versions is one transaction. When it cannot be written, the
container runs on with what is in memory, and the next change writes both.
"""

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gateway.services.errors import NotFoundError, ServicesError, StorageError
from gateway.services.granted import grant_by_environment
from gateway.services.images.catalogue import Catalogue, StoredContainer, StoredImage
from gateway.services.images.manifest import Manifest, check_base
from gateway.services.keyed_locks import KeyedLocks
from gateway.services.logs.log import LOG_NAME
from gateway.services.paths import BASE_KEY, ContainerPaths
from gateway.services.runtimes.port import Version
from gateway.services.supervisor import NodeInfo, ServiceContext, Supervisor, VersionCallbacks
from gateway.services.versions.history import StoredVersion, VersionHistory, VersionState
from gateway.storage.disk_thread import DiskThread
from microservice.info import Info

logger = logging.getLogger(__name__)

Source = StoredImage | StoredContainer | StoredVersion


@dataclass(frozen=True, slots=True)
class Deployed:
    """A container: its row in the catalogue, its versions, and the supervisor that runs it."""

    stored: StoredContainer
    supervisor: Supervisor
    history: VersionHistory


class ContainerTable:
    """All containers by id, their routes, and their rows on disk."""

    def __init__(
        self, catalogue: Catalogue, disk: DiskThread, context: ServiceContext, node: NodeInfo
    ) -> None:
        self._catalogue, self._disk = catalogue, disk
        self._context, self._node = context, node
        self._by_id: dict[str, Deployed] = {}
        self._row_locks = KeyedLocks()
        self._paths = ContainerPaths(v1_paths=context.limits.rules.v1_paths)
        self.routes = self._paths.routes

    def __len__(self) -> int:
        return len(self._by_id)

    # Reading --------------------------------------------------------------------------------------

    def all(self, client_id: str | None = None) -> list[Deployed]:
        """Return a client's containers, or all."""
        return [
            one for one in self._by_id.values()
            if client_id is None or one.stored.client_id == client_id
        ]  # fmt: skip

    def get(self, container_id: str) -> Deployed | None:
        """Return a container by its id."""
        return self._by_id.get(container_id)

    def known(self, client_id: str, container_id: str) -> Deployed:
        """Return a client's container; NotFoundError when there is none."""
        deployed = self._by_id.get(container_id)
        if deployed is None or deployed.stored.client_id != client_id:
            raise NotFoundError(f"cannot find container {container_id:.130}")
        return deployed

    def is_same(self, deployed: Deployed | None, container_id: str) -> bool:
        """Return whether a container is still the same one, not a new one with its id."""
        now = self._by_id.get(container_id)
        return now is not None and deployed is not None and now.supervisor is deployed.supervisor

    def users(self, image_id: str) -> list[Deployed]:
        """Return the containers of an image."""
        return [one for one in self._by_id.values() if one.stored.image_id == image_id]

    def digests(self) -> set[str]:
        """Return the contents that containers run or may go back to."""
        found = {one.supervisor.version.digest for one in self._by_id.values()}
        return found.union(*(one.history.digests for one in self._by_id.values()))

    def log_path(self, client_id: str, container_id: str) -> Path:
        """Return the file that keeps the output of a container."""
        self.known(client_id, container_id)
        return self._catalogue.directory(container_id) / LOG_NAME

    async def version_of(self, client_id: str, source: Source, env: Mapping[str, str]) -> Version:
        """Return the version to run of a client's image, container or former version.

        Raises:
            ServicesError: its manifest or its path cannot be used.
        """
        digest = source.digest
        manifest = await self._disk.run(self._catalogue.manifest, digest)
        manifest = grant_by_environment(manifest, source.runtime, env)
        given = env.get(BASE_KEY) or manifest.http.base
        base = given.rstrip("/") or given  # "/" is no path of one microservice
        try:
            check_base(base)
        except ValueError as exc:
            raise ServicesError(f"cannot use {BASE_KEY}: {exc}") from exc
        known = source if isinstance(source, StoredVersion) else None
        return Version(
            source.image_id, digest, source.runtime, self._catalogue.content(digest), manifest,
            f"/{client_id}{base}" if base else "", dict(env),
            number=known.number if known else 0, good=known.good if known else False,
        )  # fmt: skip

    async def has_content(self, version: StoredVersion) -> bool:
        """Return whether the code of a version is there."""
        return await self._disk.run(self._catalogue.has_content, version.digest)

    async def check_space(self, action: str) -> None:
        """Return if the disk has room for a deployment; StorageError if not."""
        least = self._context.limits.free_bytes
        await self._disk.run(self._catalogue.check_space, least, action)

    # Changing -------------------------------------------------------------------------------------

    def add(self, stored: StoredContainer, history: VersionHistory, version: Version) -> Supervisor:
        """Supervise a container that the catalogue has; it is not started."""
        container_id = stored.container_id

        async def switched(now_runs: Version, filters: tuple[str, ...]) -> None:
            self.update_routes()
            if now_runs.number:
                history.ready(now_runs.number, self._context.clock())
                history.drop_excess(self._context.limits.versions)
            await self.write(container_id, **_running(now_runs), filters=filters)

        async def crashed(ended: Version, why: str) -> Version | None:
            return await self._find_former(container_id, history, ended, why)

        async def proven(version: Version) -> None:
            history.proven(version.number)
            await self._write_soon(container_id)

        info = Info(
            container_id=container_id,
            service_type=container_id,
            node_id=self._node.node_id,
            account_id=self._node.account_id(),
        )
        supervisor = Supervisor(
            info, self._catalogue.directory(container_id), self._context, version,
            VersionCallbacks(switched, crashed, proven),
        )  # fmt: skip
        self._by_id[container_id] = Deployed(stored, supervisor, history)
        self.update_routes()
        return supervisor

    async def insert(self, stored: StoredContainer, history: VersionHistory) -> None:
        """Write the row of a new container and its first version."""
        changes = history.take_changes()
        await self._disk.run(self._catalogue.put_container, stored, changes)

    async def remove(self, container_id: str) -> None:
        """Delete the row and the files of a container whose process is gone."""
        async with self._row_locks.hold(container_id):  # no change in flight brings it back
            await self._disk.run(self._catalogue.drop_container, container_id)
            del self._by_id[container_id]
        self.update_routes()

    async def write(self, container_id: str, **changes: Any) -> None:
        """Change the row of a container and those of its versions, if they are changed.

        A container that is removed meanwhile has none.
        """
        async with self._row_locks.hold(container_id):
            deployed = self._by_id.get(container_id)
            if deployed is None:
                return
            stored, versions = deployed.stored, deployed.history.take_changes()
            changed = replace(stored, **changes)
            if changed == stored and not versions:
                return
            try:
                await self._disk.run(self._catalogue.put_container, changed, versions)
            except StorageError:
                deployed.history.keep_changes(versions)
                raise
            self._by_id[container_id] = replace(deployed, stored=changed)

    def reserve(
        self, container_id: str, name: str, client_id: str, version: Version
    ) -> contextlib.AbstractContextManager[None]:
        """Return a context that keeps the paths of a version that is being started.

        Entering it raises ConflictError when another container has one of them.
        """
        return self._paths.reserve(container_id, name, client_id, version)

    def update_routes(self, coming: Mapping[str, Version] = MappingProxyType({})) -> None:
        """Route requests to the versions that run now, or that are coming, by container id."""
        self._paths.update(
            (one.stored, coming.get(container_id, one.supervisor.version))
            for container_id, one in self._by_id.items()
        )

    async def _find_former(
        self, container_id: str, history: VersionHistory, ended: Version, why: str
    ) -> Version | None:
        """Return the version that takes the place of one that crashed; None to try that again."""
        known, former = history.find(ended.number), history.find_fallback(ended.number)
        if former is None or known is None or known.state is not VersionState.RUNNING:
            return None
        try:
            client_id = self._by_id[container_id].stored.client_id
            version = await self.version_of(client_id, former, former.env)
        except ServicesError as exc:
            logger.warning("%s cannot go back to version %d: %s", container_id, former.number, exc)
            return None
        now = self._context.clock()
        history.crashed(ended.number, why, now)
        history.ready(former.number, now)
        await self._write_soon(container_id, **_running(version))
        self.update_routes({container_id: version})  # the supervisor takes it now
        return version

    async def _write_soon(self, container_id: str, **changes: Any) -> None:
        """Write a change now, or with the next one when the disk does not take it."""
        try:
            await self.write(container_id, **changes)
        except StorageError as exc:
            logger.warning("%s", exc)


def placeholder(source: StoredContainer) -> Version:
    """Return a version that stands for one that cannot be read; it is never started."""
    return Version(
        source.image_id, source.digest, source.runtime, Path(), Manifest("damaged"), env=source.env
    )


def _running(version: Version) -> dict[str, Any]:
    """Return the fields of a row that tell which version runs."""
    return {
        "image_id": version.image_id,
        "digest": version.digest,
        "runtime": version.runtime,
        "env": version.env,
        "damage": "",
    }
