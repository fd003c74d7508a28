"""Subscribes at the cloud's broker and forwards its messages to the local side.

A link without the subscription to SEP requests is closed. A topic filter that the cloud refuses is
logged and shown in the status; the SEP and the other rules work without it.
"""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from broker import LocalClient
from gateway.errors import CloudRefused, UplinkLost
from gateway.uplink.inbound import CloudMessage, InboundMessages
from gateway.uplink.limits import find_filter_fault
from gateway.uplink.rules import Rules
from protocol.mqtt_limits import MqttLimits
from protocol.topics import downlinked, sep_request

if TYPE_CHECKING:  # it brings the MQTT client
    from gateway.uplink.connection import CloudConnection

logger = logging.getLogger(__name__)

BREAKS = 2
RETRY_S = 600.0  # until a filter that broke the connection is tried again


class Downlinks:
    """The subscriptions of this node in the cloud, and the filters that the cloud refuses."""

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
        self._inbound: InboundMessages | None = None  # of the present connection
        self._connection: CloudConnection | None = None

    def begin(self, connection: "CloudConnection") -> None:
        """Take messages of a new connection, and of no other."""
        self.end()
        self._connection = connection
        self._inbound = InboundMessages(self._local, connection.acknowledge)

    def end(self) -> None:
        """Acknowledge nothing more: the connection has ended."""
        if self._inbound is not None:
            self._inbound.close()
            self._inbound = self._connection = None

    def take(self, connection: "CloudConnection", message: CloudMessage) -> None:
        """Take a message; one of an earlier connection is ignored, the cloud sends it again."""
        if self._inbound is not None and connection is self._connection:
            self._take(self._inbound, message)

    async def subscribe(self, connection: "CloudConnection", limits: MqttLimits) -> None:
        """Subscribe to all filters; CloudRefused when the cloud refuses the one of SEP requests."""
        (why,) = await connection.subscribe([sep_request(self._node_id, "+")])
        if why:
            raise CloudRefused(f"cannot subscribe in the cloud: {why}")
        denied: dict[str, str] = {}
        wanted: list[str] = []
        is_retry = self._clock() - self._broke_at >= RETRY_S
        for rule in self._rules.down:
            fault = find_filter_fault(limits, downlinked(self._node_id, rule.filter))
            if not fault and self._breaks.get(rule.filter, 0) >= BREAKS and not is_retry:
                fault = "it broke the connection"
            if fault:
                denied[rule.filter] = fault
            else:
                wanted.append(rule.filter)
        # one by one after a break, to find the filter that causes it
        batches = [[each] for each in wanted] if self._breaks else [wanted]
        for filters in batches:
            if filters:
                denied |= await self._request(connection, filters)
        self._note_denied(denied)

    def _take(self, inbound: InboundMessages, message: CloudMessage) -> None:
        topic = message.topic
        if topic.startswith("$hec/sep/"):
            inbound.accept(message)
            self._on_request(message.payload)
            return
        route = self._rules.route_down(topic.removeprefix(downlinked(self._node_id, "")))
        if route is None:  # the session in the cloud still has the filter of a deleted rule
            logger.warning("ignored %.120s from the cloud: no topic rule matches it", topic)
            inbound.accept(message)
            return
        rule, name = route
        inbound.forward(name, rule.qos, message)

    async def _request(self, connection: "CloudConnection", filters: list[str]) -> dict[str, str]:
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

    def _note_denied(self, denied: dict[str, str]) -> None:
        for topic_filter, why in denied.items():
            if self.denied.get(topic_filter) != why:
                logger.warning('the cloud denies topic rule "%.120s" (down): %s', topic_filter, why)
        self.denied = denied
