"""Runs the election over the links: sends heartbeats, keeps time, chooses the nodes to dial."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from gateway.cluster.election.heartbeat import Role, RoleClaim
from gateway.cluster.election.machine import Election
from gateway.cluster.election.sep_agreement import SepAgreement
from gateway.cluster.links.admission import PeerAdmission
from gateway.cluster.links.candidates import AddressSource, Candidates, scoped
from gateway.cluster.links.frames import INCARNATION_BYTES, Beat, Hello
from gateway.cluster.links.link import PeerLink
from gateway.cluster.links.peer_links import LinkPorts, PeerLinks
from protocol.memberships import SepClaim
from protocol.node_tls import NodeTlsContext

logger = logging.getLogger(__name__)

STANDBY = 2  # successors that a member keeps links to: they must know each other at a take-over
RECENT_S = 0.05  # the order of successors takes a millisecond with 1,000 members
PRUNE_S = 5.0  # links of the election that nobody needs afterwards


@dataclass(frozen=True, slots=True)
class PeeringPorts:
    """The functions of other parts that peering calls."""

    addresses: Callable[[], tuple[str, ...]]  # host:port of this node's cluster port
    changed: Callable[[], None]  # role, or a claim of it or of the SEP
    silent: Callable[[str], None]  # the id of a peer that cannot be reached any more
    save_epoch: Callable[[int], None]  # for later runs; returns before it is stored
    connected: Callable[[], Collection[str]]  # the members that a SEP holder can be of
    clock: Callable[[], float]
    monotonic: Callable[[], float]


_State = tuple[Role, RoleClaim, SepClaim, bool]


class Peering:
    """This node's part in the election."""

    def __init__(
        self,
        agreed: tuple[Election, SepAgreement],
        context: NodeTlsContext,
        admission: PeerAdmission,
        candidates: Candidates,
        ports: PeeringPorts,
    ) -> None:
        """Take the election, and what its supernode decides about the SEP."""
        self._election, self._sep = agreed
        self._candidates, self._ports = candidates, ports
        self._incarnation = secrets.token_bytes(INCARNATION_BYTES)
        self._changed = asyncio.Event()
        self._sent: _State | None = None
        self._recent: tuple[_State | None, float, Beat | None] = (None, 0.0, None)
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
            ),
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

    def wake(self) -> None:
        """Notice a pause of this process, before it does what only its former role allows."""
        now = self._ports.monotonic()
        if self._election.has_paused(now):
            self._election.tick(now)
            self._agree(now)
            self._react()

    def note_own_reach(self, reaches: bool) -> None:
        """Note whether this node has a way of its own to the cloud."""
        self._sep.note_own_reach(reaches, self._ports.monotonic())
        self._react()

    def raise_epoch(self, epoch: int) -> None:
        """Note an epoch that the cloud has seen."""
        self._election.raise_epoch(epoch, self._ports.monotonic())
        self._react()

    def note_fitness(self, is_fit: bool) -> None:
        """Note whether the broker and the disk of this node work."""
        self._election.note_fitness(is_fit, self._ports.monotonic())
        self._react()

    # Heartbeats -------------------------------------------------------------------------------

    async def _beat(self) -> None:
        beat_s = self._election.timings.heartbeat
        next_beat = self._ports.monotonic()
        while True:
            now = self._ports.monotonic()
            self._election.tick(now)
            self._agree(now)
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
        self._election.tick(now)
        self._agree(now)
        heartbeat = self._sep.complete(self._election.heartbeat(now), self._election)
        needed = {
            heartbeat.claim.supernode_id, self._sep.claim.holder_id, *heartbeat.successors[:STANDBY]
        }  # fmt: skip
        linked = filter(self.links.is_linked, needed)  # of its own knowledge, not by report
        found = {node_id: self._candidates.link_addresses(node_id) for node_id in linked}
        return Beat(heartbeat, {node_id: each for node_id, each in found.items() if each})

    def _recent_beat(self, now: float) -> Beat:
        """Return a heartbeat for one peer; a thousand that come in a second get few new ones."""
        state, at, beat = self._recent
        if beat is None or state != self._state or now - at > RECENT_S:
            beat = self._make_beat(now)
            self._recent = self._state, now, beat
        return replace(beat, heartbeat=replace(beat.heartbeat, hears=self._election.heard))

    def _agree(self, now: float) -> None:
        self._sep.settle(self._election, self._ports.connected(), now)

    @property
    def _state(self) -> _State:
        return self._election.role, self._election.claim, self._sep.claim, self._sep.reaches

    def _react(self) -> None:
        """Send at once what others wait for."""
        if self._state != self._sent:
            self._changed.set()

    def _note_changes(self) -> None:
        before, now = self._sent, self._state
        if before == now:
            return
        role, claim, sep, _ = now
        if before is None or before[0] is not role or before[1].supernode_id != claim.supernode_id:
            supernode = claim.supernode_id[:12] or "none"
            logger.info("role %s, supernode %s, epoch %d", role, supernode, claim.epoch)
        if before is None or before[1].epoch != claim.epoch:
            self._ports.save_epoch(claim.epoch)
        if sep.holder_id and sep.holder_id != (before[2].holder_id if before else ""):
            logger.info("SEP held by %s: epoch %d, number %d", sep.holder_id[:12], *sep.order)
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
        self.links.tell(link, self._recent_beat(self._ports.monotonic()))

    def _down(self, link: PeerLink) -> None:
        self._election.lose(link.peer_id, self._ports.monotonic())
        self._react()

    def _hear(self, link: PeerLink, beat: Beat) -> None:
        now = self._ports.monotonic()
        was_heard = link.peer_id in self._election.heard
        self._election.hear(beat.heartbeat, now)
        self._sep.hear(beat.heartbeat, self._election.claim)
        for node_id, addresses in beat.addresses.items():
            named = scoped(addresses, link.address)
            self._candidates.note(
                node_id, named, now, self._election.heard, AddressSource.PASSED_ON
            )
        if was_heard:
            self._react()
        elif link.peer_id == self._election.supernode_id:
            self.links.broadcast(self._make_beat(now))
        else:  # it waits to learn that it is heard
            self._react()
            self.links.tell(link, self._recent_beat(now))

    async def _prune(self) -> None:
        """End links that this node dialled for an election and does not need as a member."""
        while True:
            await asyncio.sleep(PRUNE_S)
            for peer_id, link in self.links.linked.items():
                if link.is_dialled and not self._wants(peer_id):
                    await self.links.close(peer_id)
