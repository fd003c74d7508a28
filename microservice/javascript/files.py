"""Keeps the files of a container: names inside one folder, within a limit of bytes."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from microservice.errors import FullStoreError, StoreError

NAME_LIMIT = 200  # characters
FILES_LIMIT = 10_000
SCRATCH_PREFIX = ".new-"
MIB = 1024 * 1024


class FileFolder:
    """The folder; every method blocks. One thread at a time may use it."""

    def __init__(self, folder: Path, limit_mib: int) -> None:
        self._folder, self._limit_mib = folder, limit_mib
        self._used: dict[Path, int] | None = None  # bytes of each file; read at the first use

    def path(self, name: str) -> Path:
        """Return the path of a file; StoreError when the name leads out of the folder."""
        given = PurePosixPath(name)
        if given.is_absolute() and given.is_relative_to(self._folder):
            given = given.relative_to(self._folder)
        if (
            given.is_absolute()
            or not given.parts
            or ".." in given.parts
            or len(name) > NAME_LIMIT
            or not name.isprintable()
            or given.name.startswith(SCRATCH_PREFIX)
        ):
            raise StoreError(f"cannot use file {name!r:.80}: not a path inside the storage")
        path = self._folder / given
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise StoreError(f"cannot use file {name!r:.80}: it links to a place outside")
        return path

    @contextlib.contextmanager
    def _explain(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise StoreError(f"cannot {what}: {exc.strerror or exc}") from exc

    def begin(self, name: str) -> "FileUpload":
        """Return a file to write; the one of this name stays until it is committed."""
        path = self.path(name)
        used = self._sizes()
        if len(used) >= FILES_LIMIT and path not in used:
            raise FullStoreError(f"cannot write {name!r}: there are {FILES_LIMIT} files already")
        with self._explain(f"write {name!r}"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileUpload(self, path, name)

    def size(self, name: str) -> int:
        """Return the size of a file; StoreError when there is none."""
        path = self.path(name)
        with self._explain(f"read {name!r}"):
            if not path.is_file():
                raise StoreError(f"cannot read {name!r}: there is no such file")
            return path.stat().st_size

    def delete(self, name: str) -> bool:
        """Delete a file; return whether there was one."""
        path = self.path(name)
        with self._explain(f"delete {name!r}"):
            try:
                path.unlink()
            except FileNotFoundError:
                return False
        self._sizes().pop(path, None)
        return True

    def reserve(self, path: Path, size: int) -> None:
        """Refuse a file that would take the folder beyond its limit."""
        others = sum(bytes_ for one, bytes_ in self._sizes().items() if one != path)
        if others + size > self._limit_mib * MIB:
            raise FullStoreError(
                f"cannot write {path.name!r}: the files of this container would take more than "
                f"[limits] store_mib = {self._limit_mib}"
            )

    def note(self, path: Path, size: int) -> None:
        """Note the size of a file that is written."""
        self._sizes()[path] = size

    def _sizes(self) -> dict[Path, int]:
        if self._used is None:
            self._used = {}
            if self._folder.is_dir():
                for path in self._folder.rglob("*"):
                    if path.name.startswith(SCRATCH_PREFIX):
                        path.unlink(missing_ok=True)  # of a process that ended meanwhile
                    elif path.is_file():
                        self._used[path] = path.stat().st_size
        return self._used


class FileUpload:
    """A file that is being written; every method blocks."""

    def __init__(self, folder: FileFolder, path: Path, name: str) -> None:
        self._folder, self._path, self._name = folder, path, name
        self._scratch = path.with_name(f"{SCRATCH_PREFIX}{secrets.token_hex(6)}")
        self._file = self._scratch.open("xb")
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add bytes; StoreError when there is no room."""
        self._folder.reserve(self._path, self.size + len(data))
        try:
            self._file.write(data)
        except OSError as exc:
            raise StoreError(f"cannot write {self._name!r}: {exc.strerror or exc}") from exc
        self.size += len(data)

    def commit(self) -> int:
        """Put the file under its name; return its size."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._scratch.rename(self._path)
        except OSError as exc:
            raise StoreError(f"cannot write {self._name!r}: {exc.strerror or exc}") from exc
        self._folder.note(self._path, self.size)
        return self.size

    def abort(self) -> None:
        """Forget the file, unless it is committed."""
        self._file.close()
        self._scratch.unlink(missing_ok=True)
