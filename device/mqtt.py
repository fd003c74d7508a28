"""Runs one MQTT 3.1.1 connection: sockets and tasks. mqtt_wire.py decodes the bytes.

Four promises to link.py: a small packet is one write; every waiting task learns of the end of a
connection; the end is detected by the socket, an unanswered PINGREQ, or a stuck write; and the
socket is closed on every way out. (asyncio.open_connection() leaves it open when it is cancelled.)
Any exception in any task here ends the connection: a task that dies alone would leave a device
that answers pings and says nothing.
"""

import asyncio
import gc
import socket
import time

from device import mqtt_wire
from device.calls import describe
from device.errors import CredentialsRefused, DeviceError, LinkLost, Refused, WireError

_READ_BYTES = 512
_JOINED_BYTES = 256  # a packet up to this size is copied into one piece: one write, one segment
_EINPROGRESS = (115, 119, 112, 36)  # Linux, ESP32 and lwIP, others
_IPPROTO_TCP = 6
_TCP_NODELAY = 1
_SUBSCRIBE_ID = 65535  # the outbox uses ids up to 65534; one SUBSCRIBE at a time
_REFUSED = 0x80


class Connection:
    """One connection, from CONNECT to its end."""

    def __init__(self, config, decoder, packet_limit):
        self.on_publish = None  # called with each Publish
        self.on_puback = None  # called with each packet id
        self.crashes = 0  # exceptions that are neither the peer's nor the network's doing
        self.on_end = None  # called when run() ends, if set
        self.ending = None  # the exception that ended the connection
        self._config = config
        self._packet_limit = packet_limit
        self._timeout_ms = int(config.timeout_s * 1000)
        self._decoder = decoder
        decoder.reset()
        self._stream = None
        self._lock = asyncio.Lock()
        self._reader = None
        self._error = None
        self._write_started = None
        self._ping_sent = None
        self._last_sent = self._last_heard = time.ticks_ms()
        self._suback = None
        self._suback_event = asyncio.Event()

    async def open(self, address, client_id, login, clean_session, will):
        """Connect; return whether the broker kept our session. LinkLost or Refused otherwise."""
        connect = mqtt_wire.encode_connect(
            client_id, login, self._config.keepalive_s, clean_session, will
        )
        try:
            connack = await asyncio.wait_for_ms(
                self._shake_hands(address, connect), self._timeout_ms
            )
        except OSError as exc:
            raise LinkLost("cannot connect: %s" % exc)
        except asyncio.TimeoutError:
            raise LinkLost("cannot connect: no answer within %s s" % self._config.timeout_s)
        if connack.code:
            reason = mqtt_wire.REFUSALS.get(connack.code, "code %d" % connack.code)
            kind = CredentialsRefused if connack.code in mqtt_wire.CREDENTIALS_REFUSED else Refused
            raise kind("cannot connect: the broker says: %s" % reason)
        return connack.session_present

    async def run(self):
        """Take what the broker sends until the connection ends; `ending` is the reason then.

        It raises nothing: MicroPython prints the exception of a task that nobody waits for yet.
        """
        try:
            await self._receive()
        except Exception as exc:
            self._error = self._error or describe(exc)
            self.ending = exc
        finally:
            self._reader = None
            self._error = self._error or "the connection was closed"
            self._suback_event.set()
            if self.on_end is not None:
                self.on_end()

    async def _receive(self):
        self._reader = asyncio.current_task()
        watch = asyncio.create_task(self.guard(self._watch()))
        try:
            while True:
                self._take_packets()
                await self._read("the broker closed the connection")
                self._last_heard = time.ticks_ms()
        except asyncio.CancelledError:
            if self._error is None:
                raise
            raise LinkLost(self._error)
        except OSError as exc:
            raise LinkLost("cannot read: %s" % exc)
        except MemoryError:
            gc.collect()
            self.crashes += 1
            raise LinkLost("cannot read: no memory")
        finally:
            watch.cancel()

    async def guard(self, work):
        """Run a task of this connection; any exception in it ends the connection."""
        try:
            await work
        except Exception as exc:
            gc.collect()
            if not isinstance(exc, (DeviceError, OSError)):
                self.crashes += 1
            self.fail(describe(exc))

    async def subscribe(self, *topic_filters):
        """Subscribe at QoS 1; Refused when the broker does not allow it. run() must be running."""
        self._suback = None
        self._suback_event.clear()
        await self.send(mqtt_wire.encode_subscribe(_SUBSCRIBE_ID, *topic_filters))
        try:
            await asyncio.wait_for_ms(self._suback_event.wait(), self._timeout_ms)
        except asyncio.TimeoutError:
            raise LinkLost("no SUBACK within %s s" % self._config.timeout_s)
        if self._suback is None:
            raise LinkLost(self._error)
        if self._suback.codes[0] == _REFUSED:
            raise Refused("cannot subscribe to %s: not allowed" % topic_filters[0])

    async def send(self, packet, payload=b""):
        """Send one packet; waits for its turn and for room in the socket."""
        size = len(packet) + len(payload)
        if size > self._packet_limit:
            raise ValueError("cannot send: a packet of %d bytes is too large" % size)
        if size <= _JOINED_BYTES:
            packet, payload = packet + payload, b""
        async with self._lock:
            if self._error is not None:
                raise LinkLost(self._error)
            self._write_started = time.ticks_ms()
            try:
                self._stream.write(packet)
                if payload:
                    await self._stream.drain()
                    self._stream.write(payload)
                await self._stream.drain()
            except OSError as exc:
                raise LinkLost("cannot write: %s" % exc)
            finally:
                self._write_started = None
            self._last_sent = time.ticks_ms()

    def fail(self, reason):
        """End the connection from outside: run() raises LinkLost(reason)."""
        if self._error is None:
            self._error = reason
            if self._reader is not None:
                self._reader.cancel()

    async def close(self):
        """Give the socket back; run() must have ended."""
        self._error = self._error or "the connection was closed"
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.s.close()

    async def _shake_hands(self, address, connect):
        sock = socket.socket(address[0], address[1], address[2])
        self._stream = asyncio.StreamReader(sock)  # from here on close() closes the socket
        sock.setblocking(False)
        try:
            sock.connect(address[-1])
        except OSError as exc:
            if exc.errno not in _EINPROGRESS:
                raise
        await _writable(sock)
        _set_nodelay(sock)
        await self.send(connect)
        while True:
            packet = self._decoder.take_packet()
            if isinstance(packet, mqtt_wire.Connack):
                return packet
            if packet is not None:
                raise WireError("cannot connect: the broker's first packet is not CONNACK")
            await self._read("cannot connect: the broker closed the connection")

    async def _read(self, ending):
        data = await self._stream.read(_READ_BYTES)
        if not data:
            raise LinkLost(ending)
        self._decoder.feed(data)

    def _take_packets(self):
        while True:
            packet = self._decoder.take_packet()
            if packet is None:
                return
            if isinstance(packet, mqtt_wire.Publish):
                self.on_publish(packet)
            elif isinstance(packet, mqtt_wire.Puback):
                self.on_puback(packet.packet_id)
            elif isinstance(packet, mqtt_wire.Pingresp):
                self._ping_sent = None
            elif isinstance(packet, mqtt_wire.Suback) and packet.packet_id == _SUBSCRIBE_ID:
                self._suback = packet
                self._suback_event.set()
            else:
                raise WireError("cannot read packet: not expected now")

    async def _watch(self):
        """Ping when it is quiet; fail the connection when nothing moves. Never waits on a write."""
        quiet_ms = self._config.keepalive_s * 500
        while self._error is None:
            now = time.ticks_ms()
            if self._is_due(self._write_started, now):
                self.fail("cannot write: stuck for %s s" % self._config.timeout_s)
            elif self._is_due(self._ping_sent, now):
                self.fail("no PINGRESP within %s s" % self._config.timeout_s)
            elif self._ping_sent is None and (
                time.ticks_diff(now, self._last_sent) >= quiet_ms
                or time.ticks_diff(now, self._last_heard) >= quiet_ms
            ):
                await self._ping(now)
            await asyncio.sleep_ms(min(quiet_ms // 4, self._timeout_ms // 4))

    async def _ping(self, now):
        if self._lock.locked():
            return
        self._ping_sent = now
        try:
            await self.send(mqtt_wire.PINGREQ)
        except LinkLost as exc:
            self.fail(str(exc))

    def _is_due(self, since, now):
        return since is not None and time.ticks_diff(now, since) >= self._timeout_ms


async def end_task(task):
    """Cancel a task and wait for its end."""
    task.cancel()
    try:
        await task
    except (asyncio.CancelledError, DeviceError, OSError):
        pass
    except Exception as exc:  # end_task() runs on the way out of another one
        print("device: a task ended with", describe(exc))


def _writable(sock):
    # A generator, which MicroPython can await: asyncio has no call for "until connected".
    yield asyncio.core._io_queue.queue_write(sock)


def _set_nodelay(sock):
    # Without it a reading waits up to 40 ms for the ACK of the one before. Not every port has it.
    try:
        sock.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, (1).to_bytes(4, "little"))
    except (OSError, AttributeError):
        pass
