"""Keeps the connection to the gateway up, and restores it.

Each round of run() brings the network up, joins if there are no credentials, and serves one
connection until it ends. Readings wait in the outbox meanwhile. The session is stored at the
broker (clean session off), so commands sent during an absence arrive after the return.

Trap: CONNACK may report that the session is gone (the broker restarted without its disk). Then
unacknowledged messages are sent as new, without DUP. The device subscribes in either case: a
second SUBSCRIBE is harmless.
"""

import asyncio
import gc
import random
import time

from device.calls import describe
from device.contract import command_name
from device.errors import DeviceError, LinkLost, NotListening, Refused, Unreachable, WireError
from device.flash import load
from device.mqtt import Connection, end_task
from device.mqtt_wire import encode_puback
from micropython import const

_STATUS_ID = const(65535)  # above the outbox's ids
_ACK_TIMEOUTS = const(3)  # a broker that answers pings but acknowledges nothing is no use
_ACK_LIMIT = const(64)  # PUBACKs that wait to be sent
_LINK_CAP_MS = const(5000)  # the longest pause between two tries without IP
_RADIO_CAP_MS = const(1000)  # nothing is advertised in it
_CRASH_LIMIT = const(5)  # rounds in a row that an error in the package ended; then it resets
_TIME_AGE_S = const(3600)  # the gateway is asked for the time again


