"""Stands for everything that a service reaches over HTTP, in its tests."""

import contextlib
import json
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from microservice.errors import OutboundError
from microservice.message import encode_payload
from microservice.outbound import OutboundClient, OutboundHeaders, OutboundResponse
from microservice.telemetry.trace import current_trace


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request that the service has sent."""

    method: str
    url: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """Return the JSON value of the body."""
        return json.loads(self.body)


class TestOutbound(OutboundClient):
    """Answers requests as the test has said."""

    __test__ = False  # it is no test of pytest

    def __init__(self) -> None:
        super().__init__("")
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.sent: list[SentRequest] = []

    @contextlib.asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: OutboundHeaders = (),
        body: bytes | AsyncIterable[bytes] = b"",
        connect_timeout: float | None = None,  # noqa: ARG002  # nothing takes time
        read_timeout: float | None = None,  # noqa: ARG002
    ) -> AsyncIterator[OutboundResponse]:
        """Keep a request, and yield the answer that the test has given for its URL."""
        whole = body if isinstance(body, bytes) else b"".join([piece async for piece in body])
        trace = current_trace()
        given = {**dict(headers), **dict(trace.headers if trace else ())}
        self.sent.append(SentRequest(method, url, whole, given))
        if url not in self.answers:
            raise OutboundError(f"cannot reach {url}: t.answer(url, value) gives an answer")
        status, content = self.answers[url]

        async def pieces() -> AsyncIterator[bytes]:
            yield content

        yield OutboundResponse(status, (("content-type", "application/json"),), pieces())

    def answer(self, url: str, value: Any, status: int) -> None:
        """Answer requests to a URL from now on."""
        self.answers[url] = status, encode_payload(value)
