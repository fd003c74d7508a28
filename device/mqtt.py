"""Runs one MQTT 3.1.1 connection at a time: socket and tasks. mqtt_wire.py decodes the bytes.

handshake.py opens it. Four promises to link.py: a small packet is one write; every waiting task
learns of the end of a connection; the end is detected by the socket, an unanswered PINGREQ, or a
stuck write; and the socket is closed on every way out. Any exception in any task here ends the
connection: a task that dies alone would leave a device that answers pings and says nothing.

All connections of a device use the same three buffers, made once: the decoder's, one to read into
and one to write from.
"""

import asyncio
import gc
import time

from device import mqtt_wire
from device.calls import describe
from device.contract import PACKET_LIMIT
from device.errors import DeviceError, LinkLost, NotListening, WireError
from micropython import const

_READ_BYTES = const(256)
_WRITE_BYTES = const(256)  # a packet up to this size is one piece: one write, one segment
_SUBSCRIBE_ID = const(65535)  # the outbox uses ids up to 65534; one SUBSCRIBE at a time


class Connection:
    """The connection of a device; begin() makes it a new one."""

    def __init__(self, config, radio=None):
        self.radio = radio  # the port of a device with Bluetooth LE
        self.on_publish = None  # called with each PUBLISH
        self.on_puback = None  # called with each packet id
        self.shows_certificate = True  # in the next TLS handshake
        self.crashes = 0  # exceptions that are neither the peer's nor the network's doing
        self.decoder = mqtt_wire.Decoder(PACKET_LIMIT)
        self.timeout_ms = int(config.timeout_s * 1000)
        self._quiet_ms = config.keepalive_s * 500
        self._input = memoryview(bytearray(_READ_BYTES))
        self._output = memoryview(bytearray(_WRITE_BYTES))
        self._error = None
        self._stream = None
        self._reader = None
        self.begin(None)

    def begin(self, stream):
        """Forget the last connection; use this stream, and close it on the way out."""
        self.close()
        self._stream = stream
        self._error = None
        self._write_started = self._ping_sent = None
        self._last_sent = self._last_heard = time.ticks_ms()
        self._is_heard = self._is_secure = False
        self.suback = None  # the return code of our SUBSCRIBE
        self.is_ping_due = False
        self.decoder.reset()

    def secure(self, stream):
        """Go on over a stream that encrypts, and owns the socket from now on."""
        self._stream = stream
        self._is_secure = True

    def note_refusal(self):
        """Note a failed TLS handshake: ours may have expired, so by turns we do without it."""
        self.shows_certificate = not self.shows_certificate

    def close(self):
        """Give the socket back."""
        self._error = self._error or "the connection was closed"
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.s.close()

    async def run(self):
        """Take what the broker sends until the connection ends; raise the reason then."""
        self._reader = asyncio.current_task()
        try:
            while True:
                self.handle_packets()
                await self.read()
        except asyncio.CancelledError:
            if self._error is None:
                raise
            raise LinkLost(self._error)
        except MemoryError:
            gc.collect()
            self.crashes += 1
            raise LinkLost("cannot read: no memory")
        finally:
            self._reader = None

    def handle_packets(self):
        """Handle the packets that have come."""
        while True:
            packet = self.decoder.take_packet()
            if packet is None:
                return
            kind = packet[0]
            if kind == 3:
                self.on_publish(packet)
            elif kind == 4:
                self.on_puback(packet[1])
            elif kind == 13:
                self._ping_sent = None
            elif kind == 9 and packet[1] == _SUBSCRIBE_ID:
                self.suback = packet[2]
            else:
                raise WireError("cannot read packet: not expected now")

    async def read(self):
        """Pass what comes next to the decoder."""
        try:
            count = await self._stream.readinto(self._input)
        except OSError as exc:
            raise self._lost("cannot read: %s" % exc)
        if count == 0:
            raise self._lost("the broker closed the connection")
        self.decoder.feed(self._input[: count or 0])  # None: TLS has no whole record yet
        self._last_heard = time.ticks_ms()
        self._is_heard = True

    def _lost(self, reason):
        # Before the first byte nobody has served us: TLS, which has sent some, is not asked here.
        kind = LinkLost if self._is_heard or self._is_secure else NotListening
        return kind(reason)

    async def guard(self, work):
        """Run a task of this connection; any exception in it ends the connection."""
        try:
            await work
        except Exception as exc:
            gc.collect()
            if not isinstance(exc, (DeviceError, OSError)):
                self.crashes += 1
            self.fail(describe(exc))

    async def publish(self, topic, payload, packet_id, retain=False, dup=False):
        """Send a PUBLISH; waits for room in the socket. One task at a time may send."""
        view = self._output
        end, payload = mqtt_wire.encode_publish(view, topic, payload, packet_id, retain, dup)
        await self.send(view[:end], payload)

    async def send(self, packet, payload=None):
        """Send one packet; waits for room in the socket. One task at a time may send."""
        if self._error is not None:
            raise LinkLost(self._error)
        stream = self._stream
        self._write_started = time.ticks_ms()
        try:
            stream.write(packet)
            if payload:
                await stream.drain()
                stream.write(payload)
            await stream.drain()
        except OSError as exc:
            raise self._lost("cannot write: %s" % exc)
        finally:
            self._write_started = None
        self._last_sent = time.ticks_ms()

    def fail(self, reason):
        """End the connection from outside: run() raises LinkLost(reason)."""
        if self._error is None and self._reader is not None:
            self._error = reason
            self._reader.cancel()

    def check(self, is_owed=False):
        """Fail when nothing moves; return whether it is time for ping().

        A broker that owes a PUBACK is asked sooner: one that is gone is noticed within timeout_s.
        """
        now = time.ticks_ms()
        unheard_ms = time.ticks_diff(now, self._last_heard)
        half_ms = self.timeout_ms // 2
        quiet_ms = min(half_ms, self._quiet_ms) if is_owed else self._quiet_ms
        ping_ms = half_ms if is_owed and unheard_ms >= self.timeout_ms else self.timeout_ms
        for since, limit_ms, what in (
            (self._write_started, self.timeout_ms, "cannot write: stuck for"),
            (self._ping_sent, ping_ms, "no PINGRESP within"),
        ):
            if since is not None and time.ticks_diff(now, since) >= limit_ms:
                self.fail("%s %s s" % (what, limit_ms / 1000))
        self.is_ping_due = self._ping_sent is None and (
            time.ticks_diff(now, self._last_sent) >= self._quiet_ms or unheard_ms >= quiet_ms
        )
        return self.is_ping_due

    async def ping(self):
        """Send PINGREQ; its answer is waited for from now on."""
        self.is_ping_due = False
        self._ping_sent = time.ticks_ms()
        await self.send(b"\xc0\x00")


async def end_task(task):
    """Cancel a task and wait for its end."""
    task.cancel()
    try:
        await task
    except (asyncio.CancelledError, DeviceError, OSError):
        pass
    except Exception as exc:  # end_task() runs on the way out of another one
        print("device: a task ended with", describe(exc))
