import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from broker import Hold, Message, Properties
from gateway.services.deadletters import DeadLetterKeeper
from gateway.services.deadletters.keeper import WAITING_BYTES
from gateway.services.errors import ConflictError, NotFoundError, StorageError
from microservice.mqtt import dead_letters as names
from tests.aio import until

Done = Callable[[bool], None]


class Broker:
    """A client inside a broker."""

    def __init__(self) -> None:
        self.handler: Callable[[Message], None] = lambda _: None
        self.sent: list[tuple[str, str, bytes, tuple[tuple[str, str], ...]]] = []
        self.takes, self.stores = True, True

    def subscribe(self, topic_filter: str, handler: Callable[[Message], None]) -> None:
        assert topic_filter == "$hec/deadletters/+"
        self.handler = handler

    def unsubscribe(self, topic_filter: str) -> None:
        assert topic_filter == "$hec/deadletters/+"

    def send(
        self,
        client_id: str,
        topic: str,
        payload: bytes,
        done: Done,
        *,
        user_properties: tuple[tuple[str, str], ...] = (),
    ) -> bool:
        if self.takes:
            self.sent.append((client_id, topic, payload, user_properties))
            asyncio.get_running_loop().call_soon(done, self.stores)
        return self.takes

    def bury(self, payload: bytes = b"p", **pairs: str) -> list[bool]:
        """Publish a dead letter of container a; return its answers."""
        answers: list[bool] = []
        hold = Hold(answers.append)
        hold.keep()
        user = tuple((f"hec-{name}", value) for name, value in pairs.items())
        properties = Properties(user_properties=(*user, ("unit", "C")))
        self.handler(Message("$hec/deadletters/a", payload, 1, properties=properties, hold=hold))
        hold.release()
        return answers


def run(folder: Path, play: Callable[[DeadLetterKeeper, Broker], "asyncio.Future[None]"]) -> None:
    async def main() -> None:
        keeper, broker = DeadLetterKeeper(folder / "d.db", 100, 1_000_000, lambda: 5.0), Broker()
        keeper.attach(broker)
        await keeper.load()
        try:
            await play(keeper, broker)
        finally:
            await keeper.close()

    asyncio.run(main())


def test_a_letter_is_acknowledged_when_it_is_stored(tmp_path: Path) -> None:
    async def play(keeper: DeadLetterKeeper, broker: Broker) -> None:
        answers = broker.bury(topic="t/1", qos="1", retain="1", error="E", trace="T", tries="3")
        assert answers == []
        await until(lambda: answers == [True])
        (letter,) = await keeper.letters("a")
        assert (letter.topic, letter.qos, letter.retain, letter.tries) == ("t/1", 1, True, 3)
        assert letter.pairs == (("unit", "C"),)
        assert keeper.counts("a").kept == 1

    run(tmp_path, play)  # type: ignore[arg-type]  # a coroutine function


def test_what_a_container_must_not_say_does_no_harm(tmp_path: Path) -> None:
    async def play(keeper: DeadLetterKeeper, broker: Broker) -> None:
        answers = broker.bury(topic="", qos="9", retain="x", error="e" * 9_000, tries="9" * 99)
        await until(lambda: answers == [True])
        (letter,) = await keeper.letters("a")
        assert (letter.qos, letter.retain, letter.tries) == (0, False, 0)
        assert len(letter.error) == names.ERROR_LIMIT

    run(tmp_path, play)  # type: ignore[arg-type]


def test_a_burst_beyond_the_bound_is_refused_and_nothing_else(tmp_path: Path) -> None:
    async def play(keeper: DeadLetterKeeper, broker: Broker) -> None:
        assert keeper.counts("a").kept == 0
        size = WAITING_BYTES // 4
        answers = [broker.bury(b"x" * size, topic="t") for _ in range(8)]
        await until(lambda: all(answers))
        assert answers == [[True]] * 3 + [[False]] * 5
        answers = [broker.bury(topic="t")]
        await until(lambda: answers == [[True]])

    run(tmp_path, play)  # type: ignore[arg-type]


def test_a_retried_letter_goes_to_its_container_and_is_deleted(tmp_path: Path) -> None:
    async def play(keeper: DeadLetterKeeper, broker: Broker) -> None:
        answers = broker.bury(topic="t/1", retain="1", tries="3")
        await until(lambda: answers == [True])
        broker.takes = False
        with pytest.raises(ConflictError, match="hecate start a"):
            await keeper.retry("a", 1)
        broker.takes, broker.stores = True, False
        with pytest.raises(StorageError):
            await keeper.retry("a", 1)
        assert keeper.counts("a").kept == 1
        broker.stores = True
        broker.sent.clear()
        await keeper.retry("a", 1)
        (sent,) = broker.sent
        assert sent == (
            "container:a", "t/1", b"p",
            (("hec-deadletter", "1"), ("hec-tries", "3"), ("hec-retain", "1"), ("unit", "C")),
        )  # fmt: skip
        assert keeper.counts("a").kept == 0
        with pytest.raises(NotFoundError):
            await keeper.retry("a", 1)
        with pytest.raises(NotFoundError):
            await keeper.discard("a", 1)

    run(tmp_path, play)  # type: ignore[arg-type]


def test_a_disk_that_takes_nothing_refuses_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(keeper: DeadLetterKeeper, broker: Broker) -> None:
        def fail(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(keeper._store, "add", fail)
        answers = broker.bury(topic="t")
        await until(lambda: answers == [False])
        assert "cannot keep dead letters: database or disk is full" in caplog.text
        monkeypatch.undo()
        answers = broker.bury(topic="t")
        await until(lambda: answers == [True])

    run(tmp_path, play)  # type: ignore[arg-type]
