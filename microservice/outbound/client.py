"""Opens connections to the gateway and sends requests on them."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from functools import lru_cache

import h11

from microservice.errors import OutboundError, OutboundTimeoutError
from microservice.outbound.exchange import READ_BYTES, Body, OutboundExchange
from microservice.outbound.response import OutboundResponse
from microservice.outbound.tunnels import open_tunnel, raise_refusal
from microservice.outbound.urls import OutboundTarget, split_url
from microservice.telemetry.trace import PARENT, current_trace

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
REQUESTS_AT_ONCE = 48  # the gateway refuses a container's connections beyond 64

OutboundHeaders = Mapping[str, str] | Iterable[tuple[str, str]]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

# the client frames the request itself (RFC 9110, 7.6.1)
_OWN_HEADERS = frozenset(
    {"connection", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade"}
)  # fmt: skip


class OutboundClient:
    """The HTTP client of one container; each request has a connection of its own.

    It follows no redirects, decodes no content codings and keeps no cookies.
    """

    def __init__(self, gateway_socket: str) -> None:
        """Take the path of the container's socket of the gateway; "" when there is none."""
        self._gateway_socket = gateway_socket
        self._slots = asyncio.Semaphore(REQUESTS_AT_ONCE)

    @contextlib.asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: OutboundHeaders = (),
        body: bytes | AsyncIterable[bytes] = b"",
        connect_timeout: float | None = CONNECT_TIMEOUT_S,
        read_timeout: float | None = READ_TIMEOUT_S,
    ) -> AsyncIterator[OutboundResponse]:
        """Send a request and yield its answer, whose body is read inside the block.

        Leaving the block earlier ends the request.

        Args:
            method: "GET", "POST" and so on.
            url: http:// or https://; a path alone is one of the gateway's own API.
            headers: the trace of the handler that runs is among them without a word.
            body: bytes, or an asynchronous iterable, which is sent as it yields.
            connect_timeout: seconds until the connection is open; None for no limit.
            read_timeout: seconds in which a byte must move; None for no limit.

        Raises:
            OutboundRefusedError: microservice.toml does not allow the target.
            OutboundTimeoutError: a limit passed.
            OutboundError: the target cannot be reached, or its answer not be read.
        """
        given = _with_trace(list(headers.items() if isinstance(headers, Mapping) else headers))
        target = split_url(url, [name for name, _ in given])
        request = _build_request(method.upper(), target, given, body)
        async with self._connection(target, connect_timeout) as (reader, writer):
            exchange = OutboundExchange(reader, writer, _name(target), read_timeout)
            try:
                response = await exchange.start(request, body)
                if not target.is_secure:
                    await raise_refusal(response)
                yield response
            finally:
                await exchange.close()
                if not exchange.is_complete:
                    writer.transport.abort()

    @contextlib.asynccontextmanager
    async def _connection(
        self, target: OutboundTarget, timeout_s: float | None
    ) -> AsyncIterator[Connection]:
        if not self._gateway_socket:
            raise OutboundError(f"cannot reach {_name(target)}: this process has no gateway")
        async with contextlib.AsyncExitStack() as held:
            try:
                async with asyncio.timeout(timeout_s):
                    await held.enter_async_context(self._slots)
                    reader, writer = await asyncio.open_unix_connection(
                        self._gateway_socket, limit=READ_BYTES
                    )
                    held.callback(writer.close)
                    if target.is_secure:
                        await open_tunnel((reader, writer), _name(target))
                        await writer.start_tls(_tls_context(), server_hostname=target.host)
            except TimeoutError as exc:
                raise OutboundTimeoutError(
                    f"cannot reach {_name(target)}: no connection in {timeout_s or 0:g} s"
                ) from exc
            except OSError as exc:
                why = getattr(exc, "verify_message", "") or exc.strerror or str(exc)
                raise OutboundError(f"cannot reach {_name(target)}: {why}") from exc
            yield reader, writer


@lru_cache(1)
def _tls_context() -> ssl.SSLContext:
    """Return the context of all connections; the authorities of the system take some MiB."""
    return ssl.create_default_context()


def _with_trace(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return headers with the context of the trace that the running handler belongs to."""
    trace = current_trace()
    if trace is None or PARENT in {name.lower() for name, _ in headers}:
        return headers
    return [*headers, *trace.headers]


def _name(target: OutboundTarget) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"{host}:{target.port}"


def _build_request(
    method: str, target: OutboundTarget, given: list[tuple[str, str]], body: Body
) -> h11.Request:
    headers = [(name, value) for name, value in given if name.lower() not in _OWN_HEADERS]
    names = {name.lower() for name, _ in headers}
    if "host" not in names:
        headers.insert(0, ("host", target.authority))
    if not isinstance(body, bytes):
        if "content-length" not in names:
            headers.append(("transfer-encoding", "chunked"))
    elif "content-length" not in names and (body or method in ("POST", "PUT", "PATCH")):
        headers.append(("content-length", str(len(body))))
    headers.append(("connection", "close"))
    path = target.path if target.is_secure else target.url
    try:
        return h11.Request(method=method, target=path, headers=headers)
    except (h11.LocalProtocolError, UnicodeEncodeError) as exc:
        raise OutboundError(f"cannot request {_name(target)}: {exc}") from exc
