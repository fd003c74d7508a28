"""mpremote sets up the MicroPython interpreter behind a pseudo terminal, which joins a gateway."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.client.target import Target
from gateway.cli.devices.provision import ProvisionOptions, provision_board
from gateway.cli.errors import CliError
from hardware.boards.errors import BoardError
from hardware.boards.micropython import RemoteBoard
from hardware.boards.ports import open_port
from hardware.boards.settings import BoardSettings, WifiSettings
from settings.secret import Secret
from tests.commands import Person
from tests.device.serial_board import SerialBoard
from tests.programs import until
from tests.system import Gateway

PASSWORD = """a "b" 'c' %s \\n \\ $HOME `id` {0} & ; | < > # ! ~ * ? [x] end012"""
SSID = "a:b’s"  # noqa: RUF001
READ_CONFIG = """
import json
with open("config.json") as file:
    table = json.load(file)
print("hecate:" + json.dumps([list(table[key].encode()) for key in (
    "wifi_ssid", "wifi_password", "name")]))
"""


@dataclass(frozen=True)
class Board:
    """A board, and the name of its port."""

    link: Path


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with SerialBoard(tmp_path) as serial:
        link = tmp_path / "ttyACM0"
        link.symlink_to(serial.port)
        yield Board(link)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("provisioning") / "node") as gateway:
        yield gateway


def provision(gateway: Gateway, board: Board, **more: Any) -> None:
    options = ProvisionOptions(str(board.link), **{"name": "attic", "host": "127.0.0.1"} | more)
    target = Target(gateway.url, Secret(gateway.key))
    asyncio.run(provision_board(target, options))


def ask(board: Board, script: str) -> Any:
    return asyncio.run(RemoteBoard(open_port(board.link)).ask(script, "ask"))[0]


def devices(gateway: Gateway, name: str) -> list[dict[str, Any]]:
    found = gateway.call("GET", "/devices/v1/devices")["data"]
    return [device for device in found if device["name"] == name]


@pytest.mark.slow
@pytest.mark.whole_in_any_share
def test_a_bare_board_becomes_a_device(
    gateway: Gateway, board: Board, capfd: pytest.CaptureFixture[str]
) -> None:
    provision(gateway, board)
    (device,) = devices(gateway, "attic")
    told = capfd.readouterr()
    assert told.out == f"attic is online as {device['id']}\n"
    assert "it is linux" in told.err
    assert device["model"] == "simulated"
    files = ask(board, "import os\nprint('hecate:' + str(os.listdir('/')).replace(\"'\", '\"'))")
    assert {"boot.py", "main.py", "config.json", "credentials.json", "lib", "time"} <= set(files)
    assert "claim" not in files


@pytest.mark.slow
def test_setting_a_board_up_again_keeps_what_it_is(
    gateway: Gateway, board: Board, tmp_path: Path
) -> None:
    main = tmp_path / "mine.py"
    main.write_text(
        "from device import Device\ndevice = Device()\n\n"
        "@device.every(0.2)\ndef mine():\n    return 7\n\ndevice.run()\n"
    )
    provision(gateway, board, name="cellar", main=main)
    (before,) = devices(gateway, "cellar")
    provision(gateway, board, name="cellar two")
    (after,) = devices(gateway, "cellar")
    assert (after["id"], after["online"]) == (before["id"], True)
    until(lambda: devices(gateway, "cellar")[0]["last_topic"].endswith("/mine"), "its own program")
    provision(gateway, board, name="cellar three", rejoin=True)
    assert [device["online"] for device in devices(gateway, "cellar three")] == [True]


