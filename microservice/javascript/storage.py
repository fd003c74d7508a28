"""Carries out what scripts ask of their storage, on a thread of its own."""

import asyncio
import base64
import binascii
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from microservice.errors import StoreError
from microservice.javascript.files import FileFolder, FileUpload

if TYPE_CHECKING:  # a container that stores nothing loads no SQLite
    from microservice.store.database import Store

T = TypeVar("T")

PAGE_ITEMS = 16
VALUE_LIMIT = 1024 * 1024  # characters of one value
LOCKS_LIMIT = 64


class Storage:
    """Items and files of one container."""

    def __init__(self, folder: Path, limit_mib: int) -> None:
        self._path, self._limit_mib = folder / "store.db", limit_mib
        self.files = FileFolder(folder / "files", limit_mib)
        self._store: Store | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._locks: dict[str, asyncio.Lock] = {}
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "storage.get": self._get,
            "storage.set": self._set,
            "storage.remove": self._remove,
            "storage.removeTag": self._remove_tag,
            "storage.page": self._page,
            "storage.delete": self._delete_file,
        }

    def knows(self, operation: str) -> bool:
        """Return whether answer() answers an operation."""
        return operation in self._operations

    async def answer(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Return the result of an operation; StoreError when it cannot be carried out."""
        return await self.run(lambda: self._operations[frame["op"]](frame))

    async def run(self, work: Callable[[], T]) -> T:
        """Return the result of blocking work on the storage's thread."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "storage")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def lock(self, name: str) -> asyncio.Lock:
        """Return the lock of a name, which requests of this container share."""
        if name not in self._locks and len(self._locks) >= LOCKS_LIMIT:
            for other in [n for n, lock in self._locks.items() if not lock.locked()]:
                del self._locks[other]
            if len(self._locks) >= LOCKS_LIMIT:
                raise StoreError(f"cannot lock {name!r:.40}: {LOCKS_LIMIT} locks are held")
        return self._locks.setdefault(name, asyncio.Lock())

    async def close(self) -> None:
        """Close the store and end the thread."""
        if self._store is not None:
            await self.run(self._store.close)
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    def _open(self) -> "Store":
        if self._store is None:
            from microservice.store.database import Store

            self._store = Store(self._path, self._limit_mib)
        return self._store

    def _get(self, frame: dict[str, Any]) -> dict[str, Any]:
        if not frame["key"] or not (self._store or self._path.exists()):
            return {"value": None}
        value = self._open().get(frame["key"])
        return {"value": value.decode("utf-8", "replace") if isinstance(value, bytes) else value}

    def _set(self, frame: dict[str, Any]) -> dict[str, Any]:
        value: str = frame["value"]
        if len(value) > VALUE_LIMIT:
            raise StoreError(f"cannot store {frame['key']!r:.80}: more than 1 MiB; use saveFile")
        self._open().set(frame["key"], value, frame["tag"] or "")
        return {}

    def _remove(self, frame: dict[str, Any]) -> dict[str, Any]:
        return {"removed": self._open().delete(frame["key"])}

    def _remove_tag(self, frame: dict[str, Any]) -> dict[str, Any]:
        return {"removed": self._open().delete_tag(frame["tag"])}

    def _page(self, frame: dict[str, Any]) -> dict[str, Any]:
        items = self._open().items(tag=frame["tag"], after=frame["after"] or "", limit=PAGE_ITEMS)
        last = items[-1].key if len(items) == PAGE_ITEMS else None
        return {"items": [(item.key, item.value) for item in items], "last": last}

    def _delete_file(self, frame: dict[str, Any]) -> dict[str, Any]:
        return {"removed": self.files.delete(frame["name"])}


class Uploads:
    """The files that one request writes; those that are not complete at its end are forgotten."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._open: dict[str, FileUpload] = {}

    async def write(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Add a piece in base64 to a file."""
        name: str = frame["name"]
        try:
            data = base64.b64decode(frame["base64"], validate=True)
        except (binascii.Error, ValueError) as exc:
            raise StoreError(f"cannot write {name!r:.80}: its content is not base64") from exc

        def write() -> int:
            if frame["isFirst"]:
                self._forget(name)
                self._open[name] = self._storage.files.begin(name)
            upload = self._open.get(name)
            if upload is None:
                raise StoreError(f"cannot write {name!r:.80}: it was not begun")
            upload.write(data)
            return self._open.pop(name).commit() if frame["isLast"] else upload.size

        return {"size": await self._storage.run(write)}

    async def begin(self, name: str) -> FileUpload:
        """Return a file to write."""

        def begin() -> FileUpload:
            self._forget(name)
            self._open[name] = self._storage.files.begin(name)
            return self._open[name]

        return await self._storage.run(begin)

    async def add(self, upload: FileUpload, data: bytes) -> None:
        """Add bytes to a file."""
        await self._storage.run(lambda: upload.write(data))

    async def commit(self, name: str) -> int:
        """Put a file under its name; return its size."""
        return await self._storage.run(lambda: self._open.pop(name).commit())

    async def close(self) -> None:
        """Forget the files that are not complete."""
        if self._open:
            await self._storage.run(self._forget_all)

    def _forget_all(self) -> None:
        for name in list(self._open):
            self._forget(name)

    def _forget(self, name: str) -> None:
        upload = self._open.pop(name, None)
        if upload is not None:
            upload.abort()
