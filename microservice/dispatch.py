"""Runs the handlers of messages."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from microservice.deliveries import HandlerQueue, QueuedMessage
from microservice.handling import HandlerLimits, ServiceCounters
from microservice.memory import explain_memory, is_out_of_memory
from microservice.message import Message
from microservice.template import topic_filter
from microservice.triggers.registry import Trigger

logger = logging.getLogger(__name__)

TRIES = 2  # a handler that raises runs once more


class Dispatcher:
    """Runs handlers in the order and number that the queue allows; sends acknowledgements."""

    def __init__(
        self,
        triggers: Sequence[Trigger],
        deliveries: HandlerQueue,
        counters: ServiceCounters,
        limits: HandlerLimits,
        acknowledge: Callable[[int], None],
    ) -> None:
        self._triggers = tuple(triggers)
        self._deliveries, self._counters, self._limits = deliveries, counters, limits
        self._acknowledge = acknowledge  # takes a packet id
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def filters(self) -> dict[str, int]:
        """Return the topic filters of all triggers with their QoS."""
        filters: dict[str, int] = {}
        for trigger in self._triggers:
            topic = topic_filter(trigger.template)
            filters[topic] = max(trigger.qos, filters.get(topic, 0))
        return filters

    def arrived(self, message: Message, packet_id: int) -> None:
        """Queue a message from the broker."""
        if self._deliveries.arrive(message, packet_id):
            self._pump()
            return
        if not self._counters.dropped:
            logger.warning("messages arrive faster than handlers finish: some are dropped")
        self._counters.dropped += 1

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

    def _pump(self) -> None:
        for delivery in self._deliveries.take_starts():
            self._idle.clear()
            task = asyncio.create_task(self._deliver(delivery))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        for packet_id in self._deliveries.take_acks():
            self._acknowledge(packet_id)
        if not self._deliveries.running:
            self._idle.set()

    async def _deliver(self, delivery: QueuedMessage) -> None:
        levels = delivery.message.topic.split("/")
        try:
            for trigger in self._triggers:
                found = trigger.template.match(levels)
                if found is not None:
                    await self._handle(trigger, replace(delivery.message, levels=found))
        finally:
            self._deliveries.finish(delivery)
            self._pump()

    async def _handle(self, trigger: Trigger, message: Message) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                async with asyncio.timeout(self._limits.handler_s):
                    await trigger.handler(message)
            except Exception as exc:
                logger.exception(
                    "cannot handle message on %s (try %d of %d)", message.topic, attempt, TRIES
                )
                if is_out_of_memory(exc):
                    logger.error("%s", explain_memory(self._limits.memory_mib))  # noqa: TRY400  # the trace is above
            else:
                self._counters.handled += 1
                return
        self._counters.failed += 1
