from typing import Any

import pytest

from cloud.identity.claims import check_claims
from cloud.identity.provider import Person
from protocol.errors import TokenError

NOW = 1_000_000.0
GOOD = {"iss": "https://i", "aud": "c", "sub": "s", "exp": NOW + 10}


@pytest.mark.parametrize("changed", [{}, {"aud": ["c"]}, {"aud": ["c", "d"], "azp": "c"}])
def test_good_claims(changed: dict[str, Any]) -> None:
    assert check_claims(GOOD | changed, "https://i", "c", NOW) == Person("https://i", "s", "c")


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://j"},
        {"iss": None},
        {"aud": "d"},
        {"aud": []},
        {"aud": ["c", "d"]},
        {"aud": ["c", "d"], "azp": "d"},
        {"exp": NOW - 31},
        {"exp": None},
        {"exp": True},
        {"sub": ""},
        {"sub": 5},
        {"sub": "x" * 256},
    ],
)
def test_claims_that_do_not_hold(changed: dict[str, Any]) -> None:
    with pytest.raises(TokenError):
        check_claims(GOOD | changed, "https://i", "c", NOW)
