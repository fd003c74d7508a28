"""`hecate deploy --all` and `hecate rollouts`, with two gateways of one account."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import Person
from tests.integration.gateway.nodes import Node
from tests.programs import until
from tests.system import Cloud


@pytest.fixture(scope="module")
def nodes(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    """Give two gateways; mDNS must not make one the supernode of the other."""
    folder = tmp_path_factory.mktemp("nodes")
    own = {"HECATE_GATEWAY_CLUSTER_DISCOVERY": "false"}
    with (
        Node(folder / "one", cloud, HECATE_GATEWAY_NODE_NAME="one", **own) as one,
        Node(folder / "two", cloud, HECATE_GATEWAY_NODE_NAME="two", **own) as two,
    ):
        yield one, two


@pytest.fixture
def person(tmp_path: Path, nodes: tuple[Node, Node]) -> Person:
    (tmp_path / "home").mkdir()
    person, one = Person(tmp_path / "home"), nodes[0]
    add = ("context", "add", "one", "--url", one.url, "--state", str(one.state), "--use")
    person.done(*add)
    return person


def running(node: Node) -> set[str]:
    rows = node.call("GET", "/mcm/v1/containers")["data"]
    return {row["name"] for row in rows if row["state"] == "started"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_nodes_of_the_account_get_it(
    person: Person, tmp_path: Path, nodes: tuple[Node, Node]
) -> None:
    one, two = nodes
    folder = tmp_path / "meter"
    person.done("new", str(folder))
    ended = json.loads(person.done("deploy", str(folder), "--all", "--wave", "1", "--json"))
    assert (ended["state"], ended["counts"]["ready"]) == ("done", 2)
    assert "meter" in running(one) & running(two)
    (row,) = json.loads(person.done("rollouts", "--json"))["data"]
    assert "two" in person.done("rollouts", "show", row["id"][:6])
    assert "2 ready" in person.done("rollouts")

    code = (folder / "service.py").read_text()
    (folder / "service.py").write_text(code + "\n\n1 / 0\n")
    broken = person.hecate("deploy", str(folder), "--node", "two")
    assert broken.code == 1
    assert "two" in broken.out
    assert "ZeroDivisionError" in broken.out
    assert "too many nodes have failed; `hecate rollouts resume" in broken.err
    until(lambda: "meter" in running(two), "the version before runs on")
    assert "meter" in running(one)


def test_a_node_that_is_not_known_is_told(person: Person, tmp_path: Path) -> None:
    person.done("new", str(tmp_path / "meter"))
    why = person.refused("deploy", str(tmp_path / "meter"), "--node", "cellar")
    assert (
        "cannot find node cellar: see `hecate nodes --cluster account`; there are: one, two" in why
    )
    assert person.hecate("deploy", str(tmp_path / "meter"), "--node", "two", "--all").code == 2
