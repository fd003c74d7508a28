import json

import pytest

from device.config import parse_config
from hardware.boards.errors import BoardError
from hardware.boards.settings import BoardSettings

UART = "uart1:4,5"


@pytest.mark.parametrize(
    ("settings", "link", "line"),
    [
        (BoardSettings("attic", "pico-w", "gw", 1883), "wifi", ""),
        (BoardSettings("attic", "pico-w", "", 1, link="serial"), "serial", ""),
        (BoardSettings("attic", "pico-w", "", 1, link="serial", line=UART), "serial", UART),
        (BoardSettings("attic", "pico-w", "", 1, link="ble"), "ble", ""),
    ],
)  # fmt: skip
def test_the_device_reads_what_the_gateway_writes(
    settings: BoardSettings, link: str, line: str
) -> None:
    settings.check()
    config = parse_config(settings.encode().decode())
    assert (config.name, config.link, config.serial) == ("attic", link, line)
    assert ("host" in json.loads(settings.encode())) == (link == "wifi")


def test_a_board_on_a_network_needs_a_host() -> None:
    with pytest.raises(BoardError, match="host"):
        BoardSettings("attic", "pico-w", "", 1883).check()
