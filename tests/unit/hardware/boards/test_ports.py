import os
import pty
from pathlib import Path

import pytest

from hardware.boards.errors import BoardError
from hardware.boards.ports import choose_port, find_ports, find_stable_path, open_port


def test_ports_are_found_once_by_the_name_that_stays(tmp_path: Path) -> None:
    (tmp_path / "serial/by-id").mkdir(parents=True)
    (tmp_path / "ttyUSB0").touch()
    (tmp_path / "ttyACM0").touch()
    (tmp_path / "tty1").touch()
    (tmp_path / "serial/by-id/usb-board").symlink_to(tmp_path / "ttyUSB0")
    assert find_ports(tmp_path) == [tmp_path / "serial/by-id/usb-board", tmp_path / "ttyACM0"]
    with pytest.raises(BoardError, match=r"several ports; give --port: .*usb-board, .*ttyACM0"):
        choose_port("", tmp_path)
    (tmp_path / "ttyACM0").unlink()
    assert choose_port("", tmp_path).name == "usb-board"
    assert choose_port("/dev/x", tmp_path) == Path("/dev/x")


def test_without_a_port_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="plug it in with a cable that carries data"):
        choose_port("", tmp_path)
    with pytest.raises(BoardError, match="no such port; is the board plugged in"):
        open_port(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(BoardError, match="it is no serial port"):
        open_port(tmp_path / "file")


def test_a_link_that_leads_elsewhere_is_noticed(tmp_path: Path) -> None:  # case L19
    ends = [pty.openpty() for _ in range(2)]
    try:
        link = tmp_path / "ttyUSB0"
        link.symlink_to(os.ttyname(ends[0][1]))
        port = open_port(link)
        port.check()
        link.unlink()
        link.symlink_to(os.ttyname(ends[1][1]))
        with pytest.raises(BoardError, match="nothing was written"):
            port.check()
    finally:
        for master, slave in ends:
            os.close(master)
            os.close(slave)


def test_the_name_that_stays_is_that_of_the_usb_device(tmp_path: Path) -> None:
    by_id = tmp_path / "serial/by-id"
    by_id.mkdir(parents=True)
    for number in (0, 1):
        (tmp_path / f"ttyUSB{number}").touch()
        (by_id / f"usb-adapter-{number}").symlink_to(f"../../ttyUSB{number}")
    for given in (tmp_path / "ttyUSB1", by_id / "usb-adapter-1"):
        assert find_stable_path(given, tmp_path) == by_id / "usb-adapter-1"
    assert find_stable_path(tmp_path / "ttyACM0", tmp_path) == tmp_path / "ttyACM0"
