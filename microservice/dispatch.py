"""Runs the handlers of messages.

Theory of operation
-------------------
A worker is a task that handles one message after the other, as long as any can start; so a burst
costs one task, and a handler that needs no waiting costs no switch. A worker without a message is
parked: start() resumes it within the call (mqtt/direct_wakeup.py), so that what its handler
publishes leaves with the answers to the read that brought the message. A worker whose handler has
left something in its context variables ends, so that no message sees those of another. While
handlers run, a sweep looks for those beyond their limit: it cancels them, and ends the process
when one does not end then.

A failed message is tried again by the policy of retry.py. After the last try it becomes a dead
letter; it is acknowledged when the gateway has that.
"""

import asyncio
import contextvars
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from microservice.deliveries import HandlerQueue, QueuedMessage
from microservice.errors import PublishError, PublishSizeError
from microservice.handling import HandlerLimits, ServiceCounters
from microservice.memory import explain_memory, is_out_of_memory
from microservice.message import Message
from microservice.mqtt import dead_letters as names
from microservice.mqtt.current import current_message
from microservice.mqtt.direct_wakeup import DirectWakeup
from microservice.mqtt.failure import (
    HandlerFailure,
    describe_ends,
    describe_error,
    describe_overdue,
    letter_properties,
)
from microservice.mqtt.processes import end_children
from microservice.mqtt.retry import RetryPolicy
from microservice.mqtt.trigger_table import Found, TriggerTable
from microservice.mqtt.unfinished import UnfinishedMessages
from microservice.mqtt.wire import NO_PROPERTIES, FilterOptions, Incoming, MessageProperties
from microservice.triggers.registry import Trigger

logger = logging.getLogger(__name__)

SLICE_S = 0.005  # of a worker whose handlers never wait; then the loop has its turn
PARKED = 16
SWEEP_S = 0.1
END_S = 0.5  # for a cancelled handler to end
LETTER_FIRST_S, LETTER_CAP_S = 1.0, 30.0  # between two tries to give a dead letter to the gateway


