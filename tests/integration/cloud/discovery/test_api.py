from dataclasses import replace
from typing import Any

import pytest

from protocol.geo.position import Position
from protocol.ids import decode_base64url
from protocol.records import Address, from_fields
from tests.integration.cloud.peers import Node, OpenIdProvider, renamed
from tests.system import Cloud


def account_token(cloud: Cloud, id_token: str, **more: str) -> str:
    return str(cloud.sign_in(id_token, **more).raise_for_status().json()["access_token"])


def test_a_registered_record_comes_back_with_its_sep_url(cloud: Cloud) -> None:
    node = Node(cloud)
    lies = renamed(
        node.record(), account_id="acc-of-someone", addresses=(Address("proxy", "http://evil"),)
    )
    answer = node.register(record=lies)
    assert answer.status_code == 201
    stored = from_fields(answer.json())
    assert stored.account_id == ""
    assert stored.addresses == (Address("proxy", f"{cloud.url}/sep/{node.node_id}"),)
    assert cloud.call("GET", f"/mds/v1/nodes/{node.node_id}", node.token()).json() == answer.json()


def test_records_that_do_not_hold_are_refused(cloud: Cloud) -> None:
    node, other = Node(cloud), Node(cloud)
    assert node.register(token=other.token()).status_code == 403, "another node's token"
    foreign = renamed(node.record(), node_id=other.node_id)
    assert node.register(record=foreign).status_code == 400, "another node's id"
    sealed_to_nobody = renamed(node.record(), sealing_key=b"short")
    assert "sealing key" in node.register(record=sealed_to_nobody).json()["detail"]
    token = node.token()
    for body in ("nonsense", "", "\u20ac", node.assertion()):
        answer = cloud.call("POST", "/mds/v1/nodes", token, content=body.encode())
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith("cannot ")


def test_persons_cannot_register_nodes(cloud: Cloud, node: Node) -> None:
    token = account_token(cloud, cloud.dev_id_token(), edge_id_token=node.edge_id_token())
    assert node.register(token=token).status_code == 403


def test_the_way_into_an_account(cloud: Cloud, provider: OpenIdProvider, node: Node) -> None:
    me = provider.id_token(sub="the way")
    own = node.token()
    assert cloud.call("GET", "/mds/v1/account/key", own).status_code == 409
    alone = cloud.call("GET", "/mds/v1/nodes?clusters=account", own).json()
    assert [n["id"] for n in alone["data"]] == [node.node_id]

    account = node.associate(me)
    second = Node(cloud)
    second.register().raise_for_status()
    assert second.associate(me) == account

    key = cloud.call("GET", "/mds/v1/account/key", own).json()["key"]
    assert len(decode_base64url(key)) == 32
    assert cloud.call("GET", "/mds/v1/account/key", second.token()).json()["key"] == key
    for token in (own, account_token(cloud, me)):
        listed = cloud.call("GET", "/mds/v1/nodes", token).json()
        assert listed["type"] == "account"
        assert {n["id"] for n in listed["data"]} == {node.node_id, second.node_id}
        assert {n["account"]["id"] for n in listed["data"]} == {account}
        assert cloud.call("GET", f"/mds/v1/nodes/{second.node_id}", token).status_code == 200


def test_what_is_not_mine_does_not_exist(
    cloud: Cloud, provider: OpenIdProvider, node: Node
) -> None:
    account = node.associate(provider.id_token(sub="owner"))
    stranger = Node(cloud)
    stranger.register().raise_for_status()
    person = account_token(cloud, provider.id_token(sub="stranger"))
    for token in (stranger.token(), person):
        assert cloud.call("GET", f"/mds/v1/nodes/{node.node_id}", token).status_code == 404
        assert cloud.call("DELETE", f"/mds/v1/nodes/{node.node_id}", token).status_code in (
            403,
            404,
        )
        assert node.node_id not in cloud.call("GET", "/mds/v1/nodes", token).text
    assert cloud.call("GET", f"/mds/v1/nodes/{node.node_id}", node.token()).json()["account"] == {
        "id": account
    }


def test_association_needs_a_bound_token_of_the_account_with_the_scope(
    cloud: Cloud, provider: OpenIdProvider, node: Node
) -> None:
    me = provider.id_token(sub="careful")
    path = f"/mds/v1/nodes/{node.node_id}/account"
    other = Node(cloud)
    edge = node.edge_id_token()
    for token in (
        node.token(),
        account_token(cloud, me),
        account_token(cloud, me, edge_id_token=other.edge_id_token()),
        account_token(cloud, me, edge_id_token=edge, scope="edge:clusters"),
    ):
        assert cloud.call("PUT", path, token).status_code == 403
    bound = account_token(cloud, me, edge_id_token=edge)
    thief = account_token(cloud, provider.id_token(sub="thief"), edge_id_token=edge)
    assert cloud.call("PUT", path, bound).status_code == 200
    assert cloud.call("PUT", path, bound).status_code == 200, "again is the same"
    assert cloud.call("PUT", path, thief).status_code == 409


