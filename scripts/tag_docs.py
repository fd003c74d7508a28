"""Writes docs/conformance.md: the code and the tests of each normative statement of MQTT.

scripts/mqtt_tags.toml has the statements. A comment `# [MQTT-3.3.1-3]` in broker/ says that its
line keeps one of MQTT 5.0, in a test or right above it that the test shows it; `of 3.1.1` behind
the tags makes them those of 3.1.1. --check says what is missing, and whether the page is current.
"""

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATEMENTS = Path(__file__).with_name("mqtt_tags.toml")
TARGET = ROOT / "docs" / "conformance.md"
FIVE, FOUR = "5.0", "3.1.1"
TAGS = re.compile(r"((?:\[MQTT-\d+\.\d+\.\d+-\d+\] *)+)(of 3\.1\.1)?")
NUMBER = re.compile(r"MQTT-(\d+\.\d+\.\d+-\d+)")
INTRODUCTION = """# Conformance

Every normative statement of MQTT 5.0 and of MQTT 3.1.1, in our own words, with the place in
`broker/` that keeps it and the tests in `tests/` that show it. This page is written by
`scripts/tag_docs.py` from `scripts/mqtt_tags.toml` and from the tags in the sources. A test fails
when it is not current, or when a statement that binds the server has no place or no test and is
not named here as an exception.

What binds only the client is listed too, with the place where the broker checks it, or keeps it
as well.
"""
TITLES = {
    "1": "Data", "2": "Packet format", "3.1": "CONNECT", "3.2": "CONNACK", "3.3": "PUBLISH",
    "3.4": "PUBACK", "3.5": "PUBREC", "3.6": "PUBREL", "3.7": "PUBCOMP", "3.8": "SUBSCRIBE",
    "3.9": "SUBACK", "3.10": "UNSUBSCRIBE", "3.11": "UNSUBACK", "3.12": "PINGREQ",
    "3.14": "DISCONNECT", "3.15": "AUTH", "4": "Behaviour", "6": "WebSocket", "7": "Conformance",
}  # fmt: skip

Key = tuple[str, str]  # version, number
Found = dict[Key, list[str]]


@dataclass(frozen=True)
class Statement:
    """One statement of one version."""

    binds: str
    says: str
    same: tuple[str, ...] = ()  # numbers of 5.0 that say this statement of 3.1.1

    @property
    def is_ours(self) -> bool:
        """True when the statement needs a line of code and a test of its own."""
        return self.binds != "client" and not self.same


@dataclass
class Survey:
    """Collects the tags of all statements in the sources."""

    statements: dict[Key, Statement]
    by_construction: dict[Key, str]  # reasons
    not_kept: dict[Key, str]
    remarks: dict[Key, str]  # on what is kept, but not without bounds
    kept: Found = field(default_factory=dict)
    shown: Found = field(default_factory=dict)


def main() -> int:
    """Write the page, or compare it with what would be written."""
    survey = survey_sources(ROOT)
    problems = list(find_problems(survey))
    page = write_page(survey)
    if "--check" not in sys.argv:
        TARGET.write_text(page)
    elif not TARGET.exists() or TARGET.read_text() != page:
        problems.append("docs/conformance.md is stale: run scripts/tag_docs.py")
    print("\n".join(problems) or "current")
    return 1 if problems else 0


def survey_sources(root: Path) -> Survey:
    """Return everything known of the tree at root."""
    survey = load_statements(STATEMENTS.read_text())
    for folder, found in (("broker", survey.kept), ("tests", survey.shown)):
        for path in sorted((root / folder).rglob("*.py")):
            name = str(path.relative_to(root / folder))
            for key, place in find_tags(path.read_text()):
                if folder == "tests" and not place.startswith("test_"):
                    continue  # a helper shows nothing by itself
                where = f"{name}:{place}" if place else name
                if where not in found.setdefault(key, []):
                    found[key].append(where)
    return survey


def load_statements(text: str) -> Survey:
    """Return the statements, the exceptions and the remarks."""
    table = tomllib.loads(text)
    statements: dict[Key, Statement] = {}
    for version in (FIVE, FOUR):
        for number, said in table[version].items():
            if isinstance(said, list):
                statement = Statement(*said)
            else:
                same = tuple(said.split())
                others = [statements[FIVE, each] for each in same]
                says = " ".join(other.says for other in others)
                statement = Statement(others[0].binds, says, same)
            statements[version, number] = statement
    reasons = [
        {(version, number): why for version in (FIVE, FOUR) for number, why in of[version].items()}
        for of in (table["by construction"], table["not kept"], table["remarks"])
    ]
    return Survey(statements, *reasons)


def find_tags(source: str) -> Iterator[tuple[Key, str]]:
    """Yield each tag in the comments of a module, with the function it is in or above."""
    if "[MQTT-" not in source:  # speed: most modules
        return
    places = find_places(source)
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or "[MQTT-" not in token.string:
            continue
        row = token.start[0]
        while lines[row - 1].startswith("#"):  # above a function
            row += 1
        place = places.get(row, "")
        for match in TAGS.finditer(token.string):
            for number in NUMBER.findall(match[1]):
                yield (FOUR if match[2] else FIVE, number), place


