"""Keeps the account of every node in memory, for the broker's path.

The broker asks for rights within one iteration of the event loop, so that the answer must be at
hand. Theory of operation:

1. load() reads the store once, before the broker starts: stored subscriptions are checked then.
2. The registry is the only writer of nodes and accounts. It changes the directory after the store
   has confirmed a change, and the broker checks all rights again after that.
3. The size is bounded by the number of nodes that the store admits ([mds] node_limit).

With several replicas the adapter of the store calls load() again when another replica has written.
"""

from cloud.storage.ports import NodeStore


class NodeDirectory:
    """Maps the ids of registered nodes to their accounts."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store
        self._accounts: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    async def load(self) -> None:
        """Read all nodes from the store."""
        self._accounts = await self._store.node_accounts()

    def is_registered(self, node_id: str) -> bool:
        """Return whether a node is registered."""
        return node_id in self._accounts

    def account_of(self, node_id: str) -> str:
        """Return the account a node belongs to, "" for none."""
        return self._accounts.get(node_id, "")

    def put(self, node_id: str, account_id: str) -> None:
        """Record the account of a node that is registered."""
        self._accounts[node_id] = account_id

    def remove(self, node_id: str) -> None:
        """Delete a node; harmless for one that is not there."""
        self._accounts.pop(node_id, None)
