"""Nodes whose credentials end: new links are refused, old ones end, a new credential mends it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from joserfc.jwk import ECKey, KeySet

from gateway.cluster.links.admission import AccountAdmission
from protocol.cluster_credentials import ANY_TIME, VALID_S, read_credential, sign_credential
from tests.aio import until
from tests.integration.gateway.cluster.links.test_peering import RunningNode, agree

ACCOUNT = "acc-0123456789abcdef"
BEGIN = 1_790_000_000.0
DAY_S = 86_400.0


class World:
    """The time, the cloud's key, and the credentials of some nodes."""

    def __init__(self) -> None:
        self.now = BEGIN
        self._signing = ECKey.generate_key("P-256")
        self._keys = KeySet([self._signing])
        self._credentials: dict[str, str] = {}

    def admission(self, node_id: str) -> AccountAdmission:
        self.renew(node_id)
        return AccountAdmission(
            lambda: ACCOUNT,
            lambda: self._credentials[node_id],
            lambda text: read_credential(text, self._keys, ANY_TIME),
            lambda: self.now,
        )

    def renew(self, node_id: str) -> None:
        self._credentials[node_id] = sign_credential(node_id, ACCOUNT, self._signing, self.now)


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[tuple[World, RunningNode, RunningNode]]:
    """Give two linked nodes."""
    world = World()
    one = RunningNode([], world.admission)
    other = RunningNode([one.address], world.admission)
    try:
        await until(lambda: agree([one, other]))
        yield world, one, other
    finally:
        await other.end()
        await one.end()


def linked(one: RunningNode, other: RunningNode) -> bool:
    ids = (one.key.node_id, other.key.node_id)
    return ids[1] in one.peering.links.linked and ids[0] in other.peering.links.linked


def reasons(node: RunningNode) -> str:
    return "; ".join(each.reason for each in node.peering.links.refused.all())


def test_a_link_ends_after_day_31_and_both_sides_name_the_reason() -> None:
    async def run() -> None:
        async with pair() as (world, old, fresh):
            world.now += VALID_S + DAY_S  # without the cloud
            world.renew(fresh.key.node_id)
            assert linked(old, fresh)
            await fresh.peering.links.recheck()
            await until(lambda: "has ended on 2026-" in reasons(fresh))
            await until(lambda: "it refuses this node, because: its credential" in reasons(old))
            await until(lambda: not linked(old, fresh))
            # new links: the candidates are tried again and again
            await until(lambda: fresh.peering.links.refused.all()[0].times >= 3)
            assert len(fresh.peering.links.refused.all()) == 1
            world.renew(old.key.node_id)  # the cloud is back; nothing is restarted
            await until(lambda: agree([old, fresh]), timeout_s=20)

    asyncio.run(run())


def test_a_renewed_credential_is_shown_over_the_link_that_is_there() -> None:
    async def run() -> None:
        async with pair() as (world, one, other):
            link = other.peering.links.linked[one.key.node_id]
            shown = link.peer_proof
            world.now += VALID_S - DAY_S
            for node in (one, other):
                world.renew(node.key.node_id)
                await node.peering.links.recheck()
            back = one.peering.links.linked[other.key.node_id]
            await until(lambda: link.peer_proof != shown and back.peer_proof != shown)
            world.now += VALID_S - DAY_S
            for node in (one, other):
                await node.peering.links.recheck()
            assert other.peering.links.linked[one.key.node_id] is link
            assert reasons(one) == reasons(other) == ""

    asyncio.run(run())


# case N8
def test_a_node_of_1970_is_admitted() -> None:
    async def run() -> None:
        world = World()
        good = RunningNode([], world.admission)
        slept = World()
        slept._signing, slept._keys = world._signing, world._keys
        unset = RunningNode([good.address], slept.admission)
        slept.now = 60.0
        try:
            await until(lambda: agree([good, unset]))
        finally:
            await unset.end()
            await good.end()

    asyncio.run(run())
