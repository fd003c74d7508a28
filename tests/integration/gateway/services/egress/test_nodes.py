"""Calls between microservices of two nodes of an account, through a real cloud."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.gateway.services.world import write_service
from tests.programs import HECATE, run, until
from tests.system import Cloud, Gateway

CODE = """
@service.get("/fetch")
async def fetch(request):
    headers = {n: v for n, v in request.headers.items() if n.startswith("x-mimik")}
    url = request.query["url"]
    async with service.http.request("GET", url, headers=headers) as response:
        return {"status": response.status, "text": await response.text()}

@service.post("/rpc")
async def rpc(request):
    url = "http://localhost:8083/jsonrpc/v1"
    async with service.http.request("POST", url, body=await request.body()) as response:
        return await response.json()

@service.get("/where")
async def where(request):
    return {"node": service.info.node_id, "caller": request.headers.get("x-hecate-caller", "")}
"""


@pytest.fixture(scope="module")
def nodes(
    cloud: Cloud, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, Gateway]]:
    """Give two gateways in an account; the first calls, the second offers."""
    folder = tmp_path_factory.mktemp("nodes")
    with (
        Gateway(folder / "a", **cloud.environ()) as near,
        Gateway(folder / "b", **cloud.environ()) as far,
    ):
        for node, name, expose in ((near, "near", "node"), (far, "far", "public")):
            node.until_ready()
            node.rpc("associateAccount", cloud.log_in(node.rpc("getEdgeIdToken")["id_token"]))
            code = write_service(folder / name, CODE, name=name, toml=f'expose = "{expose}"\n')
            deploy(node, code)
        until(lambda: knows(near, far), "the account knows the service", 40)
        yield near, far


def deploy(node: Gateway, code: Path) -> None:
    run((*HECATE, "deploy", str(code)), HECATE_URL=node.url, HECATE_API_KEY=node.key)


def knows(near: Gateway, far: Gateway) -> bool:
    """Return whether a container of one node reaches the service of the other by its type."""
    url = f"http://{far.node_id}.api-far.service.hecate/where"
    return near.ask("GET", "/api/near/v1/fetch", "", params={"url": url}).status_code == 200


def fetch(node: Gateway, url: str, **headers: str) -> Any:
    answer = node.ask("GET", "/api/near/v1/fetch", "", params={"url": url}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_service_is_found_by_its_type_on_another_node(nodes: tuple[Gateway, Gateway]) -> None:
    near, far = nodes
    seen = fetch(near, "http://api-far.service.hecate/where")
    assert json.loads(seen["text"]) == {"node": far.node_id, "caller": ""}
    seen = fetch(near, f"http://{far.node_id}.api-far.service.hecate/where")
    assert json.loads(seen["text"])["node"] == far.node_id
    # one that the other node offers to itself only, and one that nobody offers
    seen = fetch(near, f"http://{far.node_id}.node.hecate/mcm/v1/images")
    assert seen["status"] == 403


# edge-api.md 2.7: as compatible images address a node
def test_the_routing_header_names_a_node(nodes: tuple[Gateway, Gateway], cloud: Cloud) -> None:
    near, far = nodes
    fields = {"nodeId": far.node_id, "localLinkNetworkId": ""}
    routing = base64.b64encode(json.dumps(fields).encode()).decode()
    url = f"{cloud.url}/sep/{far.node_id}/api/far/v1/where"
    seen = fetch(near, url, **{"x-mimik-routing": routing, "x-mimik-port": "8100"})
    assert json.loads(seen["text"])["node"] == far.node_id


def test_json_rpc_takes_the_token_of_the_params(
    nodes: tuple[Gateway, Gateway], cloud: Cloud
) -> None:
    near, _ = nodes
    token = cloud.log_in(near.rpc("getEdgeIdToken")["id_token"])

    def rpc(method: str, *params: str) -> Any:
        body = {"method": method, "params": params}
        return near.call("POST", "/api/near/v1/rpc", key="", json=body)

    assert rpc("getMe")["result"]["nodeId"] == near.node_id
    code = (str(int(time.time()) + 60), near.node_id, "jsapi://requestBep")
    assert rpc("getEdgeHmacCode", token, *code)["result"]["edgeHmacCode"]
    for wrong in ("", "x.y.z", near.key):
        assert "lacks scope" in rpc("getEdgeHmacCode", wrong, *code)["error"]["message"]
        assert "lacks scope" in rpc("getEdgeIdToken", wrong)["error"]["message"]


def test_the_list_of_nodes_needs_no_key_for_a_container(nodes: tuple[Gateway, Gateway]) -> None:
    near, far = nodes
    seen = fetch(near, "http://localhost:8083/mds/v1/nodes?clusters=account")
    ids = {node["id"] for node in json.loads(seen["text"])["data"]}
    assert {near.node_id, far.node_id} <= ids
    assert near.ask("GET", "/mds/v1/nodes", "").status_code == 401  # for all others it does
    for path in ("/mcm/v1/images", "/status/v1", "/devices/v1/devices"):
        assert fetch(near, f"http://localhost:8083{path}")["status"] in (401, 403), path
