"""Couples a TLS connection with a plain socket, so that splicing and prefaces need no TLS.

carrier (TLS) <──> TlsCoupling <──> inner ═══ outer: a pair of Unix sockets

accept_tls() and connect_tls() do the handshake and return the outer socket. It behaves as the
peer's own: a half-close is passed on both ways, and a reader that is slow stops its writer.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from protocol.splice.sockets import CoupledSocket, cut, is_unanswered, tune
from protocol.tls import READ_BYTES, TlsCodec

HELLO_BYTES = 16_384
LINGER_S = 10.0  # for the peer to read the last bytes after the outer socket has closed

logger = logging.getLogger(__name__)

Step = Callable[[], None]


class StreamCodec(Protocol):
    """One end of an encrypted stream, as in protocol/tls.py; an error is an ssl.SSLError."""

    is_open: bool
    has_ended: bool

    def feed(self, data: bytes) -> None:
        """Feed bytes from the peer."""

    def shake_hands(self) -> None:
        """Do the next step of the handshake."""

    def read(self) -> bytes:
        """Return decrypted bytes; b"" while there are none, or when has_ended."""

    def write(self, data: bytes) -> None:
        """Encrypt bytes."""

    def end(self) -> None:
        """Send the end of the stream; reading continues."""

    def take_output(self) -> bytes:
        """Return the bytes to send to the peer."""


async def accept_tls(
    carrier: socket.socket, context: ssl.SSLContext, received: bytes = b""
) -> socket.socket:
    """Do a server's handshake on a tuned socket; return a plain socket in its place.

    received is what was read from the carrier before. OSError (ssl.SSLError is one) when the
    handshake fails; the carrier is the caller's to close then.
    """
    return await couple(carrier, TlsCodec(context), received)


async def connect_tls(
    carrier: socket.socket, context: ssl.SSLContext, server_name: str
) -> socket.socket:
    """Do a client's handshake on a tuned socket; return a plain socket in its place.

    OSError when the server is not the expected one; the carrier is the caller's to close then.
    """
    return await couple(carrier, TlsCodec(context, server_name), b"")


async def couple(
    carrier: socket.socket, codec: StreamCodec, received: bytes = b""
) -> socket.socket:
    """Do a handshake on a tuned socket; return a plain socket in its place; OSError if it fails."""
    await _shake_hands(carrier, codec, received)
    inner, other = socket.socketpair()
    inner.setblocking(False)
    coupling = TlsCoupling(carrier, codec, inner)
    outer = CoupledSocket(other, coupling)
    tune(outer)
    coupling.start()
    return outer


async def _shake_hands(carrier: socket.socket, codec: StreamCodec, received: bytes) -> None:
    loop = asyncio.get_running_loop()
    try:
        if received:
            codec.feed(received)
        else:
            codec.shake_hands()  # a client sends first; for a server it changes nothing
        while not codec.is_open:
            if output := codec.take_output():
                await loop.sock_sendall(carrier, output)
            data = await loop.sock_recv(carrier, HELLO_BYTES)
            if not data:
                raise ConnectionResetError("the peer ended the handshake")
            codec.feed(data)
    finally:  # the rest of the handshake, or the alert
        if output := codec.take_output():
            with contextlib.suppress(OSError):
                carrier.send(output)


class TlsCoupling:
    """Moves bytes between a TLS connection and a socket, until both directions have ended."""

    def __init__(self, carrier: socket.socket, codec: StreamCodec, inner: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._carrier, self._codec, self._inner = carrier, codec, inner
        self._to_carrier = b""  # encrypted; nothing is read from the inner socket meanwhile
        self._to_inner = b""  # decrypted; nothing is read from the carrier meanwhile
        self._carrier_ended = self._inner_ended = self._end_sent = False
        self._linger: asyncio.TimerHandle | None = None
        self._is_over = False
        self.was_cut = False  # ended by a reset, not by close_notify

    def start(self) -> None:
        """Begin to move bytes; start with those that came with the handshake."""
        self._guard(self._deliver)
        self._watch()

    # from the carrier to the inner socket ------------------------------------------------

    def _read_carrier(self) -> None:
        data = self._carrier.recv(READ_BYTES)
        if not data:  # without close_notify: cut off, perhaps by an attacker on the path
            raise ConnectionResetError("the TLS connection was cut off")
        self._codec.feed(data)
        self._deliver()

    def _deliver(self) -> None:
        while not self._to_inner:
            self._to_inner = self._codec.read()
            if not self._to_inner:
                break
            self._write_inner()
        self._queue_output()
        if self._codec.has_ended and not self._to_inner and not self._carrier_ended:
            self._carrier_ended = True
            self._inner.shutdown(socket.SHUT_WR)

    def _write_inner(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._to_inner = self._to_inner[self._inner.send(self._to_inner) :]

    def _drain_inner(self) -> None:
        self._write_inner()
        self._deliver()

    # from the inner socket to the carrier ------------------------------------------------

    def _read_inner(self) -> None:
        try:
            data = self._inner.recv(READ_BYTES)
        except ConnectionResetError:  # closed with bytes unread: an early answer
            data = b""
        if data:
            self._codec.write(data)
        else:
            self._inner_ended = True
        self._queue_output()

    def _queue_output(self) -> None:
        self._to_carrier += self._codec.take_output()
        if self._inner_ended and not self._end_sent:
            self._end_sent = True
            self._codec.end()
            self._to_carrier += self._codec.take_output()
        self._write_carrier()

    def _write_carrier(self) -> None:
        if self._to_carrier:
            with contextlib.suppress(BlockingIOError):
                self._to_carrier = self._to_carrier[self._carrier.send(self._to_carrier) :]
        if self._end_sent and not self._to_carrier:
            self._carrier.shutdown(socket.SHUT_WR)

    # both --------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Wait for the directions that can continue; end when none can."""
        if self._is_over:
            return
        if self._inner_ended and self._is_inner_closed() and not self._to_carrier:
            self._finish()
            return
        if self._inner_ended and self._linger is None:
            self._linger = self._loop.call_later(LINGER_S, self._look_again)
        if self._carrier_ended and self._end_sent and not self._to_carrier:
            self._finish()
            return
        can_read = not self._to_inner and not self._carrier_ended
        self._set(self._carrier, can_read, self._read_carrier, self._to_carrier,
                  self._write_carrier)  # fmt: skip
        can_read = not self._to_carrier and not self._inner_ended
        self._set(self._inner, can_read, self._read_inner, self._to_inner, self._drain_inner)

    def _set(
        self, sock: socket.socket, can_read: bool, read: Step, unsent: bytes, write: Step
    ) -> None:
        if can_read:
            self._loop.add_reader(sock, self._run, read)
        else:
            self._loop.remove_reader(sock)
        if unsent:
            self._loop.add_writer(sock, self._run, write)
        else:
            self._loop.remove_writer(sock)

    def _run(self, step: Step) -> None:
        self._guard(step)
        self._watch()

    def _guard(self, step: Step) -> None:
        try:
            step()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as exc:  # ssl.SSLError is one
            with contextlib.suppress(OSError):
                self._carrier.send(self._codec.take_output())  # the alert for the peer
            self._break(str(exc))

    def _look_again(self) -> None:
        """Poll whether the outer socket has closed; a half-closed one sends no event."""
        self._linger = None
        if self._is_inner_closed():
            self._break("its last bytes were not read in time")
        else:
            self._watch()

    def _is_inner_closed(self) -> bool:
        """Return whether the outer socket is closed, not only half-closed."""
        try:
            self._inner.send(b"")
        except BlockingIOError:
            return False
        except OSError:
            return True
        return False

    @property
    def is_unanswered(self) -> bool:
        """True when the kernel repeats bytes in vain."""
        return is_unanswered(self._carrier)

    def cut(self) -> None:
        """End now with a reset."""
        self._break("cut")

    def _break(self, why: str) -> None:
        if not self._is_over:
            logger.debug("TLS connection ended: %s", why)
            self.was_cut = True
            self._close(cut)

    def _finish(self) -> None:
        self._close(socket.socket.close)

    def _close(self, close: Callable[[socket.socket], None]) -> None:
        self._is_over = True
        if self._linger is not None:
            self._linger.cancel()
        for sock in (self._carrier, self._inner):
            self._loop.remove_reader(sock)
            self._loop.remove_writer(sock)
        close(self._carrier)
        self._inner.close()
