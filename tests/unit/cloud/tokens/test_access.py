import pytest

from cloud.errors import ProblemError
from cloud.tokens.access import ACCOUNT_SCOPES, NODE_SCOPES, CloudCaller, caller_from, grant_scopes
from protocol.errors import TokenError

NODE = "a" * 56
OTHER = "b" * 56


def test_node_token_stands_for_its_node() -> None:
    caller = caller_from({"sub": NODE, "node_id": NODE, "scope": "hec:node x", "exp": 7})
    assert caller == CloudCaller(NODE, frozenset({"hec:node", "x"}), NODE, 7.0)
    assert caller.is_node


def test_account_token_bound_to_a_node_is_not_the_node() -> None:
    assert not caller_from({"sub": "acc-1", "node_id": NODE, "scope": ""}).is_node


def test_account_named_like_a_node_is_not_the_node() -> None:
    assert not caller_from({"sub": NODE, "scope": "hec:node"}).is_node


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"sub": 1},
        {"sub": ""},
        {"sub": "a/b"},
        {"sub": "x" * 65},
        {"sub": "a", "node_id": "short"},
        {"sub": "a", "node_id": 5},
        {"sub": "a", "scope": ["hec:node"]},
    ],
)
def test_malformed_claims_are_refused(claims: dict[str, object]) -> None:
    with pytest.raises(TokenError):
        caller_from(claims)


def test_missing_scope_is_forbidden_and_named() -> None:
    caller = CloudCaller("acc-1", frozenset({"edge:clusters"}))
    caller.require("edge:clusters")
    with pytest.raises(ProblemError, match="edge:mcm") as caught:
        caller.require("edge:mcm")
    assert caught.value.status == 403
    assert 'scope="edge:mcm"' in caught.value.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "caller",
    [
        CloudCaller(OTHER, frozenset(), OTHER),
        CloudCaller("acc-1", frozenset(), NODE),
        CloudCaller(NODE, frozenset()),
    ],
)
def test_only_the_node_itself_is_the_node(caller: CloudCaller) -> None:
    CloudCaller(NODE, frozenset(), NODE).require_node(NODE)
    with pytest.raises(ProblemError):
        caller.require_node(NODE)


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("", " ".join(ACCOUNT_SCOPES)),
        ("openid", " ".join(ACCOUNT_SCOPES)),
        ("openid edge:mcm", "edge:mcm"),
        ("hec:data edge:mcm unknown", "edge:mcm hec:data"),
    ],
)
def test_scopes_asked_for_are_given_when_offered(asked: str, granted: str) -> None:
    assert grant_scopes(asked, ACCOUNT_SCOPES) == granted


def test_persons_do_not_get_the_scope_of_nodes_nor_nodes_that_of_persons() -> None:
    with pytest.raises(ProblemError) as caught:
        grant_scopes("hec:node", ACCOUNT_SCOPES)
    assert caught.value.document()["error"] == "invalid_scope"
    assert not {"edge:account:associate", "edge:mcm", "hec:data"} & set(NODE_SCOPES)
