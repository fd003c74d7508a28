"""Access lists in lines, compatible with Mosquitto's.

topic read news/#               clients without a user, until the first user line
user anna
topic readwrite plant/#         read, write, readwrite (the default) or deny
pattern write dev/%u/%c/#       everyone; %u is the user and %c the client id
"""

from broker.access.errors import AccessProblem
from broker.access.rights.rules import (
    ANONYMOUS,
    EVERYONE,
    NAMELESS,
    READ_WRITE,
    Right,
    Rule,
    Subject,
    SubjectKind,
    check_filter,
)

RIGHTS = {
    "read": Right.READ,
    "write": Right.WRITE,
    "readwrite": READ_WRITE,
    "deny": Right.DENY,
}


def parse_acl_lines(text: str) -> tuple[list[Rule], list[AccessProblem]]:
    """Return the rules, and what is wrong; with any problem the whole list is of no use."""
    rules: list[Rule] = []
    problems: list[AccessProblem] = []
    subject = NAMELESS
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        keyword, _, rest = words.partition(" ")
        rest = rest.strip()
        try:
            if keyword == "user":
                subject = _user(rest)
            else:
                rules.append(_rule(keyword, rest, subject))
        except ValueError as exc:
            problems.append(AccessProblem(f"line {number}", str(exc)))
    return rules, problems


def _user(name: str) -> Subject:
    if not name:
        raise ValueError("user without a name")
    if name == ANONYMOUS:
        raise ValueError(
            f"user {ANONYMOUS}: rights of clients without a user stand before the first user line"
        )
    return Subject(SubjectKind.USER, name)


def _rule(keyword: str, rest: str, subject: Subject) -> Rule:
    if keyword not in ("topic", "pattern"):
        raise ValueError(f"{keyword!r} is not known; known are user, topic, pattern")
    word, _, topic_filter = rest.partition(" ")
    rights = RIGHTS.get(word)
    if rights is None and topic_filter:
        # or a mistyped deny would grant the rest of its line
        raise ValueError(f"{word!r} is not one of {', '.join(RIGHTS)}")
    if rights is None:
        rights, topic_filter = READ_WRITE, rest
    topic_filter = topic_filter.strip()
    if not topic_filter:
        raise ValueError(f"{keyword} without a filter")
    why = check_filter(topic_filter)
    if why:
        raise ValueError(why)
    if keyword == "topic":
        return Rule(subject, rights, topic_filter)
    return Rule(EVERYONE, rights, topic_filter, is_pattern=True)
