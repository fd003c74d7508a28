"""Queues versions of containers, and runs each when its turn comes.

A version is queued in memory at once, so that the order of calls is the order of versions. It is
on disk before anything happens to what runs.
"""

import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from gateway.services.containers import ContainerState
from gateway.services.deploying.container_table import ContainerTable, Deployed
from gateway.services.errors import ConflictError, ServicesError, StorageError
from gateway.services.images.store import ImageStore
from gateway.services.keyed_locks import KeyedLocks
from gateway.services.runtimes.port import Version
from gateway.services.supervisor import ServiceContext
from gateway.services.versions.history import StoredVersion, VersionState

logger = logging.getLogger(__name__)


class Activation:
    """The queues of all containers; the lock of a container is the turn of one change."""

    def __init__(self, table: ContainerTable, images: ImageStore, context: ServiceContext) -> None:
        self._table, self._images, self._context = table, images, context
        self._stopping = False
        self.locks = KeyedLocks()

    def stop(self) -> None:
        """Record no failure from now on: the next start of the gateway tries again."""
        self._stopping = True

    async def runs(self, deployed: Deployed, version: Version) -> bool:
        """Return whether a container runs this very version, and answers."""
        supervisor = deployed.supervisor
        runs = supervisor.state is ContainerState.STARTED and supervisor.version == version
        return runs and await supervisor.responds(self._context.limits.respond_s)

    def enqueue(self, deployed: Deployed, version: Version) -> int:
        """Queue a new version of a container, in memory; return its number."""
        now = self._context.clock()
        return deployed.history.add(
            stored_version(deployed.stored.container_id, version, now), now
        ).number

    async def write_queued(self, deployed: Deployed, number: int) -> None:
        """Write a queued version; forget it when the disk does not take it."""
        try:
            await self._table.write(deployed.stored.container_id)
        except StorageError:
            deployed.history.forget(number)
            raise

    async def forget(self, deployed: Deployed, number: int) -> None:
        """Delete a version that was queued and is the one that runs already."""
        deployed.history.forget(number)
        await self._table.write(deployed.stored.container_id)

    async def activate(self, deployed: Deployed, number: int, version: Version) -> None:
        """Run a queued version; the caller holds the lock of the container.

        Raises:
            ConflictError: a later version superseded it, or its path is another's.
            DeployError: it does not become ready.
            StorageError: the disk does not take it.
        """
        container_id, history = deployed.stored.container_id, deployed.history
        if not history.start(number):
            later = history.waiting
            by = f"version {later.number}" if later else "a later one"
            raise ConflictError(
                f"cannot deploy {container_id}: {by}, which was deployed after it, superseded "
                f"version {number}"
            )
        known = history.find(number)
        good = known.good if known else False
        await self.write_queued(deployed, number)
        try:
            await self._table.write(container_id, stopped=False)
            reserved = self._reserve(deployed, version)
            with reserved, self._images.pin(version.digest):
                await deployed.supervisor.deploy(version.as_number(number, good=good))
        except ServicesError as exc:
            await self._note_failure(deployed, number, exc)
            raise

    async def renew(self, deployed: Deployed) -> None:
        """Run a new process: of the version that waits, or of the one that ran."""
        stored, waiting = deployed.stored, deployed.history.waiting
        if waiting is not None:
            version = await self._table.version_of(stored.client_id, waiting, waiting.env)
            await self.activate(deployed, waiting.number, version)
            return
        version = deployed.supervisor.version
        await self._table.write(stored.container_id, stopped=False)
        with self._reserve(deployed, version):
            await deployed.supervisor.deploy(version)

    def _reserve(
        self, deployed: Deployed, version: Version
    ) -> contextlib.AbstractContextManager[None]:
        stored = deployed.stored
        return self._table.reserve(stored.container_id, stored.name, stored.client_id, version)

    async def change_values(
        self, client_id: str, container_id: str, given: Mapping[str, Any]
    ) -> None:
        """Change settings, which its process is told, and secrets, for which it is replaced."""
        async with self.locks.hold(container_id):
            deployed = self._table.known(client_id, container_id)
            values = self._context.values
            declared = deployed.supervisor.version.manifest.declared
            values.check(container_id, declared, given)
            secrets = values.get(container_id).secrets
            async with values.changed(container_id, declared, given):
                if values.get(container_id).secrets == secrets:
                    deployed.supervisor.change_settings()
                elif not deployed.stored.stopped:
                    await self.renew(deployed)

    async def activate_waiting(self, container_id: str) -> None:
        """Deploy the version that waited when the gateway was ended."""
        there = self._table.get(container_id)
        if there is not None:
            await there.supervisor.settled()
        async with self.locks.hold(container_id):
            deployed = self._table.get(container_id)
            waiting = deployed.history.waiting if deployed else None
            if deployed is None or waiting is None or deployed.stored.stopped or self._stopping:
                return
            try:
                await self.renew(deployed)
            except ServicesError as exc:
                logger.warning("version %d of %s: %s", waiting.number, container_id, exc)

    async def _note_failure(self, deployed: Deployed, number: int, exc: ServicesError) -> None:
        known = deployed.history.find(number)
        if self._stopping or known is None or known.state is not VersionState.STARTING:
            return  # the next start of the gateway tries it; or it runs, and is not recorded
        deployed.history.failed(number, str(exc), self._context.clock())
        tried = deployed.supervisor.version.number
        deployed.history.drop_excess(self._context.limits.versions, tried)
        try:
            await self._table.write(deployed.stored.container_id)
        except StorageError as unwritten:
            logger.warning("%s", unwritten)


def stored_version(container_id: str, version: Version, now: float) -> StoredVersion:
    """Return a version as the history of a container keeps it; without a number yet."""
    return StoredVersion(
        container_id, 0, 0, version.image_id, version.digest, version.runtime, version.env, now
    )
