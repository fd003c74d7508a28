r"""Reads the addresses and headers that a script gives to context.http.request.

Older bundles pass headers inside the authorization option: "bearer T\r\napiKey: k". The lines
after the first are taken as headers, but only those that such bundles need; any other CR or LF is
refused.
"""

import re
import string
from collections.abc import Iterable, Sequence
from urllib.parse import quote

Header = tuple[str, str]

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SMUGGLED = re.compile(r"x-mimik-[a-z0-9-]{1,64}|apikey", re.IGNORECASE)
_LINES = re.compile(r"\r\n|\n|\r")
_OURS = frozenset({"connection", "content-length", "host", "transfer-encoding", "upgrade"})


def absolute_url(url: str) -> str:
    """Return a URL with its scheme, which may be missing: 127.0.0.1:8083/mcm/v1.

    Spaces and non-ASCII text are percent-encoded, as browsers do.
    """
    url = quote(url, safe=string.punctuation, errors="replace")
    return url if _ABSOLUTE.match(url) else f"http://{url.removeprefix('//')}"


def read_authorization(value: str) -> tuple[str, list[Header]]:
    """Return the Authorization value and the headers that came with it; ValueError for others."""
    first, *lines = _LINES.split(value)
    headers = []
    for line in lines:
        if not line.strip():
            continue
        name, colon, content = line.partition(":")
        if not colon or not _SMUGGLED.fullmatch(name.strip()):
            raise ValueError(
                f"cannot send header {name.strip()[:40]!r} inside authorization: only apiKey and "
                "x-mimik-*; use the option headers"
            )
        headers.append((name.strip(), content.strip()))
    return first.strip(), headers


def request_headers(
    given: Iterable[Sequence[str]], authorization: str, *, has_data: bool
) -> list[Header]:
    """Return the headers to send.

    Raises:
        ValueError: a name or value has characters that HTTP does not allow.
    """
    headers = []
    for name, value in given:
        if not _NAME.fullmatch(name) or not _is_value(value):
            raise ValueError(
                f"cannot send header {name[:40]!r}: HTTP does not allow its characters"
            )
        if name.lower() not in _OURS:
            headers.append((name, value.strip()))
    shown, more = read_authorization(authorization)
    if not all(_is_value(value) for value in (shown, *(value for _, value in more))):
        raise ValueError("cannot send authorization: HTTP does not allow its characters")
    names = {name.lower() for name, _ in headers}
    if shown and "authorization" not in names:
        headers.append(("authorization", shown))
    headers += more
    if has_data and "content-type" not in names:
        headers.append(("content-type", "application/json"))
    return headers


def is_json(content_type: str) -> bool:
    """Return whether a content type is JSON, whose body a handler gets as a text."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


def _is_value(text: str) -> bool:
    return all(
        character == "\t" or " " <= character <= "~" or "\x80" <= character <= "\xff"
        for character in text
    )
