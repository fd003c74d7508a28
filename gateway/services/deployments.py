"""Deploys, updates, rolls back and removes the microservices of this node.

Theory of operation
-------------------
A deployment takes these steps, in this order:

1. put_container() finds the image and joins code, manifest and environment into a version.
2. It queues the version on disk. From now on the deployment goes on without its caller, and a
   gateway that is ended meanwhile starts the version by itself.
3. activate() waits for its turn at the container (deploying/activation.py); a version that was
   queued later supersedes it.
4. It reserves the path of the version and asks the supervisor to run it.
5. The supervisor starts a process, and lets it take over when it is ready (supervisor.py).
6. The table changes the routes and records what now runs (deploying/container_table.py).

A change either happens as a whole or leaves everything as it was. Changes of different containers
do not wait for each other; those of one container do. One thread writes all files, in the order
in which the changes are made here.
"""

import asyncio
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from gateway.services.configuration.values import ContainerValues
from gateway.services.containers import ContainerState
from gateway.services.deploying.activation import Activation, stored_version
from gateway.services.deploying.change_tasks import ChangeTasks
from gateway.services.deploying.container_table import ContainerTable, Deployed
from gateway.services.deploying.image_updates import ImageUpdates
from gateway.services.deploying.startup import ContainerStartup
from gateway.services.errors import ConflictError, NotFoundError, ServicesError
from gateway.services.images.catalogue import Catalogue, StoredContainer, StoredImage
from gateway.services.images.store import ImageStore
from gateway.services.paths import BASE_KEY
from gateway.services.runtimes.port import Version
from gateway.services.supervisor import NodeInfo, ServiceContext
from gateway.services.versions.history import VersionHistory
from gateway.storage.disk_thread import DiskThread

