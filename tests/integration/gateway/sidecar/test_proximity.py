"""clusters=account and clusters=proximity answer through the cloud, by GPS and by configuration."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.gateway.nodes import Node
from tests.programs import HECATE, run, until
from tests.system import Gateway, start_cloud

HOME = "52.0116, 4.3571"


def ids(gateway: Gateway, clusters: str, **more: object) -> list[str]:
    answer = gateway.call("GET", "/mds/v1/nodes", params={"clusters": clusters, **more})
    assert answer["type"] == clusters
    return [str(each["id"]) for each in answer["data"]]


def update_gps(gateway: Gateway, *params: Any) -> dict[str, Any]:
    body = {"jsonrpc": "2.0", "id": 1, "method": "updateGps", "params": ["", *params]}
    answer: dict[str, Any] = gateway.call("POST", "/jsonrpc/v1", json=body)
    return answer


@pytest.mark.slow
def test_a_node_finds_those_of_its_account_that_are_near(tmp_path: Path) -> None:
    cloud = start_cloud(tmp_path / "cloud")
    house_at = {"HECATE_GATEWAY_NODE_POSITION": HOME}
    with (
        cloud.program,
        Node(tmp_path / "house", cloud, **house_at) as house,
        Node(tmp_path / "van", cloud) as van,
    ):
        both = {house.node_id, van.node_id}
        until(lambda: set(ids(house, "account")) == both, "both are of the account")
        assert ids(house, "proximity") == [house.node_id]
        answer = van.ask("GET", "/mds/v1/nodes", params={"clusters": "proximity"})
        assert (answer.status_code, "no position" in answer.json()["detail"]) == (409, True)

        assert update_gps(van, "52.0126", "4.3571", "3.0", "40")["result"] == {"status": "ok"}
        until(lambda: ids(house, "proximity") == [house.node_id, van.node_id], "the van is near")
        assert ids(van, "proximity", radius=50) == [van.node_id]
        shown = run(
            (*HECATE, "nodes", "--cluster", "proximity"),
            HECATE_URL=house.url,
            HECATE_API_KEY=house.key,
        )
        assert "111 m" in shown
        # the cluster's record tells no position: it may be shown to other accounts
        near = house.call("GET", "/mds/v1/nodes", params={"clusters": "linkLocal"})["data"]
        assert "location" not in near[0]

        for bad in ((), ("91", "181"), ("nan", "4"), ("52",), ("x", "y"), (None, None)):
            assert update_gps(van, *bad)["error"]["code"] == -32602
        assert ids(house, "proximity") == [house.node_id, van.node_id]


def test_a_gateway_without_a_cloud_says_what_it_lacks(tmp_path: Path) -> None:
    with Gateway(tmp_path / "alone") as alone:
        assert ids(alone, "proximity") == ids(alone, "account") == [alone.node_id]
        assert "no cloud" in update_gps(alone, "52", "4")["error"]["message"]
