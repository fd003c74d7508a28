"""A cluster whose epochs are behind what the cloud knows goes above them by itself."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.gateway.cluster.members import ask, clouded_cluster, holders
from tests.programs import until

NEWER = 50


@pytest.mark.slow
def test_a_node_that_the_cloud_knows_by_a_newer_claim_raises_the_epoch_of_its_cluster(
    tmp_path: Path,
) -> None:
    with clouded_cluster(tmp_path, [{}, {}]) as (cloud, (first, second)):
        second.stop()
        with closing(sqlite3.connect(cloud.state / "cloud.db")) as database, database:
            database.execute(
                "UPDATE nodes SET sep_epoch = ? WHERE node_id = ?", (NEWER, second.node_id)
            )
        second.start()
        until(lambda: first.status()["cluster"]["epoch"] > NEWER, "the epoch is raised", 30)
        second.until_ready()
        until(lambda: holders(cloud, [first, second]) == {first.node_id}, "both are registered", 30)
        assert ask(cloud, second).status_code == 200
        assert first.status()["cluster"]["role"] == "supernode"