class Link:
    """Sends the outbox to the gateway and passes commands to the device."""

    def __init__(self, config, board, outbox, readings, clock, failures):
        self.is_up = False
        self.network_restarts = 0
        self.rounds = 0  # connections tried since the start
        self.up_since = None  # of the connection that stands, or stood last
        self._config = config
        self._board = board
        self._outbox = outbox
        self._readings = readings
        self._clock = clock
        self._failures = failures
        self._on_command = None
        self._radio = load("ble_start").open_radio(config, board.reset, readings)
        self._connection = Connection(config, self._radio)
        self._crashes = 0
        self._crashed_rounds = 0  # in a row
        self._silence = []  # of the gateway, as recovery.py sees it
        self._has_ip = config.link == "wifi"
        self._address = load("resolver").new_state(config.host) if self._has_ip else None
        self._identity = [None, False]  # credentials, whether a join is due; opening.py decides
        self._last_failure = None
        self._asked_time = 0
        self._acks = []
        self._owed_since = None
        self._wake = asyncio.Event()

    @property
    def prefix(self):
        """The start of our topics; None before the first join."""
        return self._identity[0] and self._identity[0][3]

    @property
    def crashes(self):
        """The connections that an error in the package ended."""
        return self._crashes + self._connection.crashes

    async def run(self, on_command):
        """Try for ever; on_command is called with (name, PUBLISH, number of the connection)."""
        self._on_command = on_command
        counts = [0, 0]
        while True:
            self.rounds += 1
            self.up_since = None
            is_costly = True
            started = time.ticks_ms()
            try:
                await self._round()
            except (DeviceError, OSError) as exc:
                # over a link without IP the gateway comes to the device
                kind = DeviceError if self._has_ip else Refused
                is_costly = isinstance(exc, kind) and not isinstance(exc, Unreachable)
                self._report_failure(describe(exc))
            except Exception as exc:
                self._note_crash(exc)
            gc.collect()
            ended = time.ticks_ms()
            up_ms = 0
            if self.up_since is not None:
                self._crashed_rounds = 0
                up_ms = max(1, time.ticks_diff(ended, self.up_since))
            took_ms = time.ticks_diff(ended, started)
            pause_ms = load("backoff").pause_ms
            pause_ms = pause_ms(counts, is_costly, took_ms, up_ms, self._config, random.random())
            if not self._has_ip:  # tries cost nobody anything, and the console is read in them only
                pause_ms = min(pause_ms, _RADIO_CAP_MS if self._radio else _LINK_CAP_MS)
            await asyncio.sleep_ms(pause_ms)

    def fail(self, reason):
        """End the connection that stands, if one does."""
        self._connection.fail(reason)

    def wake(self):
        """Tell that the outbox has something to send."""
        self._wake.set()

    def check(self):
        """Look after the connection that stands; to be called about once a second."""
        if not self.is_up:
            return
        is_ping_due = self._connection.check(self._owed_since is not None)
        if is_ping_due or self._clock.uptime_s() - self._asked_time >= _TIME_AGE_S:
            self._wake.set()
        if self._owed_since is not None:
            limit_ms = self._connection.timeout_ms * _ACK_TIMEOUTS
            if time.ticks_diff(time.ticks_ms(), self._owed_since) >= limit_ms:
                self.fail("no PUBACK within %d s" % (limit_ms // 1000))

    def acknowledge(self, packet_id, number):
        """Send PUBACK for a command, if the connection it came by still stands; return whether."""
        if packet_id and number == self.rounds:
            self._acks.append(packet_id)
            self._wake.set()
            return True
        return False

    def _note_crash(self, exc):
        gc.collect()
        self._crashes += 1
        self._crashed_rounds += 1
        self._failures.note("link", exc)
        if self._crashed_rounds >= _CRASH_LIMIT:
            raise exc

    async def _round(self):
        if self._identity[0] is None:
            self._identity[0] = load("stored").load_credentials()
        if self._has_ip:
            await self._board.connect_network(self._config)
        elif self._radio:
            await self._radio.connect()
        try:
            await self._connect()
        except NotListening:
            self._silence.clear()
            raise
        except LinkLost:
            await self._recover_network()
            raise

    async def _recover_network(self):
        """Make the board doubt its network after some time without a word from the gateway."""
        if self.up_since is not None or not self._has_ip:
            return
        if await load("recovery").doubt(self._silence, self._board, self._connection.timeout_ms):
            self.network_restarts += 1
            print("device: network restarted, %d times so far" % self.network_restarts)

    async def _connect(self):
        config, connection = self._config, self._connection
        pump = None
        try:
            await self._open(config, connection)
            pump = asyncio.create_task(connection.guard(self._pump()))
            gc.collect()
            await connection.run()
        finally:
            self.is_up = False
            self._readings.note_link(False)
            connection.close()
            if pump is not None:
                await end_task(pump)

    async def _open(self, config, connection):
        states = self._address, self._silence, self._identity
        takers = self._take_publish, self._take_puback
        opening = load("opening").open_link
        session = await opening(connection, config, self._board, states, takers)
        opening = None
        self._acks = []
        self._owed_since = None
        self._outbox.reconnected(session)
        handshake = load("handshake")
        await handshake.subscribe(connection, *handshake.filters(self.prefix))
        await handshake.report(connection, config, self._board, self.prefix)
        self._report_up()

    async def _say_online(self):
        """Publish the status; the gateway answers with the time."""
        self._asked_time = self._clock.uptime_s()
        await self._connection.publish(self.prefix + "/status", b"online", _STATUS_ID, True)

    async def _pump(self):
        connection = self._connection
        await self._say_online()
        while True:
            self._wake.clear()
            if connection.is_ping_due:
                await connection.ping()
            await self._send_waiting(connection)
            await self._wake.wait()
            if self._clock.uptime_s() - self._asked_time >= _TIME_AGE_S:
                await self._say_online()

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
            topic = self.prefix + "/" + entry.path
            await connection.publish(topic, entry.payload, entry.packet_id, False, entry.dup)

    def _take_puback(self, packet_id):
        if self._outbox.acknowledge(packet_id):
            self._owed_since = time.ticks_ms() if self._outbox.has_sent() else None
            self._wake.set()

    def _take_publish(self, message):
        _, topic, payload, packet_id, _, _ = message
        if len(self._acks) >= _ACK_LIMIT:
            raise WireError("cannot read PUBLISH: too many come at once")
        name = command_name(self.prefix, topic)
        if name is not None:
            self._on_command(name, message, self.rounds)
            return
        self.acknowledge(packet_id, self.rounds)
        take_notice, tls = load("notices").take_notice, self._config.tls
        if take_notice(topic, payload or b"", self._identity, self._clock, tls):
            self.fail("new credentials")  # the next connection uses them, and so ends the old ones
        self._wake.set()

    def _report_up(self):
        self.is_up = True
        self.up_since = time.ticks_ms()
        self._readings.note_link(True)
        try:
            load("stored").keep_good_config()
        except MemoryError:  # at a later connection, when less waits
            gc.collect()
        print("device: online, %d waiting, %d dropped" % (len(self._outbox), self._readings.dropped))
        self._last_failure = None

    def _report_failure(self, reason):
        if reason != self._last_failure:  # once per reason, or the log drowns in an outage
            print("device: offline:", reason)
        self._last_failure = reason
