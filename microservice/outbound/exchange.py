"""Carries one HTTP request and its answer over an open connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator

import h11

from microservice.errors import OutboundError, OutboundTimeoutError
from microservice.outbound.response import OutboundResponse

READ_BYTES = 64 * 1024
HEAD_LIMIT_BYTES = 64 * 1024

Body = bytes | AsyncIterable[bytes]


class OutboundExchange:
    """One request and its answer; both move at the same time.

    Args:
        reader: the connection.
        writer: the connection.
        name: the target, for messages.
        read_timeout: seconds in which a byte must move; None for no limit.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        name: str,
        read_timeout: float | None,
    ) -> None:
        self._reader, self._writer = reader, writer
        self._name, self._read_timeout = name, read_timeout
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT_BYTES)
        self._sent_pieces = 0
        self._uploading: asyncio.Task[None] | None = None

    @property
    def is_complete(self) -> bool:
        """True when the answer has arrived as a whole."""
        return self._http.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)

    @property
    def unread(self) -> bytes:
        """The bytes behind the answer: no longer HTTP."""
        return self._http.trailing_data[0]

    async def start(self, request: h11.Request, body: Body) -> OutboundResponse:
        """Send a request; return its answer as soon as its head is there."""
        try:
            head = self._http.send(request) or b""
        except h11.LocalProtocolError as exc:
            raise OutboundError(f"cannot request {self._name}: {exc}") from exc
        self._uploading = asyncio.create_task(self._upload(head, body), name="upload")
        reading = asyncio.create_task(self._response_head(), name="response head")
        try:
            await asyncio.wait({self._uploading, reading}, return_when=asyncio.FIRST_COMPLETED)
            if self._uploading.done():
                self._uploading.result()  # an error of the body's source ends the request
            response = await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        headers = tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in response.headers)
        return OutboundResponse(response.status_code, headers, self._chunks())

    async def close(self) -> None:
        """Stop sending; the connection itself is the caller's."""
        if self._uploading is not None:
            self._uploading.cancel()
            await asyncio.gather(self._uploading, return_exceptions=True)

    async def _upload(self, head: bytes, body: Body) -> None:
        try:
            if isinstance(body, bytes) and len(body) <= READ_BYTES:
                # in one piece: a server that answers the head and closes has read the body, too
                whole = self._http.send(h11.Data(data=body)) if body else b""
                await self._write(b"".join((head, whole or b"", self._end())))
                return
            await self._write(head)
            if isinstance(body, bytes):
                await self._write(self._http.send(h11.Data(data=body)))
            else:
                async for piece in body:
                    await self._write(self._http.send(h11.Data(data=piece)))
            await self._write(self._end())
        except ConnectionError:
            pass  # an early answer may close this direction
        except h11.LocalProtocolError as exc:
            self._writer.transport.abort()
            raise OutboundError(f"cannot request {self._name}: {exc}") from exc
        except BaseException:  # the answer may wait for the rest of the body
            self._writer.transport.abort()
            raise

    def _end(self) -> bytes:
        return self._http.send(h11.EndOfMessage()) or b""

    async def _write(self, data: bytes | None) -> None:
        self._writer.write(data or b"")
        await self._writer.drain()
        self._sent_pieces += 1

    async def _response_head(self) -> h11.Response:
        event = await self._next()
        while isinstance(event, h11.InformationalResponse):
            event = await self._next()
        if not isinstance(event, h11.Response):
            raise OutboundError(f"cannot reach {self._name}: it closed the connection")
        return event

    async def _chunks(self) -> AsyncIterator[bytes]:
        while isinstance(event := await self._next(), h11.Data):  # an end that is none raises
            yield bytes(event.data)

    async def _next(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._read())
        except (h11.RemoteProtocolError, ConnectionError) as exc:
            if self._http.their_state is h11.SEND_RESPONSE or not str(exc):
                raise OutboundError(f"cannot reach {self._name}: it closed the connection") from exc
            raise OutboundError(f"cannot read answer of {self._name}: {exc}") from exc
        return event

    async def _read(self) -> bytes:
        while True:
            sent = self._sent_pieces
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._read_timeout):
                    return await self._reader.read(READ_BYTES)
            if sent == self._sent_pieces:
                limit = f"{self._read_timeout:g} s"
                raise OutboundTimeoutError(
                    f"cannot read answer of {self._name}: nothing arrived in {limit}"
                )
