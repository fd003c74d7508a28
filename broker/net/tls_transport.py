"""Encrypts the broker's own sockets: a layer between a Stream and its connection.

Theory of operation
-------------------
OpenSSL sees no socket: received bytes go into one buffer of OpenSSL's, bytes to send come out of
another, and a Stream moves both. So the promises of transport.py hold here as well: turns of the
loop, bounds, lingering, and slow readers. Rules:

1. A buffer of OpenSSL's keeps the largest size that it ever had, as long as the connection lives.
   No more than PIECE_BYTES are put into one at a time.
2. Received bytes are decrypted at once, until the owner wants no more. The rest waits here, and the
   socket is read again only when it is used up.
3. close_notify follows everything that was written, once nothing is left to decrypt: OpenSSL would
   fail on it. Reading goes on until the peer ends, too.

speed: benchmarks/, tls_64b and tls_16kib. On sockets of its own OpenSSL calls the system twice for
each record. Handshakes: tls_handshake.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from broker.net.transport import Stream

RECEIVE_BYTES = 262_144  # at once, encrypted; a busy publisher fills it
PIECE_BYTES = 65_536  # given to OpenSSL at once; each piece ends in a record, and that costs 3 us
RECORD_BYTES = 16_384  # the most that a record carries
OWED_BYTES = 16_384  # of answers to new keys that wait for the peer; each has 27 bytes


class TlsOwner(Protocol):
    """The protocol above an open connection: an asyncio.BufferedProtocol that can also abort it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend a buffer for received bytes."""

    def buffer_updated(self, nbytes: int) -> None:
        """Handle the bytes that the buffer has received."""

    def pause_writing(self) -> None:
        """Write no more until resume_writing()."""

    def resume_writing(self) -> None:
        """Write again."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection has ended."""

    def refuse(self, reason: str) -> None:
        """Count and log the reason, and abort."""


