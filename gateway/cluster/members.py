"""The nodes of the linkLocal cluster, by the records that they keep at the supernode's broker."""

import asyncio
import json
import logging
from collections.abc import Callable

from broker import Broker, Message
from gateway.cluster.election import Election, Role
from protocol.errors import ContractError
from protocol.records import NodeRecord, open_record
from protocol.topics import NODES, node_record
from web import parse_json

logger = logging.getLogger(__name__)

REPUBLISH_S = 3600.0  # a signed record is valid for a day
MEMBER_LIMIT = 256


class Cluster:
    """Elects the supernode, publishes this node's record and knows those of the others."""

    def __init__(
        self,
        node_id: str,
        broker: Broker,
        signed_record: Callable[[], str],
        clock: Callable[[], float],
    ) -> None:
        self._node_id, self._signed_record, self._clock = node_id, signed_record, clock
        self._local = broker.local_client("cluster")
        self._records: dict[str, NodeRecord] = {}
        self.election = Election(node_id, clock())
        self.elected = asyncio.Event()

    def records(self) -> list[NodeRecord]:
        """Return the members, this node among them once it is one."""
        return list(self._records.values())

    async def run(self) -> None:
        """Take part in the cluster until cancelled."""
        self._local.subscribe(NODES, self._on_record)
        while self.election.role is Role.LISTENING:
            deadline = self.election.deadline or 0.0
            await asyncio.sleep(max(0.0, deadline - self._clock()))
            self.election.tick(self._clock())
        logger.info("this node is the %s of its cluster", self.election.role)
        self.elected.set()
        while True:
            self.publish()
            await asyncio.sleep(REPUBLISH_S)

    def publish(self) -> None:
        """Tell the members what this node is now."""
        if self.election.role is not Role.LISTENING:
            payload = json.dumps({"record": self._signed_record()}).encode()
            self._local.publish(node_record(self._node_id), payload, qos=1, retain=True)

    def _on_record(self, message: Message) -> None:
        node_id = message.topic.rpartition("/")[2]
        if not message.payload:
            self._records.pop(node_id, None)
            return
        try:
            record = open_record(str(parse_json(message.payload)["record"]), self._clock())
        except (ContractError, ValueError, TypeError, KeyError) as exc:
            logger.warning("ignored the record of node %.12s: %s", node_id, exc)
            return
        if record.node_id != node_id:
            logger.warning("ignored a record of node %.12s under another's topic", record.node_id)
        elif node_id in self._records or len(self._records) < MEMBER_LIMIT:
            self._records[node_id] = record
