"""Holds the statement by which the supernode vouches for this node at the cloud."""


class SupernodeVouch:
    """The last statement, and the supernode that made it."""

    def __init__(self) -> None:
        self._supernode_id = self._statement = ""

    def note(self, supernode_id: str, statement: str) -> None:
        """Note a statement of a supernode."""
        self._supernode_id, self._statement = supernode_id, statement

    def of(self, supernode_id: str) -> str:
        """Return the statement of a supernode; "" when it has made none."""
        return self._statement if supernode_id == self._supernode_id else ""
