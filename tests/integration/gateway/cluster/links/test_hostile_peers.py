"""Members that flood, lie or replay: bounded, counted, told once; the others notice nothing."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from benchmarks.cluster.members import SimulatedMember
from gateway.cluster.election.heartbeat import EPOCH_LIMIT, Heartbeat, Role, RoleClaim
from gateway.cluster.election.rank import Rank
from gateway.cluster.links.admission import SecretAdmission
from gateway.cluster.links.frames import (
    Beat,
    DirectoryVersion,
    Frame,
    Hello,
    OwnRecord,
    RecordQuery,
)
from gateway.cluster.links.link import CONTROL, PeerLink, dial
from gateway.cluster.links.peer_links import FRAMES
from gateway.cluster.network import WaysToPeers
from gateway.cluster.records.exchange import DATA
from protocol.keys import NodeKey, new_node_key, new_sealing_key
from protocol.node_tls import NodeTlsContext
from protocol.records import NodeRecord, sign_record
from settings.secret import Secret
from tests.aio import until

SECRET = Secret("a secret of the cluster")
SEALING = new_sealing_key().public
FLOOD = 20_000


class Attacker:
    """An admitted member that sends what it likes."""

    def __init__(self, key: NodeKey | None = None) -> None:
        self.key = key or new_node_key()
        self.node_id = self.key.node_id
        self.link: PeerLink

    async def connect(self, to: SimulatedMember, protocol: str) -> None:
        context = NodeTlsContext(self.key, (CONTROL, DATA))
        address = f"127.0.0.1:{to.network.port}"
        sock, codec, place = await dial((address,), to.node_id, context, protocol)
        self.link = PeerLink(sock, codec, place, dialled=True)
        proof = SecretAdmission(self.node_id, [SECRET]).prove(to.node_id)
        await self.link.open(Hello(bytes(16), proof))

    def beat(self, of: str = "", number: int = 0) -> Beat:
        claim = RoleClaim(number)
        return Beat(Heartbeat(of or self.node_id, Role.LISTENING, claim, Rank(capability=0)))

    def record(self, signer: NodeKey | None = None, name: str = "x") -> str:
        record = NodeRecord(self.node_id, name, "1", self.node_id, SEALING)
        return sign_record(record, signer or self.key, time.time())

    async def flood(self, frame: Frame, is_slowed: Callable[[], bool]) -> None:
        """Send a frame as fast as the other end reads, until it reads slowly."""
        sent = 0

        def send_some() -> bool:
            nonlocal sent
            while sent < FLOOD and self.link.waiting_bytes < 64 * 1024:
                self.link.send(frame)
                sent += 1
            return is_slowed()

        await until(send_some, "it reads slowly")

    async def is_cut(self) -> bool:
        try:
            async with asyncio.timeout(5):
                async for _ in self.link.frames():
                    pass
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def cluster() -> AsyncIterator[tuple[SimulatedMember, SimulatedMember]]:
    """Give a supernode and an honest member of it."""
    first = SimulatedMember(SECRET, WaysToPeers(by_multicast=False), SEALING)
    tasks = [asyncio.create_task(first.run(0.0))]
    try:
        await until(lambda: first.leads)
        ways = WaysToPeers((f"127.0.0.1:{first.network.port}",), by_multicast=False)
        member = SimulatedMember(SECRET, ways, SEALING)
        tasks.append(asyncio.create_task(member.run(0.0)))
        await until(lambda: member.network.exchange.registered_at == first.node_id)
        yield first, member
        assert first.leads
        assert member.network.exchange.registered_at == first.node_id
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_a_flood_of_heartbeats_is_read_slowly_and_others_are_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        async with cluster() as (leader, member):
            attacker = Attacker()
            await attacker.connect(leader, CONTROL)
            began = time.monotonic()
            await attacker.flood(
                attacker.beat(), lambda: leader.network.counters()["framesSlowed"] > 0
            )
            assert member.network.exchange.registered_at == leader.node_id
            heard_s = time.monotonic() - began
            assert leader.network.peering.links.slowed <= 1 + heard_s / FRAMES.interval_s
            assert FRAMES.burst < FLOOD / 10
            await attacker.link.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    told = [r.getMessage() for r in caplog.records if "heartbeats a second" in r.getMessage()]
    assert len(told) == 1


def test_a_member_that_asks_and_does_not_read_gets_no_memory() -> None:
    async def run() -> None:
        async with cluster() as (leader, _member):
            for _ in range(400):  # records that make an answer large
                key = new_node_key()
                name = "n" * 60
                record = NodeRecord(key.node_id, name, "1" * 60, key.node_id, SEALING)
                leader.directory.put(sign_record(record, key, time.time()))
                await asyncio.sleep(0)  # a supernode that stands still steps down
            attacker = Attacker()
            await attacker.connect(leader, DATA)
            attacker.link.send(OwnRecord(attacker.record()))
            query = RecordQuery(DirectoryVersion(b"other", 0))
            await attacker.flood(query, lambda: leader.network.counters()["framesSlowed"] > 0)
            assert leader.network.exchange.waiting_bytes() < 2_000_000
            await attacker.link.close()

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["wrong key", "replayed", "malformed"])
def test_a_record_that_is_not_the_senders_ends_its_connection(kind: str) -> None:
    async def run() -> None:
        async with cluster() as (leader, member):
            attacker, victim = Attacker(), Attacker()
            await attacker.connect(leader, DATA)
            signed = {
                "wrong key": attacker.record(signer=victim.key),
                "replayed": next(  # of an honest member, as the supernode has it
                    each for each in leader.directory.signed() if each != ""
                ),
                "malformed": "e30.e30.e30",
            }[kind]
            before = {r.node_id: r for r in leader.directory.records()}
            attacker.link.send(OwnRecord(signed))
            assert await attacker.is_cut()
            assert {r.node_id: r for r in leader.directory.records()} == before
            assert member.node_id in before
            await attacker.link.close()

    asyncio.run(run())


def test_a_member_that_claims_the_last_epoch_ends_no_cluster() -> None:
    async def run() -> None:
        async with cluster() as (leader, member):
            attacker = Attacker()
            await attacker.connect(leader, CONTROL)
            await until(lambda: attacker.node_id in leader.network.peering.links.linked)
            lie = attacker.beat(number=EPOCH_LIMIT)
            hears = frozenset({leader.node_id})
            attacker.link.send(replace(lie, heartbeat=replace(lie.heartbeat, hears=hears)))
            await until(lambda: leader.epoch == member.epoch == EPOCH_LIMIT)
            await attacker.link.close()

    asyncio.run(run())


def test_a_heartbeat_about_another_node_ends_the_link() -> None:
    async def run() -> None:
        async with cluster() as (leader, member):
            attacker = Attacker()
            await attacker.connect(leader, CONTROL)
            lie = attacker.beat(of=member.node_id, number=10**6)
            attacker.link.send(replace(lie, addresses={}))
            assert await attacker.is_cut()
            assert leader.epoch < 10**6
            await attacker.link.close()

    asyncio.run(run())
