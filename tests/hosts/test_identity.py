"""A copied state folder, and a node one protocol version apart."""

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hosts.gateways import HostGateway, start_gateways, until_one_cluster
from tests.hosts.network import Network
from tests.programs import until
from tests.share import part_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


# case N5
def test_one_of_two_nodes_with_the_same_key_is_admitted(tmp_path: Path) -> None:
    with Network(4) as network, ExitStack() as stack:
        gateways = start_gateways(stack, network.hosts[:3], tmp_path)
        leader = until_one_cluster(gateways)
        original = next(each for each in gateways if each is not leader)
        others = [each for each in gateways if each is not original]
        before = [len(each.views()) for each in others]
        folder = tmp_path / "copy"
        shutil.copytree(original.state, folder, ignore=shutil.ignore_patterns("run", "lock*"))
        copy = stack.enter_context(HostGateway(network.hosts[3], folder))
        assert copy.node_id == original.node_id

        def reason() -> str:
            shown = leader.cluster()["refused"]
            return next((str(r["reason"]) for r in shown if r["id"] == copy.node_id), "")

        told = until(reason, "one of both is refused")
        for each in (original, copy):
            assert each.host.address in told, told
        assert "remove node-key.pem" in told
        for _ in range(part_of(60, least=5)):
            assert all(each.listed() == {g.node_id for g in gateways} for each in others)
        assert [len(each.views()) for each in others] == before  # the others are undisturbed


# case N21
def test_a_node_of_the_next_version_is_a_member_like_others(tmp_path: Path) -> None:
    with Network(3) as network, ExitStack() as stack:
        old = start_gateways(stack, network.hosts[:2], tmp_path)
        newer = stack.enter_context(NextVersion(network.hosts[2], tmp_path / "newer"))
        gateways = [*old, newer]
        leader = until_one_cluster(gateways)
        for asker in gateways:
            for asked in gateways:
                answer = asker.ask("GET", f"/nodes/{asked.node_id}/healthz")
                assert answer.status_code == 200, answer.text
        leader.lose_power()
        rest = [each for each in gateways if each is not leader]
        until_one_cluster(rest)
        leader.get_power()
        until_one_cluster(gateways)


class NextVersion(HostGateway):
    """A gateway whose frames and announcements are those of a later version."""

    def command(self) -> tuple[str, ...]:
        return self.host.command(sys.executable, "-m", "tests.hosts.next_version")
