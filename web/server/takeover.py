"""Gives an application the bytes of a connection, after CONNECT or an upgrade (RFC 9110, 7.8).

A server offers it in scope["extensions"] for the requests that may end HTTP on their connection.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

KEY = "hecate.takeover"
READ_BYTES = 64 * 1024


class TakenConnection:
    """A connection that has ceased to be HTTP; it still counts in the server's table."""

    def __init__(self, transport: asyncio.Transport, drain: Callable[[], Awaitable[None]]) -> None:
        self._transport, self._drain = transport, drain
        self._reader = asyncio.StreamReader(READ_BYTES)
        self._reader.set_transport(transport)

    async def read(self) -> bytes:
        """Return the next bytes; b"" when the peer has ended its direction."""
        return await self._reader.read(READ_BYTES)

    async def write(self, data: bytes) -> None:
        """Send bytes; wait while the peer takes none. ConnectionError when it has gone."""
        if self._transport.is_closing():
            raise ConnectionResetError("cannot write: the peer has closed the connection")
        self._transport.write(data)
        await self._drain()

    def end(self) -> None:
        """End this direction; with TLS the connection ends as a whole."""
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def close(self) -> None:
        """Close once everything is sent."""
        self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()

    def feed(self, data: bytes) -> None:
        """Take bytes from the server's protocol."""
        self._reader.feed_data(data)

    def feed_end(self) -> None:
        """Take the end of the peer's direction from the server's protocol."""
        self._reader.feed_eof()


TakeOver = Callable[[bytes], TakenConnection]


def take_over_of(scope: Any) -> TakeOver | None:
    """Return the function that sends the head of an answer and ends HTTP; None when it cannot."""
    found: TakeOver | None = scope.get("extensions", {}).get(KEY)
    return found
