"""Real gateways on loopback call each other over their network; the supernode carries nothing."""

import json
import os
import signal
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.gateway.services.world import write_service
from tests.ports import free_port
from tests.programs import HECATE, run, until
from tests.system import Gateway

pytestmark = pytest.mark.slow

CODE = """
import asyncio

count = 0

@service.post("/echo")
async def echo(request):
    global count
    count += 1
    return await request.body()

@service.post("/slow")
async def slow(request):
    await asyncio.sleep(60)

@service.get("/where")
async def where(request):
    return {"node": service.info.node_id, "count": count, "caller": request.headers.get("x-hecate-caller", "")}

@service.get("/fetch")
async def fetch(request):
    async with service.http.request("GET", request.query["url"]) as response:
        return {"status": response.status, "text": await response.text()}
"""  # noqa: E501
SECRET = "a secret of the cluster"
BODY_BYTES = 900_000  # the SEP carries 256 KiB


class Member(Gateway):
    """A gateway with a public and a private service."""

    def deploy(self, folder: Path) -> None:
        for name, expose in (("public", "public"), ("private", "node")):
            toml = f'expose = "{expose}"\n'
            code = write_service(folder / f"{self.node_id}-{name}", CODE, name=name, toml=toml)
            run((*HECATE, "deploy", str(code)), HECATE_URL=self.url, HECATE_API_KEY=self.key)

    def cluster(self) -> dict[str, Any]:
        state: dict[str, Any] = self.call("GET", "/cluster/v1")
        return state

    def hecate(self, *words: str) -> str:
        return run((*HECATE, *words), HECATE_URL=self.url, HECATE_API_KEY=self.key)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Member]]:
    """Give the supernode and two members with services."""
    folder = tmp_path_factory.mktemp("three")
    ports = [free_port() for _ in range(3)]
    with ExitStack() as stack:
        started = [
            stack.enter_context(start(folder / f"n{number}", port, ports))
            for number, port in enumerate(ports)
        ]
        until(lambda: len({g.cluster()["supernodeId"] for g in started}) == 1, "one supernode")
        until(lambda: all(len(g.cluster()["members"]) == 3 for g in started), "three members")
        leader_id = started[0].cluster()["supernodeId"]
        for each in started[1:]:
            each.deploy(folder)
        yield sorted(started, key=lambda g: g.node_id != leader_id)


def start(state: Path, port: int, ports: list[int], secret: str = SECRET) -> Member:
    return Member(
        state,
        HECATE_GATEWAY_NODE_NAME=state.name,
        HECATE_GATEWAY_CLUSTER_ADMIT="secret",
        HECATE_GATEWAY_CLUSTER_SECRET=secret,
        HECATE_GATEWAY_CLUSTER_HOST="127.0.0.1",
        HECATE_GATEWAY_CLUSTER_PORT=str(port),
        HECATE_GATEWAY_CLUSTER_DISCOVERY="false",
        HECATE_GATEWAY_CLUSTER_PEERS=",".join(f"127.0.0.1:{each}" for each in ports),
    )


def test_a_member_calls_another_and_the_supernode_carries_no_body(three: list[Member]) -> None:
    leader, near, far = three
    path, body = f"/nodes/{far.node_id}/api/public/v1", os.urandom(BODY_BYTES)
    assert near.call("GET", f"{path}/where")["node"] == far.node_id
    pid = leader.program.process.pid
    os.kill(pid, signal.SIGSTOP)  # a way that carries nothing is not missed
    try:
        answer = near.ask("POST", f"{path}/echo", content=body)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (answer.status_code, answer.content == body) == (200, True)
    until(lambda: len({g.cluster()["supernodeId"] for g in three}) == 1, "one supernode again", 30)
    assert leader.cluster()["callsServed"] == leader.status()["cluster"]["sepPassed"] == 0
    assert far.cluster()["callsServed"] >= 2


def test_the_rights_are_those_of_a_request_from_elsewhere(three: list[Member]) -> None:
    _, near, far = three

    def ask(path: str, key: str | None = None) -> int:
        return near.ask("GET", f"/nodes/{far.node_id}{path}", key).status_code

    assert ask("/healthz") == 200
    assert ask("/api/private/v1/where") == 403
    assert (ask("/mcm/v1/images"), ask("/mds/v1/nodes")) == (403, 401)
    assert ask("/metrics") == 401
    assert ask("/healthz", "") == 401  # a caller of the network shows credentials here
    assert ask("/healthz", "wrong") == 401
    assert ask(f"/nodes/{near.node_id}/healthz") == 403  # one node further, or back: no loops
    key_of_the_other = {"Authorization": f"Bearer {far.key}"}
    url = f"/nodes/{far.node_id}/mcm/v1/images"
    assert near.ask("GET", url, "", headers=key_of_the_other).status_code == 401
    assert near.ask("GET", f"/nodes/{near.node_id}/mcm/v1/images").status_code == 200
    assert near.ask("GET", "/nodes/xyz/healthz").status_code == 404
    assert near.ask("GET", f"/nodes/{'0' * 56}/healthz").status_code == 404


