import asyncio
import json
from typing import Any

import pytest

from gateway.access.guard import CLUSTERS, Guard
from gateway.access.tokens import TokenRights
from gateway.http.inprocess import call
from gateway.http.routes import make_api
from gateway.sidecar.health import health_routes
from protocol.errors import TokenError
from protocol.http_body import HttpRequest
from settings.secret import Secret

KEY = "the-api-key-of-this-node"
VIEWER, OTHER = "head.viewer.signature", "head.other.signature"
CLOUD = {"way": "direct"}
REASONS = ["container api-climate-v1: exit code 1"]


WARNINGS = ["the credential of the account ends in 3 days"]


class Failing:
    """Stands for the status of a gateway one of whose containers fails."""

    def reasons(self) -> list[str]:
        return REASONS

    def cloud(self) -> dict[str, str]:
        return CLOUD

    def warnings(self) -> list[str]:
        return []


class Warned(Failing):
    """Stands for the status of a gateway that works and has something to tell."""

    def reasons(self) -> list[str]:
        return []

    def warnings(self) -> list[str]:
        return WARNINGS


class Tokens:
    """Knows two access tokens of this node's account."""

    async def verify(self, token: str) -> TokenRights:
        if token not in (VIEWER, OTHER):
            raise TokenError("cannot accept token: forged")
        return TokenRights("", frozenset({CLUSTERS} if token == VIEWER else ()))


def ask(origin: str, shown: str, status: Failing | None = None) -> dict[str, Any]:
    guard = Guard(Secret(KEY), Tokens())  # type: ignore[arg-type]
    app = make_api(health_routes(status or Failing(), guard))  # type: ignore[arg-type]
    headers = (("authorization", f"Bearer {shown}"),) if shown else ()
    request = HttpRequest("GET", "/readyz", headers)
    answer = asyncio.run(call(app, request, origin, 10_000, 5))
    assert answer.status == (503 if status is None else 200)
    content: dict[str, Any] = json.loads(answer.body)
    assert content.pop("status") == ("starting" if status is None else "ready")
    return content


def test_a_warning_is_told_and_leaves_the_gateway_ready() -> None:
    assert ask("loopback", "", Warned()) == {"warnings": WARNINGS, "cloud": CLOUD}
    assert ask("network", "", Warned()) == {}


# case CL10
@pytest.mark.parametrize(
    ("origin", "shown"),
    [
        ("loopback", ""),
        ("network", KEY),
        ("network", VIEWER),
        ("sep", VIEWER),
        ("bep", VIEWER),
    ],
)
def test_reasons_are_for_this_machine_and_for_viewers(origin: str, shown: str) -> None:
    assert ask(origin, shown) == {"reasons": REASONS, "cloud": CLOUD}


# case CL10
@pytest.mark.parametrize(
    ("origin", "shown"),
    [("network", ""), ("sep", ""), ("bep", ""), ("sep", KEY), ("sep", "forged"), ("sep", OTHER)],
)
def test_strangers_learn_no_reasons(origin: str, shown: str) -> None:
    assert ask(origin, shown) == {}
