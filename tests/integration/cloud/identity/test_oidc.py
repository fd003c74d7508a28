import asyncio

import pytest

from cloud.identity.oidc import REFRESH_PAUSE_S, OpenIdProvider, ProviderUnreachableError
from protocol.errors import TokenError
from tests.integration.cloud import peers
from tests.ports import hold_port


def test_keys_are_fetched_once_and_again_when_the_provider_changes_them() -> None:
    remote = peers.OpenIdProvider()
    try:
        local = OpenIdProvider(remote.issuer, "client")
        now = 0.0

        async def verify(token: str, later_s: float) -> str:
            return (await local.verify(token, now + later_s)).subject

        assert asyncio.run(verify(remote.id_token(), 0)) == "someone"
        assert asyncio.run(verify(remote.id_token(), 1)) == "someone"
        assert remote.fetches == 2, "the configuration and the keys"
        remote.rotate()
        with pytest.raises(TokenError):
            asyncio.run(verify(remote.id_token(), 2))
        assert remote.fetches == 2, "not fetched again at once"
        assert asyncio.run(verify(remote.id_token(), REFRESH_PAUSE_S + 1)) == "someone"
        assert remote.fetches == 4
    finally:
        remote.close()


def test_configuration_of_another_issuer_is_not_believed() -> None:
    remote = peers.OpenIdProvider()
    try:
        local = OpenIdProvider(remote.issuer + "/", "client")
        with pytest.raises(ProviderUnreachableError):
            asyncio.run(local.verify(remote.id_token(), 0))
    finally:
        remote.close()


def test_a_provider_that_is_away_is_not_the_callers_fault() -> None:
    with hold_port() as taken:
        issuer = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(ProviderUnreachableError, match="cannot be fetched"):
        asyncio.run(OpenIdProvider(issuer, "client").verify("x.y.z", 0))


# case CL12
def test_a_burst_of_tokens_asks_a_provider_that_fails_once() -> None:
    remote = peers.OpenIdProvider()
    try:
        local = OpenIdProvider(remote.issuer + "/", "client")  # it speaks for another issuer

        async def burst() -> list[object]:
            tokens = [local.verify("x.y.z", 100.0) for _ in range(50)]
            return await asyncio.gather(*tokens, return_exceptions=True)

        answers = asyncio.run(burst())
        assert all(isinstance(answer, ProviderUnreachableError) for answer in answers)
        assert remote.fetches == 1
    finally:
        remote.close()
