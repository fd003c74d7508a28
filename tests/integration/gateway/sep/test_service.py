from pathlib import Path

import httpx

from tests.mqtt_peer import Mqtt
from tests.programs import until
from tests.system import Cloud, Gateway, restart_cloud, start_cloud


def ask_sep(cloud: Cloud, node: Gateway, path: str, key: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = f"{cloud.url}/sep/{node.node_id}{path}"
    return httpx.get(url, headers=headers, timeout=30, trust_env=False)


def test_the_node_answers_through_the_sep(cloud: Cloud, node: Gateway) -> None:
    sep = node.status()["sep"]
    assert (sep["state"], sep["url"]) == ("online", f"{cloud.url}/sep/{node.node_id}")
    answer = ask_sep(cloud, node, "/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    answer = ask_sep(cloud, node, "/nope?a=b")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_the_api_key_is_of_no_use_through_the_sep(cloud: Cloud, node: Gateway) -> None:
    for path in ("/status/v1", "/metrics", "/openapi.json", "/devices/v1/devices"):
        assert ask_sep(cloud, node, path).status_code == 401
        assert ask_sep(cloud, node, path, node.key).status_code == 401


def test_an_account_manages_its_node_through_the_sep(cloud: Cloud, tmp_path: Path) -> None:
    with Gateway(tmp_path, **cloud.environ()) as node:
        node.until_ready()
        token = cloud.log_in(node.rpc("getEdgeIdToken")["id_token"])
        assert ask_sep(cloud, node, "/status/v1", token).status_code == 401
        account_id = node.rpc("associateAccount", token)["accountId"]
        assert account_id
        assert node.rpc("getMe")["accountId"] == account_id
        assert ask_sep(cloud, node, "/status/v1", token).json()["node"]["accountId"] == account_id
        assert ask_sep(cloud, node, "/status/v1", token[:-4] + "AAAA").status_code == 401
        nodes = node.call("GET", "/mds/v1/nodes?clusters=account")["data"]
        assert node.node_id in [record["id"] for record in nodes]
        expiry = "9999999999"
        code = node.rpc("getEdgeHmacCode", "", expiry, node.node_id, "jsapi://requestBep")
        assert code["edgeHmacCode"].startswith(f"{expiry}.")
        # a restart keeps the account, its key, and the keys that sign tokens
        assert node.stop() == 0
        node.start()
        assert node.rpc("getMe")["accountId"] == account_id
        assert node.rpc("getEdgeHmacCode", "", expiry, node.node_id, "jsapi://requestBep") == code
        assert node.ask("GET", "/status/v1", token).status_code == 200


def test_a_cloud_that_says_no_is_told_with_its_reason(lone: Gateway, tmp_path: Path) -> None:
    with Gateway(tmp_path, HECATE_GATEWAY_CLOUD_URL=lone.url) as node:  # a gateway is no cloud
        until(lambda: node.status()["sep"]["state"] == "refused", "a refusal")
        why = str(node.status()["sep"]["error"])
        assert why.startswith("cannot get access token: cannot find /mst/v1/oauth/token: ")
        ready = node.ask("GET", "/readyz", "").json()
        assert ready["reasons"] == [f"SEP: refused: {why}"]


def test_a_gateway_works_without_its_cloud_and_finds_it_again(tmp_path: Path) -> None:
    cloud = start_cloud(tmp_path / "cloud")
    with cloud.program:
        environ = cloud.environ()
    with Gateway(tmp_path / "node", HECATE_GATEWAY_BROKER_ANONYMOUS="loopback", **environ) as node:
        ready = node.ask("GET", "/readyz", "")
        assert ready.status_code == 503
        assert ready.json()["reasons"][0].startswith("SEP: ")
        with Mqtt(node.mqtt_port) as person:
            assert person.subscribe("rooms/#")
            person.publish("rooms/a", "1")
            until(person.messages.__len__, "the local side works")
        again = restart_cloud(cloud)
        with again.program:
            node.until_ready()
            assert ask_sep(again, node, "/healthz").status_code == 200
        until(lambda: node.status()["sep"]["state"] != "online", "the SEP is down")
        assert node.ask("GET", "/healthz", "").status_code == 200
