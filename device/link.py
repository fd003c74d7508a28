"""Keeps the connection to the gateway up, and restores it.

Each round of run() brings the network up, joins if there are no credentials, and serves one
connection until it ends. Readings wait in the outbox meanwhile. The session is stored at the
broker (clean session off), so commands sent during an absence arrive after the return.

Trap: CONNACK may report that the session is gone (the broker restarted without its disk). Then
unacknowledged messages are sent as new, without DUP. The device subscribes in either case: a
second SUBSCRIBE is harmless.
"""

import asyncio
import random
import time
from collections import namedtuple

from device import backoff, contract, flash
from device.errors import DeviceError, Refused
from device.join import join
from device.mqtt import Connection, end_task
from device.mqtt_wire import encode_puback, encode_publish

PACKET_LIMIT = 4096  # a larger command is answered with an error, a larger reading refused

_STATUS_ID = 65535  # above the outbox's ids
_ACK_TIMEOUTS = 3  # a broker that answers pings but acknowledges nothing for so many is no use

Command = namedtuple("Command", ("name", "payload", "packet_id", "dup", "round"))


class Link:
    """Sends the outbox to the gateway and passes commands to the device."""

    def __init__(self, config, board, outbox, on_command):
        self.is_up = False
        self.rounds = 0  # connections tried since the start
        self.prefix = None  # what our topics start with; None before the first join
        self._config = config
        self._board = board
        self._outbox = outbox
        self._on_command = on_command
        self._credentials = None
        self._must_join = False
        self._up_since = None
        self._last_failure = None
        self._acks = []
        self._owed_since = None
        self._wake = asyncio.Event()

    async def run(self):
        """Try for ever."""
        attempt = 0
        while True:
            self.rounds += 1
            self._up_since = None
            try:
                await self._round()
            except (DeviceError, OSError) as exc:
                self._report_failure(str(exc))
            up_ms = 0
            if self._up_since is not None:
                up_ms = time.ticks_diff(time.ticks_ms(), self._up_since)
            attempt = backoff.next_attempt(attempt, up_ms)
            first_ms = int(self._config.retry_first_s * 1000)
            cap_ms = int(self._config.retry_cap_s * 1000)
            await asyncio.sleep_ms(backoff.delay_ms(attempt, first_ms, cap_ms, random.random()))

    def wake(self):
        """Tell that the outbox has something to send."""
        self._wake.set()

    def acknowledge(self, command):
        """Send PUBACK for a command, if the connection it came by still stands."""
        if command.packet_id and command.round == self.rounds:
            self._acks.append(command.packet_id)
            self._wake.set()

    async def _round(self):
        if self._credentials is None:
            self._use(flash.load_credentials())
        await self._board.connect_network(self._config)
        if self._credentials is None or self._must_join:
            self._use(await join(self._config, self._board, PACKET_LIMIT))
            print("device: joined as", self._credentials.device_id)
        connection = Connection(self._config, PACKET_LIMIT)
        connection.on_publish = self._take_publish
        connection.on_puback = self._take_puback
        try:
            session_present = await self._open(connection)
            self._acks = []
            self._owed_since = None
            self._outbox.reconnected(session_present)
            await self._serve(connection)
        finally:
            self.is_up = False
            await connection.close()

    def _use(self, credentials):
        self._credentials = credentials
        if credentials is not None:
            self._must_join = False
            self.prefix = credentials.prefix

    async def _open(self, connection):
        own = self._credentials
        will = (contract.device_topic(own.prefix, contract.STATUS), contract.OFFLINE)
        try:
            return await connection.open(own.device_id, (own.username, own.password), False, will)
        except Refused:
            # Revoked, or the gateway lost its memory: only a new claim token lets us in again.
            self._must_join = flash.load_claim() is not None
            raise

    async def _serve(self, connection):
        pump = None
        reader = asyncio.create_task(connection.run())
        try:
            await connection.subscribe(contract.device_topic(self.prefix, contract.COMMANDS))
            topic = contract.device_topic(self.prefix, contract.STATUS)
            await connection.send(encode_publish(topic, contract.ONLINE, _STATUS_ID, retain=True))
            self._report_up()
            pump = asyncio.create_task(self._pump(connection))
            await reader
        finally:
            if pump is not None:
                await end_task(pump)
            await end_task(reader)

    async def _pump(self, connection):
        try:
            while True:
                self._wake.clear()
                await self._send_waiting(connection)
                await self._rest(connection)
        except (DeviceError, OSError) as exc:
            connection.fail(str(exc))

    async def _send_waiting(self, connection):
        while True:
            while self._acks:
                await connection.send(encode_puback(self._acks.pop(0)))
            entry = self._outbox.take_unsent()
            if entry is None:
                return
            if self._owed_since is None:
                self._owed_since = time.ticks_ms()
            topic = contract.device_topic(self.prefix, entry.path)
            await connection.send(
                encode_publish(topic, entry.payload, entry.packet_id, dup=entry.dup)
            )

    async def _rest(self, connection):
        if self._owed_since is None:
            await self._wake.wait()
            return
        limit_ms = int(self._config.timeout_s * 1000) * _ACK_TIMEOUTS
        left_ms = limit_ms - time.ticks_diff(time.ticks_ms(), self._owed_since)
        if left_ms <= 0:
            connection.fail("no PUBACK within %d s" % (limit_ms // 1000))
        try:
            await asyncio.wait_for_ms(self._wake.wait(), max(left_ms, 1))
        except asyncio.TimeoutError:
            pass

    def _take_puback(self, packet_id):
        if self._outbox.acknowledge(packet_id):
            self._owed_since = time.ticks_ms() if self._outbox.has_sent() else None
            self._wake.set()

    def _take_publish(self, message):
        name = contract.command_name(self.prefix, message.topic)
        command = Command(name, message.payload, message.packet_id, message.dup, self.rounds)
        if name is None:
            self.acknowledge(command)
        else:
            self._on_command(command)

    def _report_up(self):
        self.is_up = True
        self._up_since = time.ticks_ms()
        print("device: online, %d waiting, %d dropped" % (len(self._outbox), self._outbox.dropped))
        self._last_failure = None

    def _report_failure(self, reason):
        if reason != self._last_failure:  # once per reason, or the log drowns in an outage
            print("device: offline:", reason)
        self._last_failure = reason
