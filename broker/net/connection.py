"""Serves one socket of the broker: passes whole reads in, and the core's writes out."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from broker.net.listeners import own_names
from broker.quota.connection_limiter import find_key
from broker.sessions.client import Client, ConnectionState
from broker.wire.packet_buffer import is_worth_buffering

if TYPE_CHECKING:
    import ssl
    from collections.abc import Coroutine

    from broker.net.hub import Hub
    from broker.net.listeners import Listener
    from broker.policy import AuthExchange, Credentials
    from broker.quota.connection_limiter import ConnectionSlot

logger = logging.getLogger(__name__)

HTTP_GET = ord("G")  # a CONNECT begins with 0x10
FRAMES_BYTES = 16_384  # read at once of frames: an empty one has 6 bytes and costs 10 us
FRAME_ROOM_BYTES = 65_536  # of small packets that share a frame with a large one
LINGER_BYTES = 8 * 1024 * 1024  # of further input; more than the buffers of both ends hold
TLS_LINGER_S = 0.5  # a round trip on a bad link, for an MQTT 5 client to take its DISCONNECT


class ClientConnection(asyncio.BufferedProtocol):
    """One socket: passes whole read buffers in, and the core's writes out."""

    __slots__ = (
        "_buffer", "_client", "_deciding", "_exchange", "_has_spoken", "_hub",
        "_linger_bytes",
        "_listener", "_name", "_peer", "_place", "_transport",
    )  # fmt: skip

    def __init__(self, hub: Hub, listener: Listener, peer: str, place: ConnectionSlot) -> None:
        self._hub = hub
        self._buffer = hub.read_buffer
        self._listener = listener
        self._peer = peer
        self._place = place
        self._name = ""  # of the identity, once online
        self._client: Client | None = None
        self._transport: asyncio.Transport | None = None
        self._deciding: asyncio.Task[None] | None = None
        self._exchange: AuthExchange | None = None  # the last that was begun
        self._has_spoken = False
        self._linger_bytes: int | None = None  # left of LINGER_BYTES, once we have said our last

    # -- called by the loop ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the connection, or refuse it."""
        self._transport = cast("asyncio.Transport", transport)  # TCP, TLS and Unix all are
        hub = self._hub
        hub.note(self)
        self._transport.set_write_buffer_limits(high=hub.limits.output_bytes)
        self._client = hub.core.open(self, self._listener.name, self._peer, hub.now())
        if self._client is None:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's
        """Lend the one buffer that all connections read into; what is read is copied at once.

        The rest of a large packet has a place of its own.
        """
        client = self._client
        if client is None or client.packet_buffer is None:
            return self._buffer
        return client.packet_buffer.left

    def buffer_updated(self, nbytes: int) -> None:
        """Handle one read: up to READ_BYTES."""
        client = self._client
        if client is None:
            return
        if self._linger_bytes is not None:
            self._linger(nbytes)
            return
        if client.packet_buffer is not None:
            self._hub.grow(client, nbytes)
            self._hub.buffer_budget.note_incomplete(self)
            return
        # speed: else asyncio takes 256 KiB from the allocator for each read, see benchmarks/
        self._hub.receive(client, bytes(self._buffer[:nbytes]))
        if client.parts:
            self._open_packet_buffer(client)
            self._hub.buffer_budget.note_incomplete(self)

    def pause_writing(self) -> None:
        """Note that the peer reads more slowly than it is sent."""
        if self._client is not None:
            self._hub.core.pause(self._client)

    def resume_writing(self) -> None:
        """Note that the peer has read everything."""
        if self._client is not None and self._transport is not None:
            self._transport.set_write_buffer_limits(high=self._hub.limits.output_bytes)
            self._hub.core.resume(self._client, self._hub.now())
            self._hub.flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Report the end to the core."""
        if self._deciding is not None:
            self._deciding.cancel()
        self._place.give_back()
        self._hub.forget(self, self._name)
        if self._client is not None:
            self._hub.core.lost(self._client, self._hub.now())
            self._client = None
            self._hub.flush()
        self._transport = None  # or the two objects would keep each other alive

    # -- called by the core ----------------------------------------------------------------

    def write(self, output: bytes) -> None:
        """Send now, or leave it to the transport."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._linger_bytes is not None:
            return
        self._has_spoken = True
        transport.write(output)
        if transport.get_write_buffer_size():
            self._hub.buffer_budget.note_unread(self)

    def set_reading(self, *, wanted: bool) -> None:
        """Go on reading, or stop."""
        if self._transport is None or self._transport.is_closing():
            return
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def close(self) -> None:
        """Close once everything is sent and the peer has closed; the core's deadline bounds that.

        Closed while the peer still sends, the kernel would answer with a reset, by which the
        peer may lose what we said last.
        """
        transport = self._transport
        if transport is None or self._linger_bytes is not None:
            return
        if not self._has_spoken:
            transport.close()
            return
        self._linger_bytes = LINGER_BYTES
        self.set_reading(wanted=True)
        if not transport.can_write_eof():  # TLS has no half-closed connections
            asyncio.get_running_loop().call_later(TLS_LINGER_S, transport.close)
            return
        try:
            transport.write_eof()
        except OSError:  # the peer has reset it, and the transport does not know yet
            transport.abort()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    def authenticate(self, credentials: Credentials) -> None:
        """Ask the authenticator; wait for its answer in a task of this connection."""
        assert self._client is not None  # it asks
        waits = self._hub.authenticate(self._client, self._complete(credentials))
        if waits is not None:
            self._start_deciding(waits)

    def begin(self, method: str, credentials: Credentials, data: bytes | None) -> None:
        """Begin an authentication of several steps."""
        self._exchange = self._hub.begin(method, self._complete(credentials))
        self.proceed(data)

    def proceed(self, data: bytes | None) -> None:
        """Take its next step, in a task as well."""
        assert self._client is not None  # it asks
        self._start_deciding(self._hub.proceed(self._client, self._exchange, data))

    def _open_packet_buffer(self, client: Client) -> None:
        have, need = client.have, client.need
        if is_worth_buffering(have, need) and self._hub.buffer_budget.has_room(need - have):
            self._hub.core.open_buffer(client)

    def _complete(self, credentials: Credentials) -> Credentials:
        assert self._transport is not None  # bytes came over it
        tls: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        if tls is None:
            return credentials
        return replace(
            credentials,
            certificate=tls.getpeercert(binary_form=True),
            certificate_names=_names_in_certificate(tls),
        )

    def _start_deciding(self, asked: Coroutine[None, None, None]) -> None:
        """Wait for an answer; connection_lost() ends that."""
        self._place.ask()
        self._deciding = asyncio.get_running_loop().create_task(asked)
        self._deciding.add_done_callback(self._decided)

    def _finish(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _linger(self, nbytes: int) -> None:
        """Read and drop further bytes of the peer, up to a bound."""
        assert self._linger_bytes is not None  # the caller looked
        self._linger_bytes -= nbytes
        if self._linger_bytes < 0:
            self.abort()

    def admitted(self) -> None:
        """Note that the client is online."""
        assert self._client is not None  # it was decided about
        self._place.settle()
        self._name = self._client.name
        self._hub.note_online(self, self._name)

    def _decided(self, task: asyncio.Task[None]) -> None:
        if self._deciding is task:  # and not the task of the next step
            self._deciding = None

    # -- called by the broker --------------------------------------------------------------

    @property
    def is_online(self) -> bool:
        """True between the CONNACK and the end of the connection."""
        return self._client is not None and self._client.state is ConnectionState.ONLINE

    @property
    def unread_bytes(self) -> int:
        """The bytes that the transport holds for the peer."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    @property
    def incomplete_bytes(self) -> int:
        """The bytes held of an incomplete packet."""
        client = self._client
        if client is None or not client.parts:
            return 0
        return client.have if client.packet_buffer is None else client.packet_buffer.size_bytes

    def pause(self) -> None:
        """Treat the peer as slow until it has read everything."""
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=0)

    def refuse(self, reason: str) -> None:
        """Close for cause, now."""
        self._hub.counters.refuse(reason)
        self._tell(reason)
        self.abort()

    def _tell(self, reason: str) -> None:
        if self._hub.core.log_limiter.may_log(self._peer, reason):
            where = (self._peer or "this machine", self._listener.name)
            logger.info("closing %s on %s: %s", *where, reason.replace("_", " "))


class WebSocketClientConnection(ClientConnection):
    """One socket that speaks MQTT in WebSocket frames."""

    __slots__ = ("_websocket",)

    def __init__(self, hub: Hub, listener: Listener, peer: str, place: ConnectionSlot) -> None:
        super().__init__(hub, listener, peer, place)
        self._begin_frames()

    def _begin_frames(self) -> None:
        from broker.net.websocket import WebSocketCodec  # 3 MiB that only its listeners need

        frame_bytes = self._hub.limits.packet_bytes + FRAME_ROOM_BYTES
        # a proxy's client is known by the PROXY header; pages of others are listed
        is_browser_here = bool(self._peer) and not find_key(self._peer)
        is_checked = self._listener.known_hosts_only and is_browser_here
        hosts = own_names(self._listener) if is_checked else None
        self._websocket = WebSocketCodec(self._listener.origins, frame_bytes, hosts)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's
        """Lend a part of the one buffer, so that others have their turn."""
        return self._buffer[:FRAMES_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        """Handle one read: the MQTT inside its frames."""
        client, websocket = self._client, self._websocket
        if self._linger_bytes is not None:
            self._linger(nbytes)
        if client is None or websocket.done or self._linger_bytes is not None:
            return
        received = websocket.receive(bytes(self._buffer[:nbytes]))
        if received and client.state is not ConnectionState.CLOSED:
            self._hub.receive(client, received)
        self._answer(websocket.take_output())
        if websocket.refusal:
            self._hub.counters.refuse(websocket.refusal)
            self._tell(websocket.refusal)
        if websocket.done:
            self._finish()
        elif not self.is_online and self.incomplete_bytes > self._hub.limits.connect_bytes:
            self.refuse("connect_bytes")
        elif self.incomplete_bytes:
            self._hub.buffer_budget.note_incomplete(self)

    def write(self, output: bytes) -> None:
        """Send as one frame."""
        super().write(self._websocket.encode(output))

    def close(self) -> None:
        """Send a close frame; close on the peer's answer, or at the core's deadline."""
        self._websocket.close()
        self._answer(self._websocket.take_output())
        if self._websocket.done:
            super().close()
        else:
            self.set_reading(wanted=True)

    @property
    def incomplete_bytes(self) -> int:
        """The bytes held of an incomplete packet or frame."""
        return super().incomplete_bytes + self._websocket.unread_bytes

    def _answer(self, output: bytes) -> None:
        # a peer that sends pings and reads no pongs gets no more of them
        if output and self.unread_bytes <= self._hub.limits.output_bytes:
            super().write(output)


class EitherConnection(WebSocketClientConnection):
    """One socket with plain MQTT or WebSocket, according to its first byte."""

    __slots__ = ("_has_frames",)

    def _begin_frames(self) -> None:
        self._has_frames: bool | None = None  # not known; the frames' state costs memory

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the buffer of the protocol in use."""
        if self._has_frames:
            return super().get_buffer(sizehint)
        return ClientConnection.get_buffer(self, sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        """Handle one read of the protocol in use."""
        if self._has_frames is None and nbytes:
            self._has_frames = self._buffer[0] == HTTP_GET
            if self._has_frames:
                super()._begin_frames()
        if self._has_frames:
            super().buffer_updated(nbytes)
        else:
            ClientConnection.buffer_updated(self, nbytes)

    def write(self, output: bytes) -> None:
        """Send by the protocol in use."""
        if self._has_frames:
            super().write(output)
        else:
            ClientConnection.write(self, output)

    def close(self) -> None:
        """Close by the protocol in use."""
        if self._has_frames:
            super().close()
        else:
            ClientConnection.close(self)

    @property
    def incomplete_bytes(self) -> int:
        """The bytes held of an incomplete packet or frame."""
        if self._has_frames:
            return super().incomplete_bytes
        client = self._client
        if client is None or not client.parts:
            return 0
        return client.have if client.packet_buffer is None else client.packet_buffer.size_bytes


def _names_in_certificate(tls: ssl.SSLObject) -> tuple[tuple[str, str], ...]:
    certificate = tls.getpeercert() or {}
    subject = [pair for names in certificate.get("subject", ()) for pair in names]
    found = [*subject, *certificate.get("subjectAltName", ())]
    return tuple((kind, name) for kind, name in found if isinstance(name, str))
