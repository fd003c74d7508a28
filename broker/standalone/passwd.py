"""Changes a broker's password file."""

import sys
from pathlib import Path

import typer

from broker import BrokerError
from broker.access.passwords.edit import generate_password, remove_user, set_password
from broker.access.passwords.hashes import (
    CHOSEN,
    GENERATED,
    MAX_PASSWORD_BYTES,
    SCRAM_CHOSEN,
    SCRAM_GENERATED,
)
from gateway.cli.errors import CliError


def change_password(
    path: Path, user: str, *, stdin: bool, generate: bool, delete: bool, scram: bool
) -> None:
    """Set or remove one user, and say what was done."""
    try:
        if delete:
            remove_user(path, user)
            print(f"{path}: {user} is removed")  # noqa: T201
            return
        password = generate_password() if generate else _read() if stdin else _ask(user)
        chosen, generated = (SCRAM_CHOSEN, SCRAM_GENERATED) if scram else (CHOSEN, GENERATED)
        is_new = set_password(path, user, password, generated if generate else chosen)
    except BrokerError as exc:
        raise CliError(str(exc)) from exc
    if generate:
        print(password)  # noqa: T201  # the only time anybody sees it
    else:
        print(f"{path}: {user} {'is added' if is_new else 'has another password'}")  # noqa: T201


def _read() -> str:
    line = sys.stdin.buffer.read(MAX_PASSWORD_BYTES + 2)
    try:
        return line.decode().removesuffix("\n")
    except UnicodeDecodeError as exc:
        raise CliError("cannot read password: not UTF-8") from exc


def _ask(user: str) -> str:
    if not sys.stdin.isatty():
        raise CliError("cannot ask for a password: no terminal; give --stdin or --generate")
    password: str = typer.prompt(f"Password of {user}", hide_input=True, confirmation_prompt=True)
    return password
