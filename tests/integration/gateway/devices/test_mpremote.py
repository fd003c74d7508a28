"""A board on a serial line, as a maker sets it up with mpremote: install, copy, join."""

import json
from pathlib import Path

import pytest

from tests import programs
from tests.device.serial_board import SerialBoard
from tests.mqtt_peer import Mqtt
from tests.system import Gateway

PROGRAM = """\
from device import Device
device = Device()
device.every(0.2, "hello")(lambda: "from serial")
device.run()
"""


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_board_is_set_up_over_a_serial_line(lone: Gateway, tmp_path: Path) -> None:
    settings = {"name": "serial", "host": "127.0.0.1", "port": lone.mqtt_port}
    for name, text in (
        ("main.py", PROGRAM), ("config.json", json.dumps(settings)), ("claim", lone.claim()),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
    flash = tmp_path / "board"
    flash.mkdir()
    with Mqtt(lone.mqtt_port, "api", lone.key, "owner-serial") as owner:
        assert owner.subscribe("devices/+/readings/hello")
        with SerialBoard(flash) as board:
            told = board.mpremote("mip", "install", "--index", f"{lone.url}/mip", "device")
            assert "Done" in told
            assert "app.mpy" in board.mpremote("fs", "ls", ":lib/device")
            copies = [str(tmp_path / name) for name in ("config.json", "claim", "main.py")]
            board.mpremote("fs", "cp", *copies, ":")
            board.mpremote("soft-reset")  # it does not run main.py; the person's next step does
            board.mpremote("exec", "--no-follow", "import main")
            programs.until(lambda: owner.messages, "a reading")
        assert [d["name"] for d in lone.status()["devices"]].count("serial") == 1