class DispatchPorts(Protocol):
    """Sends what the dispatcher has for the gateway."""

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Send PUBACKs."""

    async def publish_dead_letter(self, payload: bytes, properties: MessageProperties) -> None:
        """Return when the gateway keeps it; PublishError when it does not."""

    def give_up(self, why: str) -> None:
        """End the process: a handler cannot be ended."""


@dataclass(slots=True, eq=False)
class _Run:
    """One message in its handlers."""

    delivery: QueuedMessage
    message: Incoming
    found: Found
    at: int = 0  # the trigger to call
    calls: int = 0  # of that trigger's handler
    coroutine: Coroutine[Any, Any, None] | None = None
    task: asyncio.Task[None] | None = None
    limit_s: float = 0.0
    deadline: float = 0.0
    overdue: HandlerFailure | None = None


class Dispatcher:
    """Runs handlers in the order and number that the queue allows; sends acknowledgements."""

    def __init__(  # noqa: PLR0913  # parts are passed, not fetched
        self,
        triggers: Sequence[Trigger],
        deliveries: HandlerQueue,
        counters: ServiceCounters,
        limits: HandlerLimits,
        retry: RetryPolicy,
        code: Path,
        ports: DispatchPorts,
        unfinished: UnfinishedMessages | None = None,
    ) -> None:
        self._triggers = TriggerTable(triggers)
        self._deliveries, self._counters, self._limits = deliveries, counters, limits
        self._retry, self._code, self._ports = retry, code, ports
        self._unfinished = unfinished or UnfinishedMessages()
        self._context = contextvars.copy_context()
        self._runs: dict[QueuedMessage, _Run] = {}  # running and paused
        self._workers: set[asyncio.Task[None]] = set()
        self._parked: list[DirectWakeup[QueuedMessage]] = []  # workers, up to PARKED
        self._idle = asyncio.Event()
        self._idle.set()
        self._sweep: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None

    def filters(self, *, echo: bool = False) -> dict[str, FilterOptions]:
        """Return the topic filters of all triggers with their options."""
        return self._triggers.filters(echo=echo)

    def arrived(self, message: Incoming) -> None:
        """Queue a message from the broker, for start()."""
        found = self._triggers.find(message.topic)
        width = min([each.concurrency for each, _ in found], default=1)
        taken = self._deliveries.arrive(
            message, message.packet_id, again=message.duplicate, width=width
        )
        if taken:
            if message.duplicate:  # it may be done already
                self._acknowledge()
            return
        if not self._counters.dropped:
            logger.warning("messages arrive faster than handlers finish: some are dropped")
        self._counters.dropped += 1

    def start(self) -> None:
        """Start the handlers of queued messages, as many as may run."""
        self._pump()

    def connected(self, *, session_present: bool) -> None:
        """Note a new connection."""
        self._deliveries.connected(session_present=session_present)

    def disconnected(self) -> None:
        """Forget the messages that the broker will send again."""
        self._deliveries.disconnected()

    def hold(self) -> None:
        """Start no handler from now on."""
        self._deliveries.hold()

    def release(self) -> None:
        """Start the handlers of waiting messages."""
        self._deliveries.release()
        self._pump()

    async def settle(self, limit_s: float) -> None:
        """Return when no handler runs any more, or after limit_s."""
        try:
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
        except TimeoutError:
            logger.warning("%d handlers are still running", self._deliveries.running)

    def close(self) -> None:
        """End the workers that are parked."""
        while self._parked:
            self._parked.pop().cancel()

    # Workers -----------------------------------------------------------------------------------

    def _pump(self) -> None:
        now = asyncio.get_running_loop().time()
        while (delivery := self._deliveries.take_start(now)) is not None:
            self._idle.clear()
            if self._parked and asyncio.current_task() is None:
                self._parked.pop().wake(delivery)
                continue
            worker = asyncio.create_task(self._work(delivery), context=self._context.copy())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        self._watch()

    def _watch(self) -> None:
        """Look again at the end of the next pause, and at handlers beyond their limit."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._deliveries.deadline is not None:
            self._timer = loop.call_at(self._deliveries.deadline, self._pump)
        if self._sweep is None and self._deliveries.running:
            self._sweep = loop.call_later(SWEEP_S, self._end_overdue)

    async def _work(self, delivery: QueuedMessage) -> None:
        loop, deliveries = asyncio.get_running_loop(), self._deliveries
        task, clean = asyncio.current_task(), contextvars.copy_context()
        wakeup: DirectWakeup[QueuedMessage] = DirectWakeup(loop)
        began = loop.time()
        while True:
            run = self._runs.get(delivery)
            if run is None:
                message = cast("Incoming", delivery.message)
                run = self._runs[delivery] = _Run(
                    delivery, message, self._triggers.find(message.topic)
                )
            run.task = task
            # speed: without a coroutine around it
            await (self._call_all if not run.message.duplicate else self._handle_again)(run)
            self._acknowledge()
            now = loop.time()
            if now - began > SLICE_S:
                await asyncio.sleep(0)
                began = now = loop.time()
            if contextvars.copy_context() != clean:
                break
            following = deliveries.take_start(now)
            if following is None:
                if len(self._parked) >= PARKED:
                    break
                self._note_end()
                self._watch()
                self._parked.append(wakeup)
                following = await wakeup
                began = loop.time()
            delivery = following
        self._note_end()
        self._pump()

    def _note_end(self) -> None:
        if not self._deliveries.running:
            self._idle.set()

    def _acknowledge(self) -> None:
        packet_ids = self._deliveries.take_acks()
        if packet_ids:
            self._ports.acknowledge(packet_ids)

    async def _handle_again(self, run: _Run) -> None:
        """Call the handlers of a message that may have ended a process."""
        ends = self._unfinished.begin(run.message)
        try:
            if run.found and ends >= max(1, self._retry.tries):
                self._counters.failed += 1
                run.calls = ends
                await self._bury(run, describe_ends(ends))
                run.at = len(run.found)
            await self._call_all(run)
        finally:
            if run.delivery in self._runs:
                self._unfinished.pause(run.message)
            else:
                self._unfinished.finish(run.message)

    async def _call_all(self, run: _Run) -> None:
        """Call the handlers of a message from where it is, until it is done or paused."""
        token = current_message.set(run.message)
        try:
            while run.at < len(run.found):
                failure = await self._call(run, *run.found[run.at])
                if failure is None:
                    run.at, run.calls = run.at + 1, 0
                    continue
                if not await self._fail(run, failure):
                    return
                run.at, run.calls = run.at + 1, 0
            if not run.found and names.find_pair(run.message.properties.user, names.RETRIED):
                await self._bury(
                    run, HandlerFailure("LookupError: no handler is registered for the topic")
                )
            del self._runs[run.delivery]
            self._deliveries.finish(run.delivery)
        finally:
            current_message.reset(token)

    async def _call(
        self, run: _Run, trigger: Trigger, levels: dict[str, str]
    ) -> HandlerFailure | None:
        """Call one handler; return why it failed, None when it has not."""
        run.calls += 1
        run.overdue = None
        run.limit_s = trigger.limit_s or self._limits.handler_s
        run.deadline = asyncio.get_running_loop().time() + run.limit_s
        handling = trigger.handler(make_message(run.message, levels))
        run.coroutine = cast("Coroutine[Any, Any, None]", handling)
        failure: HandlerFailure | None = None
        try:
            await run.coroutine
        except asyncio.CancelledError as exc:
            if run.overdue is None:
                if run.task is None or run.task.cancelling():
                    raise  # the process ends
                failure = describe_error(exc, self._code)  # its awaitable was cancelled
        except (Exception, SystemExit) as exc:  # noqa: BLE001  # sys.exit() ends no service
            failure = self._describe(exc)
        finally:
            run.coroutine = None
        if run.overdue is not None and run.task is not None:
            run.task.uncancel()
            return run.overdue
        if failure is None:
            self._counters.handled += 1
        return failure

    def _describe(self, exc: BaseException) -> HandlerFailure:
        failure = describe_error(exc, self._code)
        if is_out_of_memory(exc):
            why = explain_memory(self._limits.memory_mib, exc)
            return HandlerFailure(f"{type(exc).__name__}: {why}", failure.trace)
        return failure

    async def _fail(self, run: _Run, failure: HandlerFailure) -> bool:
        """Pause a message before its next try (False), or make it a dead letter (True)."""
        trigger = run.found[run.at][0]
        tries = self._retry.tries if trigger.tries is None else trigger.tries
        delay_s = self._retry.delay_s(run.calls, tries)
        logger.error(
            "cannot handle message on %s (try %d of %d): %s",
            run.message.topic, run.calls, tries, f"{failure.error}\n{failure.trace}".rstrip(),
        )  # fmt: skip
        if delay_s is not None:
            self._counters.retried += 1
            now = asyncio.get_running_loop().time()
            self._deliveries.pause(run.delivery, now + delay_s)
            return False
        self._counters.failed += 1
        await self._bury(run, failure)
        return True

    async def _bury(self, run: _Run, failure: HandlerFailure) -> None:
        """Give a message to the gateway as a dead letter; return when the gateway has it."""
        properties = letter_properties(run.message, failure, run.calls)
        delay_s = LETTER_FIRST_S
        while True:
            try:
                await self._ports.publish_dead_letter(run.message.payload, properties)
            except PublishSizeError as exc:
                if failure.trace:  # the log has it, too
                    failure = HandlerFailure(failure.error)
                    properties = letter_properties(run.message, failure, run.calls)
                    continue
                logger.error("%s; the message on %s is lost", exc, run.message.topic)  # noqa: TRY400
                self._counters.dropped += 1
                return
            except PublishError as exc:
                logger.warning("%s; the message on %s waits", exc, run.message.topic)
            else:
                self._counters.dead += 1
                return
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, LETTER_CAP_S)

    # Limits ------------------------------------------------------------------------------------

    def _end_overdue(self) -> None:
        loop = asyncio.get_running_loop()
        now, self._sweep = loop.time(), None
        for run in self._runs.values():
            if run.coroutine is None or run.task is None or run.deadline > now:
                continue
            if run.overdue is not None:
                self._ports.give_up(
                    f"the handler of {run.message.topic} does not end: {run.overdue.error}"
                )
                return
            run.overdue = describe_overdue(run.coroutine, run.limit_s, self._code)
            self._counters.overdue += 1
            run.task.cancel()
            loop.run_in_executor(None, end_children, run.deadline - run.limit_s)
            run.deadline = now + END_S
        self._watch()


def make_message(message: Incoming, levels: dict[str, str]) -> Message:
    """Return a message as its handler sees it."""
    properties = message.properties
    retain = message.retain
    if properties is not NO_PROPERTIES and not retain:
        retain = names.find_pair(properties.user, names.RETAIN) == "1"  # a retried one
    return Message(
        topic=message.topic,
        payload=message.payload,
        qos=message.qos,
        retain=retain,
        duplicate=message.duplicate,
        levels=levels,
        user_properties=names.drop_own_pairs(properties.user) if properties.user else (),
        content_type=properties.content_type,
        response_topic=properties.response_topic,
        correlation=properties.correlation,
        expiry_s=properties.expiry_s,
    )
