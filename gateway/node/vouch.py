"""Holds the statement by which the SEP holder of the cluster vouches for this node at the cloud."""

from protocol.errors import TokenError
from protocol.memberships import SepClaim, read_membership

ANY_TIME = 0.0  # the cloud checks the dates, by its clock


class HolderVouch:
    """The last statement, and the claim of the node that made it."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._claim = SepClaim()
        self._statement = ""

    def note(self, statement: str, claim: SepClaim) -> bool:
        """Note a statement; return False unless it is by the holder, by its claim, about this node.

        Args:
            statement: from the supernode, which may have it from the holder.
            claim: the claim of the SEP that this node follows.
        """
        try:
            found = read_membership(statement, ANY_TIME)
        except TokenError:
            return False
        if found.node_id != self._node_id or found.claim != claim:
            return False
        self._claim, self._statement = claim, statement
        return True

    def of(self, claim: SepClaim) -> str:
        """Return the statement of a claim's holder; "" when it has made none."""
        return self._statement if claim == self._claim else ""
