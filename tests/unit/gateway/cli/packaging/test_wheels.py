from pathlib import Path

import pytest

from gateway.cli.errors import CliError
from gateway.cli.packaging.lock import LockedPackage
from gateway.cli.packaging.wheels import cached, keep, unpack_wheels
from tests.wheels import write_wheel


def unpack(wheel: Path) -> tuple[set[str], bool]:
    found = unpack_wheels([(LockedPackage("thing", "1.0", "0" * 64), wheel)])
    names = {name for name in found.files if ".dist-info/" not in name}
    return names, found.is_native


def test_modules_go_below_packages_and_scripts_stay_out(tmp_path: Path) -> None:
    files = {
        "thing/__init__.py": "",
        "thing/__pycache__/x.cpython-311.pyc": "",
        "thing-1.0.data/purelib/other.py": "",
        "thing-1.0.data/platlib/third.py": "",
        "thing-1.0.data/scripts/thing": "#!python",
        "thing-1.0.data/headers/thing.h": "",
    }
    names, is_native = unpack(write_wheel(tmp_path, "thing", files=files))
    assert names == {"packages/thing/__init__.py", "packages/other.py", "packages/third.py"}
    assert not is_native


def test_a_wheel_for_one_machine_is_native(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, "thing", tag="cp311-cp311-manylinux2014_aarch64")
    assert unpack(wheel)[1]


@pytest.mark.parametrize("name", ["../evil.py", "/etc/evil.py", "a/../../evil.py", "a\\evil.py"])
def test_a_path_that_leaves_the_wheel_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CliError, match=r"cannot read the wheel of thing: .* is no path in it"):
        unpack(write_wheel(tmp_path, "thing", files={name: ""}))


def test_a_wheel_that_is_no_archive_is_said(tmp_path: Path) -> None:
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    wheel.write_bytes(b"PK nothing")
    with pytest.raises(CliError, match="cannot read the wheel of thing"):
        unpack(wheel)


def test_the_cache_gives_only_whole_wheels(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    package = keep(cache, write_wheel(tmp_path, "Some_Thing", "2.0"))
    assert (package.name, package.version) == ("some-thing", "2.0")
    kept = cached(cache, package)
    assert kept is not None
    kept.write_bytes(kept.read_bytes()[:-1])  # cut off
    assert cached(cache, package) is None
