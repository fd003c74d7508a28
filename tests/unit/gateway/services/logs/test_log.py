import asyncio
import os
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.services.logs.log import ContainerLog, time_stamp
from gateway.services.logs.reader import PIECE_BYTES, LogReader
from gateway.storage.disk_thread import DiskThread

NOW = 1_769_860_800.25  # 2026-01-31T12:00:00.250Z
STAMP = b"2026-01-31T12:00:00.250Z "


def tail(path: Path, lines: int) -> bytes:
    """Return the last lines as pieces, put together."""
    reader, whole = LogReader(path), b""
    reader.seek_tail(lines)
    while piece := reader.more():
        assert len(piece) <= PIECE_BYTES
        whole += piece
    reader.close()
    return whole


def write(path: Path, *pieces: bytes, limit: int = 10_000) -> ContainerLog:
    """Copy what a process prints, one piece after the other."""

    async def copy() -> ContainerLog:
        disk = DiskThread("log")
        log = ContainerLog(path, (limit, 10**9), disk, lambda: NOW)
        for piece in pieces:
            for_reading, for_writing = os.pipe()
            os.write(for_writing, piece)
            os.close(for_writing)
            await log.copy(os.fdopen(for_reading, "rb", buffering=0))
        disk.close()
        return log

    return asyncio.run(copy())


def test_each_line_has_its_time_also_one_that_comes_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    log = write(path, b"one\ntw", b"o\n\nthree")
    expected = [b"one\n", b"two\n", b"\n", b"three"]
    assert path.read_bytes() == b"".join(STAMP + line for line in expected)
    assert log.last_lines(2) == ["two", "three"]
    assert time_stamp(NOW).encode() + b" " == STAMP


def test_an_entry_explains_an_end_by_its_text(tmp_path: Path) -> None:
    entry = b'{"time": "x", "level": "error", "message": "no sensor", "room": "attic"}\n'
    log = write(tmp_path / "output.log", b"plain\n", entry, b'{"time": broken\n')
    assert log.last_lines(3) == ["plain", "no sensor", '{"time": broken']


def test_a_log_is_bounded_with_its_times(tmp_path: Path) -> None:
    write(tmp_path / "output.log", *[b"\n" * 100] * 100, limit=10_000)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2 * 10_000 + 5000


def test_the_last_lines_reach_back_into_the_file_before(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    path.with_suffix(".1.log").write_bytes(b"1\n2\n3\n")
    path.write_bytes(b"4\n5\n")
    assert [tail(path, lines) for lines in (0, 1, 2, 4, 5, 9)] == [
        b"", b"5\n", b"4\n5\n", b"2\n3\n4\n5\n", b"1\n2\n3\n4\n5\n", b"1\n2\n3\n4\n5\n",
    ]  # fmt: skip


@given(st.lists(st.integers(0, 50_000), max_size=12), st.booleans(), st.integers(0, 14))
def test_the_last_lines_are_found_whatever_their_length(
    lengths: list[int], ends: bool, lines: int
) -> None:
    written = [b"x" * length + b"\n" for length in lengths]
    if written and not ends:
        written[-1] = written[-1][:-1] or b"x"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "output.log"
        path.write_bytes(b"".join(written))
        assert tail(path, lines) == b"".join(written[-lines:] if lines else [])


def test_a_reader_goes_on_in_the_new_file_and_misses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    reader = LogReader(path)
    reader.seek_tail(10)
    assert reader.more() == b""
    path.write_bytes(b"1\n")
    assert reader.more() == b"1\n"
    with path.open("ab") as file:
        file.write(b"2\n")
    path.replace(path.with_suffix(".1.log"))
    path.write_bytes(b"3\n")
    assert reader.more() == b"2\n"
    assert [reader.more() for _ in range(3)] == [b"3\n", b"", b""]
    reader.close()


def test_where_it_was_blocked_is_in_the_service_code(tmp_path: Path) -> None:
    code = tmp_path / "code"
    trace = (
        "Fatal Python error: Aborted\n\nCurrent thread 0x1 (most recent call first):\n"
        f'  File "/usr/lib/python3/time.py", line 3 in sleep\n'
        f'  File "{code}/lib/meter.py", line 12 in read\n'
        f'  File "{code}/service.py", line 40 in handler\n'
    )
    log = write(tmp_path / "output.log", trace.encode())
    assert log.blocked_at(code) == "lib/meter.py, line 12"
    assert log.blocked_at(tmp_path / "other") == ""


def test_a_long_line_is_cut_and_tells_by_how_much(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    write(path, b"x" * 5000, b"x" * 5000 + b"\nnext\n")
    first, second = path.read_bytes().splitlines()
    assert first == STAMP + b"x" * 8192 + b" \xe2\x80\xa6 [hecate] 1808 bytes more suppressed"
    assert second == STAMP + b"next"


def test_output_that_goes_with_the_older_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    write(path, *[b"line\n" * 20] * 20, limit=1000)
    assert b"bytes of older output were removed: [limits] log_mib bounds the log\n" in (
        path.read_bytes() + path.with_suffix(".1.log").read_bytes()
    )


def test_output_that_a_full_disk_did_not_take_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    path = folder / "output.log"

    async def copy() -> None:
        disk = DiskThread("log")
        log = ContainerLog(path, (10_000, 10**9), disk, lambda: NOW)
        for piece in (b"lost\n", b"kept\n"):
            for_reading, for_writing = os.pipe()
            os.write(for_writing, piece)
            os.close(for_writing)
            await log.copy(os.fdopen(for_reading, "rb", buffering=0))
            folder.mkdir(exist_ok=True)
        disk.close()

    asyncio.run(copy())
    told = b"[hecate] 30 bytes of output were not written: the disk was full\n"
    assert path.read_bytes() == STAMP + told + STAMP + b"kept\n"
