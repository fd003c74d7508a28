"""Exchanges records and SEP envelopes between the supernode and its members. Does I/O.

Each member keeps one data connection to its supernode, beside the control link, so that a large
envelope never delays a heartbeat. It sends its record when that changes, and asks for the records
of others when somebody wants to see them.
"""

import asyncio
import contextlib
import logging
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.backoff import delays
from gateway.cluster.links.admission import PeerAdmission
from gateway.cluster.links.frames import (
    Frame,
    Hello,
    NotAdmitted,
    OwnRecord,
    RecordChanges,
    RecordCount,
    RecordQuery,
    SepMessage,
    Vouch,
    VouchRequest,
)
from gateway.cluster.links.link import PeerLink, dial
from gateway.cluster.links.pace import FramePace
from gateway.cluster.links.recheck import recheck, recheck_for_ever
from gateway.cluster.records.directory import Copy, Directory, NodeCounts
from gateway.errors import ClusterError
from gateway.limits.token_bucket import Rate
from protocol.errors import ContractError, WireError
from protocol.memberships import SepClaim
from protocol.node_tls import NodeTlsCodec, NodeTlsContext
from protocol.records import NodeRecord

logger = logging.getLogger(__name__)

DATA = "hecate-data/1"  # ALPN
RETRY_FIRST_S, RETRY_CAP_S = 0.2, 5.0  # a thousand members come to a new supernode at once
REGISTRATION_S = 5.0  # for members to come to a new supernode, which knows them from the old one
ANSWER_S = 1.0  # for the records; the copy is used after it
ALL_AT_HAND = 16  # nodes; a member of a larger cluster asks for records when somebody wants them
FRAMES = Rate(burst=40, interval_s=0.1)  # of one member: records and queries
ANSWERS_LIMIT_BYTES = 128 * 1024  # unread by a member; further queries have no answer
SEP_QUEUE_BYTES = 2 * 1024 * 1024  # of output that a peer has not taken; more is refused


@dataclass(frozen=True, slots=True)
class ExchangePorts:
    """The functions of the cluster that the exchange calls."""

    hello: Callable[[], Hello]
    own_record: Callable[[], str]  # signed
    supernode: Callable[[], tuple[str, tuple[str, ...]]]  # its id and addresses; ("", ()): none
    leads: Callable[[], bool]
    stored: Callable[[str, str], None]  # at the supernode: a node id and its record; "": withdrawn
    claim: Callable[[], SepClaim]  # of the SEP, as this node knows it
    holds: Callable[[str, SepClaim], bool]  # true: the SEP, by this claim of that supernode
    vouch: Callable[[str, SepClaim], str]  # this node's statement that it forwards to a node
    vouched: Callable[[str], None]  # the SEP holder's statement about this node
    sep: Callable[[str, SepMessage], None]  # from a peer


