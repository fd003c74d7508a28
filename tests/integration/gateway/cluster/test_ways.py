"""A member without a way to the internet: its messages go through the holder, and none is lost."""

from pathlib import Path

import pytest

from tests.http_proxy import HttpProxy
from tests.integration.gateway.cluster.members import ask, clouded_cluster, holders, registered
from tests.mqtt_peer import Mqtt
from tests.programs import until

COUNT = 300
BULK_COUNT, BULK_BYTES = 60, 500_000
CLUSTER = ("role", "supernodeId", "sepHolderId", "epoch")


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_when_the_supernode_dies(tmp_path: Path) -> None:
    with HttpProxy() as proxy:
        cut_off = {"HECATE_GATEWAY_CLOUD_PROXY": f"http://127.0.0.1:{proxy.port}"}
        with clouded_cluster(tmp_path, [{}, {}, cut_off]) as (cloud, nodes):
            first, second, member = nodes
            proxy.cut()

            def way() -> str:
                return str(member.status()["cloud"]["way"])

            until(lambda: way() == f"through {first.node_id}", "a way through the supernode", 60)
            until(lambda: member.status()["sep"]["state"] == "online", "the member is online")
            assert ask(cloud, member).status_code == 200
            assert registered(cloud, member)["supernodeId"] == first.node_id
            with member.application() as app, Mqtt(member.mqtt_port) as person:
                for number in range(COUNT):
                    person.publish("devices/x/t", b"%d" % number)  # returns when it is stored
                    if number == COUNT // 3:
                        first.program.kill()
                until(
                    lambda: way() == f"through {second.node_id}", "a way through its successor", 60
                )
                until(lambda: len({m.payload for m in app.messages}) == COUNT, "all came", 60)
                payloads = [int(m.payload) for m in app.messages]
                assert list(dict.fromkeys(payloads)) == list(range(COUNT))  # in order
            until(lambda: holders(cloud, nodes[1:]) == {second.node_id}, "registered anew", 30)
            assert ask(cloud, member).status_code == 200
            first.start()
            until(lambda: holders(cloud, nodes) == {second.node_id}, "it is a member", 30)


# case N20
@pytest.mark.slow
def test_bulk_through_the_holder_delays_no_heartbeat(tmp_path: Path) -> None:
    with HttpProxy() as proxy:
        cut_off = {"HECATE_GATEWAY_CLOUD_PROXY": f"http://127.0.0.1:{proxy.port}"}
        with clouded_cluster(tmp_path, [{}, cut_off]) as (_, (holder, member)):
            proxy.cut()
            through = f"through {holder.node_id}"
            until(lambda: member.status()["cloud"]["way"] == through, "a way", 60)
            until(lambda: member.status()["sep"]["state"] == "online", "the member is online")
            before = [node.status()["cluster"] for node in (holder, member)]
            with member.application() as app, Mqtt(member.mqtt_port) as person:
                for number in range(BULK_COUNT):
                    assert person.publish("devices/x/bulk", bytes([number]) * BULK_BYTES)
                until(lambda: len(app.messages) == BULK_COUNT, "all is in the cloud", 120)
            for node, was in zip((holder, member), before, strict=True):
                now = node.status()["cluster"]
                assert [now[key] for key in CLUSTER] == [was[key] for key in CLUSTER]
                assert "role seeking" not in "".join(node.program.lines)
