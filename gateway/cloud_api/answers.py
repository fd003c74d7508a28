"""Sends requests to other nodes over HTTP, and reads their answers piece by piece."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from gateway.errors import CallNotSent, UplinkLost
from gateway.http.calls import NodeAnswer


@dataclass(frozen=True, slots=True)
class OutgoingCall:
    """A request to another node, as HTTP carries it."""

    method: str
    url: str
    headers: Iterable[tuple[str, str]]
    content: AsyncIterator[bytes] | bytes | None


@asynccontextmanager
async def open_answer(
    http: httpx.AsyncClient, call: OutgoingCall, way: str, limit_bytes: int | None = None
) -> AsyncIterator[NodeAnswer]:
    """Yield the answer to a request; way is its name in errors.

    Raises:
        CallNotSent: nothing was sent.
        UplinkLost: the connection broke, or the answer exceeds the limit.
    """
    try:
        request = http.build_request(
            call.method, call.url, headers=list(call.headers), content=call.content
        )
        response = await http.send(request, stream=True)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.InvalidURL,
            httpx.ProxyError) as exc:  # fmt: skip
        raise CallNotSent(f"cannot reach the {way}: {_reason(exc)}") from exc
    except httpx.HTTPError as exc:
        raise UplinkLost(f"cannot read the answer of the {way}: {_reason(exc)}") from exc
    headers = tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in response.headers.raw)
    try:
        yield NodeAnswer(response.status_code, headers, _pieces(response, way, limit_bytes))
    finally:
        await response.aclose()


async def _pieces(
    response: httpx.Response, way: str, limit_bytes: int | None
) -> AsyncIterator[bytes]:
    size = 0
    try:
        async for piece in response.aiter_raw():
            size += len(piece)
            if limit_bytes is not None and size > limit_bytes:
                raise UplinkLost(f"cannot read the answer: more than {limit_bytes} bytes")
            yield piece
    except httpx.HTTPError as exc:
        raise UplinkLost(f"cannot read the answer of the {way} to its end: {_reason(exc)}") from exc


def _reason(exc: Exception) -> str:
    return str(exc) or type(exc).__name__
