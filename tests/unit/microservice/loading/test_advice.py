"""The next step that an error of a first microservice names."""

import traceback
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from microservice.entry import load_service
from microservice.errors import ServiceError


def load(folder: Path, code: str) -> ServiceError:
    (folder / "service.py").write_text(code)
    with pytest.raises(ServiceError) as caught:
        load_service(folder, 64)
    return caught.value


@pytest.fixture(autouse=True)
def _own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def test_a_package_that_is_missing_belongs_into_requirements(tmp_path: Path) -> None:
    error = load(tmp_path, "import no_such_package.part\n")
    assert str(error) == (
        "cannot load service.py: ModuleNotFoundError: No module named 'no_such_package' "
        "(service.py, line 1); write the package that has no_such_package into requirements.txt "
        "beside service.py"
    )


def test_a_part_that_a_known_package_lacks_is_no_matter_of_requirements(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    for code in ("import json.no_such_part\n", "import own.no_such_part\n", "import pytest.x\n"):
        assert "requirements.txt" not in str(load(tmp_path, code))


def test_a_reason_has_one_line(tmp_path: Path) -> None:
    error = load(tmp_path, "raise ImportError('\\n\\nREAD THIS\\n\\nand much more')\n")
    assert str(error) == "cannot load service.py: ImportError: READ THIS (service.py, line 1)"


@pytest.mark.parametrize("has_own", [False, True])
def test_packages_for_another_machine_are_named(has_own: bool, tmp_path: Path) -> None:
    (tmp_path / "packages/fast").mkdir(parents=True)
    (tmp_path / "packages/fast/__init__.py").write_text("from fast import _core\n")
    (tmp_path / "packages/fast/_core.cpython-311-mips-linux-gnu.so").write_bytes(b"")
    if has_own:  # one image for several machines
        (tmp_path / f"packages/fast/_other{EXTENSION_SUFFIXES[0]}").write_bytes(b"")
    error = str(load(tmp_path, "import fast\n"))
    assert ("for Python 3.11 on mips-linux-gnu: build it again" in error) is not has_own


def test_the_log_shows_the_lines_of_the_developer_only(tmp_path: Path) -> None:
    for code in ("def f(:\n  pass\n", "def f():\n  1 / 0\nf()\n"):
        cause = load(tmp_path, code).__cause__
        assert cause is not None
        text = "".join(traceback.format_exception(cause))
        assert f'File "{tmp_path}/service.py"' in text
        assert "importlib" not in text
        assert "entry.py" not in text
