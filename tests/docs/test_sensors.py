"""Every command of docs/sensors.md is run against a gateway and sensors on a virtual radio."""

import re
import shlex
from pathlib import Path

import pytest

from gateway.sensors.counter_guard import RESERVE
from gateway.sensors.duplicates import WINDOW_S
from gateway.sensors.frames import KEY_BYTES
from gateway.sensors.presence import FACTOR, FIRST_S, GAPS, LEAST_S, MOST_S
from gateway.sensors.sensor import BAD_FRAMES, PACKET_RATE
from gateway.sensors.strangers import SILENT_S, STRANGERS_LIMIT
from tests.bthome import CLIMATE, KEY, TRIGGER_BASED, advertise, encrypt, on_air
from tests.commands import Person
from tests.programs import ROOT, until
from tests.radio.radio_gateway import RadioGateway
from tests.radio.virtual_radio import VirtualRadio

PAGE = (ROOT / "docs" / "sensors.md").read_text()
(BLOCK,) = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
ATTIC, DOOR = "C4:C1:38:0B:1C:2D", "D4:48:E6:8F:80:A5"
REPLACED = {"A4:C1:38:0B:1C:2D": ATTIC, "54:48:E6:8F:80:A5": DOOR}


def test_every_command_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("door.key").write_text(KEY)
    person = Person(tmp_path)
    door = encrypt("1a01", 7, DOOR, flags=TRIGGER_BASED)
    with VirtualRadio() as radio, RadioGateway(tmp_path / "state", radio) as gateway:
        where = ("--url", gateway.url, "--state", str(gateway.state))

        def run(command: str) -> str:
            for written, actual in REPLACED.items():
                command = command.replace(written, actual)
            first, *words = shlex.split(command)
            assert first == "hecate"
            return person.done(*words, *where)

        with (
            radio.beacon(ATTIC, on_air(advertise(CLIMATE, ATTIC))),
            radio.beacon(DOOR, on_air(door)),
        ):
            until(lambda: {ATTIC, DOOR} <= set(run("hecate devices sensors").split()), "heard")
            said = [run(command) for command in BLOCK.splitlines()]
        assert [text.split()[:2] for text in said[1:]] == [
            ["approved", "attic"],
            ["approved", "door"],
        ]


@pytest.mark.parametrize(
    "text",
    [
        f"At most {STRANGERS_LIMIT} are kept",
        f"{2 * KEY_BYTES} hexadecimal digits",
        f"a counter is stored {RESERVE} in advance",
        f"its last {GAPS} intervals",
    ],
)
def test_the_page_names_the_bounds(text: str) -> None:
    assert text in PAGE


def test_the_page_words_the_other_bounds() -> None:
    assert (SILENT_S, WINDOW_S, BAD_FRAMES) == (3600.0, 4.0, 3)
    assert (FACTOR, LEAST_S, MOST_S, FIRST_S) == (4.0, 180.0, 24 * 3600.0, 1800.0)
    assert PACKET_RATE.interval_s == 0.1
