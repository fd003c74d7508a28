"""Folders that a container has made: nested deeper than Python recurses, locked, full of links."""

import os
from pathlib import Path

import pytest

from gateway.storage.trees import DEPTH_LIMIT, TreeDepthError, remove_tree, walk_tree

LONG = "dddd"
DEEPER_THAN_A_PATH = 1100  # levels: more than Python recurses, and than 4096 bytes have room for


def nest(top: Path, levels: int) -> None:
    """Make folders inside each other, with a file in each."""
    folder = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(LONG, dir_fd=folder)
        inner = os.open(LONG, os.O_RDONLY, dir_fd=folder)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=inner))
        os.close(folder)
        folder = inner
    os.close(folder)


def test_folders_are_walked_before_their_content(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_text("x")
    (tmp_path / "link").symlink_to("/")
    found = [one.name for one in walk_tree(tmp_path)]
    assert sorted(found) == ["a", "b", "file", "link"]
    assert found.index("a") < found.index("b") < found.index("file")
    assert list(walk_tree(tmp_path / "none")) == []
    assert list(walk_tree(tmp_path / "link")) == []


def test_a_walk_ends_at_a_depth_and_leaves_nothing_open(tmp_path: Path) -> None:
    nest(tmp_path, DEPTH_LIMIT - 1)
    assert sum(1 for _ in walk_tree(tmp_path)) == 2 * (DEPTH_LIMIT - 1)
    deeper = tmp_path / "deeper"
    deeper.mkdir()
    nest(deeper, DEPTH_LIMIT)
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    with pytest.raises(TreeDepthError):
        list(walk_tree(deeper))
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def test_a_folder_of_any_depth_is_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    nest(top, DEEPER_THAN_A_PATH)
    remove_tree(top)
    assert not top.exists()


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    top = tmp_path / "top"
    (top / "inner").mkdir(parents=True)
    (top / "link").symlink_to(kept)
    (top / "inner/link").symlink_to(kept)
    remove_tree(top)
    assert not top.exists()
    assert (kept / "file").exists()
    (tmp_path / "link").symlink_to(kept)
    remove_tree(tmp_path / "link")
    assert not (tmp_path / "link").is_symlink()
    assert (kept / "file").exists()


def test_a_folder_that_its_owner_has_locked_is_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/file").write_text("x")
    for folder in (top / "a/b", top / "a", top):
        folder.chmod(0)
    remove_tree(top)
    assert not top.exists()


def test_a_file_and_nothing_are_removed_as_well(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    remove_tree(tmp_path / "file")
    remove_tree(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
