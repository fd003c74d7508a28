"""Random faults for five nodes with a cloud, and for twenty; the recorded history is judged."""

import random
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hosts.clients import Caller, Publisher, deploy_counter, executed
from tests.hosts.cloud import Application, CloudNode, HostCloud
from tests.hosts.gateways import HostGateway, in_parallel, start_gateways, until_one_cluster
from tests.hosts.history import Arrived, Event
from tests.hosts.network import Network
from tests.hosts.random_faults import RandomFaults
from tests.hosts.recorder import Recorder
from tests.programs import PATIENCE, until
from tests.share import SHARE, Count, find_seed, part_of

BOUND_S = 10.0 * PATIENCE  # 5 s and less on a quiet machine


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_nodes_keep_their_promises_under_random_faults(
    tmp_path: Path, record_property: Count
) -> None:
    chance = random.Random(f"{find_seed()} five nodes")
    with Network(6) as network, ExitStack() as stack:
        cloud = HostCloud(network.hosts[5], tmp_path / "cloud")
        stack.callback(lambda: cloud.program.stop())
        gateways = in_parallel(
            lambda host: stack.enter_context(CloudNode(host, tmp_path / host.name, cloud)),
            network.hosts[:5],
            at_once=3,
        )
        until_one_cluster(gateways, 40)
        in_parallel(lambda each: deploy_counter(each, tmp_path), gateways, at_once=2)
        application = stack.enter_context(Application(cloud, gateways))
        recorder = Recorder(gateways)
        recorder.note_groups(gateways)

        def restart_cloud() -> None:
            cloud.restart()
            application.connect()

        faults = RandomFaults(network, gateways, recorder, chance, 6, restart_cloud)
        with ExitStack() as clients:
            clients.enter_context(recorder)
            clients.enter_context(Caller(gateways, chance, recorder.note, "r"))
            for each in gateways:
                clients.enter_context(Publisher(each, recorder.note))
            for name in chance.choices(faults.names(), k=part_of(16, least=4)):
                faults.make(name)
                until_one_cluster(gateways, 40)
        record_property("faults", len(faults.made))
        events: list[Event] = [e for each in gateways for e in executed(each)]
        sent = {str(each.message) for each in recorder.acknowledged()}
        until(lambda: sent <= set(application.texts()), "all messages have come", 40)
        now = time.monotonic()
        events += [Arrived(now, text) for text in application.texts()]
        for event in events:
            recorder.note(event)
        verdict = recorder.judge(BOUND_S)
        verdict.check("View", "Listed", "Called", "Executed", "Acknowledged", "Arrived")
        record_property("requests", verdict.counts["Called"])
        record_property("messages", verdict.counts["Acknowledged"])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(SHARE < 1, reason="twenty gateways: make test-soak")
def test_twenty_nodes_agree_under_random_faults(tmp_path: Path, record_property: Count) -> None:
    chance = random.Random(f"{find_seed()} twenty nodes")
    with Network(20) as network, ExitStack() as stack:
        gateways: list[HostGateway] = start_gateways(stack, network.hosts, tmp_path)
        until_one_cluster(gateways, 60)
        recorder = Recorder(gateways, every_s=10.0)
        recorder.note_groups(gateways)
        faults = RandomFaults(network, gateways, recorder, chance, seconds=8)
        with recorder:
            for name in chance.choices(faults.names(), k=30):
                faults.make(name)
                until_one_cluster(gateways, 60)
        record_property("faults", len(faults.made))
        recorder.judge(2 * BOUND_S).check("View", "Listed")
