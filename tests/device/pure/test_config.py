"""config.json; runs on CPython and on MicroPython."""

import json

from device.config import parse_config
from device.errors import ConfigError
from tests.device.raising import raised

LEAST = {"name": "attic", "host": "10.0.0.1"}


def refusal(**changes: object) -> str:
    table: dict[str, object] = dict(LEAST)
    table.update(changes)
    return raised(ConfigError, parse_config, json.dumps(table))


def test_defaults() -> None:
    config = parse_config(json.dumps(LEAST))
    assert (config.name, config.host, config.port) == ("attic", "10.0.0.1", 1883)
    assert (config.model, config.interval_s, config.keepalive_s) == ("generic", 5, 30)


def test_values() -> None:
    config = parse_config('{"name": "a", "host": "h", "port": 1884, "interval_s": 0.5}')
    assert (config.port, config.interval_s) == (1884, 0.5)


def test_refuses_what_it_does_not_know() -> None:
    message = refusal(intervall_s=1)
    assert message.startswith("cannot read config.json: intervall_s is not known; known are")


def test_refuses_what_is_missing_or_wrong() -> None:
    assert raised(ConfigError, parse_config, '{"name": "a"}').endswith("host is required")
    assert raised(ConfigError, parse_config, "{").endswith("not JSON")
    assert raised(ConfigError, parse_config, "[]").endswith("not a JSON object")
    assert refusal(port=0).endswith("port must be 1 to 65535")
    assert refusal(port="1883").endswith("port is not a number")
    assert refusal(port=True).endswith("port is not a number")
    assert refusal(port=18.5).endswith("port is not a number")
    assert refusal(interval_s=0).endswith("interval_s must be 0.01 to 86400")
    assert "name is not a text" in refusal(name="")
    assert "host is not a text" in refusal(host=7)
    assert "host is required" in refusal(host=None)
