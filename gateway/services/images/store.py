"""Keeps the images of a node: in memory for reading, on disk for the next start."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Set
from pathlib import Path
from typing import IO, TYPE_CHECKING

from gateway.services.errors import ConflictError, ImageError
from gateway.services.images.catalogue import Catalogue, StoredImage
from gateway.services.images.limits import ImageLimits
from gateway.services.images.rules import DEFAULT_RULES, ImageRules
from gateway.services.images.signature import check_trust, verify_signature
from gateway.services.keyed_locks import KeyedLocks
from gateway.storage.disk_thread import DiskThread

if TYPE_CHECKING:  # only an upload needs it in memory
    from gateway.services.images.image import Image


class ImageStore:
    """Images and their contents; a content stays while a row or a pin refers to it."""

    def __init__(
        self, catalogue: Catalogue, disk: DiskThread, rules: ImageRules = DEFAULT_RULES
    ) -> None:
        self._catalogue, self._disk, self._rules = catalogue, disk, rules
        self._images = {image.image_id: image for image in catalogue.images()}
        self._pinned: Counter[str] = Counter()  # digests that no row refers to yet
        self.locks = KeyedLocks()  # per image, while it is replaced or removed

    def get(self, image_id: str) -> StoredImage | None:
        """Return an image by its id."""
        return self._images.get(image_id)

    def of(self, client_id: str) -> list[StoredImage]:
        """Return a client's images."""
        return [image for image in self._images.values() if image.client_id == client_id]

    def all(self) -> list[StoredImage]:
        """Return the images of all clients."""
        return list(self._images.values())

    @contextlib.asynccontextmanager
    async def read(
        self, source: IO[bytes], limits: ImageLimits, runtimes: Set[str]
    ) -> AsyncIterator[tuple["Image", Path]]:
        """Yield the image in a tar, and the folder that it was unpacked into.

        Raises:
            ImageError: it cannot be used.
        """
        from gateway.services.images.image import read_image  # only an upload needs it

        scratch = self._catalogue.scratch()
        folder = await asyncio.to_thread(scratch.__enter__)
        try:
            with (folder / "layer").open("w+b") as layer:
                image = await asyncio.to_thread(read_image, source, layer, limits)
                check_runtime(image, runtimes)
                self.check_signature(image.signature, image.digest)
                quota_bytes = self._rules.quota_bytes
                await asyncio.to_thread(self._catalogue.check_room, image, quota_bytes)
                unpacked = await asyncio.to_thread(self._catalogue.unpack, image, folder)
            yield image, unpacked
        finally:
            await asyncio.to_thread(scratch.__exit__, None, None, None)

    async def keep_content(self, digest: str, unpacked: Path) -> None:
        """Keep unpacked files; the caller pins the digest until a row refers to it."""
        await self._disk.run(self._catalogue.put_content, digest, unpacked)

    async def put(self, image: StoredImage) -> None:
        """Add or replace an image."""
        await self._disk.run(self._catalogue.put_image, image)
        self._images[image.image_id] = image

    async def drop(self, image_id: str) -> None:
        """Remove an image; its content goes with the next sweep()."""
        await self._disk.run(self._catalogue.drop_image, image_id)
        del self._images[image_id]

    async def sweep(self, running: Set[str]) -> None:
        """Remove contents without a row or a pin that are none of these digests."""
        await self._disk.run(self._catalogue.sweep, running | set(self._pinned))

    def check_signature(self, signature: str, digest: str, *, ordered: bool = False) -> None:
        """Return if an image may be used; ImageError for its signature, or the lack of one.

        Another node has ordered it: then a node that has trusted keys wants one of them.
        """
        signers = verify_signature(signature, digest) if signature else frozenset()
        rules = self._rules
        required = rules.require_signature or (ordered and bool(rules.trusted_keys))
        check_trust(signers, rules.trusted_keys, required=required)

    def check_content_signature(self, digest: str) -> None:
        """Return if a content may run again; the signature is that of an image which has it."""
        signatures = [i.signature for i in self._images.values() if i.digest == digest]
        self.check_signature(next(filter(None, signatures), ""), digest)

    def check_owner(self, image: StoredImage) -> None:
        """Return if the id is free or the client's own; ConflictError if not."""
        known = self._images.get(image.image_id)
        if known is not None and known.client_id != image.client_id:
            raise ConflictError(f"cannot store image {image.image_id}: the id is another client's")

    @contextlib.contextmanager
    def pin(self, digest: str) -> Iterator[None]:
        """Keep a content although no row refers to it yet."""
        self._pinned[digest] += 1
        try:
            yield
        finally:
            self._pinned[digest] -= 1
            if not self._pinned[digest]:
                del self._pinned[digest]


def check_runtime(image: "Image", runtimes: Set[str]) -> None:
    """Return if the gateway can run an image; ImageError if not."""
    if image.runtime not in runtimes:
        raise ImageError(f"cannot run image: this gateway has no {image.runtime} runtime")
