"""Forwards messages of this node to the cloud: local broker, spool, connection.

What the cloud does not take is set aside: by its limits before it is stored or sent, by its
answer, or because it broke the connection twice (suspects.py). Nothing of that, nor a spool that
is full or cannot be written, reaches the local side: a message is delivered there all the same.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from broker import Message
from gateway.errors import UplinkLost
from gateway.spool.spool import Spool
from gateway.spool.values import SpoolEntry
from gateway.uplink.connection import PUBACK_WINDOW, Closed, CloudConnection
from gateway.uplink.limits import HEADER_BYTES, find_fault
from gateway.uplink.poison import PoisonDetector
from gateway.uplink.rules import TopicRule
from gateway.uplink.window import SentEntry, Window
from protocol.mqtt_limits import MqttLimits
from protocol.topics import uplinked

logger = logging.getLogger(__name__)

READ_BATCH = 128
WINDOW_BYTES = 4 * 1024 * 1024  # on their way, in memory
UNSENT_LIMIT = 1000  # QoS 0 messages and SEP answers waiting for the socket
UNSENT_BYTES = 16 * 1024 * 1024
QUOTA_EXCEEDED = 0x97


class Forwarder:
    """Follows each message until the cloud has it or it is set aside."""

    def __init__(
        self, node_id: str, spool: Spool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._node_id, self._spool, self._clock = node_id, spool, clock
        self.limits = MqttLimits()  # of the cloud, as far as they are known
        self._window = Window(PUBACK_WINDOW, WINDOW_BYTES)
        self._suspects = PoisonDetector()
        self._connection: CloudConnection | None = None
        self._wake = asyncio.Event()
        self._pause = ""  # why to close now and try again later
        self.has_settled = False  # a message of the spool, on this connection
        spool.add_stored_listener(self._wake.set)

    def take(self, rule: TopicRule, name: str, message: Message) -> None:
        """Take a local message that a rule carries up under a name."""
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
        """Send an answer of the SEP now, or never."""
        size = HEADER_BYTES + len(topic) + len(payload)
        if size > self.limits.packet_bytes:
            logger.warning("cannot answer over the SEP: %d bytes, more than the cloud takes", size)
            return
        connection = self._ready()
        if connection is not None:
            connection.publish(topic, payload, qos=0)

    def prepare(self) -> None:
        """Prepare for an attempt: no message has been settled on its connection."""
        self.has_settled = False

    def begin(self, connection: CloudConnection, limits: MqttLimits) -> None:
        """Use a connection that is open and the limits that the cloud announces."""
        server = connection.server
        if server.packet_bytes:
            packet_bytes = min(limits.packet_bytes, server.packet_bytes)
            limits = replace(limits, packet_bytes=packet_bytes)
        self.limits = limits
        size = min(PUBACK_WINDOW, server.receive_maximum)
        self._window = Window(size, WINDOW_BYTES, cursor=self._window.watermark)
        self._suspects.begin()
        self._pause, self.has_settled = "", False
        self._connection = connection

    def end(self, closed: Closed | None) -> None:
        """Use the connection no more; None says that it was not the peer that ended it."""
        if self._connection is None:
            return
        self._connection = None
        if closed is None or not closed.by_peer:
            return
        found = self._suspects.broke(self._window.unsettled(), closed.reason, self._clock())
        if found is not None:
            self._set_aside(found.row_id, found.topic, f"broke the connection: {closed.why}")

    async def run(self) -> None:
        """Send what the spool holds, oldest first, never more than the window allows."""
        while True:
            self._wake.clear()
            if self._pause:
                raise UplinkLost(self._pause)
            room, window = self._room(), self._window
            entries = await self._spool.read(window.cursor, room, window.room_bytes) if room else []
            for entry in entries:
                self._send(entry)
            if not entries:
                await self._wake.wait()

    def on_puback(self, packet_id: int, code: int, why: str) -> None:
        """Take a PUBACK; code is 0 or that of a refusal."""
        sent, suspects = self._window.find(packet_id), self._suspects
        if sent is None:
            return
        if code == QUOTA_EXCEEDED:
            if suspects.refused_for_now(sent.row_id, self._window.cursor):
                self._pause = f"the cloud takes no messages now: {why}"
            self._wake.set()
            return
        if code:
            self._set_aside(sent.row_id, sent.topic, f"refused by the cloud: {why}")
        elif suspects.waiting is not None and sent.row_id > suspects.waiting:
            self._settle_waiting(suspects.waiting)
        self._settle(sent)

    # one message -----------------------------------------------------------------------

    def _room(self) -> int:
        room = min(self._window.room, READ_BATCH)
        if not self._suspects.is_sent_alone(self._window.cursor):
            return room
        waiting = self._suspects.waiting
        others = [each for each in self._window.unsettled() if each.row_id != waiting]
        return 0 if others else min(room, 1)

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
            except ValueError as exc:  # of a topic or a size that is not MQTT's
                fault = f"cannot be encoded: {exc}"
        if fault:
            self._set_aside(row_id, name, fault)
            if self._window.skipped(row_id):
                self._spool.forget(self._window.watermark)
        elif not self._window.sent(SentEntry(packet_id, row_id, name, size, self._clock())):
            raise UplinkLost("cannot go on: packet ids ran out")

    def _settle(self, sent: SentEntry) -> None:
        self.has_settled = True
        self._suspects.settle(sent.row_id)
        if not self._window.room or self._suspects.is_sent_alone(self._window.cursor):
            self._wake.set()
        if self._window.acknowledged(sent.packet_id):
            self._spool.forget(self._window.watermark)

    def _settle_waiting(self, row_id: int) -> None:
        """The cloud takes the row behind this one: what it refuses is the row."""
        self._suspects.waiting = None
        for each in self._window.unsettled():
            if each.row_id == row_id:
                self._set_aside(row_id, each.topic, "refused by the cloud: quota exceeded")
                self._settle(each)

    def _set_aside(self, row_id: int, topic: str, reason: str) -> None:
        self.has_settled = True
        self._suspects.settle(row_id)
        self._spool.set_aside(row_id, topic, reason)

    def _send_now(self, name: str, message: Message) -> None:
        connection = self._ready()
        if connection is None:
            self._spool.count_dropped()
        else:
            topic = uplinked(self._node_id, name)
            connection.publish(topic, message.payload, qos=0, retain=message.retain)

    def _ready(self) -> CloudConnection | None:
        connection = self._connection
        if connection is None or connection.unsent >= UNSENT_LIMIT:
            return None
        return connection if connection.unsent_bytes < UNSENT_BYTES else None


def _ignore(_stored: bool) -> None:  # a QoS 0 sender is told nothing
    return
