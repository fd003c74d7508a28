"""Elects the supernode of a cluster. Pure.

    LISTENING ──a supernode announces itself──► MEMBER
        └─────────the deadline passes─────────► SUPERNODE

A starting node listens for LISTENING_S. What holds after every call: `supernode_id` is "" and
`deadline` is set exactly while LISTENING.
"""

from enum import StrEnum

LISTENING_S = 0.2  # a supernode on the same network answers within tens of milliseconds


class Role(StrEnum):
    """The role of this node in its cluster; the values are those of the status API."""

    LISTENING = "listening"
    SUPERNODE = "supernode"
    MEMBER = "member"


class Election:
    """Decides the role of this node; `now` is the monotonic clock."""

    def __init__(self, node_id: str, now: float, listening_s: float = LISTENING_S) -> None:
        self._node_id = node_id
        self.role = Role.LISTENING
        self.supernode_id = ""
        self.deadline: float | None = now + listening_s

    def heard_supernode(self, node_id: str) -> None:
        """Note that a node announces itself as the supernode."""
        if self.role is Role.LISTENING and node_id != self._node_id:
            self.role, self.supernode_id, self.deadline = Role.MEMBER, node_id, None

    def tick(self, now: float) -> None:
        """Become the supernode when the deadline has passed."""
        if self.deadline is not None and now >= self.deadline:
            self.role, self.supernode_id, self.deadline = Role.SUPERNODE, self._node_id, None
