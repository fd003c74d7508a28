"""Holds the nodes of the linkLocal cluster, by their records at the supernode's broker."""

import asyncio
import json
import logging
import time
from collections.abc import Callable

from broker import Broker, Message
from gateway.cluster.election.heartbeat import Role
from gateway.cluster.election.machine import Election
from protocol.errors import ContractError
from protocol.records import NodeRecord, open_record
from protocol.topics import NODES, node_record
from web import parse_json

logger = logging.getLogger(__name__)

REPUBLISH_S = 3600.0  # a signed record is valid for a day
MEMBER_LIMIT = 256


class Cluster:
    """Runs the election, publishes the record of this node and holds those of the others."""

    def __init__(
        self,
        node_id: str,
        election: Election,
        broker: Broker,
        signed_record: Callable[[], str],
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node_id, self._election, self._signed_record = node_id, election, signed_record
        self._clock, self._monotonic = clock, monotonic
        self._local = broker.local_client("cluster")
        self._records: dict[str, NodeRecord] = {}
        self._role_changed = asyncio.Event()

    @property
    def role(self) -> Role:
        """The role of this node."""
        return self._election.role

    @property
    def supernode_id(self) -> str:
        """The supernode's id; "" before the election."""
        return self._election.supernode_id

    def records(self) -> list[NodeRecord]:
        """Return the members, with this node once it is one."""
        return list(self._records.values())

    async def next_role(self, known: Role) -> Role:
        """Return the role of this node when it differs from the known one."""
        while self._election.role is known:
            await self._role_changed.wait()
        return self._election.role

    async def run(self) -> None:
        """Take part in the cluster until cancelled."""
        self._local.subscribe(NODES, self._on_record)
        while self.role is Role.LISTENING:
            await asyncio.sleep(max(0.0, self._election.deadline() - self._monotonic()))
            self._election.tick(self._monotonic())
        logger.info("this node is the %s of its cluster", self.role)
        self._announce_role()
        while True:
            self.publish()
            await asyncio.sleep(REPUBLISH_S)

    def publish(self) -> None:
        """Publish the record of this node to the members."""
        if self.role is not Role.LISTENING:
            payload = json.dumps({"record": self._signed_record()}).encode()
            self._local.publish(node_record(self._node_id), payload, qos=1, retain=True)

    def _announce_role(self) -> None:
        changed, self._role_changed = self._role_changed, asyncio.Event()
        changed.set()

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
