"""Cuts, flaps and late links: one supernode in each part, and one after the heal."""

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hosts.faults import Faults, split
from tests.hosts.gateways import start_gateways, supernodes, until_one_cluster
from tests.hosts.network import Network
from tests.hosts.recorder import Recorder
from tests.hosts.steady import hold_still
from tests.programs import until
from tests.share import part_of, seconds_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BOUND_S = 20.0  # of the rows: 5 s and less; this machine may be busy


# case N6
@pytest.mark.whole_in_any_share
@pytest.mark.parametrize("direction", ["deaf", "mute"])
def test_reach_in_one_direction_elects_nobody(direction: str, tmp_path: Path) -> None:
    with Network(3) as network, ExitStack() as stack:
        gateways = start_gateways(stack, network.hosts, tmp_path)
        leader = until_one_cluster(gateways)
        lost = next(each for each in gateways if each is not leader)
        others = [each for each in gateways if each is not lost]
        cut = [lost.host.number]
        network.set_faults(Faults(deaf=cut) if direction == "deaf" else Faults(mute=cut))
        before = [len(each.views()) for each in others]
        until(lambda: lost.node_id not in leader.listed(), "the node is not listed any more")
        if direction == "deaf":  # its announcements still come, and nothing leads to it
            until(lambda: lost.node_id in leader.cluster()["oneWay"], "it is shown as one-way")
        hold_still(others, seconds_of(300, 15))
        assert [len(each.views()) for each in others] == before
        network.set_faults()
        assert until_one_cluster(gateways) is leader
        until(lambda: not leader.cluster()["oneWay"], "it is not shown as one-way any more")


# case N9
def test_halves_that_were_apart_for_long_merge_soon(tmp_path: Path) -> None:
    with Network(3) as network, ExitStack() as stack:
        gateways = start_gateways(stack, network.hosts, tmp_path)
        recorder = Recorder(gateways)
        leader = until_one_cluster(gateways)
        others = [each for each in gateways if each is not leader]
        for seconds in (1, seconds_of(600, 15)):
            network.set_faults(split([leader.host.number], [each.host.number for each in others]))
            recorder.note_groups([leader], others)
            until_one_cluster(others)
            until_one_cluster([leader])
            time.sleep(seconds)  # the row's: searching must not get tired
            recorder.list_all()
            network.set_faults()
            recorder.note_groups(gateways)
            until_one_cluster(gateways)
            recorder.list_all()
        recorder.judge(BOUND_S).check("View", "Listed", "Truth")


# case N10
def test_a_node_whose_port_forwards_late_yields_to_the_cluster(tmp_path: Path) -> None:
    with Network(3) as network, ExitStack() as stack:
        gateways = start_gateways(stack, network.hosts, tmp_path)
        leader = until_one_cluster(gateways)
        late = next(each for each in gateways if each is not leader)
        others = [each for each in gateways if each is not late]
        late.lose_power()
        until_one_cluster(others)
        before = [len(each.views()) for each in others]
        late.host.link("up")
        late.environ["HECATE_GATEWAY_CLUSTER_CAPABILITY"] = (
            "900"  # the better one yields all the same
        )
        network.set_faults(Faults(deaf=[late.host.number], mute=[late.host.number]))
        late.start()
        until(lambda: late.cluster()["role"] == "supernode", "it is alone")
        network.set_faults()
        assert until_one_cluster(gateways) is leader
        assert all(
            view.supernode == leader.node_id[:12] and view.role in ("supernode", "member")
            for each, seen in zip(others, before, strict=True)
            for view in each.views()[seen:]
        )


# case N15
def test_a_link_that_flaps_ten_times_leaves_a_correct_list(tmp_path: Path) -> None:
    with Network(3) as network, ExitStack() as stack:
        gateways = start_gateways(stack, network.hosts, tmp_path)
        leader = until_one_cluster(gateways)
        flapping = next(each for each in gateways if each is not leader)
        others = [each for each in gateways if each is not flapping]
        before = [len(each.views()) for each in others]
        for _ in range(10):
            flapping.host.link("down")
            time.sleep(1)
            flapping.host.link("up")
            time.sleep(1)
        assert until_one_cluster(gateways) is leader
        everybody = {each.node_id for each in gateways}
        end = time.monotonic() + 5  # nothing that is late takes it from a list again
        while time.monotonic() < end:
            assert all(each.listed() == everybody for each in gateways)
        assert [len(each.views()) for each in others] == before
        assert supernodes(gateways) == {leader.node_id}


# case N15
def test_a_late_end_of_an_earlier_run_takes_no_node_from_the_list(tmp_path: Path) -> None:
    with Network(3) as network, ExitStack() as stack:
        gateways = start_gateways(stack, network.hosts, tmp_path)
        leader = until_one_cluster(gateways)
        flapping = next(each for each in gateways if each is not leader)
        others = [each for each in gateways if each is not flapping]
        before = [len(each.views()) for each in others]
        for _ in range(part_of(10, least=4)):
            flapping.lose_power()
            flapping.start()  # alone; the others wait still for the end of its links
            flapping.host.link("up")
            assert until_one_cluster(gateways) is leader
            hold_still(gateways, 1.5)
        assert [len(each.views()) for each in others] == before
