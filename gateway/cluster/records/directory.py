"""Holds the signed records of the nodes of this cluster. Pure.

A record is accepted over the link of its node, or of the supernode, and only when it is signed by
the node that it describes. The link is newer than any date in the record: a node whose clock is not
set signs records that have expired by other clocks, and its record counts while its link lives.

The supernode's directory counts its changes. A member asks for those since the version that it has,
so that the traffic follows the use, not the square of the number of nodes.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.cluster.links.frames import DirectoryVersion, RecordChanges
from protocol.errors import TokenError
from protocol.records import NodeRecord, open_record

ANY_TIME = 0.0  # the wall clock at which no record has expired
RECORDS_LIMIT = 1100  # 1,000 members
GONE_LIMIT = 1024  # withdrawn nodes that are remembered for members that ask later
PART_CHARACTERS = 128 * 1024  # of records in one frame


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record, as it is and as it was signed."""

    record: NodeRecord
    signed: str
    number: int  # of the change that stored it


class Directory:
    """The records by node id, and the order of their changes."""

    def __init__(self, term: bytes) -> None:
        self._stored: dict[str, StoredRecord] = {}
        self._gone: OrderedDict[str, int] = OrderedDict()  # the number of the change, by node id
        self._forgotten = 0  # changes up to this number are not remembered as single ones
        self.version = DirectoryVersion(term, 0)
        self.refused = 0

    def __len__(self) -> int:
        return len(self._stored)

    def records(self) -> list[NodeRecord]:
        """Return all records."""
        return [each.record for each in self._stored.values()]

    def signed(self) -> list[str]:
        """Return all records as their nodes have signed them."""
        return [each.signed for each in self._stored.values()]

    def get(self, node_id: str) -> NodeRecord | None:
        """Return the record of a node."""
        stored = self._stored.get(node_id)
        return stored.record if stored is not None else None

    def put(self, signed: str, sender_id: str = "") -> NodeRecord | None:
        """Store a record; return it when it is new, None when it changes nothing.

        Args:
            signed: the record as its node has signed it.
            sender_id: the node that it must describe; "" for any.

        Raises:
            ContractError: it is forged, malformed, or about another node than its sender.
        """
        record = open_record(signed, ANY_TIME)
        known = self._stored.get(record.node_id)
        if sender_id and record.node_id != sender_id:
            self.refused += 1
            raise TokenError(f"cannot accept record of node {record.node_id[:12]}: not its sender")
        if known is not None and known.signed == signed:
            return None
        if known is None and len(self._stored) >= RECORDS_LIMIT:
            self.refused += 1
            return None
        self._stored[record.node_id] = StoredRecord(record, signed, self._count())
        self._gone.pop(record.node_id, None)
        return record

    def drop(self, node_id: str) -> bool:
        """Remove the record of a node; return whether there was one."""
        if self._stored.pop(node_id, None) is None:
            return False
        self._gone[node_id] = self._count()
        if len(self._gone) > GONE_LIMIT:
            _, self._forgotten = self._gone.popitem(last=False)
        return True

    # At the supernode -------------------------------------------------------------------------

    def changes(self, since: DirectoryVersion) -> Iterator[RecordChanges]:
        """Yield the parts of the answer to a member that has a version."""
        is_whole = since.term != self.version.term or since.number < self._forgotten
        number = 0 if is_whole else since.number
        gone = () if is_whole else tuple(i for i, n in self._gone.items() if n > number)
        part: list[str] = []
        size = 0
        for stored in [each for each in self._stored.values() if each.number > number]:
            if part and size + len(stored.signed) > PART_CHARACTERS:
                yield RecordChanges(self.version, tuple(part), (), False, is_whole)
                part, size = [], 0
            part.append(stored.signed)
            size += len(stored.signed)
        yield RecordChanges(self.version, tuple(part), gone, is_last=True, is_whole=is_whole)

    # At a member ------------------------------------------------------------------------------

    def keep_only(self, node_ids: frozenset[str]) -> None:
        """Remove the records of all other nodes."""
        for node_id in [node_id for node_id in self._stored if node_id not in node_ids]:
            del self._stored[node_id]

    def _count(self) -> int:
        self.version = DirectoryVersion(self.version.term, self.version.number + 1)
        return self.version.number


class Copy:
    """A member's copy of its supernode's directory, in parts."""

    def __init__(self, own_id: str) -> None:
        self._own_id = own_id
        self.version = DirectoryVersion()
        self._received: set[str] = set()

    def take(self, part: RecordChanges, directory: Directory) -> bool:
        """Store one part; return True when it was the last.

        Raises:
            ContractError: a record in it is forged.
        """
        for signed in part.put:
            record = open_record(signed, ANY_TIME)
            self._received.add(record.node_id)
            if record.node_id != self._own_id:
                directory.put(signed)
        for node_id in part.gone:
            if node_id != self._own_id:
                directory.drop(node_id)
        if not part.is_last:
            return False
        if part.is_whole:
            directory.keep_only(frozenset(self._received | {self._own_id}))
        self._received.clear()
        self.version = part.version
        return True


class NodeCounts:
    """The number of nodes that the present and the former supernode have told.

    A new supernode counts few until all members have come to it.
    """

    def __init__(self) -> None:
        self._of, self._count, self._former = "", 0, 0

    def note(self, supernode_id: str, count: int) -> None:
        """Note a number."""
        if supernode_id != self._of:
            self._of, self._former = supernode_id, self._count
        self._count = count

    @property
    def largest(self) -> int:
        """The greater of the two."""
        return max(self._count, self._former)
