"""Slow links and links that lose packets carry heartbeats all the same."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hosts.clients import PATH, deploy_counter
from tests.hosts.faults import Faults
from tests.hosts.gateways import start_gateways, until_one_cluster
from tests.hosts.network import Network
from tests.hosts.steady import hold_still
from tests.share import seconds_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

BODY_BYTES = 1_000_000
RATE = "4mbit"  # half a megabyte a second, and half a second of queue


# case N20
def test_a_saturated_link_is_not_taken_for_a_dead_one(tmp_path: Path) -> None:
    with Network(3) as network, ExitStack() as stack:
        gateways = start_gateways(stack, network.hosts, tmp_path)
        leader = until_one_cluster(gateways)
        deploy_counter(leader, tmp_path)
        sender = next(each for each in gateways if each is not leader)
        sender.host.limit_rate(RATE)
        body = os.urandom(BODY_BYTES)
        seconds = seconds_of(60, 18)
        end = time.monotonic() + seconds

        def saturate(number: int) -> int:
            count = 0
            while time.monotonic() < end:
                path = f"/nodes/{leader.node_id}{PATH}/run"
                params = {"id": f"{number}-{count}"}
                answer = sender.ask("POST", path, params=params, content=body, timeout=60)
                assert answer.status_code == 200, answer.text
                count += 1
            return count

        with ThreadPoolExecutor(3) as pool:
            sent = [pool.submit(saturate, number) for number in range(3)]
            hold_still(gateways, seconds)
            done = sum(each.result() for each in sent)
        assert done * BODY_BYTES > 200_000 * seconds  # of 500,000 that the link carries


def test_a_link_that_loses_packets_keeps_its_cluster(tmp_path: Path) -> None:
    with Network(3) as network, ExitStack() as stack:
        network.set_faults(Faults(loss_percent=5))
        gateways = start_gateways(stack, network.hosts, tmp_path)
        until_one_cluster(gateways)
        hold_still(gateways, seconds_of(60, 8))


def test_nodes_far_from_each_other_form_a_cluster(tmp_path: Path) -> None:
    delay_s = 0.15  # each way; a handshake of TLS takes three round trips
    with Network(3, plugged=False) as network, ExitStack() as stack:
        for host in network.hosts:
            cable = stack.enter_context(host.plug_slow(delay_s / 2))
            stack.callback(cable.process.kill)
        gateways = start_gateways(stack, network.hosts, tmp_path)
        leader = until_one_cluster(gateways)
        asker = next(each for each in gateways if each is not leader)
        started = time.monotonic()
        assert asker.ask("GET", f"/nodes/{leader.node_id}/healthz").status_code == 200
        assert time.monotonic() - started > 2 * delay_s  # the cable delays indeed
        hold_still(gateways, seconds_of(60, 8))
