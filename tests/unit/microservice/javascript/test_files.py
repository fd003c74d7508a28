"""The files of a container."""

from pathlib import Path

import pytest

from microservice.errors import FullStoreError, StoreError
from microservice.javascript.files import FileFolder


def write(folder: FileFolder, name: str, data: bytes) -> int:
    upload = folder.begin(name)
    try:
        upload.write(data)
        return upload.commit()
    finally:
        upload.abort()


@pytest.mark.parametrize(
    "name", ["../x", "/x", "", ".", "a/../../x", "a\0b", "x" * 201, ".new-1", "a\nb"]
)
def test_names_stay_inside(name: str, tmp_path: Path) -> None:
    folder = FileFolder(tmp_path / "files", 1)
    for use in (folder.begin, folder.size, folder.delete):
        with pytest.raises(StoreError, match="cannot use file"):
            use(name)


def test_a_link_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/link").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="links to a place outside"):
        FileFolder(tmp_path / "files", 1).begin("link/x")


def test_a_file_is_there_when_it_is_committed(tmp_path: Path) -> None:
    folder = FileFolder(tmp_path / "files", 1)
    assert write(folder, "a/b", b"old") == 3
    upload = folder.begin("a/b")
    upload.write(b"new")
    assert (tmp_path / "files/a/b").read_bytes() == b"old"
    upload.abort()
    assert (tmp_path / "files/a/b").read_bytes() == b"old"
    assert folder.size("a/b") == folder.size(str(tmp_path / "files/a/b")) == 3
    assert folder.delete("a/b") is True
    assert folder.delete("a/b") is False
    with pytest.raises(StoreError, match="no such file"):
        folder.size("a/b")


def test_all_files_together_have_a_limit(tmp_path: Path) -> None:
    half = b"x" * (600 * 1024)
    folder = FileFolder(tmp_path / "files", 1)
    write(folder, "a", half)
    with pytest.raises(FullStoreError, match="store_mib = 1"):
        write(folder, "b", half)
    write(folder, "a", half)  # in place of the old one
    folder.delete("a")
    write(folder, "b", half)
    # counted again by the next process, which removes what was not committed
    (tmp_path / "files/.new-left").write_bytes(half)
    again = FileFolder(tmp_path / "files", 1)
    with pytest.raises(FullStoreError):
        write(again, "c", half)
    assert not (tmp_path / "files/.new-left").exists()
