"""Reads the parts of a form as they arrive, one after the other."""

import codecs
from collections import deque
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

from microservice.errors import StoreError

URLENCODED_LIMIT_BYTES = 1024 * 1024
PARTS_LIMIT = 1000
HEADERS_LIMIT_BYTES = 8 * 1024  # of one part
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


class FormReader:
    """The form of one request: next_part(), then read() until it is empty, then the next part."""

    def __init__(self, content_type: str, source: AsyncIterator[bytes]) -> None:
        self._source = source
        self._parts = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._queue: deque[tuple[str, bytes]] = deque()  # of part, data, end
        self._disposition = b""  # of the part
        self._name, self._value = b"", b""
        self._parser: Any = None
        self._is_urlencoded = content_type.partition(";")[0].strip().lower() == URLENCODED
        if content_type.lower().startswith(MULTIPART):
            self._parser = self._make_parser(content_type)
        self._in_part = False
        self._ended = self._parser is None and not self._is_urlencoded

    def _make_parser(self, content_type: str) -> Any:
        from python_multipart.multipart import MultipartParser, parse_options_header

        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise StoreError("cannot read form: its content type has no boundary")
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part,
                "on_header_field": self._on_name,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header,
                "on_headers_finished": self._on_headers,
                "on_part_data": lambda data, start, end: self._queue.append(
                    ("data", data[start:end])
                ),
                "on_part_end": lambda: self._queue.append(("end", b"")),
            },
        )

    async def next_part(self) -> tuple[str, str | None] | None:
        """Return key and file name of the next part, skipping what is left of this one."""
        while self._in_part and await self.read():
            pass
        event = await self._event()
        if event is None:
            return None
        self._parts += 1
        if self._parts > PARTS_LIMIT:
            raise StoreError(f"cannot read form: more than {PARTS_LIMIT} parts")
        self._in_part = True
        self._decoder.reset()
        key, has_name, name = event[1].decode("utf-8", "replace").partition("\0")
        return key, name if has_name else None

    async def read_text(self) -> str:
        """Return the next piece of the part as UTF-8 text; "" at its end."""
        while data := await self.read():
            text = self._decoder.decode(data)
            if text:
                return text
        return self._decoder.decode(b"", final=True)

    async def read(self) -> bytes:
        """Return the next piece of the part; b"" at its end."""
        while self._in_part:
            event = await self._event()
            if event is None or event[0] == "end":
                self._in_part = False
                return b""
            if event[1]:
                return event[1]
        return b""

    async def _event(self) -> tuple[str, bytes] | None:
        while not self._queue and not self._ended:
            if self._is_urlencoded:
                await self._read_urlencoded()
            else:
                await self._feed()
        return self._queue.popleft() if self._queue else None

    async def _feed(self) -> None:
        from python_multipart.exceptions import FormParserError

        try:
            async for chunk in self._source:
                if chunk:
                    self._parser.write(chunk)
                    return
            self._parser.finalize()
        except FormParserError as exc:
            raise StoreError(f"cannot read form: {exc}") from exc
        self._ended = True

    async def _read_urlencoded(self) -> None:
        whole = bytearray()
        async for chunk in self._source:
            whole += chunk
            if len(whole) > URLENCODED_LIMIT_BYTES:
                raise StoreError("cannot read form: more than 1 MiB")
        self._ended = True
        for key, value in parse_qsl(whole.decode("utf-8", "replace"), keep_blank_values=True):
            self._queue += (("part", key.encode()), ("data", value.encode()), ("end", b""))

    # Called by the parser -------------------------------------------------------------------------

    def _on_part(self) -> None:
        self._disposition = b""

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._check()

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check()

    def _check(self) -> None:
        if len(self._name) + len(self._value) > HEADERS_LIMIT_BYTES:
            raise StoreError("cannot read form: a part has too long headers")

    def _on_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def _on_headers(self) -> None:
        from python_multipart.multipart import parse_options_header

        disposition = self._disposition
        _, options = parse_options_header(disposition.decode("latin-1"))
        part = options.get(b"name", b"")
        name = options.get(b"filename")
        if name is None and b"*" in disposition:
            name = _extended_name(disposition)
        if name is not None:
            part += b"\0" + name
        self._queue.append(("part", part))


def _extended_name(disposition: bytes) -> bytes | None:
    """Return a file name in the form of RFC 5987: filename*=UTF-8''%C3%A9.txt; None without one.

    RFC 7578, 4.2 forbids it in forms, and clients send it for names that are not ASCII. The plain
    form wins.
    """
    from email.message import Message
    from email.utils import collapse_rfc2231_value

    message = Message()
    message["content-disposition"] = disposition.decode("latin-1")
    name = message.get_param("filename", header="content-disposition")
    return collapse_rfc2231_value(name).encode("utf-8", "replace") if name else None
