import pytest
from joserfc.jwk import ECKey, KeySet

from cloud.storage.records import Bep, RelayAddress
from cloud.tokens.issuer import Issuer
from protocol.errors import TokenError
from protocol.keys import new_node_key
from protocol.tokens import sign_as_node, sign_token, verify_token

NOW = 1_000_000.0
KEY = new_node_key()
SIGNING = ECKey.generate_key("P-256")
ISSUER = Issuer("https://cloud.example", SIGNING, KeySet([SIGNING]), 600.0)


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


def test_a_relay_token_names_node_bep_and_expiry() -> None:
    bep = Bep("b" * 22, KEY.node_id, RelayAddress("r", 1), NOW + 10)
    claims = verify_token(ISSUER.for_relay(bep, NOW), ISSUER.published, "relay", NOW)
    assert (claims["sub"], claims["bep"], claims["exp"]) == (KEY.node_id, "b" * 22, NOW + 10)
