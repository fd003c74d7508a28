"""Stores the gateways that commands can use, by name, and the one in use.

    contexts.json   {"version": 1, "current": NAME,
                     "contexts": {NAME: {"url", "state"?, "key"?, "ca_file"?}}}

A context has a state folder, where its API key is, or the key itself. The file is readable by its
owner only, and no command prints a key.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.cli.errors import CliError
from settings.secret import Secret

DEFAULT_URL = "http://127.0.0.1:8083"
DEFAULT_NAME = "default"  # no context: the gateway of this machine
VARIABLE = "HECATE_CONTEXT"
VERSION = 1
LIST = "see `hecate context list`"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Context:
    """One gateway; without state folder and key the default folder has the key."""

    name: str
    url: str
    state: Path | None = None
    key: Secret = field(default_factory=lambda: Secret(""))
    ca_file: Path | None = None  # the authority of its https


@dataclass(frozen=True, slots=True)
class Contexts:
    """All contexts of a user; current is DEFAULT_NAME when none is in use."""

    current: str
    known: tuple[Context, ...]

    def find(self, name: str, verb: str = "use") -> Context:
        """Return a context; CliError, "cannot <verb> …", when there is none of that name."""
        for context in self.known:
            if context.name == name:
                return context
        raise CliError(f"cannot {verb} context {name!r}: there is none of this name; {LIST}")

    def with_added(self, context: Context) -> "Contexts":
        """Return these and one more; CliError when its name is taken or not allowed."""
        if not _NAME.fullmatch(context.name) or context.name == DEFAULT_NAME:
            raise CliError(
                f"cannot add context {context.name!r}: a name has up to 64 letters, digits, "
                f"'.', '_' and '-', and is not {DEFAULT_NAME!r}"
            )
        if any(context.name == known.name for known in self.known):
            raise CliError(
                f"cannot add context {context.name!r}: there is one; "
                f"remove it first with `hecate context rm {context.name}`"
            )
        return replace(self, known=(*self.known, context))

    def with_current(self, name: str) -> "Contexts":
        """Return these with another one in use."""
        if name != DEFAULT_NAME:
            self.find(name)
        return replace(self, current=name)

    def without(self, name: str) -> "Contexts":
        """Return these without one; the default is in use if it was."""
        if name == DEFAULT_NAME:
            raise CliError(f"cannot remove context {name!r}: it is the gateway of this machine")
        gone = self.find(name, "remove")
        known = tuple(context for context in self.known if context is not gone)
        return Contexts(DEFAULT_NAME if self.current == name else self.current, known)


def find_context(environ: Mapping[str, str]) -> Context | None:
    """Return the context that the environment names or that is in use; None for the default."""
    if environ.get(VARIABLE) == DEFAULT_NAME:
        return None
    contexts = load_contexts(environ)
    name = name_in_use(contexts, environ)
    return None if name == DEFAULT_NAME else contexts.find(name)


def name_in_use(contexts: Contexts, environ: Mapping[str, str]) -> str:
    """Return the name of the context in use, whether there is one of this name or not."""
    return environ.get(VARIABLE) or contexts.current


def load_contexts(environ: Mapping[str, str]) -> Contexts:
    """Return the stored contexts; CliError when the file cannot be used."""
    path = file_of(environ)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return _decode(kept)
    except FileNotFoundError:
        return Contexts(DEFAULT_NAME, ())
    except OSError as exc:
        raise CliError(
            f"cannot read contexts {path}: {(exc.strerror or str(exc)).lower()}"
        ) from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise CliError(
            f"cannot read contexts {path}: not as this command writes it; repair or remove it"
        ) from exc


def save_contexts(contexts: Contexts, environ: Mapping[str, str]) -> None:
    """Store contexts; CliError when the file cannot be written."""
    from gateway.storage.private_file import write_private

    path = file_of(environ)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, (json.dumps(_encode(contexts), indent=2) + "\n").encode())
    except OSError as exc:
        why = (exc.strerror or str(exc)).lower()
        raise CliError(f"cannot write contexts {path}: {why}") from exc


def file_of(environ: Mapping[str, str]) -> Path:
    """Return the file that stores contexts (XDG Base Directory Specification)."""
    folder = environ.get("XDG_CONFIG_HOME", "")
    base = Path(folder) if os.path.isabs(folder) else Path("~/.config").expanduser()  # noqa: PTH117
    return base / "hecate" / "contexts.json"


def check_url(url: str) -> str:
    """Return a URL without its last slash; CliError when it is not that of a server."""
    url = url.rstrip("/")
    try:
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:  # it would be printed
            raise CliError("cannot use this URL: it names a user or password; leave them out")
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, an IPv6 address that is not closed
        good = False
    if not good:
        raise CliError(f"cannot use {url}: must be like {DEFAULT_URL}")
    return url


def _decode(kept: Any) -> Contexts:
    if kept["version"] != VERSION:
        raise ValueError("another version")
    contexts = tuple(
        Context(
            str(name),
            str(each["url"]),
            Path(each["state"]) if each.get("state") else None,
            Secret(str(each.get("key") or "")),
            Path(each["ca_file"]) if each.get("ca_file") else None,
        )
        for name, each in kept["contexts"].items()
    )
    return Contexts(str(kept.get("current") or DEFAULT_NAME), contexts)


def _encode(contexts: Contexts) -> dict[str, Any]:
    return {
        "version": VERSION,
        "current": contexts.current,
        "contexts": dict(_entries(contexts.known)),
    }


def _entries(known: Iterable[Context]) -> Iterable[tuple[str, dict[str, str]]]:
    for context in known:
        entry = {"url": context.url}
        if context.state is not None:
            entry["state"] = str(context.state)
        if context.ca_file is not None:
            entry["ca_file"] = str(context.ca_file)
        if context.key:
            entry["key"] = context.key.reveal()
        yield context.name, entry
