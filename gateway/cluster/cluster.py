"""Takes part in the linkLocal cluster: the role of this node, and the records of all nodes.

A gateway without a cluster port is a cluster of its own: it becomes the supernode at once, and its
record is the only one.
"""

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from broker import Broker, Message
from gateway.addresses import ADDRESSES_LIMIT, place_of_peer
from gateway.cluster.election.heartbeat import Role
from gateway.cluster.election.machine import Election
from gateway.cluster.election.sep_agreement import SepAgreement
from gateway.cluster.entry import LOOK_S, ClusterEntry, run_while, until
from gateway.cluster.records.directory import Directory
from gateway.errors import GatewayError
from hardware.boot_clock import boot_time
from protocol.memberships import SepClaim
from protocol.records import CLUSTER, NodeRecord
from protocol.topics import NODES, node_record
from web.asgi import App

if TYPE_CHECKING:  # a node that stays alone does not load them
    from gateway.cluster.fitness import Probe
    from gateway.cluster.links.frames import SepMessage
    from gateway.cluster.links.refused import RefusedNode
    from gateway.cluster.network import ClusterNetwork, NetworkPorts

logger = logging.getLogger(__name__)

RETRY_S = 5.0  # after the cluster port could not be opened
REPUBLISH_S = 3600.0  # a signed record is valid for a day


@dataclass(frozen=True, slots=True)
class ClusterPorts:
    """The functions of other parts that the cluster calls."""

    own_record: Callable[[], str]  # signed
    save_epoch: Callable[[int], Awaitable[None]]
    addresses: Callable[[int], tuple[str, ...]]  # host:port of this node, by its port
    note_addresses: Callable[[tuple[str, ...]], None]  # for the record of this node
    vouch: Callable[[str, SepClaim], str]  # this node's statement that it forwards to a node
    vouched: Callable[[str, SepClaim], bool]  # of a claim's holder; False: it does not count
    probes: "Mapping[str, Probe]" = field(default_factory=dict)  # of parts, by name
    mqtt_port: Callable[[], int] = lambda: 0  # reachable from the network; 0: none
    monotonic: Callable[[], float] = boot_time


