import asyncio
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.requests import Request

from cloud.config import CloudMetricsSettings
from cloud.errors import ProblemError
from cloud.health import Health
from cloud.http.health import build_router
from cloud.metrics import Metrics
from settings.secret import Secret

TOKEN = "a-token-of-the-operator"
REASON = "store: /var/lib/hecate/cloud.db is damaged"


async def damaged() -> str:
    return REASON


def ask(client: str | None, token: str, *headers: tuple[bytes, bytes]) -> ProblemError:
    router = build_router(Health([damaged]), Metrics(), Secret(token))
    (readyz,) = (
        r.endpoint for r in router.routes if isinstance(r, APIRoute) and r.name == "readyz"
    )
    address = None if client is None else (client, 1)
    scope = {"type": "http", "client": address, "headers": list(headers)}
    with pytest.raises(ProblemError) as caught:
        asyncio.run(readyz(Request(scope)))
    return caught.value


AUTHORIZATION = (b"authorization", f"Bearer {TOKEN}".encode())


# case CL10
@pytest.mark.parametrize(
    ("client", "token", "headers"),
    [
        ("127.0.0.1", "", []),
        ("::1", TOKEN, []),
        ("203.0.113.9", TOKEN, [AUTHORIZATION]),
    ],
)
def test_operators_see_the_reasons(client: str, token: str, headers: list[Any]) -> None:
    problem = ask(client, token, *headers)
    assert problem.status == 503
    assert problem.document()["reasons"] == [REASON]


# case CL10
@pytest.mark.parametrize(
    ("client", "token", "headers"),
    [
        ("203.0.113.9", "", []),
        ("203.0.113.9", "", [(b"authorization", b"Bearer ")]),
        ("203.0.113.9", TOKEN, [(b"authorization", b"Bearer wrong")]),
        ("127.0.0.1", "", [(b"x-forwarded-for", b"203.0.113.9")]),
        ("127.0.0.1", "", [(b"forwarded", b"for=203.0.113.9")]),
        (None, "", []),
        ("nobody", "", []),
    ],
)
def test_strangers_do_not(client: str | None, token: str, headers: list[Any]) -> None:
    problem = ask(client, token, *headers)
    assert problem.status == 503
    assert REASON not in str(problem.document())


# case CL10
def test_a_token_that_can_be_guessed_is_refused() -> None:
    CloudMetricsSettings(Secret("")).check()
    with pytest.raises(ValueError, match="at least 16 characters"):
        CloudMetricsSettings(Secret("short")).check()
