"""Matches templates of topics and paths: levels between slashes, some of them {named}."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from microservice.errors import ServiceError

_NAME = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LEVEL_SPECIAL = frozenset("{}+#")


@dataclass(frozen=True, slots=True)
class Template:
    """Matches topics or paths, and names some of their levels."""

    text: str
    levels: tuple[str | None, ...]  # None: any text
    names: tuple[str, ...]  # of the levels that are None; "" for one without a name
    open_end: bool = False  # any further levels

    def match(self, levels: Sequence[str]) -> dict[str, str] | None:
        """Return the named levels of a topic or path, or None when it does not match."""
        if len(levels) < len(self.levels) or not (self.open_end or len(levels) == len(self.levels)):
            return None
        found = []
        for wanted, level in zip(self.levels, levels, strict=False):
            if wanted is None:
                found.append(level)
            elif wanted != level:
                return None
        return {name: level for name, level in zip(self.names, found, strict=True) if name}


def parse_topic(text: str) -> Template:
    """Return the template of an MQTT topic; + and # have their meaning in MQTT.

    Raises:
        ServiceError: it is not a topic filter.
    """
    if not text or "\0" in text:
        raise ServiceError(f"cannot subscribe to {text!r}: not a topic")
    levels = text.split("/")
    open_end = levels[-1] == "#"
    return _template("subscribe to", text, levels[:-1] if open_end else levels, open_end)


def parse_path(text: str) -> Template:
    """Return the template of a path below the microservice's base; ServiceError if it is none."""
    if not text.startswith("/") or "?" in text or "#" in text or "+" in text:
        raise ServiceError(f"cannot serve {text!r}: a path starts with / and has no ?, # or +")
    return _template("serve", text, text.split("/"), open_end=False)


def topic_filter(template: Template) -> str:
    """Return the MQTT topic filter of a topic's template."""
    levels = ["+" if level is None else level for level in template.levels]
    return "/".join([*levels, "#"] if template.open_end else levels)


def _template(what: str, text: str, parts: list[str], open_end: bool) -> Template:
    levels: list[str | None] = []
    names: list[str] = []
    for part in parts:
        named = _NAME.fullmatch(part)
        if named is None and part != "+":
            if _LEVEL_SPECIAL & set(part):
                raise ServiceError(
                    f"cannot {what} {text!r}: {part!r} is neither a whole {{name}} nor plain text"
                )
            levels.append(part)
            continue
        name = named[1] if named else ""
        if name and name in names:
            raise ServiceError(f"cannot {what} {text!r}: {name!r} occurs twice")
        levels.append(None)
        names.append(name)
    return Template(text, tuple(levels), tuple(names), open_end)
