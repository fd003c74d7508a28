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
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.services.errors import ImageError, ServicesError, StorageError
from gateway.services.images.limits import MIB
from gateway.services.images.manifest import FILE_NAME, Manifest, parse_manifest
from gateway.services.versions.history import StoredVersion
from gateway.services.versions.rows import (
    DROP_CONTAINER,
    DROP_VERSION,
    DROP_VERSIONS,
    PUT_CONTAINER,
    PUT_VERSION,
    SELECT_VERSIONS,
    StoredContainer,
    StoredImage,
    container_values,
    read_container,
    read_version,
    version_values,
)
from gateway.spool.disk_reserve import DiskReserve
from gateway.storage.disk_space import free_bytes
from gateway.storage.migrations import open_database
from gateway.storage.trees import remove_tree

if TYPE_CHECKING:  # only an upload needs it in memory
    from gateway.services.images.image import Image, ImageFile

__all__ = ["MIGRATIONS", "Catalogue", "StoredContainer", "StoredImage"]

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
    """
CREATE TABLE IF NOT EXISTS version (
    container_id TEXT NOT NULL, number INTEGER NOT NULL, posted INTEGER NOT NULL,
    image_id TEXT NOT NULL, digest TEXT NOT NULL, runtime TEXT NOT NULL, env TEXT NOT NULL,
    created REAL NOT NULL, ended REAL NOT NULL, state TEXT NOT NULL, good INTEGER NOT NULL,
    error TEXT NOT NULL, activations INTEGER NOT NULL, PRIMARY KEY (container_id, number));
INSERT OR IGNORE INTO version SELECT
    container_id, 1, 1, image_id, digest, runtime, env, created, 0, 'running', 1, '', 0
    FROM container;
""",
)
NO_CHANGES: Mapping[int, StoredVersion | None] = {}
RESERVE_BYTES = MIB  # of the disk, for rows and for starts of containers when it is full
Statement = tuple[str, tuple[object, ...]]
FREE_BYTES = 16 * MIB  # stay free: the broker and the spool write to this disk, too
_PRIVATE, _READ_ONLY = 0o700, 0o400
_SCRATCH_PREFIX = ".new-"


class Catalogue:
    """The store; every method blocks, and returns when it is on disk.

    One thread at a time may use it; put_content() may be called from any.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        try:
            for directory in (state, state / "contents", state / "containers"):
                directory.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            self._reserve = DiskReserve(state / "reserve", RESERVE_BYTES)
            self._db = self._open()
            self._remove_scratch()
            if free_bytes(state) < RESERVE_BYTES:
                self._reserve.release()  # containers need some room to start
            else:
                self._reserve.take()
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
        self._write(("INSERT OR REPLACE INTO image VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values))

    def drop_image(self, image_id: str) -> None:
        """Remove an image."""
        self._write(("DELETE FROM image WHERE image_id = ?", (image_id,)))

    def containers(self) -> tuple[StoredContainer, ...]:
        """Return all containers."""
        rows = self._db.execute("SELECT * FROM container ORDER BY container_id")
        return tuple(read_container(row) for row in rows)

    def versions(self) -> dict[str, list[StoredVersion]]:
        """Return the versions of all containers; leave out those whose row is damaged."""
        found = defaultdict(list)
        for row in self._db.execute(SELECT_VERSIONS):  # a constant
            version = read_version(row)
            if version is not None:
                found[version.container_id].append(version)
        return found

    def put_container(
        self, container: StoredContainer, versions: Mapping[int, StoredVersion | None] = NO_CHANGES
    ) -> None:
        """Add or replace a container together with some of its versions; None deletes one."""
        container_id = container.container_id
        statements: list[Statement] = [(PUT_CONTAINER, container_values(container))]
        for number, version in versions.items():
            if version is None:
                statements.append((DROP_VERSION, (container_id, number)))
            else:
                statements.append((PUT_VERSION, version_values(version)))
        self._write(*statements)

    def drop_container(self, container_id: str) -> None:
        """Remove a container and everything it kept."""
        self._write((DROP_CONTAINER, (container_id,)), (DROP_VERSIONS, (container_id,)))
        _remove(self.directory(container_id))

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

    def unpack(self, image: "Image", scratch: Path) -> Path:
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

    def check_room(self, image: "Image", quota_bytes: int) -> None:
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

    def check_space(self, least_bytes: int, action: str) -> None:
        """Return if the disk has room for a deployment; StorageError if not."""
        try:
            free = free_bytes(self._state)
        except OSError as exc:
            raise StorageError(f"cannot {action}: {self._state}: {exc.strerror}") from exc
        if free < least_bytes:
            raise StorageError(
                f"cannot {action}: the disk is full: {self._state} has {free / MIB:.1f} MiB left, "
                f"a deployment needs {least_bytes / MIB:g}; `hecate images` and `hecate rm` make "
                "room"
            )

    def has_content(self, digest: str) -> bool:
        """Return whether the files of an image are there."""
        return (self.content(digest) / FILE_NAME).is_file()

    def sweep(self, in_use: Set[str]) -> None:
        """Remove contents without an image or container that are not in use."""
        digests = {row.digest for row in self.images()} | in_use
        digests |= {row.digest for row in self.containers()}
        digests |= {each.digest for versions in self.versions().values() for each in versions}
        kept = {self.content(digest).name for digest in digests}
        for path in (self._state / "contents").iterdir():
            if path.name not in kept and not path.name.startswith(_SCRATCH_PREFIX):
                _remove(path)

    def _remove_scratch(self) -> None:
        for path in (
            *(self._state / "contents").glob(f"{_SCRATCH_PREFIX}*"),
            *(self._state / "containers").glob("*/tmp/*"),
        ):
            _remove(path)

    def _open(self) -> sqlite3.Connection:
        path = self._state / "catalogue.db"
        try:
            return open_database(path, MIGRATIONS, shared=True)
        except (OSError, sqlite3.Error):
            if not self._reserve.release():
                raise
        return open_database(path, MIGRATIONS, shared=True)

    def _write(self, *statements: Statement) -> None:
        """Run statements in one transaction; on a full disk, in the room that is reserved."""
        try:
            try:
                self._transact(statements)
            except sqlite3.OperationalError:
                if not self._reserve.release():
                    raise
                self._transact(statements)
        except sqlite3.Error as exc:
            raise StorageError(f"cannot write {self._state / 'catalogue.db'}: {exc}") from exc
        self._reserve.take()

    def _transact(self, statements: Sequence[Statement]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for statement, values in statements:
                self._db.execute(statement, values)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def _unpack(image: "Image", file: "ImageFile", directory: Path) -> None:
    path = directory / file.path
    path.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    with path.open("xb") as target:
        for chunk in image.read(file):
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    path.chmod(_READ_ONLY)


def _remove(path: Path) -> None:
    """Remove a folder; what cannot be removed stays, and takes room."""
    with contextlib.suppress(OSError):
        remove_tree(path)


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
