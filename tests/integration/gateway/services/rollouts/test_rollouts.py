"""Real gateways of one account and a real cloud: a container is rolled out in waves."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.services.images.pack import pack_image
from tests.integration.gateway.nodes import Node
from tests.programs import until
from tests.system import Cloud, start_cloud

SERVICES = {"HECATE_GATEWAY_SERVICES_PROBATION_S": "0.5"}
CODE = """
from microservice import *
service = Service()
@service.get("/")
async def root(_): return {"city": service.env.get("CITY", ""), "file": len(BULK)}
BULK = "%s"
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    running = start_cloud(tmp_path_factory.mktemp("cloud") / "cloud")
    yield running
    assert running.program.stop() == 0


def upload(node: Node, folder: Path, name: str = "probe", bulk: str = "") -> None:
    source = folder / f"source-{name}"
    source.mkdir(exist_ok=True)
    (source / "service.py").write_text(CODE % bulk)
    manifest = f'name = "{name}"\n[http]\nbase = "/probe/v1"\n'
    (source / "microservice.toml").write_text(manifest)
    files = {"image": ("image.tar", pack_image(source))}
    node.ask("POST", "/mcm/v1/images", files=files).raise_for_status()


def states(rollout: dict[str, Any]) -> dict[str, str]:
    return {each["id"]: each["state"] for each in rollout["nodes"]}


def until_state(node: Node, path: str, state: str) -> dict[str, Any]:
    """Return a roll-out once it is in a state; a failure tells the last one that was seen."""
    last: dict[str, Any] = {}

    def is_there() -> bool:
        last.update(node.call("GET", path))
        return bool(last["state"] == state)

    try:
        until(is_there, f"the roll-out is {state}", 60)
    except AssertionError as exc:
        seen = [f"{each['id']:.12} {each['state']} {each['error']}" for each in last["nodes"]]
        raise AssertionError(f"{exc}; it is {last['state']}: " + "; ".join(seen)) from exc
    return last


def answer(node: Node) -> Any:
    return node.call("GET", "/api/probe/v1/")


# case S24
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_container_goes_to_all_nodes_but_one_broken_and_one_that_comes_later(
    cloud: Cloud, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(Node(tmp_path / f"n{number}", cloud, **SERVICES))
            for number in range(4)
        ]
        first, good, broken, away = nodes
        upload(first, tmp_path, bulk="x" * 700_000)  # more than one answer of the SEP holds
        upload(broken, tmp_path, "other")
        body = {"name": "other", "image": "other-v1"}
        broken.ask("POST", "/mcm/v1/containers", json=body).raise_for_status()
        away.stop()
        wish = {
            "name": "probe", "image": "probe-v1", "env": {"CITY": "Delft"}, "wave": 2,
            "maxFailures": "25%", "nodes": [node.node_id for node in nodes],
        }  # fmt: skip
        rollout = first.call("POST", "/mcm/v1/rollouts", json=wish)
        path = f"/mcm/v1/rollouts/{rollout['id']}"

        rollout = until_state(first, path, "waiting")  # all but one are settled
        assert states(rollout) == {
            first.node_id: "ready",
            good.node_id: "ready",
            broken.node_id: "failed",
            away.node_id: "unreachable",
        }
        (error,) = (n["error"] for n in rollout["nodes"] if n["id"] == broken.node_id)
        assert "/api/probe/v1 overlaps with /api/probe/v1" in error
        assert answer(good) == {"city": "Delft", "file": 700_000}
        first.program.kill()
        away.start()
        away.until_ready()
        first.start()
        done = until_state(first, path, "done")
        assert states(done)[away.node_id] == "ready"
        assert answer(away) == {"city": "Delft", "file": 700_000}


# case S24
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_roll_out_stops_beyond_its_bound_and_a_stranger_gives_no_order(
    cloud: Cloud, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(Node(tmp_path / name, cloud, **SERVICES)) for name in "ab"
        )
        upload(first, tmp_path)
        upload(second, tmp_path, "other")
        body = {"name": "other", "image": "other-v1"}
        second.ask("POST", "/mcm/v1/containers", json=body).raise_for_status()
        wish = {
            "name": "probe", "image": "probe-v1", "wave": 1,
            "nodes": [second.node_id, first.node_id],
        }  # fmt: skip
        rollout = first.call("POST", "/mcm/v1/rollouts", json=wish)
        path = f"/mcm/v1/rollouts/{rollout['id']}"
        stopped = until_state(first, path, "stopped")
        assert states(stopped)[first.node_id] == "pending"
        second.ask("DELETE", "/mcm/v1/containers/api-other").raise_for_status()
        first.call("PUT", path, json={"state": "running"})
        until_state(first, path, "done")
        order = json.dumps({"rollout_id": rollout["id"]}).encode()
        for code in ("", "1.x", f"9999999999.{'A' * 43}"):
            refused = httpx.put(
                f"{cloud.url}/sep/{second.node_id}/mcm/v1/rollouts/orders/{rollout['id']}",
                content=order, headers={"x-hecate-code": code}, timeout=30, trust_env=False,
            )  # fmt: skip
            assert refused.status_code == 403, refused.text


def test_what_is_no_roll_out_is_refused(cloud: Cloud, tmp_path: Path) -> None:
    with Node(tmp_path / "a", cloud, **SERVICES) as first:
        upload(first, tmp_path)
        good = {"name": "probe", "image": "probe-v1", "nodes": "all"}
        for change, status in (
            ({"nodes": []}, 400), ({"nodes": ["x"]}, 400), ({"wave": "x"}, 400),
            ({"maxFailures": -1}, 400), ({"name": 1}, 400), ({"env": {"a": 1}}, 400),
            ({"image": "none-v1"}, 404),
        ):  # fmt: skip
            answered = first.ask("POST", "/mcm/v1/rollouts", json={**good, **change})
            assert answered.status_code == status, answered.text
        assert first.ask("GET", f"/mcm/v1/rollouts/{'0' * 24}").status_code == 404
        assert first.ask("GET", "/mcm/v1/rollouts").json() == {"data": []}
