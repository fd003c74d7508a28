"""Writes docs/configuration.md from the settings classes; --check says whether it is current."""

import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TARGET = ROOT / "docs" / "configuration.md"
INTRODUCTION = """# Configuration

One TOML file per process: `hecate gateway --config FILE`, `hecate cloud --config FILE`.
A key that is not given has the default below; an unknown key is refused with file, key and reason.
`HECATE_<SECTION>_<KEY>` overrides one value: `HECATE_BROKER_PORT=1884`. `hecate config check FILE`
checks a file.

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
        yield from table(hints[field.name], f"[{field.name}]", field.name)


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
        kind = item_class(hints[field.name])
        if kind is not None:
            yield from table(kind, f"[[{path}.{field.name}]]", f"{path}.{field.name}")


def item_class(hint: Any) -> type[Any] | None:
    """Return the settings class of the items of a [[list]], if the hint is one."""
    arguments = typing.get_args(hint)
    is_list = typing.get_origin(hint) is tuple and dataclasses.is_dataclass(arguments[0])
    return arguments[0] if is_list else None


def comments_of(cls: type[Any]) -> dict[str, str]:
    """Return the comment behind each field in the source."""
    pattern = re.compile(r"^    (\w+): [^#\n]*#\s*(.+)$", re.MULTILINE)
    return dict(pattern.findall(inspect.getsource(cls)))


def default_of(field: "dataclasses.Field[Any]", hint: Any) -> str:
    """Return a default in TOML."""
    value = field.default
    if value is dataclasses.MISSING:
        return f"({NAMES.get(getattr(hint, '__name__', ''), 'value')}, required)"
    if value is None or value in ((), "", Path()):
        return ""
    match value:
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
