"""Holds the whole answer to a call of another service."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from microservice.errors import OutboundError


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """The answer of another service, whatever its status."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8 text; bytes that are none become U+FFFD."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Return the JSON value of the body; OutboundError when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as exc:
            raise OutboundError("cannot read answer: not JSON") from exc


def service_url(service_type: str, path: str, node: str) -> str:
    """Return the URL of a service by its type, on one node or on any."""
    host = f"{node}.{service_type}" if node else service_type
    return f"http://{host}.service.hecate/{path.removeprefix('/')}"
