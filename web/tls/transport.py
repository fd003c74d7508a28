"""Puts TLS between a transport and a protocol of asyncio.

asyncio's own TLS calls the protocol of a connection only after the handshake, so that a peer that
never begins one is in no table, and it holds 256 KiB of buffers for each connection. Here the
protocol owns the connection from its start, and the buffers are OpenSSL's.
"""

import asyncio
import logging
import ssl
from collections import deque
from typing import Any, cast

from protocol.tls import TlsCodec

HANDSHAKES_AT_ONCE = 4  # steps of 1 ms each in one iteration of the loop

logger = logging.getLogger(__name__)


class TlsHandshakes:
    """Spreads handshakes over iterations of the event loop."""

    def __init__(self) -> None:
        self._waiting: deque[TlsProtocol] = deque()

    def add(self, protocol: "TlsProtocol") -> None:
        """Let a protocol continue its handshake soon."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        self._waiting.append(protocol)

    def _run(self) -> None:
        for _ in range(min(HANDSHAKES_AT_ONCE, len(self._waiting))):
            self._waiting.popleft().shake_hands()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._run)


class TlsProtocol(asyncio.Protocol):
    """The protocol of the encrypted side; feeds the protocol of the plain side."""

    def __init__(
        self, context: ssl.SSLContext, inner: asyncio.Protocol, queue: TlsHandshakes
    ) -> None:
        self.context, self._inner, self._queue = context, inner, queue
        self._codec: TlsCodec | None = None  # from the first byte on
        self._pending = bytearray()  # of the handshake, until its next step
        self._is_paused = False
        self.raw: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the plain side its transport."""
        self.raw = cast("asyncio.Transport", transport)
        self._inner.connection_made(TlsTransport(self))

    def connection_lost(self, exc: Exception | None) -> None:
        """Call the same method of the plain side."""
        self._codec = None
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Call the same method of the plain side."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Call the same method of the plain side."""
        self._inner.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Decrypt; a handshake waits in the queue."""
        codec = self._codec
        if codec is None or not codec.is_open:
            if not self._pending:
                self.raw.pause_reading()
                self._queue.add(self)
            self._pending += data
            return
        try:
            codec.feed(data)
        except ssl.SSLError as exc:
            self._fail(exc)
            return
        self.deliver()

    def shake_hands(self) -> None:
        """Do one step of the handshake."""
        if self.raw.is_closing():
            return
        data, self._pending = bytes(self._pending), bytearray()
        try:
            if self._codec is None:
                self._codec = TlsCodec(self.context)
            self._codec.feed(data)
        except ssl.SSLError as exc:
            self._fail(exc)
            return
        self._flush()
        self.raw.resume_reading()
        if self._codec.is_open:
            self.deliver()

    def deliver(self) -> None:
        """Pass decrypted data to the plain side, unless it has paused."""
        codec = self._codec
        try:
            while codec is not None and not self._is_paused and not self.raw.is_closing():
                data = codec.read()
                if not data:
                    break
                self._inner.data_received(data)
        except ssl.SSLError as exc:
            self._fail(exc)
            return
        self._flush()
        if codec is not None and codec.has_ended:
            self.close()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send; discard the data before the handshake is done."""
        if self._codec is None or not self._codec.is_open or self.raw.is_closing():
            return
        try:
            self._codec.write(data)
        except ssl.SSLError as exc:
            self._fail(exc)
            return
        self._flush()

    def close(self) -> None:
        """Close once everything is sent."""
        if self._codec is not None and not self.raw.is_closing():
            self._codec.end()
            self._flush()
        self.raw.close()

    def pause(self) -> None:
        """Stop reading; the kernel buffers."""
        self._is_paused = True
        self.raw.pause_reading()

    def resume(self) -> None:
        """Read again; deliver decrypted data first."""
        self._is_paused = False
        if not self.raw.is_closing():
            self.raw.resume_reading()
            asyncio.get_running_loop().call_soon(self.deliver)

    def _flush(self) -> None:
        output = self._codec.take_output() if self._codec is not None else b""
        if output:
            self.raw.write(output)

    def _fail(self, exc: ssl.SSLError) -> None:
        logger.debug("TLS: %s", exc.reason or exc)
        self._flush()  # the alert, for the peer
        self.raw.close()


class TlsTransport(asyncio.Transport):
    """The transport of the plain side."""

    def __init__(self, protocol: TlsProtocol) -> None:
        super().__init__()
        self._protocol, self._raw = protocol, protocol.raw

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return "sslcontext", or an item of the raw transport."""
        if name == "sslcontext":
            return self._protocol.context
        return self._raw.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        self._protocol.write(data)

    def close(self) -> None:
        """Close once everything is sent."""
        self._protocol.close()

    def abort(self) -> None:
        """Close now."""
        self._raw.abort()

    def is_closing(self) -> bool:
        """Return whether it is closed or about to be."""
        return self._raw.is_closing()

    def is_reading(self) -> bool:
        """Return whether it reads."""
        return self._raw.is_reading()

    def pause_reading(self) -> None:
        """Deliver nothing for now."""
        self._protocol.pause()

    def resume_reading(self) -> None:
        """Deliver again."""
        self._protocol.resume()

    def can_write_eof(self) -> bool:
        """Return False: HTTP ends a connection as a whole."""
        return False

    def get_write_buffer_size(self) -> int:
        """Return the number of encrypted bytes that wait."""
        return self._raw.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when the plain side pauses."""
        self._raw.set_write_buffer_limits(high, low)
