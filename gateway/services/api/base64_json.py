"""Decodes an image in base64 out of a JSON object, piece by piece. Pure.

{"base64Image": "…"} may be longer than what fits into memory. The scanner passes the text of that
one member on, decoded, and keeps everything else, within a bound, for the JSON parser: which then
sees an object whose base64Image is empty, and judges whether all of it is JSON.
"""

import base64
import binascii
import re
from typing import Any

from web import JsonError, parse_json

MEMBER = "base64Image"
REST_LIMIT_BYTES = 64 * 1024  # of everything but the image

_MARKS = re.compile(rb'["{}\[\]:,]')
_TEXT_MARKS = re.compile(rb'["\\]')
_ESCAPES = {ord("/"): b"/", ord("n"): b"", ord("r"): b"", ord("t"): b""}
_IGNORED = b" \t\r\n"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


class Base64Field:
    """A scanner of one JSON object."""

    def __init__(self) -> None:
        self.has_image = False
        self._rest = bytearray()
        self._depth = 0
        self._in_text = self._in_image = self._escaped = False
        self._text = bytearray()  # the last text, as far as it can be the member's name
        self._expects_value = False  # after "base64Image" and a colon, at the top
        self._symbols = b""  # of base64, fewer than four
        self._head = b""  # of the image, until it is certain that it is no data URL
        self._is_past_head = False
        self._ended = False  # padding came: nothing may follow

    def feed(self, data: bytes) -> bytes:
        """Return the bytes of the image in the next piece of JSON; JsonError when it is bad."""
        image = bytearray()
        position = 0
        while position < len(data):
            if self._in_text:
                position = self._scan_text(data, position, image)
            else:
                position = self._scan(data, position)
        return bytes(image)

    def finish(self) -> dict[str, Any]:
        """Return the object without the image's text; JsonError when it is none."""
        if self._symbols or self._head:
            raise JsonError(f"{MEMBER} is not whole base64")
        fields = parse_json(bytes(self._rest))
        if not isinstance(fields, dict):
            raise JsonError("not an object")
        return fields

    def _scan(self, data: bytes, position: int) -> int:
        found = _MARKS.search(data, position)
        end = found.end() if found else len(data)
        self._keep(data[position:end])
        if found is None:
            if data[position:end].strip():
                self._expects_value = False
            return end
        if data[position : end - 1].strip():
            self._expects_value = False
        mark = found[0]
        if mark == b'"':
            self._in_text, self._in_image = True, self._expects_value
            if self._in_image:
                if self.has_image:
                    raise JsonError(f"{MEMBER} is in it twice")
                self.has_image = True
            self._text.clear()
            self._expects_value = False
        elif mark == b":":
            self._expects_value = self._depth == 1 and self._text == MEMBER.encode()
        else:
            self._depth += (mark in b"{[") - (mark in b"}]")
            self._text.clear()
            self._expects_value = False
        return end

    def _scan_text(self, data: bytes, position: int, image: bytearray) -> int:
        if self._escaped:
            self._escaped = False
            self._take_escape(data[position], image)
            return position + 1
        found = _TEXT_MARKS.search(data, position)
        end = found.start() if found else len(data)
        self._take_text(data[position:end], image)
        if found is None:
            return end
        if found[0] == b"\\":
            self._escaped = True
            if not self._in_image:
                self._keep(b"\\")
        else:
            self._keep(b'"')
            if self._in_image:
                self._end_image(image)
            self._in_text = self._in_image = False
        return end + 1

    def _take_escape(self, symbol: int, image: bytearray) -> None:
        if not self._in_image:
            self._keep(bytes((symbol,)))
            self._text += b"\\"  # no name of ours needs an escape
        elif symbol in _ESCAPES:
            image += self._decode(_ESCAPES[symbol])
        else:
            raise JsonError(f"{MEMBER} is not base64")

    def _take_text(self, text: bytes, image: bytearray) -> None:
        if self._in_image:
            image += self._decode(text)
        else:
            self._keep(text)
            self._text += text[: len(MEMBER) + 1]

    def _keep(self, data: bytes) -> None:
        self._rest += data
        if len(self._rest) > REST_LIMIT_BYTES:
            raise JsonError(f"more than {REST_LIMIT_BYTES} bytes beside {MEMBER}")

    def _decode(self, text: bytes) -> bytes:
        if not self._is_past_head:
            text = self._strip_head(text)
        symbols = self._symbols + text.translate(_URL_SAFE, _IGNORED)
        whole = len(symbols) - len(symbols) % 4
        self._symbols = symbols[whole:]
        return self._decode_whole(symbols[:whole])

    def _strip_head(self, text: bytes) -> bytes:
        """Return what follows the "data:…;base64," of a data URL, if there is one."""
        self._head += text
        if b"data:".startswith(self._head[:5]) and b"," not in self._head:
            if len(self._head) > 200:
                raise JsonError(f"{MEMBER} is not base64")
            return b""
        self._is_past_head = True
        head, self._head = self._head, b""
        return head.split(b",", 1)[1] if head.startswith(b"data:") else head

    def _decode_whole(self, symbols: bytes) -> bytes:
        if not symbols:
            return b""
        if self._ended:
            raise JsonError(f"{MEMBER} goes on after its padding")
        self._ended = symbols.endswith(b"=")
        try:
            return base64.b64decode(symbols, validate=True)
        except binascii.Error as exc:
            raise JsonError(f"{MEMBER} is not base64") from exc

    def _end_image(self, image: bytearray) -> None:
        """Decode what is left; base64url often comes without padding."""
        if len(self._symbols) > 1:
            last, self._symbols = self._symbols + b"=" * (-len(self._symbols) % 4), b""
            image += self._decode_whole(last)
