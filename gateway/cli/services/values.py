"""Reads the variables, settings and secrets that a command line gives."""

import sys
from pathlib import Path

from gateway.cli.errors import OptionError

SECRET_LIMIT = 16 * 1024  # bytes


def parse_env(pairs: list[str]) -> dict[str, str]:
    """Return the variables in KEY=VALUE texts."""
    return dict(_split("--env", pair, "KEY=VALUE") for pair in pairs)


def parse_settings(pairs: list[str]) -> dict[str, str]:
    """Return the settings in NAME=VALUE texts; the gateway knows their types."""
    return dict(_split("--set", pair, "NAME=VALUE") for pair in pairs)


def parse_secrets(pairs: list[str]) -> dict[str, str]:
    """Return the secrets in NAME=@FILE texts; NAME=- is standard input, for one of them.

    A value itself is refused: the shell would keep it in its history, and `ps` would show it.
    """
    secrets: dict[str, str] = {}
    reads_input = False
    for pair in pairs:
        name, source = _split("--secret", pair, "NAME=@FILE, or NAME=- for standard input")
        if source in ("-", "@-"):
            if reads_input:
                raise OptionError("cannot read two secrets from standard input: give one a file")
            reads_input = True
            secrets[name] = _text(name, "standard input", sys.stdin.buffer.read(SECRET_LIMIT + 1))
        elif source.startswith("@"):
            secrets[name] = _text(name, source[1:], _read(name, Path(source[1:])))
        else:
            raise OptionError(
                f"cannot use --secret {name}=…: a secret on the command line stays in the shell's "
                f"history; give --secret {name}=@FILE, or {name}=- for standard input"
            )
    return secrets


def _split(option: str, pair: str, form: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not equals or not name:
        shown = name if option == "--secret" else pair
        raise OptionError(f"cannot use {option} {shown}: must be {form}")
    return name, value


def _read(name: str, path: Path) -> bytes:
    try:
        with path.expanduser().open("rb") as file:
            return file.read(SECRET_LIMIT + 1)
    except OSError as exc:
        why = (exc.strerror or str(exc)).lower()
        raise OptionError(f"cannot read secret {name} from {path}: {why}") from exc


def _text(name: str, where: str, content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as exc:
        raise OptionError(f"cannot use secret {name} from {where}: not UTF-8") from exc
    text = text.removesuffix("\n").removesuffix("\r")  # editors and echo add it
    if not text or len(content) > SECRET_LIMIT:
        why = "it is empty" if not text else f"more than {SECRET_LIMIT} bytes"
        raise OptionError(f"cannot use secret {name} from {where}: {why}")
    return text
