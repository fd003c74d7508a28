"""The page about Bluetooth says what the code does."""

import re
import tomllib
from pathlib import Path

from gateway.config import load_gateway_config
from gateway.links.ble import advertisers, presence, scheduler
from gateway.links.ble.device_notes import NOTE_S
from hardware.radio import hecate_service, radio, scan_health
from tests.programs import ROOT

TEXT = (ROOT / "docs" / "bluetooth.md").read_text()
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    rules = dict(re.findall(r"^\| ([^|]*?),? (?:after|of) \| (\d+) s \|$", TEXT, re.MULTILINE))
    assert [float(seconds) for seconds in rules.values()] == [
        scheduler.TURN_S,
        scheduler.SHORT_TURN_S,
        scheduler.RELAXED_TURN_S,
        scheduler.PROOF_S,
        scheduler.URGENT_S,
    ]
    assert f"nothing has passed for {scheduler.IDLE_S:g} s" in TEXT
    assert f"nobody has heard it\nfor {presence.AWAY_S:.0f} s" in TEXT
    assert f"for {presence.LONGEST_S / 60:.0f} minutes" in TEXT
    assert f"up to {advertisers.STRANGER_CAP_S / 60:.0f} minutes" in TEXT
    assert f"every {radio.LOOK_S:.0f} s" in TEXT
    assert (scheduler.STRANGER_EACH, scheduler.STRANGER_S, NOTE_S) == (4, 60.0, 60.0)
    assert scan_health.RESTART_AFTER == 4


def test_the_configuration_of_the_page_is_valid(tmp_path: Path) -> None:
    [block] = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path / "gateway.toml"
    path.write_text(block.replace('# adapter = "F0', 'adapter = "F0'))
    settings = load_gateway_config(path, {}).bluetooth
    assert settings.enabled
    assert settings.links == tomllib.loads(block)["bluetooth"]["links"]
    assert settings.adapter == "F0:00:00:00:00:01"


def test_the_protocol_names_the_service_of_the_code() -> None:
    for uuid in (
        hecate_service.SERVICE,
        hecate_service.RX,
        hecate_service.TX,
        hecate_service.LAYOUT,
    ):
        head, tail = uuid.split("-", 1)
        assert f"`{head}-…`" in PROTOCOL
        assert f"`-{tail}`" in PROTOCOL
