"""Writes docs/configuration.md from the settings classes; --check says whether it is current."""

import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from settings.values import is_table, item_type  # noqa: E402  # after the path

TARGET = ROOT / "docs" / "configuration.md"
INTRODUCTION = """# Configuration

One TOML file per process: `hecate gateway --config FILE`, `hecate cloud --config FILE`.
A key that is not given has the default below. An unknown key is refused; the error names all faults
of a file, each with its section, key, reason and line. `hecate config check FILE` checks a file.

An environment variable overrides a setting of one program: `HECATE_GATEWAY_<SECTION>_<KEY>`,
`HECATE_CLOUD_<SECTION>_<KEY>`, and `HECATE_BROKER_<SECTION>_<KEY>` for the keys of
[`broker.toml`](broker.md#listeners-and-tls). `HECATE_GATEWAY_BROKER_PORT=1884` is `[broker] port`
of the gateway. A list of texts is written with commas, a table or a list of tables as in TOML:
`HECATE_GATEWAY_UPLINK_TOPICS='[{filter = "plant/#", direction = "up"}]'`. An unknown variable with
one of these prefixes is refused. A former name without the program (`HECATE_BROKER_PORT`) is
refused with the new name. `HECATE_LOG_LEVEL` is the log level of every program whose own variable
is not set.

Complete examples: [gateway.toml](../examples/gateway.toml), [cloud.toml](../examples/cloud.toml).
This page is written by `scripts/config_docs.py` from the code.
"""
NAMES = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}


def main() -> int:
    """Write the page, or compare it with the current one."""
    from cloud.config import CloudConfig
    from gateway.config import GatewayConfig

    parts = [INTRODUCTION]
    for title, cls in (("gateway.toml", GatewayConfig), ("cloud.toml", CloudConfig)):
        parts.append(f"\n## {title}\n")
        parts.extend(sections(cls))
    page = "".join(parts)
    if "--check" in sys.argv:
        current = TARGET.exists() and TARGET.read_text() == page
        print(
            "current" if current else "docs/configuration.md is stale: run scripts/config_docs.py"
        )
        return 0 if current else 1
    TARGET.write_text(page)
    return 0


def sections(cls: type[Any]) -> Iterator[str]:
    """Yield each section of a file as Markdown."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        kind = item_class(hint)
        assert kind is not None, f"{field.name} of a whole file must be a table, or several"
        title = f"[{field.name}]" if kind is hint else f"[[{field.name}]]"
        yield from table(kind, title, field.name)


def table(cls: type[Any], title: str, path: str) -> Iterator[str]:
    """Yield a section's table, then those of the tables inside it."""
    yield f"\n### `{title}`\n\n{inspect.getdoc(cls)}\n\n| key | default | |\n|---|---|---|\n"
    hints, comments = typing.get_type_hints(cls), comments_of(cls)
    for field in dataclasses.fields(cls):
        kind = item_class(hints[field.name])
        if kind is None:
            told = comments.get(field.name) or ""
            yield f"| `{field.name}` | {default_of(field, hints[field.name])} | {told} |\n"
    for field in dataclasses.fields(cls):
        hint, inner = hints[field.name], f"{path}.{field.name}"
        kind = item_class(hint)
        if kind is not None:
            yield from table(kind, f"[{inner}]" if kind is hint else f"[[{inner}]]", inner)


def item_class(hint: Any) -> type[Any] | None:
    """Return the settings class of a table, or of the items of a [[list]], if the hint is one."""
    item = item_type(hint) or hint
    return item if is_table(item) else None


def comments_of(cls: type[Any]) -> dict[str, str]:
    """Return the comment behind each field in the source."""
    pattern = re.compile(r"^    (\w+): (?:[^#\"\n]|\"[^\"\n]*\")*# (.+)$", re.MULTILINE)
    sources = [each for each in reversed(cls.__mro__) if dataclasses.is_dataclass(each)]
    return {k: v for each in sources for k, v in pattern.findall(inspect.getsource(each))}


def default_of(field: "dataclasses.Field[Any]", hint: Any) -> str:
    """Return a default in TOML."""
    value = field.default
    if value is dataclasses.MISSING:
        return f"({NAMES.get(getattr(hint, '__name__', ''), 'value')}, required)"
    if value is None or value in ((), "", Path()):
        return ""
    match value:
        case Enum():
            text = f'"{value.value}"'
        case bool():
            text = str(value).lower()
        case tuple():
            text = str(list(value))
        case int() | float():
            text = f"{value:g}" if value < 10**6 else f"{value}"
        case _:
            text = f'"{value}"'
    return f"`{text}`"


if __name__ == "__main__":
    sys.exit(main())