class Cluster:
    """The role of this node and the nodes of its cluster."""

    def __init__(
        self,
        node_id: str,
        agreed: tuple[Election, SepAgreement],
        directory: Directory,
        broker: Broker,
        ports: ClusterPorts,
        entry: ClusterEntry | None = None,
    ) -> None:
        """Build it; `agreed` is what the nodes agree on: the supernode, and its SEP.

        Without an entry this node stays alone.
        """
        self._node_id, self._directory, self._ports = node_id, directory, ports
        self._election, self._sep = agreed
        self._local = broker.local_client("cluster")
        self._role_changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_change: list[Callable[[], None]] = []
        self._on_sep: list[Callable[[str, str, bytes, str], None]] = []
        self.sep_passed = 0  # envelopes that this node has passed on, either way
        self._entry = entry
        self.network: ClusterNetwork | None = None  # while this node takes part
        if entry is not None and entry.is_entitled():
            self.network = entry.build(self._network_ports())
        self._listener: socket.socket | None = None

    @property
    def may_take_part(self) -> bool:
        """False for a node that stays alone."""
        return self._entry is not None

    @property
    def role(self) -> Role:
        """The role of this node."""
        self._wake()
        return self._election.role

    @property
    def supernode_id(self) -> str:
        """The supernode's id; "" while there is none."""
        self._wake()
        return self._election.supernode_id

    @property
    def epoch(self) -> int:
        """The epoch of the supernode's role."""
        return self._election.claim.epoch

    @property
    def sep_holder_id(self) -> str:
        """The node that holds the SEP of the cluster; "" while there is none."""
        self._wake()
        return self._sep.claim.holder_id

    @property
    def leads_others(self) -> bool:
        """True when this node is the supernode of others."""
        return self._election.leads and bool(self._election.members())

    def way_counts(self) -> dict[str, int]:
        """Return the streams that this node carries to the cloud for others, and their bytes."""
        return self.network.relay.counts() if self.network is not None else {}

    def way_fault(self) -> str:
        """Return why the last way to the cloud through another node did not open."""
        return self.network.way.fault if self.network is not None else ""

    def is_awake(self) -> bool:
        """Return whether this node has a role, after it has noticed a pause of its process."""
        return self.role is not Role.LISTENING

    def _wake(self) -> None:
        if self.network is not None:
            self.network.peering.wake()

    def note_own_reach(self, reaches: bool) -> None:
        """Note whether this node has a way of its own to the cloud."""
        if self.network is not None:
            self.network.peering.note_own_reach(reaches)
        else:
            self._sep.note_own_reach(reaches, self._ports.monotonic())

    def raise_epoch(self, epoch: int) -> None:
        """Note an epoch that the cloud has seen, newer than that of this cluster."""
        if self.network is not None:
            self.network.peering.raise_epoch(epoch)
            return
        self._election.raise_epoch(epoch, self._ports.monotonic())
        self._lead_sep()
        self._changed()

    @property
    def size(self) -> int:
        """The number of nodes, as the supernode told it last; after a take-over, as before it."""
        told = self.network.exchange.told_count if self.network is not None else 0
        return max(told, len(self._directory))

    def successors(self) -> tuple[str, ...]:
        """Return the nodes that take over from the supernode, in their order."""
        return self._election.successors()

    def refused(self) -> "list[RefusedNode]":
        """Return the nodes that were not admitted, the last ones."""
        return self.network.peering.links.refused.all() if self.network is not None else []

    def peers_warning(self) -> str:
        """Return which configured peers this node looks for in vain; "" for none."""
        if self.network is None or self._election.role is Role.MEMBER:  # a member needs no others
            return ""
        faults = self.network.candidates.unreached_peers(self._ports.monotonic())
        return f"{'; '.join(faults[:3])}: see [cluster] peers" if faults else ""

    def counters(self) -> dict[str, int]:
        """Return how often strangers and peers have gone beyond a limit."""
        return self.network.counters() if self.network is not None else {}

    def known_records(self) -> list[NodeRecord]:
        """Return the records that this node has at hand."""
        return self._directory.records()

    async def records(self) -> list[NodeRecord]:
        """Return the records of all nodes, asked of the supernode."""
        if self.network is None:
            return self._directory.records()
        return await self.network.exchange.records()

    def add_listener(
        self, on_change: Callable[[], None], on_sep: Callable[[str, str, bytes, str], None]
    ) -> None:
        """Call on_change when this node's record has changed, on_sep for envelopes of peers.

        on_sep takes the peer's id, a topic of the cloud ("" for a request), the envelope, and the
        id of the node that has a request from the cloud.
        """
        self._on_change.append(on_change)
        self._on_sep.append(on_sep)

    def send_sep(self, peer_id: str, topic: str, payload: bytes, holder_id: str) -> bool:
        """Send an envelope to a member or to the supernode; return False when it cannot go."""
        if self.network is None:
            return False
        from gateway.cluster.links.frames import SepMessage

        message = SepMessage(topic, payload, holder_id)
        is_sent = self.network.exchange.send_sep(peer_id, message)
        self.sep_passed += is_sent and not topic
        return is_sent

    async def next_role(self, known: Role) -> Role:
        """Return the role of this node when it differs from the known one."""
        while self._election.role is known:
            await self._role_changed.wait()
        return self._election.role

    def addresses_of(self, node_id: str) -> tuple[str, ...]:
        """Return where the cluster port of a member may be; () for other nodes."""
        record = self._directory.get(node_id)
        if self.network is None or record is None:
            return ()
        places = (place_of_peer(each.href) for each in record.addresses if each.kind == CLUSTER)
        stated = tuple(place for place in places if place)
        candidates = self.network.candidates
        found = (*stated, *candidates.hints(node_id)) if stated else candidates.addresses(node_id)
        return tuple(dict.fromkeys(found))[:ADDRESSES_LIMIT]

    def one_way(self) -> list[str]:
        """Return the nodes that this node hears, but that it does not reach."""
        heard = set(self._election.one_way)
        if self.network is not None:
            heard.update(self.network.candidates.heard_only(self.network.peering.links.linked))
        return sorted(heard)

    @property
    def calls_served(self) -> int:
        """The requests of other nodes that came over this network."""
        return self.network.calls.served if self.network is not None else 0

    def listen(self) -> None:
        """Open the cluster port, if this node takes part from the start; ClusterError if it fails.

        run() must follow.
        """
        if self._entry is not None and self.network is not None:
            self._listener = self._entry.listen(self.network)

    async def run(self, app: App | None = None) -> None:
        """Take part in the cluster until cancelled; other nodes may call the application."""
        self._local.subscribe(NODES, self._clear_stale)
        async with asyncio.TaskGroup() as group:
            if self._entry is None or app is None:
                group.create_task(self._lead_alone())
            else:
                group.create_task(self._follow_entitlement(self._entry, app))
            group.create_task(self._republish())

    async def leave(self) -> None:
        """Hand over, if this is the supernode of others."""
        if self.network is not None:
            await self.network.peering.leave()

    def publish(self) -> None:
        """Spread the record of this node."""
        if self.role is Role.LISTENING:
            return
        if self.network is not None:
            self.network.exchange.publish()
            return
        signed = self._ports.own_record()
        if self._directory.put(signed, self._node_id) is not None:
            self._stored(self._node_id, signed)

    async def _follow_entitlement(self, entry: ClusterEntry, app: App) -> None:
        """Take part while this node has what admits it; lead alone meanwhile."""
        while True:
            if self.network is None:
                await self._lead_alone()
                await until(entry.is_entitled)
                await asyncio.to_thread(entry.load)
                self.network = entry.build(self._network_ports())
            try:
                listener = self._listener or entry.listen(self.network)
            except GatewayError as exc:
                logger.warning("%s; trying again", exc)
                await asyncio.sleep(RETRY_S)
                continue
            self._listener = None
            taking_part = self._take_part(self.network, listener, app)
            await run_while(entry.is_entitled, taking_part)
            logger.info("this node has left its cluster")
            entry.closed()
            self.network = None
            self._forget_others()

    async def _take_part(
        self, network: "ClusterNetwork", listener: socket.socket, app: App
    ) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(network.run(listener, app), name="cluster network")
            group.create_task(self._watch_fitness(network), name="fitness")

    def _forget_others(self) -> None:
        """Withdraw the records of nodes that this one no longer sees."""
        for record in self._directory.records():
            if record.node_id != self._node_id and self._directory.drop(record.node_id):
                self._stored(record.node_id, "")

    async def _watch_fitness(self, network: "ClusterNetwork") -> None:
        from gateway.cluster.fitness import FitnessWatch, follow_role

        note = network.peering.note_fitness
        ports = follow_role(lambda: self.role, lambda: self.leads_others, note)
        await FitnessWatch(self._ports.probes, ports).run()

    async def _lead_alone(self) -> None:
        monotonic = self._ports.monotonic
        while self.role is not Role.SUPERNODE:
            wait_s = self._election.deadline() - monotonic()
            await asyncio.sleep(min(max(0.001, wait_s), LOOK_S))
            self._election.tick(monotonic())
        self._lead_sep()
        self._changed()

    def _lead_sep(self) -> None:
        self._sep.lead(self._election.claim, (), (), self._ports.monotonic())

    async def _republish(self) -> None:
        await self.next_role(Role.LISTENING)
        while True:
            self.publish()
            await asyncio.sleep(REPUBLISH_S)

    def _network_ports(self) -> "NetworkPorts":
        from gateway.cluster.network import NetworkPorts

        return NetworkPorts(
            own_record=self._ports.own_record,
            addresses=self._ports.addresses,
            changed=self._changed,
            moved=self._moved,
            stored=self._stored,
            vouch=self._ports.vouch,
            vouched=self._vouched,
            sep=self._take_sep,
            mqtt_port=self._ports.mqtt_port,
            save_epoch=lambda epoch: self._spawn(self._save_epoch(epoch)),
        )

    def _changed(self) -> None:
        changed, self._role_changed = self._role_changed, asyncio.Event()
        changed.set()
        self.publish()  # it names the supernode
        for listener in self._on_change:
            listener()

    def _moved(self, addresses: tuple[str, ...]) -> None:
        self._ports.note_addresses(addresses)
        self.publish()
        for listener in self._on_change:
            listener()

    def _vouched(self, statement: str) -> None:
        if not self._ports.vouched(statement, self._sep.claim):
            logger.debug("a statement is not one of the holder of the SEP about this node")
            return
        for listener in self._on_change:
            listener()

    def _take_sep(self, peer_id: str, message: "SepMessage") -> None:
        self.sep_passed += bool(message.topic)
        for listener in self._on_sep:
            listener(peer_id, message.topic, message.payload, message.holder_id)

    def _stored(self, node_id: str, signed: str) -> None:
        """Publish a record at the broker of this node; withdraw it when it is ""."""
        payload = json.dumps({"record": signed}).encode() if signed else b""
        self._local.publish(node_record(node_id), payload, qos=1, retain=True)

    def _clear_stale(self, message: Message) -> None:
        """Withdraw the record of a node that left before the broker was restarted."""
        node_id = message.topic.rpartition("/")[2]
        if message.payload and self._directory.get(node_id) is None:
            self._stored(node_id, "")

    async def _save_epoch(self, epoch: int) -> None:
        try:
            await self._ports.save_epoch(epoch)
        except GatewayError as exc:
            logger.warning("cannot store the epoch of the cluster: %s", exc)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
