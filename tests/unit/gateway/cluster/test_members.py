import asyncio
import json

from broker import AllowAll, Broker
from gateway.cluster.election.heartbeat import Role
from gateway.cluster.election.machine import Election
from gateway.cluster.election.state import Timings
from gateway.cluster.members import Cluster
from protocol.keys import new_node_key, new_sealing_key
from protocol.records import NodeRecord, sign_record
from protocol.topics import node_record

NOW = 1000.0


def test_the_role_is_announced_and_records_are_kept_by_their_owners_only() -> None:
    async def run() -> None:
        key, other = new_node_key(), new_node_key()
        node_id = key.node_id

        def signed() -> str:
            sealing_key = new_sealing_key().public
            record = NodeRecord(node_id, "barn", "1", supernode_id=node_id, sealing_key=sealing_key)
            return sign_record(record, key, NOW)

        policy = AllowAll()
        async with Broker([], policy, policy, sys_interval_s=0) as broker:
            election = Election(node_id, now=0.0, timings=Timings(listening=1.0))
            monotonic = iter([0.99, 0.995, 1.0, 1.0])
            cluster = Cluster(
                node_id, election, broker, signed, lambda: NOW, lambda: next(monotonic, 2.0)
            )
            assert (cluster.role, cluster.supernode_id) == (Role.LISTENING, "")
            cluster.publish()  # no effect before the election
            role = asyncio.create_task(cluster.next_role(Role.LISTENING))
            running = asyncio.create_task(cluster.run())
            assert await role is Role.SUPERNODE
            assert await cluster.next_role(Role.LISTENING) is Role.SUPERNODE
            await asyncio.sleep(0.01)
            assert [record.node_id for record in cluster.records()] == [node_id]
            local = broker.local_client("test")
            payload = json.dumps({"record": signed()}).encode()
            local.publish(node_record(other.node_id), payload)  # under another topic
            local.publish(node_record(node_id), b"not a record")
            await asyncio.sleep(0.01)
            assert [record.node_id for record in cluster.records()] == [node_id]
            local.publish(node_record(node_id), b"")
            await asyncio.sleep(0.01)
            assert cluster.records() == []
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())
