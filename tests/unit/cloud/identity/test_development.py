import asyncio
from typing import Any

import pytest
from joserfc.jwk import ECKey

from cloud.identity.development import CLIENT_ID, ISSUER, DevelopmentProvider
from cloud.identity.provider import Person, issuer_of
from protocol.errors import TokenError
from protocol.tokens import sign_token
from settings.secret import Secret

NOW = 1_000_000.0
KEY = ECKey.generate_key("P-256")
PROVIDER = DevelopmentProvider(KEY, Secret("right"))


def test_development_login() -> None:
    id_token = PROVIDER.log_in("dev", "right", NOW)
    assert issuer_of(id_token) == ISSUER
    assert asyncio.run(PROVIDER.verify(id_token, NOW)) == Person(ISSUER, "dev", CLIENT_ID)


@pytest.mark.parametrize(("username", "password"), [("dev", "wrong"), ("root", "right"), ("", "")])
def test_development_login_refused(username: str, password: str) -> None:
    with pytest.raises(TokenError, match="wrong user or password"):
        PROVIDER.log_in(username, password, NOW)


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"sub": "root"}, KEY),
        ({"iss": "https://i"}, KEY),
        ({"aud": "hecate"}, KEY),
        ({"exp": NOW - 31}, KEY),
        ({}, ECKey.generate_key("P-256")),
    ],
)
def test_forged_development_tokens(changed: dict[str, Any], key: ECKey) -> None:
    claims = {"iss": ISSUER, "aud": CLIENT_ID, "sub": "dev", **changed}
    with pytest.raises(TokenError):
        asyncio.run(PROVIDER.verify(sign_token(claims, key, NOW, 60), NOW))
