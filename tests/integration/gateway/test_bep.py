"""The third of the four steps: codes, and what visitors of a BEP reach."""

from collections.abc import Iterator

import httpx
import pytest

from tests.integration.gateway.peers import Cloud, Gateway
from tests.programs import HECATE, run

BASE = "/api/climate/v1"


@pytest.fixture(scope="module")
def climate(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Give a gateway in an account that runs the example microservice."""
    with Gateway(tmp_path_factory.mktemp("climate"), **cloud.environ()) as node:
        node.until_ready()
        node.rpc("associateAccount", cloud.log_in(node.rpc("getEdgeIdToken")["id_token"]))
        deploy = (*HECATE, "deploy", "examples/climate")
        run(deploy, HECATE_URL=node.url, HECATE_API_KEY=node.key)
        yield node


def visit(cloud: Cloud, node: Gateway, query: str) -> httpx.Response:
    url = f"{cloud.url}/sep/{node.node_id}{BASE}/bep{query}"
    return httpx.get(url, timeout=30, trust_env=False)


def code_for(node: Gateway, expiry: str = "", node_id: str = "") -> str:
    expiry = expiry or str(int(node.status()["sep"]["since"]) + 86_400)
    params = ("", expiry, node_id or node.node_id, "jsapi://requestBep")
    return str(node.rpc("getEdgeHmacCode", *params)["edgeHmacCode"])


def test_a_code_opens_one_bep_however_often_it_is_shown(cloud: Cloud, climate: Gateway) -> None:
    code = code_for(climate)
    first = visit(cloud, climate, f"?hmac={code}").raise_for_status().json()
    again = visit(cloud, climate, f"?hmac={code}").raise_for_status().json()
    assert first == again
    (bep,) = climate.status()["beps"]
    assert (bep["url"], bep["label"], bep["state"]) == (first["href"], BASE, "open")


def test_visitors_of_a_bep_reach_microservices_only(cloud: Cloud, climate: Gateway) -> None:
    href = visit(cloud, climate, f"?hmac={code_for(climate)}").raise_for_status().json()["href"]
    with httpx.Client(trust_env=False, timeout=30) as visitor:
        assert visitor.get(f"{href}{BASE}/rooms/attic").status_code in (200, 404)
        answer = visitor.get(f"{href}/nope")
        assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")
        for path in ("/healthz", "/status/v1", "/mcm/v1/images", "/devices/v1/devices"):
            key = {"Authorization": f"Bearer {climate.key}"}
            assert visitor.get(href + path, headers=key).status_code == 404


def test_without_a_good_code_there_is_no_bep(cloud: Cloud, climate: Gateway) -> None:
    good = code_for(climate)
    bad = (
        "",
        "?hmac=",
        "?hmac=x",
        f"?hmac={good[:-1]}",
        f"?hmac={good}&hmac={good}",
        f"?hmac={code_for(climate, expiry='1000')}",
        f"?hmac={code_for(climate, expiry='6333333333')}",
        f"?hmac={code_for(climate, node_id='0' * 56)}",
    )
    for query in bad:
        answer = visit(cloud, climate, query)
        assert answer.status_code == 403, query
        assert answer.json()["detail"].startswith("cannot ")
