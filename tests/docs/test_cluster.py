"""docs/cluster.md: its files make a cluster, and its commands show it."""

import re
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.calls.ways import FIRST_RETRY_S, LONGEST_RETRY_S
from gateway.config import ClusterSettings, load_gateway_config
from gateway.node.credential import DAY_S, WARN_S
from protocol.cluster_credentials import VALID_S
from protocol.envelope import BODY_LIMIT_BYTES
from protocol.geo.position import Position
from protocol.http_body import SAFE_METHODS
from tests.ports import free_port
from tests.programs import HECATE, ROOT, run, until
from tests.system import Gateway

TEXT = (ROOT / "docs" / "cluster.md").read_text()
BY_SECRET, BY_ACCOUNT, PLACED = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


class FromPage(Gateway):
    """A gateway that reads the page's file."""

    def command(self) -> tuple[str, ...]:
        return (*super().command(), str(self.state.with_suffix(".toml")))


@pytest.fixture
def two(tmp_path: Path) -> Iterator[list[FromPage]]:
    ports = [free_port(), free_port()]
    with ExitStack() as stack:
        started = []
        for name, port in zip(("house", "barn"), ports, strict=True):
            (tmp_path / f"{name}.toml").write_text(BY_SECRET.replace("8084", str(port)))
            gateway = FromPage(
                tmp_path / name,
                HECATE_GATEWAY_NODE_NAME=name,
                HECATE_GATEWAY_CLUSTER_ADMIT="secret",
                HECATE_GATEWAY_CLUSTER_HOST="127.0.0.1",  # the test's network
                HECATE_GATEWAY_CLUSTER_DISCOVERY="false",
                HECATE_GATEWAY_CLUSTER_PEERS=",".join(f"127.0.0.1:{each}" for each in ports),
            )
            started.append(stack.enter_context(gateway))
        yield started


@pytest.mark.slow
def test_the_file_makes_a_cluster_and_the_commands_show_it(two: list[FromPage]) -> None:
    house, barn = two
    until(lambda: len(house.call("GET", "/cluster/v1")["members"]) == 2, "two members")
    shown = {
        line: run((*HECATE, *line.split()[1:]), HECATE_URL=house.url, HECATE_API_KEY=house.key)
        for line in COMMANDS
    }
    assert barn.node_id in shown["hecate nodes"]
    assert barn.node_id in shown["hecate nodes --all"]
    assert "lan" in shown["hecate route barn"]
    assert '"ok"' in shown["hecate call barn /healthz"]
    assert "hecate nodes --refused" in shown


def test_the_files_are_valid(tmp_path: Path) -> None:
    for number, text in enumerate((BY_SECRET, BY_ACCOUNT)):
        path = tmp_path / f"{number}.toml"
        path.write_text(text)
        config = load_gateway_config(path, {})
        assert config.cluster.admit == tomllib.loads(text)["cluster"]["admit"]
    path.write_text(PLACED)
    assert load_gateway_config(path, {}).node.read_position() == Position(52.0116, 4.3571)


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    assert f"{BODY_LIMIT_BYTES // 1024} KiB" in TEXT
    assert f"after {FIRST_RETRY_S:g} s, then 2 s, up to {LONGEST_RETRY_S:g} s" in TEXT
    assert f"{ClusterSettings().port}/tcp" in TEXT
    assert f"from {(VALID_S - WARN_S) / DAY_S:.0f} on" in TEXT
    assert f"| {VALID_S / DAY_S + 1:.0f} |" in TEXT
    assert all(method in TEXT for method in SAFE_METHODS)
