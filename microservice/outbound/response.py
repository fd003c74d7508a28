"""Defines the answers to requests of a container."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from microservice.errors import OutboundError

READ_LIMIT_BYTES = 1024 * 1024

RawHeaders = tuple[tuple[str, str], ...]


class OutboundResponse:
    """One answer: its status and headers, and its body as it arrives.

    Attributes:
        status: the status code.
        raw_headers: names in lower case and values, as they came.
    """

    def __init__(self, status: int, raw_headers: RawHeaders, chunks: AsyncIterator[bytes]) -> None:
        self.status, self.raw_headers = status, raw_headers
        self._chunks = chunks

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, names in lower case; several values of one name are joined by ", "."""
        joined: dict[str, str] = {}
        for name, value in self.raw_headers:
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
        return joined

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body in pieces, as it arrives; only once.

        Raises:
            OutboundError: the answer is cut off, or nothing arrives for read_timeout.
        """
        return self._chunks

    async def read(self, limit: int = READ_LIMIT_BYTES) -> bytes:
        """Return the whole body; OutboundError when it is longer than limit bytes."""
        whole = bytearray()
        async for chunk in self:
            whole += chunk
            if len(whole) > limit:
                raise OutboundError(f"cannot read answer: more than {limit} bytes")
        return bytes(whole)

    async def text(self, limit: int = READ_LIMIT_BYTES) -> str:
        """Return the body as UTF-8 text; bytes that are none become U+FFFD."""
        return (await self.read(limit)).decode(errors="replace")

    async def json(self, limit: int = READ_LIMIT_BYTES) -> Any:
        """Return the body's JSON value; OutboundError when it is none."""
        try:
            return json.loads(await self.read(limit))
        except (ValueError, RecursionError) as exc:
            raise OutboundError("cannot read answer: not JSON") from exc
