"""Represents one rule of an access list: subject, topic filter, rights."""

import re
from dataclasses import dataclass
from enum import Enum, IntFlag

from broker.messages.topics import SHARED, validate_filter
from broker.policy import Identity
from broker.wire.errors import RemoteProtocolError

ANONYMOUS = "anonymous"  # name of all clients without a user; nobody else may have it
CLIENT_ID, USER = "%c", "%u"

_VARIABLE = re.compile("%[cu]")


class Right(IntFlag):
    """The rights that a rule grants; DENY overrides every grant."""

    READ = 1
    WRITE = 2
    DENY = 4


READ_WRITE = Right.READ | Right.WRITE


class SubjectKind(Enum):
    """The kinds of subject of a rule."""

    EVERYONE = "everyone"
    ANONYMOUS = "anonymous"
    USER = "user"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Subject:
    """One user, one group, all without a user, or all."""

    kind: SubjectKind
    name: str = ""


EVERYONE = Subject(SubjectKind.EVERYONE)
NAMELESS = Subject(SubjectKind.ANONYMOUS)


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of an access list; in a pattern %c is the client id and %u the user."""

    subject: Subject
    rights: Right
    topic_filter: str
    is_pattern: bool = False


def check_filter(topic_filter: str) -> str:
    """Return why rights cannot be given on a filter, "" when they can."""
    if topic_filter.startswith(SHARED):
        return f"leave out {SHARED}NAME/: rights are on topics"
    try:
        validate_filter(topic_filter)
    except RemoteProtocolError as exc:
        return f"{topic_filter!r}: {str(exc).removeprefix('cannot subscribe: ')}"
    return ""


def has_variable(text: str) -> bool:
    """Return whether a level of a pattern depends on the client."""
    return CLIENT_ID in text or USER in text


def expand(template: str, identity: Identity) -> str | None:
    """Return a level of a pattern for one client, None when its name must not stand there."""
    names = {CLIENT_ID: identity.client_id, USER: "" if is_anonymous(identity) else identity.name}
    used = set(_VARIABLE.findall(template))
    if not all(is_plain(names[variable]) for variable in used):
        return None
    # in one pass: a client may call itself "%u"
    return _VARIABLE.sub(lambda found: names[found[0]], template)


def is_plain(name: str) -> bool:
    """Return whether a name is one level of a topic; with + # / it would reach others' topics."""
    return bool(name) and not any(sign in name for sign in "+#/")


def is_anonymous(identity: Identity) -> bool:
    """Return whether nobody vouched for this client."""
    return identity.name == ANONYMOUS
