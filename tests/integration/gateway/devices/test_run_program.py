"""`hecate devices run`: a maker's program without a board, with a real gateway."""

import subprocess
import sys
from pathlib import Path

from tests import programs
from tests.mqtt_peer import Mqtt
from tests.programs import HECATE, Program
from tests.system import Gateway

FIVE_LINES = """\
from device import Device
from words import greeting
device = Device()
device.every(0.2, "greeting")(lambda: greeting)
device.run()
"""


def test_a_program_of_five_lines_joins_and_publishes(lone: Gateway, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(FIVE_LINES)
    (tmp_path / "words.py").write_text("print('words are here')\ngreeting = 'hello'\n")
    command = [*HECATE, "devices", "run", "main.py", "words.py", "--name", "maker"]
    command += ["--port", str(lone.mqtt_port), "--url", lone.url, "--state", str(lone.state)]
    with Mqtt(lone.mqtt_port, "api", lone.key, "owner-run") as owner:
        assert owner.subscribe("devices/+/readings/greeting")
        for _ in range(2):  # the second time it has its credentials already
            before = len(owner.messages)
            with Program(command, cwd=tmp_path) as program:
                program.wait_for("words are here")
                program.wait_for("device: online")
                programs.until(lambda: len(owner.messages) > before, "a reading")  # noqa: B023
        mine = [d for d in lone.status()["devices"] if d["name"] == "maker"]
        assert len(mine) == 1


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    def said(*more: str) -> str:
        done = subprocess.run(
            [*HECATE, "devices", "run", *more],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert done.returncode == 1
        return done.stderr

    assert "cannot run nothing.py: no such file" in said("nothing.py")
    (tmp_path / "main.py").write_text("")
    (tmp_path / "more.json").write_text("[]")
    assert "not a JSON object" in said("main.py", "--config", "more.json")


def test_an_interpreter_that_is_not_installed_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("")
    program = (
        "import hardware.simulated as s\n"
        "s.sys.executable = '/nowhere/python'\n"
        "import sys; sys.argv = ['hecate', 'devices', 'run', 'main.py']\n"
        "from gateway.__main__ import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PATH": "/nowhere", "HOME": str(tmp_path)},
    )
    assert done.returncode == 1
    assert "micropython not found; pip install 'hecate-gateway[simulate]'" in done.stderr
