"""A node without a cluster port: it leads alone, and its record is at its broker."""

import asyncio
import json

from broker import AllowAll, Broker, Message
from gateway.cluster.cluster import Cluster, ClusterPorts
from gateway.cluster.election.heartbeat import Role
from gateway.cluster.election.machine import Election
from gateway.cluster.election.sep_agreement import SepAgreement
from gateway.cluster.election.state import Timings
from gateway.cluster.records.directory import Directory
from protocol.keys import new_node_key, new_sealing_key
from protocol.records import NodeRecord, open_record, sign_record
from protocol.topics import NODES, node_record
from tests.aio import until

NOW = 1000.0


def test_the_role_is_announced_and_stale_records_are_withdrawn() -> None:
    async def run() -> None:
        key, other = new_node_key(), new_node_key()
        node_id = key.node_id

        def signed() -> str:
            sealing_key = new_sealing_key().public
            record = NodeRecord(node_id, "barn", "1", supernode_id=node_id, sealing_key=sealing_key)
            return sign_record(record, key, NOW)

        async def save_epoch(_: int) -> None: ...

        policy = AllowAll()
        async with Broker([], policy, policy, sys_interval_s=0) as broker:
            seen: dict[str, bytes] = {}
            local = broker.local_client("test")
            local.publish(node_record(other.node_id), b"from an earlier run", qos=1, retain=True)

            def note(message: Message) -> None:
                seen[message.topic] = message.payload

            local.subscribe(NODES, note)
            election = Election(node_id, now=0.0, timings=Timings(listening=1.0))
            sep = SepAgreement(node_id, 0.0)
            monotonic = iter([0.99, 0.995, 1.0, 1.0])
            ports = ClusterPorts(
                signed,
                save_epoch,
                lambda _: (),
                lambda _: None,
                lambda _node_id, _claim: "",
                lambda _statement, _claim: True,
                monotonic=lambda: next(monotonic, 2.0),
            )
            cluster = Cluster(node_id, (election, sep), Directory(b"term"), broker, ports)
            assert (cluster.role, cluster.supernode_id) == (Role.LISTENING, "")
            cluster.publish()  # no effect before the election
            role = asyncio.create_task(cluster.next_role(Role.LISTENING))
            running = asyncio.create_task(cluster.run())
            assert await role is Role.SUPERNODE
            assert await cluster.next_role(Role.LISTENING) is Role.SUPERNODE
            await until(lambda: seen.get(node_record(other.node_id)) == b"")
            assert cluster.sep_holder_id == node_id
            assert [record.node_id for record in await cluster.records()] == [node_id]
            stored = json.loads(seen[node_record(node_id)])["record"]
            assert open_record(stored, NOW).node_id == node_id
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())
