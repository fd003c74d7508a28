"""Deploys, updates and removes the microservices of this node.

Theory of operation
-------------------
A deployment takes these steps, in this order:

1. put_container() finds the image, locks the container and pins the content of the image.
2. _version() joins code, manifest and environment into the version to run.
3. _create() writes the row of a new container, within the limit, and makes its supervisor.
4. _deploy() reserves the path of the version and asks the supervisor to run it.
5. The supervisor starts a process, and lets it take over when it is ready (supervisor.py).
6. on_switch() in _supervise() changes the routes and records what now runs.

A change either happens as a whole or leaves everything as it was. Changes of different containers
do not wait for each other; those of one container do. One thread writes all files, in the order
in which the changes are made here.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from gateway.services.containers import ContainerState
from gateway.services.errors import (
    ConflictError,
    DeployError,
    NotFoundError,
    ServicesError,
)
from gateway.services.images.catalogue import Catalogue, StoredContainer, StoredImage
from gateway.services.images.manifest import check_base
from gateway.services.images.retention import needless_images
from gateway.services.images.store import ImageStore
from gateway.services.keyed_locks import KeyedLocks
from gateway.services.log import LOG_NAME
from gateway.services.routes import ContainerRoute, Routes
from gateway.services.runtimes.port import Version
from gateway.services.supervisor import NodeInfo, ServiceContext, Supervisor
from gateway.services.values import ContainerValues
from gateway.storage.disk_thread import DiskThread
from microservice.service import Info

logger = logging.getLogger(__name__)

BASE_KEY = "MCM.BASE_API_PATH"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Deployed:
    """A container: its row in the catalogue, and the supervisor that keeps it running."""

    stored: StoredContainer
    supervisor: Supervisor


class Deployments:
    """Images and containers of all clients of this node."""

    def __init__(self, catalogue: Catalogue, context: ServiceContext, node: NodeInfo) -> None:
        self._catalogue, self._context, self._node = catalogue, context, node
        self._disk = DiskThread("services-disk")
        self._images = ImageStore(catalogue, self._disk)
        self._containers: dict[str, Deployed] = {}
        self._reserved: dict[str, str] = {}  # bases of versions that are being started
        # locks are taken in this order: of an image, of a container, of its row
        self._container_locks, self._row_locks = KeyedLocks(), KeyedLocks()
        self._creating = 0
        self.routes = Routes()

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
            ConflictError: its path or id is another's.
            DeployError: it does not become ready. A new container is kept, and tried again.
        """
        image = self._images.get(f"{client_id}-{image_name}")
        if image is None or image.client_id != client_id:
            raise NotFoundError(f"cannot find image with name {image_name!r:.80}")
        if not _NAME.fullmatch(name):
            raise ServicesError(f"cannot name a container {name!r:.80}: letters, digits, . _ -")
        container_id = f"{client_id}-{name}"
        async with self._container_locks.hold(container_id):
            with self._images.pin(image.digest):
                version = await self._version(image, env)
                self._context.values.check(container_id, version.manifest, given or {})
                if container_id not in self._containers:
                    await self._create(container_id, client_id, name, version, now)
                    await self._put_version(container_id, version, given or {})
                    return self._containers[container_id]
                self._check_owner(container_id, client_id, name)
                async with self._context.values.undone_on_failure(container_id):
                    await self._put_version(container_id, version, given or {})
                return self._containers[container_id]

    async def _put_version(
        self, container_id: str, version: Version, given: Mapping[str, Any]
    ) -> None:
        """Change values of a container and run a version in it, unless it runs already."""
        changed = await self._context.values.change(container_id, version.manifest, given)
        supervisor = self._containers[container_id].supervisor
        runs = supervisor.state is ContainerState.STARTED and supervisor.version == version
        responds_s = self._context.limits.respond_s
        if changed or not runs or not await supervisor.responds(responds_s):
            await self._record(container_id, stopped=False)
            await self._deploy(container_id, supervisor, version)

    def _check_owner(self, container_id: str, client_id: str, name: str) -> None:
        stored = self._containers[container_id].stored
        if (stored.client_id, stored.name) != (client_id, name):
            raise ConflictError(f"cannot deploy {container_id}: the id is another client's")

    async def _version(
        self, source: StoredImage | StoredContainer, env: Mapping[str, str]
    ) -> Version:
        digest = source.digest
        manifest = await self._disk.run(self._catalogue.manifest, digest)
        base = (env.get(BASE_KEY) or manifest.http.base).rstrip("/")
        try:
            check_base(base)
        except ValueError as exc:
            raise ServicesError(f"cannot use {BASE_KEY}: {exc}") from exc
        return Version(
            source.image_id, digest, source.runtime, self._catalogue.content(digest), manifest,
            f"/{source.client_id}{base}" if base else "", dict(env),
        )  # fmt: skip

    async def _create(
        self, container_id: str, client_id: str, name: str, version: Version, now: float
    ) -> Deployed:
        there = len(self._containers) + self._creating
        if there >= self._context.limits.containers:
            raise ConflictError(
                f"cannot deploy {container_id}: there are {there} containers already; "
                "`hecate rm NAME` removes one"
            )
        self._check_base(container_id, version.base)
        stored = StoredContainer(
            container_id, client_id, name, version.image_id, now,
            version.digest, version.runtime, version.env,
        )  # fmt: skip
        self._reserved[container_id] = version.base
        self._creating += 1
        try:
            await self._disk.run(self._catalogue.put_container, stored)
        finally:
            self._creating -= 1
            del self._reserved[container_id]
        self._supervise(stored, version)
        self._update_routes()
        return self._containers[container_id]

    def _supervise(self, stored: StoredContainer, version: Version) -> Supervisor:
        container_id = stored.container_id

        async def on_switch(now_runs: Version, filters: tuple[str, ...]) -> None:
            self._update_routes()
            await self._record(
                container_id,
                image_id=now_runs.image_id,
                digest=now_runs.digest,
                runtime=now_runs.runtime,
                env=now_runs.env,
                filters=filters,
            )

        info = Info(
            container_id=container_id,
            service_type=container_id,
            node_id=self._node.node_id,
            account_id=self._node.account_id(),
        )
        supervisor = Supervisor(
            info, self._catalogue.directory(container_id), self._context, version, on_switch
        )
        self._containers[container_id] = Deployed(stored, supervisor)
        return supervisor

    async def _deploy(self, container_id: str, supervisor: Supervisor, version: Version) -> None:
        self._check_base(container_id, version.base)
        self._reserved[container_id] = version.base
        try:
            with self._images.pin(version.digest):
                await supervisor.deploy(version)
        finally:
            self._reserved.pop(container_id, None)

    def _check_base(self, container_id: str, base: str) -> None:
        if not base:
            return
        others = {i: b for i, b in self._reserved.items() if i != container_id and b}
        clash = self.routes.clash(base, container_id, others)
        if clash is not None:
            raise ConflictError(f"cannot deploy {container_id}: {base} overlaps with {clash}")

    def _update_routes(self) -> None:
        routes = []
        for container_id, one in self._containers.items():
            version = one.supervisor.version
            http = version.manifest.http
            routes.append(ContainerRoute(container_id, version.base, http.expose, http.bep))
        self.routes.replace(routes)

    async def _record(self, container_id: str, **changes: Any) -> None:
        """Change the row of a container, if it is a change."""
        async with self._row_locks.hold(container_id):
            deployed = self._containers[container_id]
            changed = replace(deployed.stored, **changes)
            if changed != deployed.stored:
                await self._disk.run(self._catalogue.put_container, changed)
                self._containers[container_id] = replace(deployed, stored=changed)

    # Containers that are there --------------------------------------------------------------------

    async def start_container(self, client_id: str, container_id: str) -> Deployed:
        """Start a container with the present version of its image, unless it runs."""
        async with self._container_locks.hold(container_id):
            deployed = self.known(client_id, container_id)
            if deployed.supervisor.state is not ContainerState.STARTED:
                await self._renew(deployed)
            return self._containers[container_id]

    async def restart_container(self, client_id: str, container_id: str) -> Deployed:
        """Start a new process, which takes over from the one that runs."""
        async with self._container_locks.hold(container_id):
            await self._renew(self.known(client_id, container_id))
            return self._containers[container_id]

    async def _renew(self, deployed: Deployed) -> None:
        """Run a new process of the version that the container's image has now."""
        stored, version = deployed.stored, deployed.supervisor.version
        image = self._images.get(stored.image_id)
        if image is not None:
            version = await self._version(image, stored.env)
        await self._record(stored.container_id, stopped=False)
        await self._deploy(stored.container_id, deployed.supervisor, version)

    async def stop_container(self, client_id: str, container_id: str) -> Deployed:
        """End a container's process; it stays stopped until it is started or deployed."""
        async with self._container_locks.hold(container_id):
            deployed = self.known(client_id, container_id)
            await self._record(container_id, stopped=True)
            await deployed.supervisor.stop()
            logger.info("%s stopped", container_id)
            return self._containers[container_id]

    async def change_values(
        self, client_id: str, container_id: str, given: Mapping[str, Any]
    ) -> Deployed:
        """Change settings, which its process is told, and secrets, for which it is replaced."""
        async with self._container_locks.hold(container_id):
            deployed = self.known(client_id, container_id)
            values, manifest = self._context.values, deployed.supervisor.version.manifest
            values.check(container_id, manifest, given)
            secrets = values.get(container_id).secrets
            async with values.undone_on_failure(container_id):
                await values.change(container_id, manifest, given)
                if values.get(container_id).secrets == secrets:
                    deployed.supervisor.change_settings()
                elif not deployed.stored.stopped:
                    await self._renew(deployed)
            return self._containers[container_id]

    def given_values(self, container_id: str) -> ContainerValues:
        """Return the given settings and secrets of a container."""
        return self._context.values.get(container_id)

    async def delete_container(self, client_id: str, container_id: str) -> Deployed:
        """End a container, and delete its row, its files and its session at the broker."""
        async with self._container_locks.hold(container_id):
            deployed = self.known(client_id, container_id)
            await deployed.supervisor.close()
            await self._disk.run(self._catalogue.drop_container, container_id)
            self._context.values.forget(container_id)
            del self._containers[container_id]
        self._update_routes()
        self._context.on_deleted(container_id)
        self._context.on_change()
        logger.info("%s deleted", container_id)
        return deployed

    # Images ---------------------------------------------------------------------------------------

    async def put_image(self, client_id: str, source: IO[bytes], now: float) -> StoredImage:
        """Store an image, and run it in all containers of this name that are not stopped.

        Removes old versions beyond the limits.

        Raises:
            ImageError: it cannot be used.
            DeployError: a container does not become ready with it; everything is as it was.
        """
        limits, runtimes = self._context.limits.image, set(self._context.runtimes)
        async with self._images.read(source, limits, runtimes) as (image, unpacked):
            stored = StoredImage(
                f"{client_id}-{image.name}", client_id, image.name, image.repo_tags,
                image.digest, image.runtime, image.size, now,
            )  # fmt: skip
            with self._images.pin(image.digest):
                await self._images.keep_content(image.digest, unpacked)
                async with self._images.locks.hold(stored.image_id):
                    self._images.check_owner(stored)
                    await self._roll_out(stored)
                    await self._images.put(stored)
        logger.info("image %s is %.19s… (%d bytes)", stored.image_id, image.digest, image.size)
        await self._tidy()
        return stored

    async def _roll_out(self, image: StoredImage) -> None:
        switched: list[tuple[Deployed, Version]] = []
        for container_id in [one.stored.container_id for one in self._users(image.image_id)]:
            async with self._container_locks.hold(container_id):
                one = self._containers.get(container_id)
                if one is None or one.stored.stopped:
                    continue  # a stopped container takes the image at its start
                before, env = one.supervisor.version, one.stored.env
                version = await self._version(image, env)
                if before == version and one.supervisor.state is ContainerState.STARTED:
                    continue
                try:
                    await self._deploy(container_id, one.supervisor, version)
                except ServicesError:
                    for earlier, old in switched:
                        with contextlib.suppress(DeployError):
                            await earlier.supervisor.deploy(old)
                    raise
                switched.append((one, before))

    def _users(self, image_id: str) -> list[Deployed]:
        return [c for c in self._containers.values() if c.stored.image_id == image_id]

    async def _tidy(self) -> None:
        """Remove images beyond the limits, and contents without an image or container."""
        limits = self._context.limits
        used = {one.stored.image_id for one in self._containers.values()}
        for image in needless_images(self._images.all(), used, limits.old_versions, limits.images):
            async with self._images.locks.hold(image.image_id):
                if self._images.get(image.image_id) is image and not self._users(image.image_id):
                    await self._images.drop(image.image_id)
                    logger.info("image %s removed: no container uses it", image.image_id)
        await self._sweep()

    async def _sweep(self) -> None:
        await self._images.sweep({c.supervisor.version.digest for c in self.containers()})

    async def delete_image(self, client_id: str, image_id: str) -> StoredImage:
        """Remove an image that no container uses."""
        async with self._images.locks.hold(image_id):
            image = self._images.get(image_id)
            if image is None or image.client_id != client_id:
                raise NotFoundError(f"cannot find image {image_id}")
            users = [c.stored.container_id for c in self._users(image_id)]
            if users:
                raise ConflictError(f"cannot delete image {image_id}: {', '.join(users)} uses it")
            await self._images.drop(image_id)
        await self._sweep()
        return image

    # The gateway starts and stops -----------------------------------------------------------------

    async def resume(self) -> None:
        """Start the containers that ran when the gateway stopped."""
        await self._images.sweep(set())
        for stored in await self._disk.run(self._catalogue.containers):
            try:
                await self._context.values.load(stored.container_id)
                version = await self._version(stored, stored.env)
            except ServicesError as exc:
                logger.error("cannot start %s: %s", stored.container_id, exc)  # noqa: TRY400  # the reason is all there is
                continue
            supervisor = self._supervise(stored, version)
            if stored.stopped:
                supervisor.stay_stopped(stored.filters)
            else:
                supervisor.resume(stored.filters)
        self._update_routes()

    async def stop(self) -> None:
        """End all processes; everything is started again at the next resume()."""
        await asyncio.gather(*(one.supervisor.close() for one in self._containers.values()))
        await self._disk.run(self._catalogue.close)
        self._disk.close()

    # Reading --------------------------------------------------------------------------------------

    def images(self, client_id: str) -> list[StoredImage]:
        """Return a client's images."""
        return self._images.of(client_id)

    def containers(self, client_id: str | None = None) -> list[Deployed]:
        """Return a client's containers, or all."""
        return [
            one
            for one in self._containers.values()
            if client_id is None or one.stored.client_id == client_id
        ]

    def container(self, container_id: str) -> Deployed | None:
        """Return a container by its id."""
        return self._containers.get(container_id)

    def is_same(self, deployed: Deployed | None, container_id: str) -> bool:
        """Return whether a container is still the same one, not a new one with its id."""
        now = self._containers.get(container_id)
        return now is not None and deployed is not None and now.supervisor is deployed.supervisor

    def known(self, client_id: str, container_id: str) -> Deployed:
        """Return a client's container; NotFoundError when there is none."""
        deployed = self._containers.get(container_id)
        if deployed is None or deployed.stored.client_id != client_id:
            raise NotFoundError(f"cannot find container {container_id:.130}")
        return deployed

    def log_path(self, client_id: str, container_id: str) -> Path:
        """Return the file that keeps the output of a container."""
        self.known(client_id, container_id)
        return self._catalogue.directory(container_id) / LOG_NAME
