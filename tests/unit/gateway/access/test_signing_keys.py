"""The cached keys of the cloud: damaged on disk, rotated, of kinds that this node does not know."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from gateway.access.tokens import REFRESH_S, AccessTokens
from gateway.app_cluster import load_credential, load_election
from gateway.config import ClusterSettings
from gateway.node.account import Account
from gateway.storage.gateway_file import gateway_database
from gateway.storage.settings import SettingsStore
from protocol.cluster_credentials import read_credential, sign_credential
from protocol.errors import TokenError
from tests.aio import until

NODE, ACCOUNT, NOW = "ab" * 28, "acc", 1_790_000_000.0
OLD, NEW = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")


def published(*keys: ECKey, more: tuple[object, ...] = ()) -> dict[str, Any]:
    return {"keys": [*(key.as_dict(private=False) for key in keys), *more]}


class Cloud:
    def __init__(self) -> None:
        self.keys: Mapping[str, Any] = published(OLD)
        self.asked = 0
        self.now = 0.0

    async def fetch(self) -> Mapping[str, Any]:
        self.asked += 1
        return self.keys


@asynccontextmanager
async def store(folder: Path) -> AsyncIterator[SettingsStore]:
    database = gateway_database(folder)
    await database.open()
    try:
        yield SettingsStore(database)
    finally:
        await database.close()


def tokens_of(settings: SettingsStore, cloud: Cloud) -> AccessTokens:
    account = Account(settings)
    return AccessTokens(NODE, account, settings, cloud.fetch, lambda: NOW, lambda: cloud.now)


def accepts(tokens: AccessTokens, key: ECKey) -> bool:
    try:
        assert tokens.keys is not None
        read_credential(sign_credential(NODE, ACCOUNT, key, NOW), tokens.keys, NOW)
    except TokenError:
        return False
    return True


@pytest.mark.parametrize(
    "stored",
    [b"{", b"\xff\xfe", b"[]", b"null", b'{"keys": {}}', b'{"keys": ["x", 1, {}]}', b"[" * 100_000,
     json.dumps(published(OLD)).encode()[:-20]],
)  # fmt: skip
def test_a_damaged_cache_of_keys_is_fetched_anew(tmp_path: Path, stored: bytes) -> None:
    async def run() -> None:
        async with store(tmp_path) as settings:
            await settings.save({"signing keys": stored})
            cloud = Cloud()
            tokens = tokens_of(settings, cloud)
            await tokens.load()
            assert tokens.keys is None
            assert await tokens.refresh()
            assert accepts(tokens, OLD)
            again = tokens_of(settings, Cloud())
            await again.load()
            assert accepts(again, OLD)

    asyncio.run(run())


def test_both_keys_count_while_the_cloud_rotates_them_and_unknown_kinds_are_left_out(
    tmp_path: Path,
) -> None:
    later = ({"kty": "AKP", "alg": "ML-DSA-65", "pub": "AA"}, {"kty": "EC", "crv": "P-256"}, 7)

    async def run() -> None:
        async with store(tmp_path) as settings:
            cloud = Cloud()
            cloud.keys = published(OLD, NEW, more=later)
            tokens = tokens_of(settings, cloud)
            assert await tokens.refresh()
            assert accepts(tokens, OLD)
            assert accepts(tokens, NEW)

    asyncio.run(run())


def test_a_key_that_is_not_known_is_asked_for_at_most_once_a_minute(tmp_path: Path) -> None:
    async def run() -> None:
        async with store(tmp_path) as settings:
            cloud = Cloud()
            tokens = tokens_of(settings, cloud)
            await tokens.refresh()
            cloud.keys = published(NEW)
            cloud.now = REFRESH_S + 1.0
            for _ in range(50):
                tokens.refresh_soon()
            await until(lambda: accepts(tokens, NEW))
            tokens.refresh_soon()
            await asyncio.sleep(0)
            assert cloud.asked == 2
            await tokens.refresh()

    asyncio.run(run())


@pytest.mark.parametrize("stored", [b"", b"x", b"-1", b"1e9", b"\xff", b"9" * 400])
def test_a_damaged_state_of_the_cluster_does_not_keep_a_node_from_starting(
    tmp_path: Path, stored: bytes
) -> None:
    async def run() -> None:
        async with store(tmp_path) as settings:
            names = ("cluster-epoch", "cluster credential", "account id")
            await settings.save(dict.fromkeys(names, stored))
            election = await load_election(NODE, settings, ClusterSettings())
            assert election.claim.epoch == 0
            account = Account(settings)
            await account.load()
            tokens = tokens_of(settings, Cloud())
            await tokens.refresh()
            node: Any = type("OnlyIds", (), {"node_id": NODE, "account": account})
            credential = await load_credential(node, settings, tokens, lambda: NOW)
            assert credential.read() is None

    asyncio.run(run())