def test_a_container_reaches_services_of_other_nodes_by_type_and_id(three: list[Member]) -> None:
    leader, near, far = three

    def fetch(url: str) -> Any:
        return near.call("GET", "/api/private/v1/fetch", params={"url": url})

    seen = fetch(f"http://{far.node_id}.api-public.service.hecate/where")
    assert json.loads(seen["text"])["node"] == far.node_id
    seen = fetch("http://api-public.service.hecate/where")  # the nearest is on its own node
    assert json.loads(seen["text"])["node"] == near.node_id
    seen = fetch(f"http://{leader.node_id}.node.hecate/healthz")
    assert seen["status"] == 200


def test_a_service_that_moves_is_found_at_once(three: list[Member], tmp_path: Path) -> None:
    leader, near, far = three
    code = write_service(tmp_path / "mover", CODE, name="mover", toml='expose = "public"\n')

    def ask() -> httpx.Response:
        params = {"url": "http://api-mover.service.hecate/where"}
        return near.ask("GET", "/api/private/v1/fetch", params=params)

    def deploy(at: Member) -> None:
        at.hecate("deploy", str(code))
        until(lambda: at.ask("GET", "/api/mover/v1/where").status_code == 200, "it runs")
        until(lambda: at.node_id in offers(at), "it is listed")

    def offers(known_to: Member) -> set[str]:
        nodes = known_to.call("GET", "/mds/v1/nodes?clusters=linkLocal")["data"]
        return {each["id"] for each in nodes if "api-mover" in str(each["services"])}

    until(lambda: ask().status_code == 502, "it is nowhere, and near has the newest lists")
    deploy(far)
    for only, new in ((far, leader), (leader, far)):
        answer = ask()
        assert answer.status_code == 200, answer.text
        assert json.loads(answer.json()["text"])["node"] == only.node_id
        deploy(new)
        until(lambda: len(offers(near)) == 2, "near knows both")
        for _ in range(5):  # the list is used for 5 s
            ask()
        only.call("DELETE", "/mcm/v1/containers/api-mover")
        answer = ask()
        assert answer.status_code == 200, answer.text
        assert json.loads(answer.json()["text"])["node"] == new.node_id


def test_commands_show_the_cluster_and_call_nodes(three: list[Member]) -> None:
    _, near, far = three
    name = far.status()["node"]["name"]
    assert "lan" in near.hecate("route", name)
    assert "in-process" in near.hecate("route", near.node_id)
    shown = near.hecate("call", name, "/api/public/v1/echo", "-d", "hello")
    assert shown == "hello"
    listed = near.hecate("nodes", "--all")
    assert all(node.node_id in listed for node in three)


def test_a_member_that_is_gone_is_not_reached_and_is_reached_again(three: list[Member]) -> None:
    _, near, far = three
    path = f"/nodes/{far.node_id}/healthz"
    assert near.ask("GET", path).status_code == 200
    served = far.cluster()["callsServed"]
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(near.ask, "POST", f"/nodes/{far.node_id}/api/public/v1/slow")
        until(lambda: far.cluster()["callsServed"] == served + 1, "it is asked")
        far.program.kill()
        answer = slow.result()
    assert answer.status_code == 502  # case N19
    assert "cannot say whether node" in answer.json()["detail"]
    assert near.ask("POST", path).status_code in (404, 503)
    far.start()
    until(lambda: near.ask("GET", path).status_code == 200, "it is reached again", 20)


def test_a_node_without_the_secret_is_refused_and_shown(
    three: list[Member], tmp_path: Path
) -> None:
    near = three[1]
    ports = [
        int(m["addresses"][0].rpartition(":")[2])
        for m in near.cluster()["members"]
        if m["addresses"]
    ]
    with start(tmp_path / "stranger", free_port(), ports, "some other secret, not it") as stranger:
        until(
            lambda: any(stranger.node_id in g.hecate("nodes", "--refused") for g in three),
            "the stranger is shown",
            20,
        )
        assert [m["id"] for m in stranger.cluster()["members"]] == [stranger.node_id]
        assert stranger.ask("GET", f"/nodes/{near.node_id}/healthz").status_code == 404


def test_a_call_takes_milliseconds(three: list[Member]) -> None:
    _, near, far = three
    url = f"{near.url}/nodes/{far.node_id}/healthz"
    with httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {near.key}"}) as client:
        times = []
        for _ in range(200):
            started = time.perf_counter()
            assert client.get(url).status_code == 200
            times.append(time.perf_counter() - started)
    median_ms = statistics.median(times) * 1000
    assert median_ms < 30, f"{median_ms:.2f} ms"
