"""Keeps the connection to the gateway up, and restores it.

Each round of run() brings the network up, joins if there are no credentials, and serves one
connection until it ends. Readings wait in the outbox meanwhile. The session is stored at the
broker (clean session off), so commands sent during an absence arrive after the return.

Trap: CONNACK may report that the session is gone (the broker restarted without its disk). Then
unacknowledged messages are sent as new, without DUP. The device subscribes in either case: a
second SUBSCRIBE is harmless.

A broker that refuses user name and password (CONNACK 4 or 5) makes the device try a claim token, if
it has one, and its own credentials again, in turn; any other failure changes nothing.
"""

import asyncio
import gc
import random
import time

from device import backoff, contract, flash
from device.calls import describe
from device.errors import CredentialsRefused, DeviceError, LinkLost, Refused, WireError
from device.mqtt import Connection, end_task
from device.mqtt_wire import Decoder, encode_puback, encode_publish, publish_head
from device.resolver import GatewayAddress

_STATUS_ID = 65535  # above the outbox's ids
_ACK_TIMEOUTS = 3  # a broker that answers pings but acknowledges nothing for so many is no use

_ACK_LIMIT = 64  # PUBACKs that wait to be sent
_CRASH_LIMIT = 5  # rounds in a row that an error in the package ended; then the board is reset
_TIME_AGE_S = 3600  # the gateway is asked for the time again
_REST_MS = 60000


class ReceivedCommand:
    """A command as it arrived."""

    def __init__(self, name, message, number, acknowledge):
        self.name = name[: contract.NAME_LIMIT + 1]  # a longer one is refused, and not kept
        self.payload = message.payload
        self.packet_id = message.packet_id
        self.dup = message.dup
        self.retain = message.retain
        self.round = number  # of the connection it came by
        self._acknowledge = acknowledge

    def acknowledge(self):
        """Send its PUBACK."""
        self._acknowledge(self.packet_id, self.round)


