"""RFC 8628: a node shows a code, its owner types it, the node joins the account."""

import httpx
import pytest

from tests.integration.cloud.peers import Node
from tests.system import Cloud, start_cloud

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"


def begin(node: Node, **more: str) -> httpx.Response:
    form = {"edge_id_token": node.edge_id_token(), **more}
    return node.cloud.call("POST", "/mst/v1/oauth/device_authorization", data=form)


def ask(cloud: Cloud, device_code: str) -> httpx.Response:
    form = {"grant_type": GRANT_TYPE, "device_code": device_code}
    return cloud.call("POST", "/mst/v1/oauth/token", data=form)


def error_of(answer: httpx.Response) -> str:
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("cannot ")
    return str(answer.json()["error"])


def person(cloud: Cloud) -> str:
    return str(cloud.sign_in(cloud.dev_id_token()).json()["access_token"])


def decide(cloud: Cloud, code: str, token: str = "", **more: str) -> httpx.Response:
    return cloud.call("POST", "/mid/v1/device", token, data={"user_code": code, **more})


def test_a_node_joins_the_account_of_the_person_that_types_its_code(
    cloud: Cloud, node: Node
) -> None:
    codes = begin(node).raise_for_status().json()
    assert codes["verification_uri"] == f"{cloud.url}/mid/v1/device"
    assert codes["verification_uri_complete"].endswith(f"?user_code={codes['user_code']}")
    assert error_of(ask(cloud, codes["device_code"])) == "authorization_pending"
    assert error_of(ask(cloud, codes["device_code"])) == "slow_down"
    token = person(cloud)
    typed = codes["user_code"].lower().replace("-", " ")  # as people type
    decided = decide(cloud, typed, token).raise_for_status().json()
    assert (decided["node_id"], decided["node_name"]) == (node.node_id, "by hand")
    answer = ask(cloud, codes["device_code"]).raise_for_status().json()
    assert answer["scope"] == "edge:account:associate"  # and no more
    joined = cloud.call("PUT", f"/mds/v1/nodes/{node.node_id}/account", answer["access_token"])
    assert joined.raise_for_status().json()["accountId"] == decided["account_id"]
    assert error_of(ask(cloud, codes["device_code"])) == "invalid_grant"  # good once
    assert decide(cloud, codes["user_code"], token).status_code == 404
    assert error_of(begin(node)) == "invalid_request"  # it is a member now


def test_the_token_of_a_code_is_bound_to_its_node(cloud: Cloud, node: Node) -> None:
    codes = begin(node).json()
    decide(cloud, codes["user_code"], person(cloud)).raise_for_status()
    token = ask(cloud, codes["device_code"]).json()["access_token"]
    other = Node(cloud)
    other.register().raise_for_status()
    stolen = cloud.call("PUT", f"/mds/v1/nodes/{other.node_id}/account", token)
    assert stolen.status_code == 403


def test_a_refused_node_is_told(cloud: Cloud, node: Node) -> None:
    codes = begin(node).json()
    assert not decide(cloud, codes["user_code"], person(cloud), allow="false").json()["allowed"]
    assert error_of(ask(cloud, codes["device_code"])) == "access_denied"


def test_a_second_code_takes_the_place_of_the_first(cloud: Cloud, node: Node) -> None:
    first, second = begin(node).json(), begin(node).json()
    assert error_of(ask(cloud, first["device_code"])) == "invalid_grant"
    assert decide(cloud, first["user_code"], person(cloud)).status_code == 404
    assert error_of(ask(cloud, second["device_code"])) == "authorization_pending"


def test_an_unknown_caller_gets_no_code_and_decides_nothing(cloud: Cloud, node: Node) -> None:
    assert error_of(begin(Node(cloud))) == "invalid_client"  # not registered
    assert error_of(begin(node, edge_id_token="x")) == "invalid_client"
    assert error_of(begin(node, scope="edge:mcm")) == "invalid_scope"
    code = begin(node).json()["user_code"]
    assert decide(cloud, code).status_code == 401
    assert decide(cloud, code, "x").status_code == 401
    assert decide(cloud, code, username="dev", password="x").status_code == 401
    assert decide(cloud, code, node.token()).status_code == 403


def test_the_page_for_a_browser(cloud: Cloud, node: Node) -> None:
    code = begin(node).json()["user_code"]
    page = cloud.call("GET", "/mid/v1/device", params={"user_code": code})
    assert f'value="{code}"' in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    hostile = cloud.call("GET", "/mid/v1/device", params={"user_code": '"><script>'})
    assert "<script>" not in hostile.text
    html = {"Accept": "text/html"}
    password = (cloud.state / "dev-password").read_text().strip()
    form = {"user_code": code, "username": "dev", "password": "wrong"}
    wrong = cloud.call("POST", "/mid/v1/device", data=form, headers=html)
    assert (wrong.status_code, "wrong user or password" in wrong.text) == (401, True)
    form["password"] = password
    done = cloud.call("POST", "/mid/v1/device", data=form, headers=html)
    assert (done.status_code, "may join your account now" in done.text) == (200, True)


def test_wrong_codes_are_counted(tmp_path_factory: pytest.TempPathFactory) -> None:
    cloud = start_cloud(tmp_path_factory.mktemp("guesses") / "state")
    try:
        node = Node(cloud)
        node.register().raise_for_status()
        code, token = begin(node).json()["user_code"], person(cloud)
        for _ in range(10):
            assert decide(cloud, "BBBB-BBBB", token).status_code == 404
        assert decide(cloud, code, token).status_code == 429
    finally:
        assert cloud.program.stop() == 0
