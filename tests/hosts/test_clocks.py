"""Wall clocks that jump, or were never set, change no role and keep nobody out."""

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hosts.clocks import ClockGateway, start_with_clocks
from tests.hosts.gateways import until_one_cluster
from tests.hosts.network import Network
from tests.hosts.steady import hold_still
from tests.programs import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HOUR_S = 3600


# case N8
def test_clocks_that_jump_and_a_node_in_1970_change_no_role(tmp_path: Path) -> None:
    with Network(3) as network, ExitStack() as stack:
        gateways = start_with_clocks(stack, network.hosts[:2], tmp_path)
        leader = until_one_cluster(gateways)
        for clock in ("+1h", "-1h", "+0"):
            leader.set_clock(clock)
            hold_still(gateways, 3)
        in_1970 = f"-{int(time.time())}"
        unset = stack.enter_context(ClockGateway(network.hosts[2], tmp_path / "unset", in_1970))
        everybody = [*gateways, unset]
        assert until_one_cluster(everybody) is leader
        told = unset.ask("GET", "/readyz").json()
        assert (told["status"], told["warnings"][0][:9]) == ("ready", "the clock"), told
        assert "1970-01-01" in told["warnings"][0]
        unset.set_clock("+0")
        until(lambda: "warnings" not in unset.ask("GET", "/readyz").json(), "it is content again")
        hold_still(everybody, 3)
