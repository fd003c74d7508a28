"""Stores images and containers on disk: deployments survive kill -9 at any moment.

One SQLite file lists them; contents/<digest>/ holds the files of an image. A content is written
under another name, synced and renamed before a row refers to it. A content without a row is
removed at the next start.
"""

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from gateway.services.errors import ImageError, ServicesError, StorageError
from gateway.services.images.image import Image, ImageFile
from gateway.services.images.limits import MIB
from gateway.services.images.manifest import FILE_NAME, Manifest, parse_manifest
from gateway.storage.migrations import open_database

MIGRATIONS = (
    """
CREATE TABLE IF NOT EXISTS image (
    image_id TEXT PRIMARY KEY, client_id TEXT NOT NULL, name TEXT NOT NULL,
    repo_tags TEXT NOT NULL, digest TEXT NOT NULL, runtime TEXT NOT NULL,
    size INTEGER NOT NULL, created REAL NOT NULL);
CREATE TABLE IF NOT EXISTS container (
    container_id TEXT PRIMARY KEY, client_id TEXT NOT NULL, name TEXT NOT NULL,
    image_id TEXT NOT NULL, env TEXT NOT NULL, created REAL NOT NULL,
    digest TEXT NOT NULL, runtime TEXT NOT NULL, filters TEXT NOT NULL);
ALTER TABLE container ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0;
""",  # releases without a version made both tables, without the last column
    "ALTER TABLE image ADD COLUMN signature TEXT NOT NULL DEFAULT '';",
)
FREE_BYTES = 16 * MIB  # stay free: the broker and the spool write to this disk, too
_PRIVATE, _READ_ONLY = 0o700, 0o400
_SCRATCH_PREFIX = ".new-"


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


