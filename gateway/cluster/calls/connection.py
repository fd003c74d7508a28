"""Sends requests over one connection to a node, one after the other. Does I/O.

A request and its answer move at the same time, so that a service can answer while it still reads.
"""

import asyncio
import contextlib
import select
import socket
from collections.abc import AsyncIterator
from typing import Any

import h11

from gateway.errors import UplinkLost
from gateway.http.calls import CallBody

READ_BYTES = 64 * 1024
HEADER_LIMIT_BYTES = 64 * 1024
ANSWER_S = 60.0  # to the head of the answer, after the last byte of the request
STALL_S = 60.0  # for one piece, either way


class NodeConnection:
    """A connection to a node that has proved its id."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over the plain side of a connection."""
        self._socket = sock
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADER_LIMIT_BYTES)
        self._upload: asyncio.Task[None] | None = None

    @property
    def is_stale(self) -> bool:
        """True when the other end has closed an idle connection, or sent what nobody asked for."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    async def ask(self, request: h11.Request, body: CallBody) -> h11.Response:
        """Send a request; return the head of the answer. pieces() and end() must follow.

        Raises:
            UplinkLost: there is none; the request may have been carried out.
        """
        self._upload = asyncio.create_task(self._send(request, body))
        download = asyncio.create_task(self._read_head())
        try:
            await asyncio.wait({self._upload, download}, return_when=asyncio.FIRST_COMPLETED)
            if self._upload.done() and not download.done():
                await self._upload  # raises what the source of the body raises
                async with asyncio.timeout(ANSWER_S):
                    return await download
            return await download
        except TimeoutError as exc:
            raise UplinkLost(f"no answer in {ANSWER_S:g} s") from exc
        except (OSError, h11.ProtocolError) as exc:
            raise UplinkLost(f"no answer: {exc or type(exc).__name__}") from exc
        finally:
            download.cancel()
            await asyncio.gather(download, return_exceptions=True)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body of the answer; UplinkLost when it is cut off."""
        try:
            while not isinstance(event := await self._next(), h11.EndOfMessage):
                if not isinstance(event, h11.Data):
                    raise UplinkLost("the answer is cut off")
                yield bytes(event.data)
        except (OSError, TimeoutError, h11.ProtocolError) as exc:
            raise UplinkLost(f"the answer is cut off: {exc or 'it takes too long'}") from exc

    async def end(self) -> bool:
        """End a request; return whether the connection can take another, else it is closed."""
        if self._upload is not None:
            self._upload.cancel()  # no effect when all is sent
            (fault,) = await asyncio.gather(self._upload, return_exceptions=True)
            self._upload = None
            states = {self._http.our_state, self._http.their_state}
            if fault is None and states == {h11.DONE}:
                self._http.start_next_cycle()
                return True
        self.close()
        return False

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    async def _send(self, request: h11.Request, body: CallBody) -> None:
        """Send a request; when its source fails, cut the connection, for it is not complete."""
        try:
            with contextlib.suppress(ConnectionError):  # an early answer may close this direction
                await self._write(self._http.send(request))
                async for piece in body.pieces():
                    await self._write(self._http.send(h11.Data(data=piece)))
                await self._write(self._http.send(h11.EndOfMessage()))
        except BaseException:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            raise

    async def _write(self, data: bytes | None) -> None:
        async with asyncio.timeout(STALL_S):
            await asyncio.get_running_loop().sock_sendall(self._socket, data or b"")

    async def _read_head(self) -> h11.Response:
        event = await self._next(None)
        while isinstance(event, h11.InformationalResponse):
            event = await self._next(None)
        if not isinstance(event, h11.Response):
            raise ConnectionResetError("it has closed the connection")
        return event

    async def _next(self, timeout_s: float | None = STALL_S) -> Any:
        loop = asyncio.get_running_loop()
        while (event := self._http.next_event()) is h11.NEED_DATA:
            async with asyncio.timeout(timeout_s):
                data = await loop.sock_recv(self._socket, READ_BYTES)
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                raise ConnectionResetError("it has closed the connection")
            self._http.receive_data(data)
        return event
