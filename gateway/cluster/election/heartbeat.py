"""Holds what nodes of a cluster tell each other twice a second, and at every change. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.cluster.election.rank import Rank
from protocol.memberships import SepClaim

# Of 53 bits, as JSON at the cloud has them. No cluster gets there by itself, but a member that
# lies, or a broken disk, may bring it there: claims of this epoch are ordered by rank alone.
EPOCH_LIMIT = 2**53


class Role(StrEnum):
    """The role of a node in its cluster; the values are those of the status API."""

    LISTENING = "listening"  # it has just started
    MEMBER = "member"
    SEEKING = "seeking"  # it has lost its supernode
    SUPERNODE = "supernode"
    LEAVING = "leaving"  # a supernode that hands over


@dataclass(frozen=True, slots=True, order=True)
class RoleClaim:
    """A claim of the supernode's role; of two claims the one with the higher epoch counts."""

    epoch: int = 0
    supernode_id: str = ""

    def above(self, supernode_id: str) -> "RoleClaim":
        """Return the claim with which another node goes above this one."""
        return RoleClaim(min(self.epoch + 1, EPOCH_LIMIT), supernode_id)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The state of one node as it sends it to its peers.

    Attributes:
        claim: its own as a supernode, else the claim that it follows; without an id, no claim, only
            the highest epoch that it has seen.
        hears: the peers that it has heard within the silence limit. A peer counts as reachable
            when it hears this node as well: reach in one direction elects nobody.
        successors: of a supernode, the members that take over, in this order.
        has_members: of a supernode.
        is_fit: its broker, its disk and its loop work.
        reaches_cloud: it has a way of its own to the cloud, and could hold the SEP.
        cloud: names its cloud, "" for none; nodes with another cloud cannot hold the SEP for it.
        sep: of a supernode, the claim of the SEP that holds in its cluster; None of old versions.
    """

    node_id: str
    role: Role
    claim: RoleClaim
    rank: Rank
    hears: frozenset[str] = frozenset()
    successors: tuple[str, ...] = ()
    has_members: bool = False
    is_fit: bool = True
    reaches_cloud: bool = False
    cloud: str = ""
    sep: SepClaim | None = None
