import tracemalloc

import pytest

from broker.journal.segments import (
    BATCH_OVERHEAD_BYTES,
    HEAD,
    Damage,
    SegmentName,
    encode_batch,
    measure_used,
    parse_name,
    read_segment,
)

MARKER = b"8 random"


def segment(*batches: tuple[int, list[bytes]], marker: bytes = MARKER) -> bytearray:
    """Return a segment; of each batch how many before it were synced, and its groups."""
    encoded = [
        encode_batch(marker, serial, synced, groups)
        for serial, (synced, groups) in enumerate(batches)
    ]
    return bytearray(HEAD + b"".join(encoded))


def read(buffer: bytes | bytearray) -> tuple[list[bytes], list[bool]]:
    """Return the groups, and of each damage whether it is a tail."""
    pieces = list(read_segment(bytes(buffer), MARKER))
    groups = [piece for piece in pieces if isinstance(piece, bytes)]
    return groups, [piece.is_tail for piece in pieces if isinstance(piece, Damage)]


SYNCED = ((0, [b"one", b"two"]), (1, [b"three"]), (2, [b"four", b"five", b"six"]))


def test_all_is_read() -> None:
    assert read(segment(*SYNCED)) == ([b"one", b"two", b"three", b"four", b"five", b"six"], [])
    assert read(segment()) == ([], [])


def test_reading_takes_no_memory_for_what_is_ahead() -> None:
    """One of 4 MiB holds 25,000 small batches; cleaning goes through it beside the traffic."""
    buffer = bytes(segment(*((serial, [b"small"]) for serial in range(2_000))))
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_segment(buffer, MARKER)) == 2_000
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 32_768


def test_what_was_there_before_is_not_read() -> None:
    old = segment(*SYNCED, marker=b"former??")
    new = segment((0, [b"new"]))
    assert read(new + old[len(new) :]) == ([b"new"], [])
    assert measure_used(bytes(new + old[len(new) :]), MARKER) == len(new)


def test_a_group_of_the_file_before_is_not_taken_for_one_of_a_batch_that_was_lost() -> None:
    """The end of the batch was dropped where a group of the former use begins, whole."""
    old = segment((0, [b"old 1", b"old 2", b"old 3"]), marker=b"former??")
    new = segment((0, [b"new 1", b"new 2", b"new 3"]))
    at = new.index(b"new 2") - 8
    assert old.index(b"old 2") - 8 == at
    assert read(new[:at] + old[at:]) == ([b"new 1"], [True])


def test_a_group_of_another_batch_is_not_taken() -> None:
    batches = segment((0, [b"one", b"two"]), (1, [b"six", b"ten"]))
    at, other = batches.index(b"two") - 8, batches.index(b"ten") - 8
    batches[other : other + 11] = batches[at : at + 11]
    assert read(batches) == ([b"one", b"two", b"six"], [True])


def test_a_damaged_group_that_was_synced_is_skipped() -> None:
    buffer = segment(*SYNCED)
    buffer[buffer.index(b"one")] ^= 1
    assert read(buffer) == ([b"two", b"three", b"four", b"five", b"six"], [False])


def test_a_damaged_length_costs_the_rest_of_its_batch_only() -> None:
    buffer = segment(*SYNCED)
    buffer[buffer.index(b"one") - 8] = 0xFF
    assert read(buffer) == ([b"three", b"four", b"five", b"six"], [False])


def test_a_damaged_batch_that_was_synced_is_skipped() -> None:
    buffer = segment(*SYNCED)
    buffer[buffer.index(b"three") - 8 - BATCH_OVERHEAD_BYTES] ^= 1
    assert read(buffer) == ([b"one", b"two", b"four", b"five", b"six"], [False])


def test_reading_ends_at_the_first_damage_that_was_not_synced() -> None:
    buffer = segment(*SYNCED)
    buffer[buffer.index(b"five")] ^= 1
    assert read(buffer) == ([b"one", b"two", b"three", b"four"], [True])


def test_a_hole_in_what_was_never_synced_ends_the_reading() -> None:
    batches = ((0, [b"one"]), (0, [b"two"]), (0, [b"three"]))
    buffer = segment(*batches)
    at = buffer.index(b"two") - 8 - BATCH_OVERHEAD_BYTES
    buffer[at : at + BATCH_OVERHEAD_BYTES + 11] = bytes(BATCH_OVERHEAD_BYTES + 11)
    assert read(buffer) == ([b"one"], [True])
    buffer = segment((0, [b"one"]), (0, [b"two"]), (2, [b"three"]))
    buffer[at] ^= 1
    assert read(buffer) == ([b"one", b"three"], [False])


def test_a_damaged_head_costs_nothing_else() -> None:
    buffer = segment(*SYNCED)
    buffer[0] ^= 1
    groups, damages = read(buffer)
    assert len(groups) == 6
    assert damages == [False]
    assert read(b"") == ([], [True])


def test_a_cut_batch_gives_its_whole_groups() -> None:
    buffer = segment(*SYNCED)
    assert read(buffer[:-1]) == ([b"one", b"two", b"three", b"four", b"five"], [True])


def test_a_payload_cannot_pretend_to_be_a_batch() -> None:
    fake = encode_batch(b"guessed!", 1, 1, [b"evil"])
    buffer = segment((0, [b"before"]), (1, [fake]), (2, [b"after"]))
    buffer[buffer.index(b"before") + 6] ^= 1  # so that reading must begin again
    assert read(buffer)[0] == [b"before", b"after"]


@pytest.mark.parametrize("at", range(BATCH_OVERHEAD_BYTES))
def test_every_byte_of_a_header_is_checked(at: int) -> None:
    buffer = segment((0, [b"one"]), (1, [b"two"]))
    buffer[len(HEAD) + at] ^= 0x40
    assert read(buffer) == ([b"two"], [False])


def test_names() -> None:
    name = SegmentName(12, MARKER)
    assert parse_name(str(name)) == name
    for other in ("lock", "spare-3", str(name) + "x", "12-00.log"):
        assert parse_name(other) is None
