import os
import stat
from pathlib import Path

import pytest

from gateway.services.runtimes.uids import assign_uid, candidates, open_code, open_socket

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")


def make(state: Path, name: str) -> Path:
    (state / name / "data").mkdir(parents=True)
    return state / name


@needs_root
def test_each_container_has_a_uid_and_keeps_it(tmp_path: Path) -> None:
    uids = range(1_900_000_000, 1_900_000_003)
    one, two = make(tmp_path, "one"), make(tmp_path, "two")
    (one / "data/file").write_text("before it had a uid of its own")
    first, second = assign_uid(one, uids), assign_uid(two, uids)
    assert first != second
    assert {first, second} <= set(uids)
    assert assign_uid(one, uids) == first
    assert (one / "data/file").stat().st_uid == first


def test_the_containers_of_two_gateways_have_different_uids() -> None:
    """The kernel counts the processes of a uid, whichever gateway gave it."""
    uids = range(1_900_000_000, 1_900_010_000)
    home, lab = (list(candidates(uids, Path("/srv", name))) for name in ("home", "lab"))
    assert set(home) == set(lab) == set(uids)
    assert not set(home[:100]) & set(lab[:100])


@needs_root
def test_a_copied_folder_gets_another_uid(tmp_path: Path) -> None:
    uids = range(1_900_000_000, 1_900_000_003)
    one, two = make(tmp_path, "one"), make(tmp_path, "two")
    first = assign_uid(one, uids)
    os.chown(two / "data", first, first)
    assert assign_uid(two, uids) != first


@needs_root
def test_a_full_range_is_an_error_that_names_it(tmp_path: Path) -> None:
    uids = range(1_900_000_000, 1_900_000_001)
    assign_uid(make(tmp_path, "one"), uids)
    with pytest.raises(OSError, match="no uid is free from 1900000000 to 1900000000"):
        assign_uid(make(tmp_path, "two"), uids)


@needs_root
def test_a_link_in_the_data_does_not_give_another_file_away(tmp_path: Path) -> None:
    one, other = make(tmp_path, "one"), tmp_path / "key"
    other.write_text("secret")
    (one / "data/link").symlink_to(other)
    assign_uid(one, range(1_900_000_000, 1_900_000_001))
    assert other.stat().st_uid == 0


def test_code_becomes_readable_and_not_writable(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir(mode=0o700)
    (code / "lib").mkdir(mode=0o700)
    for path in (code / "service.py", code / "lib/a.py"):
        path.touch(0o400)
    open_code(code)
    assert stat.S_IMODE((code / "lib/a.py").stat().st_mode) == 0o444
    assert stat.S_IMODE((code / "lib").stat().st_mode) == 0o755


def test_a_socket_is_opened_only_where_its_folder_is_private(tmp_path: Path) -> None:
    for mode, wanted in ((0o700, 0o666), (0o755, 0o600)):
        folder = tmp_path / str(mode)
        folder.mkdir()
        folder.chmod(mode)
        path = folder / "b.sock"
        path.touch(0o600)
        open_socket(path)
        assert stat.S_IMODE(path.stat().st_mode) == wanted
