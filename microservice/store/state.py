"""Keeps the state of a service: values of JSON, or bytes, by key, across restarts.

The file is read and written by one thread, in the order of the calls, so that a slow disk does not
stop the event loop. Without a use of the state there is neither file nor thread.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from microservice.errors import DamagedStoreError, StoreError

if TYPE_CHECKING:  # a service that stores nothing does not load SQLite
    from microservice.store.database import Store, Value

PAGE = 200  # entries that items() holds at once
STACK_BYTES = 1024 * 1024  # the usual 8 MiB count as memory of the service

T = TypeVar("T")


class StateTransaction:
    """The state within a transaction: the same calls, without await."""

    def __init__(self, store: "Store") -> None:
        self._store = store

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or the default when there is none."""
        return _decode(key, self._store.get(key), default)

    def set(self, key: str, value: Any, *, tag: str = "") -> None:
        """Store a value."""
        self._store.set(key, _encode(key, value), tag)

    def delete(self, key: str) -> bool:
        """Delete a value; return whether there was one."""
        return self._store.delete(key)

    def delete_tag(self, tag: str) -> int:
        """Delete all values with a tag; return their number."""
        return self._store.delete_tag(tag)

    def clear(self) -> None:
        """Delete all values."""
        self._store.clear()

    def keys(self, prefix: str = "", *, tag: str | None = None) -> list[str]:
        """Return the keys that begin with a prefix, in order."""
        keys: list[str] = []
        while page := self._store.keys(prefix, tag, keys[-1] if keys else "", PAGE):
            keys += page
        return keys

    def items(
        self, prefix: str = "", *, tag: str | None = None, after: str = ""
    ) -> list[tuple[str, Any]]:
        """Return the next entries behind a key, in the order of their keys; [] at the end."""
        page = self._store.items(prefix, tag, after, PAGE)
        return [(item.key, _decode(item.key, item.value, None)) for item in page]


class State:
    """The key-value store of a service: `await service.state.set("rooms/attic", 21.5)`.

    Values are what JSON can hold, or bytes. They are on disk when a call returns, survive restarts
    and updates, and are deleted with the container.
    """

    def __init__(self) -> None:
        self._place: tuple[Path, int] | None = None
        self._on_damage: Callable[[DamagedStoreError], object] = lambda _: None
        self._executor: ThreadPoolExecutor | None = None
        self._store: Store | None = None

    def attach(
        self, path: Path, limit_mib: int, on_damage: Callable[[DamagedStoreError], object]
    ) -> None:
        """Use a file; called by the runtime. The first use of the state opens it."""
        self._place, self._on_damage = (path, limit_mib), on_damage

    async def check(self) -> None:
        """Read the whole file, if there is one; DamagedStoreError when it cannot be used."""
        if self._place is not None and any(self._place[0].parent.glob(f"{self._place[0].name}*")):
            from microservice.store.database import check

            await self._in_thread(lambda: check(*self._opened_place()))

    async def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or the default when there is none."""
        return await self._run(lambda state: state.get(key, default))

    async def set(self, key: str, value: Any, *, tag: str = "") -> None:
        """Store a value, with a tag by which it can be found.

        Raises:
            FullStoreError: there is no room; the key keeps its old value.
        """
        await self._run(lambda state: state.set(key, value, tag=tag))

    async def delete(self, key: str) -> bool:
        """Delete a value; return whether there was one."""
        return await self._run(lambda state: state.delete(key))

    async def delete_tag(self, tag: str) -> int:
        """Delete all values with a tag; return their number."""
        return await self._run(lambda state: state.delete_tag(tag))

    async def clear(self) -> None:
        """Delete all values."""
        await self._run(lambda state: state.clear())

    async def keys(self, prefix: str = "", *, tag: str | None = None) -> list[str]:
        """Return the keys that begin with a prefix, in order."""
        return await self._run(lambda state: state.keys(prefix, tag=tag))

    async def items(
        self, prefix: str = "", *, tag: str | None = None
    ) -> AsyncIterator[tuple[str, Any]]:
        """Yield keys and values in the order of the keys."""
        after = ""
        while page := await self._run(
            lambda state, after=after: state.items(prefix, tag=tag, after=after)  # type: ignore[misc]  # mypy cannot infer a default
        ):
            for entry in page:
                yield entry
            after = page[-1][0]

    async def update(self, key: str, change: Callable[[Any], Any], default: Any = None) -> Any:
        """Replace a value by what change(value) returns; nothing comes between. Return it.

        change() runs in the thread of the store, and gets the default when there is no value.
        """

        def work(state: StateTransaction) -> Any:
            value = change(state.get(key, default))
            state.set(key, value)
            return value

        return await self.transaction(work)

    async def transaction(self, work: Callable[[StateTransaction], T]) -> T:
        """Return what work(state) returns; all that it changes happens, or nothing if it raises.

        work() is a plain function that runs in the thread of the store.
        """

        def run(state: StateTransaction) -> T:
            with self._opened().transaction():
                return work(state)

        return await self._run(run)

    async def last_run(self, schedule: str) -> float | None:
        """Return the unix time of the last run of a schedule; None when it never ran."""
        return await self._in_thread(lambda: self._opened().last_run(schedule))

    async def set_last_run(self, schedule: str, at: float) -> None:
        """Note the unix time of the last run of a schedule."""
        await self._in_thread(lambda: self._opened().set_last_run(schedule, at))

    async def close(self) -> None:
        """Close the file after all earlier calls."""
        if self._store is not None:
            await self._in_thread(self._store.close)
            self._store = None
        if self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None

    async def _run(self, work: Callable[[StateTransaction], T]) -> T:
        return await self._in_thread(lambda: work(StateTransaction(self._opened())))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._executor is None:
            self._executor = _make_executor()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except DamagedStoreError as exc:
            self._on_damage(exc)
            raise

    def _opened(self) -> "Store":
        """Return the open store; called in its thread."""
        if self._store is None:
            from microservice.store.database import Store

            self._store = Store(*self._opened_place())
        return self._store

    def _opened_place(self) -> tuple[Path, int]:
        if self._place is None:
            raise StoreError("cannot use the state: the service is not running")
        return self._place


def _make_executor() -> ThreadPoolExecutor:
    executor = ThreadPoolExecutor(1, thread_name_prefix="store")
    before = threading.stack_size(STACK_BYTES)
    try:
        executor.submit(lambda: None).result()  # makes the thread
    finally:
        threading.stack_size(before)
    return executor


def _encode(key: str, value: Any) -> "Value":
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as exc:
        raise StoreError(f"cannot store {key!r}: neither JSON nor bytes: {exc}") from exc


def _decode(key: str, value: "Value | None", default: Any) -> Any:
    if value is None:
        return default
    if isinstance(value, bytes):
        return value
    try:
        return json.loads(value)
    except ValueError as exc:
        raise StoreError(f"cannot read {key!r}: its value is not JSON") from exc
