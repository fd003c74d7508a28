"""Changes a broker's password file."""

import sys
from getpass import getpass
from pathlib import Path

from broker.access.passwords.edit import generate_password, remove_user, set_password
from broker.access.passwords.hashes import (
    CHOSEN,
    GENERATED,
    MAX_PASSWORD_BYTES,
    SCRAM_CHOSEN,
    SCRAM_GENERATED,
)
from broker.wire.errors import BrokerError


def change_password(
    path: Path, user: str, *, stdin: bool, generate: bool, delete: bool, scram: bool
) -> None:
    """Set or remove one user, and print what changed.

    Raises:
        BrokerError: the file or the password cannot be used.
    """
    if delete:
        remove_user(path, user)
        print(f"{path}: user {user} removed")  # noqa: T201
        return
    password = generate_password() if generate else _read() if stdin else _ask(user)
    chosen, generated = (SCRAM_CHOSEN, SCRAM_GENERATED) if scram else (CHOSEN, GENERATED)
    is_new = set_password(path, user, password, generated if generate else chosen)
    if generate:
        print(password)  # noqa: T201  # the only time that it is shown
    elif is_new:
        print(f"{path}: user {user} added")  # noqa: T201
    else:
        print(f"{path}: password changed for {user}")  # noqa: T201


def _read() -> str:
    line = sys.stdin.buffer.read(MAX_PASSWORD_BYTES + 2)
    try:
        return line.decode().removesuffix("\n")
    except UnicodeDecodeError as exc:
        raise BrokerError("cannot read password: not UTF-8") from exc


def _ask(user: str) -> str:
    if not sys.stdin.isatty():
        raise BrokerError("cannot ask for a password: no terminal; give --stdin or --generate")
    while True:
        password = getpass(f"Password of {user}: ")
        if password and password == getpass("Repeat for confirmation: "):
            return password
        print("Empty, or the two passwords differ.", file=sys.stderr)  # noqa: T201