class Catalogue:
    """The store; every method blocks, and returns when it is on disk.

    One thread at a time may use it; put_content() may be called from any.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        try:
            for directory in (state, state / "contents", state / "containers"):
                directory.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            self._db = open_database(state / "catalogue.db", MIGRATIONS, shared=True)
            self._remove_scratch()
        except (OSError, sqlite3.Error) as exc:
            raise ServicesError(f"cannot open {state}: {exc}") from exc

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def images(self) -> tuple[StoredImage, ...]:
        """Return all images."""
        rows = self._db.execute("SELECT * FROM image ORDER BY image_id")
        return tuple(
            StoredImage(
                image_id, client_id, name, tuple(json.loads(tags)), digest, runtime, size,
                created, signature,
            )
            for image_id, client_id, name, tags, digest, runtime, size, created, signature in rows
        )  # fmt: skip

    def put_image(self, image: StoredImage) -> None:
        """Add or replace an image."""
        values = (
            image.image_id, image.client_id, image.name, json.dumps(image.repo_tags),
            image.digest, image.runtime, image.size, image.created, image.signature,
        )  # fmt: skip
        self._execute("INSERT OR REPLACE INTO image VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def drop_image(self, image_id: str) -> None:
        """Remove an image."""
        self._execute("DELETE FROM image WHERE image_id = ?", (image_id,))

    def containers(self) -> tuple[StoredContainer, ...]:
        """Return all containers."""
        rows = self._db.execute("SELECT * FROM container ORDER BY container_id")
        return tuple(
            StoredContainer(
                container_id, client_id, name, image_id, created, digest, runtime,
                json.loads(env), tuple(json.loads(filters)), bool(stopped),
            )
            for container_id, client_id, name, image_id, env, created, digest, runtime, filters,
            stopped in rows
        )  # fmt: skip

    def put_container(self, container: StoredContainer) -> None:
        """Add or replace a container."""
        values = (
            container.container_id, container.client_id, container.name, container.image_id,
            json.dumps(dict(container.env)), container.created, container.digest,
            container.runtime, json.dumps(container.filters), container.stopped,
        )  # fmt: skip
        self._execute(
            "INSERT OR REPLACE INTO container VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values
        )

    def drop_container(self, container_id: str) -> None:
        """Remove a container and everything it kept."""
        self._execute("DELETE FROM container WHERE container_id = ?", (container_id,))
        shutil.rmtree(self.directory(container_id), ignore_errors=True)

    def directory(self, container_id: str) -> Path:
        """Return the directory that is a container's own."""
        return self._state / "containers" / container_id

    def content(self, digest: str) -> Path:
        """Return the directory that holds the files of an image."""
        return self._state / "contents" / digest.removeprefix("sha256:")

    def manifest(self, digest: str) -> Manifest:
        """Return the manifest of a content; ImageError when it is not there any more."""
        try:
            return parse_manifest((self.content(digest) / FILE_NAME).read_text(encoding="utf-8"))
        except OSError as exc:
            raise ImageError(f"cannot read {FILE_NAME} of {digest:.19}…: {exc.strerror}") from exc

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield a temporary directory on the same file system."""
        try:
            made = tempfile.TemporaryDirectory(prefix=_SCRATCH_PREFIX, dir=self._state / "contents")
        except OSError as exc:
            raise StorageError(f"cannot store image: {exc.strerror or exc}") from exc
        with made as name:
            yield Path(name)

    def unpack(self, image: Image, scratch: Path) -> Path:
        """Write an image's files below a scratch directory; may be called from another thread."""
        unpacked = scratch / "content"
        try:
            unpacked.mkdir(mode=_PRIVATE)
            for file in image.files:
                _unpack(image, file, unpacked)
            for folder, _, _ in os.walk(unpacked):
                _sync(Path(folder))
        except OSError as exc:
            why = exc.strerror or str(exc)
            raise StorageError(f"cannot store image {image.name}: {why}") from exc
        return unpacked

    @property
    def scratch_folder(self) -> Path:
        """The folder for files of uploads that are not complete."""
        return self._state / "contents"

    def check_room(self, image: Image, quota_bytes: int) -> None:
        """Return if an image may be unpacked; StorageError when the disk or the quota is full."""
        if self.content(image.digest).exists():
            return
        there = sum(
            _size(Path(folder, name))
            for path in (self._state / "contents").iterdir()
            if not path.name.startswith(_SCRATCH_PREFIX)
            for folder, _, names in os.walk(path)
            for name in names
        )
        needs = image.content_bytes
        if there + needs > quota_bytes:
            raise StorageError(
                f"cannot store image {image.name}: it needs {needs // MIB + 1} MiB, and images "
                f"have {there // MIB} of the {quota_bytes // MIB} MiB of [services] images_mib; "
                "`hecate rm IMAGE` removes one"
            )
        free = shutil.disk_usage(self._state).free
        if free < needs + FREE_BYTES:
            raise StorageError(
                f"cannot store image {image.name}: it needs {needs // MIB + 1} MiB, and the disk "
                f"of {self._state} has {free // MIB} MiB left; `hecate rm IMAGE` frees some"
            )

    def put_content(self, digest: str, unpacked: Path) -> None:
        """Keep unpacked files as the content of a digest; another upload may have brought it."""
        target = self.content(digest)
        if target.exists():
            return
        try:
            unpacked.rename(target)
            _sync(target.parent)
        except OSError as exc:
            raise StorageError(f"cannot store image: {exc.strerror or exc}") from exc

    def sweep(self, in_use: Set[str]) -> None:
        """Remove contents without an image or container that are not in use."""
        digests = {row.digest for row in self.images()} | in_use
        digests |= {row.digest for row in self.containers()}
        kept = {self.content(digest).name for digest in digests}
        for path in (self._state / "contents").iterdir():
            if path.name not in kept and not path.name.startswith(_SCRATCH_PREFIX):
                shutil.rmtree(path, ignore_errors=True)

    def _remove_scratch(self) -> None:
        for path in (
            *(self._state / "contents").glob(f"{_SCRATCH_PREFIX}*"),
            *(self._state / "containers").glob("*/tmp/*"),
        ):
            shutil.rmtree(path, ignore_errors=True)

    def _execute(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as exc:
            raise StorageError(f"cannot write {self._state / 'catalogue.db'}: {exc}") from exc


def _unpack(image: Image, file: ImageFile, directory: Path) -> None:
    path = directory / file.path
    path.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    with path.open("xb") as target:
        for chunk in image.read(file):
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    path.chmod(_READ_ONLY)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # removed meanwhile: another thread sweeps
        return 0


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
