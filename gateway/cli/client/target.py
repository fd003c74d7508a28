"""Finds the gateway that a command is for, and its API key."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.client.contexts import DEFAULT_URL, check_url, find_context
from gateway.cli.errors import CliError
from gateway.config import load_gateway_config
from gateway.errors import ConfigError
from settings.secret import Secret

KEY_LIMIT = 4096
OTHER_KEY = "give --state DIR or HECATE_API_KEY"


@dataclass(frozen=True, slots=True)
class Target:
    """The gateway that a command is for, and its API key."""

    url: str
    key: Secret
    context: str = ""  # its name, if one is in use
    ca_file: Path | None = None  # the authorities for its https

    @property
    def where(self) -> str:
        """Return the gateway as messages name it."""
        return f"{self.url} (context {self.context})" if self.context else self.url


def find_target(url: str | None, state: Path | None, environ: Mapping[str, str]) -> Target:
    """Return the gateway that options, environment or context name; CliError without a key.

    A context counts only as a whole: its key never goes to a URL that was given, nor the key of a
    folder that was given to its URL.
    """
    url = url or environ.get("HECATE_URL") or ""
    context = find_context(environ) if not url and state is None else None
    url = check_url(url or (context.url if context else DEFAULT_URL))
    name = context.name if context else ""
    key = check_key(environ.get("HECATE_API_KEY", ""), "HECATE_API_KEY")
    if not key and context is not None:
        key = context.key
    if not key:
        folder = context.state if context and context.state else find_state(state, environ)
        key = read_key(folder / "api-key")
    return Target(url, key, name, context.ca_file if context else None)


def find_state(state: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the state folder that was given, or that of the gateway's configuration."""
    if state is not None:
        return Path(os.path.abspath(state.expanduser()))  # noqa: PTH100  # keeps symbolic links
    try:
        return load_gateway_config(None, environ).node.state
    except ConfigError as exc:
        raise CliError(str(exc)) from exc


def read_key(path: Path) -> Secret:
    """Return the API key in a file; CliError names other sources."""
    try:
        with path.open(encoding="ascii") as file:
            key = file.read(KEY_LIMIT).strip()
    except PermissionError as exc:
        raise CliError(
            f"cannot read API key {path}: permission denied; run this as the user of the gateway, "
            "or give HECATE_API_KEY"
        ) from exc
    except OSError as exc:
        raise CliError(
            f"cannot read API key {path}: {(exc.strerror or str(exc)).lower()}; start the gateway "
            f"first, or {OTHER_KEY}"
        ) from exc
    except UnicodeDecodeError as exc:
        raise CliError(f"cannot read API key {path}: it holds no key; {OTHER_KEY}") from exc
    if not key:
        raise CliError(f"cannot read API key {path}: it is empty; {OTHER_KEY}")
    return check_key(key, str(path))


def check_key(key: str, where: str) -> Secret:
    """Return a key that can be shown to a gateway; CliError when it cannot be one."""
    if not key.isascii() or not key.isprintable():
        raise CliError(
            f"cannot use the API key of {where}: it holds characters that no key has; {OTHER_KEY}"
        )
    return Secret(key)


def read_key_file(name: str) -> Secret:
    """Return the API key in a file; CliError when there is none."""
    where = "standard input" if name == "-" else name
    try:
        if name == "-":
            key = sys.stdin.read(KEY_LIMIT).strip()
        else:
            with Path(name).expanduser().open(encoding="ascii") as file:
                key = file.read(KEY_LIMIT).strip()
    except (OSError, UnicodeDecodeError) as exc:
        why = getattr(exc, "strerror", None) or "not ASCII"
        raise CliError(f"cannot read API key from {where}: {why.lower()}") from exc
    if not key:
        raise CliError(f"cannot read API key from {where}: it is empty")
    return check_key(key, where)
