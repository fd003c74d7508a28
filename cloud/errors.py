"""Defines the errors of the cloud.

CloudError
├─ StartError    the cloud cannot start: a port, a file, a setting
├─ StoreError    the store does not work now: a full disk, a damaged file
└─ ProblemError  a caller cannot get what it asked for; becomes an RFC 9457 document
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from web.problems import problem_document


class CloudError(Exception):
    """Base of this package's errors; messages read "cannot X: why"."""


class StartError(CloudError):
    """The cloud cannot start."""


class StoreError(CloudError):
    """The store does not work now."""


class ProblemError(CloudError):
    """An answer other than success.

    Args:
        status: HTTP status.
        detail: what went wrong with this request and, where it helps, what to do.
        headers: further HTTP headers.
        extra: extension members of the document, such as OAuth's error code.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra

    def document(self) -> dict[str, Any]:
        """Return the problem document."""
        return problem_document(self.status, self.detail, **self.extra)
