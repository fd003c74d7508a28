from pathlib import Path

import pytest

from gateway.config import load_gateway_config
from gateway.errors import ConfigError
from gateway.links.settings import SerialSettings


def load(tmp_path: Path, text: str) -> tuple[SerialSettings, ...]:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    return load_gateway_config(file, {}).serial


def test_serial_lines_of_a_configuration(tmp_path: Path) -> None:
    found = load(
        tmp_path, '[[serial]]\npath = "/dev/ttyUSB0"\n[[serial]]\npath = "/dev/a"\nbaud = 9600\n'
    )
    assert [(each.path, each.baud, each.chunk_bytes) for each in found] == [
        ("/dev/ttyUSB0", 115200, 60),
        ("/dev/a", 9600, 60),
    ]
    assert load(tmp_path, "") == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "path: is required"),
        ('path = "ttyUSB0"', "must be absolute"),
        ('path = "/dev/a"\nbaud = 7', "baud = 7: must be 1200 to 4000000"),
        ('path = "/dev/a"\nchunk_bytes = 19', "chunk_bytes = 19: must be 20 to 512"),
        ('path = "/dev/a"\nspeed = 1', "speed: is not known"),
    ],
)
def test_bad_serial_lines_are_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"[[serial]]\n{text}\n")
    assert why in str(caught.value)
