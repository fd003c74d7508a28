"""A roll-out that goes on: the whole way from the plan to the node that carries an order out."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.services.errors import ImageError
from gateway.services.rollouts import coordinator
from gateway.services.rollouts.coordinator import Rollouts, plan_for
from gateway.services.rollouts.orders import CODE_HEADER, decode_order, encode_progress
from gateway.services.rollouts.peers import SepPeers
from gateway.services.rollouts.plan import RolloutState
from gateway.services.rollouts.store import RolloutStore
from tests.aio import until
from tests.unit.gateway.services.rollouts.test_receiver import OTHER, OWN, Site, run

IMAGE = ("api-probe-v1", "sha256:1")
STANDING_STILL = 1000.0  # all of it happens within one second, which codes do not divide


def join(site: Site, folder: Path) -> Rollouts:
    """Return the roll-outs of another node, whose orders go to this one."""

    async def call(
        method: str, node_id: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        assert node_id == OWN
        if method == "PUT":
            progress = await site.receiver.take(decode_order(body), headers[CODE_HEADER])
        else:
            progress = site.progress(path.rpartition("/")[2])
        return 200, json.dumps(encode_progress(progress)).encode()

    account = SimpleNamespace(key=b"k" * 32)
    peers = SepPeers(account, call, lambda: STANDING_STILL)  # type: ignore[arg-type]  # the key is all it reads
    return Rollouts(OTHER, RolloutStore(folder), peers, lambda image_id: f"code {image_id}")


# case S24
def test_a_node_that_failed_twice_gets_a_run_of_its_own_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coordinator, "POLL_S", 0.001)

    async def scenario(site: Site) -> None:
        rollouts = join(site, tmp_path / "other")
        try:
            site.fault = ImageError("cannot accept image: not signed")
            rollout = await rollouts.create("api", "one", IMAGE, {}, plan_for([OWN], 1, 0))
            for count in (1, 2):
                await until(lambda: rollout.plan.state is RolloutState.STOPPED)
                assert len(site.pulled) == count
                assert rollout.plan.find(OWN).error == "cannot accept image: not signed"
                if count == 2:
                    site.fault = None
                await rollouts.resume("api", rollout.rollout_id)
            await until(lambda: rollout.plan.state is RolloutState.DONE)
        finally:
            await rollouts.stop()

    (tmp_path / "other").mkdir()
    run(tmp_path, scenario)
