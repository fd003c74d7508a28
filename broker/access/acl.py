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
from broker.topics import strip_share

# what a broker without an access list of its own allows, when it was asked to allow everything
EVERYTHING = (Rule(EVERYONE, READ_WRITE, "#"), Rule(EVERYONE, Right.READ, "$SYS/#"))


class AccessList:
    """An Authorizer made of rules.

    A subscription is allowed when one rule covers it whole and no denial does. What a denial
    below it matches is left out of what it brings: known when a route is built, so that nothing
    is looked up while messages pass.
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
        return Right.WRITE in self._rights(identity, topic)

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:
        """Return whether the client may subscribe; may_read_all() says whether that brings all."""
        wanted = strip_share(topic_filter)
        return bool(wanted) and Right.READ in self._rights(identity, wanted)

    def may_read_all(self, identity: Identity, topic_filter: str) -> bool:
        """Return whether no denial touches what an allowed filter matches."""
        wanted = strip_share(topic_filter)
        return not any(
            denials.overlaps(wanted, identity)
            for subject in _subjects(identity)
            if (denials := self._denials.get(subject)) is not None
        )

    def may_read(self, identity: Identity, topic: str) -> bool:
        """Return whether the client may receive messages of the topic."""
        return Right.READ in self._rights(identity, topic)

    def _rights(self, identity: Identity, wanted: str) -> Right:
        """Return what is allowed on a topic, or on all that a filter matches."""
        held = NOTHING
        for subject in _subjects(identity):
            denials, grants = self._denials.get(subject), self._grants.get(subject)
            if denials is not None and denials.cover(wanted, identity):
                return NOTHING
            if grants is not None:
                held |= grants.cover(wanted, identity)
        return held


def _subjects(identity: Identity) -> Iterator[Subject]:
    yield EVERYONE
    yield NAMELESS if is_anonymous(identity) else Subject(Kind.USER, identity.name)
    for group in identity.groups:
        yield Subject(Kind.GROUP, group)
