from typing import Any

import pytest
from joserfc.jwk import ECKey, KeySet

from cloud.signalling.lifetime import Bep, RelayAddress
from cloud.tokens.assertion import read_assertion, read_edge_identity
from cloud.tokens.issuer import Issuer
from protocol.errors import TokenError
from protocol.keys import new_node_key
from protocol.tokens import sign_as_node, sign_token, verify_token

NOW = 1_000_000.0
KEY = new_node_key()
SIGNING = ECKey.generate_key("P-256")
ISSUER = Issuer("https://cloud.example", SIGNING, KeySet([SIGNING]), 600.0)


def assertion(**changed: Any) -> str:
    claims = {"iss": KEY.node_id, "sub": KEY.node_id, "aud": "mst", **changed}
    return sign_as_node(claims, KEY, NOW, 60)


def edge_id(**changed: Any) -> str:
    claims = {"sub": "", "node_id": KEY.node_id, "node_name": "n", "aud": "mid", **changed}
    return sign_as_node(claims, KEY, NOW, 60)


def test_good_assertion() -> None:
    read = read_assertion(assertion(jti="once"), NOW)
    assert (read.node_id, read.jti, read.expires_at) == (KEY.node_id, "once", NOW + 60)


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "b" * 56},
        {"sub": "b" * 56},
        {"aud": "mid"},
        {"exp": NOW - 31},
        {"exp": NOW + 331},
        {"exp": None},
        {"jti": ""},
        {"jti": "x" * 65},
        {"jti": 5},
    ],
)
def test_assertion_that_does_not_hold(changed: dict[str, Any]) -> None:
    with pytest.raises(TokenError):
        read_assertion(assertion(**changed), NOW)


def test_assertion_of_another_key_for_this_node_is_forged() -> None:
    claims = {"iss": KEY.node_id, "sub": KEY.node_id, "aud": "mst"}
    with pytest.raises(TokenError):
        read_assertion(sign_as_node(claims, new_node_key(), NOW, 60), NOW)


def test_edge_identity_names_node_and_account() -> None:
    read = read_edge_identity(edge_id(sub="acc-1"), NOW)
    assert (read.node_id, read.account_id) == (KEY.node_id, "acc-1")


@pytest.mark.parametrize(
    "changed",
    [
        {"node_id": "b" * 56},
        {"aud": "mst"},
        {"sub": "a b"},
        {"sub": None},
        {"exp": NOW - 31},
        {"exp": NOW + 3631},
    ],
)
def test_edge_identity_that_does_not_hold(changed: dict[str, Any]) -> None:
    with pytest.raises(TokenError):
        read_edge_identity(edge_id(**changed), NOW)


def test_access_token_of_a_node() -> None:
    token = ISSUER.for_node(KEY.node_id, "hec:node", NOW)
    caller = ISSUER.verify(token.text, NOW)
    assert caller.is_node
    assert caller.scopes == {"hec:node"}
    assert token.answer()["expires_in"] == 600
    with pytest.raises(TokenError, match="expired"):
        ISSUER.verify(token.text, NOW + 631)


def test_access_token_of_an_account_with_and_without_node() -> None:
    bound = ISSUER.for_account("acc-1", "edge:mcm", "client", KEY.node_id, NOW)
    free = ISSUER.for_account("acc-1", "edge:mcm", "client", "", NOW)
    assert ISSUER.verify(bound.text, NOW).node_id == KEY.node_id
    assert ISSUER.verify(free.text, NOW).node_id == ""
    claims = verify_token(bound.text, ISSUER.published, "hecate", NOW)
    assert (claims["client_id"], claims["iss"]) == ("client", "https://cloud.example")


def test_tokens_of_other_keys_and_purposes_are_not_access_tokens() -> None:
    claims = {"sub": KEY.node_id, "node_id": KEY.node_id, "scope": "hec:node", "aud": "hecate"}
    bep = Bep("b" * 22, KEY.node_id, RelayAddress("r", 1), NOW + 10)
    for token in (
        sign_token(claims, ECKey.generate_key("P-256"), NOW, 60),
        sign_as_node(claims, KEY, NOW, 60),
        ISSUER.for_relay(bep, NOW),
    ):
        with pytest.raises(TokenError):
            ISSUER.verify(token, NOW)


def test_relay_token_says_who_serves_what_until_when() -> None:
    bep = Bep("b" * 22, KEY.node_id, RelayAddress("r", 1), NOW + 10)
    claims = verify_token(ISSUER.for_relay(bep, NOW), ISSUER.published, "relay", NOW)
    assert (claims["sub"], claims["bep"], claims["exp"]) == (KEY.node_id, "b" * 22, NOW + 10)
