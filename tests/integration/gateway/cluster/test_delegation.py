"""A supernode that loses its way to the cloud gives the SEP to a member, and goes through it."""

from pathlib import Path

import pytest

from tests.http_proxy import HttpProxy
from tests.integration.gateway.cluster.members import ask, clouded_cluster, holders
from tests.mqtt_peer import Mqtt
from tests.programs import until


def way(node: object) -> str:
    return str(node.status()["cloud"]["way"])  # type: ignore[attr-defined]


# case N11
@pytest.mark.slow
def test_the_sep_moves_to_a_member_that_reaches_the_cloud(tmp_path: Path) -> None:
    with HttpProxy() as proxy:
        own_way = {"HECATE_GATEWAY_CLOUD_PROXY": f"http://127.0.0.1:{proxy.port}"}
        with clouded_cluster(tmp_path, [own_way, {}, {}]) as (cloud, nodes):
            first, second, third = nodes
            proxy.cut()
            until(lambda: holders(cloud, nodes) == {second.node_id}, "the SEP is delegated", 30)
            until(lambda: way(first) == f"through {second.node_id}", "the way of the supernode")
            assert first.status()["cluster"]["role"] == "supernode"
            assert first.ask("GET", "/readyz", "").json()["cloud"]["way"] == way(first)
            for node in nodes:
                assert ask(cloud, node).status_code == 200
                assert node.status()["cluster"]["sepHolderId"] == second.node_id
            with first.application() as app, Mqtt(first.mqtt_port) as person:
                for number in range(20):
                    person.publish("devices/x/t", b"%d" % number)
                until(lambda: len(app.messages) == 20, "all is in the cloud")
            proxy.mend()
            until(lambda: way(first) == "direct", "its own way works again", 90)
            assert holders(cloud, nodes) == {second.node_id}, "not for a minute"
            second.program.kill()  # the supernode has a way of its own: it takes the SEP back
            until(lambda: holders(cloud, [first, third]) == {first.node_id}, "the SEP is back", 30)
            assert ask(cloud, third).status_code == 200
            second.start()
            until(lambda: holders(cloud, nodes) == {first.node_id}, "it is a member again", 30)
