import asyncio
from dataclasses import replace

import pytest

from cloud.discovery.directory import NodeDirectory
from cloud.discovery.registry import NodeRegistry
from cloud.errors import ProblemError, StoreError
from cloud.tokens.access import ASSOCIATE, NODE, CloudCaller
from protocol.keys import new_node_key, new_sealing_key
from protocol.records import NodeRecord, Registration
from tests.unit.cloud.storage.memory import MemoryStore

A = new_node_key().node_id
RECORD = NodeRecord(A, "one", "1", A, new_sealing_key().public)
ITSELF = CloudCaller(A, frozenset({NODE}), A)
OWNER = CloudCaller("acc-1", frozenset({ASSOCIATE}), A)


class BrokenStore(MemoryStore):
    """A store whose writes fail."""

    async def delete_node(self, node_id: str) -> bool:
        """Fail."""
        raise StoreError(f"cannot use store: no {node_id}")


def build(store: MemoryStore) -> tuple[NodeRegistry, NodeDirectory]:
    directory = NodeDirectory(store)
    return NodeRegistry(store, directory, "https://cloud.example", node_limit=1), directory


def test_the_directory_follows_the_store() -> None:
    async def main() -> None:
        registry, directory = build(MemoryStore())
        assert not directory.is_registered(A)
        await registry.register(ITSELF, Registration(RECORD), 1.0)
        assert directory.is_registered(A)
        assert directory.account_of(A) == ""
        await registry.associate(OWNER, A)
        assert directory.account_of(A) == "acc-1"
        await registry.register(ITSELF, Registration(replace(RECORD, name="two")), 2.0)
        assert directory.account_of(A) == "acc-1"
        await registry.remove(ITSELF, A)
        assert not directory.is_registered(A)
        assert directory.account_of(A) == ""

    asyncio.run(main())


def test_the_directory_loads_what_the_store_has() -> None:
    async def main() -> None:
        store = MemoryStore()
        registry, _ = build(store)
        await registry.register(ITSELF, Registration(RECORD), 1.0)
        await registry.associate(OWNER, A)
        _, directory = build(store)
        await directory.load()
        assert len(directory) == 1
        assert directory.account_of(A) == "acc-1"

    asyncio.run(main())


def test_a_refused_node_is_not_in_the_directory() -> None:
    async def main() -> None:
        registry, directory = build(MemoryStore())
        await registry.register(ITSELF, Registration(RECORD), 1.0)
        other = new_node_key().node_id
        caller = CloudCaller(other, frozenset({NODE}), other)
        newcomer = replace(RECORD, node_id=other, supernode_id=other)
        with pytest.raises(ProblemError, match="node_limit"):
            await registry.register(caller, Registration(newcomer), 1.0)
        assert not directory.is_registered(other)

    asyncio.run(main())


def test_a_write_that_fails_leaves_the_directory_as_it_is() -> None:
    async def main() -> None:
        registry, directory = build(BrokenStore())
        await registry.register(ITSELF, Registration(RECORD), 1.0)
        with pytest.raises(StoreError):
            await registry.remove(ITSELF, A)
        assert directory.is_registered(A)

    asyncio.run(main())
