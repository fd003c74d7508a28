"""Takes dead letters from the broker, keeps them, and sends them back on request.

Theory of operation
-------------------
A container publishes a dead letter at QoS 1; its PUBACK waits for the commit (ADR 0004), and only
then the container acknowledges the original message. Letters that come while a commit runs share
the next one. Those that do not fit into the bound of waiting bytes, or that the disk does not
take, are refused: the container keeps the message and publishes it again later. A retried letter
is deleted when the broker has it, so a crash may repeat it and cannot lose it.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from broker.messages.message import Message
from gateway.services.deadletters.store import DeadLetter, DeadLetterStore, LetterCounts
from gateway.services.errors import ConflictError, NotFoundError, StorageError
from gateway.services.runtimes.port import LOGIN_PREFIX
from gateway.storage.disk_thread import DiskThread
from microservice.mqtt import dead_letters as names

logger = logging.getLogger(__name__)

WAITING_BYTES = 8 * 1024 * 1024  # of letters that are not committed yet
NO_COUNTS = LetterCounts()

P = ParamSpec("P")
T = TypeVar("T")


class LetterBroker(Protocol):
    """A client inside the broker."""

    def subscribe(self, topic_filter: str, handler: Callable[[Message], None]) -> None:
        """Call handler for each message that matches."""

    def unsubscribe(self, topic_filter: str) -> None:
        """Stop."""

    def send(
        self,
        client_id: str,
        topic: str,
        payload: bytes,
        done: Callable[[bool], None],
        *,
        user_properties: tuple[tuple[str, str], ...] = (),
    ) -> bool:
        """Give a message to one session alone; return False when it cannot take it."""


class DeadLetterKeeper:
    """Keeps the dead letters of all containers of this node."""

    def __init__(
        self, path: Path, letters: int, size_bytes: int, clock: Callable[[], float]
    ) -> None:
        self._store = DeadLetterStore(path, letters, size_bytes)
        self._thread, self._clock = DiskThread("deadletters-disk"), clock
        self._broker: LetterBroker | None = None
        self._waiting: list[tuple[DeadLetter, Message]] = []
        self._waiting_bytes = 0
        self._committing: asyncio.Task[None] | None = None
        self._counts: dict[str, LetterCounts] = {}

    def attach(self, broker: LetterBroker) -> None:
        """Take letters from a broker from now on."""
        self._broker = broker
        broker.subscribe(names.ALL, self._arrived)

    async def load(self) -> None:
        """Read the counts."""
        await self._count()

    async def close(self) -> None:
        """Close the file, after the letters that wait."""
        if self._committing is not None:
            await self._committing
        if self._broker is not None:
            self._broker.unsubscribe(names.ALL)
        await self._thread.run(self._store.close)
        self._thread.close()

    def counts(self, container_id: str) -> LetterCounts:
        """Return how many letters a container has."""
        return self._counts.get(container_id, NO_COUNTS)

    async def letters(self, container_id: str) -> list[DeadLetter]:
        """Return the letters of a container, the oldest first."""
        return await self._run(self._store.of, container_id)

    async def retry(self, container_id: str, number: int) -> DeadLetter:
        """Send a letter to its container alone, and delete it."""
        letter = await self._run(self._store.get, container_id, number)
        if letter is None:
            raise _unknown(container_id, number)
        sent: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        pairs = (
            (names.RETRIED, str(number)),
            (names.TRIES, str(letter.tries)),
            *(((names.RETAIN, "1"),) if letter.retain else ()),
            *letter.pairs,
        )

        def done(ok: bool) -> None:
            if not sent.done():
                sent.set_result(ok)

        name = f"{LOGIN_PREFIX}{container_id}"
        taken = self._broker is not None and self._broker.send(
            name, letter.topic, letter.payload, done, user_properties=pairs
        )
        if not taken:
            raise ConflictError(
                f"cannot retry dead letter {number}: {container_id} takes no message now; "
                f"`hecate start {container_id}` starts it, or wait until it has caught up"
            )
        if not await sent:
            raise StorageError(f"cannot retry dead letter {number}: the broker cannot store it")
        await self._run(self._store.delete, container_id, number)
        await self._count()
        return letter

    async def discard(self, container_id: str, number: int) -> None:
        """Delete a letter."""
        if not await self._run(self._store.delete, container_id, number):
            raise _unknown(container_id, number)
        await self._count()

    async def discard_all(self, container_id: str) -> int:
        """Delete all letters of a container; return how many."""
        cleared = await self._run(self._store.clear, container_id)
        await self._count()
        return cleared

    async def forget(self, container_id: str) -> None:
        """Delete everything about a container that is no more."""
        if container_id in self._counts:
            await self._run(self._store.clear, container_id, forget=True)
            await self._count()

    def _arrived(self, message: Message) -> None:
        letter = _read(message, self._clock())
        if message.hold is not None:
            message.hold.keep()
        if self._waiting_bytes + letter.size_bytes > WAITING_BYTES and self._waiting:
            _settle(message, ok=False)
            return
        self._waiting.append((letter, message))
        self._waiting_bytes += letter.size_bytes
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit(), name="dead letters")

    async def _commit(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await self._run(self._store.add, [letter for letter, _ in batch])
                await self._count()
            except StorageError as exc:
                logger.error("%s", exc)  # noqa: TRY400  # the reason is all there is
                ok = False
            else:
                ok = True
            for letter, message in batch:
                self._waiting_bytes -= letter.size_bytes
                _settle(message, ok=ok)

    async def _count(self) -> None:
        self._counts = await self._run(self._store.counts)

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._thread.run(work, *args, **kwargs)
        except (sqlite3.Error, OSError) as exc:
            raise StorageError(f"cannot keep dead letters: {exc}") from exc


def _read(message: Message, now: float) -> DeadLetter:
    """Return the letter in a message; the container that sent it is not trusted."""
    pairs = message.properties.user_properties
    tries, qos = names.find_pair(pairs, names.TRIES), names.find_pair(pairs, names.QOS)
    return DeadLetter(
        container_id=message.topic.removeprefix(names.ROOT),
        at=now,
        topic=names.find_pair(pairs, names.TOPIC),
        payload=message.payload,
        qos=int(qos) if qos in ("0", "1") else 0,
        retain=names.find_pair(pairs, names.RETAIN) == "1",
        error=names.find_pair(pairs, names.ERROR)[: names.ERROR_LIMIT],
        trace=names.find_pair(pairs, names.TRACE)[: names.TRACE_LIMIT],
        tries=int(tries) if tries.isdecimal() and len(tries) < 10 else 0,
        pairs=names.drop_own_pairs(pairs),
    )


def _settle(message: Message, *, ok: bool) -> None:
    if message.hold is not None:
        (message.hold.release if ok else message.hold.refuse)()


def _unknown(container_id: str, number: int) -> NotFoundError:
    return NotFoundError(f"cannot find dead letter {number} of {container_id}")
