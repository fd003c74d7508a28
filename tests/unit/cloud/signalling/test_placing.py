import asyncio
from dataclasses import replace

import pytest
from joserfc.jwk import ECKey, KeySet

from cloud.config import SignallingSettings
from cloud.errors import ProblemError
from cloud.signalling.placing import Placing, choose_ttl, describe
from cloud.storage.records import Bep, RelayAddress
from cloud.tokens.issuer import Issuer
from protocol.records import NodeRecord
from tests.unit.cloud.storage.memory import MemoryStore

SETTINGS = SignallingSettings()


@pytest.mark.parametrize(("asked", "given"), [(None, 3600.0), (1.0, 1.0), (86_400.0, 86_400.0)])
def test_ttl(asked: float | None, given: float) -> None:
    assert choose_ttl(asked, SETTINGS) == given


@pytest.mark.parametrize("asked", [0.0, -1.0, 86_401.0, float("inf"), float("nan")])
def test_ttl_out_of_range(asked: float) -> None:
    with pytest.raises(ProblemError, match="from 1 to 86400"):
        choose_ttl(asked, SETTINGS)


def test_ttl_limit_is_a_setting() -> None:
    with pytest.raises(ProblemError):
        choose_ttl(11, replace(SETTINGS, bep_ttl_limit_s=10.0, bep_ttl_s=5.0))


def test_description_has_the_url_for_visitors() -> None:
    bep = Bep("x" * 22, "a" * 56, RelayAddress("::1", 8443), 5.0)
    assert describe(bep)["url"] == f"http://[::1]:8443/{'x' * 22}"


class PlayedRelay:
    """A relay in another process; implements RelayPort."""

    def __init__(self) -> None:
        self.address = RelayAddress("relay.example", 443, tls=True)
        self.beps: set[str] = set()
        self.revoked: list[str] = []

    async def revoke(self, bep_id: str) -> None:
        await asyncio.sleep(0)
        self.beps.discard(bep_id)
        self.revoked.append(bep_id)

    async def served(self) -> frozenset[str]:
        await asyncio.sleep(0)
        return frozenset(self.beps)


def test_beps_are_placed_and_ended_at_a_relay_elsewhere() -> None:
    async def main() -> None:
        store, relay = MemoryStore(), PlayedRelay()
        signing = ECKey.generate_key("P-256")
        issuer = Issuer("https://cloud.example", signing, KeySet([signing]), 600.0)
        placing = Placing(store, issuer, relay, SETTINGS)
        node = NodeRecord("a" * 56, "one", "1", "a" * 56, b"key")
        await store.save_node(node, 1.0, 10)
        grants = [await placing.place(node.node_id, None, "run", 1.0) for _ in range(3)]
        ids = [grant.bep.bep_id for grant in grants]
        assert all(grant.bep.relay == relay.address for grant in grants)
        relay.beps.update(ids)
        await placing.sweep(1.0, 1.0)
        assert relay.revoked == []
        relay.beps.discard(ids[0])
        await placing.sweep(1.0, 2.0)
        assert relay.revoked == [ids[0]], "it had been served, and is no longer"
        await store.delete_node(node.node_id)
        await placing.sweep(1.0, 3.0)
        assert sorted(relay.revoked) == sorted(ids), "their node is deleted"

    asyncio.run(main())
