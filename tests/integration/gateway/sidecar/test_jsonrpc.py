"""JSON-RPC as compatible clients speak it: batches, odd ids and params, leaving the account."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.gateway.nodes import Node
from tests.system import Cloud, Gateway, start_cloud

ME = {"method": "getMe"}


def post(gateway: Gateway, body: Any) -> Any:
    return gateway.call("POST", "/jsonrpc/v1", json=body)


def sign_in(cloud: Cloud, proof: str, scope: str) -> str:
    answer = cloud.sign_in(cloud.dev_id_token(), edge_id_token=proof, scope=scope)
    return str(answer.raise_for_status().json()["access_token"])


def test_a_batch_has_an_answer_for_each_request_in_order(lone: Gateway) -> None:
    answers = post(lone, [{"id": 7, **ME}, ME, 1, {"id": "x", "method": "none"}, []])
    assert [each["id"] for each in answers] == [7, None, None, "x", None]
    codes = [each.get("error", {}).get("code") for each in answers]
    assert codes == [None, None, -32600, -32601, -32600]
    assert answers[0]["result"]["nodeId"] == answers[1]["result"]["nodeId"] == lone.node_id


@pytest.mark.parametrize("body", [[], [ME] * 33, [[]] * 10_000])
def test_a_batch_of_none_or_too_many_is_refused_as_one(lone: Gateway, body: Any) -> None:
    answer = post(lone, body)
    assert (answer["id"], answer["error"]["code"]) == (None, -32600)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ([], None), ([""], None), (None, None), (["a token"], None), ([1, {}], None),
        ({}, -32602), ({"token": "x"}, -32602), ("x", -32600), (1, -32600), (True, -32600),
    ],
)  # fmt: skip
def test_params_are_an_array_or_absent(lone: Gateway, params: Any, code: int | None) -> None:
    answer = post(lone, {"id": 1, "params": params, **ME})
    assert answer.get("error", {}).get("code") == code


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "a/b;c"])
def test_any_content_type_is_read_as_json(lone: Gateway, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}
    answer = lone.ask("POST", "/jsonrpc/v1", headers=headers, content=b'{"method": "getMe"}')
    assert answer.json()["result"]["nodeId"] == lone.node_id
    assert answer.json()["id"] is None


@pytest.mark.parametrize("path", ["/mds/v1/nodes", "/mDS/v1/nodes"])
def test_discovery_has_the_old_spelling_and_head(lone: Gateway, path: str) -> None:
    listed = lone.ask("GET", path)
    assert [each["id"] for each in listed.json()["data"]] == [lone.node_id]
    head = lone.ask("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")
    assert lone.ask("HEAD", path, "").status_code == 401
    assert lone.ask("POST", path).status_code == 405
    assert lone.ask("GET", path, params={"clusters": "galaxy"}).status_code in (400, 422)


def test_a_node_without_a_cloud_says_that_it_has_no_account_to_leave(lone: Gateway) -> None:
    answer = post(lone, {"id": 1, "method": "unassociateAccount", "params": []})
    assert answer["error"]["code"] == -32000
    assert "no cloud" in answer["error"]["message"]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_node_leaves_its_account_by_a_token_that_allows_it(tmp_path: Path) -> None:
    cloud = start_cloud(tmp_path / "cloud")
    with cloud.program, Node(tmp_path / "node", cloud) as node:

        def leave(token: str) -> Any:
            body = {"id": 1, "method": "unassociateAccount", "params": [token]}
            headers = {"authorization": f"Bearer {token}"}
            return node.ask("POST", "/jsonrpc/v1", "", json=body, headers=headers).json()

        proof = node.rpc("getEdgeIdToken")["id_token"]
        weak = sign_in(cloud, proof, "edge:clusters")
        assert leave(weak)["error"]["code"] == -32001
        assert node.rpc("getMe")["accountId"] == node.account
        allowed = sign_in(cloud, proof, "openid edge:account:unassociate")
        assert leave(allowed)["result"] == {"accountId": node.account}
        assert node.rpc("getMe")["accountId"] == ""