class Link:
    """Sends the outbox to the gateway and passes commands to the device."""

    def __init__(self, config, board, outbox, readings, clock, failures):
        self.is_up = False
        self.crashes = 0  # connections that an error in the package ended
        self.network_restarts = 0
        self.rounds = 0  # connections tried since the start
        self.prefix = None  # what our topics start with; None before the first join
        self._config = config
        self._board = board
        self._outbox = outbox
        self._readings = readings
        self._clock = clock
        self._failures = failures
        self._on_command = None
        self._decoder = Decoder(contract.PACKET_LIMIT)
        self._resolver = GatewayAddress(config.host, config.port)
        self._lost_rounds = 0  # in a row, without a word from the gateway
        self._crashed_rounds = 0  # in a row
        self._connection = None
        self._credentials = None
        self._must_join = False
        self._up_since = None
        self._last_failure = None
        self._asked_time = 0
        self._acks = []
        self._owed_since = None
        self._wake = asyncio.Event()

    async def run(self, on_command):
        """Try for ever; on_command is called with each ReceivedCommand."""
        self._on_command = on_command
        attempt = 0
        while True:
            self.rounds += 1
            self._up_since = None
            try:
                await self._round()
            except (DeviceError, OSError) as exc:
                self._report_failure(describe(exc))
            except Exception as exc:
                self._note_crash(exc)
            up_ms = 0
            if self._up_since is not None:
                self._crashed_rounds = 0
                up_ms = time.ticks_diff(time.ticks_ms(), self._up_since)
            attempt = backoff.next_attempt(attempt, up_ms)
            first_ms = int(self._config.retry_first_s * 1000)
            cap_ms = int(self._config.retry_cap_s * 1000)
            await asyncio.sleep_ms(backoff.delay_ms(attempt, first_ms, cap_ms, random.random()))

    def fail(self, reason):
        """End the connection that stands, if one does."""
        if self._connection is not None:
            self._connection.fail(reason)

    def wake(self):
        """Tell that the outbox has something to send."""
        self._wake.set()

    def _acknowledge(self, packet_id, number):
        """Send PUBACK for a command, if the connection it came by still stands."""
        if packet_id and number == self.rounds:
            self._acks.append(packet_id)
            self._wake.set()

    def _note_crash(self, exc):
        gc.collect()
        self.crashes += 1
        self._crashed_rounds += 1
        self._failures.note("link", exc)
        if self._crashed_rounds >= _CRASH_LIMIT:
            raise exc

    async def _round(self):
        if self._credentials is None:
            self._use(flash.load_credentials())
        await self._board.connect_network(self._config)
        try:
            await self._connect()
        except LinkLost:
            await self._recover_network()
            raise

    async def _recover_network(self):
        """Make the board doubt its network after some rounds without a word from the gateway."""
        if self._up_since is not None:
            return
        self._lost_rounds += 1
        if await self._board.recover_network(self._lost_rounds):
            self.network_restarts += 1
            print("device: network restarted, %d times so far" % self.network_restarts)

    async def _connect(self):
        address = self._resolver.find()
        if self._credentials is None or self._must_join:
            await self._join(address)
        connection = Connection(self._config, self._decoder, contract.PACKET_LIMIT)
        connection.on_publish = self._take_publish
        connection.on_puback = self._take_puback
        self._connection = connection
        try:
            session_present = await self._open(connection, address)
            self._note_word(address)
            self._acks = []
            self._owed_since = None
            self._outbox.reconnected(session_present)
            await self._serve(connection)
        finally:
            self.is_up = False
            self._connection = None
            self._readings.note_link(False)
            await connection.close()
            self.crashes += connection.crashes

    async def _join(self, address):
        from device.join import join

        flash.unload("join")
        try:
            limit = contract.PACKET_LIMIT
            self._use(await join(self._config, self._board, self._decoder, address, limit))
        except Refused as exc:
            self._note_word(address)
            self._must_join = self._credentials is not None and not _is_about_login(exc)
            raise
        except LinkLost:
            self._resolver.note_failure()
            raise
        print("device: joined as", self._credentials.device_id)

    def _note_word(self, address):
        """Note that the gateway said something, whatever it was."""
        self._lost_rounds = 0
        self._resolver.note_success(address)

    def _use(self, credentials):
        self._credentials = credentials
        if credentials is not None:
            self._must_join = False
            self.prefix = credentials.prefix

    async def _open(self, connection, address):
        own = self._credentials
        will = (contract.device_topic(own.prefix, contract.STATUS), contract.OFFLINE)
        login = (own.username, own.password)
        try:
            session = await connection.open(address, own.device_id, login, False, will)
        except Refused as exc:
            self._note_word(address)
            # Revoked, or the gateway lost its memory: only a new claim token lets us in again.
            self._must_join = _is_about_login(exc) and flash.load_claim() is not None
            raise
        except LinkLost:
            self._resolver.note_failure()
            raise
        flash.remove(flash.CLAIM)  # a power cut in the join may have left it
        return session

    async def _serve(self, connection):
        pump = None
        reader = asyncio.create_task(connection.run())
        try:
            await connection.subscribe(
                contract.device_topic(self.prefix, contract.COMMANDS),
                contract.device_topic(self.prefix, contract.TIME),
            )
            await self._say_online(connection)
            self._report_up()
            pump = asyncio.create_task(connection.guard(self._pump(connection)))
            await reader
            raise connection.ending
        finally:
            if pump is not None:
                await end_task(pump)
            await end_task(reader)

    async def _say_online(self, connection):
        """Publish the status; the gateway answers with the time."""
        self._asked_time = self._clock.uptime_s()
        topic = contract.device_topic(self.prefix, contract.STATUS)
        await connection.send(encode_publish(topic, contract.ONLINE, _STATUS_ID, retain=True))

    async def _pump(self, connection):
        while True:
            self._wake.clear()
            await self._send_waiting(connection)
            await self._rest(connection)
            if self._clock.uptime_s() - self._asked_time >= _TIME_AGE_S:
                await self._say_online(connection)

    async def _send_waiting(self, connection):
        while True:
            while self._acks:
                await connection.send(encode_puback(self._acks.pop(0)))
            self._readings.refill()
            entry = self._outbox.take_unsent()
            if entry is None:
                return
            if self._owed_since is None:
                self._owed_since = time.ticks_ms()
            topic = contract.device_topic(self.prefix, entry.path)
            head = publish_head(topic, len(entry.payload), entry.packet_id, dup=entry.dup)
            await connection.send(head, entry.payload)

    async def _rest(self, connection):
        left_ms = _REST_MS
        if self._owed_since is not None:
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
        if len(self._acks) >= _ACK_LIMIT:
            raise WireError("cannot read PUBLISH: too many come at once")
        name = contract.command_name(self.prefix, message.topic)
        if name is not None:
            self._on_command(ReceivedCommand(name, message, self.rounds, self._acknowledge))
            return
        self._acknowledge(message.packet_id, self.rounds)
        if message.topic == contract.device_topic(self.prefix, contract.TIME):
            try:
                self._clock.set(contract.decode_time(message.payload or b""))
            except WireError as exc:
                print("device:", exc)
            self._wake.set()

    def _report_up(self):
        self.is_up = True
        self._up_since = time.ticks_ms()
        self._readings.note_link(True)
        flash.keep_good_config()
        print("device: online, %d waiting, %d dropped" % (len(self._outbox), self._readings.dropped))
        self._last_failure = None

    def _report_failure(self, reason):
        if reason != self._last_failure:  # once per reason, or the log drowns in an outage
            print("device: offline:", reason)
        self._last_failure = reason


def _is_about_login(exc):
    return isinstance(exc, CredentialsRefused)
