"""Boards that install the device package from a real gateway."""

import json
import subprocess
from pathlib import Path

import httpx
import pytest

from hardware import device_package
from hardware.simulated import find_micropython
from tests.system import Gateway

SHOW = "import device; print(device.__file__, device.Device)"


def micropython(program: str, cwd: Path, *path: Path, heap: str = "512K") -> str:
    done = subprocess.run(
        [find_micropython(), "-X", f"heapsize={heap}", "-c", program],
        cwd=cwd,
        env={"PATH": "", "MICROPYPATH": ":".join([".frozen", *map(str, path)])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "call",
    ['mip.install("{url}/mip/device", target="{to}")',
     'mip.install("{url}/mip/device/package.json", target="{to}")',
     'mip.install("device", index="{url}/mip", target="{to}")'],
)  # fmt: skip
def test_a_board_installs_it_compiled(lone: Gateway, tmp_path: Path, call: str) -> None:
    # at the heap of a small board: what is installed needs no compiling
    program = "import mip; " + call.format(url=lone.url, to=tmp_path / "lib")
    told = micropython(program, tmp_path)
    assert "Done" in told, told
    names = {p.relative_to(tmp_path / "lib/device").as_posix() for p in files(tmp_path / "lib")}
    expected = {n.removesuffix(".py") + ".mpy" for n in device_package.package_sources()}
    assert names == expected
    assert "lib/device" in micropython(SHOW, tmp_path, tmp_path / "lib", heap="96K")
    if "index" in call:
        again = micropython(program, tmp_path)
        assert again.count("Exists") == len(expected)


def files(folder: Path) -> list[Path]:
    """Return all files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_sources_are_there_for_boards_of_other_formats(lone: Gateway, tmp_path: Path) -> None:
    program = f'import mip; mip.install("device", index="{lone.url}/mip", target="lib", mpy=False)'
    assert "Done" in micropython(program, tmp_path)
    assert (tmp_path / "lib/device/app.py").read_bytes() == (
        device_package.PACKAGE / "app.py"
    ).read_bytes()


def test_nothing_else_is_served(lone: Gateway) -> None:
    with httpx.Client(base_url=lone.url, trust_env=False) as client:
        for path in (
            "/mip/device/../gateway/config.py", "/mip/device/main.py", "/mip/device/%2e%2e/x.py",
            "/mip/file/ab/00000000", "/mip/package/6/other/latest.json",
            "/mip/package/5/device/latest.json", "/mip/package/6/device/9.9.json",
        ):  # fmt: skip
            assert client.get(path).status_code == 404, path
        listed = json.loads(client.get("/mip/device/package.json").text)
        assert listed["urls"][0] == ["device/__init__.mpy", "__init__.mpy"]
