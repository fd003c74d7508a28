"""Subscribes in the cloud and hands on what comes down.

Requests of the SEP must be heard, or the link is of no use. A filter of a topic rule that the
cloud does not take is only named: it may keep neither the other rules nor the SEP away.
"""

import logging
import time
from collections.abc import Callable
from functools import partial

from broker import LocalClient
from gateway.errors import CloudRefused, UplinkLost
from gateway.uplink.connection import CloudConnection
from gateway.uplink.inbound import CloudMessage, InboundMessages
from gateway.uplink.limits import find_filter_fault
from gateway.uplink.rules import Rules
from protocol.mqtt_limits import MqttLimits
from protocol.topics import downlinked, sep_request

logger = logging.getLogger(__name__)

BREAKS = 2
AGAIN_S = 600.0  # until a filter that broke the connection is tried again


class Downlinks:
    """Knows what this node wants from the cloud, and what it does not get."""

    def __init__(
        self,
        node_id: str,
        rules: Rules,
        local: LocalClient,
        on_request: Callable[[bytes], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._broke_at = clock, 0.0
        self._node_id, self._rules, self._local = node_id, rules, local
        self._on_request = on_request
        self._breaks: dict[str, int] = {}
        self.denied: dict[str, str] = {}  # local filters of rules, and why
        self._intake: InboundMessages | None = None  # of the connection there is

    def begin(self, acknowledge: Callable[[int], None]) -> Callable[[CloudMessage], None]:
        """Return what takes the messages of a new connection."""
        self.end()
        self._intake = intake = InboundMessages(self._local, acknowledge)
        return partial(self._take, intake)

    def end(self) -> None:
        """Acknowledge nothing more: the connection has ended."""
        if self._intake is not None:
            self._intake.close()
            self._intake = None

    async def subscribe(self, connection: CloudConnection, limits: MqttLimits) -> None:
        """Subscribe to all; Refused when the cloud does not let this node have its requests."""
        (why,) = await connection.subscribe([sep_request(self._node_id, "+")])
        if why:
            raise CloudRefused(f"cannot subscribe in the cloud: {why}")
        denied: dict[str, str] = {}
        wanted: list[str] = []
        is_again = self._clock() - self._broke_at >= AGAIN_S
        for rule in self._rules.down:
            fault = find_filter_fault(limits, downlinked(self._node_id, rule.filter))
            if not fault and self._breaks.get(rule.filter, 0) >= BREAKS and not is_again:
                fault = "it broke the connection"
            if fault:
                denied[rule.filter] = fault
            else:
                wanted.append(rule.filter)
        # after a break one by one, to see which it is
        together = [[each] for each in wanted] if self._breaks else [wanted]
        for filters in together:
            if filters:
                denied |= await self._ask(connection, filters)
        self._tell(denied)

    def _take(self, intake: InboundMessages, message: CloudMessage) -> None:
        topic = message.topic
        if topic.startswith("$hec/sep/"):
            intake.accept(message)
            self._on_request(message.payload)
            return
        route = self._rules.route_down(topic.removeprefix(downlinked(self._node_id, "")))
        if route is None:  # of a rule that is no more: the session in the cloud knows it still
            logger.warning("no rule for %.120s from the cloud", topic)
            intake.accept(message)
            return
        rule, name = route
        intake.forward(name, rule.qos, message)

    async def _ask(self, connection: CloudConnection, filters: list[str]) -> dict[str, str]:
        whole = [downlinked(self._node_id, each) for each in filters]
        try:
            reasons = await connection.subscribe(whole)
        except UplinkLost:
            self._broke_at = self._clock()
            for each in filters:
                self._breaks[each] = self._breaks.get(each, 0) + 1
            raise
        for each in filters:
            self._breaks.pop(each, None)
        return {each: why for each, why in zip(filters, reasons, strict=True) if why}

    def _tell(self, denied: dict[str, str]) -> None:
        for topic_filter, why in denied.items():
            if self.denied.get(topic_filter) != why:
                logger.warning('the cloud denies topic rule "%.120s" (down): %s', topic_filter, why)
        self.denied = denied
