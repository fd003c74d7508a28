"""Receives images in all the ways that clients send them.

    multipart/form-data     part "image"
    a JSON object           {"base64Image": "…"}, or {"url": "…"}, which the gateway pulls
    anything else           the archive itself

Clients send JSON with any content type or none, so the first byte decides between the last two: no
archive begins with a brace. The body may be chunked, and compressed with gzip. Nothing of it is
held in memory.
"""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import IO

from starlette.requests import Request

from gateway.http.body import stream_body
from gateway.http.problems import Problem
from gateway.services.api.base64_json import Base64Field
from gateway.services.api.calls import errors_as_problems
from gateway.services.deployments import Deployments
from gateway.services.images.limits import ImageLimits
from gateway.services.images.rules import ImageRules
from gateway.services.images.upload import Upload
from web import JsonError

PART = "image"
AT_ONCE = 8  # uploads; each may take its share of the disk
OVERHEAD_BYTES = 128 * 1024  # boundaries, other fields, JSON around the image
PIECE_BYTES = 64 * 1024
MODES = ("payload", "reference")  # of ?mode=: documented by others; the body says it anyway

_URL_ENCODED = "application/x-www-form-urlencoded"  # the default of curl
_NOTHING = "no image received: needs a form part 'image', JSON with base64Image or url, or a tar"


class ImageUploads:
    """Receives uploads, a few at once."""

    def __init__(self, deployments: Deployments, limits: ImageLimits, rules: ImageRules) -> None:
        self._deployments, self._limits, self._rules = deployments, limits, rules
        self._open = 0
        self.refused = 0  # because AT_ONCE others were open

    @contextlib.asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[IO[bytes]]:
        """Yield the archive of a request as a file, which is gone afterwards; Problem if none."""
        _check_mode(request)
        if self._open >= AT_ONCE:
            self.refused += 1
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"cannot receive image: {AT_ONCE} uploads are open; try again",
                {"Retry-After": "2"},
            )
        self._open += 1
        try:
            with errors_as_problems():
                async with Upload(
                    self._deployments.scratch_folder, self._limits.upload_bytes
                ) as upload:
                    await self._read(request, upload)
                    if not upload.size:
                        raise Problem(HTTPStatus.BAD_REQUEST, _NOTHING)
                    yield await upload.finish()
        finally:
            self._open -= 1

    async def _read(self, request: Request, upload: Upload) -> None:
        # base64 has four bytes for three
        limit_bytes = self._limits.upload_bytes * 4 // 3 + OVERHEAD_BYTES
        self._check_length(request, limit_bytes)
        body = _decoded(request, stream_body(request, limit_bytes), limit_bytes)
        content_type = request.headers.get("content-type", "")
        if content_type.lower().startswith("multipart/"):
            await _read_form(content_type, body, upload)
            return
        head, body = await _peek(body)
        if head.lstrip().startswith(b"{"):
            await self._read_json(body, upload)
        elif not content_type.startswith(_URL_ENCODED) or _is_binary(head):
            await upload.write_all(body)

    def _check_length(self, request: Request, limit_bytes: int) -> None:
        """Refuse a body that says at once that it is too large, before a client sends it."""
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > limit_bytes:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"cannot receive image: over {self._limits.upload_bytes} bytes",
            )

    async def _read_json(self, body: AsyncIterator[bytes], upload: Upload) -> None:
        field = Base64Field()
        try:
            async for chunk in body:
                await upload.write(field.feed(chunk))
            fields = field.finish()
        except JsonError as exc:
            raise Problem(HTTPStatus.BAD_REQUEST, f"cannot read image: {exc}") from exc
        if field.has_image:
            return
        url = fields.get("url")
        if not isinstance(url, str):
            raise Problem(HTTPStatus.BAD_REQUEST, _NOTHING)
        from gateway.services.images.pull import open_pull  # an HTTP client, seldom needed

        async with open_pull(url, self._rules.pull_hosts, self._limits.upload_bytes) as pulled:
            await upload.write_all(pulled)


async def _read_form(content_type: str, body: AsyncIterator[bytes], upload: Upload) -> None:
    from gateway.services.api.multipart import FormError, PartReader  # only for an upload

    try:
        reader = PartReader(content_type, PART)
        await upload.write_all(reader.read(body))
    except FormError as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, f"cannot read form: {exc}") from exc
    if not reader.found:
        raise Problem(HTTPStatus.BAD_REQUEST, _NOTHING)


def _is_binary(head: bytes) -> bool:
    """Return whether bytes are no form's text: archives have control characters early."""
    return any(byte < 0x20 for byte in head[:512])


async def _peek(body: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
    """Return the first bytes that are not blank, and the whole body."""
    head = b""
    async for chunk in body:
        head += chunk
        if head.strip() or len(head) > PIECE_BYTES:
            break

    async def whole() -> AsyncIterator[bytes]:
        yield head
        async for chunk in body:
            yield chunk

    return head, whole()


async def _decoded(
    request: Request, body: AsyncIterator[bytes], limit_bytes: int
) -> AsyncIterator[bytes]:
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "", "gzip", "x-gzip"):
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"cannot read body: its content encoding is {coding[:20]}, not gzip",
            {"Accept-Encoding": "gzip"},
        )
    if "gzip" not in coding:
        async for chunk in body:
            yield chunk
        return
    inflate, total = zlib.decompressobj(wbits=31), 0
    try:
        async for chunk in body:
            rest = chunk
            while rest and not inflate.eof:
                piece = inflate.decompress(rest, PIECE_BYTES)
                total += len(piece)
                if total > limit_bytes:
                    raise Problem(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        f"cannot read body: over {limit_bytes} bytes when decompressed",
                    )
                yield piece
                rest = inflate.unconsumed_tail
                await asyncio.sleep(0)  # others are served meanwhile
        yield inflate.flush()
    except zlib.error as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, f"cannot read body: not gzip ({exc})") from exc
    if not inflate.eof:
        raise Problem(HTTPStatus.BAD_REQUEST, "cannot read body: its gzip data is cut off")


def _check_mode(request: Request) -> None:
    mode = request.query_params.get("mode", MODES[0])
    if mode not in MODES:
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"cannot receive image: mode must be {' or '.join(MODES)}"
        )