def test_the_account_key_is_for_nodes(cloud: Cloud, provider: OpenIdProvider, node: Node) -> None:
    me = provider.id_token(sub="key")
    node.associate(me)
    for token in (
        account_token(cloud, me),
        account_token(cloud, me, edge_id_token=node.edge_id_token()),
    ):
        assert cloud.call("GET", "/mds/v1/account/key", token).status_code == 403


@pytest.mark.parametrize("by", ["node", "owner"])
def test_a_node_that_is_removed_is_forgotten_and_cut_off(
    cloud: Cloud, provider: OpenIdProvider, node: Node, by: str
) -> None:
    me = provider.id_token(sub="remover")
    node.associate(me)
    bep = cloud.call("POST", "/mss/v1/beps", node.token()).json()
    token = node.token() if by == "node" else account_token(cloud, me)
    with node.connect() as mqtt:
        gone = cloud.call("DELETE", f"/mds/v1/nodes/{node.node_id}", token)
        assert gone.status_code == 204
        assert mqtt.lost.wait(5)
    assert cloud.call("GET", f"/sep/{node.node_id}/x").status_code == 404
    assert bep["id"] not in cloud.call("GET", "/mss/v1/beps", node.token()).text
    assert node.register().json()["account"] == {"id": ""}


def test_other_clusters_are_not_asked_here(cloud: Cloud, node: Node) -> None:
    answer = cloud.call("GET", "/mds/v1/nodes?clusters=linkLocal", node.token())
    assert answer.status_code == 400
    assert "ask the gateway" in answer.json()["detail"]


def placed(node: Node, latitude: float, longitude: float) -> None:
    position = Position(latitude, longitude)
    node.register(record=replace(node.record(), position=position)).raise_for_status()


def nearby(cloud: Cloud, token: str, **query: object) -> list[dict[str, Any]]:
    query = {"clusters": "proximity", **query}
    answer = cloud.call("GET", "/mds/v1/nodes", token, params=query)
    data: list[dict[str, Any]] = answer.raise_for_status().json()["data"]
    return data


def test_nodes_of_the_account_are_near_by_distance_and_no_strangers(
    cloud: Cloud, provider: OpenIdProvider
) -> None:
    me, other = provider.id_token(sub="near"), provider.id_token(sub="stranger")
    house, barn, far, unplaced, stranger = (Node(cloud) for _ in range(5))
    for node in (house, barn, far, unplaced, stranger):
        node.register().raise_for_status()
        node.associate(other if node is stranger else me)
    placed(house, 52.0116, 4.3571)
    placed(barn, 52.0126, 4.3571)
    placed(far, 52.3731, 4.8926)
    placed(stranger, 52.0116, 4.3571)
    own = nearby(cloud, house.token())
    assert [each["id"] for each in own] == [house.node_id, barn.node_id]
    assert own[0]["distance"] == 0.0
    assert 100 < own[1]["distance"] < 120
    assert own[1]["location"]["coordinates"] == [4.3571, 52.0126]
    wide = nearby(cloud, house.token(), radius=100_000)
    assert [each["id"] for each in wide] == [house.node_id, barn.node_id, far.node_id]
    person = account_token(cloud, me)
    assert len(nearby(cloud, person, latitude="52.01", longitude="4.35", radius=5000)) == 2
    assert cloud.call("GET", "/mds/v1/nodes?clusters=proximity", person).status_code == 409
    unknown = cloud.call("GET", "/mds/v1/nodes?clusters=proximity", unplaced.token())
    assert "no position" in unknown.json()["detail"]
    # a stranger sees neither the nodes nor their positions, wherever it claims to be
    for query in ({}, {"latitude": "52.0116", "longitude": "4.3571"}):
        found = nearby(cloud, stranger.token(), radius=20_000_000, **query)
        assert [each["id"] for each in found] == [stranger.node_id]
    assert cloud.call("GET", f"/mds/v1/nodes/{barn.node_id}", stranger.token()).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "latitude=52",
        "longitude=4",
        "latitude=95&longitude=4",
        "latitude=nan&longitude=4",
        "latitude=52&longitude=181",
    ],
)
def test_a_position_that_is_none_is_refused(cloud: Cloud, node: Node, query: str) -> None:
    answer = cloud.call("GET", f"/mds/v1/nodes?clusters=proximity&{query}", node.token())
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("cannot list nodes nearby: ")


@pytest.mark.parametrize("radius", ["-1", "nan", "1e9", "x"])
def test_a_radius_that_is_none_is_refused(cloud: Cloud, node: Node, radius: str) -> None:
    answer = cloud.call("GET", f"/mds/v1/nodes?clusters=proximity&radius={radius}", node.token())
    assert answer.status_code == 422
