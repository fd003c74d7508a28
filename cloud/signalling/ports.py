"""Defines what signalling needs of a broker, of a relay and of a store."""

from collections.abc import Callable
from typing import Protocol

from broker import Identity, Message, Reason
from cloud.storage.ports import BepStore, NodeStore
from cloud.storage.records import RelayAddress


class SepClient(Protocol):
    """The connection of a replica to the broker."""

    def subscribe(self, topic_filter: str, receive: Callable[[Message], None]) -> None:
        """Receive every message whose topic matches a filter."""

    def publish_unstored(self, topic: str, payload: bytes, expiry_s: float) -> None:
        """Publish at QoS 1 a message that need not survive a restart."""

    def notify_of_disconnects(self, notify: Callable[[Identity, Reason | None], None]) -> None:
        """Call a function with each identity that disconnects, and its reason."""

    def close(self) -> None:
        """Stop receiving."""


class SepBroker(Protocol):
    """The broker to which supernodes are connected. Each answer is at hand, without I/O."""

    def open_client(self, name: str) -> SepClient:
        """Return a client, to which no rights apply."""

    def is_connected(self, node_id: str) -> bool:
        """Return whether a node is connected now."""

    def has_room(self, node_id: str, size_bytes: int) -> bool:
        """Return whether the session of a node's uplink accepts one more message of QoS 1."""


class RelayPort(Protocol):
    """A relay, in this process or in another."""

    @property
    def address(self) -> RelayAddress:
        """Return the address for nodes and visitors."""

    async def revoke(self, bep_id: str) -> None:
        """End a BEP at the relay and refuse its token from now on."""

    async def served(self) -> frozenset[str]:
        """Return the ids of the BEPs that the relay has now."""


class BepsAndNodes(BepStore, NodeStore, Protocol):
    """The part of the store that the placing of BEPs uses."""