class RecordExchange:
    """The data connections of this node: to its supernode, or from its members."""

    def __init__(
        self,
        context: NodeTlsContext,
        admission: PeerAdmission,
        directory: Directory,
        ports: ExchangePorts,
    ) -> None:
        self._context, self._admission = context, admission
        self._directory, self._ports = directory, ports
        self._copy = Copy(context.node_id)
        self._members: dict[str, PeerLink] = {}
        self._upward: PeerLink | None = None
        self._led = False
        self._moved = asyncio.Event()
        self._answered = asyncio.Event()  # the last part of the records has come
        self.registered_at = ""  # the supernode that has this member's record
        self._counts = NodeCounts()
        self.slowed = 0  # frames of members that send too many
        self.unanswered = 0  # queries of members that do not read

    # All roles --------------------------------------------------------------------------------

    def publish(self) -> None:
        """Store the record of this node, and send it to the supernode."""
        signed = self._ports.own_record()
        self._store(signed, self._context.node_id)
        if self._upward is not None:
            self._upward.send(OwnRecord(signed))
        elif self._ports.leads():
            self._vouch_for(self._context.node_id)

    @property
    def members(self) -> frozenset[str]:
        """The members with a data connection to this node, the supernode."""
        return frozenset(self._members)

    @property
    def told_count(self) -> int:
        """The number of nodes that the supernode has told; after a take-over, the former one."""
        return self._counts.largest

    def waiting_bytes(self) -> int:
        """Return the bytes that members have not taken."""
        return sum(link.waiting_bytes for link in self._members.values())

    def supernode_changed(self) -> None:
        """Connect to the new supernode, or stop being a member."""
        self._moved.set()

    async def records(self) -> list[NodeRecord]:
        """Return the records of all nodes; those of the last time when nobody answers."""
        upward = self._upward
        if upward is not None:
            self._answered.clear()
            upward.send(RecordQuery(self._copy.version))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_S):
                    await self._answered.wait()
        return self._directory.records()

    def send_sep(self, peer_id: str, message: SepMessage) -> bool:
        """Send an envelope to a member or to the supernode; return False when it cannot go."""
        upward = self._upward
        is_upward = upward is not None and upward.peer_id == peer_id
        link = upward if is_upward else self._members.get(peer_id)
        if link is None or link.waiting_bytes > SEP_QUEUE_BYTES:
            return False
        link.send(message)
        return True

    def cut(self, peer_id: str) -> None:
        """End the connection of a peer whose heartbeats have stopped: its end will not be told."""
        upward = self._upward
        for link in (self._members.get(peer_id), upward):
            if link is not None and link.peer_id == peer_id:
                link.cut()

    async def recheck(self) -> None:
        """Show renewed proofs, and end connections whose peer's proof has expired."""
        links = list(self._members.values())
        if self._upward is not None:
            links.append(self._upward)
        await recheck(links, self._own_hello, self._admission)  # the other links tell who

    async def run(self) -> None:
        """Stay connected to the supernode of the moment, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_supernode())
            group.create_task(recheck_for_ever(self.recheck))

    async def _follow_supernode(self) -> None:
        rng = random.Random()  # noqa: S311  # spreads attempts
        waits = delays(RETRY_FIRST_S, RETRY_CAP_S, rng)
        while True:
            self._moved.clear()
            self._note_role()
            supernode_id, addresses = self._ports.supernode()
            if self._ports.leads() or not addresses:
                await self._wait(REGISTRATION_S)
                if not self._moved.is_set() and self._ports.leads():
                    self._drop_absent()
                waits = delays(RETRY_FIRST_S, RETRY_CAP_S, rng)
                continue
            if await self._follow_until_moved(supernode_id, addresses):
                waits = delays(RETRY_FIRST_S, RETRY_CAP_S, rng)
            await self._wait(next(waits))

    def _note_role(self) -> None:
        """Start afresh after a change of the role.

        A supernode changes the directory by itself, so that it has no version of another's any
        more. A node that is no supernode any more withdraws what it has published of others.
        """
        led, self._led = self._led, self._ports.leads()
        if self._led:
            self._copy = Copy(self._context.node_id)
        elif led:
            for record in self._directory.records():
                if record.node_id != self._context.node_id:
                    self._ports.stored(record.node_id, "")

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._moved.wait()

    # As a member ------------------------------------------------------------------------------

    async def _follow_until_moved(self, supernode_id: str, addresses: tuple[str, ...]) -> bool:
        """Be connected until the connection ends or another is supernode; False: never was."""
        following = asyncio.create_task(self._follow(supernode_id, addresses))
        moved = asyncio.create_task(self._moved.wait())
        try:
            await asyncio.wait({following, moved}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (following, moved):
                task.cancel()
            results = await asyncio.gather(following, moved, return_exceptions=True)
        return results[0] is True or self._moved.is_set()

    async def _follow(self, supernode_id: str, addresses: tuple[str, ...]) -> bool:
        """Return whether there was a connection."""
        link: PeerLink | None = None
        try:
            sock, codec, address = await dial(addresses, supernode_id, self._context, DATA)
            link = PeerLink(sock, codec, address, dialled=True)
            hello = await link.open(self._own_hello(supernode_id))
            if reason := self._admission.refuse(supernode_id, hello.proof):
                link.send(NotAdmitted(reason))
                return False
            self._upward = link
            link.send(OwnRecord(self._ports.own_record()))
            async for frame in link.frames():
                self._take_from_supernode(supernode_id, frame)
        except (ClusterError, ContractError, OSError, TimeoutError, EOFError) as exc:
            logger.debug("supernode %.12s gives no records: %s", supernode_id, exc or "no answer")
        finally:
            was_connected, self._upward = self._upward is not None, None
            self.registered_at = ""
            if link is not None:
                await link.close()
        return was_connected

    def _take_from_supernode(self, supernode_id: str, frame: Frame) -> None:
        match frame:
            case RecordChanges():
                if self._copy.take(frame, self._directory):
                    self._answered.set()
            case Vouch():
                self._ports.vouched(frame.statement)
            case RecordCount():
                self.registered_at = supernode_id
                self._counts.note(supernode_id, frame.count)
                if self._upward is not None and frame.count <= ALL_AT_HAND:
                    self._upward.send(RecordQuery(self._copy.version))
            case VouchRequest():
                if self._upward is not None and self._ports.holds(supernode_id, frame.claim):
                    statement = self._ports.vouch(frame.node_id, frame.claim)
                    self._upward.send(Vouch(statement, frame.node_id))
            case SepMessage():
                self._ports.sep(supernode_id, frame)
            case _:
                raise WireError("cannot read frame of a peer: not one of a data connection")

    # As the supernode -------------------------------------------------------------------------

    async def serve(self, sock: socket.socket, codec: NodeTlsCodec, address: str) -> None:
        """Serve a member's data connection until it ends."""
        link = PeerLink(sock, codec, address, dialled=False)
        try:
            hello = await link.open(self._own_hello(link.peer_id))
            reason = self._admission.refuse(link.peer_id, hello.proof)
            if not reason and not self._ports.leads():
                reason = "this node is not the supernode"
            if reason:
                link.send(NotAdmitted(reason))
                return
            former = self._members.get(link.peer_id)
            self._members[link.peer_id] = link
            if former is not None:
                await former.close()
            pace = FramePace(FRAMES)
            async for frame in link.frames():
                self._take_from_member(link, frame)
                if not isinstance(frame, SepMessage):  # the bytes of SEP messages are bounded
                    await self._slow_down(link, pace)
        except (ClusterError, ContractError, OSError, TimeoutError, EOFError) as exc:
            logger.debug("data connection of node %.12s ended: %s", link.peer_id, exc)
        finally:
            if self._members.get(link.peer_id) is link:  # else a newer one is in its place
                del self._members[link.peer_id]
                if self._ports.leads() and self._directory.drop(link.peer_id):
                    self._ports.stored(link.peer_id, "")
            await link.close()

    def _take_from_member(self, link: PeerLink, frame: Frame) -> None:
        match frame:
            case OwnRecord():
                self._store(frame.signed, link.peer_id)
                self._vouch_for(link.peer_id)
                link.send(RecordCount(len(self._directory)))
            case Vouch():
                if self._ports.leads() and self._ports.claim().holder_id == link.peer_id:
                    self._pass_statement(frame.node_id, frame.statement)
            case RecordQuery() if link.waiting_bytes <= ANSWERS_LIMIT_BYTES:
                for part in self._directory.changes(frame.since):
                    link.send(part)
            case RecordQuery():
                self.unanswered += 1
            case SepMessage():
                self._ports.sep(link.peer_id, frame)
            case _:
                raise WireError("cannot read frame of a peer: not one of a data connection")

    def _vouch_for(self, node_id: str) -> None:
        """Get a node the statement of the SEP holder: of this node, or of a member."""
        if not self._ports.leads():  # a pause has ended its role
            return
        claim = self._ports.claim()
        if claim.holder_id == self._context.node_id:
            self._pass_statement(node_id, self._ports.vouch(node_id, claim))
        elif claim.holder_id != node_id and claim.holder_id in self._members:
            self._members[claim.holder_id].send(VouchRequest(node_id, claim))

    def _pass_statement(self, node_id: str, statement: str) -> None:
        """Give a node a statement; it checks that it is its SEP holder's, about itself."""
        if node_id == self._context.node_id:
            self._ports.vouched(statement)
        elif node_id in self._members:
            self._members[node_id].send(Vouch(statement))

    async def _slow_down(self, link: PeerLink, pace: FramePace) -> None:
        delay_s = pace.delay_s(time.monotonic())
        if delay_s:
            self.slowed += 1
            if pace.slowed == 1:
                logger.warning(
                    "node %.12s at %s sends more than %.0f records and queries a second: "
                    "reading it slowly",
                    link.peer_id,
                    link.address,
                    1 / FRAMES.interval_s,
                )
        await asyncio.sleep(delay_s)

    def _drop_absent(self) -> None:
        """Withdraw the nodes that have not registered since this node became the supernode."""
        here = self._members.keys() | {self._context.node_id}
        for record in self._directory.records():
            if record.node_id not in here and self._directory.drop(record.node_id):
                self._ports.stored(record.node_id, "")

    def _store(self, signed: str, sender_id: str) -> None:
        record = self._directory.put(signed, sender_id)
        if record is not None:
            self._ports.stored(record.node_id, signed)

    def _own_hello(self, peer_id: str) -> Hello:
        return replace(self._ports.hello(), proof=self._admission.prove(peer_id))
