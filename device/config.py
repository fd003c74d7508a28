"""Reads the text of config.json into a checked value. Pure; flash.py reads the file."""

import json

from device.errors import ConfigError
from micropython import const

_TLS_PORT = const(8883)

_NUMBERS = {  # key: (default, lowest, highest)
    "port": (1883, 1, 65535),  # 8883 with TLS
    "interval_s": (5, 0.01, 86400),
    "keepalive_s": (30, 1, 3600),
    "timeout_s": (10, 0.1, 120),  # to connect, for CONNACK, SUBACK, PINGRESP and a stuck write
    "retry_first_s": (1, 0.01, 3600),
    "retry_cap_s": (4, 0.01, 3600),  # while nothing answers
    "refused_cap_s": (60, 0.01, 3600),  # while the gateway refuses, or cannot serve
    "outbox_limit": (64, 5, 10000),
    "outbox_bytes": (8192, 2048, 1048576),
    "queue_bytes": (131072, 0, 16777216),  # in flash; 0: none
    "call_limit_s": (30, 0.1, 3600),  # of an async handler or sensor
    "watchdog_s": (8, 0, 8),  # 0: none; the RP2's own counts to 8.3 s
    "crash_limit": (5, 1, 100),  # resets in a row, none of them by power, until safe mode
    "baud": (115200, 1200, 4000000),  # of a serial line
}
_TEXTS = {
    "host": None,  # not needed without IP
    "name": None,
    "model": "generic",
    "wifi_ssid": "",
    "wifi_password": "",
    "tls_name": "",  # in the gateway's certificate, if it is not the host
    "link": "wifi",
    "serial": "",  # console, uart<number>:<tx>,<rx>, on the Unix port a path
}
_FLAGS = {"tls": False}
_LINKS = ("wifi", "serial", "ble")
_WHOLE = ("port", "baud", "keepalive_s", "outbox_limit", "outbox_bytes", "queue_bytes", "crash_limit")


class Config:
    """The settings of a device; attributes are the keys of config.json."""


def parse_config(text, source="config.json"):
    """Return the Config in a JSON text; ConfigError names the key and its fault."""
    try:
        table = json.loads(text)
    except ValueError:
        raise ConfigError("cannot read %s: not JSON" % source)
    if not isinstance(table, dict):
        raise ConfigError("cannot read %s: not a JSON object" % source)
    config = Config()
    if table.get("link", "wifi") not in _LINKS:
        raise ConfigError("cannot read %s: link is not one of %s" % (source, ", ".join(_LINKS)))
    if table.get("link", "wifi") != "wifi":
        table.setdefault("host", "none")
    for key, value in table.items():
        if key not in _NUMBERS and key not in _TEXTS and key not in _FLAGS:
            known = ", ".join(sorted(list(_NUMBERS) + list(_TEXTS) + list(_FLAGS)))
            raise ConfigError(
                "cannot read %s: %s is not known; known are %s" % (source, key, known)
            )
    for key, default in _TEXTS.items():
        setattr(config, key, _checked_text(source, key, table.get(key, default)))
    for key, (default, lowest, highest) in _NUMBERS.items():
        value = table.get(key, default)
        kinds = (int,) if key in _WHOLE else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise ConfigError("cannot read %s: %s is not a number" % (source, key))
        if not lowest <= value <= highest:
            raise ConfigError(
                "cannot read %s: %s must be %s to %s" % (source, key, lowest, highest)
            )
        setattr(config, key, value)
    for key, default in _FLAGS.items():
        value = table.get(key, default)
        if not isinstance(value, bool):
            raise ConfigError("cannot read %s: %s is not true or false" % (source, key))
        setattr(config, key, value)
    if config.tls and "port" not in table:
        config.port = _TLS_PORT
    return config


def _checked_text(source, key, value):
    if value is None:
        raise ConfigError("cannot read %s: %s is required" % (source, key))
    if not isinstance(value, str) or (key in ("host", "name") and not 1 <= len(value) <= 64):
        raise ConfigError("cannot read %s: %s is not a text of 1 to 64 characters" % (source, key))
    return value
