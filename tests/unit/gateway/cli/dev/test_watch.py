from pathlib import Path

from gateway.cli.dev.watch import ChangeDetector, read_states

A, B = {"service.py": (1, 10)}, {"service.py": (2, 12)}


def test_a_change_counts_when_it_has_settled() -> None:
    detector = ChangeDetector(A)
    assert detector.look(A) == []
    assert detector.look(B) == []  # may be half written
    assert detector.look({"service.py": (3, 14)}) == []
    assert detector.look({"service.py": (3, 14)}) == ["service.py"]
    assert detector.look({"service.py": (3, 14)}) == []


def test_a_file_that_comes_and_goes_is_no_change() -> None:
    detector = ChangeDetector(A)
    assert detector.look({**A, "4913": (1, 0)}) == []  # as vim tries whether it may write
    assert detector.look(A) == []
    assert detector.look(A) == []


def test_new_and_removed_files_are_changes() -> None:
    detector = ChangeDetector(A)
    detector.look({"other.py": (1, 1)})
    assert detector.look({"other.py": (1, 1)}) == ["other.py", "service.py"]


def test_junk_of_editors_and_builds_is_not_seen(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("")
    before = read_states(tmp_path)
    for name in (".service.py.swp", "service.py~", "x-v1.tar", "requirements.lock", "test_x.py"):
        (tmp_path / name).write_text("junk")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/service.cpython-311.pyc").write_text("junk")
    assert read_states(tmp_path) == before
    (tmp_path / "requirements.txt").write_text("idna")
    assert read_states(tmp_path).keys() - before.keys() == {"requirements.txt"}
