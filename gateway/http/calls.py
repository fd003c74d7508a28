"""Defines a request to another node and its answer, piece by piece."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from gateway.errors import CallTooLarge
from protocol.http_body import SAFE_METHODS, Headers, HttpResponse


class CallBody:
    """The body of a request; it can be sent again until a piece of it is gone.

    Args:
        data: its first bytes, which are kept.
        more: the rest, which is read once.
        length: of the whole body, as its sender declares it; None when it is not known.
    """

    def __init__(
        self, data: bytes = b"", more: AsyncIterator[bytes] | None = None, length: int | None = None
    ) -> None:
        self._kept, self._more = data, more
        self.length = len(data) if more is None else length
        self.is_gone = False  # a piece was sent and not kept

    async def whole(self, limit_bytes: int) -> bytes:
        """Read and keep all of it; CallTooLarge when it has more bytes."""
        body = bytearray(self._kept)
        if self._more is not None:
            async for piece in self._more:
                body += piece
                if len(body) > limit_bytes:
                    self.is_gone = True
                    break
        if len(body) > limit_bytes:
            raise CallTooLarge(
                f"cannot carry request: more than {limit_bytes} bytes through the cloud; "
                "ask the other service for a BEP (GET <microservice>/bep)"
            )
        self._kept, self._more, self.length = bytes(body), None, len(body)
        return self._kept

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield it piece by piece."""
        if self._kept:
            yield self._kept
        if self._more is not None:
            async for piece in self._more:
                self.is_gone = True
                yield piece


@dataclass(frozen=True, slots=True)
class NodeCall:
    """A request; target is path and query, headers are end-to-end headers without framing.

    A bulk request may have a large body or answer, so that a tunnel of its own is worth its time.
    """

    method: str
    target: str
    headers: Headers = ()
    body: CallBody = field(default_factory=CallBody)
    is_bulk: bool = False

    @property
    def is_safe(self) -> bool:
        """True when the request changes nothing, so that it may be sent twice."""
        return self.method.upper() in SAFE_METHODS


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """The head of an answer, and its body."""

    status: int
    headers: Headers
    body: AsyncIterator[bytes]

    async def whole(self, limit_bytes: int) -> HttpResponse:
        """Return all of it; CallTooLarge when the body has more bytes."""
        body = bytearray()
        async for piece in self.body:
            body += piece
            if len(body) > limit_bytes:
                raise CallTooLarge(f"cannot read the answer: more than {limit_bytes} bytes")
        return HttpResponse(self.status, self.headers, bytes(body))
