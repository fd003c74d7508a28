"""The access list: what each client may publish and subscribe. Nothing, unless a rule says so."""

from collections.abc import Iterable, Iterator

from broker.access.rules import (
    EVERYONE,
    NAMELESS,
    READ_WRITE,
    Kind,
    Right,
    Rule,
    Subject,
    is_anonymous,
)
from broker.access.tree import NOTHING, RightsTree
from broker.policy import Identity
from broker.topics import SHARED

# what a broker without an access list of its own allows, when it was asked to allow everything
EVERYTHING = (Rule(EVERYONE, READ_WRITE, "#"), Rule(EVERYONE, Right.READ, "$SYS/#"))


class AccessList:
    """An Authorizer made of rules.

    A subscription is allowed when one rule covers it whole and no denial touches it: what it
    would bring is known when it is made, so nothing has to be filtered while messages pass.
    """

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._grants: dict[Subject, RightsTree] = {}
        self._denials: dict[Subject, RightsTree] = {}
        for rule in rules:
            denies = Right.DENY in rule.rights
            trees = self._denials if denies else self._grants
            if rule.subject not in trees:
                trees[rule.subject] = RightsTree(denies=denies)
            trees[rule.subject].add(rule)

    def may_publish(self, identity: Identity, topic: str) -> bool:
        """Return whether the client may publish to the topic."""
        held = NOTHING
        for subject in _subjects(identity):
            denials, grants = self._denials.get(subject), self._grants.get(subject)
            if denials is not None and denials.match(topic, identity):
                return False
            if grants is not None:
                held |= grants.match(topic, identity)
        return Right.WRITE in held

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:
        """Return whether the client may receive all that the filter matches."""
        wanted = _without_share(topic_filter)
        if not wanted:
            return False
        held = NOTHING
        for subject in _subjects(identity):
            denials, grants = self._denials.get(subject), self._grants.get(subject)
            if denials is not None and denials.overlaps(wanted, identity):
                return False
            if grants is not None:
                held |= grants.cover(wanted, identity)
        return Right.READ in held


def _subjects(identity: Identity) -> Iterator[Subject]:
    yield EVERYONE
    yield NAMELESS if is_anonymous(identity) else Subject(Kind.USER, identity.name)
    for group in identity.groups:
        yield Subject(Kind.GROUP, group)


def _without_share(topic_filter: str) -> str:
    """Return what a shared subscription shares: rights are on topics, not on groups of readers."""
    if not topic_filter.startswith(SHARED):
        return topic_filter
    return topic_filter.removeprefix(SHARED).partition("/")[2]
