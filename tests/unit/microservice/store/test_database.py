"""The store of a container, as a file on disk."""

import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservice.errors import DamagedStoreError, FullStoreError, StoreError
from microservice.store.database import MIB, Item, Store, check


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def test_values_keep_their_type_and_survive_the_process(path: Path) -> None:
    store = Store(path, 1)
    assert store.get("a") is None
    store.set("a", "text\0\U0001f600")
    store.set("b", b"\x00\xff")
    store.set("a", "again", "tag")
    store.close()
    again = Store(path, 1)
    assert (again.get("a"), again.get("b")) == ("again", b"\x00\xff")
    assert path.stat().st_mode & 0o777 == 0o600
    assert again.delete("a")
    assert not again.delete("a")
    assert again.keys() == ["b"]
    again.clear()
    assert again.count() == 0


def test_entries_are_found_by_prefix_and_tag_in_the_order_of_their_keys(path: Path) -> None:
    store = Store(path, 1)
    for key, tag in (("b/2", "x"), ("a/1", ""), ("b/10", "y"), ("b", "x"), ("c", "")):
        store.set(key, key, tag)
    assert store.keys("b/") == ["b/10", "b/2"]
    assert store.keys(tag="x") == ["b", "b/2"]
    assert store.keys(tag="") == ["a/1", "c"]
    assert store.items("b", tag="y") == [Item("b/10", "b/10", "y")]
    assert store.keys(after="b", limit=2) == ["b/10", "b/2"]
    assert (store.count(), store.count("b"), store.count(tag="x")) == (5, 3, 2)
    assert store.delete_tag("") == 0, "values without a tag have none in common"
    assert store.delete_tag("x") == 2
    assert store.keys() == ["a/1", "b/10", "c"]


KEYS = st.text(st.sampled_from("ab\ud7ff\ue000\U0010ffff"), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("shared") / "store.db", 1)


@given(keys=st.lists(KEYS, unique=True), prefix=KEYS)
def test_a_prefix_finds_every_key_that_begins_with_it(
    shared: Store, keys: list[str], prefix: str
) -> None:
    with shared.transaction():
        shared.clear()
        for key in keys:
            shared.set(key, b"")
    assert shared.keys(prefix) == sorted(key for key in keys if key.startswith(prefix))


def test_a_transaction_happens_whole_or_not_at_all(path: Path) -> None:
    store = Store(path, 1)
    with store.transaction():
        store.set("a", "1")
        store.set("b", "1")

    def fail() -> None:
        with store.transaction():
            store.set("a", "2")
            store.set("", "")

    with pytest.raises(StoreError, match="1 to 1024 bytes"):
        fail()
    assert store.get("a") == "1"
    with (
        store.transaction(),
        pytest.raises(StoreError, match="open already"),
        store.transaction(),
    ):
        pass


def test_a_full_store_refuses_and_keeps_what_it_has(path: Path) -> None:
    store = Store(path, 1)

    def fill() -> None:
        for number in range(30):
            store.set(f"{number}", bytes(50_000))

    with pytest.raises(FullStoreError, match=r"\[limits\] store_mib = 1 of microservice.toml"):
        fill()
    assert 10 < store.count() <= 20
    with pytest.raises(FullStoreError):
        store.set("0", bytes(500_000))
    assert store.get("0") == bytes(50_000), "the old value is gone"
    assert store.delete("0")
    store.set("new", bytes(20_000))
    store.close()
    assert path.stat().st_size <= MIB


def test_keys_that_cannot_be_stored_are_refused(path: Path) -> None:
    store = Store(path, 1)
    for key in ("", "x" * 1025, "\ud800"):
        with pytest.raises(StoreError, match="cannot store"):
            store.set(key, "")


# case S15
def test_a_damaged_file_is_named_and_stays_as_it_is(path: Path) -> None:
    for damage in (b"", b"SQLite format 3\0", os.urandom(8192)):
        path.write_bytes(damage)
        with pytest.raises(DamagedStoreError, match=r"store\.db is .*hecate rm"):
            Store(path, 1)
        with pytest.raises(DamagedStoreError):
            check(path, 1)
        assert path.read_bytes() == damage


# case S15
def test_a_folder_in_its_place_is_named(path: Path) -> None:
    path.mkdir()
    for use in (Store, check):
        with pytest.raises(DamagedStoreError, match=r"store\.db is no file; .*hecate rm"):
            use(path, 1)


# case S15
def test_a_file_that_lost_a_part_is_found_by_the_check(path: Path) -> None:
    check(path, 1)
    assert not path.exists(), "a service that stores nothing has no file"
    store = Store(path, 1)
    for number in range(100):
        store.set(f"{number}", bytes(2000))
    store.close()
    whole = path.read_bytes()
    check(path, 1)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedStoreError):
        check(path, 1)
    path.write_bytes(whole[:8192] + bytes(8192) + whole[16384:])
    with pytest.raises(DamagedStoreError):
        check(path, 1)
    path.unlink()
    path.with_name("store.db-wal").write_bytes(b"left over")
    with pytest.raises(DamagedStoreError, match="is missing"):
        Store(path, 1)


def _write_for_ever(path: Path, started: Event) -> None:
    store = Store(path, 1)
    number = 0
    while True:
        number += 1
        with store.transaction():
            store.set("one", str(number))
            store.set("two", str(number))
        started.set()


# case S15
def test_a_process_killed_while_it_writes_leaves_one_whole_value(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for _ in range(10):
        started = context.Event()
        process = context.Process(target=_write_for_ever, args=(path, started))
        process.start()
        assert started.wait(60)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        check(path, 1)
        store = Store(path, 1)
        one, two = store.get("one"), store.get("two")
        store.close()
        assert one == two
        assert int(str(one)) >= 1


# case S15
def test_each_commit_is_synced(path: Path) -> None:
    store = Store(path, 1)
    ((mode,),) = store._run("ask", "PRAGMA journal_mode")
    ((synchronous,),) = store._run("ask", "PRAGMA synchronous")
    assert (mode, synchronous) == ("wal", 2), "the old or the new value needs both"


def test_a_schedule_remembers_its_last_run(path: Path) -> None:
    store = Store(path, 1)
    assert store.last_run("nightly") is None
    store.set_last_run("nightly", 1234.5)
    assert store.last_run("nightly") == 1234.5
    assert store.keys() == []
