import subprocess
import sys
from pathlib import Path

import pytest

from settings.partial_imports import import_without

PARTS = {
    "__init__.py": "from {0}.small import SMALL\nfrom {0}.large import LARGE, large\n",
    "small.py": "SMALL = 1\n",
    "large.py": "import {0}.beside\nLARGE = 2\ndef large():\n    return 3\n",
    "beside.py": "",
}


def write_package(folder: Path, name: str) -> None:
    (folder / name).mkdir()
    for file, text in PARTS.items():
        (folder / name / file).write_text(text.format(name))


def run(folder: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\nsys.path.append({str(folder)!r})\n{code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


IMPORT = "from settings.partial_imports import import_without\nimport_without('pack', 'large')\n"


def test_a_submodule_comes_with_the_first_use_of_its_names(tmp_path: Path) -> None:
    write_package(tmp_path, "pack")
    code = f"""{IMPORT}
import pack
print(pack.SMALL, sorted(each for each in sys.modules if each.startswith("pack")))
from pack import LARGE
print(LARGE, pack.large(), "pack.beside" in sys.modules)
"""
    assert run(tmp_path, code) == "1 ['pack', 'pack.small']\n2 3 True"


def test_others_can_import_the_submodule_itself(tmp_path: Path) -> None:
    write_package(tmp_path, "pack")
    code = f"{IMPORT}\nimport pack.large\nfrom pack.large import LARGE\nprint(LARGE)"
    assert run(tmp_path, code) == "2"


def test_a_name_that_the_package_does_not_have_is_an_error(tmp_path: Path) -> None:
    write_package(tmp_path, "pack")
    code = f"{IMPORT}\nimport pack\nprint(hasattr(pack, 'LARGE'), hasattr(pack, 'other'))"
    assert run(tmp_path, code) == "True False"


def test_an_imported_package_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write_package(tmp_path, "whole_pack")
    whole = __import__("whole_pack")
    import_without("whole_pack", "large")
    assert whole.LARGE == 2


def test_uvicorn_serves_without_its_command_line(tmp_path: Path) -> None:
    code = """
import web.server.uvicorn_parts as parts
print(sorted({"click", "multiprocessing", "uvicorn.main"} & set(sys.modules)))
import uvicorn
print(uvicorn.Server is parts.Server, uvicorn.run.__module__, "click" in sys.modules)
"""
    assert run(tmp_path, code) == "[]\nTrue uvicorn.main True"