class TlsStream(asyncio.Transport, asyncio.BufferedProtocol):
    """One open connection: the protocol of a Stream, the transport of another protocol."""

    __slots__ = (
        "_buffer", "_incoming", "_is_ending", "_is_over", "_is_reading", "_loop", "_outgoing",
        "_owed_bytes", "_protocol", "_received", "_stream", "_tls",
    )  # fmt: skip

    def __init__(
        self,
        place: tuple[asyncio.AbstractEventLoop, memoryview],
        stream: Stream,
        tls: ssl.SSLObject,
        buffers: tuple[ssl.MemoryBIO, ssl.MemoryBIO],
        protocol: TlsOwner,
    ) -> None:
        self._loop, self._buffer = place  # all connections of a listener share the buffer
        self._stream = stream
        self._tls = tls
        self._incoming, self._outgoing = buffers
        self._protocol = protocol
        self._received = memoryview(b"")  # input that OpenSSL was not given yet
        self._owed_bytes = 0  # of answers that wait
        self._is_reading = False
        self._is_over = False  # the peer has ended
        self._is_ending = False  # nothing more is written
        stream.set_protocol(self)
        protocol.connection_made(self)
        self.resume_reading()

    # -- asyncio.Transport -------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the TLS object for "ssl_object", or the stream's information."""
        return self._tls if name == "ssl_object" else self._stream.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        if not data or self._is_ending:
            return
        try:
            encrypted = self._encrypt(data)
        except ssl.SSLError:
            self.abort()
            return
        self._stream.write(encrypted)

    def write_eof(self) -> None:
        """Send the waiting bytes, and nothing after them."""
        if not self._is_ending:
            self._is_ending = True
            if not self._has_more():
                self._end_writing()

    def can_write_eof(self) -> bool:
        """Return True."""
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the numbers of waiting bytes at which the protocol pauses and resumes."""
        self._stream.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return the number of encrypted bytes that wait."""
        return self._stream.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Leave further bytes to the kernel, and received ones here."""
        self._is_reading = False
        self._stream.pause_reading()

    def resume_reading(self) -> None:
        """Read again, received bytes first."""
        if self._stream.is_closing():
            return
        self._is_reading = True
        if self._has_more():
            self._loop.call_soon(self._stream.go_on)
        else:
            self._stream.resume_reading()

    def is_closing(self) -> bool:
        """Return whether it is closed or about to be."""
        return self._stream.is_closing()

    def close(self) -> None:
        """Close once everything is sent."""
        if not self._stream.is_closing():
            self._is_reading = False
            self._is_ending = True
            self._send_close_notify()
            self._stream.close()

    def abort(self) -> None:
        """Close now."""
        self._is_reading = False
        self._is_ending = True
        self._stream.abort()

    # -- called by the stream ---------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the common buffer, about as much of it as the protocol reads at once."""
        wanted = self._protocol.get_buffer(sizehint)
        return self._buffer[: max(len(wanted), RECORD_BYTES)]

    def buffer_updated(self, nbytes: int) -> None:
        """Decrypt received bytes; with 0 bytes, those that wait."""
        if nbytes:
            self._received = self._buffer[:nbytes]
        try:
            self._pass_on()
        except ssl.SSLError:
            self._stream.write(self._outgoing.read())  # the alert, for the peer
            self._protocol.refuse("tls_broken")
            return
        if self._received:
            self._received = memoryview(bytes(self._received))  # others use the buffer next
        if self._outgoing.pending:
            self._answer(self._outgoing.read())
        if self._is_over:
            self._loop.call_soon(self.close)  # behind the answers to the last packets
        elif self._is_reading:
            if self._is_ending:
                self._end_writing()
            if not nbytes:
                self._stream.resume_reading()

    def pause_writing(self) -> None:
        """Pass it on."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on, and drop the objects of OpenSSL."""
        self._is_reading = False
        self._is_ending = True
        self._protocol.connection_lost(exc)
        # now: the handler of the last packet may still refer to this object
        del self._tls, self._incoming, self._outgoing
        self._received = memoryview(b"")

    # -- within -----------------------------------------------------------------------------

    def _pass_on(self) -> None:
        protocol = self._protocol
        while self._is_reading:
            buffer = protocol.get_buffer(-1)
            size = len(buffer)  # the protocol may release the view
            taken = self._decrypt(buffer)
            if taken:
                protocol.buffer_updated(taken)
            if taken < size:
                return

    def _decrypt(self, buffer: memoryview) -> int:
        """Fill a buffer as far as possible; return the number of bytes."""
        tls, incoming = self._tls, self._incoming
        taken, size = 0, len(buffer)
        while taken < size and not self._is_over:
            if not incoming.pending and not tls.pending():
                if not self._received:
                    break
                incoming.write(self._received[:PIECE_BYTES])
                self._received = self._received[PIECE_BYTES:]
            try:
                count = tls.read(size - taken, buffer[taken:])
            except ssl.SSLWantReadError:  # not even one record is whole
                continue
            assert isinstance(count, int)  # read() returns bytes only without a buffer
            taken += count
            self._is_over = not count
        return taken

    def _encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        tls, outgoing, size = self._tls, self._outgoing, len(data)
        if size <= PIECE_BYTES:
            tls.write(data)
            return outgoing.read()
        view, at, pieces = memoryview(data), 0, []
        while at < size:
            at += tls.write(view[at : at + PIECE_BYTES])
            pieces.append(outgoing.read())
        return b"".join(pieces)

    def _answer(self, answer: bytes) -> None:
        """Send our part of new keys, but not to a peer that only asks for more."""
        self._stream.write(answer)
        waiting_bytes = self._stream.get_write_buffer_size()
        self._owed_bytes = self._owed_bytes + len(answer) if waiting_bytes else 0
        if self._owed_bytes > OWED_BYTES:
            self._protocol.refuse("tls_new_keys")

    def _has_more(self) -> bool:
        return bool(self._received or self._incoming.pending or self._tls.pending())

    def _end_writing(self) -> None:
        self._send_close_notify()
        try:
            self._stream.write_eof()
        except OSError:  # the peer has reset it, and the stream does not know yet
            self._stream.abort()

    def _send_close_notify(self) -> None:
        with contextlib.suppress(ssl.SSLError):  # the peer has not ended yet
            self._tls.unwrap()
        self._stream.write(self._outgoing.read())
