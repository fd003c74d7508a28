"""Reads and writes small files on the board's flash: settings, claim token, credentials.

LittleFS renames atomically, so after a power cut a file holds its old or its new content. The
claim token has a file of its own: it is removed once used, without touching config.json.
"""

import json
import os

from device.config import parse_config
from device.contract import credentials_of, encode_credentials
from device.errors import ConfigError, WireError

CONFIG = "config.json"
CREDENTIALS = "credentials.json"
CLAIM = "claim"

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


def load_config(path=CONFIG):
    """Return the Config on the flash."""
    text = read_text(path)
    if text is None:
        raise ConfigError("cannot read %s: no such file" % path)
    return parse_config(text, path)


def load_credentials(path=CREDENTIALS):
    """Return the stored credentials, or None when the device has not joined."""
    text = read_text(path)
    if text is None:
        return None
    try:
        return credentials_of(json.loads(text))
    except (ValueError, AttributeError, WireError):
        raise ConfigError("cannot read %s: remove it and join again" % path)


def save_credentials(credentials, path=CREDENTIALS):
    """Store the credentials."""
    write_atomic(path, encode_credentials(credentials))


def load_claim(path=CLAIM):
    """Return the installer's claim token, or None."""
    text = read_text(path)
    return text.strip() or None if text is not None else None
