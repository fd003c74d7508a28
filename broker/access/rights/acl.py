"""Decides which topics a client may publish and subscribe: none, unless a rule allows it."""

from collections.abc import Iterable

from broker.access.rights.rules import (
    EVERYONE,
    NAMELESS,
    READ_WRITE,
    Right,
    Rule,
    Subject,
    SubjectKind,
    is_anonymous,
)
from broker.access.rights.tree import NOTHING, RightsTree
from broker.messages.topics import strip_share
from broker.policy import Identity

# the rights of everybody on a broker without an access list that was asked to allow everything
EVERYTHING = (Rule(EVERYONE, READ_WRITE, "#"), Rule(EVERYONE, Right.READ, "$SYS/#"))


# speed: an Enum's operators and hashes are written in Python (benchmarks/, subscriptions_100k)
READ, WRITE = int(Right.READ), int(Right.WRITE)
Key = tuple[str, str]


class AccessList:
    """An Authorizer made of rules.

    A subscription is allowed when one rule covers it whole and no denial does. Topics that a denial
    below it matches are left out of its messages. This is decided when a route is built, so that
    nothing is looked up while messages pass.
    """

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._grants: dict[Key, RightsTree] = {}
        self._denials: dict[Key, RightsTree] = {}
        for rule in rules:
            denies = Right.DENY in rule.rights
            trees = self._denials if denies else self._grants
            key = _key_of(rule.subject)
            if key not in trees:
                trees[key] = RightsTree(denies=denies)
            trees[key].add(rule)

    def may_publish(self, identity: Identity, topic: str) -> bool:
        """Return whether the client may publish to the topic."""
        return bool(self._rights(identity, topic) & WRITE)

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:
        """Return whether the client may subscribe; may_read_all() says whether that brings all."""
        wanted = strip_share(topic_filter)
        return bool(wanted and self._rights(identity, wanted) & READ)

    def may_read_all(self, identity: Identity, topic_filter: str) -> bool:
        """Return whether no denial touches what an allowed filter matches."""
        wanted = strip_share(topic_filter)
        return not self._denials or not any(
            denials.overlaps(wanted, identity)
            for key in _find_keys(identity)
            if (denials := self._denials.get(key)) is not None
        )

    def may_read(self, identity: Identity, topic: str) -> bool:
        """Return whether the client may receive messages of the topic."""
        return bool(self._rights(identity, topic) & READ)

    def _rights(self, identity: Identity, wanted: str) -> int:
        """Return what is allowed on a topic, or on all that a filter matches."""
        held = NOTHING
        for key in _find_keys(identity):
            denials, grants = self._denials.get(key), self._grants.get(key)
            if denials is not None and denials.cover(wanted, identity):
                return NOTHING
            if grants is not None:
                held |= grants.cover(wanted, identity)
        return held


def _key_of(subject: Subject) -> Key:
    return subject.kind.value, subject.name


_EVERYONE, _NAMELESS = _key_of(EVERYONE), _key_of(NAMELESS)
_USER, _GROUP = SubjectKind.USER.value, SubjectKind.GROUP.value


def _find_keys(identity: Identity) -> list[Key]:
    keys = [_EVERYONE, _NAMELESS if is_anonymous(identity) else (_USER, identity.name)]
    if identity.groups:
        keys += [(_GROUP, group) for group in identity.groups]
    return keys
