"""Reads one part of a multipart form, piece by piece (RFC 7578)."""

from collections.abc import AsyncIterable, AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

PARTS_LIMIT = 16
HEADERS_LIMIT_BYTES = 16 * 1024  # of all parts together


class FormError(ValueError):
    """A form that cannot be read; the text is the reason."""


class PartReader:
    """Finds the first part of a name."""

    def __init__(self, content_type: str, name: str) -> None:
        """Take the request's content type; FormError when it names no boundary."""
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise FormError("its content type has no boundary")
        self._name = name.encode()
        self._field, self._value = bytearray(), bytearray()
        self._header_bytes = self._parts = 0
        self._disposition = b""
        self._is_wanted = False
        self._pieces: list[bytes] = []
        self._has_ended = False
        self.found = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    async def read(self, body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """Yield the bytes of the part; FormError when the form is not whole."""
        try:
            async for chunk in body:
                self._parser.write(chunk)
                pieces, self._pieces = self._pieces, []
                for piece in pieces:
                    yield piece
        except FormParserError as exc:
            raise FormError(str(exc)) from exc
        if not self._has_ended:
            raise FormError("it is cut off")

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > PARTS_LIMIT:
            raise FormError(f"it has more than {PARTS_LIMIT} parts")
        self._disposition = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += self._bounded(data[start:end])

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._bounded(data[start:end])

    def _on_header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._is_wanted = not self.found and options.get(b"name") == self._name
        self.found = self.found or self._is_wanted

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_wanted:
            self._pieces.append(data[start:end])

    def _on_part_end(self) -> None:
        self._is_wanted = False

    def _on_end(self) -> None:
        self._has_ended = True

    def _bounded(self, data: bytes) -> bytes:
        self._header_bytes += len(data)
        if self._header_bytes > HEADERS_LIMIT_BYTES:
            raise FormError("the headers of its parts are too long")
        return data
