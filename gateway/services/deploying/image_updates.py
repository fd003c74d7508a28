"""Takes uploaded images, runs them in the containers that use them, and removes old ones."""

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import IO

from gateway.services.deploying.container_table import ContainerTable
from gateway.services.errors import ConflictError, ImageError, NotFoundError, ServicesError
from gateway.services.images.catalogue import StoredImage
from gateway.services.images.retention import needless_images
from gateway.services.images.store import ImageStore
from gateway.services.supervisor import ServiceContext

logger = logging.getLogger(__name__)

Update = Callable[[str, StoredImage], Awaitable[int | None]]


class ImageUpdates:
    """The uploads and deletions of images.

    Args:
        update: runs an image in a container; returns the version that ran before, if it switched.
    """

    def __init__(
        self,
        images: ImageStore,
        table: ContainerTable,
        context: ServiceContext,
        update: Update,
    ) -> None:
        self._images, self._table, self._context = images, table, context
        self._update = update

    @contextlib.asynccontextmanager
    async def unpack(
        self, client_id: str, source: IO[bytes], now: float, digest: str = ""
    ) -> AsyncIterator[tuple[StoredImage, Path]]:
        """Yield the image in a tar, and the folder that it was unpacked into.

        ImageError when it does not have the digest that is given.
        """
        await self._table.check_space("store image")
        limits, runtimes = self._context.limits.image, set(self._context.runtimes)
        async with self._images.read(source, limits, runtimes) as (image, unpacked):
            if digest not in ("", image.digest):
                why = f"its content is {image.digest:.19}…, not {digest:.19}…"
                raise ImageError(f"cannot accept image {image.name}: {why}")
            stored = StoredImage(
                f"{client_id}-{image.name}", client_id, image.name, image.repo_tags,
                image.digest, image.runtime, image.size, now, image.signature,
            )  # fmt: skip
            yield stored, unpacked

    async def keep(self, image: StoredImage, unpacked: Path, *, store_only: bool = False) -> None:
        """Store an unpacked image, and run it in all containers of its name unless store_only.

        The row of the image is written first: a power cut leaves no container with an image that
        is not there. When a container does not become ready, rows and containers go back.
        """
        with self._images.pin(image.digest):
            await self._images.keep_content(image.digest, unpacked)
            async with self._images.locks.hold(image.image_id):
                self._images.check_owner(image)
                former = self._images.get(image.image_id)
                await self._images.put(image)
                try:
                    if not store_only:
                        await self._run_in_containers(image, former)
                except ServicesError:
                    if former is not None:
                        await self._images.put(former)
                    raise
        logger.info("image %s is %.19s… (%d bytes)", image.image_id, image.digest, image.size)
        await self._tidy()

    async def _run_in_containers(self, image: StoredImage, former: StoredImage | None) -> None:
        switched: list[str] = []
        for container_id in [one.stored.container_id for one in self._table.users(image.image_id)]:
            try:
                if await self._update(container_id, image) is not None:
                    switched.append(container_id)
            except ServicesError:
                if former is not None:
                    await self._go_back(switched, former)
                raise

    async def _go_back(self, switched: list[str], former: StoredImage) -> None:
        for container_id in switched:
            with contextlib.suppress(ServicesError):
                await self._update(container_id, former)

    async def _tidy(self) -> None:
        """Remove images beyond the limits, and contents without an image or container."""
        limits = self._context.limits
        used = {one.stored.image_id for one in self._table.all()}
        for image in needless_images(self._images.all(), used, limits.old_versions, limits.images):
            async with self._images.locks.hold(image.image_id):
                if self._images.get(image.image_id) is image and not self._table.users(
                    image.image_id
                ):
                    await self._images.drop(image.image_id)
                    logger.info("image %s removed: no container uses it", image.image_id)
        await self._sweep()

    async def _sweep(self) -> None:
        await self._images.sweep(self._table.digests())

    async def delete(self, client_id: str, image_id: str) -> StoredImage:
        """Remove an image that no container uses."""
        async with self._images.locks.hold(image_id):
            image = self._images.get(image_id)
            if image is None or image.client_id != client_id:
                raise NotFoundError(f"cannot find image {image_id}")
            users = [c.stored.container_id for c in self._table.users(image_id)]
            if users:
                raise ConflictError(f"cannot delete image {image_id}: {', '.join(users)} uses it")
            await self._images.drop(image_id)
        await self._sweep()
        return image
