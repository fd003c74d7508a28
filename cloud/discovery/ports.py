"""Defines what discovery needs of a broker."""

from typing import Protocol


class BrokerRights(Protocol):
    """A broker whose clients' rights follow from the directory of nodes."""

    def remove_node(self, node_id: str) -> None:
        """Disconnect a node, and delete its sessions and its retained messages."""

    def apply_changed_rights(self) -> None:
        """Check the rights of every client again, stored subscriptions included."""
