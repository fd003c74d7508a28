"""Access lists in TOML, with groups.

    [groups]
    operators = ["anna", "ben"]

    [[rule]]
    groups = ["operators"]          # or users = [...], everyone = true, anonymous = true
    read = ["plant/#"]
    write = ["plant/+/set"]
    readwrite = ["chat/%u/#"]       # %u is the user and %c the client id
    deny = ["plant/safe/#"]

A group may also come with the client, from its token; then it needs no entry in [groups].
"""

import tomllib
from collections.abc import Iterator
from typing import Any

from broker.access.errors import AccessProblem
from broker.access.rights.acl_lines import RIGHTS
from broker.access.rights.rules import (
    ANONYMOUS,
    EVERYONE,
    NAMELESS,
    Rule,
    Subject,
    SubjectKind,
    check_filter,
    has_variable,
)

KNOWN = ("users", "groups", "everyone", "anonymous", *RIGHTS)

Members = dict[str, list[str]]


def parse_acl_toml(text: str) -> tuple[list[Rule], list[AccessProblem]]:
    """Return the rules, and what is wrong; with any problem the whole list is of no use."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        return [], [AccessProblem("TOML", str(exc))]
    problems = [
        AccessProblem(key, "is not known; known are groups, rule")
        for key in table
        if key not in ("groups", "rule")
    ]
    rules: list[Rule] = []
    try:
        members = _members(table.get("groups", {}))
    except ValueError as exc:
        return [], [AccessProblem("groups", str(exc))]
    tables = table.get("rule", [])
    if not isinstance(tables, list):
        return [], [AccessProblem("rule", "must be written [[rule]]")]
    for number, each in enumerate(tables, 1):
        try:
            rules += _rules(each, members)
        except ValueError as exc:
            problems.append(AccessProblem(f"rule {number}", str(exc)))
    return rules, problems


def _members(groups: Any) -> Members:
    if not isinstance(groups, dict):
        raise ValueError("is not a table")  # noqa: TRY004  # one kind of error for all problems
    return {name: _texts(groups, name) for name in groups}


def _rules(table: Any, members: Members) -> Iterator[Rule]:
    if not isinstance(table, dict):
        raise ValueError("is not a table")  # noqa: TRY004
    for key in table:
        if key not in KNOWN:
            raise ValueError(f"{key} is not known; known are {', '.join(KNOWN)}")
    subjects = list(_subjects(table, members))
    if not subjects:
        raise ValueError("names no clients: give users, groups, everyone or anonymous")
    if not any(table.get(word) for word in RIGHTS):
        raise ValueError(f"grants nothing: give {', '.join(RIGHTS)}")
    for word, rights in RIGHTS.items():
        for topic_filter in _texts(table, word):
            why = check_filter(topic_filter)
            if why:
                raise ValueError(f"{word}: {why}")
            is_pattern = has_variable(topic_filter)
            yield from (Rule(each, rights, topic_filter, is_pattern) for each in subjects)


def _subjects(table: dict[str, Any], members: Members) -> Iterator[Subject]:
    for key, subject in (("everyone", EVERYONE), ("anonymous", NAMELESS)):
        wanted = table.get(key, False)
        if not isinstance(wanted, bool):
            raise ValueError(f"{key} is not true or false")  # noqa: TRY004
        if wanted:
            yield subject
    for user in _texts(table, "users"):
        yield _user(user)
    for group in _texts(table, "groups"):
        yield Subject(SubjectKind.GROUP, group)
        for user in members.get(group, ()):
            yield _user(user)


def _user(name: str) -> Subject:
    if not name or name == ANONYMOUS:
        raise ValueError(f"{name!r} is no user")
    return Subject(SubjectKind.USER, name)


def _texts(table: dict[str, Any], key: str) -> list[str]:
    texts = table.get(key, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{key} is not a list of texts")
    return texts
