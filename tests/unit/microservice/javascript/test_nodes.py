"""Nodes in the shapes that bundles read."""

import json

import pytest

from microservice.javascript.nodes import open_nodes

LOCAL = {"type": "local", "url": {"href": "http://10.0.0.1:8083"}}
NODES = [
    {"id": each, "addresses": [LOCAL], "attributes": [], "characteristics": []} for each in "ab"
]


def test_every_cluster_is_found_where_bundles_look() -> None:
    got = json.loads(open_nodes("local", json.dumps(NODES), "acc"))
    assert got["localLinkNetwork"]["nodes"] == got["proximity"]["nodes"] == NODES
    assert got["account"]["accountId"] == "acc"
    sealed = json.dumps(got["account"]["cipheredNodes"])
    assert json.loads(open_nodes("account", sealed, "acc")) == NODES


def test_members_that_a_node_lacks_are_added() -> None:
    (node,) = json.loads(open_nodes("account", '[{"id": "a", "name": "attic", "x": 1}]', ""))
    assert node["addresses"] == [{"type": "local", "url": {"href": "http://a.node.hecate"}}]
    assert node["attributes"] == [{"name": "name", "value": "attic"}]
    assert node["x"] == 1


def test_what_is_no_node_stays_as_it_is() -> None:
    text = '[1, null, {"id": 2}, {"name": "x"}]'
    assert open_nodes("account", text, "") == text


def test_a_clear_object_stays_as_it_is() -> None:
    clear = {"localLinkNetwork": {"nodes": NODES}}
    assert json.loads(open_nodes("local", json.dumps(clear), "")) == clear


@pytest.mark.parametrize(
    "text",
    ["", "undefined", "1", "null", '"x"', '{"data":"!","iv":"","tag":""}', "[" * 100_000,
     '{"data":1,"iv":"","tag":""}', '{"data":"e30","iv":1,"tag":2}'],
)  # fmt: skip
def test_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="cannot decrypt nodes"):
        open_nodes("local", text, "")
