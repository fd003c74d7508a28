"""The third of the four steps: codes, and what visitors of a BEP reach."""

import signal
import time
from collections.abc import Iterator

import httpx
import pytest

from gateway.node.identity import load_identity
from protocol.tokens import sign_as_node
from tests.integration.gateway.nodes import climate_gateway
from tests.programs import until
from tests.system import Cloud, Gateway

BASE = "/api/climate/v1"


@pytest.fixture(scope="module")
def climate(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Give a gateway in an account that runs the example microservice."""
    with climate_gateway(tmp_path_factory.mktemp("climate"), cloud) as node:
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


def fill(cloud: Cloud, node: Gateway) -> list[str]:
    """Open all BEPs that a node may have, each for a code of its own; return where they are."""
    soon = int(time.time()) + 3600
    codes = [code_for(node, expiry=str(soon + number)) for number in range(8)]
    answers = [visit(cloud, node, f"?hmac={code}").raise_for_status().json() for code in codes]
    return [answer["href"] for answer in answers]


def end_all(node: Gateway) -> None:
    for bep in node.call("GET", "/beps/v1/beps")["data"]:
        node.call("DELETE", f"/beps/v1/beps/{bep['id']}")


@pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "SIGKILL"])
def test_a_gateway_that_starts_again_has_all_its_beps_to_give(
    cloud: Cloud, climate: Gateway, kill: bool
) -> None:  # case G7
    end_all(climate)
    old = fill(cloud, climate)
    ninth = visit(cloud, climate, f"?hmac={code_for(climate, str(int(time.time()) + 99))}")
    assert ninth.status_code == 503
    assert "`hecate beps end ID`" in ninth.json()["detail"]
    if kill:
        climate.program.kill()
    else:
        assert climate.stop() == 0
        gone = httpx.get(old[0] + BASE, timeout=30, trust_env=False)
        assert gone.status_code == 404  # at once: it was ended at the stop
    climate.start()
    climate.until_ready()

    def given_back() -> bool:
        listed: dict[str, object] = climate.call("GET", "/beps/v1/beps")
        return listed == {"data": [], "problem": ""}

    until(given_back, "what the earlier run left is given back")
    dead = httpx.get(old[0] + BASE, timeout=30, trust_env=False)
    assert (dead.status_code, dead.json()["status"]) == (404, 404)
    assert len(set(fill(cloud, climate) + old)) == 16
    end_all(climate)


def test_a_bep_is_listed_and_ended(cloud: Cloud, climate: Gateway) -> None:  # case G7
    end_all(climate)
    href = visit(cloud, climate, f"?hmac={code_for(climate)}").raise_for_status().json()["href"]
    answer = climate.call("GET", "/beps/v1/beps")
    (bep,) = answer["data"]
    assert (bep["url"], bep["label"], bep["state"], answer["problem"]) == (href, BASE, "open", "")
    assert climate.ask("GET", "/beps/v1/beps", "wrong").status_code == 401
    assert climate.ask("DELETE", f"/beps/v1/beps/{'x' * 22}").status_code == 404
    assert climate.ask("DELETE", f"/beps/v1/beps/{bep['id']}").status_code == 204
    assert climate.call("GET", "/beps/v1/beps")["data"] == []
    assert climate.status()["beps"] == []
    assert httpx.get(href, timeout=30, trust_env=False).status_code == 404


def test_a_bep_that_only_the_cloud_knows_is_shown_and_ended(
    cloud: Cloud, climate: Gateway
) -> None:  # case G7
    end_all(climate)
    key = load_identity(climate.state).key
    claims = {"iss": key.node_id, "sub": key.node_id, "aud": "mst"}
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": sign_as_node(claims, key, time.time(), 60),
    }
    with httpx.Client(base_url=cloud.url, trust_env=False) as http:
        token = http.post("/mst/v1/oauth/token", data=form).json()["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        made = http.post("/mss/v1/beps", json={}, headers=bearer).json()
    (bep,) = climate.call("GET", "/beps/v1/beps")["data"]
    assert (bep["id"], bep["state"], bep["visitors"]) == (made["id"], "unserved", 0)
    assert climate.ask("DELETE", f"/beps/v1/beps/{bep['id']}").status_code == 204
    assert climate.call("GET", "/beps/v1/beps")["data"] == []


def test_a_cloud_that_hangs_does_not_hold_the_stop(
    cloud: Cloud, climate: Gateway
) -> None:  # case G7
    visit(cloud, climate, f"?hmac={code_for(climate)}").raise_for_status()
    cloud.program.process.send_signal(signal.SIGSTOP)
    try:
        assert climate.stop() == 0  # in its 5 s: the peer waits no longer than 8
    finally:
        cloud.program.process.send_signal(signal.SIGCONT)
    climate.start()
    climate.until_ready()
    until(lambda: climate.call("GET", "/beps/v1/beps")["data"] == [], "what was left is given back")
