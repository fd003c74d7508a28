"""Reads and writes small files on the board's flash: settings, claim token, credentials.

LittleFS renames atomically, so after a power cut a file holds its old or its new content. The
claim token has a file of its own: it is removed once used, without touching config.json.

A device must not need a visit because of a broken file. The settings with which it was online last
are kept beside config.json and take its place when it cannot be read; broken credentials count as
none when there is a claim token.
"""

import json
import os
import sys

from device.contract import credentials_of, encode_credentials
from device.errors import ConfigError, WireError

CONFIG = "config.json"
CREDENTIALS = "credentials.json"
CLAIM = "claim"
GOOD_CONFIG = "config.good"

_ENOENT = 2


def read_text(path):
    """Return a file's text, or None when there is no such file."""
    try:
        with open(path) as file:
            return file.read()
    except OSError as exc:
        if exc.errno != _ENOENT:
            raise
        return None


def write_atomic(path, text):
    """Replace a file; after a power cut it holds the old text or the new."""
    fresh = path + ".new"
    with open(fresh, "w") as file:
        file.write(text)
    os.rename(fresh, path)


def remove(path):
    """Delete a file if it exists."""
    try:
        os.remove(path)
    except OSError as exc:
        if exc.errno != _ENOENT:
            raise


def load_config(path=CONFIG, good_path=GOOD_CONFIG):
    """Return the Config on the flash, or the last good one when that is broken."""
    try:
        return _read_config(path)
    except ConfigError as exc:
        try:
            config = _read_config(good_path)
        except ConfigError:
            raise ConfigError("%s; write it again and reset" % exc)
        print("device: %s; going on with the last good one: write it again" % exc)
        return config


def keep_good_config(path=CONFIG, good_path=GOOD_CONFIG):
    """Keep a copy of the settings, which have brought the device online; seldom writes."""
    try:
        text = read_text(path)
        if text is not None and text != read_text(good_path):
            _parse(text, path)
            write_atomic(good_path, text)
    except (OSError, ValueError, ConfigError) as exc:
        print("device: cannot keep a copy of %s: %s" % (path, exc))


def _read_config(path):
    try:
        text = read_text(path)
    except (OSError, ValueError) as exc:  # ValueError: not UTF-8
        raise ConfigError("cannot read %s: %s" % (path, exc))
    if text is None:
        raise ConfigError("cannot read %s: no such file" % path)
    return _parse(text, path)


def _parse(text, path):
    from device.config import parse_config

    unload("config")
    return parse_config(text, path)


def unload(name):
    """Forget a module of the package that is seldom needed; its memory is needed more."""
    module = sys.modules.pop("device." + name, None)
    if module is not None and hasattr(sys.modules["device"], name):
        delattr(sys.modules["device"], name)


def load_credentials(path=CREDENTIALS, claim_path=CLAIM):
    """Return the stored credentials, or None when the device has not joined."""
    try:
        text = read_text(path)
        return None if text is None else credentials_of(json.loads(text))
    except (ValueError, AttributeError, WireError):
        if load_claim(claim_path) is not None:
            print("device: cannot read %s: joining again with the claim token" % path)
            return None
        raise ConfigError(
            "cannot read %s: write a new claim token to the file 'claim' and reset" % path
        )


def save_credentials(credentials, path=CREDENTIALS):
    """Store the credentials."""
    write_atomic(path, encode_credentials(credentials))


def load_claim(path=CLAIM):
    """Return the installer's claim token, or None."""
    try:
        text = read_text(path)
    except (OSError, ValueError):
        return None
    return text.strip() or None if text is not None else None
