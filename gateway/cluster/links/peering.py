"""Runs the election over the links: sends heartbeats, keeps time, chooses whom to dial."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from gateway.cluster.election.heartbeat import Role, RoleClaim
from gateway.cluster.election.machine import Election
from gateway.cluster.links.admission import PeerAdmission
from gateway.cluster.links.candidates import Candidates, Source, scoped
from gateway.cluster.links.frames import INCARNATION_BYTES, Beat, Hello
from gateway.cluster.links.link import PeerLink
from gateway.cluster.links.peer_links import LinkPorts, PeerLinks
from protocol.node_tls import NodeTlsContext

logger = logging.getLogger(__name__)

STANDBY = 2  # successors that a member keeps links to: they must know each other at a take-over
PRUNE_S = 5.0  # links of the election that nobody needs afterwards


@dataclass(frozen=True, slots=True)
class PeeringPorts:
    """The functions of other parts that peering calls."""

    addresses: Callable[[], tuple[str, ...]]  # host:port of this node's cluster port
    changed: Callable[[], None]  # role or claim
    silent: Callable[[str], None]  # the id of a peer that cannot be reached any more
    save_epoch: Callable[[int], None]  # for later runs; returns before it is stored
    clock: Callable[[], float]
    monotonic: Callable[[], float]


class Peering:
    """This node's part in the election."""

    def __init__(
        self,
        election: Election,
        context: NodeTlsContext,
        admission: PeerAdmission,
        candidates: Candidates,
        ports: PeeringPorts,
    ) -> None:
        self._election, self._candidates, self._ports = election, candidates, ports
        self._incarnation = secrets.token_bytes(INCARNATION_BYTES)
        self._changed = asyncio.Event()
        self._sent: tuple[Role, RoleClaim] | None = None
        self.links = PeerLinks(
            context,
            admission,
            candidates,
            self.hello,
            LinkPorts(
                self._wants,
                self._up,
                self._down,
                ports.silent,
                self._hear,
                ports.clock,
                ports.monotonic,
            ),  # fmt: skip
        )

    async def run(self) -> None:
        """Take part until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.links.run())
            group.create_task(self._beat())
            group.create_task(self._prune())

    def hello(self) -> Hello:
        """Return the first frame of a link, without a proof."""
        return Hello(self._incarnation, addresses=self._ports.addresses())

    async def leave(self) -> None:
        """Hand over, if this node is the supernode of others; return when that is done."""
        self._election.stop(self._ports.monotonic())
        self._react()
        while not self._election.has_left:
            await asyncio.sleep(0.02)
            self._election.tick(self._ports.monotonic())
            self._react()

    # Heartbeats -------------------------------------------------------------------------------

    async def _beat(self) -> None:
        beat_s = self._election.timings.heartbeat
        next_beat = self._ports.monotonic()
        while True:
            now = self._ports.monotonic()
            self._election.tick(now)
            self._note_changes()
            if self._state != self._sent or now >= next_beat:
                self._sent = self._state
                self.links.broadcast(self._make_beat(now))
                next_beat = now + beat_s
            self._changed.clear()
            wait_s = min(self._election.deadline(), next_beat) - self._ports.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(wait_s, 0.001)):
                    await self._changed.wait()

    def _make_beat(self, now: float) -> Beat:
        """Return a heartbeat with the addresses of the nodes that matter at a take-over."""
        heartbeat = self._election.heartbeat(now)
        needed = [heartbeat.claim.supernode_id, *heartbeat.successors[:STANDBY]]
        linked = filter(self.links.is_linked, needed)  # what it knows itself, not what it was told
        found = {node_id: self._candidates.link_addresses(node_id) for node_id in linked}
        return Beat(heartbeat, {node_id: each for node_id, each in found.items() if each})

    @property
    def _state(self) -> tuple[Role, RoleClaim]:
        return self._election.role, self._election.claim

    def _react(self) -> None:
        """Send at once what others wait for."""
        if self._state != self._sent:
            self._changed.set()

    def _note_changes(self) -> None:
        before, now = self._sent, self._state
        if before == now:
            return
        role, claim = now
        if before is None or before[0] is not role or before[1].supernode_id != claim.supernode_id:
            supernode = claim.supernode_id[:12] or "none"
            logger.info("role %s, supernode %s, epoch %d", role, supernode, claim.epoch)
        if before is None or before[1].epoch != claim.epoch:
            self._ports.save_epoch(claim.epoch)
        self._ports.changed()
        self.links.look_again()

    # Links ------------------------------------------------------------------------------------

    def _wants(self, node_id: str) -> bool:
        """Return whether to dial a node: a member needs its supernode and its successors."""
        election = self._election
        if election.role is not Role.MEMBER:
            return True
        return node_id in (election.supernode_id, *election.successors()[:STANDBY])

    def _up(self, link: PeerLink) -> None:
        logger.debug("link to node %.12s at %s", link.peer_id, link.address)
        self.links.broadcast(self._make_beat(self._ports.monotonic()))

    def _down(self, link: PeerLink) -> None:
        self._election.lose(link.peer_id, self._ports.monotonic())
        self._react()

    def _hear(self, link: PeerLink, beat: Beat) -> None:
        now = self._ports.monotonic()
        was_heard = link.peer_id in self._election.heard
        self._election.hear(beat.heartbeat, now)
        for node_id, addresses in beat.addresses.items():
            named = scoped(addresses, link.address)
            self._candidates.note(node_id, named, now, self._election.heard, Source.PASSED_ON)
        if was_heard:
            self._react()
        else:  # it waits to learn that it is heard
            self.links.broadcast(self._make_beat(now))

    async def _prune(self) -> None:
        """End links that this node dialled for an election and does not need as a member."""
        while True:
            await asyncio.sleep(PRUNE_S)
            for peer_id, link in self.links.linked.items():
                if link.is_dialled and not self._wants(peer_id):
                    await self.links.close(peer_id)
