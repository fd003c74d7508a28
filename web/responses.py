"""Encodes JSON responses, whatever the values are."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from web.problems import MEDIA_TYPE, problem_document


class SafeJsonResponse(JSONResponse):
    """A JSON response that cannot fail on values from a peer.

    Halves of surrogate pairs are escaped, as JSON allows; numbers that JSON does not have are null.
    """

    def render(self, content: Any) -> bytes:
        """Return the body."""
        try:
            return super().render(content)
        except ValueError:  # UnicodeEncodeError is one
            return json.dumps(_without_nan(content), separators=(",", ":")).encode("ascii")


def problem_response(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **extra: Any
) -> SafeJsonResponse:
    """Return a problem document as a response."""
    document = problem_document(status, detail, **extra)
    return SafeJsonResponse(document, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return value
