"""Handlers that raise, hang, and leave things behind."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from microservice import Message, Service
from microservice.deliveries import HandlerQueue
from microservice.dispatch import Dispatcher
from microservice.errors import PublishError, PublishSizeError
from microservice.handling import HandlerLimits, ServiceCounters
from microservice.mqtt import dead_letters as names
from microservice.mqtt.retry import RetryPolicy
from microservice.mqtt.wire import FilterOptions, Incoming, MessageProperties
from tests.aio import until


class Bench:
    """A dispatcher and what it sends."""

    def __init__(self, service: Service, tries: int = 2, handler_s: float = 30.0) -> None:
        self.acks: list[int] = []
        self.letters: list[tuple[bytes, MessageProperties]] = []
        self.refusals: list[PublishError] = []
        self.reasons: list[str] = []
        self.counters = ServiceCounters()
        self.dispatcher = Dispatcher(
            service.triggers.messages,
            HandlerQueue(4, 100),
            self.counters,
            HandlerLimits(handler_s, 64),
            RetryPolicy(tries, 0.01, 0.02),
            Path(__file__).parent,
            self,
        )
        self._last = 0

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        self.acks += packet_ids

    async def publish_dead_letter(self, payload: bytes, properties: MessageProperties) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.letters.append((payload, properties))

    def give_up(self, why: str) -> None:
        self.reasons.append(why)

    def send(self, topic: str, payload: bytes = b"", *pairs: tuple[str, str]) -> None:
        self._last += 1
        properties = MessageProperties(pairs)
        self.dispatcher.arrived(Incoming(topic, payload, 1, False, False, self._last, properties))
        self.dispatcher.start()

    def pair(self, name: str, letter: int = 0) -> str:
        return names.find_pair(self.letters[letter][1].user, name)


def run(play: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await play()

    asyncio.run(main())


def test_only_the_handler_that_failed_is_called_again() -> None:
    async def play() -> None:
        service, calls = Service(), []

        @service.on("a")
        async def good(_: Message) -> None:
            calls.append("good")

        @service.on("a", tries=4)
        async def bad(_: Message) -> None:
            calls.append("bad")
            raise ValueError("no")

        @service.on("#")
        async def after(_: Message) -> None:
            calls.append("after")

        bench = Bench(service)
        bench.send("a", b"\x00\xff")
        await until(lambda: bench.acks == [1])
        assert calls == ["good", "bad", "bad", "bad", "bad", "after"]
        assert [payload for payload, _ in bench.letters] == [b"\x00\xff"]
        assert bench.pair(names.ERROR).startswith("ValueError: no (test_dispatch.py, line ")
        assert bench.pair(names.TRIES) == "4"
        assert (bench.counters.retried, bench.counters.failed, bench.counters.dead) == (3, 1, 1)

    run(play)


def test_a_handler_whose_work_is_cancelled_elsewhere_has_failed() -> None:
    async def play() -> None:
        service = Service()

        @service.on("a", tries=1)
        async def waits(_: Message) -> None:
            other = asyncio.ensure_future(asyncio.sleep(60))
            asyncio.get_running_loop().call_soon(other.cancel)
            await other

        bench = Bench(service)
        bench.send("a")
        bench.send("a")
        await until(lambda: bench.acks == [1, 2])
        assert bench.pair(names.ERROR).startswith("CancelledError")

    run(play)


def test_a_message_is_not_acknowledged_before_the_gateway_keeps_it() -> None:
    async def play() -> None:
        service = Service()

        @service.on("a", tries=1)
        async def bad(_: Message) -> None:
            raise ValueError("no")

        bench = Bench(service)
        bench.refusals = [PublishError("quota exceeded")]
        bench.send("a")
        await until(lambda: not bench.refusals)
        assert bench.acks == []
        await until(lambda: bench.acks == [1])
        assert len(bench.letters) == 1
        bench.refusals = [PublishSizeError("too large"), PublishSizeError("too large")]
        bench.send("a")
        await until(lambda: bench.acks == [1, 2])
        assert bench.counters.dropped == 1
        assert len(bench.letters) == 1

    run(play)


def test_a_dead_letter_that_is_too_large_leaves_its_trace_out() -> None:
    async def play() -> None:
        service = Service()

        @service.on("a", tries=1)
        async def bad(_: Message) -> None:
            raise ValueError("no")

        bench = Bench(service)
        bench.refusals = [PublishSizeError("too large")]
        bench.send("a", b"payload")
        await until(lambda: bench.acks == [1])
        assert bench.letters[0][0] == b"payload"
        assert bench.pair(names.ERROR).startswith("ValueError: no (test_dispatch.py, line ")
        assert bench.pair(names.TRACE) == ""
        assert (bench.counters.dropped, bench.counters.dead) == (0, 1)

    run(play)


def test_a_handler_is_ended_at_the_limit_of_its_trigger() -> None:
    async def play() -> None:
        service, ends = Service(), []

        @service.on("a", limit_s=0.05, tries=1)
        async def hangs(message: Message) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ends.append(message.payload)

        @service.on("b", limit_s=0.05, tries=1)
        async def swallows(message: Message) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ends.append(message.payload)

        bench = Bench(service)
        bench.send("a", b"1")
        bench.send("b", b"2")
        await until(lambda: sorted(bench.acks) == [1, 2])
        assert sorted(ends) == [b"1", b"2"]
        for letter in (0, 1):
            error = bench.pair(names.ERROR, letter)
            assert error.startswith("TimeoutError: it was ended at its limit of 0.05 s (test_disp")
        assert bench.counters.overdue == 2
        assert bench.counters.handled == 0

    run(play)


def test_a_handler_that_cannot_be_ended_is_reported() -> None:
    async def play() -> None:
        service, over = Service(), asyncio.Event()

        @service.on("a", limit_s=0.05, tries=1)
        async def stubborn(_: Message) -> None:
            while not over.is_set():
                try:
                    await over.wait()
                except asyncio.CancelledError:
                    continue

        bench = Bench(service)
        bench.send("a")
        await until(lambda: bench.reasons)
        assert "the handler of a does not end" in bench.reasons[0]
        over.set()
        await until(lambda: bench.acks == [1])

    run(play)


def test_a_handler_sees_no_context_of_the_message_before() -> None:
    async def play() -> None:
        service, seen = Service(), []
        mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="")

        @service.on("#")
        async def sets(message: Message) -> None:
            seen.append(mark.get())
            mark.set(message.topic)

        bench = Bench(service)
        bench.dispatcher.hold()
        for number in range(20):
            bench.send(f"t/{number}")
        bench.dispatcher.release()
        await until(lambda: len(bench.acks) == 20)
        assert seen == [""] * 20

    run(play)


def test_handlers_that_never_wait_leave_the_loop_its_turns() -> None:
    async def play() -> None:
        service = Service()
        turns, at_start = 0, []

        def turn() -> None:
            nonlocal turns
            turns += 1
            asyncio.get_running_loop().call_soon(turn)

        @service.on("#")
        async def burns(_: Message) -> None:
            at_start.append(turns)
            until_then = asyncio.get_running_loop().time() + 0.006
            while asyncio.get_running_loop().time() < until_then:
                pass

        bench = Bench(service)
        asyncio.get_running_loop().call_soon(turn)
        for _ in range(5):
            bench.send("a")
        await until(lambda: len(bench.acks) == 5)
        assert len(set(at_start)) == 5

    run(play)


def test_a_retried_letter_without_a_handler_is_a_dead_letter_again() -> None:
    async def play() -> None:
        service = Service()
        bench = Bench(service)
        bench.send("old")
        bench.send("old", b"x", (names.RETRIED, "5"), (names.TRIES, "3"), ("unit", "C"))
        await until(lambda: bench.acks == [1, 2])
        assert len(bench.letters) == 1
        assert bench.pair(names.ERROR) == "LookupError: no handler is registered for the topic"
        assert bench.pair(names.TRIES) == "3"
        assert bench.pair("unit") == "C"
        assert bench.pair(names.RETRIED) == ""

    run(play)


def test_triggers_of_one_filter_share_a_subscription() -> None:
    async def play() -> None:
        service = Service()

        async def handler(_: Message) -> None: ...

        service.on("a/{x}", qos=0, retained="never")(handler)
        service.on("a/+", retained="all", echo=True)(handler)
        service.on("b")(handler)
        filters = Bench(service).dispatcher.filters()
        assert filters == {
            "a/+": FilterOptions(1, no_local=False, retain_handling=0),
            "b": FilterOptions(1, no_local=True, retain_handling=1),
        }
        assert Bench(service).dispatcher.filters(echo=True)["b"].no_local is False

    run(play)