def find_places(source: str) -> dict[int, str]:
    """Return for each line the function it belongs to, or else the class or the constant."""
    places: dict[int, str] = {}

    def note(node: ast.stmt, name: str) -> None:
        decorators = getattr(node, "decorator_list", [])
        start = min([node.lineno, *(each.lineno for each in decorators)])
        places.update(dict.fromkeys(range(start, (node.end_lineno or start) + 1), name))

    def walk(body: Iterable[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                note(node, node.name)
                walk(node.body)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                note(node, node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if isinstance(target, ast.Name):
                    note(node, target.id)

    walk(ast.parse(source).body)
    return places


def find_problems(survey: Survey) -> Iterator[str]:
    """Yield what keeps the page from being true and complete."""
    for name, found in (("broker", survey.kept), ("tests", survey.shown)):
        for key, places in found.items():
            if key not in survey.statements:
                yield f"{label(key)} in {name}/{places[0]} does not exist"
    for key, statement in survey.statements.items():
        if statement.is_ours:
            yield from find_gaps(survey, key)
    for key in survey.remarks.keys() - survey.statements.keys():
        yield f"{label(key)} has a remark and does not exist"
    for key in (*survey.by_construction, *survey.not_kept):
        if key not in survey.statements or not survey.statements[key].is_ours:
            yield f"{label(key)} needs no exception"


def find_gaps(survey: Survey, key: Key) -> Iterator[str]:
    """Yield what is missing for one statement, or told without need."""
    kept, shown = key in survey.kept, key in survey.shown
    if key in survey.not_kept:
        if kept and shown:
            yield f"{label(key)} has place and test: take it out of the exceptions"
    elif key in survey.by_construction:
        if kept:
            yield f"{label(key)} has a place: take it out of the exceptions"
    else:
        if not kept:
            yield f"{label(key)} has no place in broker/"
        if not shown:
            yield f"{label(key)} has no test"


def label(key: Key) -> str:
    """Return a tag as people write it."""
    version, number = key
    return f"[MQTT-{number}]" + (" of 3.1.1" if version == FOUR else "")


def write_page(survey: Survey) -> str:
    """Return the page."""
    parts = [INTRODUCTION, "\n", *write_summary(survey)]
    for version in (FIVE, FOUR):
        parts.append(f"\n## MQTT {version}\n")
        title = ""
        for key, statement in survey.statements.items():
            if key[0] != version:
                continue
            if title_of(key[1]) != title:
                title = title_of(key[1])
                parts.append(f"\n### {version}: {title}\n\n")
                parts.append("| tag | binds | what | kept at | shown by |\n|---|---|---|---|---|\n")
            kept, shown = kept_at(survey, key), in_code(survey.shown.get(key, []))
            if key in survey.remarks:
                kept += f" ({survey.remarks[key]})"
            if statement.same and not shown:
                shown = "as there"
            parts.append(
                f"| {key[1]} | {statement.binds} | {statement.says} | {kept} | {shown} |\n"
            )
    return "".join(parts)


def write_summary(survey: Survey) -> Iterator[str]:
    """Yield a table of counts."""
    yield "| | statements | bind the server | by construction | not kept |\n|---|---|---|---|---|\n"
    for version in (FIVE, FOUR):
        all_of = {key: each for key, each in survey.statements.items() if key[0] == version}
        ours = [key for key, each in all_of.items() if each.binds != "client"]
        counts = [len(all_of), len(ours)]
        for each in (survey.by_construction, survey.not_kept):
            counts.append(sum(key[0] == version for key in each))
        yield f"| MQTT {version} | {' | '.join(map(str, counts))} |\n"


def kept_at(survey: Survey, key: Key) -> str:
    """Return where a statement is kept, or why nowhere."""
    statement = survey.statements[key]
    told = in_code(survey.kept.get(key, []))
    if key in survey.not_kept:
        return f"**not kept:** {survey.not_kept[key]}"
    if key in survey.by_construction:
        return f"*by construction:* {survey.by_construction[key]}"
    if statement.same:
        same = "as " + ", ".join(statement.same) + " of 5.0"
        return f"{same}, and {told}" if told else same
    if statement.binds == "client":
        return f"by the client; here {told}" if told else "by the client"
    return told


def title_of(number: str) -> str:
    """Return the heading a statement stands under."""
    chapter, section, *_ = number.split(".")
    name = f"{chapter}.{section}" if chapter == "3" else chapter
    return f"{name} {TITLES[name]}"


def in_code(places: Iterable[str]) -> str:
    """Return places as Markdown."""
    return ", ".join(f"`{each}`" for each in places)


if __name__ == "__main__":
    sys.exit(main())
