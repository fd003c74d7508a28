"""Forwards messages of this node from the local broker through the spool to the cloud.

A message that the cloud refuses is set aside: by the announced limits before it is stored or sent,
by a reason code, or because it broke the connection twice (poison.py). None of that affects the
local side, nor does a full or broken spool: the local broker delivers each message in any case.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from broker import Message
from gateway.errors import UplinkLost
from gateway.spool.spool import Spool
from gateway.spool.values import SpoolEntry
from gateway.uplink.endpoint import PUBACK_WINDOW
from gateway.uplink.limits import HEADER_BYTES, find_fault
from gateway.uplink.poison import PoisonDetector
from gateway.uplink.rules import TopicRule
from gateway.uplink.window import SendWindow, SentEntry
from protocol.mqtt_limits import MqttLimits
from protocol.topics import uplinked

if TYPE_CHECKING:  # it brings the MQTT client
    from gateway.uplink.connection import CloudConnection, ConnectionEnd

logger = logging.getLogger(__name__)

READ_BATCH = 128
WINDOW_BYTES = 4 * 1024 * 1024  # of unacknowledged messages, in memory
UNSENT_LIMIT = 1000  # QoS 0 messages and SEP answers that wait for the socket
UNSENT_BYTES = 16 * 1024 * 1024
QUOTA_EXCEEDED = 0x97


class Forwarder:
    """Tracks each message until the cloud has acknowledged it or it is set aside."""

    def __init__(
        self, node_id: str, spool: Spool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._node_id, self._spool, self._clock = node_id, spool, clock
        self.limits = MqttLimits()  # of the cloud, as announced last
        self._window = SendWindow(PUBACK_WINDOW, WINDOW_BYTES)
        self._poison = PoisonDetector()
        self._connection: CloudConnection | None = None
        self._wake = asyncio.Event()
        self._pause = ""  # the reason to close now and try again later
        self.has_settled = False  # a message of the spool, on this connection
        spool.add_stored_listener(self._wake.set)

    def take(self, rule: TopicRule, name: str, message: Message) -> None:
        """Take a local message that a rule forwards under a name."""
        fault = find_fault(self.limits, self._node_id, name, len(message.payload))
        if fault:
            self._spool.put_aside(name, message.payload, fault, retain=message.retain)
            return
        if rule.qos == 0:
            self._send_now(name, message)
            return
        hold = message.hold
        if hold is None:
            self._spool.append(name, message.payload, _ignore, retain=message.retain)
            return
        hold.keep()
        self._spool.append(
            name,
            message.payload,
            lambda stored: hold.release() if stored else hold.decline(),
            retain=message.retain,
        )

    def send_answer(self, topic: str, payload: bytes) -> None:
        """Send an answer of the SEP now; drop it without a connection."""
        size = HEADER_BYTES + len(topic) + len(payload)
        if size > self.limits.packet_bytes:
            logger.warning(
                "cannot answer over the SEP: %d bytes, more than the cloud accepts", size
            )
            return
        connection = self._ready()
        if connection is not None:
            connection.publish(topic, payload, qos=0)

    def prepare(self) -> None:
        """Prepare for an attempt: no message has been settled on its connection."""
        self.has_settled = False

    def begin(self, connection: "CloudConnection", limits: MqttLimits) -> None:
        """Send on an open connection, within the limits that the cloud announces."""
        server = connection.server
        if server.packet_bytes:
            packet_bytes = min(limits.packet_bytes, server.packet_bytes)
            limits = replace(limits, packet_bytes=packet_bytes)
        self.limits = limits
        size = min(PUBACK_WINDOW, server.receive_maximum)
        self._window = SendWindow(size, WINDOW_BYTES, cursor=self._window.watermark)
        self._poison.begin()
        self._pause, self.has_settled = "", False
        self._connection = connection

    def end(self, closed: "ConnectionEnd | None") -> None:
        """Stop the use of the connection; None stands for an end by this node."""
        if self._connection is None:
            return
        self._connection = None
        if closed is None or not closed.by_peer:
            return
        found = self._poison.broke(self._window.unsettled(), closed.reason, self._clock())
        if found is not None:
            self._set_aside(found.row_id, found.topic, f"broke the connection: {closed.why}")

    async def run(self) -> None:
        """Send the messages of the spool, oldest first, within the window."""
        while True:
            self._wake.clear()
            if self._pause:
                raise UplinkLost(self._pause)
            count, window = self._sendable(), self._window
            entries = (
                await self._spool.read(window.cursor, count, window.free_bytes) if count else []
            )
            for entry in entries:
                self._send(entry)
            if not entries:
                await self._wake.wait()

    def on_puback(self, packet_id: int, code: int, why: str) -> None:
        """Handle a PUBACK; code is 0 for a success, else the reason code."""
        sent, poison = self._window.find(packet_id), self._poison
        if sent is None:
            return
        if code == QUOTA_EXCEEDED:
            if poison.refused_for_now(sent.row_id, self._window.cursor):
                self._pause = f"the cloud accepts no messages now: {why}"
            self._wake.set()
            return
        if code:
            self._set_aside(sent.row_id, sent.topic, f"refused by the cloud: {why}")
        elif poison.waiting is not None and sent.row_id > poison.waiting:
            self._settle_waiting(poison.waiting)
        self._settle(sent)

    # one message -----------------------------------------------------------------------

    def _sendable(self) -> int:
        count = min(self._window.free, READ_BATCH)
        if not self._poison.is_sent_alone(self._window.cursor):
            return count
        waiting = self._poison.waiting
        others = [each for each in self._window.unsettled() if each.row_id != waiting]
        return 0 if others else min(count, 1)

    def _send(self, entry: SpoolEntry) -> None:
        row_id, name, size = entry.row_id, entry.topic, len(entry.payload)
        connection, packet_id = self._connection, 0
        if connection is None:
            raise UplinkLost("cannot go on: the connection was closed")
        fault = find_fault(self.limits, self._node_id, name, size)
        if not fault:
            try:
                topic = uplinked(self._node_id, name)
                packet_id = connection.publish(topic, entry.payload, qos=1, retain=entry.retain)
            except ValueError as exc:  # MQTT cannot carry the topic or the size
                fault = f"cannot be encoded: {exc}"
        if fault:
            self._set_aside(row_id, name, fault)
            if self._window.skipped(row_id):
                self._spool.forget(self._window.watermark)
        elif not self._window.sent(SentEntry(packet_id, row_id, name, size, self._clock())):
            raise UplinkLost("cannot go on: packet ids ran out")

    def _settle(self, sent: SentEntry) -> None:
        self.has_settled = True
        self._poison.settle(sent.row_id)
        if not self._window.free or self._poison.is_sent_alone(self._window.cursor):
            self._wake.set()
        if self._window.acknowledged(sent.packet_id):
            self._spool.forget(self._window.watermark)

    def _settle_waiting(self, row_id: int) -> None:
        """Set a row aside: the cloud accepts the row behind it, so it refuses this one only."""
        self._poison.clear_waiting()
        for each in self._window.unsettled():
            if each.row_id == row_id:
                self._set_aside(row_id, each.topic, "refused by the cloud: quota exceeded")
                self._settle(each)

    def _set_aside(self, row_id: int, topic: str, reason: str) -> None:
        self.has_settled = True
        self._poison.settle(row_id)
        self._spool.set_aside(row_id, topic, reason)

    def _send_now(self, name: str, message: Message) -> None:
        connection = self._ready()
        if connection is None:
            self._spool.count_dropped()
        else:
            topic = uplinked(self._node_id, name)
            connection.publish(topic, message.payload, qos=0, retain=message.retain)

    def _ready(self) -> "CloudConnection | None":
        connection = self._connection
        if connection is None or connection.unsent >= UNSENT_LIMIT:
            return None
        return connection if connection.unsent_bytes < UNSENT_BYTES else None


def _ignore(_stored: bool) -> None:  # a QoS 0 sender gets no acknowledgement
    return