__all__ = ["BASE_KEY", "Deployed", "Deployments"]

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Deployments:
    """Images and containers of all clients of this node."""

    def __init__(self, catalogue: Catalogue, context: ServiceContext, node: NodeInfo) -> None:
        self._catalogue, self._context = catalogue, context
        self._disk = DiskThread("services-disk")
        self._images = ImageStore(catalogue, self._disk, context.limits.rules)
        self.table = ContainerTable(catalogue, self._disk, context, node)
        self._activation = Activation(self.table, self._images, context)
        self._uploads = ImageUpdates(self._images, self.table, context, self.update_image)
        self._startup = ContainerStartup(self.table, context.values, context.clock)
        # locks are taken in this order: of an image, of a container, of its row
        self._creating = 0
        self._changes = ChangeTasks()
        self.routes = self.table.routes

    # A deployment, from top to bottom -------------------------------------------------------------

    async def put_container(  # each is what a deployment says
        self,
        client_id: str,
        name: str,
        image_name: str,
        env: Mapping[str, str],
        now: float,
        given: Mapping[str, Any] | None = None,
    ) -> Deployed:
        """Make or change a container; return when it is ready.

        given holds the "settings" and "secrets" that change.

        Raises:
            NotFoundError: there is no such image.
            ConflictError: its path or id is another's, or a later deployment superseded this one.
            DeployError: it does not become ready. A new container is kept, and tried again.
            StorageError: the disk does not take it; what runs is as it was.
        """
        image = self._images.get(f"{client_id}-{image_name}")
        if image is None or image.client_id != client_id:
            raise NotFoundError(f"cannot find image with name {image_name!r:.80}")
        self._images.check_signature(image.signature, image.digest)
        if not _NAME.fullmatch(name):
            raise ServicesError(f"cannot name a container {name!r:.80}: letters, digits, . _ -")
        return await self._changes.run(self._put_container(name, image, env, now, given or {}))

    async def _put_container(
        self,
        name: str,
        image: StoredImage,
        env: Mapping[str, str],
        now: float,
        given: Mapping[str, Any],
    ) -> Deployed:
        client_id = image.client_id
        container_id = f"{client_id}-{name}"
        with self._images.pin(image.digest):
            await self.table.check_space(f"deploy {container_id}")
            version = await self.table.version_of(client_id, image, env)
            values, declared = self._context.values, version.manifest.declared
            values.check(container_id, declared, given)
            before, queued = self.table.get(container_id), 0
            if before is not None:
                if (before.stored.client_id, before.stored.name) != (client_id, name):
                    raise ConflictError(f"cannot deploy {container_id}: the id is another client's")
                queued = self._activation.enqueue(before, version)
                if self._activation.locks.is_held(
                    container_id
                ):  # it waits, and must survive a power cut
                    await self._activation.write_queued(before, queued)
            async with self._activation.locks.hold(container_id):
                there = self.table.get(container_id)
                if queued and not self.table.is_same(before, container_id):
                    raise ConflictError(f"cannot deploy {container_id}: it was deleted meanwhile")
                if there is None:
                    queued = await self._create(container_id, client_id, name, version, now)
                elif not values.differ(
                    container_id, declared, given
                ) and await self._activation.runs(there, version):
                    if queued:
                        await self._activation.forget(there, queued)
                    return self.table.known(client_id, container_id)
                elif not queued:  # another call has made the container
                    queued = self._activation.enqueue(there, version)
                async with values.changed(container_id, declared, given, keep=there is None):
                    await self._activation.activate(
                        self.table.known(client_id, container_id), queued, version
                    )
                return self.table.known(client_id, container_id)

    async def _create(
        self, container_id: str, client_id: str, name: str, version: Version, now: float
    ) -> int:
        there = len(self.table) + self._creating
        if there >= self._context.limits.containers:
            raise ConflictError(
                f"cannot deploy {container_id}: there are {there} containers already; "
                "`hecate rm NAME` removes one"
            )
        stored = StoredContainer(
            container_id, client_id, name, version.image_id, now,
            version.digest, version.runtime, version.env,
        )  # fmt: skip
        history = VersionHistory()
        number = history.add(stored_version(container_id, version, now), now).number
        self._creating += 1
        try:
            with self.table.reserve(container_id, name, client_id, version):
                await self.table.insert(stored, history)
        finally:
            self._creating -= 1
        self.table.add(stored, history, version.as_number(number))
        return number

    # Versions -------------------------------------------------------------------------------------

    async def roll_back(self, client_id: str, container_id: str, number: int | None) -> Deployed:
        """Run a former version again: the one before, or the one with a number.

        Raises:
            NotFoundError: the container or the version is not there.
            ConflictError: there is no version to go back to, or its code is gone.
            DeployError: it does not become ready; what ran before it runs on.
        """
        return await self._changes.run(self._roll_back(client_id, container_id, number))

    async def _roll_back(self, client_id: str, container_id: str, number: int | None) -> Deployed:
        async with self._activation.locks.hold(container_id):
            deployed = self.table.known(client_id, container_id)
            history, running = deployed.history, deployed.history.running
            if number is None:
                wanted = history.find_previous(running.number) if running else history.newest_good
            else:
                wanted = history.find(number)
            if wanted is None:
                raise _no_version(container_id, history, number)
            if not await self.table.has_content(wanted):
                raise ConflictError(
                    f"cannot roll back {container_id}: the code of version {wanted.number} is gone"
                )
            self._images.check_content_signature(wanted.digest)
            version = await self.table.version_of(client_id, wanted, wanted.env)
            if running is wanted:
                if not await self._activation.runs(deployed, version):
                    await self._activation.renew(deployed)
            else:
                history.queue(wanted.number, self._context.clock())
                await self._activation.activate(deployed, wanted.number, version)
                logger.info("%s rolled back to version %d", container_id, wanted.number)
            return self.table.known(client_id, container_id)

    async def change_container(
        self, client_id: str, container_id: str, image: str | None, env: Mapping[str, str] | None
    ) -> None:
        """Change image or environment of a container; what is None stays.

        One that a person stopped takes the change at its next start.
        """
        stored = self.table.known(client_id, container_id).stored
        image_id = stored.image_id if image is None else f"{client_id}-{image}"
        found = self._images.get(image_id)
        if found is None or found.client_id != client_id:
            name = image_id.removeprefix(f"{client_id}-")
            raise NotFoundError(f"cannot find image with name {name!r:.80}")
        self._images.check_signature(found.signature, found.digest)
        await self.table.check_space(f"deploy {container_id}")
        await self._changes.run(self.update_image(container_id, found, env))

    async def change_values(
        self, client_id: str, container_id: str, given: Mapping[str, Any]
    ) -> None:
        """Change settings, which its process is told, and secrets, for which it is replaced."""
        await self._changes.run(self._activation.change_values(client_id, container_id, given))

    def given_values(self, container_id: str) -> ContainerValues:
        """Return the given settings and secrets of a container."""
        return self._context.values.get(container_id)

    async def update_image(
        self, container_id: str, image: StoredImage, env: Mapping[str, str] | None = None
    ) -> int | None:
        """Run an image in a container, or at its next start if a person stopped it.

        Returns:
            The number of the version that ran before; None when nothing was switched.
        """
        async with self._activation.locks.hold(container_id):
            deployed = self.table.get(container_id)
            if deployed is None:
                return None
            stored, supervisor = deployed.stored, deployed.supervisor
            env = stored.env if env is None else env
            version = await self.table.version_of(stored.client_id, image, env)
            is_settled = stored.stopped or supervisor.state is ContainerState.STARTED
            waits = deployed.history.waiting is not None
            if supervisor.version == version and is_settled and not waits:
                return None
            before, number = deployed.history.running, self._activation.enqueue(deployed, version)
            if stored.stopped:
                await self._activation.write_queued(deployed, number)
                return None
            await self._activation.activate(deployed, number, version)
            return before.number if before else None

    # Containers that are there --------------------------------------------------------------------

    async def start_container(self, client_id: str, container_id: str) -> Deployed:
        """Start a container, unless it runs; with the version that was queued while it stood."""
        return await self._changes.run(self._start(client_id, container_id, anew=False))

    async def restart_container(self, client_id: str, container_id: str) -> Deployed:
        """Start a new process, which takes over from the one that runs."""
        return await self._changes.run(self._start(client_id, container_id, anew=True))

    async def _start(self, client_id: str, container_id: str, *, anew: bool) -> Deployed:
        async with self._activation.locks.hold(container_id):
            deployed = self.table.known(client_id, container_id)
            if anew or deployed.supervisor.state is not ContainerState.STARTED:
                await self._activation.renew(deployed)
            return self.table.known(client_id, container_id)

    async def stop_container(self, client_id: str, container_id: str) -> Deployed:
        """End a container's process; it stays stopped until it is started or deployed."""
        return await self._changes.run(self._stop(client_id, container_id))

    async def _stop(self, client_id: str, container_id: str) -> Deployed:
        async with self._activation.locks.hold(container_id):
            deployed = self.table.known(client_id, container_id)
            await self.table.write(container_id, stopped=True)
            await deployed.supervisor.stop()
            logger.info("%s stopped", container_id)
            return self.table.known(client_id, container_id)

    async def delete_container(self, client_id: str, container_id: str) -> Deployed:
        """End a container, and delete its row, its files and its session at the broker."""
        return await self._changes.run(self._delete(client_id, container_id))

    async def _delete(self, client_id: str, container_id: str) -> Deployed:
        async with self._activation.locks.hold(container_id):
            deployed = self.table.known(client_id, container_id)
            await deployed.supervisor.close()
            await self.table.remove(container_id)
            self._context.values.forget(container_id)
        self._context.on_deleted(container_id)
        self._context.on_change()
        logger.info("%s deleted", container_id)
        return deployed

    # Images ---------------------------------------------------------------------------------------

    async def put_image(
        self,
        client_id: str,
        source: IO[bytes],
        now: float,
        *,
        store_only: bool = False,
        digest: str = "",
    ) -> StoredImage:
        """Store an image, and run it in all containers of this name that are not stopped.

        With store_only they go on with the version that they run. Removes old versions beyond the
        limits.

        Raises:
            ImageError: it cannot be used, or does not have the digest that is given.
            DeployError: a container does not become ready with it; everything is as it was.
        """
        async with self._uploads.unpack(client_id, source, now, digest) as (image, unpacked):
            await self._changes.run(self._uploads.keep(image, unpacked, store_only=store_only))
        return image

    async def delete_image(self, client_id: str, image_id: str) -> StoredImage:
        """Remove an image that no container uses."""
        return await self._changes.run(self._uploads.delete(client_id, image_id))

    def images(self, client_id: str) -> list[StoredImage]:
        """Return a client's images."""
        return self._images.of(client_id)

    def image(self, image_id: str, client_id: str | None = None) -> StoredImage:
        """Return an image, of a client or of any; NotFoundError when there is none."""
        image = self._images.get(image_id)
        if image is None or client_id not in (None, image.client_id):
            raise NotFoundError(f"cannot find image {image_id:.160}")
        return image

    def check_ordered(self, client_id: str, image_id: str) -> None:
        """Return if an image may run because another node says so; ServicesError if not."""
        image = self.image(image_id, client_id)
        self._images.check_signature(image.signature, image.digest, ordered=True)

    def content(self, image: StoredImage) -> Path:
        """Return the folder of an image's files."""
        return self._catalogue.content(image.digest)

    @property
    def scratch_folder(self) -> Path:
        """The folder for files of uploads that are not complete."""
        return self._catalogue.scratch_folder

    # The gateway starts and stops -----------------------------------------------------------------

    async def resume(self) -> None:
        """Start the containers that ran when the gateway stopped, and what waited then."""
        versions = await self._disk.run(self._catalogue.versions)
        resumed = [
            await self._startup.add(stored, VersionHistory(versions.get(stored.container_id, ())))
            for stored in await self._disk.run(self._catalogue.containers)
        ]
        for one in resumed:  # all have their routes: the first to run may call the others
            one.start()
            if one.has_waiting:
                self._changes.start(self._activation.activate_waiting(one.stored.container_id))
        self._changes.open()
        await self._images.sweep(set())

    async def stop(self) -> None:
        """End all processes; everything is started again at the next resume()."""
        self._activation.stop()
        await asyncio.gather(*(one.supervisor.close() for one in self.table.all()))
        await self._changes.close()
        await self._disk.run(self._catalogue.close)
        self._disk.close()


def _no_version(
    container_id: str, history: VersionHistory, number: int | None
) -> ConflictError | NotFoundError:
    there = ", ".join(str(version.number) for version in reversed(history.all()))
    if number is not None:
        return NotFoundError(f"cannot find version {number} of {container_id}; there are: {there}")
    return ConflictError(
        f"cannot roll back {container_id}: no version before this one ran; there are: {there}"
    )
