"""Keeps the links to the peers: dials candidates, admits, refuses. Does I/O."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any

from gateway.cluster.links.admission import PeerAdmission
from gateway.cluster.links.candidates import AddressSource, Candidates, scoped
from gateway.cluster.links.frames import Beat, Frame, Hello, NotAdmitted
from gateway.cluster.links.link import CONTROL, PeerLink, ReachesItselfError, dial
from gateway.cluster.links.pace import FramePace
from gateway.cluster.links.recheck import recheck, recheck_for_ever
from gateway.cluster.links.refused import RefusedNodes
from gateway.errors import ClusterError, PeerRefuses
from gateway.limits.token_bucket import Rate
from protocol.errors import WireError
from protocol.node_tls import NodeTlsCodec, NodeTlsContext
from settings.addresses import HostPort, format_address

logger = logging.getLogger(__name__)

DIALS_AT_ONCE = 16
LOOK_S = 0.25  # for candidates whose next attempt is due
SILENT_S = 3.0  # longer than the silence after which the election counts a peer as lost
HANGS_S = 30.0  # of a peer whose machine answers
SLEPT_S = 1.0  # between two looks: this node stood still, and has not read what has come
BOTH_DIAL_S = 2.0  # two nodes that dial each other at once have both links within this time
FRAMES = Rate(burst=100, interval_s=0.05)  # of one peer: two heartbeats a second, and changes
IN_USE_S = 2.0  # since the last heartbeat of the node behind a link: longer, and it has restarted


@dataclass(frozen=True, slots=True)
class LinkPorts:
    """The functions of the cluster that links call."""

    wants: Callable[[str], bool]  # true for a node to dial; "" is a node without a known id
    up: Callable[[PeerLink], None]
    down: Callable[[PeerLink], None]
    silent: Callable[[str], None]  # the id of a peer whose machine or network is gone
    beat: Callable[[PeerLink, Beat], None]
    clock: Callable[[], float]
    monotonic: Callable[[], float]


class PeerLinks:
    """The links of this node; at most one to a peer."""

    def __init__(
        self,
        context: NodeTlsContext,
        admission: PeerAdmission,
        candidates: Candidates,
        hello: Callable[[], Hello],
        ports: LinkPorts,
    ) -> None:
        self._context, self._admission, self._candidates = context, admission, candidates
        self._hello, self._ports = hello, ports
        self._links: dict[str, PeerLink] = {}
        self._runs: dict[str, bytes] = {}  # the incarnation behind each link
        self._last_beat: dict[str, float] = {}  # of each link
        self._since: dict[str, float] = {}
        self._looked_at = ports.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()
        self._dialling: set[str] = set()
        self._look = asyncio.Event()
        self.refused = RefusedNodes(ports.clock)
        self.slowed = 0  # frames of peers that send too many

    @property
    def linked(self) -> dict[str, PeerLink]:
        """The link of each peer."""
        return dict(self._links)

    def is_linked(self, peer_id: str) -> bool:
        """Return whether there is a link to a peer."""
        return peer_id in self._links

    def look_again(self) -> None:
        """Look for candidates to dial now."""
        self._look.set()

    async def run(self) -> None:
        """Dial until cancelled; then end all links that this node has dialled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._dial_all())
                group.create_task(recheck_for_ever(self.recheck))
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def broadcast(self, beat: Beat) -> None:
        """Send a heartbeat to all peers; each learns whether it is heard, not which others are."""
        for link in self._links.values():
            self.tell(link, beat)

    @staticmethod
    def tell(link: PeerLink, beat: Beat) -> None:
        """Send a heartbeat to one peer."""
        heartbeat = beat.heartbeat
        hears = heartbeat.hears & {link.peer_id, heartbeat.claim.supernode_id}
        link.send(replace(beat, heartbeat=replace(heartbeat, hears=hears)))

    def send(self, peer_id: str, frame: Frame) -> bool:
        """Send a frame to one peer; return False when there is no link to it."""
        link = self._links.get(peer_id)
        if link is not None:
            link.send(frame)
        return link is not None

    async def close(self, peer_id: str) -> None:
        """End the link to a peer that is not needed."""
        link = self._links.get(peer_id)
        if link is not None:
            await link.close()

    async def serve(self, sock: socket.socket, codec: NodeTlsCodec, address: str) -> None:
        """Serve a connection that a peer has dialled, until it ends."""
        await self._run_link(PeerLink(sock, codec, address, dialled=False))

    async def recheck(self) -> None:
        """Show renewed proofs of this node, and end links whose peer's proof has expired."""
        links = list(self._links.values())
        for link, reason in await recheck(links, self._own_hello, self._admission):
            self.refused.note(link.peer_id, link.address, reason)

    def _own_hello(self, peer_id: str) -> Hello:
        return replace(self._hello(), proof=self._admission.prove(peer_id))

    # Dialling ---------------------------------------------------------------------------------

    async def _dial_all(self) -> None:
        while True:
            self._look.clear()
            self._cut_silent(self._ports.monotonic())
            at = {link.address for link in self._links.values()}
            for key, node_id, addresses in self._candidates.due(
                self._ports.monotonic(), self._links, at
            ):
                if len(self._dialling) >= DIALS_AT_ONCE:
                    break
                if key not in self._dialling and self._ports.wants(node_id):
                    self._dialling.add(key)
                    self._spawn(self._dial(key, node_id, addresses))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._look.wait()

    def _cut_silent(self, now: float) -> None:
        """Cut links whose other end is gone: the kernel would try for minutes to reach it.

        A peer that is slow keeps its link: new handshakes would make it slower.
        """
        slept, self._looked_at = now - self._looked_at > SLEPT_S, now
        if slept:
            self._last_beat = dict.fromkeys(self._links, now)
        for peer_id, at in list(self._last_beat.items()):
            silent_s = now - at
            if silent_s > HANGS_S or (silent_s > SILENT_S and self._links[peer_id].is_unanswered):
                logger.debug("node %.12s is silent: its link is cut", peer_id)
                self._last_beat.pop(peer_id)
                self._links[peer_id].cut()
                self._ports.silent(peer_id)

    async def _dial(self, key: str, node_id: str, addresses: tuple[str, ...]) -> None:
        try:
            sock, codec, address = await dial(addresses, node_id, self._context, CONTROL)
        except ClusterError as exc:
            if isinstance(exc, ReachesItselfError) and not node_id:
                self._candidates.identified(key, self._context.node_id)
                return
            logger.debug("cannot reach node %.12s: %s", node_id or key, exc)
            self._candidates.unreached(key, self._ports.monotonic(), str(exc))
            return
        finally:
            self._dialling.discard(key)
        self._candidates.identified(key, codec.peer_id)
        link = PeerLink(sock, codec, address, dialled=True)
        if not await self._run_link(link):
            self._candidates.failed(key, self._ports.monotonic())

    # One link ---------------------------------------------------------------------------------

    async def _run_link(self, link: PeerLink) -> bool:
        """Exchange frames until the link ends; return whether there was a heartbeat."""
        was_used = False
        try:
            hello = await link.open(self._own_hello(link.peer_id))
            reason = self._refuse(link, hello)
            if reason:
                link.send(NotAdmitted(reason))
                return False
            await self._enter(link, hello)
            pace = FramePace(FRAMES)
            async for frame in link.frames():
                self._receive(link, frame)
                was_used = True
                if delay_s := pace.delay_s(self._ports.monotonic()):
                    self._note_flood(link, pace)
                    await asyncio.sleep(delay_s)
        except PeerRefuses as exc:
            self.refused.note_refusal(link.peer_id, link.address, str(exc))
        except (ClusterError, WireError, OSError, TimeoutError, EOFError) as exc:
            why = str(exc) or "it says nothing"
            logger.debug("link to node %.12s ended: %s", link.peer_id, why)
        finally:
            if self._links.get(link.peer_id) is link:
                del self._links[link.peer_id]
                for noted in (self._runs, self._last_beat, self._since):
                    noted.pop(link.peer_id, None)
                self._ports.down(link)
                self._look.set()
            await link.close()
        return was_used

    def _refuse(self, link: PeerLink, hello: Hello) -> str:
        """Return why a peer may not join; "" when it may."""
        reason = self._admission.refuse(link.peer_id, hello.proof)
        other = self._links.get(link.peer_id)
        if not reason and other is not None and self._runs.get(link.peer_id) != hello.incarnation:
            silent_s = self._ports.monotonic() - self._last_beat.get(link.peer_id, 0.0)
            if silent_s < IN_USE_S:
                reason = (
                    f"its node id is in use at {other.address} as well as at {link.address}: one "
                    "is a copy of the other's state folder; remove node-key.pem from one of them"
                )
        if reason:
            self.refused.note(link.peer_id, link.address, reason)
        return reason

    async def _enter(self, link: PeerLink, hello: Hello) -> None:
        other = self._links.get(link.peer_id)
        now = self._ports.monotonic()
        if link.is_dialled:
            self._candidates.reached(link.peer_id, link.address, now)
        is_same_run = other is not None and self._runs[link.peer_id] == hello.incarnation
        if is_same_run and now - self._since[link.peer_id] < BOTH_DIAL_S:
            # both have dialled: both keep that of the lower id; later, the peer has lost its end
            lower_dialled = link.is_dialled == (self._context.node_id < link.peer_id)
            if not lower_dialled:
                raise ClusterError("there is a link already")
        self._links[link.peer_id], self._runs[link.peer_id] = link, hello.incarnation
        self._last_beat[link.peer_id] = self._since[link.peer_id] = now
        if other is not None:
            await other.close()
        named = (*_seen_at(link, hello.addresses), *scoped(hello.addresses, link.address))
        self._candidates.note(link.peer_id, named, now, self._links, AddressSource.LINK)
        self._ports.up(link)

    def _receive(self, link: PeerLink, frame: Frame) -> None:
        if not isinstance(frame, Beat):
            raise WireError("cannot read frame of a peer: not one of a control link")
        if frame.heartbeat.node_id != link.peer_id:
            raise WireError("cannot accept heartbeat: it is about another node")
        if self._links.get(link.peer_id) is link:
            self._last_beat[link.peer_id] = self._ports.monotonic()
            self._ports.beat(link, frame)

    def _note_flood(self, link: PeerLink, pace: FramePace) -> None:
        self.slowed += 1
        if pace.slowed == 1:
            logger.warning(
                "node %.12s at %s sends more than %.0f heartbeats a second: reading it slowly",
                link.peer_id,
                link.address,
                1 / FRAMES.interval_s,
            )

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        async def run() -> None:
            await work

        task = asyncio.create_task(run(), name="peer link")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _seen_at(link: PeerLink, announced: Iterable[str]) -> tuple[str, ...]:
    """Return where the peer listens, or may listen by the address that it has called from."""
    if link.is_dialled:
        return (link.address,)
    host = HostPort.parse(link.address).host
    ports = {HostPort.parse(address).port for address in announced}
    return tuple(format_address(host, port) for port in sorted(ports))
