"""Real links on loopback: nodes find each other by addresses, elect, fail over, and refuse."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable

from gateway.cluster.election.heartbeat import Role
from gateway.cluster.election.machine import Election
from gateway.cluster.election.sep_agreement import SepAgreement
from gateway.cluster.links.admission import OpenAdmission, PeerAdmission, SecretAdmission
from gateway.cluster.links.candidates import Candidates
from gateway.cluster.links.link import CONTROL
from gateway.cluster.links.peering import Peering, PeeringPorts
from gateway.cluster.links.server import PeerServer
from protocol.keys import NodeKey, new_node_key
from protocol.node_tls import NodeTlsContext
from settings.secret import Secret
from tests.aio import until


class RunningNode:
    """One node's part in the election, with real sockets."""

    def __init__(
        self,
        peers: list[str],
        admission: Callable[[str], PeerAdmission],
        key: NodeKey | None = None,
    ) -> None:
        self.key = key or new_node_key()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.election = Election(self.key.node_id, time.monotonic())
        self.slept_s = 0.0  # by which its clock is ahead of what it has noticed
        self.sep = SepAgreement(self.key.node_id, time.monotonic())
        ports = PeeringPorts(
            lambda: (self.address,),
            lambda: None,
            lambda _: None,
            lambda _: None,
            lambda: self.election.heard,
            time.time,
            lambda: time.monotonic() + self.slept_s,
        )
        context = NodeTlsContext(self.key, [CONTROL])
        self.peering = Peering(
            (self.election, self.sep),
            context,
            admission(self.key.node_id),
            Candidates(self.key.node_id, [p for p in peers if p != self.address]),
            ports,
        )
        server = PeerServer(context, {CONTROL: self.peering.links.serve})
        self.tasks = [
            asyncio.create_task(server.run([self.listener])),
            asyncio.create_task(self.peering.run()),
        ]

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.listener.close()


@contextlib.asynccontextmanager
async def cluster(
    count: int, admission: Callable[[str], PeerAdmission] = lambda _: OpenAdmission()
) -> AsyncIterator[list[RunningNode]]:
    first = RunningNode([], admission)
    nodes = [first] + [RunningNode([first.address], admission) for _ in range(count - 1)]
    try:
        yield nodes
    finally:
        for node in nodes:
            await node.end()


def agree(nodes: list[RunningNode]) -> bool:
    leaders = [n for n in nodes if n.election.role is Role.SUPERNODE]
    return len(leaders) == 1 and all(
        n.election.supernode_id == leaders[0].key.node_id for n in nodes
    )


def test_nodes_elect_one_supernode_and_replace_it() -> None:
    async def run() -> None:
        async with cluster(4) as nodes:
            await until(lambda: agree(nodes))
            leader = next(n for n in nodes if n.election.role is Role.SUPERNODE)
            others = [n for n in nodes if n is not leader]
            await until(lambda: len(leader.election.members()) == 3)
            await until(lambda: all(len(n.election.successors()) == 3 for n in others))
            await leader.end()
            nodes.remove(leader)
            await until(lambda: agree(nodes))
            assert max(n.election.claim.epoch for n in nodes) >= 2

    asyncio.run(run())


def test_a_node_without_the_secret_is_refused_with_the_reason() -> None:
    async def run() -> None:
        def knows(node_id: str) -> PeerAdmission:
            return SecretAdmission(node_id, [Secret("blue")])

        async with cluster(2, knows) as nodes:
            await until(lambda: agree(nodes))
            stranger = RunningNode(
                [nodes[0].address], lambda node_id: SecretAdmission(node_id, [Secret("red")])
            )
            await until(lambda: bool(nodes[0].peering.links.refused.all()))
            refused = nodes[0].peering.links.refused.all()[0]
            assert refused.node_id == stranger.key.node_id
            assert "secret" in refused.reason
            await until(lambda: stranger.election.role is Role.SUPERNODE)
            assert agree(nodes)
            await stranger.end()

    asyncio.run(run())


# case N5
def test_a_copied_key_is_refused_with_both_addresses() -> None:
    async def run() -> None:
        async with cluster(3) as nodes:
            await until(lambda: agree(nodes))
            leader = next(n for n in nodes if n.election.role is Role.SUPERNODE)
            victim = next(n for n in nodes if n is not leader)
            await until(lambda: len(leader.election.members()) == 2)
            copy = RunningNode([leader.address], lambda _: OpenAdmission(), victim.key)
            await until(lambda: bool(leader.peering.links.refused.all()))
            reason = leader.peering.links.refused.all()[0].reason
            assert "is in use at" in reason
            assert "node-key.pem" in reason
            await until(lambda: agree(nodes))  # a busy machine may delay a heartbeat
            assert leader.election.role is Role.SUPERNODE
            await copy.end()

    asyncio.run(run())


def test_a_planned_stop_hands_over() -> None:
    async def run() -> None:
        async with cluster(3) as nodes:
            await until(lambda: agree(nodes))
            leader = next(n for n in nodes if n.election.role is Role.SUPERNODE)
            await until(lambda: len(leader.election.members()) == 2)
            async with asyncio.timeout(3):
                await leader.peering.leave()
            assert leader.election.role is Role.MEMBER
            await until(lambda: agree(nodes))

    asyncio.run(run())


# case N7
def test_a_supernode_that_has_slept_learns_it_before_it_does_anything() -> None:
    async def run() -> None:
        async with cluster(3) as nodes:
            await until(lambda: agree(nodes))
            leader = next(n for n in nodes if n.election.role is Role.SUPERNODE)
            await until(lambda: len(leader.election.members()) == 2)
            leader.peering.wake()
            assert leader.election.leads
            leader.slept_s = 30.0  # SIGSTOP, then SIGCONT; nothing else has run since
            leader.peering.wake()
            assert not leader.election.leads
            assert leader.sep.claim.holder_id == ""
            await until(lambda: agree(nodes))

    asyncio.run(run())
