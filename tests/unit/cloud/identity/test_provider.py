import pytest

from cloud.identity.provider import issuer_of
from protocol.errors import TokenError


@pytest.mark.parametrize("token", ["", "a.b.c", "x", "e30.e30.e30", "x" * 9000])
def test_issuer_of_nonsense(token: str) -> None:
    with pytest.raises(TokenError):
        issuer_of(token)