# case L18
@pytest.mark.parametrize(
    ("ssid", "password"),
    [
        ("a:b", PASSWORD[:63]),
        ("Café’s 😀", "  eight   "),  # noqa: RUF001  # a real name
        ("x" * 32, "p" * 63),
        (" \\\"'%;$(id)", "f" * 64),
        ("open", ""),
    ],
)
def test_names_and_passwords_of_networks_arrive_as_they_are(
    board: Board, tmp_path: Path, ssid: str, password: str
) -> None:
    wifi = WifiSettings(ssid, Secret(password))
    settings = BoardSettings("Grüße 😀", "esp32", "10.0.0.1", 1883, wifi)
    settings.check()
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "config.json").write_bytes(settings.encode())
    asyncio.run(RemoteBoard(open_port(board.link)).copy(folder))
    found = [bytes(octets) for octets in ask(board, READ_CONFIG)]
    assert found == [ssid.encode(), password.encode(), "Grüße 😀".encode()]


# case L18
@pytest.mark.slow
def test_the_command_takes_them_unchanged_too(
    gateway: Gateway, board: Board, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD[:63] + "\n")
    words = ["devices", "provision", "--name", "attic 4", "--port", str(board.link)]
    words += ["--host", "127.0.0.1", "--wifi", SSID, "--wifi-password-file", str(file)]
    environ = {"HECATE_URL": gateway.url, "HECATE_API_KEY": gateway.key}
    said = Person(tmp_path).done(*words, **environ)
    assert "attic 4 is online as dev-" in said
    assert bytes(ask(board, READ_CONFIG)[0]).decode() == SSID
    assert bytes(ask(board, READ_CONFIG)[1]).decode() == PASSWORD[:63]


@pytest.mark.parametrize(
    ("ssid", "password", "why"),
    [
        ("", "12345678", "1 to 32 bytes"),
        ("ü" * 17, "12345678", "1 to 32 bytes"),
        ("caf\udce9", "12345678", "not UTF-8"),  # Latin-1 on the command line
        ("home", "caf\udce9cafe", "printable ASCII"),
        ("home", "short", "8 to 63"),
        ("home", "x" * 64, "64 hex digits"),
        ("home", "pässword", "printable ASCII"),
    ],
)
def test_what_no_network_has_is_refused_before_anything_is_written(
    ssid: str, password: str, why: str
) -> None:
    with pytest.raises(BoardError, match=why):
        WifiSettings(ssid, Secret(password)).check()


def test_a_board_without_micropython_is_told_apart(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pty

    monkeypatch.setattr("hardware.boards.micropython.IDENTIFY_S", 3.0)
    master, slave = pty.openpty()
    try:
        link = tmp_path / "ttyUSB0"
        link.symlink_to(os.ttyname(slave))
        options = ProvisionOptions(str(link), "attic", "127.0.0.1")
        with pytest.raises(CliError, match=r"cannot ask the board: .*hecate devices flash"):
            asyncio.run(provision_board(Target(gateway.url, Secret(gateway.key)), options))
    finally:
        os.close(master)
        os.close(slave)


def test_a_gateway_that_no_board_reaches_says_so(gateway: Gateway, board: Board) -> None:
    with pytest.raises(CliError, match=r"listens on 127.0.0.1 only.*\[broker\] host"):
        provision(gateway, board, host="")


def test_the_shell_is_that_of_the_board(board: Board) -> None:
    command = [sys.executable, "-m", "gateway", "devices", "shell", "--port", str(board.link)]
    import pty

    child, terminal = pty.fork()
    if child == 0:
        os.execv(command[0], command)
    said = b""
    try:
        until_bytes = [(b"Connected to MicroPython", b"print(6 * 7)\r"), (b"42", b"\x18")]
        for wanted, answer in until_bytes:
            while wanted not in said:
                said += os.read(terminal, 1024)
            os.write(terminal, answer)
        _, status = os.waitpid(child, 0)
        assert status == 0
    finally:
        os.close(terminal)


def test_settings_are_json_that_micropython_reads() -> None:
    text = BoardSettings("😀", "m", "h", 1, None, tls=True).encode()
    assert json.loads(text) == {"name": "😀", "model": "m", "host": "h", "port": 1, "tls": True}
    assert "😀".encode() in text  # an escaped pair would be two characters on the board
    for settings in (BoardSettings("", "m", "h", 1), BoardSettings("n", "m", "h", 0)):
        with pytest.raises(BoardError):
            settings.check()
