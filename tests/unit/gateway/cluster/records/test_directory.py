"""The supernode's directory and its copies at members."""

import pytest

from gateway.cluster.links.frames import DirectoryVersion
from gateway.cluster.records.directory import Copy, Directory
from protocol.errors import ContractError
from protocol.keys import NodeKey, new_node_key, new_sealing_key
from protocol.records import NodeRecord, sign_record

SEALING = new_sealing_key().public
KEYS = [new_node_key() for _ in range(6)]


def signed(key: NodeKey, name: str = "barn", now: float = 0.0) -> str:
    return sign_record(NodeRecord(key.node_id, name, "1", key.node_id, SEALING), key, now)


def synchronise(copy: Copy, mine: Directory, source: Directory) -> int:
    parts = list(source.changes(copy.version))
    assert [copy.take(part, mine) for part in parts] == [False] * (len(parts) - 1) + [True]
    return sum(len(part.put) + len(part.gone) for part in parts)


def names(directory: Directory) -> dict[str, str]:
    return {record.node_id: record.name for record in directory.records()}


def test_a_copy_follows_by_differences() -> None:
    source, mine, copy = Directory(b"one"), Directory(b"two"), Copy(KEYS[0].node_id)
    mine.put(signed(KEYS[0]))
    for key in KEYS:
        source.put(signed(key), key.node_id)
    assert synchronise(copy, mine, source) == 6
    assert names(mine) == names(source)
    assert synchronise(copy, mine, source) == 0
    source.put(signed(KEYS[1], "stable"))
    source.drop(KEYS[2].node_id)
    assert synchronise(copy, mine, source) == 2
    assert names(mine) == names(source)
    source.put(signed(KEYS[2], "back"))
    assert synchronise(copy, mine, source) == 1
    assert names(mine)[KEYS[2].node_id] == "back"


def test_a_copy_of_another_supernode_is_replaced_as_a_whole() -> None:
    old, new, mine, copy = Directory(b"old"), Directory(b"new"), Directory(b"me"), Copy("me")
    for key in KEYS[:4]:
        old.put(signed(key))
    synchronise(copy, mine, old)
    for key in KEYS[2:]:
        new.put(signed(key))
    synchronise(copy, mine, new)
    assert names(mine) == names(new)


def test_a_member_that_was_away_for_too_many_withdrawals_gets_everything() -> None:
    source, mine, copy = Directory(b"one"), Directory(b"two"), Copy("me")
    source.put(signed(KEYS[0]))
    source.put(signed(KEYS[1]))
    synchronise(copy, mine, source)
    source.drop(KEYS[1].node_id)
    for number in range(1100):  # each put and drop is two changes
        source.put(signed(KEYS[2], f"n{number}"))
        source._gone[f"x{number}"] = source._count()
        source._stored.pop(KEYS[2].node_id)
        source._gone[KEYS[2].node_id] = source._count()
        while len(source._gone) > 1024:
            source._forgotten = source._gone.popitem(last=False)[1]
    synchronise(copy, mine, source)
    assert names(mine) == names(source)


def test_a_member_cannot_describe_another() -> None:
    directory = Directory(b"one")
    with pytest.raises(ContractError, match="not its sender"):
        directory.put(signed(KEYS[0]), KEYS[1].node_id)
    with pytest.raises(ContractError):
        directory.put(signed(KEYS[0])[:-4] + "AAAA", KEYS[0].node_id)
    assert (len(directory), directory.refused) == (0, 1)


# case N8
def test_a_record_with_the_clock_of_1970_or_2060_counts_while_its_link_lives() -> None:
    directory = Directory(b"one")
    assert directory.put(signed(KEYS[0], now=1000.0), KEYS[0].node_id)
    assert directory.put(signed(KEYS[1], now=2.8e9), KEYS[1].node_id)


def test_a_large_directory_comes_in_parts() -> None:
    source, mine, copy = Directory(b"one"), Directory(b"two"), Copy("me")
    keys = [new_node_key() for _ in range(120)]
    for key in keys:
        source.put(signed(key))
    assert len(list(source.changes(DirectoryVersion()))) > 1
    synchronise(copy, mine, source)
    assert names(mine) == names(source)
