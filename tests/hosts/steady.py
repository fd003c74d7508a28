"""Watches that a cluster keeps its roles."""

import time
from collections.abc import Sequence

from tests.hosts.gateways import HostGateway


def hold_still(gateways: Sequence[HostGateway], seconds: float) -> None:
    """Wait; fail when a node changes its role or its supernode meanwhile, or misses another."""
    before = [len(each.views()) for each in gateways]
    everybody = {each.node_id for each in gateways}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for each in gateways:
            assert everybody <= each.listed(), f"{each.host.name} misses a node"
        time.sleep(min(1.0, seconds))
    for each, seen in zip(gateways, before, strict=True):
        assert not each.views()[seen:], f"{each.host.name}: {each.views()[seen:]}"
