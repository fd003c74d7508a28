import os
from pathlib import Path

import pytest

from microservice.isolation.kernel import open_root, version_of


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.1.0-rpi7-rpi-v8", (6, 1)),
        ("5.14.0", (5, 14)),
        ("5.9-rc1", (5, 9)),
        ("6.18.44+", (6, 18)),
        ("unknown", (0, 0)),
    ],
)
def test_the_version_of_a_release(release: str, version: tuple[int, int]) -> None:
    assert version_of(release) == version


def target_of(fd: int) -> Path:
    """Return the path of a descriptor, and close it."""
    try:
        return Path(f"/proc/self/fd/{fd}").readlink()
    finally:
        os.close(fd)


def test_paths_of_another_root_are_opened_within_it(tmp_path: Path) -> None:
    """The rules of Landlock are made before a container has its root; they must be the same."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/zone").touch()
    (tmp_path / "etc/absolute").symlink_to("/usr/lib/zone")
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "etc/upwards").symlink_to("../../../../usr/lib/zone")
    (tmp_path / "etc/outside").symlink_to("/proc/self/status")
    with open_root(str(tmp_path)) as open_path:
        for path in ("/etc/absolute", "/lib/zone", "/etc/upwards", "/usr/lib/zone"):
            assert target_of(open_path(path)) == tmp_path / "usr/lib/zone"
        for path in ("/etc/outside", "/etc/passwd", "/none"):
            with pytest.raises(FileNotFoundError):
                open_path(path)
    with open_root("/") as open_path:
        assert target_of(open_path("/proc/version")) == Path("/proc/version")


def test_a_root_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_root(str(tmp_path / "none")):
        pass
