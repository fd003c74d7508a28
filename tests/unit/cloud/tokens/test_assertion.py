from typing import Any

import pytest

from cloud.tokens.assertion import read_assertion, read_edge_identity
from protocol.errors import TokenError
from protocol.keys import new_node_key
from protocol.tokens import sign_as_node

NOW = 1_000_000.0
KEY = new_node_key()


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
