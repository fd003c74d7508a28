from pathlib import Path

from gateway.services.deadletters.store import DeadLetter, DeadLetterStore, LetterCounts


def letter(name: str = "a", payload: bytes = b"x", error: str = "") -> DeadLetter:
    return DeadLetter(
        name, 1.5, "t/1", payload, 1, True, error, "trace", 3, (("k", "v"), ("k", "w"))
    )


def test_letters_come_back_as_they_were_kept_also_after_a_restart(tmp_path: Path) -> None:
    store = DeadLetterStore(tmp_path / "d.db", 10, 10_000)
    binary = letter(payload=bytes(range(256)), error="bad ümlaut")
    store.add([binary, letter("b")])
    store.close()
    again = DeadLetterStore(tmp_path / "d.db", 10, 10_000)
    (found,) = again.of("a")
    assert found.number == 1
    assert (found.payload, found.error, found.pairs) == (
        binary.payload, binary.error, binary.pairs,
    )  # fmt: skip
    assert again.get("a", 1) == found
    assert again.get("b", 1) is None, "another container's letter"
    again.close()


def test_a_burst_keeps_the_newest_within_the_number(tmp_path: Path) -> None:
    store = DeadLetterStore(tmp_path / "d.db", 5, 1_000_000)
    store.add([letter(payload=b"%d" % number) for number in range(500)])
    store.add([letter("b")])
    assert [each.payload for each in store.of("a")] == [b"495", b"496", b"497", b"498", b"499"]
    counts = store.counts()
    assert (counts["a"].kept, counts["a"].dropped) == (5, 495)
    assert (counts["b"].kept, counts["b"].dropped) == (1, 0)
    store.close()


def test_a_burst_keeps_the_newest_within_the_size(tmp_path: Path) -> None:
    store = DeadLetterStore(tmp_path / "d.db", 1_000, 10_000)
    store.add([letter(payload=b"x" * 1_000) for _ in range(100)])
    counts = store.counts()["a"]
    assert counts.size_bytes <= 10_000
    assert counts.kept == 10_000 // letter(payload=b"x" * 1_000).size_bytes
    store.add([letter(payload=b"x" * 50_000)])
    assert [len(each.payload) for each in store.of("a")] == [50_000], "the newest is always kept"
    store.close()


def test_deleting(tmp_path: Path) -> None:
    store = DeadLetterStore(tmp_path / "d.db", 2, 10_000)
    store.add([letter() for _ in range(3)])
    assert store.delete("a", 3)
    assert not store.delete("a", 3)
    assert not store.delete("b", 2)
    assert store.clear("a") == 1
    assert store.counts() == {"a": LetterCounts(0, 0, 1)}
    store.clear("a", forget=True)
    assert store.counts() == {}
    store.close()


def test_nothing_is_made_before_the_first_letter(tmp_path: Path) -> None:
    store = DeadLetterStore(tmp_path / "d.db", 2, 10_000)
    assert store.counts() == {}
    assert store.of("a") == []
    assert store.get("a", 1) is None
    assert store.clear("a") == 0
    assert list(tmp_path.iterdir()) == []
    store.close()
