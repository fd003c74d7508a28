"""Carries the bytes of one session to the broker and back."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

from gateway.links.packet_boundary import PacketBoundary
from gateway.links.session import ChunkSession

DISCONNECT = b"\xe0\x00"
INWARD_BYTES = 8 * 1024  # they may wait for the broker; further chunks are dropped and sent again
KERNEL_BYTES = 16 * 1024  # asked of the system for each direction of the socket pair
READ_BYTES = 4096

Adopt = Callable[[socket.socket], Awaitable[bool]]  # gives the other end to the broker


class BrokerPipe:
    """One connection to the broker, by a pair of sockets."""

    def __init__(self, session: ChunkSession, on_output: Callable[[], None]) -> None:
        self._session, self._on_output = session, on_output
        self._inward = bytearray()
        self._has_input, self._has_room = asyncio.Event(), asyncio.Event()
        self._boundary = PacketBoundary()
        self._wants_to_leave = False
        self.has_left = False

    @property
    def takes_data(self) -> bool:
        """True while there is room for what one more chunk may complete."""
        return not self.has_left and len(self._inward) < INWARD_BYTES

    def feed(self, data: bytes) -> None:
        """Pass bytes on to the broker."""
        self._inward += data
        self._boundary.feed(data)
        self._has_input.set()
        self._look()

    def leave(self) -> None:
        """Say good-bye to the broker for the device, at the end of the packet that is coming.

        The broker then stores the session, and no will is due.
        """
        self._wants_to_leave = True
        self._look()

    def _look(self) -> None:
        if self._wants_to_leave and not self.has_left and self._boundary.is_between:
            self._inward += DISCONNECT
            self.has_left = True
            self._has_input.set()

    def note_room(self) -> None:
        """Note that the session may take more bytes of the broker."""
        if self._session.room:
            self._has_room.set()

    async def run(self, adopt: Adopt) -> str:
        """Pass bytes until the broker closes the connection; return why that was."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
        try:
            ours.setblocking(False)
            if not await adopt(theirs):
                ours.close()
                return "too many connections"
            reader, writer = await asyncio.open_connection(sock=ours, limit=READ_BYTES)
        except BaseException:
            ours.close()
            raise
        inward = asyncio.create_task(self._pass_inward(writer))
        try:
            await self._pass_outward(reader)
        finally:
            inward.cancel()
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await inward
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return "the broker closed the connection"

    async def _pass_inward(self, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=0)
        while True:
            await self._has_input.wait()
            self._has_input.clear()
            data = bytes(self._inward)
            writer.write(data)
            await writer.drain()  # the bytes count until the system has taken them
            del self._inward[: len(data)]

    async def _pass_outward(self, reader: asyncio.StreamReader) -> None:
        while True:
            while not self._session.room:
                self._has_room.clear()
                await self._has_room.wait()
            try:
                data = await reader.read(min(self._session.room, READ_BYTES))
            except OSError:
                return
            if not data:
                return
            self._session.send(data)
            self._on_output()
