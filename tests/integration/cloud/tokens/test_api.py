import time

import pytest

from protocol.keys import new_node_key
from protocol.tokens import sign_as_node
from tests.integration.cloud.peers import Node, OpenIdProvider
from tests.system import Cloud


def test_a_node_nobody_knows_gets_a_token_with_the_scopes_of_nodes(cloud: Cloud) -> None:
    answer = Node(cloud).ask_token().raise_for_status().json()
    assert answer["token_type"] == "Bearer"
    assert answer["scope"].split() == ["hec:node", "edge:clusters", "edge:read:accountkey"]
    assert answer["expires_in"] == 3600


def test_an_assertion_is_good_once(cloud: Cloud) -> None:
    node = Node(cloud)
    assertion = node.assertion()
    assert node.ask_token(assertion=assertion).status_code == 200
    again = node.ask_token(assertion=assertion)
    assert again.status_code == 400
    assert again.json()["error"] == "invalid_grant"
    assert "used before" in again.json()["detail"]


def test_assertions_that_do_not_hold(cloud: Cloud) -> None:
    node = Node(cloud)
    claims = {"iss": node.node_id, "sub": node.node_id, "aud": "mst"}
    forged = sign_as_node(claims, new_node_key(), time.time(), 60)
    expired = sign_as_node(claims, node.key, time.time() - 120, 60)
    too_long = node.assertion(exp=time.time() + 1000)
    for assertion in (forged, expired, too_long, node.assertion(aud="mid"), "nonsense"):
        assert node.ask_token(assertion=assertion).json()["error"] == "invalid_grant"


def test_other_grants_and_scopes_are_refused(cloud: Cloud) -> None:
    node = Node(cloud)
    wrong = node.ask_token(grant_type="client_credentials")
    assert (wrong.status_code, wrong.json()["error"]) == (400, "unsupported_grant_type")
    assert node.ask_token(scope="edge:mcm").json()["error"] == "invalid_scope"
    assert node.ask_token(scope="hec:node").json()["scope"] == "hec:node"


def test_development_login_needs_the_password(cloud: Cloud) -> None:
    form = {"username": "dev", "password": "guess"}
    assert cloud.call("POST", "/mid/v1/dev/login", data=form).status_code == 401


def test_each_person_has_one_account(cloud: Cloud, provider: OpenIdProvider) -> None:
    def account(id_token: str) -> str:
        node = Node(cloud)
        node.register().raise_for_status()
        return node.associate(id_token)

    mine = account(provider.id_token())
    assert account(provider.id_token()) == mine
    assert account(provider.id_token(sub="other")) != mine
    assert account(cloud.dev_id_token()) != mine


@pytest.mark.parametrize(
    "changed", [{"aud": "another client"}, {"exp": 1}, {"iss": "https://unknown.example"}]
)
def test_id_tokens_that_do_not_hold(
    cloud: Cloud, provider: OpenIdProvider, changed: dict[str, object]
) -> None:
    answer = cloud.sign_in(provider.id_token(**changed))
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_grant"


def test_scopes_of_nodes_are_not_for_persons(cloud: Cloud) -> None:
    answer = cloud.sign_in(cloud.dev_id_token(), scope="hec:node")
    assert answer.json()["error"] == "invalid_scope"


def test_a_token_cannot_be_bound_to_a_node_of_another_account(
    cloud: Cloud, provider: OpenIdProvider, node: Node
) -> None:
    node.associate(provider.id_token())
    dev = cloud.dev_id_token()
    refused = cloud.sign_in(dev, edge_id_token=node.edge_id_token())
    assert "another account" in refused.json()["detail"]
    stranger = Node(cloud)
    claims_other = stranger.edge_id_token(sub="acc-of-someone")
    assert cloud.sign_in(dev, edge_id_token=claims_other).status_code == 400
    names_other = stranger.edge_id_token(node_id=node.node_id)
    assert cloud.sign_in(dev, edge_id_token=names_other).status_code == 400
