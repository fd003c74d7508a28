"""Opens byte streams to the outside through the gateway, and joins them with local ones."""

import asyncio
import contextlib
import json

import h11

from microservice.errors import OutboundError, OutboundRefusedError
from microservice.outbound.exchange import READ_BYTES, OutboundExchange
from microservice.outbound.response import OutboundResponse

DETAIL_BYTES = 4096  # of a problem document

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def open_tunnel(streams: Streams, place: str) -> bytes:
    """Make the gateway join a connection to it with HOST:PORT (RFC 9110, 9.3.6).

    Returns the bytes that the target has sent already.

    Raises:
        OutboundError: the gateway does not.
    """
    exchange = OutboundExchange(*streams, place, None)
    request = h11.Request(method="CONNECT", target=place, headers=[("host", place)])
    response = await exchange.start(request, b"")
    await exchange.close()
    if not 200 <= response.status < 300:
        await raise_refusal(response)
        detail = await explain(response)
        raise OutboundError(f"cannot reach {place}: {detail}", response.status)
    return exchange.unread


async def raise_refusal(response: OutboundResponse) -> None:
    """Raise an answer of the gateway itself as an error (RFC 9209 names the reason)."""
    status = response.headers.get("proxy-status", "")
    if status.startswith("hecate;"):
        denied = "error=http_request_denied" in status
        raise (OutboundRefusedError if denied else OutboundError)(
            await explain(response), response.status
        )


async def explain(response: OutboundResponse) -> str:
    """Return the detail of a problem document."""
    try:
        return str(json.loads(await response.read(DETAIL_BYTES))["detail"])
    except (OutboundError, ValueError, KeyError, TypeError):
        return f"the gateway answers with status {response.status}"


async def join_streams(near: Streams, far: Streams) -> None:
    """Copy bytes both ways until both directions have ended, or one side is lost."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(READ_BYTES):
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            near[1].transport.abort()
            far[1].transport.abort()

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(copy(near[0], far[1]))
            tasks.create_task(copy(far[0], near[1]))
    finally:
        for _, writer in (near, far):
            with contextlib.suppress(OSError):
                writer.close()
