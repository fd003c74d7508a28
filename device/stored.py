"""Reads and writes what an installer or a join left on the flash. Loaded when it is needed.

The claim token has a file of its own: it is removed once used, without touching config.json.

A device must not need a visit because of a broken file. The settings with which it was online last
are kept beside config.json and take its place when it cannot be read; broken credentials count as
none.
"""

import json
import os

from device.errors import ConfigError, WireError
from device.flash import load, read_text, write_atomic

CONFIG = "config.json"
CREDENTIALS = "credentials.json"
CLAIM = "claim"
APPROVAL_SECRET = "join-secret"
GOOD_CONFIG = "config.good"
_FIELDS = ("device_id", "username", "password", "prefix")


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
    return load("config").parse_config(text, path)


def load_credentials(path=CREDENTIALS):
    """Return the stored credentials, or None when the device has not joined."""
    try:
        text = read_text(path)
        return None if text is None else credentials_of(json.loads(text))
    except (OSError, ValueError, AttributeError, WireError) as exc:
        print("device: cannot read %s: joining again: %s" % (path, exc))
        return None


def credentials_of(answer):
    """Return (device id, user name, password, prefix) from an object: an answer, or the stored one.

    WireError when a field is missing.
    """
    values = tuple([answer.get(field) for field in _FIELDS])
    for value in values:
        if not isinstance(value, str) or not value:
            raise WireError("cannot read credentials: a field is missing")
    if values[3] != "devices/" + values[0]:
        raise WireError("cannot read credentials: prefix is not that of the device")
    return values


def save_credentials(credentials, pair=(None, None), path=CREDENTIALS):
    """Store the credentials, and the key and the certificate (PEM) if both are there.

    All are in one file: after a power cut between two, a key would not fit its certificate.
    """
    table = dict(zip(_FIELDS, credentials))
    if isinstance(pair[0], str) and isinstance(pair[1], str):
        table["key"], table["certificate"] = pair
    write_atomic(path, json.dumps(table))


def load_pair(path=CREDENTIALS):
    """Return the key and the certificate that the gateway gave, each as text or None."""
    try:
        table = json.loads(read_text(path) or "{}")
        key, certificate = table.get("key"), table.get("certificate")
    except (OSError, ValueError, AttributeError):
        return None, None
    is_text = isinstance(key, str) and isinstance(certificate, str)
    return (key, certificate) if is_text else (None, None)


def load_claim(path=CLAIM):
    """Return the installer's claim token, or None."""
    try:
        text = read_text(path)
    except (OSError, ValueError):
        return None
    return text.strip() or None if text is not None else None


def approval_secret(path=APPROVAL_SECRET):
    """Return the secret of a board that joins by approval, made at the first time."""
    try:
        secret = read_text(path)
    except (OSError, ValueError):
        secret = None
    if not secret or len(secret) != 32:
        secret = "".join("%02x" % byte for byte in os.urandom(16))
        write_atomic(path, secret)
    return secret
