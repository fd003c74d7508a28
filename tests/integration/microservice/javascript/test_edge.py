"""The nodes that a script finds by context.edge."""

from pathlib import Path

import pytest

from tests.integration.microservice.javascript.runtime import Script, handler, run

NODES = handler("""
    const open = (type, data) => new Promise((success, error) =>
      context.edge.decryptEncryptedNodesJson({ type, data, token: 't', success, error }));
    const local = JSON.parse((await open('local', request.body)).data);
    const sealed = JSON.stringify(local.account.cipheredNodes);
    const account = JSON.parse((await open('account', sealed)).data);
    let bad; try { await open('local', 'nonsense'); } catch (e) { bad = e.message.slice(0, 14); }
    response.end(JSON.stringify({ local: local.localLinkNetwork.nodes, account, bad }));
""")


def test_nodes_are_read_as_compatible_bundles_do(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        got = (await running.post("/", [{"id": "n1", "name": "attic"}])).json()
        assert got["local"] == got["account"]
        (node,) = got["local"]
        assert node["id"] == "n1"
        assert {"name": "name", "value": "attic"} in node["attributes"]
        assert got["bad"] == "cannot decrypt"

    run(tmp_path, NODES, use)


PROXY = {"type": "proxy", "url": {"href": "https://relay.example/sep/n1"}}
CLUSTER = {"type": "cluster", "url": {"href": "https://10.0.0.1:8084"}}
NAMED = {"type": "local", "url": {"href": "http://n1.node.hecate"}}


@pytest.mark.parametrize(
    ("given", "seen"),
    [([], [NAMED]), ([CLUSTER], [CLUSTER, NAMED]), ([PROXY], [PROXY]), ("none", [NAMED])],
)
def test_a_node_has_an_address_that_bundles_use(
    given: object, seen: list[object], tmp_path: Path
) -> None:
    async def use(running: Script) -> None:
        (node,) = (await running.post("/", [{"id": "n1", "addresses": given}])).json()["local"]
        assert node["addresses"] == seen

    run(tmp_path, NODES, use)
