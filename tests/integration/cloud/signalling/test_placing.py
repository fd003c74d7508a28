"""BEPs at a real relay and in a real store: a BEP that no node serves does not count."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloud.config import SignallingSettings
from cloud.errors import ProblemError
from cloud.keyring import open_keyring
from cloud.relay import Relay, RelayLimits
from cloud.relay.in_process import InProcessRelay
from cloud.signalling.placing import ENDED_PER_BEP, Grant, Placing
from cloud.signalling.unserved import UNSERVED_S
from cloud.storage.records import RelayAddress
from cloud.storage.sqlite import SqliteCloudStore
from cloud.tokens.issuer import Issuer
from protocol.preface import Preface, PrefaceRole, PrefaceStatus, encode_preface
from protocol.records import NodeRecord
from tests.aio import until

NODE = "ab" * 28


@dataclass
class Here:
    """One relay, and who places BEPs there."""

    placing: Placing
    store: SqliteCloudStore
    relay: Relay
    port: int

    async def serve(self, grant: Grant) -> asyncio.StreamWriter:
        """Connect as the node does."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(encode_preface(Preface(PrefaceRole.CONTROL, grant.token)))
        assert await reader.readexactly(1) == bytes([PrefaceStatus.ACCEPTED])
        return writer

    async def sweep(self, later_s: float = 0) -> int:
        """Sweep; return how many BEPs count."""
        await self.placing.sweep(time.time(), time.monotonic() + later_s)
        return await self.store.count_beps(time.time())


@asynccontextmanager
async def here(state: Path, bep_limit: int = 8) -> AsyncIterator[Here]:
    keyring = open_keyring(state)
    issuer = Issuer("http://cloud", keyring.signing, keyring.published(), 3600)
    store = SqliteCloudStore(state / "cloud.db")
    await store.save_node(NodeRecord(NODE, "one", "1", NODE, b"key"), 1, 10)
    relay = Relay(lambda: issuer.published, RelayLimits(grace_s=0.2, idle_s=900))
    host, port = await relay.start("127.0.0.1", 0)
    try:
        settings = SignallingSettings(bep_limit_node=bep_limit)
        placing = Placing(store, issuer, InProcessRelay(relay, RelayAddress(host, port)), settings)
        yield Here(placing, store, relay, port)
    finally:
        await relay.stop()
        store.close()


def test_the_beps_of_a_node_that_is_gone_are_freed(tmp_path: Path) -> None:  # case G7
    async def main() -> None:
        async with here(tmp_path) as it:
            controls = []
            for _ in range(8):  # all that a node may have, in one burst
                grant = await it.placing.place(NODE, 60, "run", time.time())
                controls.append(await it.serve(grant))
            assert await it.sweep() == 8
            for control in controls:
                control.close()
            await until(lambda: not it.relay.beps())
            assert await it.sweep() == 0
            await it.placing.place(NODE, 60, "run", time.time())

    asyncio.run(main())


def test_visitors_do_not_keep_the_bep_of_a_node_that_is_gone(tmp_path: Path) -> None:  # case G7
    async def main() -> None:
        async with here(tmp_path) as it:
            grant = await it.placing.place(NODE, 60, "run", time.time())
            control = await it.serve(grant)
            assert await it.sweep() == 1
            reader, visitor = await asyncio.open_connection("127.0.0.1", it.port)
            visitor.write(f"GET /{grant.bep.bep_id}/x HTTP/1.1\r\n\r\n".encode())
            control.close()
            assert (await reader.readline()).split()[1] == b"404"  # not after its 10 s of waiting
            visitor.close()
            assert await it.sweep() == 0

    asyncio.run(main())


def test_a_bep_that_nobody_comes_to_serve_is_freed(tmp_path: Path) -> None:  # case G7
    async def main() -> None:
        async with here(tmp_path) as it:
            unserved = await it.placing.place(NODE, 600, "run", time.time())
            served = await it.placing.place(NODE, 600, "run", time.time())
            control = await it.serve(served)
            assert await it.sweep() == 2
            assert await it.sweep(UNSERVED_S + 1) == 1
            assert [b.bep_id for b in await it.store.beps_of(NODE, time.time())] == [
                served.bep.bep_id
            ]
            assert unserved.bep.bep_id in await it.store.revoked_beps(time.time())
            control.close()

    asyncio.run(main())


def test_one_node_cannot_fill_the_memory_of_ended_beps(tmp_path: Path) -> None:  # case G7, its kind
    async def main() -> None:
        async with here(tmp_path, bep_limit=1) as it:
            now = time.time()
            for _ in range(ENDED_PER_BEP):
                grant = await it.placing.place(NODE, 60, "run", now)
                await it.placing.revoke(grant.bep.bep_id, NODE)
            with pytest.raises(ProblemError, match="would not have expired yet"):
                await it.placing.place(NODE, 60, "run", now)
            await it.placing.place(NODE, 60, "run", now + 61)

    asyncio.run(main())
